package session

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// attacker has a socket beside a call, and what it overheard.
type attacker struct {
	t    *testing.T
	conn *net.UDPConn
}

func newAttacker(t *testing.T, ip string) *attacker {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &attacker{t, conn}
}

func (a *attacker) send(b []byte, to netip.AddrPort) {
	a.t.Helper()
	if _, err := a.conn.WriteToUDPAddrPort(b, to); err != nil {
		a.t.Fatal(err)
	}
}

// hearsNothing: what goes to the attacker would be there within some packets' time.
func (a *attacker) hearsNothing() {
	a.t.Helper()
	_ = a.conn.SetReadDeadline(time.Now().Add(3 * frameTime))
	buf := make([]byte, 2048)
	if n, from, err := a.conn.ReadFromUDPAddrPort(buf); err == nil {
		a.t.Errorf("the attacker gets %d bytes from %s", n, from)
	}
}

// counted waits until a leg's shard has counted what an attack was.
func counted(t *testing.T, e *Engine, what string, n uint64, of func(*counts) uint64) {
	t.Helper()
	until(t, what, func() bool {
		sum := uint64(0)
		for _, s := range e.shards {
			s.mu.Lock()
			sum += of(&s.count)
			s.mu.Unlock()
		}
		return sum == n
	})
}

// RTP bleed, spoofing and replay at a call under SRTP: packets under another key
// with the very SSRC and number that come next, packets that were overheard, from
// the attacker's address and from the phone's own, RTP and RTCP. Nothing is passed
// on, nothing moves, and those who talk notice nothing.
func TestAttackersAtASecureCall(t *testing.T) {
	for _, suite := range []srtp.Suite{srtp.AEAD128GCM, srtp.AESCM128SHA180} {
		for _, mux := range []bool{true, false} {
			e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
			x, y := newPhone(t, suite, mux), newPhone(t, suite, mux)
			x.dial(e, "c")
			y.ring(e, "c", "2")
			connect(t, e, "c")
			overheard := x.sealed("overheard")
			x.write(x.rtp, overheard, x.to)
			if h := y.hear(); h.payload != "overheard" {
				t.Errorf("%+v", h)
			}
			talk(t, x, y, "before")
			at := stats(t, e, "c", "1").Remote

			m := newAttacker(t, "127.0.0.1")
			key, err := srtp.NewSender(suite, srtp.NewKey(suite))
			if err != nil {
				t.Fatal(err)
			}
			forged, err := key.Seal(make([]byte, 0, 2048), x.plain("forged"))
			if err != nil {
				t.Fatal(err)
			}
			x.seq-- // the phone's own is the next one all the same
			m.send(forged, x.to)
			x.write(x.rtp, forged[:40], x.to)
			m.send([]byte{0x80, 8, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, x.to)
			m.send([]byte{0x80}, x.to)
			m.send([]byte{}, x.to)
			m.send([]byte{0x00, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42}, x.to) // STUN
			m.send([]byte{0x16, 0xfe, 0xfd, 0, 0}, x.to)                   // DTLS
			counted(t, e, "seven forged packets", 7, func(c *counts) uint64 { return c.forged })
			m.send(overheard, x.to)
			x.write(x.rtp, overheard, x.to)
			counted(t, e, "two replayed packets", 2, func(c *counts) uint64 { return c.replayed })
			m.send([]byte{0x81, 200, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, x.toRTCP)
			m.send([]byte{0x80, 203, 0, 1, 1, 2, 3, 4, 0x80, 0, 0, 1}, x.toRTCP) // BYE
			counted(t, e, "two forged reports", 2, func(c *counts) uint64 { return c.rtcpForged })

			talk(t, x, y, "after")
			if s := stats(t, e, "c", "1"); s.Remote != at {
				t.Errorf("%s mux=%t: media goes to %s, not %s", suite, mux, s.Remote, at)
			}
			m.hearsNothing()
		}
	}
}

// A leg without SRTP has only the address to go by: not another port of the same
// host, not another host, and no RTCP from elsewhere, before the first packet as
// after it.
func TestAttackersAtAPlainCall(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain, func(c *Config) { c.Shards = 1 })
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.Plain, false), b: newPhone(t, srtp.AEAD128GCM, true), flags: mediaapi.Request{Transport: "RTP/SAVP"}}
	p.call(t)
	near, far := newAttacker(t, "127.0.0.1"), newAttacker(t, "127.0.0.77")
	attack := func(total uint64) {
		t.Helper()
		for _, m := range []*attacker{near, far} {
			m.send(p.a.plain("bleed"), p.a.to)
			p.a.seq--
			m.send([]byte{0x80, 201, 0, 1, 1, 2, 3, 4}, p.a.toRTCP)
		}
		counted(t, e, "packets from elsewhere", total, func(c *counts) uint64 { return c.strange })
	}
	attack(4)
	talk(t, p.a, p.b, "first")
	attack(8)
	talk(t, p.a, p.b, "then")
	near.hearsNothing()
	far.hearsNothing()
	if s := stats(t, e, "k", "ft"); s.Packets != 2 || s.Remote != p.a.rtp.LocalAddr().String() {
		t.Errorf("%+v", s)
	}
}
