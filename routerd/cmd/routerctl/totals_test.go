package main

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

func totalsOutput(t *testing.T, answer routeapi.Totals, args ...string) (out string, asked url.Values, err error) {
	t.Helper()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	var o, about strings.Builder
	fs := flag.NewFlagSet("routerctl", flag.ContinueOnError)
	fs.SetOutput(&about)
	var opt totalsOptions
	opt.flags(fs)
	if err := fs.Parse(args); err != nil {
		return "", nil, err
	}
	c := &client{hosts: []string{strings.TrimPrefix(srv.URL, "https://")}, http: srv.Client()}
	err = opt.run(t.Context(), c, printer{out: &o})
	return o.String(), asked, err
}

func TestTotalsTable(t *testing.T) {
	moscow, err := time.LoadLocation("Europe/Moscow")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 15, 0, 0, moscow)
	answer := routeapi.Totals{
		Interval: "15m", Zone: "Europe/Moscow", Formula: "short-excluded", Threshold: 20,
		Queues: []routeapi.QueueTotals{
			{Start: at, Queue: "", Refused: 3},
			{Start: at, Queue: "sales", Early: 1, Merged: 4, Offered: 10, Answered: 7, Abandoned: 2, Dropped: 1, Good: 6, Of: 9, ASA: 12.4, LongestWait: 95, Talk: 3700, WrapUp: 70, AHT: 538.6},
		},
		Agents: []routeapi.AgentTotals{{Start: at, Agent: "ann", Handled: 7, Talk: 3700, Available: 300, InCall: 600, Occupancy: 2.0 / 3}},
	}
	out, asked, err := totalsOutput(t, answer, "-zone", "Europe/Moscow", "-from", "2026-03-01")
	want := "" +
		"FROM Europe/Moscow       QUEUE  REFUSED  EARLY  MERGED  OFFERED  ANSWERED  ABANDONED  DROPPED  SL short-excluded 20s  ASA      MAX WAIT  TALK     WRAP-UP  AHT\n" +
		"2026-03-01 12:15 +03:00  -      3        0      0       0        0         0          0        -                      0:00:00  0:00:00   0:00:00  0:00:00  0:00:00\n" +
		"2026-03-01 12:15 +03:00  sales  0        1      4       10       7         2          1        66.7%                  0:00:12  0:01:35   1:01:40  0:01:10  0:08:59\n"
	if err != nil || out != want {
		t.Errorf("got\n%s%v, want\n%s", out, err, want)
	}
	if asked.Get("from") != "2026-03-01T00:00:00+03:00" || asked.Get("interval") != "15m" || asked.Get("source") != "records" {
		t.Errorf("asked %v", asked)
	}
	if out, _, err := totalsOutput(t, answer, "-agents"); err != nil || !strings.Contains(out, "ann    7        1:01:40  0:05:00    0:00:00  0:10:00  0:00:00  0:00:00  0:00:00   67%") {
		t.Errorf("got\n%s%v", out, err)
	}
	answer.Differences = []string{"sales"}
	if _, asked, err := totalsOutput(t, answer, "-check"); err == nil || asked.Get("source") != "both" {
		t.Errorf("asked %v; differences are told as %v", asked, err)
	}
	if _, _, err := totalsOutput(t, answer, "-zone", "Mars"); err == nil || !strings.Contains(err.Error(), "-zone") {
		t.Errorf("%v", err)
	}
}
