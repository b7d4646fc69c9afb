package node

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// What one leg of a call says goes on to the other: why it ended (RFC 3326), and
// how often the call may be passed on still.

// endedBecause keeps why a leg ended, for the legs that end because of it.
func (a *actor) endedBecause(id acd.LegID) {
	a.why = ""
	if leg := a.legs[id]; leg != nil {
		a.why = leg.FarReason()
	}
}

// reasons are the Reason headers for the end of a leg: that somebody else
// answered, so that a phone shows no missed call, or what the leg said whose
// end this one follows.
func (a *actor) reasons(id acd.LegID) []sip.Header {
	var cause string
	ending := false
	a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(a.call)
		ending = c.State == acd.CallEnding
		for _, l := range c.Legs {
			if l.ID == id {
				cause = l.Cause
			}
		}
	})
	switch {
	case cause == acd.CauseElsewhere || cause == acd.CauseCrossed:
		return []sip.Header{sip.Reason(200, "Call completed elsewhere")}
	case cause == acd.CauseRingTimeout:
		return []sip.Header{sip.Reason(408, "No answer")}
	case ending && a.why != "":
		return []sip.Header{{Name: "Reason", Value: a.why}}
	}
	return nil
}

// forwards is the Max-Forwards of a call that is made for the caller: one less
// than the caller's. 0 means that it must not go on.
func (a *actor) forwards() int {
	caller := a.legs[acd.CallerLeg]
	if caller == nil || !caller.Server() || caller.MaxForwards() == 0 {
		return firstForwards
	}
	return min(caller.MaxForwards(), firstForwards) - 1
}

// firstForwards is that of a call of our own (RFC 3261 section 8.1.1.6).
const firstForwards = 70

// cameBack reports whether an INVITE went through a router of this cluster
// before: a number that we call over a trunk must not lead back to us.
func (n *Node) cameBack(req *sip.Request) bool {
	var routers []string
	n.view(func(m *acd.Machine) {
		for _, r := range m.Nodes() {
			if r.SIP != "" {
				routers = append(routers, r.SIP)
			}
		}
	})
	return req.Passed(routers)
}

// loopDetected refuses such a one.
var loopDetected = sip.Refusal{Code: 482, Reason: "Loop Detected"}
