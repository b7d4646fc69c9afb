package record

import (
	"cmp"
	"math"
	"slices"
	"time"

	"trunkline/mediad/internal/codec"
)

// A stream is what one sender sent under one SSRC on one leg; a run is a part
// of it in which the RTP clock ticked evenly, so that timestamps alone place
// its packets. A run is pinned to the wall by the packets that were delayed
// least.
type run struct {
	side    Side
	leg     string
	clock   int64 // RTP clock in Hz
	packets []placed
	anchor  int64   // ns: when timestamp 0 of the run would have arrived
	drift   float64 // the sender's second is 1+drift of our seconds
}

// placed is a packet with its timestamp and sequence number unwrapped,
// relative to the start of its run.
type placed struct {
	*packet
	ts, n int64
}

const (
	// A step of the RTP clock against ours beyond this starts a new run.
	clockStep = 200 * time.Millisecond
	// How far ahead a step must last: longer than a network holds packets back.
	stepConfirm = 2 * time.Second
	// Workers' clocks are synchronised; a difference beyond this is a sender
	// that restarted its timestamps.
	maxSkew = time.Minute
)

// clockOf is the RTP clock of a codec that can be heard, else 0.
func clockOf(number byte) int64 { return int64(codec.ClockRate(codecName(number))) }

func (r *run) ns(ts int64) int64 {
	return ts/r.clock*1e9 + ts%r.clock*1e9/r.clock
}

// at is when a timestamp of the run is heard, ns since 1970.
func (r *run) at(ts int64) int64 {
	ns := r.ns(ts)
	return r.anchor + ns + int64(float64(ns)*r.drift)
}

// delay is a packet's arrival against an even clock.
func (r *run) delay(p placed) int64 { return p.arrival - r.ns(p.ts) }

type streamID struct {
	leg  string
	ssrc uint32
}

// timeline merges the logs of several workers into runs, in order of time,
// with the pauses of the recording, and counts packets that more than one of
// them had.
func timeline(sources [][]packet) (runs []*run, pauses []span, duplicates int) {
	sources = slices.Clone(sources)
	slices.SortStableFunc(sources, func(a, b []packet) int { return cmp.Compare(a[0].arrival, b[0].arrival) })
	var all []packet
	for i, source := range sources {
		if i > 0 {
			if skew := clockSkew(all, source); skew != 0 {
				source = slices.Clone(source)
				for k := range source {
					source[k].arrival -= skew
				}
			}
		}
		all = append(all, source...)
	}
	slices.SortStableFunc(all, func(a, b packet) int { return cmp.Compare(a.arrival, b.arrival) })
	pauses = pausesOf(all)
	streams := make(map[streamID][]*packet)
	var order []streamID
	for i := range all {
		if all[i].isNote() {
			continue
		}
		id := streamID{all[i].leg, all[i].ssrc}
		if streams[id] == nil {
			order = append(order, id)
		}
		streams[id] = append(streams[id], &all[i])
	}
	for _, id := range order {
		for _, r := range splitRuns(streams[id]) {
			duplicates += r.settle()
			runs = append(runs, r)
		}
	}
	slices.SortStableFunc(runs, func(a, b *run) int { return cmp.Compare(a.at(a.packets[0].ts), b.at(b.packets[0].ts)) })
	return runs, pauses, duplicates
}

// clockSkew is how far the clock of a worker that wrote later lies ahead of
// that of the ones before it, judged by streams that both recorded: a sender
// does not know that its packets changed workers.
func clockSkew(earlier, later []packet) int64 {
	const window = 100
	known := make(map[streamID][]packet)
	for _, p := range earlier {
		if clockOf(p.codec) > 0 {
			id := streamID{p.leg, p.ssrc}
			known[id] = append(known[id], p)
		}
	}
	fresh := make(map[streamID][]packet)
	for _, p := range later {
		id := streamID{p.leg, p.ssrc}
		if len(fresh[id]) < window && clockOf(p.codec) > 0 {
			fresh[id] = append(fresh[id], p)
		}
	}
	var skews []int64
	for id, b := range fresh {
		a := known[id]
		if len(a) == 0 || a[len(a)-1].codec != b[0].codec {
			continue
		}
		clock := clockOf(b[0].codec)
		least := func(ps []packet) int64 {
			best := int64(math.MaxInt64)
			for _, p := range ps {
				best = min(best, p.arrival-int64(int32(p.timestamp-b[0].timestamp))*1e9/clock)
			}
			return best
		}
		// Compare with packets sent at about the same time: over an hour the
		// sender's own clock drifts.
		i, _ := slices.BinarySearchFunc(a, b[0].timestamp, func(p packet, ts uint32) int {
			return cmp.Compare(int32(p.timestamp-ts), 0)
		})
		skews = append(skews, least(b)-least(a[max(0, i-window):min(len(a), i+window)]))
	}
	if len(skews) == 0 {
		return 0
	}
	slices.Sort(skews)
	if skews[len(skews)-1]-skews[0] <= int64(clockStep) && len(skews) > 1 {
		return skews[len(skews)/2]
	}
	best := slices.MinFunc(skews, func(a, b int64) int { return cmp.Compare(max(a, -a), max(b, -b)) })
	if max(best, -best) > int64(maxSkew) {
		return 0
	}
	return best
}

