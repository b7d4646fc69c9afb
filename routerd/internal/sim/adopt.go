package sim

import (
	"slices"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// heldRing and what is done with it are node's.
type heldRing struct {
	id    acd.EffectID
	order acd.RingAgent
}

func (a *actor) adopt(id acd.LegID, leg *sip.Leg) bool {
	l := a.legState(id)
	if l.Role != acd.RoleAgent || l.State != acd.LegCancelling || l.Cause != acd.CauseTakeover {
		return false
	}
	out, asked := leg.Adopt(a.n.machineTime())
	if asked {
		a.n.w.judge.asked++
		a.act(id, out)
	}
	return asked
}

func (a *actor) adopting(agent acd.AgentID) bool {
	for id, leg := range a.legs { // any order: a question
		if leg.Adopting() && a.legState(id).Agent == agent {
			return true
		}
	}
	return false
}

func (a *actor) ringHeld() {
	for i := 0; i < len(a.held) && !a.stale && a.t.alive(); {
		h := a.held[i]
		if a.adopting(h.order.Agent) {
			i++
			continue
		}
		a.held = slices.Delete(a.held, i, i+1)
		a.ring(h.id, h.order)
	}
}

func (a *actor) dropHeld(which func(heldRing) bool) {
	a.held = slices.DeleteFunc(a.held, which)
}
