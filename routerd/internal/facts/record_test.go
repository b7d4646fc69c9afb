package facts

import (
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
)

func attrs(pairs ...string) []acd.Attr {
	var list []acd.Attr
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, acd.Attr{Key: pairs[i], Value: pairs[i+1]})
	}
	return list
}

func allCalls(t *testing.T, s *Store, want Filter) (list []CallRecord) {
	t.Helper()
	if err := s.Calls(t.Context(), want, Place{}, 0, func(r *CallRecord) error { list = append(list, *r); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRecordsAreExact(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	const t0 = acd.Time(1_700_000_000_123_456_789)
	ns := func(d acd.Time) string { return strconv.FormatInt(int64(t0+d), 10) }
	add(t, s,
		acd.Fact{Index: 5, N: 2, At: t0 + 9, Kind: acd.FactLegEnded, Call: "c1", Leg: "2", Agent: "ann", Attrs: attrs(
			"role", "agent", "cause", "bye", "started", ns(3), "answered", ns(4), "codec", "opus", "suite", "AES", "media", "m1.1")},
		acd.Fact{Index: 6, At: t0 + 10, Kind: acd.FactCallEnded, Call: "c1", Agent: "ann", Queue: "sales", Node: "r2", Attrs: attrs(
			"outcome", "served", "by", "agent", "cause", "bye", "trunk", "sbc-a", "edge", "e1", "from", "+74951234567", "to", "+100", "sip_call_id", "x@y",
			"ticket", "7", "arrived", ns(0), "answered", ns(1), "enqueued", ns(2), "bridged", ns(4), "ended", ns(9), "wait", "0.000", "talk", "0.000",
			"offers", "3", "codec", "PCMA", "suite", "AES", "media", "m1.1")},
		acd.Fact{Index: 7, At: t0 + 11, Kind: acd.FactCallRefused, Call: "c2", Node: "r1", Attrs: attrs(
			"reason", "trunk-full", "code", "503", "trunk", "sbc-a", "edge", "e1", "from", "+7", "to", "+100", "sip_call_id", "z")},
	)
	want := []CallRecord{{
		Index: 6, Call: "c1", Outcome: "served", By: "agent", Cause: "bye", Trunk: "sbc-a", Edge: "e1", From: "+74951234567", To: "+100", SIPID: "x@y",
		Queue: "sales", Agent: "ann", Node: "r2", Ticket: 7, Offers: 3, Arrived: t0, Answered: t0 + 1, Enqueued: t0 + 2, Bridged: t0 + 4, Ended: t0 + 9,
		Codec: "PCMA", Suite: "AES", Media: "m1.1",
	}, {
		Index: 7, Call: "c2", Outcome: "refused", By: "system", Cause: "trunk-full", Code: 503, Trunk: "sbc-a", Edge: "e1", From: "+7", To: "+100", SIPID: "z",
		Node: "r1", Arrived: t0 + 11, Ended: t0 + 11,
	}}
	got := allCalls(t, s, Filter{})
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v", got, want)
	}
	if got[0].Wait() != 2*time.Nanosecond || got[0].Talk() != 5*time.Nanosecond || got[1].Wait() != 0 {
		t.Errorf("wait %v, talk %v; wait of the refused %v", got[0].Wait(), got[0].Talk(), got[1].Wait())
	}
	legs, err := s.Legs(t.Context(), "c1")
	wantLeg := LegRecord{Index: 5, N: 2, Call: "c1", Leg: "2", Role: "agent", Agent: "ann", Cause: "bye", Started: t0 + 3, Answered: t0 + 4, Ended: t0 + 9, Codec: "opus", Suite: "AES", Media: "m1.1"}
	if err != nil || !reflect.DeepEqual(legs, []LegRecord{wantLeg}) {
		t.Errorf("legs are %+v, %v", legs, err)
	}
}

func TestCallsAreChosenAndPaged(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	call := func(index uint64, id acd.CallID, arrived int, queue acd.QueueID, agent acd.AgentID, from, to string) acd.Fact {
		return acd.Fact{Index: index, At: acd.Time(1000 + index), Kind: acd.FactCallEnded, Call: id, Queue: queue, Agent: agent,
			Attrs: attrs("arrived", strconv.Itoa(arrived), "from", from, "to", to)}
	}
	add(t, s, call(1, "c1", 50, "sales", "ann", "+1", "+9"), call(2, "c2", 20, "sales", "bob", "+2", "+9"),
		call(3, "c3", 20, "support", "ann", "+3", "+8"), call(4, "c4", 90, "", "", "+9", "+1"))
	f := func(want string, filter Filter, after Place, limit int) {
		t.Helper()
		got := ""
		if err := s.Calls(t.Context(), filter, after, limit, func(r *CallRecord) error { got += r.Call; return nil }); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%+v after %+v limit %d: %s, want %s", filter, after, limit, got, want)
		}
	}
	f("c2c3c1c4", Filter{}, Place{}, 0)
	f("c2c3", Filter{}, Place{}, 2)
	f("c3c1", Filter{}, Place{20, 2, 0}, 2)
	f("c1c4", Filter{}, Place{20, 3, 0}, 0)
	f("c1", Filter{From: 21, To: 90}, Place{}, 0)
	f("c2c3", Filter{To: 50}, Place{}, 0)
	f("c2c1", Filter{Queue: "sales"}, Place{}, 0)
	f("c3c1", Filter{Agent: "ann"}, Place{}, 0)
	f("c1", Filter{Agent: "ann", Queue: "sales"}, Place{}, 0)
	f("c1c4", Filter{Number: "+1"}, Place{}, 0)
	f("c3", Filter{Call: "c3"}, Place{}, 0)
	f("", Filter{Queue: "nobody"}, Place{}, 0)
}

// The lists that people and the portal ask for are found by an index, however
// long the history is.
func TestListsAreFoundByAnIndex(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	f := func(index, query string, args ...any) {
		t.Helper()
		if plan := explain(t, s, query, args...); !strings.Contains(plan, " USING INDEX "+index+" ") {
			t.Errorf("%s\nis planned as %s, want index %s", query, plan, index)
		}
	}
	f("call_cdr_arrived", "SELECT * FROM call_cdr WHERE arrived >= 1 AND arrived < 9 AND (arrived, idx, n) > (0, 0, 0) ORDER BY arrived, idx, n LIMIT 5")
	f("call_cdr_queue", "SELECT * FROM call_cdr WHERE arrived >= 1 AND arrived < 9 AND (arrived, idx, n) > (0, 0, 0) AND queue = ? AND queue <> '' ORDER BY arrived, idx, n LIMIT 5", "q")
	f("call_cdr_agent", "SELECT * FROM call_cdr WHERE arrived >= 1 AND arrived < 9 AND (arrived, idx, n) > (0, 0, 0) AND agent = ? AND agent <> '' ORDER BY arrived, idx, n LIMIT 5", "a")
	for _, query := range []string{
		"SELECT * FROM leg_cdr WHERE " + ofCall + " ORDER BY idx, n",
		"SELECT * FROM call_cdr WHERE arrived >= 1 AND arrived < 9 AND (arrived, idx, n) > (0, 0, 0) AND " + ofCall + " ORDER BY arrived, idx, n LIMIT 5",
	} {
		plan := explain(t, s, query, "c")
		if !strings.Contains(plan, " USING PRIMARY KEY (idx=? AND n=?)") || !strings.Contains(plan, " USING COVERING INDEX fact_call ") {
			t.Errorf("%s\nis planned as %s, want the index of facts by call", query, plan)
		}
	}
	f("agent_span_ended", "SELECT * FROM agent_span WHERE ended > 1 AND began < 9 ORDER BY ended, idx, n")
	f("agent_span_agent", "SELECT * FROM agent_span WHERE agent = ? AND ended > 1 AND began < 9 ORDER BY ended, idx, n", "a")
}

func explain(t *testing.T, s *Store, query string, args ...any) string {
	t.Helper()
	rows, err := s.db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var a, b, c int
		var step string
		if err := rows.Scan(&a, &b, &c, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	return strings.Join(plan, "; ")
}

func TestSpansFollowOneAnother(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	status := func(index uint64, status, reason string) acd.Fact {
		return acd.Fact{Index: index, At: acd.Time(index * 10), Kind: acd.FactAgentStatus, Agent: "ann", Attrs: attrs("status", status, "reason", reason)}
	}
	state := func(index uint64, n uint32, state string, call acd.CallID) acd.Fact {
		return acd.Fact{Index: index, N: n, At: acd.Time(index * 10), Kind: acd.FactAgentState, Agent: "ann", Call: call, Attrs: attrs("state", state)}
	}
	offer := acd.Fact{Index: 2, At: 20, Kind: acd.FactOfferMade, Agent: "ann", Call: "c1", Queue: "sales"}
	add(t, s, status(1, "available", ""), offer, state(2, 1, "reserved", "c1"), state(3, 0, "ringing", "c1"))
	// Another life goes on with the present span.
	path := ""
	if err := s.db.QueryRow("SELECT file FROM pragma_database_list").Scan(&path); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, path)
	// Missed: two changes of one moment are one.
	first := status(5, "on-break", "rona")
	add(t, s, first, state(5, 1, "idle", ""), status(7, "available", ""))
	var got []Span
	if err := s.Spans(t.Context(), "", 0, 100, func(a *Span) error { got = append(got, *a); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []Span{
		{Index: 2, N: 1, Agent: "ann", From: 10, To: 20, Status: "available", State: "idle"},
		{Index: 3, Agent: "ann", From: 20, To: 30, Status: "available", State: "reserved", Call: "c1", Queue: "sales"},
		{Index: 5, Agent: "ann", From: 30, To: 50, Status: "available", State: "ringing", Call: "c1", Queue: "sales"},
		{Index: 7, Agent: "ann", From: 50, To: 70, Status: "on-break", Reason: "rona", State: "idle"},
		{Agent: "ann", From: 70, To: 100, Status: "available", State: "idle"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("spans are\n%+v\nwant\n%+v", got, want)
	}
	add(t, s, acd.Fact{Index: 9, At: 90, Kind: acd.FactAgentDeleted, Agent: "ann"})
	got = nil
	if err := s.Spans(t.Context(), "ann", 70, 100, func(a *Span) error { got = append(got, *a); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []Span{{Index: 9, Agent: "ann", From: 70, To: 90, Status: "available", State: "idle"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("spans of a deleted agent are %+v", got)
	}
}

// One record for each leg and each call of a machine's history, and the spans
// of an agent without a gap.
func TestOneRecordForEachLegAndCall(t *testing.T) {
	facts := history(t, 2000)
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	add(t, s, facts...)
	calls, legs := 0, 0
	deleted := map[string]map[acd.Time]bool{} // an agent who comes back begins anew
	for _, f := range facts {
		switch f.Kind {
		case acd.FactCallEnded, acd.FactCallRefused:
			calls++
		case acd.FactLegEnded:
			legs++
		case acd.FactAgentDeleted:
			if deleted[string(f.Agent)] == nil {
				deleted[string(f.Agent)] = map[acd.Time]bool{}
			}
			deleted[string(f.Agent)][f.At] = true
		}
	}
	if calls < 80 || legs < 80 {
		t.Fatalf("%d calls and %d legs show nothing", calls, legs)
	}
	if got := count(t, s, "call_cdr"); got != calls {
		t.Errorf("%d call records of %d calls", got, calls)
	}
	if got := count(t, s, "leg_cdr"); got != legs {
		t.Errorf("%d leg records of %d legs", got, legs)
	}
	last := map[string]acd.Time{}
	if err := s.Spans(t.Context(), "", 0, facts[len(facts)-1].At+1, func(a *Span) error {
		if at, ok := last[a.Agent]; ok && at != a.From && !deleted[a.Agent][at] || a.To <= a.From {
			t.Errorf("span %+v does not follow one that ended at %d", a, at)
		}
		last[a.Agent] = a.To
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(last) < 4 {
		t.Errorf("spans of %d agents show nothing", len(last))
	}
}
