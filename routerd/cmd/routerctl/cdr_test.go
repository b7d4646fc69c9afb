package main

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

// pages serves call records two a page and notes what was asked.
func pages(t *testing.T, calls []routeapi.CallRecord) (*client, *[]url.Values) {
	var asked []url.Values
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != routeapi.PathCDR {
			t.Errorf("asked for %s", r.URL.Path)
		}
		asked = append(asked, r.URL.Query())
		at := map[string]int{"": 0, "two": 2, "four": 4}[r.URL.Query().Get("after")]
		page := routeapi.CDRPage{Calls: calls[at:min(at+2, len(calls))]}
		if at+2 < len(calls) {
			page.Next = map[int]string{2: "two", 4: "four"}[at+2]
		}
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	return &client{hosts: []string{strings.TrimPrefix(srv.URL, "https://")}, http: srv.Client()}, &asked
}

var someCalls = func() []routeapi.CallRecord {
	at := time.Date(2026, 3, 1, 9, 0, 0, 123_456_789, time.UTC)
	call := routeapi.CallRecord{
		Index: 12, N: 1, Call: "c1", Outcome: "served", By: "agent", Cause: "bye", Trunk: "sbc-a", Edge: "e1", From: "+74951234567", To: "+100", SIPID: "=cmd|' /C calc'!A0",
		Queue: "sales, \"vip\"", Agent: "Анна", Node: "r1", Ticket: 7, Offers: 1, Arrived: at, Answered: at.Add(1), Enqueued: at.Add(2), Bridged: at.Add(1_500_000_002), Ended: at.Add(3 * time.Second),
		Wait: 1.5, Talk: 1.5, Codec: "opus", Suite: "AES", Media: "m1.1",
		Legs: []routeapi.LegRecord{
			{Index: 11, Leg: "2", Role: "agent", Agent: "Анна", Cause: "bye", Started: at.Add(time.Second), Answered: at.Add(1_500_000_002), Ended: at.Add(3 * time.Second)},
			{Index: 11, N: 1, Leg: "1", Role: "caller", Cause: "bye", Started: at, Answered: at.Add(1), Ended: at.Add(3 * time.Second)},
		},
	}
	refused := routeapi.CallRecord{Index: 14, Call: "c2", Outcome: "refused", By: "system", Cause: "trunk-full", Code: 503, From: "@anonymous", To: "-12.5", Node: "r1", Arrived: at, Ended: at}
	return []routeapi.CallRecord{call, refused, refused}
}()

func cdrOutput(t *testing.T, args ...string) (out, about string, asked []url.Values, err error) {
	t.Helper()
	c, q := pages(t, someCalls)
	var o, a strings.Builder
	fs := flag.NewFlagSet("routerctl", flag.ContinueOnError)
	fs.SetOutput(&a)
	f := cdrFlags(fs)
	asJSON := fs.Bool("json", false, "")
	if err := fs.Parse(args); err != nil {
		return "", a.String(), nil, err
	}
	err = f(t.Context(), c, printer{out: &o, json: *asJSON}, fs.Args())
	return o.String(), a.String(), *q, err
}

func TestCDRIsReadPageByPage(t *testing.T) {
	out, about, asked, err := cdrOutput(t, "-json", "-queue", "sales", "-full", "-legs", "-from", "2026-03-01T12:00", "-zone", "Europe/Moscow")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out, "\n"); n != 3 || about != "" {
		t.Errorf("%d lines, said %q, want 3 and nothing:\n%s", n, about, out)
	}
	want := url.Values{"queue": {"sales"}, "full": {"true"}, "legs": {"true"}, "from": {"2026-03-01T12:00:00+03:00"}}
	if len(asked) != 2 || !reflect.DeepEqual(asked[0], want) || asked[1].Get("after") != "two" {
		t.Errorf("asked %v", asked)
	}
	// A limit stops the reading, and says that it did.
	out, about, asked, err = cdrOutput(t, "-limit", "2")
	if err != nil || len(asked) != 1 || asked[0].Get("limit") != "2" || strings.Count(out, "\n") != 3 || !strings.Contains(about, "more than 2 calls") {
		t.Errorf("asked %v, printed\n%s and %q, %v", asked, out, about, err)
	}
}

