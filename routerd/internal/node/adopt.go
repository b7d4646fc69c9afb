package node

import (
	"slices"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// A phone that rang when its router died may have been answered without our
// hearing it. Before it is cancelled and rung anew it is asked (see sip.Leg.Adopt),
// and until that is known, a second at most, none of its agent's phones is rung.

// heldRing is an order to ring that waits for that.
type heldRing struct {
	id    acd.EffectID
	order acd.RingAgent
}

// adopt asks the far end of a leg that is cancelled only because its router died.
// It returns false where there is nothing to ask.
func (a *actor) adopt(id acd.LegID, leg *sip.Leg) bool {
	taken := false
	a.n.view(func(m *acd.Machine) {
		l := legOf(m, a.call, id)
		taken = l.Role == acd.RoleAgent && l.State == acd.LegCancelling && l.Cause == acd.CauseTakeover
	})
	if !taken {
		return false
	}
	out, asked := leg.Adopt(a.n.machineTime(), a.reasons(id)...)
	if asked {
		adoptions.Inc()
		a.act(id, out)
	}
	return asked
}

// adopting tells whether a phone of the agent is being asked.
func (a *actor) adopting(agent acd.AgentID) bool {
	for id, leg := range a.legs { // any order: a question
		if leg.Adopting() && a.agentOn(id) == agent {
			return true
		}
	}
	return false
}

func (a *actor) agentOn(id acd.LegID) (agent acd.AgentID) {
	a.n.view(func(m *acd.Machine) { agent = legOf(m, a.call, id).Agent })
	return agent
}

// ringHeld carries out the orders that need not wait any more.
func (a *actor) ringHeld() {
	for i := 0; i < len(a.held) && !a.stale; {
		h := a.held[i]
		if a.adopting(h.order.Agent) {
			i++
			continue
		}
		a.held = slices.Delete(a.held, i, i+1)
		a.ring(h.id, h.order)
	}
}

// dropHeld forgets orders that wait: they were taken back, or their phone had been
// answered.
func (a *actor) dropHeld(which func(heldRing) bool) {
	a.held = slices.DeleteFunc(a.held, which)
}
