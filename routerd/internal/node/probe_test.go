package node

import (
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

func TestAWayIsJudgedByWhatWasAnsweredInARow(t *testing.T) {
	f := func(from acd.LinkState, answers string, want ...acd.LinkState) {
		t.Helper()
		h := health{state: from}
		for i, a := range answers {
			if h.note(a == '+'); h.state != want[i] {
				t.Errorf("%s after %q of %q: %s, want %s", from, answers[:i+1], answers, h.state, want[i])
			}
		}
	}
	const up, suspect, down = acd.LinkUp, acd.LinkSuspect, acd.LinkDown
	f("", "+", up)
	f("", "---", suspect, suspect, down)
	f(up, "-+-+", suspect, suspect, suspect, suspect)
	f(up, "-++", suspect, suspect, up)
	f(up, "---", suspect, suspect, down)
	f(down, "++-+++", down, down, down, down, down, up)
}

func TestAnswersOfAnSBCThatIsThere(t *testing.T) {
	for code, want := range map[int]bool{200: true, 404: true, 405: true, 488: true, 501: true, 0: false, 403: false, 408: false, 478: false, 500: false, 503: false, 504: false} {
		if takesCalls(code) != want {
			t.Errorf("%d counts as there: %t", code, !want)
		}
	}
}

// The question goes the way of a call, and its answer, its loss and its end by
// time are told apart from other messages.
func TestAProbeAsksTheTrunksSBCByTheEdge(t *testing.T) {
	b := newCallBench(t)
	b.n.probed = make(chan probeResult, 4)
	probes := b.n.links(nil)
	if len(probes) != 2 || probes[0].link != (link{"sbc-a", "127.0.0.2:5062"}) || probes[1].edge != "127.0.0.3:5062" {
		t.Fatalf("ways %+v", probes)
	}
	p := probes[1]
	b.n.ask(p)
	packet, req := b.newest("OPTIONS")
	if req.Get(trunkHeader) != "sbc-a" || len(packet.Hops) != 1 || packet.Hops[0].Addr != "127.0.0.3:5062" {
		t.Fatalf("asked %v:\n%s", packet.Hops, packet.Data)
	}
	answer := func(code string) sip.Message {
		return parse(t, "\nSIP/2.0 "+code+"\nVia: "+req.Get("Via")+"\nFrom: "+req.Get("From")+"\nTo: "+req.Get("To")+";tag=t\nCall-ID: "+
			req.CallID()+"\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n")
	}
	b.n.receive(answer("100 Trying"), sip.Flow{})
	b.n.receive(answer("200 OK"), sip.Flow{})
	r := <-b.n.probed
	if r != (probeResult{p.callID, 200}) {
		t.Fatalf("the answer is %+v", r)
	}
	b.n.judge(p, r.code)
	b.n.tellState(t.Context(), p)
	await(t, "the way to be up", func() bool {
		trunks := b.n.trunks()
		return len(trunks[0].Links) == 1 && trunks[0].Links[0].State == "up"
	})
	for range 3 {
		b.n.judge(p, 503)
	}
	p.told = time.Time{}
	b.n.tellState(t.Context(), p)
	await(t, "the way to be down", func() bool {
		l := b.n.trunks()[0].Links[0]
		return l.State == "down" && l.Cause == "answered 503" && b.n.trunks()[0].State == "down"
	})
	// Another leader begins with what is committed.
	if again := b.n.links(nil); again[1].state != acd.LinkDown || again[0].state != "" {
		t.Errorf("begins with %q and %q", again[0].state, again[1].state)
	}
}