// splitRuns unwraps one stream, which is in order of arrival.
func splitRuns(stream []*packet) (runs []*run) {
	var r *run
	for i, p := range stream {
		clock := clockOf(p.codec)
		if clock == 0 {
			if r == nil {
				continue // nothing is known to place it by
			}
			clock = r.clock // events tick with the audio (RFC 4733 section 2.1)
		}
		if r == nil || clock != r.clock || r.steps(stream[i:]) {
			r = &run{side: p.side, leg: p.leg, clock: clock}
			runs = append(runs, r)
		}
		r.packets = append(r.packets, r.place(p))
	}
	return runs
}

// place unwraps a packet relative to the one before it.
func (r *run) place(p *packet) placed {
	if len(r.packets) == 0 {
		return placed{packet: p}
	}
	last := r.packets[len(r.packets)-1]
	return unwrap(last, p)
}

func unwrap(last placed, p *packet) placed {
	return placed{
		packet: p,
		ts:     last.ts + int64(int32(p.timestamp-last.timestamp)),
		n:      last.n + int64(int16(p.seq-last.seq)),
	}
}

// steps says whether the sender's clock jumps at the first of the coming
// packets: they arrive away from where their timestamps put them, and what
// follows stays away. Packets the network held back come home soon.
func (r *run) steps(coming []*packet) bool {
	last := r.packets[len(r.packets)-1]
	next := unwrap(last, coming[0])
	if far(r.delay(next), r.delay(last)) == 0 {
		return false
	}
	const window, most = 100, 1000
	past := int64(math.MaxInt64)
	for _, p := range r.packets[max(0, len(r.packets)-window):] {
		past = min(past, r.delay(p))
	}
	future := r.delay(next)
	for _, p := range coming[1:min(len(coming), most)] {
		if p.arrival > coming[0].arrival+int64(stepConfirm) || (clockOf(p.codec) != 0 && clockOf(p.codec) != r.clock) {
			break
		}
		next = unwrap(next, p)
		future = min(future, r.delay(next))
	}
	return far(future, past) != 0
}

// far compares two delays and calls them equal up to clockStep.
func far(a, b int64) int {
	if max(a-b, b-a) <= int64(clockStep) {
		return 0
	}
	return cmp.Compare(a, b)
}

// settle puts a run in order, drops what it has twice, and pins it in time.
func (r *run) settle() (duplicates int) {
	slices.SortStableFunc(r.packets, func(a, b placed) int { return cmp.Compare(a.n, b.n) })
	all := len(r.packets)
	r.packets = slices.CompactFunc(r.packets, func(a, b placed) bool { return a.n == b.n })
	first := r.packets[0]
	for i := range r.packets {
		r.packets[i].ts -= first.ts
		r.packets[i].n -= first.n
	}
	r.pin()
	return all - len(r.packets)
}

// pin finds anchor and drift from the least delayed packet of every ten
// seconds.
func (r *run) pin() {
	last := r.packets[len(r.packets)-1].ts
	width := max(10*r.clock, last/400) // at most 400 windows
	type point struct{ ts, delay int64 }
	var least []point
	window := int64(-1)
	for _, p := range r.packets {
		if p.ts < 0 || p.ts/width != window {
			window = p.ts / width
			least = append(least, point{p.ts, r.delay(p)})
		}
		if l := &least[len(least)-1]; r.delay(p) < l.delay {
			*l = point{p.ts, r.delay(p)}
		}
	}
	r.drift = 0
	// Theil and Sen: the median slope is not moved by a few delayed windows.
	const enough = 6
	if len(least) >= enough {
		var slopes []float64
		for i, a := range least {
			for _, b := range least[i+1:] {
				if span := r.ns(b.ts - a.ts); span > 0 {
					slopes = append(slopes, float64(b.delay-a.delay)/float64(span))
				}
			}
		}
		if len(slopes) > 0 {
			slices.Sort(slopes)
			r.drift = slopes[len(slopes)/2]
		}
		// Oscillators are within 500 ppm; more is something else.
		if math.Abs(r.drift) > 500e-6 || math.Abs(r.drift)*float64(r.ns(last)) < float64(5*time.Millisecond) {
			r.drift = 0
		}
	}
	offsets := make([]int64, len(least))
	for i, l := range least {
		offsets[i] = l.delay - int64(float64(r.ns(l.ts))*r.drift)
	}
	slices.Sort(offsets)
	r.anchor = offsets[len(offsets)/2]
	if len(offsets) < enough {
		r.anchor = offsets[0]
	}
}
