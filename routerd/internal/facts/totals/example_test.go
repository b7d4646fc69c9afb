package totals

import (
	"reflect"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

func at(s string) acd.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return acd.Time(t.UnixNano())
}

// A quarter of an hour of one queue, counted by hand. Threshold 20 s, short 5 s.
//
//	c1 answered after 10 s, talks 100 s into the next interval
//	c2 answered after 30 s, talks 60 s
//	c3 gives up after 3 s     (short)
//	c4 gives up after 15 s    (in time)
//	c5 gives up after 40 s    (late)
//	c6 dropped after 120 s
//	c7 gives up during the greeting
//	c8 refused
func TestServiceLevelByHand(t *testing.T) {
	t0 := at("2026-03-01T09:14:00Z")
	s := func(n int) acd.Time { return t0.Add(time.Duration(n) * time.Second) }
	call := func(queued, bridged, ended int, agent, by string) *facts.CallRecord {
		r := &facts.CallRecord{Queue: "sales", Arrived: t0, Answered: t0, By: by, Ended: s(ended), Agent: agent, Outcome: "x"}
		if queued >= 0 {
			r.Enqueued = s(queued)
		}
		if bridged >= 0 {
			r.Bridged = s(bridged)
		}
		return r
	}
	count := FromRecords(Settings{Interval: QuarterHour, Zone: time.UTC, Threshold: 20 * time.Second, Short: 5 * time.Second, From: t0, To: s(3600)})
	for _, c := range []*facts.CallRecord{
		call(2, 12, 112, "ann", "agent"),
		call(2, 32, 92, "bob", "caller"),
		call(2, -1, 5, "", "caller"),
		call(2, -1, 17, "", "caller"),
		call(2, -1, 42, "", "caller"),
		call(2, -1, 122, "", "system"),
		call(-1, -1, 1, "", "caller"),
		{Outcome: facts.OutcomeRefused, Arrived: t0, Ended: t0, By: "system"},
	} {
		count.Call(c)
	}
	// Ann wraps up for 40 s over the boundary, having talked over it too.
	for _, a := range []facts.Span{
		{Agent: "ann", From: s(0), To: s(2), Status: "available", State: "idle"},
		{Agent: "ann", From: s(2), To: s(12), Status: "available", State: "ringing", Queue: "sales"},
		{Agent: "ann", From: s(12), To: s(112), Status: "available", State: "in-call", Queue: "sales"},
		{Agent: "ann", From: s(112), To: s(152), Status: "on-break", State: "wrap-up", Queue: "sales"},
		{Agent: "ann", From: s(152), To: s(162), Status: "on-break", State: "idle"},
	} {
		count.Span(&a)
	}
	got := count.Table()
	sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
	first, second := at("2026-03-01T09:00:00Z"), at("2026-03-01T09:15:00Z")
	want := Table{
		Queues: []Queue{
			{Start: first, Refused: 1},
			{
				Start: first, Queue: "sales", Arrived: 7, Early: 1, Offered: 6, Answered: 2, Abandoned: 3, Dropped: 1,
				AnsweredInTime: 1, AbandonedInTime: 2, AbandonedShort: 1, Wait: sec(40), LongestWait: sec(120), AbandonedWait: sec(58), Talk: sec(160),
				Ringing: sec(10), InCall: sec(48),
			},
			{Start: second, Queue: "sales", InCall: sec(52), WrapUp: sec(40)},
		},
		Agents: []Agent{
			{Start: first, Agent: "ann", Handled: 1, Talk: sec(100), Available: sec(2), Ringing: sec(10), InCall: sec(48)},
			{Start: first, Agent: "bob", Handled: 1, Talk: sec(60)},
			{Start: second, Agent: "ann", InCall: sec(52), WrapUp: sec(40), OnBreak: sec(10)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v", got, want)
	}
	q := got.Queues[1]
	f := func(formula Formula, good, of uint64) {
		t.Helper()
		if g, o := q.ServiceLevel(formula); g != good || o != of {
			t.Errorf("%s is %d of %d, want %d of %d", formula, g, o, good, of)
		}
	}
	f(ShortExcluded, 1, 5)
	f(AnsweredOnly, 1, 2)
	f(AllOffered, 1, 6)
	f(AbandonedGood, 3, 6)
	f(LateAbandoned, 1, 4)
	if q.ASA() != sec(20) {
		t.Errorf("ASA is %v, want 20 s", q.ASA())
	}
	var all Queue
	all.Add(got.Queues[1])
	all.Add(got.Queues[2])
	if all.AHT() != sec(100) {
		t.Errorf("AHT is %v, want (160 + 40) / 2 s", all.AHT())
	}
}

// An agent who is available all day is so for 23 h, 24 h or 25 h of it.
func TestAgentsDaysAreThoseOfTheClock(t *testing.T) {
	count := FromRecords(Settings{Interval: Day, Zone: zone(t, "Europe/Berlin"), From: at("2026-01-01T00:00:00Z"), To: at("2027-01-01T00:00:00Z")})
	count.Span(&facts.Span{Agent: "ann", From: at("2026-03-27T23:00:00Z"), To: at("2026-03-30T22:00:00Z"), Status: "available", State: "idle"})
	count.Span(&facts.Span{Agent: "ann", From: at("2026-10-24T22:00:00Z"), To: at("2026-10-26T00:00:00Z"), Status: "available", State: "idle"})
	want := []time.Duration{24 * time.Hour, 23 * time.Hour, 24 * time.Hour, 25 * time.Hour, time.Hour}
	got := count.Table().Agents
	if len(got) != len(want) {
		t.Fatalf("%d days, want %d: %+v", len(got), len(want), got)
	}
	for i, a := range got {
		if a.Available != want[i] {
			t.Errorf("day %s has %v, want %v", time.Unix(0, int64(a.Start)).UTC(), a.Available, want[i])
		}
	}
}

// Who hangs up on the promise of a callback abandons nothing; who is called back
// and does not wait for the agent does, after all that time.
func TestCallbackIsAbandonedByWhoWasCalledBack(t *testing.T) {
	t0 := at("2026-03-01T09:00:00Z")
	set := Settings{Interval: QuarterHour, Zone: time.UTC, From: t0, To: t0.Add(time.Hour)}
	count := FromFacts(set, nil)
	for _, f := range []acd.Fact{
		{At: t0, Kind: acd.FactCallArrived},
		{At: t0, Kind: acd.FactCallQueued, Queue: "sales"},
		{At: t0.Add(time.Second), Kind: acd.FactCallbackPromised},
		{At: t0.Add(2 * time.Second), Kind: acd.FactLegEnded, Leg: acd.CallerLeg},
		{At: t0.Add(50 * time.Second), Kind: acd.FactCustomerAnswered, Leg: "2"},
		{At: t0.Add(60 * time.Second), Kind: acd.FactLegEnded, Leg: "2"},
		{At: t0.Add(61 * time.Second), Kind: acd.FactCallEnded, Queue: "sales", Attrs: []acd.Attr{{Key: "by", Value: acd.ByCaller}}},
	} {
		f.Call = "c1"
		count.Fact(f)
	}
	want := []Queue{{Start: t0, Queue: "sales", Arrived: 1, Offered: 1, Abandoned: 1, LongestWait: time.Minute, AbandonedWait: time.Minute}}
	if got := count.Table().Queues; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
