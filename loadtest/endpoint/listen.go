package endpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hraban/opus"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"trunkline/loadtest/check"
)

// listener authenticates, counts and listens to what arrives.
type listener struct {
	codec Codec
	hear  []int

	mu      sync.Mutex
	in, inC *srtp.Context
	plain   []byte
	streams map[uint32]*stream
	current uint32 // SSRC heard last
	res     MediaResult

	talking  bool
	over     bool
	last     time.Time // arrival of the last packet of the talk phase
	first    uint32    // first and last mark number
	lastMark uint32

	events  map[uint8]bool // payload types of telephone-event
	eventAt uint32         // RTP time of the last event heard
	heard   bool           // there was one

	lapFrom time.Time // arrival of the last packet, or when gap was asked before
	lapGap  time.Duration

	decoder *opus.Decoder
	pcm     []int16
	block   []int16
}

// stream is one SSRC's sequence (RFC 3550 appendix A.1, without probation).
type stream struct {
	first, highest int64 // extended sequence numbers
	received       int
	lastSR         uint32
	lastSRAt       time.Time

	transit time.Duration // arrival minus timestamp; 0: none yet
	jitter  time.Duration
}

// block of tone analysis: 200 ms.
const blocksPerSecond = 5

func newListener(codec Codec, theirs crypto, hear []int) (*listener, error) {
	l := &listener{codec: codec, hear: hear, streams: map[uint32]*stream{}, events: map[uint8]bool{101: true, 102: true}}
	l.res.Heard = map[int]int{}
	if codec == Opus {
		d, err := opus.NewDecoder(48000, 1)
		if err != nil {
			return nil, fmt.Errorf("make an Opus decoder: %w", err)
		}
		l.decoder = d
		l.pcm = make([]int16, 48000*120/1000) // the longest Opus packet
	}
	return l, l.rekey(theirs)
}

