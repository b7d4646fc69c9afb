package sip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1")}

type arrival struct {
	msg  Message
	flow Flow
}

// listen starts a Transport on 127.0.0.1 whose messages come out of a channel.
func listen(t *testing.T, cfg TransportConfig) (*Transport, chan arrival) {
	t.Helper()
	in := make(chan arrival, 1000)
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	if cfg.Allow == nil {
		cfg.Allow = loopback
	}
	tr, err := Listen(cfg, func(m Message, f Flow) { in <- arrival{m, f} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr, in
}

func await[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

func requestTo(hop string, callID string) Packet {
	return Packet{Data: invite("Call-ID: " + callID), Hops: []Hop{{"tcp", hop}}}
}

func TestTransportsTalkBothWays(t *testing.T) {
	a, fromB := listen(t, TransportConfig{})
	b, fromA := listen(t, TransportConfig{})
	for i := range 100 {
		a.Send(requestTo(b.Addrs()[0], fmt.Sprintf("call-%d", i)), func(err error) { t.Error(err) })
	}
	var last arrival
	for i := range 100 {
		last = await(t, "request", fromA)
		if want := fmt.Sprintf("call-%d", i); last.msg.CallID() != want {
			t.Fatalf("message %d is %s: order lost", i, last.msg.CallID())
		}
	}
	if n := len(b.byRem); n != 1 {
		t.Errorf("%d connections for one destination", n)
	}
	// The response takes the connection the request came by, not the sent-by port.
	b.Send(Respond(last.msg.(*Request), last.flow, "t", NotFound, nil), func(err error) { t.Error(err) })
	if got := await(t, "response", fromB); got.msg.(*Response).Code != 404 {
		t.Errorf("%s", got.msg.Raw())
	}
}

func TestResponseFindsTheSentByAddressWhenItsConnectionIsGone(t *testing.T) {
	edge, toEdge := listen(t, TransportConfig{})
	r1, toR1 := listen(t, TransportConfig{})
	survivor, _ := listen(t, TransportConfig{})
	sentBy := edge.Addrs()[0]
	edge.Send(Packet{Data: invite("Via: SIP/2.0/TCP " + sentBy + ";branch=z9hG4bKedge"), Hops: []Hop{{"tcp", r1.Addrs()[0]}}}, nil)
	got := await(t, "INVITE", toR1)
	p := Respond(got.msg.(*Request), got.flow, "t", NotFound, nil)
	survivor.Send(p, func(err error) { t.Error(err) })
	if res := await(t, "response by a survivor", toEdge); res.msg.Branch() != "z9hG4bKedge" {
		t.Errorf("%s", res.msg.Raw())
	}
}

func TestNextHopIsTriedAndFailureIsTold(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := dead.Addr().String()
	dead.Close()
	a, _ := listen(t, TransportConfig{})
	b, in := listen(t, TransportConfig{})
	p := requestTo(gone, "second")
	p.Hops = append(p.Hops, Hop{"tcp", b.Addrs()[0]})
	a.Send(p, func(err error) { t.Error(err) })
	if got := await(t, "request by the second hop", in); got.msg.CallID() != "second" {
		t.Errorf("%s", got.msg.Raw())
	}
	failed := make(chan error, 1)
	a.Send(requestTo(gone, "nowhere"), func(err error) { failed <- err })
	if err := await(t, "failure", failed); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("failure %v", err)
	}
	a.Send(Packet{Data: invite()}, func(err error) { failed <- err })
	if err := await(t, "failure", failed); err == nil {
		t.Error("a packet without hops went somewhere")
	}
}

func TestConnectionIsMadeAnew(t *testing.T) {
	a, _ := listen(t, TransportConfig{})
	b, in := listen(t, TransportConfig{})
	addr := b.Addrs()[0]
	a.Send(requestTo(addr, "one"), nil)
	await(t, "request", in)
	b.Close()
	// Wait until a noticed, as its timers would make it try again later.
	for deadline := time.Now().Add(10 * time.Second); ; {
		a.mu.Lock()
		n := len(a.conns)
		a.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed connection is still kept")
		}
	}
	_, in = listen(t, TransportConfig{Listen: []string{addr}})
	a.Send(requestTo(addr, "two"), func(err error) { t.Error(err) })
	if got := await(t, "request after the restart", in); got.msg.CallID() != "two" {
		t.Errorf("%s", got.msg.Raw())
	}
}

func TestStrangersAreRefused(t *testing.T) {
	before := metricStrangers.Get()
	b, in := listen(t, TransportConfig{Allow: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, ListenUDP: []string{"127.0.0.1:0"}})
	c := dial(t, b.Addrs()[0])
	c.Write(invite())
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("a stranger got %d bytes", n)
	}
	u, err := net.Dial("udp", b.Addrs()[1])
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for metricStrangers.Get() < before+2 {
		u.Write(invite())
	}
	if len(in) != 0 {
		t.Error("a stranger's message was handled")
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// readMessage reads one whole message from a raw connection.
func readMessage(t *testing.T, c net.Conn) *Response {
	t.Helper()
	f := framer{max: 65535}
	buf := make([]byte, 4096)
	for {
		msg, _, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		if msg != nil {
			return mustResponse(t, Packet{Data: msg})
		}
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("connection gave %v after %q", err, f.buf)
		}
		f.add(buf[:n])
	}
}

func TestMalformedMessageCostsItselfNotTheConnection(t *testing.T) {
	b, in := listen(t, TransportConfig{Product: "trunkline"})
	c := dial(t, b.Addrs()[0])
	before := metricMalformed.Get()
	c.Write(append(invite("Max-Forwards: many"), invite("=INVITE sip:a@b SIP/2.0", "Call-ID: after")...))
	if res := readMessage(t, c); res.Code != 400 || res.Get("Server") != "trunkline" {
		t.Errorf("malformed request got\n%s", res.Raw())
	}
	if got := await(t, "next message", in); got.msg.CallID() != "after" {
		t.Errorf("%s", got.msg.Raw())
	}
	if metricMalformed.Get() != before+1 {
		t.Error("not counted")
	}
	c.Write(invite("+Require: foo"))
	if res := readMessage(t, c); res.Code != 420 || res.Get("Unsupported") != "foo" {
		t.Errorf("got\n%s", res.Raw())
	}
}

func TestLostPlaceEndsTheConnection(t *testing.T) {
	f := func(code int, data []byte) {
		t.Helper()
		b, _ := listen(t, TransportConfig{Limits: Limits{Message: 2000}})
		c := dial(t, b.Addrs()[0])
		c.Write(data)
		if code != 0 {
			if res := readMessage(t, c); res.Code != code {
				t.Errorf("got %d, want %d", res.Code, code)
			}
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF && !strings.Contains(fmt.Sprint(err), "reset") {
			t.Errorf("connection not closed: %v", err)
		}
	}
	f(400, invite("Content-Length: -5"))
	f(513, invite("Content-Length: 1000000"))
	f(0, bytes.Repeat([]byte("x"), 5000))
}

func TestSlowSenderIsCutOff(t *testing.T) {
	b, _ := listen(t, TransportConfig{Limits: Limits{MessageTime: 50 * time.Millisecond}})
	c := dial(t, b.Addrs()[0])
	c.Write([]byte("INVITE sip:a@b SIP/2.0\r\n"))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("half a message is waited for: %v", err)
	}
}

func TestDribblingSenderIsCutOff(t *testing.T) {
	b, _ := listen(t, TransportConfig{Limits: Limits{MessageTime: 100 * time.Millisecond}})
	c := dial(t, b.Addrs()[0])
	c.Write([]byte("INVITE sip:a@b SIP/2.0\r\nX: "))
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		c.Read(make([]byte, 1))
	}()
	drip := time.NewTicker(20 * time.Millisecond)
	defer drip.Stop()
	for range 250 {
		select {
		case <-closed:
			return
		case <-drip.C:
			c.Write([]byte("x"))
		}
	}
	t.Error("a message that never ends is read for 5 s")
}

