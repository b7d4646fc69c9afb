package node

import (
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// look has the node audit once while the bench's actor does its work.
func (b *callBench) look(suspects map[acd.LegRef]bool) map[acd.LegRef]bool {
	b.n.actors = map[acd.CallID]*actor{b.a.call: b.a}
	found := make(chan map[acd.LegRef]bool)
	go func() { found <- b.n.auditOnce(b.Context(), suspects) }()
	for {
		select {
		case <-b.a.box.wake:
			for msg, ok := b.a.box.take(); ok; msg, ok = b.a.box.take() {
				b.a.handle(msg)
			}
		case now := <-found:
			return now
		}
	}
}

// audits are those in the log.
func (b *callBench) audits() (out []acd.DialogsAudited) {
	for _, body := range b.log.since(b.told) {
		if f, ok := body.(acd.DialogsAudited); ok {
			out = append(out, f)
		}
	}
	return out
}

// A leg with a dialog is never reported, one without at the second look.
func TestALegWithoutADialogIsReportedAtTheSecondLook(t *testing.T) {
	b := newCallBench(t)
	var suspects map[acd.LegRef]bool
	for range 3 {
		suspects = b.look(suspects)
	}
	if got := b.audits(); len(suspects) != 0 || len(got) != 0 {
		t.Fatalf("a leg with a dialog is suspected: %v, %v", suspects, got)
	}
	// The dialog is over and the machine never learnt of it.
	delete(b.a.legs, acd.CallerLeg)
	ref := acd.LegRef{Call: b.a.call, Epoch: b.a.epoch, Leg: acd.CallerLeg}
	suspects = b.look(suspects)
	if got := b.audits(); !suspects[ref] || len(suspects) != 1 || len(got) != 0 {
		t.Fatalf("first look: %v, %v", suspects, got)
	}
	suspects = b.look(suspects)
	got := b.audits()
	if len(got) != 1 || got[0].Owner != b.r1 || len(got[0].Missing) != 1 || got[0].Missing[0] != ref {
		t.Errorf("second look reported %+v, want %+v", got, ref)
	}
	if len(suspects) != 0 {
		t.Errorf("still suspected: %v", suspects)
	}
}

// Which legs are asked for, and which an actor calls unsupported.
func TestWhatAnAuditAsks(t *testing.T) {
	b := newCallBench(t)
	b.give(40, dialOrder) // a leg the machine does not know is nobody's business
	legs := b.n.liveLegs(b.a.call)
	if len(legs) != 1 || legs[0] != (acd.LegRef{Call: b.a.call, Epoch: b.a.epoch, Leg: acd.CallerLeg}) {
		t.Fatalf("asks for %+v", legs)
	}
	if missing := b.a.unsupported(legs); len(missing) != 0 {
		t.Errorf("missing %+v", missing)
	}
	b.a.legs[acd.CallerLeg].Bye(5)
	if missing := b.a.unsupported(legs); len(missing) != 0 {
		t.Errorf("a leg whose BYE is out will report its end: missing %+v", missing)
	}
	b.give(41, acd.CancelRing{Leg: "2"})
	ask := func(leg acd.LegID, epoch uint64) bool {
		return len(b.a.unsupported([]acd.LegRef{{Call: b.a.call, Epoch: epoch, Leg: leg}})) == 1
	}
	if ask("2", b.a.epoch) {
		t.Error("a leg being cancelled is unsupported")
	}
	if !ask("9", b.a.epoch) {
		t.Error("a leg without a dialog is supported")
	}
	if ask("9", b.a.epoch+1) {
		t.Error("an audit of another epoch is answered")
	}
	b.answer(503, "") // cancelled, so tried nowhere else: over
	if s := b.a.legs["2"].State(); s != sip.Terminated || !ask("2", b.a.epoch) {
		t.Errorf("a leg that is %s is supported", s)
	}
	claim := b.apply(acd.CallClaimed{OnCall: acd.OnCall{Call: b.a.call, Epoch: b.a.epoch}, Owner: b.r2})
	if legs := b.n.liveLegs(b.a.call); len(legs) != 0 || claim.Epoch == 0 {
		t.Errorf("asks for another router's %+v", legs)
	}
}
