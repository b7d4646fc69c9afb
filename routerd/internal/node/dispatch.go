package node

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// newCall is an INVITE that opens a call.
type newCall struct {
	invite *sip.Request
	flow   sip.Flow
}

// callIDOf derives the call's id from a trunk dialog: every router comes to the
// same one, so an INVITE that is repeated elsewhere is the same call. A leg of
// ours carries the id in its Call-ID, see legCallID.
func callIDOf(sipCallID, farTag string) acd.CallID {
	sum := sha256.Sum256([]byte(sipCallID + "\x00" + farTag))
	return acd.CallID(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20]))
}

// callOf finds the call a message belongs to by its Call-ID and tags alone.
func (n *Node) callOf(msg sip.Message) acd.CallID {
	// In requests the far end is From, in answers to ours it is To.
	if _, isRequest := msg.(*sip.Request); isRequest {
		return n.callOfDialog(msg.CallID(), msg.ToTag(), msg.FromTag())
	}
	return n.callOfDialog(msg.CallID(), msg.FromTag(), msg.ToTag())
}

// callOfDialog is the call of a dialog. One that we began has our tag, which
// follows from its Call-ID: a far end that chose such a Call-ID has not.
func (n *Node) callOfDialog(id, ourTag, farTag string) acd.CallID {
	if local, ok := strings.CutSuffix(id, "@"+n.conf.ClusterHost); ok && ourTag == sip.NewTag(id) {
		if parts := strings.SplitN(local, "-", 3); len(parts) == 3 {
			return acd.CallID(parts[2])
		}
	}
	return callIDOf(id, farTag)
}

// receive takes every message of the transport, in order per connection, and
// must not wait.
func (n *Node) receive(msg sip.Message, flow sip.Flow) {
	n.edges.hear(flow.Remote)
	req, isRequest := msg.(*sip.Request)
	// Before this life is committed the machine may still be replaying: it would
	// call a living call unknown. The edge asks another router on a 503, and its
	// pings hold this one for down meanwhile, as they do while it drains.
	if n.incarnation.Load() == 0 || n.draining.Load() && isRequest && req.Method == "OPTIONS" {
		if isRequest && req.Method != "ACK" {
			n.refuse(req, flow, sip.Unavailable(1))
		}
		return
	}
	if !isRequest {
		if !n.probeAnswered(msg) {
			n.route(msg, flow)
		}
		return
	}
	switch {
	case req.Method == "REGISTER":
		n.async(func() { n.register(req, flow) })
	case req.ToTag() != "" || req.Method == "CANCEL" || req.Method == "ACK":
		n.route(msg, flow)
	case req.Method == "INVITE" && n.cameBack(req):
		loops.Inc()
		n.refuse(req, flow, loopDetected)
	case req.Method == "INVITE":
		n.invited(req, flow)
	case req.Method == "OPTIONS":
		n.send(sip.AnswerOptions(req, flow, sip.NewTag(req.CallID()), product))
	default:
		n.refuse(req, flow, sip.Refusal{Code: 405, Reason: "Method Not Allowed", Headers: []sip.Header{{Name: "Allow", Value: sip.Allow}}})
	}
}

// route brings a message to the actor of its call, here or at its owner.
func (n *Node) route(msg sip.Message, flow sip.Flow) {
	call := n.callOf(msg)
	n.mu.Lock()
	a := n.actors[call]
	n.mu.Unlock()
	if a != nil && a.box.put(arrival{msg, flow}) {
		return
	}
	var owner acd.Owner
	var epoch uint64
	n.view(func(m *acd.Machine) {
		call = m.RootOf(call)
		owner, epoch, _ = m.OwnerOf(call)
	})
	switch {
	case owner == acd.Owner{}:
		n.refuseStray(msg, flow)
	case owner == n.owner():
		n.post(call, arrival{msg, flow})
	default:
		n.async(func() { n.handOver(call, owner, epoch, msg, flow) })
	}
}

// handOver passes a message to the router that owns its call. If that one
// can't be reached this router claims the call and handles the message itself.
func (n *Node) handOver(call acd.CallID, owner acd.Owner, epoch uint64, msg sip.Message, flow sip.Flow) {
	err := n.peers.pass(n.life, owner.Node, msg, flow)
	if err == nil {
		handedOver.Inc()
		return
	}
	n.log.Warn("owner can't be reached: claiming its call", "call_id", call, "peer", owner.Node, "err", err)
	res, index, err := n.proposer.propose(n.life, acd.CallClaimed{OnCall: acd.OnCall{Call: call, Epoch: epoch}, Owner: n.owner()})
	if err != nil || !n.waitApplied(n.life.Done(), index) {
		return
	}
	if res.Applied {
		claimed.Inc()
		n.receive(msg, flow)
		return
	}
	// Somebody else was given the call meanwhile: the far end's repeat, if any,
	// finds the new owner; a request passed on once more might circle.
	n.log.Info("call was claimed by another router", "call_id", call)
}

// invited opens a call, or finds that the INVITE is a repeat.
func (n *Node) invited(req *sip.Request, flow sip.Flow) {
	if err := n.Ready(); err != nil {
		n.refuse(req, flow, sip.Unavailable(2))
		return
	}
	n.opens(req, flow)
}

