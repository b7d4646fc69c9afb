package jitter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// arrival is packet n, 20 ms long, at a time.
type arrival struct {
	n  int
	at time.Duration
}

// played runs a buffer with ticks every 20 ms and names what it plays: a number, c
// for a concealed frame, . for nothing.
func played(b *Buffer, list []arrival, until time.Duration) string {
	var out []string
	start := time.Unix(1e9, 0)
	slices.SortStableFunc(list, func(x, y arrival) int { return int(x.at - y.at) })
	for at := 10 * time.Millisecond; at < until; at += frameTime {
		for len(list) > 0 && list[0].at <= at {
			b.Put(uint32(list[0].n*960)-5000, 960, []byte(fmt.Sprint(list[0].n)), start.Add(list[0].at))
			list = list[1:]
		}
		b.Frame()
		switch n := b.Next(); n.What {
		case Play:
			out = append(out, string(n.Payload))
		case Conceal:
			out = append(out, "c")
		default:
			out = append(out, ".")
		}
	}
	return strings.Join(out, " ")
}

// steady is packets from to to at their time, each delayed by a function.
func steady(from, to int, late func(n int) time.Duration) (list []arrival) {
	for n := from; n < to; n++ {
		list = append(list, arrival{n, time.Duration(n)*frameTime + late(n)})
	}
	return list
}

func none(int) time.Duration { return 0 }

func TestPacketsArePlayedInTheirTime(t *testing.T) {
	f := func(what string, list []arrival, want string) {
		t.Helper()
		if got := played(New(48000), list, time.Duration(len(strings.Fields(want)))*frameTime); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	f("steady", steady(0, 8, none), ". 0 1 2 3 4 5 6 7")
	f("one lost", slices.Delete(steady(0, 8, none), 3, 4), ". 0 1 2 c 4 5 6 7")
	f("silence and back", append(steady(0, 3, none), steady(12, 15, none)...), ". 0 1 2 c c c . . . . . . 12 13 14")
	f("swapped at the start", []arrival{{1, 1 * time.Millisecond}, {0, 2 * time.Millisecond}, {2, 40 * time.Millisecond}}, ". 0 1 2")
	f("repeated", append(steady(0, 4, none), steady(0, 4, func(int) time.Duration { return time.Millisecond })...), ". 0 1 2 3")
	f("restarted far away", append(steady(0, 3, none), arrival{5000, 60 * time.Millisecond}, arrival{5001, 80 * time.Millisecond}),
		". 0 1 . 5000 5001")
}

// Packets of 60 and 10 ms are played for as long as they last.
func TestPacketsOfOtherLengths(t *testing.T) {
	b, now := New(8000), time.Unix(1e9, 0)
	b.Put(0, 480, []byte("a"), now)
	b.Put(480, 80, []byte("b"), now)
	b.Put(640, 80, []byte("d"), now)
	b.Frame()
	b.Frame()
	for _, want := range []Next{{Play, 480, []byte("a")}, {Play, 80, []byte("b")}, {Conceal, 80, []byte("d")}, {Play, 80, []byte("d")}, {Conceal, 160, nil}} {
		if n := b.Next(); n.What != want.What || n.Ticks != want.Ticks || string(n.Payload) != string(want.Payload) {
			t.Errorf("%+v, want %+v", n, want)
		}
	}
}

// With a network that jitters the hold grows until nothing is late, and not
// beyond its bound; when it is quiet again the hold goes back.
func TestTheHoldFollowsTheNetwork(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []time.Duration{0, 30 * time.Millisecond, 100 * time.Millisecond, 190 * time.Millisecond, 400 * time.Millisecond} {
		b := New(48000)
		jitter := func(int) time.Duration {
			if spread == 0 {
				return 0
			}
			return time.Duration(rnd.Int64N(int64(spread)))
		}
		played(b, steady(0, 500, jitter), 10*time.Second)
		s := b.Stats()
		want := int((spread + frameTime - 1) / frameTime)
		if s.Held < min(max(want-1, leastHeld), mostHeld) || s.Held > mostHeld {
			t.Errorf("jitter %v: %d frames are held", spread, s.Held)
		}
		if spread <= 190*time.Millisecond && s.Late > 25 {
			t.Errorf("jitter %v: %d of 500 packets were late", spread, s.Late)
		}
		if s.Played < 450 && spread <= 190*time.Millisecond {
			t.Errorf("jitter %v: %d of 500 packets played", spread, s.Played)
		}
		start := time.Unix(1e9, 0)
		last := 0
		for n := 500; n < 1500; n++ {
			now := start.Add(time.Duration(n) * frameTime)
			b.Put(uint32(n*960)-5000, 960, []byte("x"), now)
			b.Frame()
			b.Next()
			last = int(int32(b.newest-b.play) / 960)
		}
		if s := b.Stats(); s.Held != leastHeld || last > 2 {
			t.Errorf("after jitter of %v: %d frames aimed at, %d held", spread, s.Held, last)
		}
	}
}

// A sender whose clock is off by 500 ppm for ten minutes neither fills the buffer
// nor runs it dry more often than a frame for each 20 ms of drift.
func TestClocksThatDrift(t *testing.T) {
	for _, ppm := range []int{-500, 500} {
		b := New(48000)
		const frames = 10 * 60 * 50
		played(b, steady(0, frames, func(n int) time.Duration { return time.Duration(n) * frameTime * time.Duration(ppm) / 1e6 }), frames*frameTime)
		s := b.Stats()
		if s.Played < frames-60 || s.Concealed+s.Dropped+s.Late > 60 {
			t.Errorf("%d ppm: %+v", ppm, s)
		}
	}
}

func TestNoAllocationOnceGrown(t *testing.T) {
	b := New(48000)
	payload := make([]byte, 200)
	now, ts := time.Unix(1e9, 0), uint32(0)
	step := func() {
		b.Put(ts, 960, payload, now)
		ts, now = ts+960, now.Add(frameTime)
		b.Frame()
		b.Next()
	}
	for range 2 * Slots {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// FuzzBuffer: whatever comes, time only goes on, and what is asked for ends.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 3, 1, 0, 6, 2, 255, 255, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, now := New(8000), time.Unix(1e9, 0)
		for ; len(in) >= 3; in = in[3:] {
			now = now.Add(time.Duration(in[2]&7) * 10 * time.Millisecond)
			b.Put(uint32(int16(uint16(in[0])<<8|uint16(in[1])))*40, uint32(in[2])*8, in[:1], now)
			b.Frame()
			for filled := uint32(0); filled < 160; {
				n := b.Next()
				if n.What == Idle || n.What == Waiting {
					break
				}
				if n.Ticks == 0 {
					t.Fatal("nothing that lasts no time")
				}
				filled += n.Ticks
			}
			if b.held < 0 || b.held > Slots {
				t.Fatalf("%d packets held", b.held)
			}
		}
	})
}
