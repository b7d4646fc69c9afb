package sim

import (
	"fmt"
	"strconv"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// caller is a customer who calls once.
type caller struct {
	far      *farEnd
	n        int
	number   string
	trunk    string
	d        *dialog
	answered bool
	failed   int // SIP code of the refusal
	gone     bool
	ended    string // cause
	tag      string // the tag of whoever answered
	keys     string // pressed
	taken    int    // of keys
}

// newCaller lets a customer call at a moment, wait and talk as long as patience
// lasts, then hang up.
func newCaller(w *World, n int, number, trunk string) *caller {
	c := &caller{n: n, number: number, trunk: trunk}
	c.far = w.newFarEnd("c"+strconv.Itoa(n), fmt.Sprintf("10.2.%d.%d", n/250, n%250+1))
	c.far.told = c.told
	return c
}

func (c *caller) dial(patience time.Duration) {
	w := c.far.w
	w.note(c.far.name, "dials", c.number, c.trunk, 0)
	c.d = c.far.call(fmt.Sprintf("call-%d@sbc", c.n), customerNumber(c.n), c.number, []sip.Header{
		{Name: "X-Trunkline-Trunk", Value: c.trunk}, {Name: "X-Trunkline-Edge", Value: c.far.edges[0].name},
	})
	c.far.after(patience, c.hangUp)
	if w.chance(300) {
		key := pick(w, []string{"0", "1"})
		c.far.after(w.between(3*time.Second, 15*time.Second), func() { c.press(key) })
	}
}

// press is a key in the caller's RTP, which the media worker tells every router
// until one has dealt with it, together with those before that are not dealt
// with.
func (c *caller) press(key string) {
	if !c.live() || !c.answered {
		return
	}
	c.keys += key
	if len(c.keys) == c.taken+1 {
		c.tellKeys(0)
	}
}

func (c *caller) tellKeys(tries int) {
	w := c.far.w
	if !c.live() || c.taken == len(c.keys) || tries == 10 {
		return
	}
	call := callIDOf(c.d.id, c.d.leg.LocalTag())
	upTo, keys := len(c.keys), c.keys[c.taken:]
	for _, r := range w.routers {
		if !r.up {
			continue
		}
		r.after(w.between(200*time.Microsecond, 3*time.Millisecond), func() {
			if owner, _, ok := r.machine.OwnerOf(call); ok && owner == r.owner() {
				told, _ := r.machine.Call(call)
				peer := told.AgentLeg // connected, as the worker knows
				r.post(call, heard{acd.CallerLeg, uint64(upTo), keys, peer, func(serial uint64) { c.taken = max(c.taken, int(serial)) }})
			}
		})
	}
	c.far.after(500*time.Millisecond, func() { c.tellKeys(tries + 1) })
}

func (c *caller) hangUp() {
	if c.gone || c.d.over {
		return
	}
	c.gone = true
	c.far.w.note(c.far.name, "hangs-up", "", "", 0)
	c.far.act(c.d, c.d.leg.Bye(c.far.time()))
}

func (c *caller) told(_ *dialog, e sip.Event) {
	w := c.far.w
	switch e := e.(type) {
	case sip.Answered:
		c.answered = true
		if tag := c.d.leg.RemoteTag(); c.tag != "" && c.tag != tag {
			w.fail(PromiseTerminal, "%s was answered twice, as two calls", c.far.name)
		} else {
			c.tag = tag
		}
		w.judge.callerAnswered(c)
	case sip.Failed:
		c.failed = e.Code
		w.note(c.far.name, "refused", strconv.Itoa(e.Code), e.Reason, 0)
	case sip.Ended:
		c.ended = e.Cause
		w.note(c.far.name, "over", e.Cause, "", 0)
	}
}

// live tells whether the caller still holds the line.
func (c *caller) live() bool { return c.d != nil && !c.d.over }
