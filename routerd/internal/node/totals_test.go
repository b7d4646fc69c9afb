package node

import (
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/routeapi"
)

func TestTotalsAreServed(t *testing.T) {
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(3, 4))})
	if err != nil {
		t.Fatal(err)
	}
	for range 2500 {
		if err := f.Step(); err != nil {
			t.Fatal(err)
		}
	}
	r := newRecorder(t, "r1", f, &strings.Builder{})
	if err := r.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.node.appliedStamp, r.node.appliedAt = f.M.Now(), time.Now()
	var v routeapi.Totals
	q := url.Values{"source": {"both"}, "from": {"2023-11-14T22:00:00Z"}, "interval": {"15m"}, "zone": {"Europe/Moscow"}, "threshold": {"10s"}, "formula": {"all-offered"}}
	if code, body := asOperator(t, r.node, routeapi.PathTotals+"?"+q.Encode(), &v); code != 200 {
		t.Fatal(code, body)
	}
	var offered, answered uint64
	var inCall, available float64
	for _, x := range v.Queues {
		offered += x.Offered
		answered += x.Answered
		if x.Start.Minute()%15 != 0 || x.Of != x.Offered || x.Good > x.Of {
			t.Errorf("%+v", x)
		}
	}
	for _, x := range v.Agents {
		inCall += x.InCall
		available += x.Available
		if x.Occupancy < 0 || x.Occupancy > 1 {
			t.Errorf("%+v", x)
		}
	}
	if offered < 50 || answered < 10 || inCall < 10 || available < 10 || v.Formula != "all-offered" || v.Zone != "Europe/Moscow" {
		t.Errorf("%d offered, %d answered, %v s in calls, %v s available: %s %s", offered, answered, inCall, available, v.Formula, v.Zone)
	}
	if len(v.Differences) > 0 {
		t.Errorf("facts and records differ: %q", v.Differences)
	}
	// A record that does not follow from the facts shows.
	fact := acd.Fact{Index: f.M.Index() + 1, At: f.M.Now() + 1, Kind: acd.FactCallEnded, Call: "none", Queue: "sales", Attrs: []acd.Attr{
		{Key: "arrived", Value: "1700000000000000001"}, {Key: "enqueued", Value: "1700000000000000001"}, {Key: "ended", Value: "1700000000000000002"},
	}}
	if err := r.facts.Append(t.Context(), facts.Batch{After: r.facts.Cursor(), Upto: fact.Index, Facts: []acd.Fact{fact}}); err != nil {
		t.Fatal(err)
	}
	v = routeapi.Totals{}
	if code, body := asOperator(t, r.node, routeapi.PathTotals+"?"+q.Encode(), &v); code != 200 || len(v.Differences) != 1 {
		t.Errorf("%d %s: %q", code, body[:min(len(body), 200)], v.Differences)
	}
}

func TestWrongTotalsQueriesAreSaid(t *testing.T) {
	n := historian(t, slog.New(slog.DiscardHandler))
	f := func(query, want string) {
		t.Helper()
		code, body := asOperator(t, n, routeapi.PathTotals+"?"+query, nil)
		if code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want it to say %q", query, code, body, want)
		}
	}
	f("interval=5m", `interval \"5m\": want one of 15m, 30m, 1h, day`)
	f("zone=Moscow", `zone \"Moscow\": want a name like Europe/Moscow`)
	f("formula=best", "want one of [short-excluded")
	f("threshold=-1s", "threshold")
	f("from=2020-01-01T00:00:00Z", "at most")
	f("from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "from is later")
	f("from=2025-01-01T00:00:00Z&to=2025-03-01T00:00:00Z&source=both", "at most 744h0m0s with source=both")
	f("source=guess", "want records, facts or both")
	f("quene=x", "no such parameter")
}
