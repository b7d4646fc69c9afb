package dtls

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 20 * time.Second

// result is what Done was told.
type result struct {
	keys Keys
	err  error
}

// pair starts a client and a server that reach each other; lose says which
// datagrams get lost, counted from 1 over both.
func pair(t *testing.T, client, server Config, lose func(n int64) bool) (c, s result) {
	t.Helper()
	var a, b atomic.Pointer[Association]
	var n atomic.Int64
	send := func(to *atomic.Pointer[Association]) func([]byte) {
		return func(d []byte) {
			if x := to.Load(); x != nil && !lose(n.Add(1)) {
				x.Deliver(d)
			}
		}
	}
	told := [2]chan result{make(chan result, 1), make(chan result, 1)}
	client.Client = true
	client.Send, server.Send = send(&b), send(&a)
	client.Done = func(k Keys, err error) { told[0] <- result{k, err} }
	server.Done = func(k Keys, err error) { told[1] <- result{k, err} }
	b.Store(Start(server))
	a.Store(Start(client))
	t.Cleanup(func() { a.Load().Close(); b.Load().Close() })
	for i, to := range []*result{&c, &s} {
		select {
		case *to = <-told[i]:
		case <-time.After(patience):
			t.Fatal("waited in vain for the handshake's end")
		}
		if to.err != nil { // the other one need not wait for its time to be over
			a.Load().Close()
			b.Load().Close()
		}
	}
	return c, s
}

func certificate(t *testing.T) *Certificate {
	t.Helper()
	c, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Both sides get the same keys, crosswise, though datagrams get lost.
func TestBothSidesHaveTheKeys(t *testing.T) {
	a, b := certificate(t), certificate(t)
	for name, lose := range map[string]func(int64) bool{
		"nothing lost":        func(int64) bool { return false },
		"every fifth is lost": func(n int64) bool { return n%5 == 2 },
	} {
		c, s := pair(t, Config{Certificate: a, Fingerprint: b.Fingerprint()}, Config{Certificate: b, Fingerprint: a.Fingerprint()}, lose)
		if c.err != nil || s.err != nil {
			t.Fatalf("%s: %v, %v", name, c.err, s.err)
		}
		if c.keys.Suite != s.keys.Suite || string(c.keys.Local) != string(s.keys.Peer) || string(c.keys.Peer) != string(s.keys.Local) ||
			len(c.keys.Local) != c.keys.Suite.KeyBytes() || string(c.keys.Local) == string(c.keys.Peer) {
			t.Errorf("%s: client has %s, server %s", name, c.keys.Suite, s.keys.Suite)
		}
	}
}

// A certificate that is not the one of the SDP is the end of it, on either side.
func TestFingerprintIsChecked(t *testing.T) {
	a, b, other := certificate(t), certificate(t), certificate(t)
	never := func(int64) bool { return false }
	if c, _ := pair(t, Config{Certificate: a, Fingerprint: other.Fingerprint()}, Config{Certificate: b, Fingerprint: a.Fingerprint()}, never); c.err == nil || !strings.Contains(c.err.Error(), "handshake") {
		t.Errorf("the client takes another's certificate: %v", c.err)
	}
	if _, s := pair(t, Config{Certificate: a, Fingerprint: b.Fingerprint()}, Config{Certificate: b, Fingerprint: other.Fingerprint()}, never); s.err == nil {
		t.Errorf("the server takes another's certificate: %v", s.err)
	}
}

// What is delivered before it is read is bounded; Close ends what waits.
func TestFloodAndClose(t *testing.T) {
	told := make(chan error, 1)
	a := Start(Config{Certificate: certificate(t), Fingerprint: make([]byte, 32), Send: func([]byte) {}, Done: func(_ Keys, err error) { told <- err }})
	for range 10 * maxWaiting {
		a.Deliver([]byte{22, 254, 253, 0, 0})
		a.Deliver(make([]byte, maxDatagram+1))
	}
	if n := len(a.conn.incoming); n > maxWaiting {
		t.Errorf("%d wait", n)
	}
	a.Close()
	if err := <-told; err == nil || errors.Is(err, ErrFingerprint) {
		t.Errorf("told %v", err)
	}
}
