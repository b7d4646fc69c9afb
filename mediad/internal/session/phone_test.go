package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/ports"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/internal/standby"
	"trunkline/mediad/mediaapi"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// newEngine starts an engine that hosts one loopback address.
func newEngine(t testing.TB, addr string, change ...func(*Config)) *Engine {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := Config{Worker: "w" + addr, Incarnation: 1, Ports: ports.Range{First: 31000, Last: 31999}, Shards: 2, Prompts: prompts{},
		Replicas: standby.NewStore(log), Logger: log}
	for _, f := range change {
		f(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if addr != "" {
		e.Adopt(netip.MustParseAddr(addr))
	}
	return e
}

// prompts is a source of recognisable frames: "short" has 5, "three" 3, "second"
// 50, "long" 100000.
type prompts struct{}

func (prompts) Frames(name, codec string) ([][]byte, time.Duration, bool) {
	n := map[string]int{"short": 5, "three": 3, "second": 50, "long": 100000}[name]
	if n == 0 {
		return nil, 0, false
	}
	frames := make([][]byte, n)
	for i := range frames {
		frames[i] = fmt.Appendf(nil, "%s %s frame %d", name, codec, i)
	}
	return frames, time.Duration(n) * frameTime, true
}

// do sends a command that must succeed.
func do(t testing.TB, e *Engine, r mediaapi.Request) mediaapi.Reply {
	t.Helper()
	reply, wait := e.Do(r)
	if reply.Result == mediaapi.ResultError {
		t.Fatalf("%s: %d %s", r.Command, reply.Code, reply.Reason)
	}
	if wait != nil {
		select {
		case <-wait:
		case <-time.After(patience):
			t.Fatalf("%s: the standby never had it", r.Command)
		}
	}
	return reply
}

// phone is an SRTP endpoint with real sockets.
type phone struct {
	t         testing.TB
	rtp, rtcp *net.UDPConn
	mux       bool
	suites    []srtp.Suite
	codecs    []sdp.Codec
	direction sdp.Direction
	version   int

	suite   srtp.Suite
	key     srtp.Key
	peerKey srtp.Key
	tx      *srtp.Sender
	rx      *srtp.Receiver
	to      netip.AddrPort
	toRTCP  netip.AddrPort

	ssrc uint32
	seq  int
	ts   uint32
	pt   uint8
	buf  [2048]byte
}

var pcma = []sdp.Codec{{Name: sdp.PCMA, Clock: 8000, PT: 8}, {Name: sdp.Event, Clock: 8000, PT: 101}}

func newPhone(t testing.TB, suite srtp.Suite, mux bool) *phone {
	t.Helper()
	p := &phone{t: t, mux: mux, suites: []srtp.Suite{suite}, codecs: pcma, direction: sdp.SendRecv, version: 1,
		ssrc: rand.Uint32(), seq: rand.IntN(30000), ts: rand.Uint32(), key: srtp.NewKey(suite), suite: suite, pt: 8}
	p.rtp, p.rtcp = p.listen(), p.listen()
	return p
}

func (p *phone) listen() *net.UDPConn {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// offer is the phone's SDP with all it has.
func (p *phone) offer() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=phone 1 %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d %s",
		p.version, port(p.rtp), p.proto())
	for _, c := range p.codecs {
		fmt.Fprintf(&b, " %d", c.PT)
	}
	b.WriteString("\r\n")
	for _, c := range p.codecs {
		fmt.Fprintf(&b, "a=rtpmap:%d %s/%d", c.PT, c.Name, c.Clock)
		if c.Name == sdp.Opus {
			b.WriteString("/2")
		}
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "a=%s\r\na=rtcp:%d\r\n", p.direction, port(p.rtcp))
	if p.mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	if p.suite != srtp.Plain {
		fmt.Fprintf(&b, "a=crypto:1 %s inline:%s\r\n", p.suite, p.key.Inline())
	}
	return b.String()
}

func (p *phone) proto() string {
	if p.suite == srtp.Plain {
		return "RTP/AVP"
	}
	return "RTP/SAVP"
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// use takes the other side's SDP.
func (p *phone) use(text string) {
	p.t.Helper()
	m, err := sdp.ParseUnguarded(text)
	if err != nil || m.Proto != p.proto() {
		p.t.Fatal(err, text)
	}
	p.to, p.toRTCP = m.RTP, m.RTCP
	if p.suite == srtp.Plain {
		p.setKey(nil)
		return
	}
	for _, c := range m.Cryptos {
		if c.Suite == p.suite {
			p.setKey(c.Key)
			return
		}
	}
	p.t.Fatalf("no %s in\n%s", p.suite, text)
}

func (p *phone) setKey(k srtp.Key) {
	p.t.Helper()
	var err error
	if string(p.peerKey) != string(k) || p.rx == nil {
		p.peerKey = k
		if p.rx, err = srtp.NewReceiver(p.suite, k); err != nil {
			p.t.Fatal(err)
		}
	}
	if p.tx == nil {
		if p.tx, err = srtp.NewSender(p.suite, p.key); err != nil {
			p.t.Fatal(err)
		}
	}
}

// answerTo is the phone's answer to an offer of ours.
func (p *phone) answerTo(offer string) string {
	p.t.Helper()
	m, err := sdp.ParseUnguarded(offer)
	if err != nil {
		p.t.Fatal(err)
	}
	p.use(offer)
	if p.suite == srtp.Plain {
		return p.offer()
	}
	for _, c := range m.Cryptos {
		if c.Suite == p.suite {
			return strings.Replace(p.offer(), "a=crypto:1 ", fmt.Sprintf("a=crypto:%d ", c.Tag), 1)
		}
	}
	return ""
}

// plain is the phone's next packet, not yet protected.
func (p *phone) plain(payload string) []byte {
	b := []byte{0x80, p.pt}
	b = binary.BigEndian.AppendUint16(b, uint16(p.seq))
	b = binary.BigEndian.AppendUint32(b, p.ts)
	b = binary.BigEndian.AppendUint32(b, p.ssrc)
	p.seq++
	p.ts += 160
	return append(b, payload...)
}

func (p *phone) sealed(payload string) []byte {
	p.t.Helper()
	out, err := p.tx.Seal(make([]byte, 0, 2048), p.plain(payload))
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p *phone) send(payload string) { p.t.Helper(); p.write(p.rtp, p.sealed(payload), p.to) }

func (p *phone) write(c *net.UDPConn, b []byte, to netip.AddrPort) {
	p.t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		p.t.Fatal(err)
	}
}

// heard is a packet the phone received.
type heard struct {
	seq     uint16
	ts      uint32
	ssrc    uint32
	pt      uint8
	marker  bool
	payload string
	at      time.Time
	index   uint64
	wire    []byte
}

// hear waits for the next RTP packet, leaving RTCP out.
func (p *phone) hear() heard {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		b, ok := p.read(p.rtp, time.Until(deadline))
		if !ok {
			p.t.Fatal("nothing to hear")
		}
		if h, ok := p.open(b); ok {
			return h
		}
	}
}

