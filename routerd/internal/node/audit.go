package node

import (
	"context"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// auditEvery is how often a router compares what the machine holds of its calls
// with the dialogs it really has. Two looks in a row must find the same leg
// without one, since a report may be on its way: a leg that nothing supports is
// gone within three of these.
const auditEvery = 1500 * time.Millisecond

// audit asks an actor which of its call's legs no live dialog supports.
type audit struct {
	legs    []acd.LegRef
	missing chan<- []acd.LegRef // has room
}

// auditDialogs reports, as long as the node lives, legs of its calls that the
// machine holds for live and no dialog supports: no agent stays stuck in a call
// that is not there.
func (n *Node) auditDialogs(ctx context.Context) {
	var suspects map[acd.LegRef]bool
	for pause(ctx, auditEvery) {
		if n.incarnation.Load() == 0 || n.draining.Load() {
			suspects = nil
			continue
		}
		suspects = n.auditOnce(ctx, suspects)
	}
}

// auditOnce reports the suspects that are still missing and returns those that
// are now.
func (n *Node) auditOnce(ctx context.Context, before map[acd.LegRef]bool) map[acd.LegRef]bool {
	var gone []acd.LegRef
	now := map[acd.LegRef]bool{}
	for _, ref := range n.missingDialogs(ctx) {
		if before[ref] {
			gone = append(gone, ref)
		} else {
			now[ref] = true
		}
	}
	if len(gone) == 0 {
		return now
	}
	dialogsMissing.Add(len(gone))
	for _, ref := range gone {
		n.log.Error("a leg is held for live and has no dialog: it is given up", "call_id", ref.Call, "leg", ref.Leg)
	}
	if _, _, err := n.proposer.propose(ctx, acd.DialogsAudited{Owner: n.owner(), Missing: gone}); err != nil {
		n.log.Warn("an audit could not be committed", "err", err)
	}
	return now
}

// auditPatience bounds the wait for actors: one that waits for a worker is
// asked again next time.
const auditPatience = auditEvery / 2

// missingDialogs asks the actors of all calls this node owns. A call without an
// actor gets one, from the log.
func (n *Node) missingDialogs(ctx context.Context) (missing []acd.LegRef) {
	var calls []acd.CallID
	own := n.owner()
	n.view(func(m *acd.Machine) { calls = m.CallsOf(own) })
	answers := make(chan []acd.LegRef, len(calls))
	asked := 0
	for _, call := range calls {
		if legs := n.liveLegs(call); len(legs) > 0 {
			n.post(n.rootOf(call), audit{legs, answers})
			asked++
		}
	}
	late := time.NewTimer(auditPatience)
	defer late.Stop()
	for range asked {
		select {
		case refs := <-answers:
			missing = append(missing, refs...)
		case <-late.C:
			return missing
		case <-ctx.Done():
			return nil
		}
	}
	return missing
}

// liveLegs are the legs of a call that must have a dialog here. Legs whose end
// is ordered have a watchdog of their own in the machine.
func (n *Node) liveLegs(call acd.CallID) (legs []acd.LegRef) {
	own := n.owner()
	n.view(func(m *acd.Machine) {
		c, ok := m.Call(call)
		if !ok || c.Owner != own {
			return
		}
		for _, l := range c.Legs {
			switch l.State {
			case acd.LegNew, acd.LegRinging, acd.LegUp:
				legs = append(legs, acd.LegRef{Call: call, Epoch: c.Epoch, Leg: l.ID})
			}
		}
	})
	return legs
}

// unsupported are those of the legs that no live dialog of the actor supports.
// Orders that the machine gave before the audit have been carried out: the
// mailbox keeps their order.
func (a *actor) unsupported(legs []acd.LegRef) (missing []acd.LegRef) {
	for _, ref := range legs {
		leg := a.legs[ref.Leg]
		if ref.Epoch == a.epoch && (leg == nil || leg.State() == sip.Terminated) {
			missing = append(missing, ref)
		}
	}
	return missing
}
