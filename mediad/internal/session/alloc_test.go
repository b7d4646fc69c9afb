//go:build !race

// The race detector allocates on its own account.

package session

import (
	"net"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// The packet path allocates nothing: neither in relaying nor in playing nor in
// sending keys.
func TestNoAllocationPerPacket(t *testing.T) {
	for i, suite := range []srtp.Suite{srtp.AEAD128GCM, srtp.AESCM128SHA180, srtp.AEAD128GCM} {
		e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1; c.Recorder = dump{}; c.Single = i == 2 })
		a, b := newPhone(t, suite, true), newPhone(t, suite, true)
		a.dial(e, "c")
		b.ring(e, "c", "2")
		connect(t, e, "c")
		do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
		s := e.shards[0]
		l := s.legs[0]
		from := a.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
		buf := make([]byte, 2048)
		packets := make([][]byte, 2000)
		for i := range packets {
			packets[i] = a.sealed(strings.Repeat("x", 160))
		}
		now, next := time.Now(), 0
		s.mu.Lock()
		relayed := testing.AllocsPerRun(1000, func() {
			s.receiveRTP(l, buf[:copy(buf, packets[next])], from, now)
			next++
		})
		p := &player{clips: []clip{{"x", [][]byte{make([]byte, 160)}}}, loop: true, codec: l.Send[0], source: prompts{}}
		s.startPlaying(l, p)
		s.turn = l.slot
		played := testing.AllocsPerRun(1000, func() { s.playSlot(now) })
		l.keying.plan(l, event, []stroke{{Steps: 400}}, now)
		l.keying.Strokes[0].told = true
		keyed := testing.AllocsPerRun(350, func() { s.playSlot(now) })
		sent := s.count.sent
		s.mu.Unlock()
		if relayed != 0 || played != 0 || keyed != 0 || sent < 2300 {
			t.Errorf("%s: %v allocations per relayed packet, %v per played one, %v per one of a key, %d sent", suite, relayed, played, keyed, sent)
		}
	}
}
