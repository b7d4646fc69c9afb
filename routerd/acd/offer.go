package acd

import (
	"fmt"
	"strconv"
	"time"
)

// Bounds on offers.
const (
	defaultRing     = 20 * time.Second // where the queue doesn't say how long a phone rings
	defaultRingMost = 5                // ring-all: agents rung at once for one call
	// leastBackOff keeps an agent whose phone refuses at once from being offered
	// the same call a hundred times a second.
	leastBackOff = time.Second
)

// An offer is one call for one agent: a leg for each of the agent's devices,
// of which the first to answer wins. Legs of one offer share its number, the
// call's Offers when it was made. An offer is live while one of its legs is new
// or ringing; a call has several live ones only in a queue that rings all.

// offered tells a leg of a live offer.
func (l *Leg) offered() bool {
	return l.Role == RoleAgent && (l.State == LegNew || l.State == LegRinging)
}

// nextOffer is the first leg of the call's first live offer above after, or nil.
func (c *call) nextOffer(after int) *Leg {
	var first *Leg
	for i := range c.Legs {
		if l := &c.Legs[i]; l.offered() && l.Offer > after && (first == nil || l.Offer < first.Offer) {
			first = l
		}
	}
	return first
}

// liveOffers is how many agents' phones ring for the call.
func (c *call) liveOffers() int {
	n := 0
	for l := c.nextOffer(0); l != nil; l = c.nextOffer(l.Offer) {
		n++
	}
	return n
}

// offer reserves the agent for a waiting call and rings the agent's phones.
func (m *Machine) offer(q *queue, c *call, a *agent) {
	m.own(c)
	m.why(m.beginOffer(c, a), c)
	m.setAgentState(a, Reserved)
	m.ringAgent(c, a, c.Offers, q.ring())
	m.requeue(c)
}

// offerTo offers the call to one agent outside any queue. When the offer is
// lost offerToLost says how it goes on.
func (m *Machine) offerTo(c *call, a *agent, ring time.Duration) {
	m.beginOffer(c, a).text("stage", stageDirect)
	m.setAgentState(a, Reserved)
	m.ringAgent(c, a, c.Offers, ring)
}

// reserve keeps the agent for a waiting call without its customer, who is
// called first. The call is out of the line until requeue.
func (m *Machine) reserve(q *queue, c *call, a *agent) {
	m.own(c)
	c.Agent, a.Call = a.ID, c.ID
	m.why(m.fact(Fact{Kind: FactOfferReserved, Call: c.ID, Agent: a.ID, Queue: c.Queue}), c)
	m.setAgentState(a, Reserved)
	m.requeue(c)
	m.dialCustomer(c)
}

// reserved is the agent who is kept for the call while its customer is called.
func (m *Machine) reserved(c *call) *agent {
	if a, ok := m.agents[c.Agent]; ok && a.Call == c.ID && a.Leg == "" {
		return a
	}
	return nil
}

// ringReserved goes on with the reserved agent: the customer has answered.
func (m *Machine) ringReserved(c *call) {
	a := m.reserved(c)
	c.Agent = ""
	m.beginOffer(c, a).text("stage", stageReserved)
	m.ringAgent(c, a, c.Offers, m.queues[c.Queue].ring())
}

// unreserve frees the agent who was kept for the call, if there is one. The
// call stays out of the line.
func (m *Machine) unreserve(c *call, cause string) {
	a := m.reserved(c)
	if a == nil {
		return
	}
	m.fact(c.offerFact(FactOfferCancelled, "", a.ID)).text("cause", cause)
	c.Agent = ""
	m.part(a)
	m.setAgentState(a, Idle)
}

// beginOffer numbers the offer and begins its why-record.
func (m *Machine) beginOffer(c *call, a *agent) *factWriter {
	c.forgetLegs()
	c.Offers++
	a.Call = c.ID
	w := m.fact(c.offerFact(FactOfferMade, m.nextLeg(c), a.ID)).int("offer", c.Offers)
	return w.devices(a.Contacts)
}

// devices says how many legs the offer has, which follow the fact's in number,
// if several.
func (w *factWriter) devices(contacts []Contact) *factWriter {
	if n := countDevices(contacts); n > 1 {
		w.int("devices", n)
	}
	return w
}

