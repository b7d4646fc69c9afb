package acdtest

import (
	"fmt"
	"slices"

	"trunkline/routerd/acd"
)

// agentDials: an agent dials, beside the call it talks in if there is one.
func (f *FarEnd) agentDials(a acd.AgentID) error {
	owner, ok := f.liveNode()
	if !ok {
		return f.next()
	}
	agent, _ := f.M.Agent(a)
	beside := agent.Call
	if c, ok := f.M.Call(beside); ok {
		owner = c.Owner
	}
	f.arrived++
	to := []string{"ann", "bob", "cat", "dan", "sales", "support", "+999", "+100", "+7111"}[f.dice.Int(9, "dials")]
	return f.propose("dial", acd.AgentDialled{
		OnCall: acd.OnCall{Call: acd.CallID(fmt.Sprintf("c%d", f.arrived))}, Owner: owner, Agent: a, To: to, Beside: beside, Record: []byte("invite"),
	})
}

// supervise: somebody listens in on whoever talks, does something else there, or
// takes the call.
func (f *FarEnd) supervise(a acd.AgentID) error {
	modes := []acd.SupervisionMode{acd.ModeListen, acd.ModeWhisper, acd.ModeJoin, acd.ModeTake, acd.ModeTake, acd.ModeNone}
	calls := slices.DeleteFunc(f.M.Calls(), func(c acd.Call) bool { return c.State != acd.CallTalking })
	if len(calls) == 0 {
		return f.next()
	}
	c := calls[f.dice.Int(len(calls), "supervised")]
	if by := c.Supervision.Agent; by != "" {
		a = by
	}
	mode := modes[f.dice.Int(len(modes), "mode")]
	return f.propose("supervise", acd.CallSupervised{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch}, Supervisor: a, Mode: mode})
}

// join: an agent with two calls connects the others, by a REFER on either leg.
func (f *FarEnd) join() error {
	for _, c := range f.M.Calls() {
		if c.Root == "" || c.State == acd.CallEnding {
			continue
		}
		a, _ := f.M.Agent(c.Dialler)
		if a.Consult != c.ID {
			continue
		}
		legs := []acd.LegID{a.Leg, c.Caller}
		i := f.dice.Int(2, "asked on")
		return f.propose("join", acd.CallsJoined{OnCall: acd.OnCall{Call: c.Root, Epoch: c.Epoch}, Leg: legs[i], With: legs[1-i], Reason: "bill"})
	}
	return f.next()
}

// pickUp: an agent picks up what another's phone rings for, or talks in, or, now and
// then, what is neither.
func (f *FarEnd) pickUp(a acd.AgentID) error {
	any := f.dice.Int(8, "any leg") == 0
	type named struct {
		call acd.Call
		leg  acd.LegID
	}
	var legs []named
	for _, c := range f.M.Calls() {
		for _, l := range c.Legs {
			if any || l.Agent != "" && (l.State == acd.LegRinging || l.State == acd.LegUp) {
				legs = append(legs, named{c, l.ID})
			}
		}
	}
	if len(legs) == 0 {
		return f.next()
	}
	it := legs[f.dice.Int(len(legs), "picked up")]
	f.arrived++
	return f.propose("pick-up", acd.CallPickedUp{
		OnCall: acd.OnCall{Call: it.call.ID, Epoch: it.call.Epoch}, Leg: it.leg, Agent: a,
		As: acd.CallID(fmt.Sprintf("c%d", f.arrived)), EarlyOnly: f.dice.Int(4, "early only") == 0, Record: []byte("invite"),
	})
}