// brokenConn reads nothing for ever and can't write.
type brokenConn struct {
	net.Conn
	closed chan struct{}
}

func (c brokenConn) Read([]byte) (int, error)         { <-c.closed; return 0, io.EOF }
func (c brokenConn) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (c brokenConn) Close() error                     { close(c.closed); return nil }
func (c brokenConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c brokenConn) LocalAddr() net.Addr              { return c.RemoteAddr() }
func (c brokenConn) SetReadDeadline(time.Time) error  { return nil }
func (c brokenConn) SetWriteDeadline(time.Time) error { return nil }

func TestWhatABrokenConnectionHeldGoesAnotherWay(t *testing.T) {
	a, _ := listen(t, TransportConfig{})
	b, in := listen(t, TransportConfig{})
	a.start(brokenConn{closed: make(chan struct{})}, false)
	p := requestTo(b.Addrs()[0], "saved")
	p.Conn = "192.0.2.1:1"
	a.Send(p, func(err error) { t.Error(err) })
	if got := await(t, "message by the next hop", in); got.msg.CallID() != "saved" {
		t.Errorf("%s", got.msg.Raw())
	}
}

// What waited too long was given up by its leg, which may have rung another
// phone by now.
func TestAPacketThatWaitedTooLongIsNotSent(t *testing.T) {
	a, _ := listen(t, TransportConfig{})
	b, in := listen(t, TransportConfig{})
	failed := make(chan error, 1)
	p := requestTo(b.Addrs()[0], "late")
	old := time.Now().Add(-packetLife - time.Second)
	a.next(job{p: p, failed: func(err error) { failed <- err }, since: old}, errors.New("the first way failed"))
	if err := await(t, "failure", failed); err == nil {
		t.Error("no error")
	}
	c, err := net.Dial("tcp", b.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	a.start(c, false).send(job{p: Packet{Data: p.Data}, failed: func(err error) { failed <- err }, since: old})
	if err := await(t, "failure", failed); !errors.Is(err, errTooLate) {
		t.Errorf("failure %v", err)
	}
	p.Since = old
	a.Send(p, func(err error) { failed <- err })
	if err := await(t, "failure", failed); err == nil {
		t.Error("no error for what was allowed long ago")
	}
	a.Send(requestTo(b.Addrs()[0], "fresh"), nil)
	if got := await(t, "request", in); got.msg.CallID() != "fresh" {
		t.Errorf("%s", got.msg.Raw())
	}
}

func TestKeepAliveIsAnswered(t *testing.T) {
	b, in := listen(t, TransportConfig{})
	c := dial(t, b.Addrs()[0])
	c.Write([]byte("\r\n\r\n"))
	pong := make([]byte, 2)
	if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("pong %q %v", pong, err)
	}
	c.Write(append([]byte("\r\n"), invite()...))
	await(t, "message after a keep-alive", in)
}

