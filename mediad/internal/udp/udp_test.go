//go:build linux

package udp

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t testing.TB, addr string) *Socket {
	t.Helper()
	s, err := Listen(netip.MustParseAddrPort(addr), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// receive waits for n datagrams on a socket.
func receive(t testing.TB, p *Poller, b *Batch, s *Socket) int {
	t.Helper()
	for range 100 {
		if n := b.Receive(s); n > 0 {
			return n
		}
		p.Wait(100 * time.Millisecond)
	}
	t.Fatal("nothing came")
	return 0
}

func TestDatagramsArriveWithTheirSender(t *testing.T) {
	f := func(local string) {
		t.Helper()
		a, b := listen(t, local), listen(t, local)
		p, err := NewPoller()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Add(b, 42); err != nil {
			t.Fatal(err)
		}
		batch := NewBatch()
		for _, text := range []string{"one", "", "three"} {
			if text == "" { // an empty datagram must not upset the batch
				if _, err := unix.SendmsgN(a.fd, nil, nil, sockaddr(b.addr), 0); err != nil {
					t.Fatal(err)
				}
			} else if err := a.Send([]byte(text), NewDest(b.Addr())); err != nil {
				t.Fatal(err)
			}
			if n := p.Wait(5 * time.Second); n != 1 {
				t.Fatalf("%d events", n)
			}
			if token, ok := p.Token(0); !ok || token != 42 {
				t.Errorf("token %d", token)
			}
			receive(t, p, batch, b)
			if data, from := batch.Datagram(0); string(data) != text || from != a.Addr() {
				t.Errorf("%q from %s, want %q from %s", data, from, text, a.Addr())
			}
		}
	}
	f("127.0.0.1:0")
	f("[::1]:0")
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func TestOversizeDatagramIsEmpty(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p, _ := NewPoller()
	defer p.Close()
	if err := a.Send(make([]byte, bufferSize+1), NewDest(b.Addr())); err != nil {
		t.Fatal(err)
	}
	batch := NewBatch()
	receive(t, p, batch, b)
	if data, from := batch.Datagram(0); data != nil || from.IsValid() {
		t.Errorf("%d bytes from %s", len(data), from)
	}
}

// Whoever bound last gets the packets, and nobody gets in by accident.
func TestPortIsTakenOverOnPurposeOnly(t *testing.T) {
	old := listen(t, "127.0.0.1:0")
	if _, err := Listen(old.Addr(), false); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("an ordinary bind of a port in use: %v", err)
	}
	successor, err := Listen(old.Addr(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	p, _ := NewPoller()
	defer p.Close()
	peer := listen(t, "127.0.0.1:0")
	if err := peer.Send([]byte("x"), NewDest(old.Addr())); err != nil {
		t.Fatal(err)
	}
	batch := NewBatch()
	receive(t, p, batch, successor)
	if n := batch.Receive(old); n != 0 {
		t.Error("the old socket got it too")
	}
}

func TestWakeEndsAWait(t *testing.T) {
	p, _ := NewPoller()
	defer p.Close()
	p.Wake()
	if n := p.Wait(time.Minute); n != 1 {
		t.Fatalf("%d events", n)
	}
	if _, ok := p.Token(0); ok {
		t.Error("a wake-up is no socket")
	}
	if n := p.Wait(0); n != 0 {
		t.Error("still awake")
	}
}

func TestNoAllocationPerDatagram(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p, _ := NewPoller()
	defer p.Close()
	if err := p.Add(b, 1); err != nil {
		t.Fatal(err)
	}
	batch, dest, data := NewBatch(), NewDest(b.Addr()), make([]byte, 172)
	var from netip.AddrPort
	allocs := testing.AllocsPerRun(500, func() {
		if err := a.Send(data, dest); err != nil {
			t.Fatal(err)
		}
		p.Wait(time.Second)
		for i := range batch.Receive(b) {
			_, from = batch.Datagram(i)
		}
	})
	if allocs != 0 || from != a.Addr() {
		t.Errorf("%v allocations, from %s", allocs, from)
	}
}
