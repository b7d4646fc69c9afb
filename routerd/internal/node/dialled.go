package node

import (
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// agentInvite is an INVITE from the phone of an agent, who has proved to be one.
type agentInvite struct {
	invite *sip.Request
	flow   sip.Flow
	agent  acd.AgentID
	call   acd.CallID // of the new call
	proof  sip.Proof
	beside acd.CallID // the actor's call, which the agent talks in; empty: the actor's is the new one
	// replaces names the dialog to pick up, which is then one of the call beside.
	replaces *sip.Replaces
}

// opensCall tells an INVITE that an agent would open a call with. The edge vouches
// for trunks by a header; without it whoever calls has to be an agent.
func opensCall(req *sip.Request) bool {
	return req.Method == "INVITE" && req.ToTag() == "" && req.Get(trunkHeader) == ""
}

// agentInvited brings an agent's INVITE to where its call belongs: beside the call
// the agent talks in, at that one's owner, or anew.
func (n *Node) agentInvited(req *sip.Request, flow sip.Flow) {
	m, owner, epoch, refusal := n.dialOf(req, flow)
	switch {
	case refusal != nil:
		if req.Get("Authorization") != "" {
			dialsRefused.Inc()
		}
		n.refuse(req, flow, *refusal)
	case m.beside == "":
		n.post(m.call, m)
	case owner == n.owner():
		n.post(m.beside, m)
	default:
		// The owner checks the credentials again: it takes no router's word for them.
		n.async(func() { n.handOver(m.beside, owner, epoch, req, flow) })
	}
}

// dialOf tells who dials by whose credentials the INVITE bears, and beside which
// call, with its owner.
func (n *Node) dialOf(req *sip.Request, flow sip.Flow) (m agentInvite, owner acd.Owner, epoch uint64, refusal *sip.Refusal) {
	user := req.From().User() // guesses of one name are counted together, from wherever they come
	proof, refusal := n.proven(req, user, "call "+user)
	if refusal != nil {
		return m, owner, 0, refusal
	}
	m = agentInvite{invite: req, flow: flow, agent: acd.AgentID(proof.User), proof: proof, call: n.callOf(req)}
	if m.replaces, refusal = req.Replaces(); m.replaces != nil {
		if m.beside, owner, epoch = n.named(*m.replaces); m.beside == "" {
			refusal = &sip.NoSuchDialog
		}
		return m, owner, epoch, refusal
	}
	n.view(func(mach *acd.Machine) {
		a, _ := mach.Agent(m.agent)
		if c, ok := mach.Call(a.Call); ok && c.State == acd.CallTalking && c.Root == "" {
			m.beside, owner, epoch = c.ID, c.Owner, c.Epoch
		}
	})
	return m, owner, epoch, nil
}

// dialOut is the actor's part of an agent's call. As with callers nothing is said
// before it is committed.
func (a *actor) dialOut(m agentInvite) {
	for id, leg := range a.legs { // a repeat of the INVITE
		if leg.CallID() == m.invite.CallID() {
			a.act(id, leg.Request(a.n.machineTime(), m.invite, m.flow))
			return
		}
	}
	if m.beside == "" {
		a.proved = time.Now() // nobody else can have it yet
	} else if a.epoch == 0 {
		a.released = true // the call it was to stand beside is over
	}
	if m.replaces != nil {
		a.pickUp(m)
		return
	}
	leg, out := sip.NewServerLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(string(m.call))), m.invite, m.flow)
	record, err := leg.MarshalBinary()
	if err != nil {
		a.n.log.Error("the INVITE can't be stored", "call_id", m.call, "err", err)
		a.endDial(m, leg, 500, 0)
		return
	}
	res, _, err := a.n.proposer.propose(a.n.life, acd.AgentDialled{
		OnCall: acd.OnCall{Call: m.call}, Owner: a.n.owner(), Agent: m.agent, To: m.invite.Dialled(), Beside: m.beside,
		Edge: m.invite.Get("X-Trunkline-Edge"), SIPID: m.invite.CallID(), Record: record, Nonce: m.proof.Nonce, Count: m.proof.Count,
	})
	switch {
	case err != nil:
		a.stale = true
	case res.Code != 0:
		dialsRefused.Inc()
		a.n.log.Info("an agent's call is refused", "call_id", m.call, "agent", m.agent, "code", res.Code, "err", res.Reason)
		a.endDial(m, leg, res.Code, res.RetryAfter)
	case !res.Applied: // a repeat that another router took
		a.stale = m.beside == ""
	default:
		dialsTaken.Inc()
		if m.beside == "" {
			a.epoch = res.Epoch
		}
		a.legs[res.Leg] = leg
		a.send(res.Leg, out.Send)
	}
}

// endDial refuses an agent's call. A refusal over UDP is repeated until its ACK, so
// an actor of its own stays for that.
func (a *actor) endDial(m agentInvite, leg *sip.Leg, code, retryAfter int) {
	headers := refusalHeaders(code, retryAfter)
	if code == 401 { // right credentials, used before
		headers = a.n.auth.Challenge(a.n.machineTime(), string(m.agent), true).Headers
	}
	out := leg.Reject(a.n.machineTime(), code, "", headers...)
	if m.beside == "" {
		a.legs[acd.CallerLeg] = leg
		a.released = true // the log knows no such call, and it is ours all the same
	}
	a.send("", out.Send)
}

// rootOf is the call whose actor has the legs of this one.
func (n *Node) rootOf(call acd.CallID) (root acd.CallID) {
	n.view(func(m *acd.Machine) { root = m.RootOf(call) })
	return root
}
