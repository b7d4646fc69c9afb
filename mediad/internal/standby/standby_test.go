package standby

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const longest = 10 * time.Second

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// site is a standby with the TLS both sides use.
type site struct {
	store  *Store
	remote string
	client *tls.Config

	mu    sync.Mutex
	conns []net.Conn // accepted, to be cut
}

func newSite(t *testing.T) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"w"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	id := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{store: NewStore(quiet), remote: raw.Addr().String(), client: &tls.Config{RootCAs: pool, ServerName: "w", Certificates: id}}
	l := tls.NewListener(watched{raw, s}, &tls.Config{Certificates: id, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	go func() { _ = s.store.Serve(l) }()
	t.Cleanup(func() { l.Close(); s.store.Close() })
	return s
}

type watched struct {
	net.Listener
	s *site
}

func (w watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.s.mu.Lock()
		w.s.conns = append(w.s.conns, c)
		w.s.mu.Unlock()
	}
	return c, err
}

// cut breaks every connection there was.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

// host is a worker with records, linked to the site.
type host struct {
	mu      sync.Mutex // holds off changes, as an engine's lock would
	records map[string]string
	link    *Link
	fenced  chan uint64
}

func (s *site) host(t *testing.T, life, epoch uint64, records map[string]string) *host {
	t.Helper()
	h := &host{records: records, fenced: make(chan uint64, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.link = Connect(LinkConfig{
		Hello: Hello{Worker: "a", Incarnation: life, Address: "192.0.2.1", Epoch: epoch}, Remote: s.remote, TLS: s.client, Logger: quiet,
		Snapshot: func(begin func([]Entry)) {
			h.mu.Lock()
			defer h.mu.Unlock()
			var all []Entry
			for k, v := range h.records {
				all = append(all, Entry{Key: k, Record: []byte(v)})
			}
			begin(all)
		},
		Fenced: func(e uint64) { h.fenced <- e },
	})
	t.Cleanup(h.link.Close)
	return h
}

func (h *host) put(t *testing.T, key, value string) {
	t.Helper()
	h.mu.Lock()
	h.records[key] = value
	done := h.link.Put(key, []byte(value))
	h.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(longest):
		t.Fatal("never acknowledged")
	}
}

func (h *host) drop(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.records, key)
	h.link.Drop(key)
}

func (h *host) mark(key, value string) { h.link.Marks(AppendMark(nil, key, []byte(value))) }

// content is what a taken replica holds, as "key=record/mark ...".
func content(r *Replica) string {
	if r == nil {
		return "nothing"
	}
	var all []string
	for _, c := range r.Calls {
		all = append(all, fmt.Sprintf("%s=%s/%s", c.Key, c.Record, c.Mark))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestStandbyHoldsWhatTheHostHas(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{"old": "1"})
	until(t, "synced", h.link.Synced)
	h.put(t, "x", "1")
	h.put(t, "x", "2")
	h.put(t, "gone", "1")
	h.mark("x", "m1")
	h.mark("x", "m2")
	h.mark("unknown", "m")
	h.drop("gone")
	h.put(t, "y", "1") // acknowledged after all of the above
	if got, want := content(s.store.Take("192.0.2.1", 6)), "old=1/ x=2/m2 y=1/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := s.store.Take("192.0.2.1", 7); got != nil {
		t.Errorf("taken twice: %s", content(got))
	}
}

func TestBrokenConnectionIsMadeAgainWithAFullCopy(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{"x": "1", "gone": "1"})
	until(t, "synced", h.link.Synced)
	s.cut()
	until(t, "the break is noticed", func() bool { return !h.link.Synced() })
	h.drop("gone")
	h.put(t, "new", "1")
	until(t, "synced again", h.link.Synced)
	if got, want := content(s.store.Take("192.0.2.1", 6)), "new=1/ x=1/"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What was held before a copy began serves until the copy is whole.
func TestUnfinishedCopyDoesNotSpoilTheOneBefore(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{"x": "1"})
	until(t, "synced", h.link.Synced)
	h.link.Close()
	until(t, "it ended", func() bool { return !h.link.Synced() })
	conn, err := tls.Dial("tcp", s.remote, s.client)
	if err != nil {
		t.Fatal(err)
	}
	b := appendFrame(nil, frameHello, []byte(`{"worker":"a","incarnation":1,"address":"192.0.2.1","epoch":5}`))
	b = appendFrame(b, frameReset)
	b = appendKeyed(b, framePut, 1, "y", []byte("1"))
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	until(t, "the copy begins", func() bool { _, full := s.store.Held("192.0.2.1"); return !full })
	conn.Close()
	until(t, "it breaks off", func() bool { _, full := s.store.Held("192.0.2.1"); return full })
	if got := content(s.store.Take("192.0.2.1", 6)); got != "x=1/" {
		t.Errorf("got %s", got)
	}
}

