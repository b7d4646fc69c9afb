package acd

import (
	"fmt"
	"slices"
)

// Seconds to wait before a refused call is tried again.
const (
	retryFull  = 5 // a channel is likely to be free by then
	retryReady = 2 // the cluster is starting
)

// call is an open call and its place in the line of calls that can be offered. A
// snapshot may hold the Call: whoever changes one asks the machine to own it
// first.
type call struct {
	*Call
	made  uint64 // Machine.snapshots when this copy of Call was made
	class *class // whose line it is in, or was last
	since Time   // when it would have joined with priority 0, see effectiveWait
	pos   int    // in class.waiting; -1: not in line

	place place // in the queue's line
}

// own makes the call's data the machine's alone. It comes before all that a
// command or a timer does to a call.
func (m *Machine) own(c *call) *call {
	if c.made != m.snapshots {
		data := *c.Call
		data.Legs = append(make([]Leg, 0, max(2, len(data.Legs))), data.Legs...)
		c.Call, c.made = &data, m.snapshots
	}
	return c
}

func (c *call) leg(id LegID) *Leg {
	for i := range c.Legs {
		if c.Legs[i].ID == id {
			return &c.Legs[i]
		}
	}
	return nil
}

// callArrived takes or refuses a new call.
func (m *Machine) callArrived(b CallArrived) Result {
	if c, ok := m.calls[b.Call]; ok {
		r := m.noop(ReasonKnownCall)
		r.Epoch = c.Epoch
		return r
	}
	if _, ok := m.closed[b.Call]; ok {
		r := m.noop(ReasonCallOver)
		r.Code = 487
		return r
	}
	if !m.lives(b.Owner) {
		return m.refuse(b, ReasonStaleLife, 503, retryReady)
	}
	if m.config == nil {
		return m.refuse(b, ReasonNotConfigured, 503, retryReady)
	}
	trunk, ok := m.trunks[b.Trunk]
	if !ok {
		return m.refuse(b, ReasonUnknownTrunk, 403, 0)
	}
	b.From, b.To, b.Diverting = trunk.Inward(b.From), trunk.Inward(b.To), trunk.Inward(b.Diverting)
	number, ok := m.numbers[b.To]
	if !ok {
		return m.refuse(b, ReasonUnknownNumber, 404, 0)
	}
	card := divertedCard(m.cardOf(number, b.From), b)
	greeting, code := m.greet(number, b.From, card)
	if code != 0 {
		return m.refuse(b, ReasonRule, code, 0)
	}
	if trunk.Channels > 0 && m.channels[b.Trunk] >= trunk.Channels {
		return m.refuse(b, ReasonTrunkFull, 503, retryFull)
	}
	if m.config.MaxChannels > 0 && m.channelsUsed() >= m.config.MaxChannels {
		return m.refuse(b, ReasonChannelsFull, 503, retryFull)
	}
	if wait := m.rateWait(trunk); wait > 0 && !number.Always {
		return m.refuse(b, ReasonTrunkRate, 503, seconds(wait))
	}
	if !m.mediaReady() {
		return m.refuse(b, ReasonNoMedia, 503, retryReady)
	}
	to := m.routeOf(number, b.From, card)
	if q, ok := m.queues[to.queue]; ok {
		if cause, then := m.barred(q); cause != "" && then.Refuse != 0 {
			return m.refuse(b, cause, then.Refuse, 0)
		}
	}
	c := &call{pos: -1, made: m.snapshots, Call: &Call{
		ID: b.Call, Owner: b.Owner, Epoch: m.index, State: CallArriving,
		Trunk: b.Trunk, Edge: b.Edge, From: b.From, To: b.To, SIPID: b.SIPID,
		Greeting: greeting, Queue: to.queue, Chain: to.chain, Priority: to.priority, Needs: to.needs, Card: card,
		Arrived: m.now, LastLeg: 1, Caller: CallerLeg,
	}}
	caller := Leg{ID: CallerLeg, Role: RoleCaller, State: LegNew, Started: m.now, Trunk: b.Trunk}
	for _, rec := range b.Records {
		if rec.Leg == CallerLeg {
			caller.Record = rec.Record
		}
	}
	c.Legs = append(make([]Leg, 0, 2), caller)
	m.calls[c.ID] = c
	m.owned[c.Owner.Node]++
	m.useChannel(b.Trunk)
	m.takeRate(trunk)
	m.fact(Fact{Kind: FactCallArrived, Call: c.ID, Node: c.Owner.Node}).
		text("trunk", string(c.Trunk)).text("edge", c.Edge).text("from", c.From).text("to", c.To).text("sip_call_id", c.SIPID)
	m.answer(c)
	return Result{Applied: true, Epoch: c.Epoch}
}

