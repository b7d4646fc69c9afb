package sim

import "time"

// Of raftstore's clock, see there.
const (
	maxDowntime = int64(7 * 24 * time.Hour)
	maxLead     = int64(time.Second)
)

// epoch is the true wall time at the beginning of a run, in nanoseconds.
const epoch = int64(1_790_000_000_000_000_000)

// clocks are a node's two: the wall clock may be set, the monotonic one runs a
// little too fast or too slow.
type clocks struct {
	w     *World
	drift int64 // parts per million
	wrong int64 // the wall clock's error, nanoseconds
}

func (c *clocks) mono() int64 {
	now := int64(c.w.now)
	return now + now/1_000_000*c.drift
}

func (c *clocks) wall() int64 { return epoch + c.mono() + c.wrong }

// clock is cluster time on one node, as raftstore's clock keeps it.
type clock struct {
	c        *clocks
	anchored bool
	stamp    int64
	at       int64
}

func (k *clock) now() int64 {
	if !k.anchored {
		k.set(k.c.wall())
	}
	return k.read()
}

func (k *clock) read() int64 { return k.stamp + k.c.mono() - k.at }

func (k *clock) set(stamp int64) { k.anchored, k.stamp, k.at = true, stamp, k.c.mono() }

// live tells whether it set the clock back.
func (k *clock) live(stamp int64, leading bool) (back bool) {
	switch {
	case !k.anchored, stamp > k.read():
		k.set(stamp)
	case !leading && k.read()-stamp > maxLead:
		k.set(stamp)
		return true
	}
	return false
}

func (k *clock) replayed(stamp, appended int64) {
	if appended != 0 {
		stamp += min(max(k.c.wall()-appended, 0), maxDowntime)
	}
	if !k.anchored || stamp > k.read() {
		k.set(stamp)
	}
}
