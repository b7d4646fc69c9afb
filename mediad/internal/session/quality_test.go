package session

import (
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
)

// Each ten seconds are rated by themselves: a bad stretch shows though the call as
// a whole was good, and a silent far end is told from a silent network.
func TestTenSecondsAreRatedByThemselves(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	s := e.shards[0]
	s.mu.Lock()
	l := s.legs[0]
	l.in.jitter, l.in.clock = 0, 8000
	now := time.Now()
	l.quality = heardQuality{}
	interval := func(received uint64, lost int64, sent uint64, rtcp bool) {
		l.in.packets += received
		l.in.lostBefore += lost
		l.out.packets += sent
		if now = now.Add(assessEvery); rtcp {
			l.in.lastRTCP = now
		}
		s.assess(l, now)
	}
	s.assess(l, now)
	interval(500, 0, 500, true)
	good := l.quality.last
	interval(475, 25, 500, true)
	bad := l.quality.last
	interval(500, 0, 500, true)
	if good < 4.3 || bad > 4 || l.quality.last < 4.3 || l.quality.worst != bad || l.quality.rated != 3 {
		t.Errorf("rated %.2f, %.2f, %.2f; the worst %.2f of %d", good, bad, l.quality.last, l.quality.worst, l.quality.rated)
	}
	interval(0, 0, 500, true)
	if l.quality.oneWay || l.quality.rated != 3 {
		t.Error("a far end that sends RTCP is held for gone")
	}
	interval(0, 0, 500, false)
	if !l.quality.oneWay {
		t.Error("nothing comes and it is not told")
	}
	interval(500, 0, 500, false)
	if l.quality.oneWay {
		t.Error("audio comes and it is held for gone")
	}
	if n := s.count.rated[grades["good"]]; n < 3 {
		t.Errorf("%d intervals counted good", n)
	}
	s.mu.Unlock()
	if st := stats(t, e, "c", "1"); st.MOS < 420 || st.MOSWorst != int64(100*bad+0.5) || st.OneWay {
		t.Errorf("query: %+v", st)
	}
}