func (m *Machine) useChannel(t TrunkID) {
	if t != "" {
		m.channels[t]++
	}
}

func (m *Machine) freeChannel(t TrunkID) {
	if t == "" {
		return
	}
	m.channels[t]--
	if m.channels[t] == 0 {
		delete(m.channels, t)
	}
}

// channelsUsed counts over all trunks, those no longer configured included.
func (m *Machine) channelsUsed() int {
	n := 0
	for _, used := range m.channels { // any order: a sum
		n += used
	}
	return n
}

func (m *Machine) answer(c *call) {
	m.order(c, AnswerCall{Leg: c.Caller})
	m.after(answerWatchdog, timerAnswer, string(c.ID), "")
}

// callerAnswered goes on with the greeting, or with the queue if there is none.
func (m *Machine) callerAnswered(c *call, l *Leg, media Media) Result {
	if c.State != CallArriving {
		return m.noop(ReasonUnexpected)
	}
	m.stopCallTimers(c)
	l.State, l.Media, l.Answered = LegUp, media, m.now
	c.Answered = m.now
	m.fact(Fact{Kind: FactCallAnswered, Call: c.ID, Leg: l.ID, Node: c.Owner.Node}).media(media)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return Result{Applied: true}
	}
	if c.Greeting == "" {
		m.route(c)
		return Result{Applied: true}
	}
	c.State = CallGreeting
	m.play(c, c.Greeting, false)
	m.after(promptWatchdog, timerPrompt, string(c.ID), "")
	return Result{Applied: true}
}

func (m *Machine) play(c *call, prompt string, loop bool) {
	c.Prompt = Prompt{Name: prompt, Loop: loop}
	m.order(c, PlayPrompt{Leg: c.Caller, Prompt: prompt, Loop: loop})
}

// promptStarted times the greeting by what the worker said it will take. A
// greeting that can't be played is left out.
func (m *Machine) promptStarted(c *call, b PromptStarted) Result {
	leg, promised := c.Caller, c.promised()
	if promised != nil {
		leg = promised.ID
	}
	if c.holdStarted(b) {
		return Result{Applied: true}
	}
	if leg == "" || b.Leg != leg || b.Prompt != c.Prompt.Name && (b.Prompt != announcement || c.State != CallWaiting) {
		return m.noop(ReasonUnexpected)
	}
	if c.Prompt.Started {
		return m.noop(ReasonUnchanged)
	}
	c.Prompt.Started = true
	switch {
	case promised != nil && promised.State != LegUp: // is let go already
		return Result{Applied: true}
	case promised != nil:
		m.after(b.Duration, timerPromise, string(c.ID), "") // at once if it failed
		return Result{Applied: true}
	case c.State == CallLeaving && b.Failed:
		m.timers.stop(timerDismiss, string(c.ID), "")
		m.endCall(c, c.By, c.Cause, 0)
		return Result{Applied: true}
	case c.State == CallLeaving:
		m.after(b.Duration, timerDismiss, string(c.ID), "")
		return Result{Applied: true}
	case c.State != CallGreeting:
		return Result{Applied: true}
	}
	m.timers.stop(timerPrompt, string(c.ID), "")
	m.fact(Fact{Kind: FactCallGreeted, Call: c.ID}).
		text("prompt", b.Prompt).seconds("duration", b.Duration).flag("failed", b.Failed)
	if b.Failed || b.Duration <= 0 {
		m.route(c)
	} else {
		m.after(b.Duration, timerGreeting, string(c.ID), "")
	}
	return Result{Applied: true}
}

// endCall ends what is left of a call: the agent is freed before anything else,
// so that no call that takes long to close can strand an agent. code refuses a
// caller's leg that was not answered yet.
func (m *Machine) endCall(c *call, by, cause string, code int) {
	if c.State == CallEnding {
		panic(fmt.Sprintf("acd: index %d: call %s ends twice", m.index, c.ID))
	}
	m.leaveQueue(c)
	m.stopCallTimers(c)
	if c.Ended == 0 { // else it was settled before the last prompt
		c.By, c.Cause, c.Ended = by, cause, m.now
	}
	c.State, c.AgentLeg = CallEnding, ""
	m.supervisionOver(c, cause)
	m.freeAgents(c)
	m.referralEnds(c)
	m.unreserve(c, cause)
	m.cancelOffers(c, cause)
	if c.Number != "" {
		m.expectNoMore(c)
		m.taskEnds(c, c.outcome())
	}
	for i := range c.Legs {
		m.endLeg(c, &c.Legs[i], cause, code)
	}
	m.closeIfOver(c)
}

