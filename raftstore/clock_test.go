package raftstore

import (
	"testing"
	"time"
)

const hour = int64(time.Hour)

// hands are a clock's wall and monotonic time, moved by the test.
type hands struct{ wall, mono int64 }

func (h *hands) clock() *clock {
	return &clock{wall: func() int64 { return h.wall }, mono: func() int64 { return h.mono }}
}

func (h *hands) pass(d time.Duration) { h.wall += int64(d); h.mono += int64(d) }

func TestWallJumpMovesNoStamp(t *testing.T) {
	for _, jump := range []int64{hour, -hour} {
		h := &hands{wall: 1000 * hour}
		c := h.clock()
		first := c.now()
		if first != 1000*hour {
			t.Fatalf("first stamp is %d, want the wall clock's", first)
		}
		// The jump comes before anything was applied, the next one after.
		h.wall += jump
		h.pass(time.Second)
		if got := c.now() - first; got != int64(time.Second) {
			t.Errorf("jump of %d: %d passed, want 1 s", jump, got)
		}
		c.live(first, true)
		h.wall += jump
		h.pass(time.Second)
		if got := c.now() - first; got != 2*int64(time.Second) {
			t.Errorf("jump of %d: %d passed, want 2 s", jump, got)
		}
	}
}

func TestClockLosesNoCommitLatency(t *testing.T) {
	h := &hands{wall: 1000 * hour}
	c := h.clock()
	began := c.now()
	for range 1000 {
		stamp := c.now()
		h.pass(3 * time.Millisecond) // committed and applied
		c.live(stamp, true)
	}
	if got := c.now() - began; got != 3*int64(time.Second) {
		t.Errorf("%d passed, want 3 s", got)
	}
}

func TestFollowerKeepsTheLeadersTime(t *testing.T) {
	h := &hands{wall: 5 * hour} // its wall clock is far behind
	c := h.clock()
	c.live(1000*hour, false)
	h.pass(10 * time.Second)
	c.live(1000*hour+9_990_000_000, false) // 10 ms of lag
	if got := c.now(); got != 1000*hour+10_000_000_000 {
		t.Errorf("clock is at %d after 10 s", got-1000*hour)
	}
	// An hour ahead, by a replay under a wrong wall clock, it follows the
	// leader back; leading itself it would not.
	c.set(1001 * hour)
	c.live(1000*hour+11_000_000_000, true)
	if got := c.now(); got != 1001*hour {
		t.Errorf("leader was set back to %d", got)
	}
	c.live(1000*hour+11_000_000_000, false)
	if got := c.now(); got != 1000*hour+11_000_000_000 {
		t.Errorf("follower is at %d, want the leader's time", got)
	}
}

func TestDowntimeCountsWithinABound(t *testing.T) {
	f := func(appended, now, want int64) {
		t.Helper()
		h := &hands{wall: now}
		c := h.clock()
		c.replayed(500*hour, appended)
		if got := c.now(); got != want {
			t.Errorf("appended at %d h, replayed at %d h: clock at %d h, want %d h", appended/hour, now/hour, got/hour, want/hour)
		}
	}
	f(1000*hour, 1008*hour, 508*hour)
	f(1000*hour, 990*hour, 500*hour) // the wall clock was set back
	f(1000*hour, 90000*hour, 500*hour+int64(maxDowntime))
	f(0, 1008*hour, 500*hour) // unknown
}
