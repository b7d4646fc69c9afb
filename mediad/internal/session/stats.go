package session

import (
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/sdp"
)

// started is the zero of arrival times; only differences count.
var started = time.Now()

// inStats are of what a leg receives and authenticates (RFC 3550 appendix A).
// Totals run over streams; the rest is of the stream heard last.
type inStats struct {
	packets, bytes   uint64
	wire             uint64 // bytes of the packets, protection included
	forged, replayed uint64
	misplaced        uint64
	rtcp             uint64
	lastRTCP         time.Time
	lostBefore       int64 // of streams that are over
	maxGap           time.Duration
	lastArrival      time.Time

	heard   bool
	ssrc    uint32
	first   uint64 // packet index
	highest uint64
	count   uint64 // of this stream
	clock   int
	transit int64  // arrival minus timestamp, in ticks
	timed   bool   // transit holds
	jitter  uint64 // 16 times the jitter in ticks, as appendix A.8 keeps it

	// What the last report of ours covered.
	reportedExpected, reportedCount uint64

	// The peer's last sender report, for LSR and DLSR.
	srMiddle  uint32
	srArrival time.Time
	srSSRC    uint32
}

// arrived counts an authentic packet and tells whether it is the newest of its
// stream.
func (st *inStats) arrived(h *rtp.Header, index uint64, size int, codec *sdp.Codec, now time.Time) bool {
	if !st.lastArrival.IsZero() {
		st.maxGap = max(st.maxGap, now.Sub(st.lastArrival))
	}
	st.lastArrival = now
	st.packets++
	if !st.heard || st.ssrc != h.SSRC {
		st.endStream()
		st.heard, st.ssrc, st.first, st.highest, st.count = true, h.SSRC, index, index, 1
		st.timed, st.jitter, st.reportedExpected, st.reportedCount = false, 0, 0, 0
		st.time(h, codec, now)
		return true
	}
	st.count++
	st.first = min(st.first, index)
	newest := index > st.highest
	st.highest = max(st.highest, index)
	st.time(h, codec, now) // what comes out of order is jitter too
	return newest
}

// time is the jitter estimate of RFC 3550 appendix A.8, for audio only: events
// hold their timestamp still.
func (st *inStats) time(h *rtp.Header, codec *sdp.Codec, now time.Time) {
	if codec == nil || codec.Name == sdp.Event {
		return
	}
	if codec.Clock != st.clock {
		st.clock, st.timed = codec.Clock, false
	}
	ticks := now.Sub(started).Microseconds() * int64(codec.Clock) / 1e6
	transit := int64(int32(uint32(ticks) - h.Timestamp))
	if st.timed && !h.Marker { // a marker begins a talkspurt: its pause is no jitter
		d := transit - st.transit
		if d < 0 {
			d = -d
		}
		st.jitter += uint64(d) - (st.jitter+8)>>4
	}
	st.transit, st.timed = transit, true
}

// endStream adds a stream's losses to the total.
func (st *inStats) endStream() {
	if st.heard {
		st.lostBefore += st.lostNow()
		st.heard = false
	}
}

// newKey: packet indices start anew under another key.
func (st *inStats) newKey() { st.endStream() }

func (st *inStats) expected() uint64 { return st.highest - st.first + 1 }

func (st *inStats) lostNow() int64 { return int64(st.expected()) - int64(st.count) }

// lost is RFC 3550's cumulative number, over all streams.
func (st *inStats) lost() int64 {
	if !st.heard {
		return st.lostBefore
	}
	return st.lostBefore + st.lostNow()
}

func (st *inStats) jitterMicros() int64 {
	if st.clock == 0 {
		return 0
	}
	return int64(st.jitter>>4) * 1e6 / int64(st.clock)
}

// outStats are of what a leg sends.
type outStats struct {
	packets, bytes uint64
	wire           uint64
	rtcp           uint64
}

// relayed is the stream that was passed to a leg's peer last, as a sender report
// tells of it.
type relayed struct {
	ssrc            uint32
	ts              uint32
	at              time.Time // when the packet with ts went out
	packets, octets uint32
	reported        uint32 // packets at the last report
}

func (r *relayed) passed(h *rtp.Header, ssrc uint32, octets int, now time.Time) {
	if r.ssrc != ssrc {
		*r = relayed{ssrc: ssrc}
	}
	r.ts, r.at = h.Timestamp, now
	r.packets++
	r.octets += uint32(octets)
}

// reports is what the peer says of what it receives from us.
type reports struct {
	lost   int64
	jitter uint64 // ticks
	rtt    time.Duration

	streams [4]reportedStream // those reported on last
	next    int
	sent    sentReports
}

// reportedStream is what the peer's last report said of one stream of ours.
type reportedStream struct {
	ssrc    uint32
	highest uint32 // extended
	lost    int64
	known   bool
}

// stream finds one, or makes room for it.
func (r *reports) stream(ssrc uint32) *reportedStream {
	for i := range r.streams {
		if s := &r.streams[i]; s.known && s.ssrc == ssrc {
			return s
		}
	}
	s := &r.streams[r.next]
	r.next = (r.next + 1) % len(r.streams)
	*s = reportedStream{ssrc: ssrc}
	return s
}

// sentReports remembers the last sender reports that went to a peer, our own and
// those relayed: a report of the peer's names one by its time, and so tells the
// round trip whoever's clock that time is of (RFC 3550 section 6.4.1).
type sentReports struct {
	last [4]sentReport
	next int
}

type sentReport struct {
	middle uint32 // of its NTP time
	at     time.Time
}

func (r *sentReports) note(middle uint32, now time.Time) {
	r.last[r.next] = sentReport{middle, now}
	r.next = (r.next + 1) % len(r.last)
}

func (r *sentReports) at(middle uint32) (time.Time, bool) {
	for _, s := range r.last {
		if s.middle == middle && !s.at.IsZero() {
			return s.at, true
		}
	}
	return time.Time{}, false
}
