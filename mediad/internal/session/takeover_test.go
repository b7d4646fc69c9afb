package session

import (
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
	"net/netip"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/internal/standby"
	"trunkline/mediad/mediaapi"
)

// pairOf is two workers, each able to stand by for the other, and the media
// address that moves between them.
type pairOf struct {
	addr   string
	a, b   *Engine
	stores [2]*standby.Store
	remote [2]string // replication
	lives  [2]uint64
	start  func(i int) *Engine // another life of a worker, with nothing but what it stands by for
}

// names of the workers of a pair.
var names = [2]string{"a", "b"}

func identity(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"w.worker.test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// newPair starts two workers; a hosts addr with b as its standby.
func newPair(t testing.TB, addr string, change ...func(*Config)) *pairOf {
	t.Helper()
	id := identity(t)
	roots := x509.NewCertPool()
	leaf, _ := x509.ParseCertificate(id.Certificate[0])
	roots.AddCert(leaf)
	p := &pairOf{addr: addr}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	p.start = func(i int) *Engine {
		p.lives[i]++
		return newEngine(t, "", append(change, func(c *Config) {
			c.Worker, c.Replicas, c.Incarnation = names[i], p.stores[i], p.lives[i]
			c.TLS = func(string) *tls.Config {
				return &tls.Config{Certificates: []tls.Certificate{id}, RootCAs: roots, ServerName: "w.worker.test"}
			}
		})...)
	}
	for i := range names {
		p.stores[i] = standby.NewStore(log)
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{id}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
		if err != nil {
			t.Fatal(err)
		}
		p.remote[i] = l.Addr().String()
		go func() { _ = p.stores[i].Serve(l) }()
		t.Cleanup(func() { l.Close(); p.stores[i].Close() })
	}
	p.a, p.b = p.start(0), p.start(1)
	p.host(t, p.a, 1, "b")
	until(t, "b holds a full copy", func() bool { _, full := p.stores[1].Held(addr); return full })
	return p
}

// host tells a worker to host the address.
func (p *pairOf) host(t testing.TB, e *Engine, epoch uint64, by string) {
	t.Helper()
	r := mediaapi.Request{Command: mediaapi.Host, Address: p.addr, Epoch: epoch, Standby: by}
	switch by {
	case "a":
		r.Replication = p.remote[0]
	case "b":
		r.Replication = p.remote[1]
	}
	do(t, e, r)
}

// marked waits until the standby has marks made from now on.
func (p *pairOf) marked(t testing.TB, e *Engine) {
	t.Helper()
	e.sendMarksOnce()
	// What follows on the same connection is acknowledged after the marks.
	e.mu.Lock()
	var wait <-chan struct{}
	for _, h := range e.hosts {
		if h.link == nil {
			continue
		}
		wait = h.link.Put("probe", []byte("{}"))
		h.link.Drop("probe")
	}
	e.mu.Unlock()
	if wait == nil {
		t.Fatal("no standby")
	}
	select {
	case <-wait:
	case <-time.After(patience):
		t.Fatal("the standby never acknowledged")
	}
}

// The host of a media address dies; its standby is told to host it. Both
// parties go on with the keys and counters they have and lose only what was
// sent meanwhile.
func TestTalkGoesOnAtTheStandby(t *testing.T) {
	for i, suite := range []srtp.Suite{srtp.AEAD128GCM, srtp.AESCM128SHA180} {
		for j, mux := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s mux=%v", suite, mux), func(t *testing.T) {
				t.Parallel()
				p := newPair(t, fmt.Sprintf("127.20.4.%d", 10+2*i+j))
				x, y := newPhone(t, suite, mux), newPhone(t, suite, mux)
				x.dial(p.a, "c")
				y.ring(p.a, "c", "2")
				connect(t, p.a, "c")
				for ; x.seq < 3*65536-6; x.seq += min(30000, 3*65536-6-x.seq) {
					x.send("on the way to ROC 3")
					y.hear()
				}
				x.rtp = x.listen() // SDP no longer says where the phone is
				talk := func(n int) {
					t.Helper()
					for range n {
						for _, way := range []struct{ from, to *phone }{{x, y}, {y, x}} {
							seq, text := uint16(way.from.seq), fmt.Sprint("packet ", way.from.seq)
							way.from.send(text)
							if h := way.to.hear(); h.payload != text || h.seq != seq || h.ssrc != way.from.ssrc {
								t.Fatalf("heard %+v, want %s", h, text)
							}
						}
					}
				}
				talk(3)
				p.marked(t, p.a)
				talk(7) // over a wrap, and not marked
				p.a.Close()
				x.send("lost")
				y.send("lost")
				p.host(t, p.b, 2, "")
				y.send("first")
				if h := x.hear(); h.payload != "first" {
					t.Fatalf("heard %+v", h)
				}
				talk(20)
				y.sendReport([]byte{0x80, 201, 0, 1, 1, 2, 3, 4})
				x.hearReport()
				if s := stats(t, p.b, "c", "1"); s.Packets != 20 || s.AuthFailed != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// A prompt goes on about where it was, as a stream of its own.
func TestPromptGoesOnAtTheStandby(t *testing.T) {
	p := newPair(t, "127.20.4.20")
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	do(t, p.a, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long", Loop: true})
	before := x.hear()
	for range 10 {
		before = x.hear()
	}
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	for {
		after := x.hear()
		if after.ssrc == before.ssrc {
			before = after
			continue // was under way
		}
		var was, is int
		fmt.Sscanf(before.payload, "long PCMA frame %d", &was)
		fmt.Sscanf(after.payload, "long PCMA frame %d", &is)
		if is < was-20 || is > was+20 || !after.marker {
			t.Errorf("went on with %+v after %+v", after, before)
		}
		return
	}
}

// A host that wakes up after it was taken over from learns it from its standby,
// lets go, and can't come back under its old epoch.
func TestOldHostIsFencedOff(t *testing.T) {
	p := newPair(t, "127.20.4.21")
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	p.host(t, p.b, 2, "") // a is not dead at all
	until(t, "a lets the address go", func() bool { return len(p.a.Hosted()) == 0 })
	if legs, _ := p.a.Load(); legs != 0 {
		t.Errorf("a kept %d legs", legs)
	}
	if reply, _ := p.a.Do(mediaapi.Request{Command: mediaapi.Host, Address: p.addr, Epoch: 1}); reply.Code != 409 {
		t.Errorf("old epoch: %+v", reply)
	}
	x.send("x")
	until(t, "b hears the phone", func() bool { return stats(t, p.b, "c", "1").Packets == 1 })
}

// The address moves to the standby, whose standby the first becomes, and back:
// twice taken over, still the same call.
func TestAddressMovesThereAndBack(t *testing.T) {
	p := newPair(t, "127.20.4.22")
	x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	y.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	hop := func(text string) {
		t.Helper()
		x.send(text)
		if h := y.hear(); h.payload != text {
			t.Fatalf("heard %q, want %q", h.payload, text)
		}
	}
	hop("at a")
	p.marked(t, p.a)
	p.host(t, p.b, 2, "a")
	until(t, "a let go and holds a copy", func() bool {
		n, full := p.stores[0].Held(p.addr)
		return len(p.a.Hosted()) == 0 && full && n == 1
	})
	hop("at b")
	p.marked(t, p.b)
	p.host(t, p.a, 3, "b")
	until(t, "b let go", func() bool { return len(p.b.Hosted()) == 0 })
	hop("at a again")
}

// A worker without replica and sessions just starts to host.
func TestNewAddressIsHostedEmpty(t *testing.T) {
	e := newEngine(t, "")
	reply, _ := e.Do(mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Address: "127.0.0.1"})
	if reply.Reason != mediaapi.ReasonNotHosted {
		t.Fatalf("before: %+v", reply)
	}
	do(t, e, mediaapi.Request{Command: mediaapi.Host, Address: "127.0.0.1", Epoch: 7, Worker: e.cfg.Worker})
	do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1", Address: "127.0.0.1"})
	do(t, e, mediaapi.Request{Command: mediaapi.Host, Address: "127.0.0.1", Epoch: 7})
	if legs, _ := e.Load(); legs != 1 {
		t.Error("a repeat of host cost a leg")
	}
	do(t, e, mediaapi.Request{Command: mediaapi.Host, Address: "127.0.0.1", Epoch: 8, Worker: "other"})
	if legs, _ := e.Load(); legs != 0 || len(e.Hosted()) != 0 {
		t.Error("not let go")
	}
}

// A standby that is dead or deaf blocks nothing for long.
func TestDeadStandbyHoldsUpNothing(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	e := newEngine(t, "", func(c *Config) { c.TLS = func(string) *tls.Config { return &tls.Config{ServerName: "x"} } })
	do(t, e, mediaapi.Request{Command: mediaapi.Host, Address: "127.0.0.1", Epoch: 1, Standby: "x", Replication: deaf.Addr().String()})
	if _, wait := e.Do(mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1"}); wait != nil {
		t.Error("waits for a standby that was never there")
	}
}

// A host that lives hands its calls over without the loss of one packet, and one
// that is told to do something meanwhile does it or says that it is not the host.
func TestALivingHostIsRelievedWithoutALoss(t *testing.T) {
	p := newPair(t, "127.20.4.23")
	const calls, packets = 4, 200
	var x, y [calls]*phone
	for i := range calls {
		id := fmt.Sprint("c", i)
		x[i], y[i] = newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AESCM128SHA180, true)
		x[i].dial(p.a, id)
		y[i].ring(p.a, id, "2")
		connect(t, p.a, id)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	moved := make(chan struct{})
	for n := range packets {
		<-tick.C
		if n == packets/2 {
			go func() {
				defer close(moved)
				p.host(t, p.b, 2, "")
			}()
		}
		for i := range calls {
			y[i].send(fmt.Sprint(n))
		}
	}
	<-moved
	until(t, "a lets the address go", func() bool { return len(p.a.Hosted()) == 0 })
	for i := range calls {
		heard := map[string]int{}
		for range packets {
			heard[x[i].hear().payload]++
		}
		for n := range packets {
			if heard[fmt.Sprint(n)] != 1 {
				t.Errorf("call %d: packet %d was heard %d times", i, n, heard[fmt.Sprint(n)])
			}
		}
	}
	r := mediaapi.Request{Command: mediaapi.Connect, CallID: "c0"}
	if p.a.Kept(r) || !p.b.Kept(r) {
		t.Error("the call is not where it should be")
	}
}

// A host that dies before its first marks of a new copy leaves marks all the same:
// without, its successor would know no rollover counter, and nobody would hear it.
func TestANewCopyHasItsMarks(t *testing.T) {
	p := newPair(t, "127.20.4.24")
	x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AESCM128SHA180, true)
	x.dial(p.a, "c")
	y.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	for ; y.seq < 2*65536; y.seq += 20000 {
		y.send("on the way to ROC 2")
		x.hear()
	}
	p.a.mu.Lock() // no marks are sent
	h := p.a.hosts[netip.MustParseAddr(p.addr)]
	h.link.Close()
	p.a.mu.Unlock()
	for range 2 { // a new epoch has a new copy
		p.host(t, p.a, 2, "b")
	}
	until(t, "b holds a copy of this epoch", func() bool { return h.link.Synced() })
	p.a.Close()
	p.host(t, p.b, 3, "")
	y.send("heard")
	if h := x.hear(); h.payload != "heard" {
		t.Fatalf("heard %+v", h)
	}
}
