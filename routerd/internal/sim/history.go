package sim

import (
	"reflect"
	"slices"
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// history is the judge's own account of calls, read from the facts.
type history struct {
	w       *World
	calls   map[acd.CallID]*callStory
	order   []acd.CallID               // in order of arrival
	waiting []*callStory               // in queues, in order of tickets
	busy    map[acd.AgentID]acd.CallID // under offer, reserved or talking
	config  acd.Config
	machine *acd.Machine  // after the entry whose facts are read
	made    time.Duration // true time when that was stamped
	index   uint64
	seen    map[proposal]bool
	// offset is machine time less true time when the first entry was applied.
	offset  time.Duration
	started bool
	rebase  uint64 // the term whose first stamp sets offset anew, see pace
	rebased int
	// rebasedAt is when that was last.
	rebasedAt time.Duration
	refused   int
	moved     int
	offers    int
	causes    map[string]int
}

// callStory is one call.
type callStory struct {
	id      acd.CallID
	owner   acd.Owner
	epoch   uint64
	granted time.Duration // when the owner got it
	queue   acd.QueueID
	ticket  uint64
	maxWait time.Duration
	since   acd.Time // in this queue
	waits   bool
	offers  []*offerStory // live ones
	bridged bool
	ended   bool
	alone   bool // goes on without its customer: a task, or a promised callback
	legs    []*legStory
}

// offerStory is one call for one agent, on one or more devices.
type offerStory struct {
	agent acd.AgentID
	made  acd.Time
	madeT time.Duration
	held  bool // the agent is reserved while a customer is called
	ring  time.Duration
}

// legStory is one leg.
type legStory struct {
	id    acd.LegID
	ended bool
}

func newHistory(w *World) *history {
	return &history{w: w, calls: map[acd.CallID]*callStory{}, busy: map[acd.AgentID]acd.CallID{}, seen: map[proposal]bool{}, causes: map[string]int{}}
}

func (c *callStory) leg(id acd.LegID) *legStory {
	for _, l := range c.legs {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (c *callStory) offer(a acd.AgentID) *offerStory {
	for _, o := range c.offers {
		if o.agent == a {
			return o
		}
	}
	return nil
}

// take reads the facts of one entry. The legs that its orders begin come first:
// not each of them has a fact of its own.
func (h *history) take(r *router, e *entry, cmd acd.Command, res acd.Result, effects []acd.Effect, facts []acd.Fact) {
	now := r.machine.Now()
	h.made, h.index = e.made, e.index
	h.pace(e, now)
	h.machine = r.machine
	h.oldOwner(cmd, res)
	for i := range facts {
		if facts[i].Kind == factTaskDue {
			h.due(&facts[i])
		}
	}
	for i := range effects {
		switch o := effects[i].Order.(type) {
		case acd.RingAgent:
			h.begun(effects[i].Call, o.Leg)
		case acd.Dial:
			h.begun(effects[i].Call, o.Leg)
		}
	}
	for i := range facts {
		switch b := cmd.Body.(type) {
		case acd.ConfigApplied:
			if facts[i].Kind == acd.FactConfigApplied {
				h.config = b.Config
			}
		case acd.CallArrived:
			if facts[i].Kind == acd.FactCallArrived {
				h.arrived(b)
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

func (h *history) arrived(b acd.CallArrived) {
	if h.calls[b.Call] != nil {
		h.w.fail(PromiseTerminal, "call %s arrives twice", b.Call)
	}
	h.calls[b.Call] = &callStory{id: b.Call, owner: b.Owner, epoch: h.index, granted: h.w.now, legs: []*legStory{{id: acd.CallerLeg}}}
	h.order = append(h.order, b.Call)
}

// proposal names one, however often it comes.
type proposal struct {
	session string
	seq     uint64
}

// oldOwner: a command that does not bear the call's epoch changes nothing. A
// repeat is given its first answer again.
func (h *history) oldOwner(cmd acd.Command, res acd.Result) {
	p := proposal{cmd.Session, cmd.Seq}
	if h.seen[p] {
		return
	}
	h.seen[p] = true
	v := reflect.ValueOf(cmd.Body).FieldByName("OnCall")
	if !v.IsValid() || !res.Applied {
		return
	}
	head := v.Interface().(acd.OnCall)
	if c := h.calls[head.Call]; c != nil && c.epoch != head.Epoch {
		h.w.fail(PromiseEpoch, "%T of call %s by %s bears epoch %d and is taken; the call's is %d", cmd.Body, head.Call, cmd.Session, head.Epoch, c.epoch)
	}
}

// Kinds of facts that a machine without callbacks does not know.
const (
	factTaskDue  = "task.due"
	factPromised = "callback.promised"
)

// due: a task becomes a call without a customer.
func (h *history) due(f *acd.Fact) {
	owner, epoch, ok := h.machine.OwnerOf(f.Call)
	if !ok { // over within the same entry
		owner, epoch = acd.Owner{Node: f.Node}, h.index
	}
	h.calls[f.Call] = &callStory{id: f.Call, owner: owner, epoch: epoch, granted: h.w.now, alone: true}
	h.order = append(h.order, f.Call)
}

// begun: a leg is called.
func (h *history) begun(call acd.CallID, id acd.LegID) {
	c := h.calls[call]
	if c == nil {
		h.w.fail(PromiseTerminal, "leg %s of call %s, which never arrived", id, call)
	}
	if c.leg(id) != nil {
		h.w.fail(PromiseCDR, "leg %s of call %s is begun twice", id, call)
	}
	c.legs = append(c.legs, &legStory{id: id})
}

// pace: cluster time goes as true time does, whatever wall clocks say. An entry
// may be committed long after its leader stamped it. One exception, counted: a
// node that was just started, or stopped for long, and that leads before it has
// heard a fresh stamp goes by what its disk says of the wall clocks of that time.
func (h *history) pace(e *entry, now acd.Time) {
	offset := time.Duration(int64(now)-epoch) - h.made
	if !h.started {
		h.started, h.offset = true, offset
		return
	}
	if h.rebase != 0 && e.term >= h.rebase {
		h.rebase, h.offset, h.rebasedAt = 0, offset, h.made
		h.rebased++
	}
	if off := offset - h.offset; off > 1500*time.Millisecond || off < -1500*time.Millisecond {
		h.w.fail(PromiseTimer, "cluster time is %v off", off)
	}
}

func (h *history) fact(f *acd.Fact) {
	if s := acd.AgentState(f.Attr("state")); f.Kind == acd.FactAgentState && (s == acd.Idle || s == acd.WrapUp) {
		delete(h.busy, f.Agent)
	}
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
	case acd.FactOfferMade, acd.FactOfferReserved:
		h.offered(c, f)
	case acd.FactOfferRenewed:
		o := h.settling(c, f)
		o.made, o.madeT = f.At, h.made
	case acd.FactOfferAccepted:
		h.settle(c, f)
		h.busy[f.Agent] = c.id
		h.stopWaiting(c)
	case acd.FactOfferRejected, acd.FactOfferCancelled:
		h.settle(c, f)
	case acd.FactOfferTimedOut:
		h.rangLongEnough(c, f)
		h.settle(c, f)
	case acd.FactCallBridged:
		if c.bridged {
			h.w.fail(PromiseOneCall, "call %s is bridged twice", c.id)
		}
		c.bridged = true
	case acd.FactCallTransferred:
		delete(h.busy, f.Agent)
		c.bridged = false
	case acd.FactLegEnded:
		h.legEnded(c, f)
	case acd.FactCallEnded:
		h.callEnded(c, f)
	case factPromised:
		c.alone, c.maxWait = true, 0 // it lasts until the callback expires
	case acd.FactCallMoved:
		h.moved++
		inc, _ := strconv.ParseUint(after(f.Attr("to"), "/"), 10, 64)
		c.epoch, _ = strconv.ParseUint(f.Attr("epoch"), 10, 64)
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
	q := h.machineQueue(id)
	if q == nil {
		h.w.fail(PromiseTerminal, "queue %s is not configured", id)
	}
	return q
}

func (h *history) machineQueue(id acd.QueueID) *acd.Queue {
	for i := range h.config.Queues {
		if h.config.Queues[i].ID == id {
			return &h.config.Queues[i]
		}
	}
	return nil
}

func (h *history) queued(c *callStory, f *acd.Fact) {
	ticket, _ := strconv.ParseUint(f.Attr("ticket"), 10, 64)
	if c.ticket != 0 && ticket != c.ticket {
		h.w.fail(PromiseTerminal, "call %s had ticket %d and gets %d", c.id, c.ticket, ticket)
	}
	if c.waits && c.queue == f.Queue && !c.alone { // that comes back from its retries
		h.w.fail(PromiseTimer, "call %s enters the line of %s once more", c.id, f.Queue)
	}
	c.ticket, c.queue, c.since, c.maxWait = ticket, f.Queue, f.At, h.queueOf(f.Queue).MaxWait
	if c.alone {
		c.maxWait = 0
	}
	if !c.waits {
		c.waits = true
		h.waiting = append(h.waiting, c)
	}
}

// offered: no call that stands before this one in the line, needs no more and
// could take the offer is passed over.
func (h *history) offered(c *callStory, f *acd.Fact) {
	h.offers++
	held := c.offer(f.Agent)
	if held != nil && !held.held || held == nil && h.busy[f.Agent] != "" || c.bridged && f.Attr("stage") == "" {
		h.w.fail(PromiseOneCall, "call %s is offered to %s, who has call %q already", c.id, f.Agent, h.busy[f.Agent])
	}
	h.busy[f.Agent] = c.id
	if held != nil { // the reserved agent's phone rings now
		held.held, held.made, held.madeT = false, f.At, h.made
		return
	}
	if c.waits && f.Attr("stage") == "" {
		for _, other := range h.waiting {
			if other != c && other.queue == c.queue && other.ticket < c.ticket && h.passedOver(other, c) {
				h.w.fail(PromiseOrder, "call %s (ticket %d) is offered to %s before call %s (ticket %d)", c.id, c.ticket, f.Agent, other.id, other.ticket)
			}
		}
	}
	c.offers = append(c.offers, &offerStory{agent: f.Agent, made: f.At, madeT: h.made, held: f.Kind == acd.FactOfferReserved, ring: h.ringOf(f.Queue)})
}

// ringOf is how long a queue lets phones ring; 0 outside queues.
func (h *history) ringOf(id acd.QueueID) time.Duration {
	if q := h.machineQueue(id); q != nil {
		return q.RingTimeout
	}
	return 0
}

// passedOver tells whether a call that came before another could have had its
// offer: it still waits, has no offer too many, and no lower priority or more
// needs.
func (h *history) passedOver(first, second *callStory) bool {
	most, q := 1, h.queueOf(first.queue)
	if q.Strategy == acd.RingAll {
		if most = q.RingMost; most == 0 {
			most = 5
		}
	}
	if len(first.offers) >= most || !h.inLine(first) {
		return false
	}
	a, _ := h.machine.Call(first.id)
	if a.Caller == "" && slices.ContainsFunc(a.Legs, func(l acd.Leg) bool { return l.Role == acd.RoleCaller && l.State != acd.LegOver }) {
		return false // the caller still hears that a callback is promised
	}
	b, ok := h.machine.Call(second.id)
	switch {
	case b.Sticky != "": // of equal priority, who is kept for the agent goes first
		return false
	case q.TierDelay > 0 && a.Joined > b.Joined: // moved here later, it has reached fewer tiers
		return false
	}
	return ok && a.Priority >= b.Priority && len(a.Needs) == 0 && a.Sticky == "" && a.Ring >= b.Ring
}

// settling is the live offer that a fact is about.
func (h *history) settling(c *callStory, f *acd.Fact) *offerStory {
	o := c.offer(f.Agent)
	if o == nil {
		promise := PromiseTerminal
		if f.Kind == acd.FactOfferTimedOut {
			promise = PromiseTimer
		}
		h.w.fail(promise, "%s of call %s for %s, which is not under offer", f.Kind, c.id, f.Agent)
	}
	return o
}

// settle: an offer has one outcome.
func (h *history) settle(c *callStory, f *acd.Fact) {
	h.settling(c, f)
	delete(h.busy, f.Agent)
	for i, o := range c.offers {
		if o.agent == f.Agent {
			c.offers = append(c.offers[:i:i], c.offers[i+1:]...)
		}
	}
}

// rangLongEnough: a ring timeout is not early, by machine time, nor by true time
// but for what the leaders' clocks may differ.
func (h *history) rangLongEnough(c *callStory, f *acd.Fact) {
	o := h.settling(c, f)
	want := o.ring
	if h.rebasedAt > o.madeT {
		return // see pace
	}
	if f.At.Sub(o.made) < want || h.made-o.madeT < want-1200*time.Millisecond {
		h.w.fail(PromiseTimer, "call %s rang %s for %v (%v of machine time) of %v", c.id, f.Agent, h.made-o.madeT, f.At.Sub(o.made), want)
	}
}

// inLine tells whether a call still waits: nothing is told of its leaving the
// line until all its legs are over.
func (h *history) inLine(c *callStory) bool {
	now, ok := h.machine.Call(c.id)
	return ok && now.State == acd.CallWaiting
}

func (h *history) stopWaiting(c *callStory) {
	c.waits = false
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
