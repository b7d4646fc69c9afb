package sip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// counted holds a step to what it counts.
func counted(t *testing.T, c *metrics.Counter, n uint64, what string, step func()) {
	t.Helper()
	before := c.Get()
	step()
	for limit := time.Now().Add(10 * time.Second); c.Get() < before+n && time.Now().Before(limit); {
		runtime.Gosched()
	}
	if got := c.Get() - before; got != n {
		t.Errorf("%s: counted %d, want %d", what, got, n)
	}
}

// dialFrom opens a connection from an address of the loopback net.
func dialFrom(t testing.TB, from netip.Addr, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// cut waits for the far end to close the connection.
func cut(t testing.TB, c net.Conn) (rest []byte) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("connection not closed: %v", err)
	}
	return rest
}

func TestAConnectionThatSaysNothingIsClosed(t *testing.T) {
	b, _ := listen(t, TransportConfig{Limits: Limits{FirstMessage: 50 * time.Millisecond}})
	counted(t, closedSilent, 1, "silent from the start", func() { cut(t, dial(t, b.Addrs()[0])) })
	counted(t, closedSilent, 1, "keep-alives are no message", func() {
		c := dial(t, b.Addrs()[0])
		c.Write(headEnd)
		if got := cut(t, c); !bytes.Equal(got, crlf) {
			t.Errorf("got %q, want a pong", got)
		}
	})
	counted(t, closedSlow, 1, "half a message", func() {
		c := dial(t, b.Addrs()[0])
		c.Write([]byte("INVITE "))
		cut(t, c)
	})
}

func TestAConnectionThatSpokeMayFallSilent(t *testing.T) {
	b, in := listen(t, TransportConfig{Limits: Limits{FirstMessage: 50 * time.Millisecond, Idle: 300 * time.Millisecond}})
	c := dial(t, b.Addrs()[0])
	c.Write(invite())
	await(t, "message", in)
	said := time.Now()
	counted(t, closedIdle, 1, "idle", func() { cut(t, c) })
	if d := time.Since(said); d < 250*time.Millisecond {
		t.Errorf("closed after %v of silence, want 300 ms", d)
	}
}

func TestASourceLeavesRoomForOthers(t *testing.T) {
	mad, sane := netip.MustParseAddr("127.0.74.1"), netip.MustParseAddr("127.0.74.2")
	b, in := listen(t, TransportConfig{Allow: []netip.Addr{mad, sane}, Limits: Limits{Conns: 4, ConnsPerSource: 2}})
	addr := b.Addrs()[0]
	first := dialFrom(t, mad, addr)
	dialFrom(t, mad, addr)
	counted(t, refusedSource, 1, "third of one source", func() { cut(t, dialFrom(t, mad, addr)) })
	dialFrom(t, sane, addr).Write(invite())
	await(t, "message of another source", in)
	dialFrom(t, sane, addr)
	counted(t, refusedAll, 1, "fifth of all", func() { cut(t, dialFrom(t, netip.MustParseAddr("127.0.74.2"), addr)) })
	first.Close() // gives its place back
	for limit := time.Now().Add(10 * time.Second); ; {
		b.mu.Lock()
		n := b.sources[mad]
		b.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d connections counted of a source that has one", n)
		}
	}
	dialFrom(t, mad, addr).Write(invite())
	await(t, "message of the first source", in)
}

