package node

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// A recording is kept by its queue, which the worker is told; and the order,
// repeated after a takeover, ends no pause.
func TestARecordingIsStartedUnderItsQueue(t *testing.T) {
	b := newCallBench(t)
	b.dialledUp()
	b.give(41, acd.StartRecording{})
	var queue acd.QueueID
	b.a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(b.a.call)
		queue = c.Queue
	})
	got := b.worker.all(mediaapi.StartRecording)
	if len(got) != 1 || queue == "" || got[0].Label != string(queue) || !slices.Contains(got[0].Flags, mediaapi.FlagKeepPause) {
		t.Errorf("asked %+v for queue %q", got, queue)
	}
}

// TestAPauseGoesToTheCallsWorker, whoever is asked; what cannot be paused is told.
func TestAPauseGoesToTheCallsWorker(t *testing.T) {
	b := newCallBench(t)
	handler := b.n.apiHandler()
	f := func(call, body string, code int, text string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), "POST", routeapi.PathCalls+"/"+call+"/recording", strings.NewReader(body))
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"ann" + roleOperator}}}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != code || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%s: %d %s, want %d %s", body, w.Code, w.Body, code, text)
		}
	}
	f(string(b.a.call), `{"paused":true}`, 204, "")
	f(string(b.a.call), `{"paused":false}`, 204, "")
	if got := b.worker.all(mediaapi.PauseRecording); len(got) != 1 || got[0].CallID != string(b.a.call) {
		t.Errorf("asked %+v", got)
	}
	if got := b.worker.all(mediaapi.StartRecording); len(got) != 1 || !slices.Equal(got[0].Flags, []string{mediaapi.FlagResume}) {
		t.Errorf("asked %+v", got)
	}
	f(string(b.a.call), `{}`, 400, "paused: is missing")
	f("other", `{"paused":true}`, 404, "no such open call")
	b.worker.mu.Lock()
	b.worker.refuse[mediaapi.PauseRecording] = mediaapi.Reply{Result: mediaapi.ResultError, Code: 503, Reason: "recording is not configured"}
	b.worker.mu.Unlock()
	f(string(b.a.call), `{"paused":true}`, 503, "recording is not configured")
}
