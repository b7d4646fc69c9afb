package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

// A call that two agents did not take before the third did: each choice is
// explained by what it was made from.
func TestWhyExplainsEachChoice(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	fact := func(index uint64, after time.Duration, kind, agent string, attrs ...string) routeapi.Fact {
		f := routeapi.Fact{Index: index, At: at.Add(after), Kind: kind, Call: "c1", Agent: agent, Queue: "sales", Node: "r1", Attrs: map[string]string{}}
		for _, a := range attrs {
			k, v, _ := strings.Cut(a, "=")
			f.Attrs[k] = v
		}
		return f
	}
	facts := []routeapi.Fact{
		fact(10, 0, "call.arrived", "", "trunk=sbc-a", "edge=edge-1", "from=+79991234567", "to=+74950000001", "sip_call_id=x@y"),
		fact(12, time.Second, "call.queued", "", "ticket=7", "waiting=2"),
		fact(13, 2*time.Second, "offer.made", "ann", "offer=1", "strategy=longest-idle", "candidates=ann:12.000 bob:3.100", "eligible=2",
			"excluded=in-call:2 wrap-up:1", "excluded_agents=cat:in-call dan:in-call eve:wrap-up"),
		fact(14, 22*time.Second, "offer.timed-out", "ann", "rang=20.000", "missed=1"),
		fact(15, 23*time.Second, "something.new", "bob", "key=value"),
		fact(16, 24*time.Second, "leg.ended", "ann", "cause=no-answer"),
		fact(20, 60*time.Second, "call.ended", "bob", "outcome=served", "by=caller", "cause=bye", "wait=24.000", "talk=30.000", "offers=2"),
	}
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("call") != "c1" {
			json.NewEncoder(w).Encode([]routeapi.Fact{})
			return
		}
		json.NewEncoder(w).Encode(facts)
	}))
	want := `INDEX  TIME (UTC)    AFTER    DECISION
10.0   09:00:00.000  0.000s   arrived on sbc-a by edge-1: ********4567 calls +74950000001
12.0   09:00:01.000  1.000s   into queue sales with ticket 7, 2 waiting
13.0   09:00:02.000  2.000s   offer 1 to ann: longest-idle
                                2 eligible, best first: ann 12.000, bob 3.100
                                not asked, in-call: 2 (cat, dan)
                                not asked, wrap-up: 1 (eve)
14.0   09:00:22.000  22.000s  ann let it ring for 20.000 s, 1 missed in a row
15.0   09:00:23.000  23.000s  something.new sales bob
                                key: value
20.0   09:01:00.000  60.000s  served, ended by the caller: bye; waited 24.000 s, talked 30.000 s, 2 offers
`
	if got := c.ok("why", "c1"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	c.has(c.ok("why", "c1", "-all"), "leg.ended", "cause: no-answer")
	var rows []decision
	if err := json.Unmarshal([]byte(c.ok("why", "-json", "c1")), &rows); err != nil || len(rows) != 6 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	if d := rows[2]; len(d.Candidates) != 2 || d.Candidates[1] != (scored{"bob", "3.100"}) || d.Excluded["wrap-up"] != "1" || d.Agents["dan"] != "in-call" {
		t.Errorf("the offer is %+v", d)
	}
	c.fails("no router knows anything of call \"c2\"", "why", "c2")
}
