package sim

import (
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// history is the judge's own account of calls, read from the facts.
type history struct {
	w       *World
	calls   map[acd.CallID]*callStory
	order   []acd.CallID // in order of arrival
	waiting []*callStory // in queues, in order of tickets
	open    int
	config  acd.Config
	machine *acd.Machine  // after the entry whose facts are read
	made    time.Duration // true time when that was stamped
	// offset is machine time less true time when the first entry was applied.
	offset  time.Duration
	started bool
	rebase  bool // see pace
	rebased int
	refused int
	moved   int
	offers  int
	causes  map[string]int
}

// callStory is one call.
type callStory struct {
	id      acd.CallID
	owner   acd.Owner
	granted time.Duration // when the owner got it
	queue   acd.QueueID
	ticket  uint64
	maxWait time.Duration
	since   acd.Time // enqueued
	offered acd.LegID
	bridged bool
	ended   bool
	legs    []*legStory
}

// legStory is one leg; how is what became of its offer.
type legStory struct {
	id    acd.LegID
	made  acd.Time
	madeT time.Duration
	how   string
	ended bool
}

func newHistory(w *World) *history {
	return &history{w: w, calls: map[acd.CallID]*callStory{}, causes: map[string]int{}}
}

func (c *callStory) leg(id acd.LegID) *legStory {
	for _, l := range c.legs {
		if l.id == id {
			return l
		}
	}
	return nil
}

// take reads the facts of one entry.
func (h *history) take(r *router, e *entry, cmd acd.Command, facts []acd.Fact) {
	now := r.machine.Now()
	h.made = e.made
	h.pace(now)
	h.machine = r.machine
	for i := range facts {
		switch b := cmd.Body.(type) {
		case acd.ConfigApplied:
			if facts[i].Kind == acd.FactConfigApplied {
				h.config = b.Config
			}
		case acd.CallArrived:
			if facts[i].Kind == acd.FactCallArrived {
				h.arrived(b, now)
			}
		}
		h.fact(&facts[i])
	}
	for _, c := range h.waiting {
		if c.maxWait > 0 && now > c.since.Add(c.maxWait+time.Second) && h.inLine(c) {
			h.w.fail(PromiseWait, "call %s waits since %v, longer than its %v", c.id, now.Sub(c.since), c.maxWait)
		}
	}
}

func (h *history) arrived(b acd.CallArrived, now acd.Time) {
	if h.calls[b.Call] != nil {
		h.w.fail(PromiseTerminal, "call %s arrives twice", b.Call)
	}
	h.calls[b.Call] = &callStory{id: b.Call, owner: b.Owner, granted: h.w.now, legs: []*legStory{{id: acd.CallerLeg, made: now}}}
	h.order = append(h.order, b.Call)
	h.open++
}

// pace: cluster time goes as true time does, whatever wall clocks say. An entry
// may be committed long after its leader stamped it. One exception, counted: a
// node that was just started, or stopped for long, and that leads before it has
// heard a fresh stamp goes by what its disk says of the wall clocks of that time.
func (h *history) pace(now acd.Time) {
	offset := time.Duration(int64(now)-epoch) - h.made
	if !h.started {
		h.started, h.offset = true, offset
		return
	}
	if h.rebase {
		h.rebase, h.offset = false, offset
		h.rebased++
	}
	if off := offset - h.offset; off > 1500*time.Millisecond || off < -1500*time.Millisecond {
		h.w.fail(PromiseTimer, "cluster time is %v off", off)
	}
}

func (h *history) fact(f *acd.Fact) {
	if f.Call == "" {
		h.noteFact(f)
		return
	}
	c := h.calls[f.Call]
	if c == nil {
		if f.Kind == acd.FactCallRefused {
			h.refused++
			h.noteFact(f)
			return
		}
		h.w.fail(PromiseTerminal, "%s of call %s, which never arrived", f.Kind, f.Call)
	}
	h.noteFact(f)
	if c.ended {
		h.w.fail(PromiseTerminal, "%s of call %s, which ended before", f.Kind, f.Call)
	}
	switch f.Kind {
	case acd.FactCallQueued:
		h.queued(c, f)
	case acd.FactOfferMade:
		h.offered(c, f)
	case acd.FactOfferRenewed:
		h.settle(c, f, acd.LegID(f.Attr("was")))
		c.legs = append(c.legs, &legStory{id: f.Leg, made: f.At, madeT: h.made})
		c.offered = f.Leg
	case acd.FactOfferAccepted:
		h.settle(c, f, f.Leg)
		h.stopWaiting(c)
	case acd.FactOfferRejected, acd.FactOfferCancelled:
		h.settle(c, f, f.Leg)
		c.offered = ""
	case acd.FactOfferTimedOut:
		h.settle(c, f, f.Leg)
		h.rangLongEnough(c, f)
		c.offered = ""
	case acd.FactCallBridged:
		if c.bridged {
			h.w.fail(PromiseOneCall, "call %s is bridged twice", c.id)
		}
		c.bridged = true
	case acd.FactLegEnded:
		h.legEnded(c, f)
	case acd.FactCallEnded:
		h.callEnded(c, f)
	case acd.FactCallMoved:
		h.moved++
		inc, _ := strconv.ParseUint(after(f.Attr("to"), "/"), 10, 64)
		c.owner, c.granted = acd.Owner{Node: f.Node, Incarnation: inc}, h.w.now
	}
}

func after(s, sep string) string {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i:i+1] == sep {
			return s[i+1:]
		}
	}
	return s
}