// RFC 4180: CRLF, quotes doubled, a header; every moment with its nanoseconds.
func TestCDRAsCSV(t *testing.T) {
	out, _, _, err := cdrOutput(t, "-csv", "-bom")
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(out, "\uFEFF")
	if !ok || strings.Count(text, "\r\n") != 4 || strings.Count(text, "\n") != 4 {
		t.Fatalf("not four lines behind a byte order mark: %q", out)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	cell := func(row int, name string) string {
		for i, n := range rows[0] {
			if n == name {
				return rows[row][i]
			}
		}
		t.Fatalf("no column %s", name)
		return ""
	}
	f := func(row int, name, want string) {
		t.Helper()
		if got := cell(row, name); got != want {
			t.Errorf("row %d %s = %q, want %q", row, name, got, want)
		}
	}
	f(1, "queue", `sales, "vip"`)
	f(1, "agent", "Анна")
	f(1, "arrived", "2026-03-01T09:00:00.123456789Z")
	f(1, "bridged", "2026-03-01T09:00:01.623456791Z")
	f(1, "wait_seconds", "1.5")
	f(1, "talk_seconds", "1.499999998")
	f(1, "from", "+74951234567")
	f(1, "sip_call_id", "'=cmd|' /C calc'!A0")
	f(2, "from", "'@anonymous")
	f(2, "to", "-12.5")
	f(2, "code", "503")
	f(2, "answered", "")
	f(2, "wait_seconds", "0")

	if out, _, _, err = cdrOutput(t, "-csv", "-raw"); err != nil || !strings.Contains(out, ",=cmd|") || !strings.HasPrefix(out, "call,") {
		t.Errorf("%q, %v", out, err)
	}
	out, _, _, err = cdrOutput(t, "-csv", "-legs")
	want := "call,leg,role,agent,cause,code,started,answered,ended,codec,suite,media,index,n\r\n" +
		"c1,2,agent,Анна,bye,,2026-03-01T09:00:01.123456789Z,2026-03-01T09:00:01.623456791Z,2026-03-01T09:00:03.123456789Z,,,,11,0\r\n" +
		"c1,1,caller,,bye,,2026-03-01T09:00:00.123456789Z,2026-03-01T09:00:00.123456790Z,2026-03-01T09:00:03.123456789Z,,,,11,1\r\n"
	if err != nil || out != want {
		t.Errorf("got\n%s%v, want\n%s", out, err, want)
	}
}

func TestFormulasAreMadeHarmless(t *testing.T) {
	f := func(cell, want string) {
		t.Helper()
		if got := harmless(cell); got != want {
			t.Errorf("%q becomes %q, want %q", cell, got, want)
		}
	}
	f("", "")
	f("ann", "ann")
	f("+74950000001", "+74950000001")
	f("-5.25", "-5.25")
	f("=1+1", "'=1+1")
	f("+1+1", "'+1+1")
	f("-cmd", "'-cmd")
	f("@SUM(A1)", "'@SUM(A1)")
	f("\t=1", "'\t=1")
	f("+", "'+")
	f("1=1", "1=1")
}

func TestWrongCDRFlagsAreSaid(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		_, about, asked, err := cdrOutput(t, args...)
		if err == nil || !strings.Contains(err.Error()+about, want) || len(asked) > 0 {
			t.Errorf("cdr %v: %v %s, want it to say %q", args, err, about, want)
		}
	}
	f("-from: \"yesterday\" is no moment", "-from", "yesterday")
	f("-zone: unknown time zone Mars", "-zone", "Mars")
	f("-limit must not be negative", "-limit", "-1")
	f("-bom and -raw are for -csv", "-bom")
	f("\"extra\" is not a flag", "extra")
	f("not defined: -nonsense", "-nonsense")
}

func TestMoments(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC)
	f := func(s, want string) {
		t.Helper()
		got, err := parseMoment(s, berlin, now)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, %v; want %s", s, got.UTC(), err, want)
		}
	}
	f("24h", "2026-03-29T12:00:00Z")
	f("2026-03-29", "2026-03-28T23:00:00Z") // before summer time began
	f("2026-03-30", "2026-03-29T22:00:00Z")
	f("2026-03-30T09:30", "2026-03-30T07:30:00Z")
	f("2026-03-30 09:30:00.5", "2026-03-30T07:30:00.5Z")
	f("2026-03-30T09:30:00+03:00", "2026-03-30T06:30:00Z")
}