// opens is invited by a router that takes calls.
func (n *Node) opens(req *sip.Request, flow sip.Flow) {
	call := n.callOf(req)
	known := false
	n.view(func(m *acd.Machine) { _, _, known = m.OwnerOf(m.RootOf(call)) })
	if known {
		n.route(req, flow)
		return
	}
	if opensCall(req) {
		n.agentInvited(req, flow)
		return
	}
	if r, _ := req.Replaces(); r != nil {
		n.refuse(req, flow, n.replacedOutside(*r))
		return
	}
	if n.overloaded(call, req, flow) {
		return
	}
	n.post(call, newCall{req, flow})
}

// arrive is the actor's part of a new call: the machine decides, then 100 or a
// refusal. Until it is committed the edge hears nothing: were it told 100 by a
// router that dies before the commit, it would wait for that one's answer for
// minutes, where silence lets it try another router after 1.5 s. The repeat
// there is the same call.
func (a *actor) arrive(m newCall) {
	if leg := a.legs[acd.CallerLeg]; leg != nil { // a repeat of the INVITE
		a.act(acd.CallerLeg, leg.Request(a.n.machineTime(), m.invite, m.flow))
		return
	}
	trunk := m.invite.Get(trunkHeader)
	a.invited = time.Now()
	a.proved = a.invited // nobody else can have it yet
	leg, out := sip.NewServerLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(string(a.call))), m.invite, m.flow)
	a.legs[acd.CallerLeg] = leg
	record, err := leg.MarshalBinary()
	if err != nil {
		a.n.log.Error("the INVITE can't be stored", "call_id", a.call, "err", err)
		a.send(acd.CallerLeg, leg.Reject(a.n.machineTime(), 500, "").Send)
		a.stale = true
		return
	}
	who := m.invite.Identity()
	res, _, err := a.n.proposer.propose(a.n.life, acd.CallArrived{
		OnCall: acd.OnCall{Call: a.call, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record}}},
		Owner:  a.n.owner(), Trunk: acd.TrunkID(trunk), Edge: m.invite.Get("X-Trunkline-Edge"),
		From: who.Shown(), To: m.invite.Dialled(), SIPID: m.invite.CallID(), Diverting: who.Diverting, Diversion: who.Diversion,
	})
	switch {
	case err != nil:
		a.stale = true
	case res.Code != 0:
		refused.Inc()
		out := leg.Reject(a.n.machineTime(), res.Code, "", refusalHeaders(res.Code, res.RetryAfter)...)
		a.released = true // the actor stays until the ACK came
		a.send(acd.CallerLeg, out.Send)
	case !res.Applied: // a repeat that another router took
		a.stale = true
	default:
		arrived.Inc()
		a.epoch = res.Epoch
		a.send(acd.CallerLeg, out.Send)
		trying.UpdateDuration(a.invited)
	}
}

// refuseStray answers what belongs to no call (RFC 3261 section 12.2.2). A BYE of
// a call that is over comes again where the router that took it died before it
// said so: the far end has what it wanted.
func (n *Node) refuseStray(msg sip.Message, flow sip.Flow) {
	strays.Inc()
	req, ok := msg.(*sip.Request)
	if !ok || req.Method == "ACK" {
		return
	}
	over := false
	n.view(func(m *acd.Machine) { _, over = m.Closed(n.callOf(msg)) })
	if over && req.Method == "BYE" {
		n.refuse(req, flow, sip.Refusal{Code: 200, Reason: "OK"})
		return
	}
	n.refuse(req, flow, sip.NoSuchDialog)
}

// refuse answers a request for which no call is or will be.
func (n *Node) refuse(req *sip.Request, flow sip.Flow, why sip.Refusal) {
	n.send(sip.Respond(req, flow, sip.NewTag(req.CallID()), why, nil))
}

// send gives an answer to the transport. If it can't be delivered the far end
// asks again.
func (n *Node) send(p sip.Packet) {
	n.sendPacket(p, func(err error) { n.log.Warn("could not send", "err", err) })
}

// async runs f beside the connection's reader, within the node's life.
func (n *Node) async(f func()) {
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		f()
	}()
}

// ringFirst puts the order to ring an agent before what the same entry has the
// caller hear: a worker takes some milliseconds to begin music, and the agent's
// phone need not wait for them.
func ringFirst(effects []acd.Effect) {
	for i, e := range effects {
		if _, ok := e.Order.(acd.RingAgent); !ok {
			continue
		}
		for ; i > 0 && effects[i-1].Call == e.Call && heardOnly(effects[i-1].Order); i-- {
			effects[i-1], effects[i] = effects[i], effects[i-1]
		}
	}
}

func heardOnly(o acd.Order) bool {
	switch o.(type) {
	case acd.PlayPrompt, acd.Announce:
		return true
	}
	return false
}

// spread hands the effects of a log entry that came in at entered to whoever of
// this node carries them out.
func (n *Node) spread(effects []acd.Effect, entered time.Time) {
	own := n.owner()
	ringFirst(effects)
	for _, e := range effects {
		switch {
		case e.Owner == acd.Owner{}:
			switch o := e.Order.(type) {
			case acd.HostMedia:
				n.async(func() { n.hostMedia(context.WithoutCancel(n.life), o) })
			case acd.Resync:
				if o.Owner == own {
					n.resync(o)
				}
			}
		case e.Owner != own:
		default:
			if _, ok := e.Order.(acd.RingAgent); ok {
				n.post(e.Call, ringing{e, entered})
			} else {
				n.post(e.Call, e)
			}
		}
	}
}