func (h *history) noteFact(f *acd.Fact) {
	about := string(f.Call)
	if f.Leg != "" {
		about += "/" + string(f.Leg)
	}
	extra := string(f.Agent)
	switch f.Kind {
	case acd.FactCallMoved:
		extra = f.Attr("to") + " " + f.Attr("cause")
	case acd.FactLegEnded, acd.FactCallEnded, acd.FactOfferCancelled:
		extra += " " + f.Attr("cause")
	case acd.FactAgentState:
		extra += " " + f.Attr("state")
	case acd.FactNodeDied, acd.FactNodeStarted:
		extra = string(f.Node)
	}
	h.w.note("log", f.Kind, about, extra, f.Index)
}

func (h *history) queueOf(id acd.QueueID) *acd.Queue {
	for i := range h.config.Queues {
		if h.config.Queues[i].ID == id {
			return &h.config.Queues[i]
		}
	}
	h.w.fail(PromiseTerminal, "queue %s is not configured", id)
	return nil
}

func (h *history) queued(c *callStory, f *acd.Fact) {
	if c.ticket != 0 {
		h.w.fail(PromiseTerminal, "call %s gets a second ticket", c.id)
	}
	c.queue, c.since = f.Queue, f.At
	c.ticket, _ = strconv.ParseUint(f.Attr("ticket"), 10, 64)
	c.maxWait = h.queueOf(f.Queue).MaxWait
	h.waiting = append(h.waiting, c)
}

// offered: no call that stands before this one in the line, and that is under
// no offer itself, is passed over.
func (h *history) offered(c *callStory, f *acd.Fact) {
	h.offers++
	if c.offered != "" || c.bridged {
		h.w.fail(PromiseOneCall, "call %s is offered to %s while it is under offer or talking", c.id, f.Agent)
	}
	for _, other := range h.waiting {
		if other != c && other.queue == c.queue && other.offered == "" && other.ticket < c.ticket && h.inLine(other) {
			h.w.fail(PromiseOrder, "call %s (ticket %d) is offered to %s before call %s (ticket %d)", c.id, c.ticket, f.Agent, other.id, other.ticket)
		}
	}
	c.offered = f.Leg
	c.legs = append(c.legs, &legStory{id: f.Leg, made: f.At, madeT: h.made})
}

// inLine tells whether a call still waits: nothing is told of its leaving the
// line until all its legs are over.
func (h *history) inLine(c *callStory) bool {
	now, ok := h.machine.Call(c.id)
	return ok && now.State == acd.CallWaiting
}

// settle: an offer has one outcome.
func (h *history) settle(c *callStory, f *acd.Fact, id acd.LegID) {
	l := c.leg(id)
	switch {
	case l == nil:
		h.w.fail(PromiseTerminal, "%s of call %s leg %s, which was never offered", f.Kind, c.id, id)
	case l.how != "" && f.Kind == acd.FactOfferTimedOut:
		h.w.fail(PromiseTimer, "%s of call %s leg %s after %s", f.Kind, c.id, id, l.how)
	case l.how != "":
		h.w.fail(PromiseTerminal, "%s of call %s leg %s after %s", f.Kind, c.id, id, l.how)
	}
	l.how = f.Kind
}

// rangLongEnough: a ring timeout is not early, by machine time, nor by true time
// but for what the leaders' clocks may differ.
func (h *history) rangLongEnough(c *callStory, f *acd.Fact) {
	l, want := c.leg(f.Leg), h.queueOf(c.queue).RingTimeout
	if f.At.Sub(l.made) < want || h.made-l.madeT < want-1200*time.Millisecond {
		h.w.fail(PromiseTimer, "call %s leg %s rang %v (%v of machine time) of %v", c.id, f.Leg, h.made-l.madeT, f.At.Sub(l.made), want)
	}
}

func (h *history) stopWaiting(c *callStory) {
	for i, other := range h.waiting {
		if other == c {
			h.waiting = append(h.waiting[:i:i], h.waiting[i+1:]...)
			return
		}
	}
}

func (h *history) legEnded(c *callStory, f *acd.Fact) {
	l := c.leg(f.Leg)
	switch {
	case l == nil:
		h.w.fail(PromiseCDR, "leg %s of call %s ended and was never begun", f.Leg, c.id)
	case l.ended:
		h.w.fail(PromiseCDR, "leg %s of call %s ended twice", f.Leg, c.id)
	}
	l.ended = true
}

func (h *history) callEnded(c *callStory, f *acd.Fact) {
	h.stopWaiting(c)
	h.open--
	c.ended = true
	h.causes[f.Attr("outcome")+" "+f.Attr("cause")]++
	for _, l := range c.legs {
		if !l.ended {
			h.w.fail(PromiseCDR, "call %s ended, its leg %s has no CDR", c.id, l.id)
		}
	}
	if f.Attr("cause") == acd.CauseMaxWait {
		ended, _ := strconv.ParseInt(f.Attr("ended"), 10, 64)
		if waited := acd.Time(ended).Sub(c.since); waited < c.maxWait {
			h.w.fail(PromiseTimer, "call %s ended for its wait after %v of %v", c.id, waited, c.maxWait)
		}
	}
}
