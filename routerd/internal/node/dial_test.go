package node

import (
	"slices"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// trunkBench is a call bench whose trunks are as told.
func trunkBench(t *testing.T, trunks ...acd.Trunk) *callBench {
	b := newCallBench(t)
	conf, _ := b.log.machine.Config()
	conf.Trunks = trunks
	conf.Outbound = acd.Outbound{Trunks: []acd.TrunkID{"sbc-a", "sbc-b"}, From: "+74950000001"}
	if r := b.apply(acd.ConfigApplied{Config: conf}); !r.Applied {
		t.Fatal(conf.Validate())
	}
	b.told = len(b.log.since(0))
	return b
}

// over are trunk and edge of the newest INVITE.
func (b *callBench) over() [2]string {
	p, inv := b.newest("INVITE")
	return [2]string{inv.Get(trunkHeader), p.Hops[0].Addr}
}

// An SBC that refuses for its own sake is not asked by its other edge: the next
// trunk is. The trunk that takes the call is the one whose channel counts.
func TestASBCsFailureLeadsToTheNextTrunk(t *testing.T) {
	b := trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
	b.give(40, dialOrder)
	b.answer(500, "")
	if got := b.over(); got != [2]string{"sbc-b", "127.0.0.2:5062"} {
		t.Fatalf("after 500 it is tried over %v", got)
	}
	b.answer(180, "")
	b.answer(200, offerSDP)
	var trunks []acd.TrunkID
	for _, body := range b.log.since(b.told) {
		switch f := body.(type) {
		case acd.LegProgressed:
			trunks = append(trunks, f.Trunk)
		case acd.LegAnswered:
			trunks = append(trunks, f.Trunk)
		}
	}
	if !slices.Equal(trunks, []acd.TrunkID{"sbc-b", "sbc-b"}) {
		t.Errorf("ringing and answer say trunks %v, want sbc-b", trunks)
	}
}

// A way that is down costs nothing: the call begins with one that is not.
func TestAWayThatIsDownIsLeftOut(t *testing.T) {
	b := trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
	down := func(trunk acd.TrunkID, edge string) {
		b.apply(acd.TrunkStateChanged{Trunk: trunk, Edge: edge, State: acd.LinkDown})
	}
	down("sbc-a", "127.0.0.2:5062")
	down("sbc-b", "127.0.0.3:5062")
	b.told = len(b.log.since(0))
	b.give(40, dialOrder)
	if got := b.over(); got != [2]string{"sbc-a", "127.0.0.3:5062"} {
		t.Errorf("first by %v", got)
	}
	b.answer(503, "")
	if got := b.over(); got != [2]string{"sbc-b", "127.0.0.2:5062"} {
		t.Errorf("then by %v", got)
	}
	b.answer(503, "")
	b.want("failed 2 503")

	b = trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
	for _, trunk := range dialOrder.Trunks {
		down(trunk, "127.0.0.2:5062")
		down(trunk, "127.0.0.3:5062")
	}
	b.give(40, dialOrder)
	if got := b.over(); got != [2]string{"sbc-a", "127.0.0.2:5062"} {
		t.Errorf("all are down, and the call is tried by %v", got)
	}
}

func TestNumbersGoOutAsTheTrunkWantsThem(t *testing.T) {
	b := trunkBench(t,
		acd.Trunk{ID: "sbc-a", Codecs: []string{"PCMU", "PCMA"}, NumbersOut: []acd.NumberRule{{Match: "+7*", Strip: 2, Prepend: "8"}}}, acd.Trunk{ID: "sbc-b"})
	b.give(40, dialOrder)
	_, inv := b.newest("INVITE")
	if inv.Dialled() != "89160000042" || inv.Caller() != "84950000001" || inv.Get("Diversion") != "" || inv.Get("Privacy") != "" {
		t.Errorf("over sbc-a:\n%s", inv.Raw())
	}
	if got := b.worker.all(mediaapi.LegOffer)[0].Codecs; !slices.Equal(got, []string{"PCMA", "PCMU"}) {
		t.Errorf("offered %v to a trunk that takes G.711 alone", got)
	}
	b.answer(503, "")
	b.answer(503, "")
	if _, inv = b.newest("INVITE"); inv.Dialled() != "+79160000042" || inv.Caller() != "+74950000001" {
		t.Errorf("over sbc-b:\n%s", inv.Raw())
	}
}

// A caller who is led outside is told of by the number, if it may be shown.
func TestForwardedCallsSayWhoCalls(t *testing.T) {
	f := func(caller, from, asserted, privacy string) {
		t.Helper()
		b := trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
		o := dialOrder
		o.Caller, o.Diverted = caller, []string{"+74950000001", "+4930123"}
		b.give(40, o)
		_, inv := b.newest("INVITE")
		if got := inv.From().URI; got != from {
			t.Errorf("%s: From %s, want %s", caller, got, from)
		}
		if got := inv.Get("P-Asserted-Identity"); got != asserted || inv.Get("Privacy") != privacy {
			t.Errorf("%s: asserted %s, privacy %q", caller, got, inv.Get("Privacy"))
		}
		if i := inv.Identity(); i.Diverting != "+4930123" || len(inv.Values("Diversion")) != 2 || len(inv.Values("History-Info")) != 3 {
			t.Errorf("%s: diverted by %+v\n%s", caller, i, inv.Raw())
		}
	}
	ours := "<sip:+74950000001@trunkline.internal>"
	f("", "sip:+74950000001@trunkline.internal", ours, "")
	f("+79161234567", "sip:+79161234567@trunkline.internal", "<sip:+79161234567@trunkline.internal>", "")
	f("anonymous", "sip:anonymous@anonymous.invalid", ours, "id")
}

// The edge of a phone's first flow is silent: the second flow goes first.
func TestASilentEdgesFlowIsTriedLast(t *testing.T) {
	var e edges
	flow1 := acd.Contact{URI: "sip:ann@10.0.0.1", Path: []string{"<sip:127.0.0.2:5062;lr;received=sip:10.0.0.1:5060>"}}
	flow2 := acd.Contact{URI: "sip:ann@10.0.0.1", Path: []string{"<sip:127.0.0.3:5062;lr>"}}
	odd := acd.Contact{URI: "sip:ann@10.0.0.1", Path: []string{"?"}}
	first := func() string { return e.heardFirst([]acd.Contact{flow1, odd, flow2})[0].Path[0] }
	if first() != flow1.Path[0] {
		t.Error("an edge that was never heard counts as silent")
	}
	e.hear("127.0.0.2:40000")
	e.hear("127.0.0.3:40000")
	if first() != flow1.Path[0] || !slices.Equal(e.order([]string{"127.0.0.2:5062", "127.0.0.3:5062"}, 3), []int{1, 0}) {
		t.Error("edges that were just heard count as silent")
	}
	e.heard["127.0.0.2"] = time.Now().Add(-edgeSilence - time.Second)
	if got := e.heardFirst([]acd.Contact{flow1, odd, flow2}); got[0].Path[0] != odd.Path[0] || got[1].Path[0] != flow2.Path[0] {
		t.Errorf("the flow of a silent edge is tried before %v", got)
	}
	if got := e.order([]string{"127.0.0.2:5062", "127.0.0.3:5062"}, 4); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("a silent edge goes first: %v", got)
	}
}