// What a far end does not read is bounded, and it is cut off.
func TestAReaderThatDoesNotReadIsCutOff(t *testing.T) {
	a, _ := listen(t, TransportConfig{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := a.start(nc, false)
	p := Packet{Data: bytes.Repeat([]byte("x"), 60000), Conn: c.flow.Remote}
	counted(t, closedUnread, 1, "cut off", func() {
		for c.open() {
			a.Send(p, nil)
			c.out.mu.Lock()
			held := c.out.bytes
			c.out.mu.Unlock()
			if held > outboxBytes {
				t.Fatalf("%d bytes wait for one connection", held)
			}
		}
	})
}

func TestDestinationsAreBounded(t *testing.T) {
	a, _ := listen(t, TransportConfig{Limits: Limits{Peers: 1}})
	b, in := listen(t, TransportConfig{})
	a.Send(requestTo(b.Addrs()[0], "one"), nil)
	await(t, "request", in)
	failed := make(chan error, 1)
	a.Send(requestTo("127.0.74.9:5060", "two"), func(err error) { failed <- err })
	if err := await(t, "failure", failed); !errors.Is(err, errManyPeers) {
		t.Errorf("a second destination: %v", err)
	}
}

func TestKeepAlivesAreNotMultiplied(t *testing.T) {
	b, in := listen(t, TransportConfig{})
	c := dial(t, b.Addrs()[0])
	counted(t, ignoredPings, 300-pongsPerRead, "pings", func() {
		c.Write(append(bytes.Repeat(headEnd, 300), invite()...))
		await(t, "message", in)
	})
	pongs := make([]byte, 2*pongsPerRead)
	if _, err := io.ReadFull(c, pongs); err != nil || !bytes.Equal(pongs, bytes.Repeat(crlf, pongsPerRead)) {
		t.Errorf("pongs %q %v", pongs, err)
	}
}

func TestWhatCannotBeAnsweredIsCounted(t *testing.T) {
	b, _ := listen(t, TransportConfig{ListenUDP: []string{"127.0.0.1:0"}, Limits: Limits{Message: 1000}})
	u, err := net.Dial("udp", b.Addrs()[1])
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	f := func(c *metrics.Counter, what, data string) {
		t.Helper()
		counted(t, c, 1, what, func() { u.Write([]byte(data)) })
	}
	f(ignoredGarbage, "garbage", "\x00\x01\x00\x00!\x12\xa4B")
	f(ignoredGarbage, "a line without end", "INVITE sip:a@b SIP/2.0")
	f(ignoredResponse, "response", "SIP/2.0 999 No\r\n\r\n")
	f(ignoredAck, "ACK", "ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nCSeq: x\r\n\r\n")
	f(ignoredOversize, "oversize", strings.Repeat("x", 1001))
}

// Lengths that lie, or that there are not.
func TestLengthsAreHeldTo(t *testing.T) {
	smuggled := string(invite("=OPTIONS sip:a@b SIP/2.0", "CSeq: 9 OPTIONS", "Call-ID: smuggled"))
	f := func(want int, closed bool, data []byte) {
		t.Helper()
		b, in := listen(t, TransportConfig{})
		c := dial(t, b.Addrs()[0])
		c.Write(data)
		if want != 0 {
			if res := readMessage(t, c); res.Code != want {
				t.Errorf("%q: got %d, want %d", data, res.Code, want)
			}
		} else if got := await(t, "message", in); got.msg.CallID() == "smuggled" {
			t.Errorf("%q: the body was taken for a request", data)
		}
		if closed {
			cut(t, c)
		}
		if len(in) > 0 {
			t.Errorf("%q: something followed: %q", data, (<-in).msg.Raw())
		}
	}
	typed := func(length string) []byte {
		return append(invite("Content-Length:", "-Content-Length", length, "+Content-Type: application/sdp"), smuggled...)
	}
	n := len(smuggled)
	f(0, false, typed(fmt.Sprintf("+Content-Length: %d", n)))
	f(0, false, typed(fmt.Sprintf("+Content-Length:\r\n  %d", n)))
	f(0, false, typed(fmt.Sprintf("+l\t: %d", n)))
	f(400, true, typed("+X: no length"))
	f(400, true, typed(fmt.Sprintf("+Content-Length: %d, %d", n, n)))
	f(400, true, typed(fmt.Sprintf("+Content-Length: %d\r\nl: 0", n)))
	f(400, true, typed("+Content-Length: 0x10"))
	f(400, true, typed("+Content-Length:"))
	f(0, false, invite("-Content-Length")) // no body, no type: nothing to mistake
}

// Two thousand connections dribble; they cost a bounded amount of memory, and
// the other edge's call is served meanwhile.
func TestSlowConnectionsDoNotKeepCallsOut(t *testing.T) {
	const slow = 2000
	mad, sane := netip.MustParseAddr("127.0.74.3"), netip.MustParseAddr("127.0.74.4")
	f := func(want int, perConn uint64, limits Limits) {
		t.Helper()
		b, in := listen(t, TransportConfig{Allow: []netip.Addr{mad, sane}, Limits: limits})
		addr := b.Addrs()[0]
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapInuse + m.StackInuse
		}
		head := append([]byte("INVITE sip:a@b SIP/2.0\r\nX: "), bytes.Repeat([]byte("x"), 1000)...)
		var conns []net.Conn
		before := heap()
		for range slow {
			c := dialFrom(t, mad, addr)
			c.Write(head)
			conns = append(conns, c)
		}
		count := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.sources[mad]
		}
		for limit := time.Now().Add(20 * time.Second); count() < want && time.Now().Before(limit); {
			runtime.Gosched()
		}
		if n := count(); n != want {
			t.Errorf("%d connections of one source, want %d", n, want)
		}
		if grown := heap() - before; grown > slow*perConn {
			t.Errorf("%d slow connections take %d kB, over %d bytes each", slow, grown>>10, perConn)
		} else {
			t.Logf("%d slow connections, %d taken: %d kB", slow, want, grown>>10)
		}
		c := dialFrom(t, sane, addr)
		began := time.Now()
		c.Write(invite())
		got := await(t, "the other edge's call", in)
		b.Send(Respond(got.msg.(*Request), got.flow, "t", NotFound, nil), func(err error) { t.Error(err) })
		if res := readMessage(t, c); res.Code != 404 {
			t.Errorf("%s", res.Raw())
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("the other edge's call waited %v", d)
		}
		for _, c := range conns {
			c.Close()
		}
	}
	f(256, 4<<10, Limits{MessageTime: time.Minute, FirstMessage: time.Minute})
	f(slow, 20<<10, Limits{Conns: 2 * slow, ConnsPerSource: slow, MessageTime: time.Minute, FirstMessage: time.Minute})
}
