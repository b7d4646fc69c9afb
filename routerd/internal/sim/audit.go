package sim

import (
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// Of node's audit.
const (
	auditEvery    = 1500 * time.Millisecond
	auditPatience = auditEvery / 2
)

// audit asks an actor which of its call's legs no live dialog supports.
type audit struct {
	legs   []acd.LegRef
	answer func(missing []acd.LegRef)
}

// auditDialogs is node.auditDialogs.
func (r *router) auditDialogs(t *task) {
	var before map[acd.LegRef]bool
	for t.sleep(auditEvery) {
		if r.incarnation == 0 || r.draining {
			before = nil
			continue
		}
		missing := r.missingDialogs(t)
		if !t.alive() {
			return
		}
		var gone []acd.LegRef
		now := map[acd.LegRef]bool{}
		for _, ref := range missing {
			if before[ref] {
				gone = append(gone, ref)
			} else {
				now[ref] = true
			}
		}
		before = now
		if len(gone) > 0 {
			for _, ref := range gone {
				r.w.note(r.name, "misses", string(ref.Call), string(ref.Leg), ref.Epoch)
			}
			r.propose(t, 0, acd.DialogsAudited{Owner: r.owner(), Missing: gone})
		}
	}
}

func (r *router) missingDialogs(t *task) (missing []acd.LegRef) {
	asked, answered := 0, 0
	var done func()
	for _, call := range r.machine.CallsOf(r.owner()) {
		if legs := r.liveLegs(call); len(legs) > 0 {
			asked++
			r.post(call, audit{legs, func(refs []acd.LegRef) {
				answered++
				missing = append(missing, refs...)
				if answered == asked && done != nil {
					done()
				}
			}})
		}
	}
	if asked > 0 {
		t.wait(auditPatience, func(wake func()) { done = wake })
	}
	return missing
}

func (r *router) liveLegs(call acd.CallID) (legs []acd.LegRef) {
	c, ok := r.machine.Call(call)
	if !ok || c.Owner != r.owner() {
		return nil
	}
	for _, l := range c.Legs {
		switch l.State {
		case acd.LegNew, acd.LegRinging, acd.LegUp:
			legs = append(legs, acd.LegRef{Call: call, Epoch: c.Epoch, Leg: l.ID})
		}
	}
	return legs
}

func (a *actor) unsupported(legs []acd.LegRef) (missing []acd.LegRef) {
	for _, ref := range legs {
		leg := a.legs[ref.Leg]
		if ref.Epoch == a.epoch && (leg == nil || leg.State() == sip.Terminated) {
			missing = append(missing, ref)
		}
	}
	return missing
}
