package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"trunkline/routerd/routeapi"
)

// The range that is compared is the one that all routers have.
func TestDigestsAreOfTheSameRange(t *testing.T) {
	router := func(node string, floor, cursor uint64, sum string) string {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			after, err1 := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
			upto, err2 := strconv.ParseUint(r.URL.Query().Get("upto"), 10, 64)
			if err1 != nil || err2 != nil {
				t.Error(err1, err2)
			}
			d := routeapi.FactsDigest{Node: node, Floor: floor, Cursor: cursor, After: max(after, floor), SHA256: "same", Facts: 1}
			if d.Upto = max(d.After, min(upto, cursor, after+300)); d.Upto > 600 {
				d.SHA256 = sum
			}
			if err := json.NewEncoder(w).Encode(d); err != nil {
				t.Error(err)
			}
		}))
		t.Cleanup(srv.Close)
		return strings.TrimPrefix(srv.URL, "https://")
	}
	transport := httptest.NewTLSServer(nil)
	defer transport.Close()
	f := func(want string, hosts ...string) {
		t.Helper()
		var out strings.Builder
		insecure := transport.Client().Transport.(*http.Transport).Clone()
		insecure.TLSClientConfig.InsecureSkipVerify = true // of the test's own servers
		err := compareDigests(t.Context(), &client{hosts: hosts, http: &http.Client{Transport: insecure}}, printer{out: &out})
		if want == "" && (err != nil || !strings.Contains(out.String(), "r1    100    900   3 ")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q:\n%s", err, want, &out)
		}
	}
	r1, r2, r3 := router("r1", 100, 900, "aa"), router("r2", 50, 950, "aa"), router("r3", 0, 920, "bb")
	f("", r1, r2)
	f("between log indexes 400 and 700 the history of r3 is not that of r1", r1, r2, r3)
	f("refused", r1, "127.0.0.1:1")
}
