package session

import (
	"time"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/quality"
)

// assessEvery is the interval that is rated by itself: loss that a whole call
// hides is heard in ten seconds.
const assessEvery = 10 * time.Second

// heardQuality is how well a leg's peer is heard, by intervals.
type heardQuality struct {
	since   time.Time // the present interval began
	packets uint64    // received before it
	lost    int64
	sent    uint64

	rated  int
	sum    float64
	last   float64 // MOS; 0: not rated
	worst  float64
	best   float64
	oneWay bool // in the last interval we sent to a peer that was silent
}

// assess rates a leg's interval if it is over: under shard.mu.
func (s *shard) assess(l *leg, now time.Time) {
	q := &l.quality
	if q.since.IsZero() || l.peer == nil {
		*q = heardQuality{since: now, packets: l.in.packets, lost: l.in.lost(), sent: l.out.packets,
			rated: q.rated, sum: q.sum, last: q.last, worst: q.worst, best: q.best}
		return
	}
	if now.Sub(q.since) < assessEvery {
		return
	}
	received, lost, sent := l.in.packets-q.packets, l.in.lost()-q.lost, l.out.packets-q.sent
	q.since, q.packets, q.lost, q.sent = now, l.in.packets, l.in.lost(), l.out.packets
	// Silence suppression, DTX and hold are silent too, but not while RTCP and
	// audio both stay away.
	q.oneWay = received == 0 && sent > 0 && l.Direction.Receives() && now.Sub(l.in.lastRTCP) >= assessEvery
	if received == 0 {
		return
	}
	c := quality.G711
	if l.codec() == codec.Opus {
		c = quality.Opus
	}
	jitter := time.Duration(l.in.jitterMicros()) * time.Microsecond
	delay := l.report.rtt/2 + 2*jitter + frameTime
	mos := quality.MOS(quality.R(c, delay, float64(lost)/float64(int64(received)+max(lost, 0))))
	if q.rated == 0 || mos < q.worst {
		q.worst = mos
	}
	q.best = max(q.best, mos)
	q.rated, q.sum, q.last = q.rated+1, q.sum+mos, mos
	s.count.rated[grades[quality.GradeOf(mos)]]++
}

// grades are the indices of counts.rated.
var grades = func() map[quality.Grade]int {
	m := map[quality.Grade]int{}
	for i, g := range quality.Grades() {
		m[g] = i
	}
	return m
}()
