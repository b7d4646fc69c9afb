package sim

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// callIDOf and callOf are node's.
func callIDOf(sipCallID, farTag string) acd.CallID {
	sum := sha256.Sum256([]byte(sipCallID + "\x00" + farTag))
	return acd.CallID(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:20]))
}

func callOf(msg sip.Message) acd.CallID {
	if call, _, ok := legOf(msg.CallID()); ok {
		return call
	}
	if _, isRequest := msg.(*sip.Request); isRequest {
		return callIDOf(msg.CallID(), msg.FromTag())
	}
	return callIDOf(msg.CallID(), msg.ToTag())
}

// legOf reads call and leg from the Call-ID of a leg the routers began.
func legOf(sipID string) (acd.CallID, acd.LegID, bool) {
	local, ok := strings.CutSuffix(sipID, "@"+clusterHost)
	if !ok {
		return "", "", false
	}
	parts := strings.SplitN(local, "-", 3)
	if len(parts) != 3 {
		return "", "", false
	}
	return acd.CallID(parts[2]), acd.LegID(parts[0]), true
}

// receive is node.receive: every SIP message that comes to the router.
func (r *router) receive(msg sip.Message, flow sip.Flow) {
	req, isRequest := msg.(*sip.Request)
	if r.incarnation == 0 {
		if isRequest && req.Method != "ACK" {
			r.refuse(req, flow, sip.Unavailable(1))
		}
		return
	}
	if !isRequest {
		r.route(msg, flow)
		return
	}
	switch {
	case req.ToTag() != "" || req.Method == "CANCEL" || req.Method == "ACK":
		r.route(msg, flow)
	case req.Method == "INVITE":
		r.invited(req, flow)
	default:
		r.refuse(req, flow, sip.Refusal{Code: 405, Reason: "Method Not Allowed"})
	}
}

func (r *router) route(msg sip.Message, flow sip.Flow) {
	call := callOf(msg)
	if a := r.actors[call]; a != nil {
		a.put(arrival{msg, flow})
		return
	}
	owner, epoch, ok := r.machine.OwnerOf(call)
	switch {
	case !ok:
		r.refuseStray(msg, flow)
	case owner == r.owner():
		r.post(call, arrival{msg, flow})
	default:
		r.spawn(func(t *task) { r.handOver(t, call, owner, epoch, msg, flow) })
	}
}

// handOver is node.handOver.
func (r *router) handOver(t *task, call acd.CallID, owner acd.Owner, epoch uint64, msg sip.Message, flow sip.Flow) {
	if r.pass(t, owner.Node, call, msg, flow) {
		return
	}
	if !t.alive() {
		return
	}
	r.w.note(r.name, "claims", string(call), string(owner.Node), epoch)
	res, index, ok := r.propose(t, 0, acd.CallClaimed{OnCall: acd.OnCall{Call: call, Epoch: epoch}, Owner: r.owner()})
	if !ok || !r.waitApplied(t, index) {
		return
	}
	if res.Applied {
		r.post(call, arrival{msg, flow})
	}
}

// pass is peers.pass with servePeer at its far end: a request over HTTP with a
// limit of 2 s.
func (r *router) pass(t *task, to acd.NodeID, call acd.CallID, msg sip.Message, flow sip.Flow) (passed bool) {
	var peer *router
	for _, n := range r.machine.Nodes() {
		if n.ID == to && n.Alive {
			for _, other := range r.w.routers {
				if other.node == to {
					peer = other
				}
			}
		}
	}
	if peer == nil {
		return false
	}
	_, _ = t.wait(2*time.Second, func(wake func()) {
		answer := func(ok bool) {
			r.w.net.stream(peer.name, r.name, &r.host, func() { passed = ok; wake() })
		}
		r.w.net.ask(r.name, peer.name, &peer.host, func() {
			owner, _, ok := peer.machine.OwnerOf(call)
			ours := ok && owner == peer.owner()
			if ours {
				peer.post(call, arrival{msg, flow})
			}
			answer(ours)
		}, func() { r.soon(wake) })
	})
	return passed
}

func (r *router) invited(req *sip.Request, flow sip.Flow) {
	if !r.ready() {
		r.refuse(req, flow, sip.Unavailable(2))
		return
	}
	call := callOf(req)
	if _, _, known := r.machine.OwnerOf(call); known {
		r.route(req, flow)
		return
	}
	r.post(call, newCall{req, flow})
}

// arrive is node's actor.arrive.
func (a *actor) arrive(m newCall) {
	if leg := a.legs[acd.CallerLeg]; leg != nil {
		a.act(acd.CallerLeg, leg.Request(a.n.machineTime(), m.invite, m.flow))
		return
	}
	leg, out := sip.NewServerLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(string(a.call))), m.invite, m.flow)
	a.legs[acd.CallerLeg] = leg
	record, err := leg.MarshalBinary()
	if err != nil {
		a.n.w.fail(PromiseTerminal, "call %s: %v", a.call, err)
	}
	a.proved = a.n.w.now
	a.passes("commit")
	res, _, ok := a.n.propose(a.t, 0, acd.CallArrived{
		OnCall: acd.OnCall{Call: a.call, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record}}},
		Owner:  a.n.owner(), Trunk: acd.TrunkID(m.invite.Get("X-Trunkline-Trunk")), Edge: m.invite.Get("X-Trunkline-Edge"),
		From: m.invite.Caller(), To: m.invite.Dialled(), SIPID: m.invite.CallID(),
	})
	a.passes("committed")
	switch {
	case !ok || !a.t.alive():
		a.stale = true
	case res.Code != 0:
		out := leg.Reject(a.n.machineTime(), res.Code, "")
		a.released = true
		a.send(acd.CallerLeg, out.Send)
	case !res.Applied:
		a.stale = true
	default:
		a.epoch = res.Epoch
		a.send(acd.CallerLeg, out.Send)
	}
}

func (r *router) refuseStray(msg sip.Message, flow sip.Flow) {
	req, ok := msg.(*sip.Request)
	if !ok || req.Method == "ACK" {
		return
	}
	if _, over := r.machine.Closed(callOf(msg)); over && req.Method == "BYE" {
		r.refuse(req, flow, sip.Refusal{Code: 200, Reason: "OK"})
		return
	}
	r.refuse(req, flow, sip.NoSuchDialog)
}

func (r *router) refuse(req *sip.Request, flow sip.Flow, why sip.Refusal) {
	r.w.net.fromRouter(r, sip.Respond(req, flow, sip.NewTag(req.CallID()), why, nil), func() {})
}

// spread is node.spread.
func (r *router) spread(effects []acd.Effect) {
	own := r.owner()
	for _, e := range effects {
		if e.Owner == own {
			r.post(e.Call, e)
		}
	}
}
