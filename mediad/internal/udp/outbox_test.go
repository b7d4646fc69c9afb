//go:build linux

package udp

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A datagram of the outbox comes as one of the socket whose port it bears, and its
// checksum is right: the kernel throws others away.
func TestOutboxSendsAsItsSockets(t *testing.T) {
	o, err := NewOutbox(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Skip("NOT RUN: raw sockets need CAP_NET_RAW:", err)
	}
	defer o.Close()
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p, _ := NewPoller()
	defer p.Close()
	if err := p.Add(b, 1); err != nil {
		t.Fatal(err)
	}
	to := NewDest(b.Addr())
	if !o.Takes(mostBatched, to) || o.Takes(mostBatched+1, to) || o.Takes(1, NewDest(netip.MustParseAddrPort("[::1]:9"))) {
		t.Error("IPv4 and audio only")
	}
	batch := NewBatch()
	for size := range 300 {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i*7 + size)
		}
		o.Put(copy(o.Next()[:size], want), a.Addr().Port(), to)
		if n := o.Flush(); n != 0 {
			t.Fatalf("%d bytes: not sent", size)
		}
		if n := receive(t, p, batch, b); n != 1 {
			t.Fatalf("%d bytes: %d datagrams", size, n)
		}
		if data, from := batch.Datagram(0); string(data) != string(want) || from != a.Addr() {
			t.Fatalf("%d bytes came as %d from %s", size, len(data), from)
		}
	}
}

// What the kernel refuses costs itself alone.
func TestOutboxGoesOnAfterARefusal(t *testing.T) {
	o, err := NewOutbox(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Skip("NOT RUN: raw sockets need CAP_NET_RAW:", err)
	}
	defer o.Close()
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	good, bad := NewDest(b.Addr()), NewDest(netip.MustParseAddrPort("255.255.255.255:9")) // broadcast is not allowed
	for _, to := range []*Dest{good, bad, bad, good} {
		o.Put(copy(o.Next()[:1], "x"), a.Addr().Port(), to)
	}
	if n := o.Flush(); n != 2 {
		t.Errorf("%d unsent", n)
	}
	batch, got := NewBatch(), 0
	p, _ := NewPoller()
	defer p.Close()
	if err := p.Add(b, 1); err != nil {
		t.Fatal(err)
	}
	for got < 2 {
		got += receive(t, p, batch, b)
	}
	if got != 2 {
		t.Errorf("%d came", got)
	}
}

// A standby prepares an address before it is on the machine.
func TestOutboxOfAnAddressThatIsElsewhere(t *testing.T) {
	o, err := NewOutbox(netip.MustParseAddr("192.0.2.77"))
	if errors.Is(err, unix.EPERM) {
		t.Skip("NOT RUN: raw sockets need CAP_NET_RAW:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if _, err := NewOutbox(netip.MustParseAddr("2001:db8::1")); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("IPv6: %v", err)
	}
}
