package node

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// A leg that goes over a trunk is labelled with it at the worker: the caller's, and
// the called one's with the trunk that took it. An agent's is not.
func TestLegsAreLabelledWithTheirTrunk(t *testing.T) {
	b := trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
	if got := b.a.linkOf(acd.CallerLeg); got != "sbc-a" {
		t.Errorf("the caller's leg is %q's", got)
	}
	b.give(40, dialOrder)
	b.answer(500, "")
	b.answer(200, offerSDP)
	if got := b.worker.all(mediaapi.LegAnswer); len(got) != 1 || got[0].Link != "sbc-b" {
		t.Errorf("the called leg's answer: %+v", got)
	}
	b = newCallBench(t)
	b.give(40, acd.RingAgent{Leg: "9", Agent: "ann", Contacts: []acd.Contact{{URI: "sip:ann@127.0.0.4"}}})
	b.answer(200, offerSDP)
	if got := b.worker.all(mediaapi.LegAnswer); len(got) != 1 || got[0].Link != "" {
		t.Errorf("an agent's answer: %+v", got)
	}
}

// What workers tell becomes an alarm in the log, and from there is seen by all:
// in the trunk's view, in the metrics, and in the order in which trunks are tried.
func TestWhatWorkersTellBecomesAnAlarm(t *testing.T) {
	b := trunkBench(t, acd.Trunk{ID: "sbc-a"}, acd.Trunk{ID: "sbc-b"})
	b.n.started = time.Now().Add(-time.Hour)
	rep := mediaapi.Reply{Result: mediaapi.ResultOK, Serial: 6}
	for serial := uint64(1); serial <= 6; serial++ {
		rep.Buckets = append(rep.Buckets, mediaapi.Bucket{Link: "sbc-a", Serial: serial, Calls: 10, Received: 5000, ReceivedLost: 100,
			Delay: 20_000, Timed: 10, Reporting: 10})
	}
	b.worker.refuse[mediaapi.Links] = rep
	b.n.askLinks(t.Context())
	changes := b.n.judgeLinks(time.Hour + 6*time.Second + 10*time.Second)
	if len(changes) != 1 {
		t.Fatalf("changes %+v", changes)
	}
	b.apply(changes[0])
	if again := b.n.judgeLinks(time.Hour + 16*time.Second); len(again) != 0 {
		t.Errorf("said again: %+v", again)
	}
	var views []routeapi.Trunk
	for _, v := range b.n.trunks() {
		if v.ID == "sbc-a" {
			views = append(views, v)
		}
	}
	if len(views) != 1 || len(views[0].Alarms) != 1 || views[0].Alarms[0].Value != 20_000 || views[0].MeasuredCalls != 10 || len(views[0].Measured) != 5 {
		t.Errorf("view %+v", views)
	}
	var out bytes.Buffer
	b.n.writeState(&out)
	for _, line := range []string{
		`routerd_link_alarm{trunk="sbc-a",direction="in",kind="loss"} 1`, `routerd_link_alarm{trunk="sbc-b",direction="in",kind="loss"} 0`,
		`routerd_link_loss_ratio{trunk="sbc-a",direction="in"} 0.02`, `routerd_link_delay_seconds{trunk="sbc-a",direction="both"} 0.02`,
		`routerd_link_calls{trunk="sbc-a"} 10`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if asked := b.worker.all(mediaapi.Links); len(asked) != 1 || asked[0].Serial != 0 {
		t.Errorf("asked %+v", asked)
	}
	b.n.askLinks(t.Context())
	if asked := b.worker.all(mediaapi.Links); len(asked) != 2 || asked[1].Serial != 6 {
		t.Errorf("asked again %+v", asked)
	}
}
