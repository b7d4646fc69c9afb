package node

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/routeapi"
)

// historian is a node that has nothing but a history.
func historian(t *testing.T, log *slog.Logger, list ...acd.Fact) *Node {
	t.Helper()
	s, err := facts.Open(filepath.Join(t.TempDir(), "facts.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Append(t.Context(), facts.Batch{Upto: uint64(len(list)), Facts: list}); err != nil {
		t.Fatal(err)
	}
	return &Node{facts: s, log: log}
}

// asOperator asks the node's API as a holder of an operator's certificate.
func asOperator(t *testing.T, n *Node, path string, v any) (code int, body string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
	cert := &x509.Certificate{DNSNames: []string{"ann" + roleOperator}}
	cert.Subject.CommonName = "ann"
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	w := httptest.NewRecorder()
	n.apiHandler().ServeHTTP(w, r)
	if w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, w.Body.String()
}

func endedCall(index uint64, call acd.CallID, arrived int) []acd.Fact {
	return []acd.Fact{{Index: index, Kind: acd.FactLegEnded, Call: call, Leg: "1", Attrs: []acd.Attr{{Key: "role", Value: "caller"}}}, {
		Index: index, N: 1, At: acd.Time(1000 + index), Kind: acd.FactCallEnded, Call: call, Queue: "sales",
		Attrs: []acd.Attr{{Key: "arrived", Value: strconv.Itoa(arrived)}, {Key: "from", Value: "+74951234567"}},
	}}
}

func TestCallRecordsAreServedInPages(t *testing.T) {
	var list []acd.Fact
	for i := range 5 {
		list = append(list, endedCall(uint64(i+1), acd.CallID("c"+strconv.Itoa(i)), 500-i)...)
	}
	var log strings.Builder
	n := historian(t, slog.New(slog.NewTextHandler(&log, nil)), list...)
	got, pages := "", 0
	for next := ""; pages < 9; pages++ {
		var page routeapi.CDRPage
		if code, body := asOperator(t, n, routeapi.PathCDR+"?limit=2&legs=true&after="+next, &page); code != 200 {
			t.Fatal(code, body)
		}
		for _, c := range page.Calls {
			got += c.Call
			if c.From != "********4567" || len(c.Legs) != 1 || c.Legs[0].Role != "caller" {
				t.Errorf("call %+v", c)
			}
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if got != "c4c3c2c1c0" || pages != 2 {
		t.Errorf("got %s in %d pages and one more", got, pages)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	var page routeapi.CDRPage
	if code, _ := asOperator(t, n, routeapi.PathCDR+"?full=true&call=c3&queue=sales", &page); code != 200 || len(page.Calls) != 1 || page.Calls[0].From != "+74951234567" {
		t.Errorf("%d %+v", code, page)
	}
	if !strings.Contains(log.String(), "operator=ann") {
		t.Error("nobody is told who read numbers in full")
	}
	page = routeapi.CDRPage{}
	if code, body := asOperator(t, n, routeapi.PathCDR+"?queue=none", &page); code != 200 || page.Calls == nil || len(page.Calls) != 0 {
		t.Errorf("of none: %d %s", code, body)
	}
}

func TestWrongCDRQueriesAreSaid(t *testing.T) {
	n := historian(t, slog.New(slog.DiscardHandler))
	f := func(query, want string) {
		t.Helper()
		code, body := asOperator(t, n, routeapi.PathCDR+"?"+query, nil)
		if code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want it to say %q", query, code, body, want)
		}
	}
	f("from=monday", `from \"monday\": want a moment`)
	f("limit=0", "limit")
	f("limit=5001", "1 to 5000")
	f("after=1.2", "the page before's next")
	f("after=1.2.x", "the page before's next")
	f("full=perhaps", "want true or false")
	f("quene=sales", "quene: no such parameter")
	f("from=x&to=y", `to \"y\"`)
}

func TestFactsHideNumbers(t *testing.T) {
	var log strings.Builder
	attrs := func(from string) []acd.Attr { return []acd.Attr{{Key: "from", Value: from}} }
	n := historian(t, slog.New(slog.NewTextHandler(&log, nil)),
		acd.Fact{Index: 1, Kind: acd.FactCallArrived, Call: "c", Attrs: attrs("anna.kern")},
		acd.Fact{Index: 2, Kind: acd.FactCallMoved, Call: "c", Attrs: attrs("r1/12")},
		acd.Fact{Index: 3, Kind: "task.created", Attrs: []acd.Attr{{Key: "number", Value: "+74951234567"}}})
	f := func(query, want string) {
		t.Helper()
		var list []routeapi.Fact
		if code, body := asOperator(t, n, routeapi.PathFacts+query, &list); code != 200 {
			t.Fatal(code, body)
		}
		got := ""
		for _, x := range list {
			got += " " + x.Attrs["from"] + x.Attrs["number"]
		}
		if got != want {
			t.Errorf("%s shows%s, want%s", query, got, want)
		}
	}
	f("", " *****kern r1/12 ********4567")
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	f("?full=true", " anna.kern r1/12 +74951234567")
	if !strings.Contains(log.String(), "operator=ann") {
		t.Error("nobody is told who read numbers in full")
	}
}