// rekey takes the other side's key; a new key starts new SRTP state.
func (l *listener) rekey(theirs crypto) error {
	in, err := newContext(theirs)
	if err != nil {
		return err
	}
	inC, err := newContext(theirs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in, l.inC = in, inC
	return nil
}

func (l *listener) packet(raw []byte, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var h rtp.Header
	if _, err := h.Unmarshal(raw); err != nil {
		l.res.Rejected++
		return
	}
	plain, err := l.in.DecryptRTP(l.plain[:0], raw, &h)
	if err != nil {
		l.reject(err)
		return
	}
	l.plain = plain
	l.lap(at)
	var p rtp.Packet
	if err := p.Unmarshal(plain); err != nil {
		l.res.Rejected++
		return
	}
	l.res.Received++
	s := l.streams[h.SSRC]
	if s == nil {
		s = &stream{first: int64(h.SequenceNumber), highest: int64(h.SequenceNumber)}
		l.streams[h.SSRC] = s
		l.current = h.SSRC
	}
	if l.current != h.SSRC {
		l.res.Returned++
		l.current = h.SSRC
	}
	s.count(h.SequenceNumber)
	s.spread(h.Timestamp, at, l.codec.clock())
	if l.events[h.PayloadType] {
		l.event(&h, p.Payload)
		return
	}
	if l.over {
		return
	}
	l.mark(p.Payload, at)
	if !l.talking {
		return
	}
	if !l.last.IsZero() {
		l.res.LongestGap = max(l.res.LongestGap, at.Sub(l.last))
	}
	l.last = at
	l.res.Talk++
	l.analyse(p.Payload)
}

// reject counts what is not taken. pion/srtp has a name for what does not
// authenticate, and none for a replay.
func (l *listener) reject(err error) {
	l.res.Rejected++
	if errors.Is(err, srtp.ErrFailedToVerifyAuthTag) {
		l.res.Forged++
	}
}

// lap measures the silence before a packet.
func (l *listener) lap(at time.Time) {
	if !l.lapFrom.IsZero() {
		l.lapGap = max(l.lapGap, at.Sub(l.lapFrom))
	}
	l.lapFrom = at
}

func (l *listener) gap(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := l.lapGap
	if !l.lapFrom.IsZero() {
		longest = max(longest, now.Sub(l.lapFrom))
	}
	l.lapGap = 0
	return longest
}

// event takes one RFC 4733 packet; those of one key share their RTP time.
func (l *listener) event(h *rtp.Header, payload []byte) {
	if len(payload) < 4 || int(payload[0]) >= len(keyCodes) || l.heard && h.Timestamp == l.eventAt {
		return
	}
	l.heard, l.eventAt = true, h.Timestamp
	l.res.Keys += keyCodes[payload[0] : payload[0]+1]
}

// count takes one packet into the stream's sequence.
func (s *stream) count(seq uint16) {
	s.received++
	ext := s.highest + int64(int16(seq-uint16(s.highest)))
	s.highest = max(s.highest, ext)
	s.first = min(s.first, ext)
}

// lateMarks is how many packets may overtake one that is not late.
const lateMarks = framesPerSecond / 5

// spread is the jitter estimate of RFC 3550 appendix A.8.
func (s *stream) spread(timestamp uint32, at time.Time, clock int) {
	ticks := uint32(at.UnixMicro() * int64(clock) / 1e6)
	transit := time.Duration(int32(ticks-timestamp)) * time.Second / time.Duration(clock)
	if s.transit != 0 {
		s.jitter += ((transit - s.transit).Abs() - s.jitter) / 16
	}
	s.transit = transit
}

func (l *listener) mark(payload []byte, at time.Time) {
	m, ok := readMark(l.codec, payload)
	if !ok {
		return
	}
	if l.res.Marked == 0 {
		l.first, l.lastMark, l.res.Source = m.n, m.n, m.source
		if !l.talking {
			l.talking, l.res.TalkFrom = true, at
		}
	}
	if m.source != l.res.Source {
		return // somebody else's tone: it shows as a low share heard
	}
	l.res.Marked++
	if m.n+lateMarks < l.lastMark {
		l.res.Late++
	}
	l.lastMark = max(l.lastMark, m.n)
	l.first = min(l.first, m.n)
}

// analyse decodes a packet and, each 200 ms, asks which tone dominates.
func (l *listener) analyse(payload []byte) {
	rate := l.codec.clock()
	if l.codec == Opus {
		n, err := l.decoder.Decode(payload, l.pcm)
		if err != nil {
			return
		}
		l.block = append(l.block, l.pcm[:n]...)
	} else {
		for _, b := range payload {
			l.block = append(l.block, alawTable[b])
		}
	}
	if len(l.block) < rate/blocksPerSecond {
		return
	}
	l.res.Blocks++
	for _, f := range l.hear {
		if check.ToneShare(l.block, rate, f) > 0.5 {
			l.res.Heard[f]++
		}
	}
	l.block = l.block[:0]
}

func (l *listener) control(raw []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	plain, err := l.inC.DecryptRTCP(nil, raw, nil)
	if err != nil {
		l.reject(err)
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	l.res.RTCPReceived++
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok {
			if s := l.streams[sr.SSRC]; s != nil {
				var ntp [8]byte
				binary.BigEndian.PutUint64(ntp[:], sr.NTPTime)
				s.lastSR, s.lastSRAt = binary.BigEndian.Uint32(ntp[2:]), time.Now()
			}
		}
	}
}

// reports are the report blocks about what is received.
func (l *listener) reports() []rtcp.ReceptionReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []rtcp.ReceptionReport
	for ssrc, s := range l.streams {
		r := rtcp.ReceptionReport{SSRC: ssrc, TotalLost: uint32(s.lost()), LastSequenceNumber: uint32(s.highest),
			Jitter: uint32(s.jitter * time.Duration(l.codec.clock()) / time.Second)}
		if !s.lastSRAt.IsZero() {
			r.LastSenderReport = s.lastSR
			r.Delay = uint32(time.Since(s.lastSRAt) * 65536 / time.Second)
		}
		out = append(out, r)
		if len(out) == 31 {
			break
		}
	}
	return out
}

func (s *stream) lost() int { return max(0, int(s.highest-s.first+1)-s.received) }

func (l *listener) beginTalk(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.talking && !l.over {
		l.talking, l.res.TalkFrom, l.last = true, at, time.Time{}
	}
}

// endTalk closes the talk phase; silence before it counts as a gap.
func (l *listener) endTalk(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	if !l.talking {
		return
	}
	l.res.TalkTo = at
	from := l.last
	if from.IsZero() {
		from = l.res.TalkFrom
	}
	l.res.LongestGap = max(l.res.LongestGap, at.Sub(from))
}

func (l *listener) result() MediaResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.res
	r.Heard = maps.Clone(r.Heard)
	for _, s := range l.streams {
		r.Lost += s.lost()
	}
	r.SSRCs = len(l.streams)
	if r.Marked > 0 {
		r.MarksLost = int(l.lastMark-l.first) + 1 - r.Marked
	}
	return r
}