func TestEpochsAreObeyed(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{"x": "1"})
	until(t, "synced", h.link.Synced)
	if r := s.store.Take("192.0.2.1", 5); r != nil {
		t.Error("taken under the host's own epoch")
	}
	late := s.host(t, 1, 4, map[string]string{})
	if e := <-late.fenced; e != 5 {
		t.Errorf("a host of epoch 4 was told %d", e)
	}
	r := s.store.Take("192.0.2.1", 9)
	if content(r) != "x=1/" || r.Epoch != 5 || r.Worker != "a" {
		t.Errorf("%+v", r)
	}
	// Until it is relieved it may go on, but nothing more is kept of it.
	if done := h.link.Put("y", []byte("1")); done != nil {
		select {
		case <-done:
			t.Error("kept after the replica was taken")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if len(h.fenced) != 0 {
		t.Error("fenced before it was relieved")
	}
	s.store.Relieve(r, 9)
	select {
	case e := <-h.fenced:
		if e != 9 {
			t.Errorf("the host was told %d", e)
		}
	case <-time.After(longest):
		t.Error("the host was not told that its epoch is over")
	}
	again := s.host(t, 1, 8, map[string]string{})
	if e := <-again.fenced; e != 9 {
		t.Errorf("a host of epoch 8 was told %d", e)
	}
	next := s.host(t, 2, 10, map[string]string{"z": "1"})
	until(t, "the next host is served", next.link.Synced)
}

// A worker that died and came back must not wipe out its own last life before
// that was taken over.
func TestNewLifeDoesNotWipeOutTheOld(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{"x": "1"})
	until(t, "synced", h.link.Synced)
	h.link.Close()
	conn, err := tls.Dial("tcp", s.remote, s.client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := appendFrame(nil, frameHello, []byte(`{"worker":"a","incarnation":2,"address":"192.0.2.1","epoch":5}`))
	if _, err := conn.Write(appendFrame(b, frameReset)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(longest))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the new life was served: %v", err)
	}
	if got := content(s.store.Take("192.0.2.1", 6)); got != "x=1/" {
		t.Errorf("got %s", got)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// A standby that hangs is waited for once, not by every call.
func TestHungStandbyIsNotWaitedForAgain(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 5, map[string]string{})
	until(t, "synced", h.link.Synced)
	s.store.mu.Lock() // it hangs
	first := h.link.Put("a", []byte("1"))
	if first == nil {
		t.Fatal("not waited for at all")
	}
	until(t, "patience ends", func() bool { return h.link.Put("b", []byte("1")) == nil })
	s.store.mu.Unlock()
	select {
	case <-first:
	case <-time.After(longest):
		t.Error("never acknowledged")
	}
	until(t, "waited for again", func() bool { return h.link.Put("c", []byte("1")) != nil })
}

func FuzzFrames(f *testing.F) {
	b := appendFrame(nil, frameReset)
	b = appendKeyed(b, framePut, 1, "k", []byte("v"))
	b = appendFrame(b, frameMarks, AppendMark(nil, "k", []byte("m")))
	b = appendFrame(b, frameSynced, make([]byte, 8))
	b = appendKeyed(b, frameDrop, 2, "k", nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, r := NewStore(quiet), &replica{}
		br := bufio.NewReader(strings.NewReader(string(b)))
		for {
			kind, body, err := readFrame(br)
			if err != nil {
				return
			}
			if _, err := s.apply(r, nil, kind, body); err != nil {
				return
			}
		}
	})
}

// A host is silent when its connection says nothing for some time, at once when it
// breaks, and no longer when it is made again.
func TestSilenceIsNoticed(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 1, nil)
	until(t, "the copy is whole", func() bool { _, full := s.store.Held("192.0.2.1"); return full })
	const limit = 50 * time.Millisecond
	h.mark("k", "v")
	until(t, "the host is silent", func() bool {
		lives := s.store.Silent(limit)
		return len(lives) == 1 && lives[0] == Life{"a", 1}
	})
	until(t, "it is heard again", func() bool { h.mark("k", "v"); return len(s.store.Silent(limit)) == 0 })
	h.link.Close()
	until(t, "its end is news", func() bool { return len(s.store.Silent(time.Hour)) == 1 })
}

// The standby confirms the epoch of who asks; a host that was taken over from hears
// of that instead.
func TestWhoAsksIsTold(t *testing.T) {
	s := newSite(t)
	h := s.host(t, 1, 1, nil)
	until(t, "the copy is whole", h.link.Synced)
	<-h.link.Ask()
	if !h.link.Synced() {
		t.Error("not confirmed")
	}
	r := s.store.Take("192.0.2.1", 2)
	asked := h.link.Ask()
	s.store.Relieve(r, 2)
	if asked != nil {
		<-asked
	}
	until(t, "the link is over", func() bool { return !h.link.Synced() })
}