func (p *phone) read(c *net.UDPConn, wait time.Duration) ([]byte, bool) {
	p.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		p.t.Fatal(err)
	}
	n, _, err := c.ReadFromUDPAddrPort(p.buf[:])
	return p.buf[:n], err == nil
}

func (p *phone) open(b []byte) (heard, bool) {
	p.t.Helper()
	if isRTCP(b) {
		return heard{}, false
	}
	wire := bytes.Clone(b)
	plain, h, index, err := p.rx.Open(b)
	if err != nil {
		p.t.Fatalf("phone can't open what it got: %v", err)
	}
	return heard{h.SequenceNumber, h.Timestamp, h.SSRC, h.PayloadType, h.Marker, string(plain[12:]), time.Now(), index, wire}, true
}

// hearReport waits for an RTCP packet and opens it.
func (p *phone) hearReport() []byte {
	p.t.Helper()
	conn := p.rtcp
	if p.mux {
		conn = p.rtp
	}
	for deadline := time.Now().Add(patience); ; {
		b, ok := p.read(conn, time.Until(deadline))
		if !ok {
			p.t.Fatal("no report")
		}
		if !isRTCP(b) {
			continue
		}
		plain, err := p.rx.OpenRTCP(b)
		if err != nil {
			p.t.Fatal(err)
		}
		return bytes.Clone(plain)
	}
}

func (p *phone) sendReport(plain []byte) {
	p.t.Helper()
	out, err := p.tx.SealRTCP(make([]byte, 0, 2048), plain)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.mux {
		p.write(p.rtp, out, p.to)
	} else {
		p.write(p.rtcp, out, p.toRTCP)
	}
}

// dial makes the phone leg 1 of a call.
func (p *phone) dial(e *Engine, call string) mediaapi.Reply {
	p.t.Helper()
	r := do(p.t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: call, Leg: "1", SDP: p.offer()})
	p.use(r.SDP)
	return r
}

// ring makes the phone another leg of a call.
func (p *phone) ring(e *Engine, call, leg string) mediaapi.Reply {
	p.t.Helper()
	r := do(p.t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: call, Leg: leg})
	return do(p.t, e, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: call, Leg: leg, SDP: p.answerTo(r.SDP)})
}

func connect(t testing.TB, e *Engine, call string) {
	t.Helper()
	do(t, e, mediaapi.Request{Command: mediaapi.Connect, CallID: call, Leg: "1", Peer: "2"})
}

// stats is what query tells of a leg.
func stats(t testing.TB, e *Engine, call, leg string) mediaapi.Leg {
	t.Helper()
	r := do(t, e, mediaapi.Request{Command: mediaapi.Query, CallID: call, Leg: leg})
	if len(r.Legs) != 1 {
		t.Fatalf("query of leg %s: %+v", leg, r)
	}
	return r.Legs[0]
}