func TestConnectionsAreBounded(t *testing.T) {
	b, in := listen(t, TransportConfig{Limits: Limits{Conns: 1}})
	first := dial(t, b.Addrs()[0])
	first.Write(invite())
	await(t, "message", in)
	second := dial(t, b.Addrs()[0])
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection is served")
	}
}

func TestUDPBothWays(t *testing.T) {
	a, fromB := listen(t, TransportConfig{ListenUDP: []string{"127.0.0.1:0"}})
	b, fromA := listen(t, TransportConfig{ListenUDP: []string{"127.0.0.1:0"}})
	a.Send(Packet{Data: invite("Via: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKu;rport"), Hops: []Hop{{"udp", b.Addrs()[1]}}}, nil)
	got := await(t, "datagram", fromA)
	b.Send(Respond(got.msg.(*Request), got.flow, "t", NotFound, nil), nil)
	if res := await(t, "response", fromB); res.msg.(*Response).Code != 404 {
		t.Errorf("%s", res.msg.Raw())
	}
}

// TestCallOverRealConnections plays a whole call between two legs over TCP.
func TestCallOverRealConnections(t *testing.T) {
	a, toA := listen(t, TransportConfig{})
	b, toB := listen(t, TransportConfig{})
	send := func(tr *Transport, o Output) {
		for _, p := range o.Send {
			tr.Send(p, func(err error) { t.Error(err) })
		}
	}
	addrA, addrB := a.Addrs()[0], b.Addrs()[0]
	la := Local{Contact: "sip:a@" + addrA + ";transport=tcp", SentBy: addrA, Network: "tcp", Tag: "ta"}
	lb := Local{Contact: "sip:b@" + addrB + ";transport=tcp", SentBy: addrB, Network: "tcp", Tag: "tb"}
	p := agentParams()
	p.URI, p.Routes = "sip:b@"+addrB+";transport=tcp", nil
	caller, o := NewClientLeg(start, la, p)
	send(a, o)
	got := await(t, "INVITE", toB)
	callee, o := NewServerLeg(start, lb, got.msg.(*Request), got.flow)
	send(b, o)
	send(b, callee.Accept(start, []byte("answer")))
	for caller.State() != Confirmed {
		send(a, caller.Response(start, await(t, "answer", toA).msg.(*Response)))
	}
	got = await(t, "ACK", toB)
	send(b, callee.Request(start, got.msg.(*Request), got.flow))
	send(b, callee.Bye(start))
	got = await(t, "BYE", toA)
	send(a, caller.Request(start, got.msg.(*Request), got.flow))
	o = callee.Response(start, await(t, "200", toB).msg.(*Response))
	if len(o.Events) != 1 || o.Events[0] != (Ended{"hangup", 200}) {
		t.Errorf("%s", show(o))
	}
}
