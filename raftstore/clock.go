package raftstore

import (
	"sync"
	"time"
)

const (
	// maxDowntime bounds how far the wall clock may move cluster time when a
	// log is replayed: a longer stop is a new life of the site, and a wall
	// clock that claims more is more likely wrong than right.
	maxDowntime = 7 * 24 * time.Hour
	// maxLead is how far a follower's clock may run ahead of the stamps of a
	// live leader before it is set back. Replication lag is far below it.
	maxLead = time.Second
)

// clock is cluster time on this node, in nanoseconds.
//
// It is anchored at a stamp and advanced by the monotonic clock. A later stamp
// moves the anchor forward and an earlier one does not move it back, because an
// entry is applied some milliseconds after it was stamped: following every
// stamp would lose that latency with every entry and nearly stop the clock
// under load.
type clock struct {
	wall func() int64 // nanoseconds since 1970, may jump
	mono func() int64 // nanoseconds, never jumps

	mu       sync.Mutex
	anchored bool
	stamp    int64 // cluster time at the anchor
	at       int64 // mono at the anchor
}

func newClock() *clock {
	start := time.Now()
	return &clock{
		wall: func() int64 { return time.Now().UnixNano() },
		mono: func() int64 { return int64(time.Since(start)) },
	}
}

// now is the stamp the leader gives to a command: the wall clock as long as
// nothing was ever applied, cluster time afterwards.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.anchored {
		// From here on the wall clock is not asked again: it may jump
		// before the first entry is applied.
		c.set(c.wall())
	}
	return c.read()
}

func (c *clock) read() int64 { return c.stamp + c.mono() - c.at }

func (c *clock) set(stamp int64) {
	c.anchored, c.stamp, c.at = true, stamp, c.mono()
}

// live notes an entry applied as it was committed. A leader never sets its
// clock back: its own entries come back late when its disk is slow.
func (c *clock) live(stamp int64, leading bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.anchored, stamp > c.read():
		c.set(stamp)
	case !leading && c.read()-stamp > int64(maxLead):
		c.set(stamp)
	}
}

// replayed notes an entry, or a snapshot's last entry, that was on this node's
// disk before it started. appended is the wall time at which its leader
// appended it (0 when unknown); the difference to the present wall time counts
// as passed, within maxDowntime.
func (c *clock) replayed(stamp, appended int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if appended != 0 {
		stamp += min(max(c.wall()-appended, 0), int64(maxDowntime))
	}
	if !c.anchored || stamp > c.read() {
		c.set(stamp)
	}
}