// ringAgent calls all devices of the agent. An agent without any has lost the
// offer.
func (m *Machine) ringAgent(c *call, a *agent, offer int, ring time.Duration) {
	if len(a.Contacts) == 0 {
		m.fact(c.offerFact(FactOfferCancelled, "", a.ID)).text("cause", CauseNoPhone)
		m.offerLost(c, a, offer, ClassUnavailable)
		return
	}
	a.Leg = m.nextLeg(c)
	rest := a.Contacts
	for range maxDevices {
		var device []Contact
		if device, rest = nextDevice(rest); len(device) == 0 {
			break
		}
		l := m.newLeg(c, Leg{Role: RoleAgent, Agent: a.ID, Offer: offer, Contacts: device, RingFor: ring})
		l.Ring = m.order(c, RingAgent{Leg: l.ID, Agent: a.ID, Contacts: device, From: c.From, To: c.To, Card: c.Card})
	}
	m.after(ring, timerOffer, string(c.ID), itoa(offer))
}

// accept: the agent answered, the two are connected. Whoever else was rung for
// the call is not needed any more: exactly one wins.
func (m *Machine) accept(c *call, l *Leg, media Media) {
	var q *queue
	if c.State == CallWaiting {
		q = m.queues[c.Queue]
		q.answered(c, m.now)
	}
	m.leaveQueue(c)
	m.stopCallTimers(c)
	m.timers.stop(timerOffer, string(c.ID), itoa(l.Offer))
	l.State, l.Media, l.Answered, l.Contacts = LegUp, media, m.now, nil
	waited := c.waited(m.now)
	m.referred(c)
	c.talks(l.Agent, l.ID, m.now)
	if c.Dialler == "" {
		m.spoke(c, l.Agent)
	}
	m.meet(c)
	m.taskEnds(c, "connected")
	a := m.agents[l.Agent]
	a.Missed, a.Leg = 0, l.ID
	c.WrapUp, c.WrapUpMax = a.wrapUp(q)
	m.fact(c.offerFact(FactOfferAccepted, l.ID, l.Agent)).
		seconds("rang", between(l.Started, m.now)).seconds("wait", waited).media(media)
	m.setAgentState(a, InCall)
	m.cancelDevices(c, l.Offer, CauseElsewhere)
	m.cancelOffers(c, CauseElsewhere)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.connect(c)
	m.fact(c.offerFact(FactCallBridged, c.AgentLeg, c.Agent)).seconds("wait", waited)
}

// connect gives the orders of a talking call; both may be repeated.
func (m *Machine) connect(c *call) {
	if c.unanswered() {
		m.answer(c) // an agent's own leg, which is connected then
		return
	}
	if l := c.leg(c.AgentLeg); l.Send != "" {
		m.order(c, SendDigits{Leg: l.ID, Keys: l.Send}) // the worker tells a repeat from new ones
	}
	m.bridge(c)
	m.order(c, StartRecording{})
	m.supervise(c)
}

// cancelDevices cancels what is live of one offer.
func (m *Machine) cancelDevices(c *call, offer int, cause string) {
	for i := range c.Legs {
		if l := &c.Legs[i]; l.Offer == offer && l.offered() {
			m.cancelRing(c, l, cause)
		}
	}
}

// cancelOffers takes all live offers back. Their agents keep their places among
// the idle: nothing is their fault.
func (m *Machine) cancelOffers(c *call, cause string) {
	for l := c.nextOffer(0); l != nil; l = c.nextOffer(0) {
		a := m.agents[l.Agent]
		m.fact(c.offerFact(FactOfferCancelled, l.ID, l.Agent)).text("cause", cause)
		m.timers.stop(timerOffer, string(c.ID), itoa(l.Offer))
		m.cancelDevices(c, l.Offer, cause)
		m.part(a)
		m.setAgentState(a, Idle)
	}
}