// stopCallTimers stops what times the call's present state. It comes before
// every change of state.
func (m *Machine) stopCallTimers(c *call) {
	switch id := string(c.ID); c.State {
	case CallArriving:
		m.timers.stop(timerAnswer, id, "")
	case CallGreeting:
		m.timers.stop(timerPrompt, id, "")
		m.timers.stop(timerGreeting, id, "")
	case CallWaiting:
		m.timers.stop(timerMaxWait, id, "")
		m.timers.stop(timerWiden, id, "")
		m.timers.stop(timerAnnounce, id, "")
		m.timers.stop(timerPromise, id, "")
	case CallRetrying:
		m.timers.stop(timerRetry, id, "")
	case CallLeaving:
		m.timers.stop(timerDismiss, id, "")
	case CallTalking:
		m.timers.stop(timerAnswer, id, "") // an agent's who dialled
	case CallHunting:
		m.awaitOver(c)
	}
}

// closeIfOver forgets the call once all its legs are over.
func (m *Machine) closeIfOver(c *call) {
	if c.State != CallEnding || slices.ContainsFunc(c.Legs, func(l Leg) bool { return l.State != LegOver }) {
		return
	}
	if len(c.Beside) > 0 {
		return // its legs' numbers and its media serve them too
	}
	m.callEndedFact(c)
	if c.Root == "" {
		m.order(c, Release{Media: slices.Clone(c.Media)})
	}
	delete(m.calls, c.ID)
	if m.owned[c.Owner.Node]--; m.owned[c.Owner.Node] == 0 {
		delete(m.owned, c.Owner.Node)
	}
	m.closed[c.ID] = &Closed{Call: c.ID, Owner: c.Owner, Epoch: c.Epoch, Media: c.Media, Root: c.Root}
	m.after(closedMemory, timerClosed, string(c.ID), "")
	m.leaveMedia(c)
	m.besideOver(c)
}

// forgetClosed forgets the id of an ended call; one whose leg belongs to another
// call is remembered for as long as that one.
func (m *Machine) forgetClosed(id CallID) {
	c := m.closed[id]
	_, open := m.calls[c.Root]
	_, known := m.closed[c.Root]
	if c.Moved && (open || known) {
		m.after(closedMemory, timerClosed, string(id), "")
		return
	}
	delete(m.closed, id)
}

// callEndedFact is the call's CDR.
func (m *Machine) callEndedFact(c *call) {
	waited := c.Ended
	if c.Bridged != 0 {
		waited = c.Bridged
	}
	var media Media
	if l := c.leg(c.Caller); l != nil {
		media = l.Media
	}
	w := m.fact(Fact{Kind: FactCallEnded, Call: c.ID, Agent: c.Agent, Queue: c.Queue, Node: c.Owner.Node}).
		text("outcome", c.outcome()).text("by", c.By).text("cause", c.Cause).
		text("trunk", string(c.Trunk)).text("edge", c.Edge).text("from", c.From).text("to", c.To).text("sip_call_id", c.SIPID).
		uint("ticket", c.Ticket).
		stamp("arrived", c.Arrived).stamp("answered", c.Answered).stamp("enqueued", c.Enqueued).
		stamp("bridged", c.Bridged).stamp("ended", c.Ended).
		seconds("wait", between(c.Enqueued, waited)).seconds("talk", between(c.Bridged, c.Ended)).
		int("offers", c.Offers).text("chain", string(c.Chain)).counted("transfers", c.Transfers).media(media)
	if c.Holds > 0 {
		w.int("holds", c.Holds).seconds("held", c.HeldFor)
	}
	if c.Dialler != "" {
		w.text("dialler", string(c.Dialler)).text("beside", string(c.Root))
	}
	if c.Number != "" {
		w.flag("callback", c.Callback).text("task", string(c.Task)).int("attempts", c.Attempts)
	}
}

// outcome is what became of the call, in one word.
func (c *call) outcome() string {
	switch {
	case c.Bridged != 0:
		return "served"
	case c.By == ByCaller && c.Cause != CauseCalledIn:
		return "abandoned"
	}
	switch c.Cause {
	case CauseUnreached, CauseExpired, CauseCalledIn, CauseCancelled:
		return c.Cause
	case CauseMaxWait:
		return "timeout"
	case CauseQueueFull:
		return "full"
	case CauseClosed, CauseJoinEmpty, CauseNotAdmitted, CauseLeaveEmpty, CauseExitKey:
		return c.Cause
	}
	return "dropped"
}
