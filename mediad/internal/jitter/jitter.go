// Package jitter puts the packets of one audio stream back into order and pace
// before they are decoded. How long it holds them follows what the network
// does: the spread of arrivals over the last seconds, between 20 and 200 ms.
//
// It has no clock, decodes nothing and keeps no more than Slots packets: who
// plays asks for what is next each 20 ms, and is told what to conceal. It
// allocates nothing once its slots have grown to the packets' size.
package jitter

import "time"

// Slots is how many packets are held at most.
const Slots = 32

const (
	frameTime = 20 * time.Millisecond
	leastHeld = 1  // frames
	mostHeld  = 10 // frames
	// A stream that runs dry is concealed for so many frames (after that its
	// sender is silent), and begins anew when it goes on.
	dryFrames = 3
	// farAhead: a packet so many frames beyond what is played is of another
	// talkspurt, or of a sender that has restarted.
	farAhead = Slots
	// Arrivals are judged over the present window and the one before.
	window = 2 * time.Second
	// The hold is shortened by a frame at most so often.
	easeFrames = 50
)

// What is to be played next.
type What uint8

// Values of What.
const (
	Idle    What = iota // nothing: there is no stream, or it is silent
	Waiting             // nothing yet: packets gather
	Play                // the payload
	Conceal             // Ticks of a lost packet, with the payload behind it if that is here
)

// Next is one answer of Buffer.Next. The payload is valid until the next Put.
type Next struct {
	What    What
	Ticks   uint32 // of RTP time that it covers
	Payload []byte
}

// Stats count what became of packets.
type Stats struct {
	Played    uint64
	Concealed uint64 // frames made up: lost, late, or to hold longer
	Late      uint64 // packets that came behind their time
	Dropped   uint64 // packets left out to hold shorter, and that found no slot
	Held      int    // frames that are aimed at now
}

// Buffer holds one stream.
type Buffer struct {
	frame uint32 // ticks of 20 ms
	clock int64  // Hz

	slots [Slots]slot
	held  int

	state  What   // Idle, Waiting or Play
	play   uint32 // RTP time that is next
	newest uint32 // RTP time behind the newest packet
	wait   int    // frames until playing begins
	dry    int    // frames concealed since packets ran out
	grow   bool   // hold a frame longer: something came late

	// The spread of arrivals, in ticks: latest and earliest transit.
	now, before spread
	began       time.Time // of the present window
	origin      time.Time
	transit     int64 // offset, so that the first packet's is 0
	low         int   // least frames in the buffer since the hold was last eased
	since       int   // frames since then
	stats       Stats
}

type slot struct {
	used  bool
	ts    uint32
	ticks uint32
	data  []byte
}

type spread struct {
	any      bool
	min, max int64
}

func (s *spread) add(v int64) {
	if !s.any {
		*s = spread{true, v, v}
		return
	}
	s.min, s.max = min(s.min, v), max(s.max, v)
}

// New makes a buffer for a stream whose RTP time runs at clock Hz.
func New(clock int) *Buffer {
	return &Buffer{frame: uint32(clock / 50), clock: int64(clock)}
}

// Reset forgets the stream, and keeps what is known of the network.
func (b *Buffer) Reset() {
	for i := range b.slots {
		b.slots[i].used = false
	}
	b.held, b.state, b.dry, b.grow = 0, Idle, 0, false
}

// Stats are the counts so far.
func (b *Buffer) Stats() Stats {
	s := b.stats
	s.Held = b.target()
	return s
}

// Put takes a packet that covers so many ticks. It is copied.
func (b *Buffer) Put(ts, ticks uint32, payload []byte, now time.Time) {
	if ticks == 0 || ticks > farAhead*b.frame {
		b.stats.Dropped++
		return
	}
	b.arrived(ts, now)
	if ahead := int32(ts - b.play); b.state != Idle && (ahead > int32(farAhead*b.frame) || ahead < -int32(farAhead*b.frame)) {
		b.Reset()
	}
	switch {
	case b.state == Idle:
		b.state, b.play, b.newest, b.wait = Waiting, ts, ts, b.target()
		b.low, b.since = Slots, 0
	case b.state == Waiting && int32(ts-b.play) < 0:
		b.play = ts // the first ones came out of order
	case int32(ts-b.play) < 0:
		b.stats.Late++
		b.grow = true
		return
	}
	if int32(ts+ticks-b.newest) > 0 {
		b.newest = ts + ticks
	}
	b.store(ts, ticks, payload)
}

