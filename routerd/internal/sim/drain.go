package sim

import (
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// healthy: five seconds after everything was healed there is a leader, all
// routers run and have applied the same log.
func (j *judge) healthy() {
	lead := 0
	for _, r := range j.w.routers {
		if !r.up || r.incarnation == 0 {
			j.w.fail(PromiseDrain, "%s does not serve %v after everything was healed (up %v, paused %v, life %d, incarnation %d, applied %d of %d)",
				r.name, j.w.now-healAt, r.up, r.paused, r.lives, r.incarnation, r.x.applied, len(j.log))
		}
		if r.x.lead.self {
			lead++
		}
		if behind := len(j.log) - int(r.x.applied); behind > 50 {
			j.w.fail(PromiseDrain, "%s is %d entries behind %v after everything was healed", r.name, behind, j.w.now-healAt)
		}
	}
	if lead != 1 {
		j.w.fail(PromiseDrain, "%d routers lead %v after everything was healed", lead, j.w.now-healAt)
	}
}

// drained: nothing is left of the calls once the far ends let go.
func (j *judge) drained() {
	w := j.w
	abandoned := map[acd.CallID]bool{}
	for _, r := range w.routers {
		excused := map[acd.AgentID]bool{}
		for _, c := range r.machine.Calls() {
			if j.deserted(c) {
				abandoned[c.ID] = true
				for _, l := range c.Legs {
					excused[l.Agent] = true
				}
				continue
			}
			w.fail(PromiseDrain, "%s still has call %s of %s, %s (%s, %s), legs %s", r.name, c.ID, c.SIPID, c.State, c.By, c.Cause, legsText(c))
		}
		for _, a := range r.machine.Agents() {
			if a.State != acd.Idle && a.State != acd.WrapUp || a.Draining > 0 || a.Call != "" {
				if excused[a.ID] {
					continue
				}
				w.fail(PromiseDrain, "%s holds agent %s for %s, %d legs draining, call %q", r.name, a.ID, a.State, a.Draining, a.Call)
			}
		}
		j.check(r)
	}
	for _, c := range w.callers {
		if c.live() {
			w.fail(PromiseDrain, "caller %s is still in a dialog (%s), %v after hanging up", c.far.name, c.d.leg.State(), w.now-closeAt)
		}
	}
	for _, a := range w.agents {
		for _, d := range a.live() {
			// A phone whose 200 was lost with the router it went to ends that by
			// itself, 64*T1 after its answer; one that no CANCEL can reach, since
			// the edge that carried the INVITE is gone, after its own ringing.
			if d.leg.State() == sip.Accepted || j.gone[d.id] || j.stuck[d.id] || abandoned[d.ring.call] {
				continue
			}
			w.fail(PromiseDrain, "phone %s is still in a dialog (%s) of call %s leg %s since %v", d.far.name, d.leg.State(), d.ring.call, d.ring.leg, d.ring.since)
		}
	}
	for i := range w.plan.calls + 10 {
		k := w.customers[customerNumber(i)]
		for _, id := range k.far.order {
			d := k.far.dialogs[id]
			if d == nil || d.over || d.leg.State() == sip.Accepted || j.gone[d.id] || j.stuck[d.id] || abandoned[d.ring.call] {
				continue
			}
			w.fail(PromiseDrain, "customer %s is still in a dialog (%s) of call %s leg %s since %v", k.number, d.leg.State(), d.ring.call, d.ring.leg, d.ring.since)
		}
	}
	for _, id := range j.history.order {
		if c, open := w.routers[0].machine.Call(id); !j.history.calls[id].ended && !(open && j.deserted(c)) {
			w.fail(PromiseTerminal, "call %s never ended", id)
		}
	}
	j.level()
}

// deserted tells whether a call can't end yet: its caller, or both its ends,
// left while no router served, or a leg of it can't be cancelled.
func (j *judge) deserted(c acd.Call) bool {
	for _, l := range c.Legs {
		var leg sip.Leg
		if l.State == acd.LegOver || len(l.Record) == 0 || leg.UnmarshalBinary(l.Record) != nil {
			continue
		}
		id := leg.CallID()
		switch {
		case l.ID == c.Caller && j.gone[id]:
			return true
		case l.State == acd.LegCancelling && j.stuck[id], l.Role == acd.RoleAgent && j.gone[id]:
		default:
			return false
		}
	}
	return true
}

// level: replicas that applied as much are equal, to the hash.
func (j *judge) level() {
	var at uint64
	var sum [32]byte
	for _, r := range j.w.routers {
		if r.machine.Index() == 0 {
			continue
		}
		h := r.machine.Hash()
		if at == r.machine.Index() && h != sum {
			j.w.fail(PromiseReplica, "%s has another state than its neighbour at %d", r.name, at)
		}
		at, sum = r.machine.Index(), h
	}
}

func legsText(c acd.Call) string {
	out := ""
	for _, l := range c.Legs {
		out += string(l.ID) + ":" + string(l.State) + "(" + l.Cause + ") "
	}
	return out
}

var _ time.Duration
