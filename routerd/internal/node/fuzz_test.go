package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/routeapi"
)

// bodies are the requests of the API that have one.
var bodies = []struct{ method, path string }{
	{http.MethodPost, routeapi.PathAgentStatus}, {http.MethodPost, routeapi.PathWrapUp}, {http.MethodPost, routeapi.PathHelp}, {http.MethodPost, routeapi.PathTasks},
	{http.MethodPost, routeapi.PathCalls + "/c1/card"}, {http.MethodPost, routeapi.PathCalls + "/c1/callback"}, {http.MethodPost, routeapi.PathCalls + "/c1/recording"}, {http.MethodPost, routeapi.PathCalls + "/c1/transfer"},
	{http.MethodPut, routeapi.PathRouting}, {http.MethodPost, routeapi.PathActivate}, {http.MethodPost, routeapi.PathMembers}, {http.MethodPost, routeapi.PathPeerSIP},
}

// FuzzAPI: whatever an operator or another router sends, it is answered with a
// status, and a refusal with a sentence.
func FuzzAPI(f *testing.F) {
	f.Add(0, "", `{"agent":"ann","status":"available","reason":"x"}`)
	f.Add(1, "", `{"agent":"ann","remaining":1e300}`)
	f.Add(2, "", `{"id":"t1","number":"+74950000001","queue":"sales","due":"2026-01-01T00:00:00Z","card":{"a":"b"}}`)
	f.Add(3, "", `{"a":"b"}`)
	f.Add(5, "", `{"queue":"sales","agent":"","number":"+7495"}`)
	f.Add(6, "base=1&comment=x", "trunks:\n- {id: sbc-a, channels: 60}\nnumbers:\n- {number: \"+74950000001\", queue: sales}\nqueues:\n- {id: sales, music: music}\n")
	f.Add(7, "", `{"version":99}`)
	f.Add(8, "", `{"id":"r9","address":"x"}`)
	f.Add(9, "tcp 127.0.0.1:1 127.0.0.1:2", "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\r\n")
	n := &Node{id: "r1", life: f.Context(), machine: acd.New(), applied: math.MaxUint64, log: slog.New(slog.DiscardHandler), deadlineMoved: make(chan struct{}, 1),
		conf: &config.Config{Node: "r1", ClusterHost: "trunkline.internal", SIP: config.SIP{Listen: []string{"127.0.0.1:5060"}}}}
	n.proposer = newProposer("r1/fuzz")
	n.proposer.log = &memoryLog{machine: n.machine, state: &n.stateMu}
	res, _, err := n.proposer.propose(f.Context(), acd.NodeStarted{Node: "r1", Version: acd.MaxVersion})
	if err != nil {
		f.Fatal(err)
	}
	n.incarnation.Store(res.Incarnation)
	handler := n.apiHandler()
	f.Fuzz(func(t *testing.T, which int, query, body string) {
		at := bodies[(which%len(bodies)+len(bodies))%len(bodies)]
		role := roleOperator
		if at.path == routeapi.PathPeerSIP {
			role = roleRouter
		}
		r := httptest.NewRequestWithContext(t.Context(), at.method, at.path, bytes.NewReader([]byte(body)))
		r.URL.RawQuery = url.PathEscape(query)
		r.Header.Set(headerFlow, query)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"ops" + role}}}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s %q: %d %s", at.method, at.path, body, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Body.Len() == 0 {
			t.Errorf("%s %s %q: %d without a word", at.method, at.path, body, w.Code)
		}
	})
}