// arrived notes how late a packet is against the others.
func (b *Buffer) arrived(ts uint32, now time.Time) {
	if b.origin.IsZero() {
		b.origin, b.began = now, now
	}
	ticks := now.Sub(b.origin).Microseconds() * b.clock / 1e6
	transit := int64(int32(uint32(ticks) - ts - uint32(b.transit)))
	if !b.now.any && !b.before.any || transit > 2*b.clock || transit < -2*b.clock {
		// The first one, or a sender that has restarted.
		b.transit = int64(uint32(ticks) - ts)
		b.now, b.before, b.began, transit = spread{}, spread{}, now, 0
	}
	if now.Sub(b.began) > window {
		b.before, b.now, b.began = b.now, spread{}, now
	}
	b.now.add(transit)
}

// target is how many frames to hold.
func (b *Buffer) target() int {
	s := b.now
	if b.before.any {
		s.add(b.before.min)
		s.add(b.before.max)
	}
	frames := (s.max - s.min + int64(b.frame) - 1) / int64(b.frame)
	return int(min(max(frames, leastHeld), mostHeld))
}

func (b *Buffer) store(ts, ticks uint32, payload []byte) {
	free := -1
	for i := range b.slots {
		switch s := &b.slots[i]; {
		case s.used && s.ts == ts:
			return // a repeat
		case !s.used && free < 0:
			free = i
		}
	}
	if free < 0 {
		b.stats.Dropped++
		return
	}
	s := &b.slots[free]
	s.used, s.ts, s.ticks = true, ts, ticks
	s.data = append(s.data[:0], payload...)
	b.held++
}

// earliest is the packet that is next in time.
func (b *Buffer) earliest() *slot {
	var first *slot
	for i := range b.slots {
		if s := &b.slots[i]; s.used && (first == nil || int32(s.ts-first.ts) < 0) {
			first = s
		}
	}
	return first
}

// Frame begins the next 20 ms. It comes before the calls of Next for them.
func (b *Buffer) Frame() {
	switch b.state {
	case Waiting:
		if b.wait--; b.wait < 0 {
			b.state = Play
		}
	case Play:
		b.ease()
	}
}

// ease brings the hold nearer to what is aimed at, a frame at a time: longer at
// once when a packet came late, shorter if for a second more was held than is
// needed.
func (b *Buffer) ease() {
	depth := int(int32(b.newest-b.play) / int32(b.frame))
	b.low = min(b.low, depth)
	if b.since++; b.since < easeFrames {
		return
	}
	if b.low > b.target() {
		if s := b.earliest(); s != nil && s.ts == b.play {
			b.play += s.ticks
			b.drop(s)
			b.stats.Dropped++
		}
	}
	b.low, b.since = Slots, 0
}

func (b *Buffer) drop(s *slot) {
	s.used = false
	b.held--
}

// Next is what follows in the stream. It is asked until 20 ms are filled.
func (b *Buffer) Next() Next {
	if b.state != Play {
		return Next{What: b.state}
	}
	if b.grow {
		b.grow = false
		if depth := int(int32(b.newest-b.play) / int32(b.frame)); depth < b.target() {
			b.stats.Concealed++
			return Next{What: Conceal, Ticks: b.frame} // the time stands still
		}
	}
	first := b.earliest()
	switch {
	case first == nil:
		if b.dry++; b.dry > dryFrames {
			b.Reset()
			return Next{What: Idle}
		}
		b.play += b.frame
		b.stats.Concealed++
		return Next{What: Conceal, Ticks: b.frame}
	case first.ts == b.play:
		b.dry = 0
		b.play += first.ticks
		b.drop(first)
		b.stats.Played++
		return Next{What: Play, Ticks: first.ticks, Payload: first.data}
	case int32(first.ts-b.play) < 0: // overlaps what was played
		b.drop(first)
		b.stats.Dropped++
		return b.Next()
	}
	b.dry = 0
	gap := first.ts - b.play
	n := Next{What: Conceal, Ticks: min(gap, b.frame)}
	if gap <= b.frame {
		n.Payload = first.data // what follows may tell of it (in-band FEC)
	}
	b.play += n.Ticks
	b.stats.Concealed++
	return n
}