// offerTimedOut: the agent did not answer. The call keeps its ticket.
func (m *Machine) offerTimedOut(c *call, number string) {
	offer, err := strconv.Atoi(number)
	l := c.nextOffer(offer - 1)
	if err != nil || l == nil || l.Offer != offer {
		panic(fmt.Sprintf("acd: index %d: call %s: timer of offer %q, which is not live", m.index, c.ID, number))
	}
	a := m.agents[l.Agent]
	m.fact(c.offerFact(FactOfferTimedOut, l.ID, a.ID)).seconds("rang", between(l.Started, m.now)).int("missed", a.Missed+1)
	m.cancelDevices(c, offer, CauseRingTimeout)
	m.offerLost(c, a, offer, ClassNoAnswer)
}

// deviceOver: a leg under offer failed by itself. The offer goes on with the
// agent's other devices, unless it was refused for all of them (RFC 3261
// section 21.6).
func (m *Machine) deviceOver(c *call, failed Leg) {
	offer, a := failed.Offer, m.agents[failed.Agent]
	if next := c.nextOffer(offer - 1); next != nil && next.Offer == offer && failed.Code < 600 {
		a.Leg = next.ID
		return
	}
	// Of several refusals the one that says most about the agent counts.
	worst := failed
	for i := range c.Legs {
		l := &c.Legs[i]
		if l.Offer == offer && l.State == LegOver && l.Cause != CauseTakeover && failed.Code < 600 && l.class().weight() > worst.class().weight() {
			worst = *l
		}
	}
	m.fact(c.offerFact(FactOfferRejected, worst.ID, worst.Agent)).int("code", worst.Code).text("reason", worst.Cause)
	m.cancelDevices(c, offer, CauseDeclined)
	c.Referral.heard(worst.Code)
	m.offerLost(c, a, offer, worst.class())
}

// offerLost frees the agent and puts the call back to its place in line, or
// on to what it was to do without this agent.
func (m *Machine) offerLost(c *call, a *agent, offer int, class CauseClass) {
	m.timers.stop(timerOffer, string(c.ID), itoa(offer))
	m.part(a)
	if c.State != CallWaiting {
		m.setAgentState(a, Idle)
		m.offerToLost(c, a, class)
		return
	}
	q := m.queues[c.Queue]
	m.refused(a, q, class)
	if c.Sticky == a.ID {
		c.Sticky = "" // asked and not taken
	}
	m.setAgentState(a, Idle)
	m.requeue(c)
}

// refused keeps the agent from being offered a call again at once. Such an
// agent goes to the back of the idle order.
func (m *Machine) refused(a *agent, q *queue, class CauseClass) {
	a.IdleSince = m.now
	delay := q.RejectDelay
	switch class {
	case ClassBusy:
		delay = q.BusyDelay
	case ClassNoAnswer, ClassUnavailable:
		if len(a.Contacts) > 0 { // else nothing was there to be answered
			a.Missed++
		}
	}
	if q.MissedLimit > 0 && a.Missed >= q.MissedLimit && a.Status == Available {
		m.setStatus(a, OnBreak, CauseRONA)
	}
	a.BackOff = m.now.Add(max(delay, leastBackOff))
	m.timers.set(a.BackOff, timerBackOff, string(a.ID), "")
}

// renewOffers lets the call's offers go on as new legs under its new owner:
// the agents stay reserved, the old legs are cancelled by what is stored of
// them.
func (m *Machine) renewOffers(c *call) {
	for l := c.nextOffer(0); l != nil; {
		offer := l.Offer
		m.renewOffer(c, l)
		l = c.nextOffer(offer)
	}
}

func (m *Machine) renewOffer(c *call, first *Leg) {
	offer, was, ring, a := first.Offer, first.ID, first.RingFor, m.agents[first.Agent]
	m.cancelDevices(c, offer, CauseTakeover)
	if len(a.Contacts) == 0 {
		m.fact(c.offerFact(FactOfferCancelled, was, a.ID)).text("cause", CauseNoPhone)
		m.offerLost(c, a, offer, ClassUnavailable)
		return
	}
	m.fact(c.offerFact(FactOfferRenewed, m.nextLeg(c), a.ID)).text("was", string(was)).devices(a.Contacts)
	m.setAgentState(a, Reserved)
	m.ringAgent(c, a, offer, ring)
}

func (c *call) offerFact(kind string, leg LegID, agent AgentID) Fact {
	return Fact{Kind: kind, Call: c.ID, Leg: leg, Agent: agent, Queue: c.Queue}
}
