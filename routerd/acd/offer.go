package acd

import (
	"slices"
	"strconv"
	"time"
)

// defaultRing is how long an agent's phone rings where the queue doesn't say.
const defaultRing = 20 * time.Second

// Sizes of the why-record.
const (
	whyCandidates = 5  // idle agents named, best first
	whyAgents     = 16 // agents of a queue up to which the excluded ones are named
)

// offer reserves the agent for the call and rings the agent's phone.
func (m *Machine) offer(q *queue, c *call, a *agent) {
	m.own(c)
	q.waiting.remove(c.pos)
	c.Offers++
	c.Agent = a.ID
	id := m.newLeg(c, a)
	q.why(m.fact(c.offerFact(FactOfferMade, id, a.ID)).int("offer", c.Offers), m.now)
	m.setAgentState(a, Reserved)
	m.ring(c, a, id)
}

// newLeg gives the live offer a leg of its own. Legs that are over are
// forgotten: a call that is offered for hours must not grow.
func (m *Machine) newLeg(c *call, a *agent) LegID {
	c.Legs = slices.DeleteFunc(c.Legs, func(l Leg) bool { return l.Role == RoleAgent && l.State == LegOver })
	c.LastLeg++
	id := LegID(itoa(int(c.LastLeg)))
	c.Legs = append(c.Legs, Leg{ID: id, Role: RoleAgent, State: LegNew, Agent: a.ID, Started: m.now})
	c.AgentLeg, a.Call, a.Leg = id, c.ID, id
	return id
}

func (m *Machine) ring(c *call, a *agent, id LegID) {
	l := c.leg(id)
	l.Contacts = a.Contacts
	l.Ring = m.order(c, RingAgent{Leg: id, Agent: a.ID, Contacts: a.Contacts, From: c.From, To: c.To, Card: c.Card})
	timeout := m.queues[c.Queue].RingTimeout
	if timeout == 0 {
		timeout = defaultRing
	}
	m.after(timeout, timerRing, string(c.ID), string(id))
}

// accept: the agent answered, the two are connected.
func (m *Machine) accept(c *call, l *Leg, media Media) {
	m.leaveQueue(c)
	m.stopCallTimers(c)
	m.stopLegTimers(c, l)
	l.State, l.Media, l.Answered, l.Contacts = LegUp, media, m.now, nil
	c.State, c.Bridged, c.WrapUp = CallTalking, m.now, m.queues[c.Queue].WrapUp
	a := m.agents[l.Agent]
	a.Missed = 0
	waited := between(c.Enqueued, m.now)
	m.fact(c.offerFact(FactOfferAccepted, l.ID, l.Agent)).
		seconds("rang", between(l.Started, m.now)).seconds("wait", waited).media(media)
	m.setAgentState(a, InCall)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.connect(c)
	m.fact(c.offerFact(FactCallBridged, c.AgentLeg, c.Agent)).seconds("wait", waited)
}

// connect gives the orders of a talking call; both may be repeated.
func (m *Machine) connect(c *call) {
	m.order(c, Bridge{A: c.Caller, B: c.AgentLeg})
	m.order(c, StartRecording{})
}

// ringTimedOut: the agent did not answer. The call keeps its ticket.
func (m *Machine) ringTimedOut(c *call, id LegID) {
	l := c.leg(id)
	a := m.agents[l.Agent]
	m.fact(c.offerFact(FactOfferTimedOut, id, a.ID)).seconds("rang", between(l.Started, m.now)).int("missed", a.Missed+1)
	m.cancelRing(c, l, CauseRingTimeout)
	m.offerLost(c, a, true)
}

// offerRejected: the leg under offer failed by itself.
func (m *Machine) offerRejected(c *call, l Leg, cause string, code int) {
	m.fact(c.offerFact(FactOfferRejected, l.ID, l.Agent)).int("code", code).text("reason", cause)
	m.offerLost(c, m.agents[l.Agent], unanswered(code))
}

// unanswered tells a phone that can't be reached or doesn't answer, which puts
// the agent on break in the end, from an agent who declines or is busy.
func unanswered(code int) bool {
	return code == 408 || code == 480 || code >= 500 && code < 600
}

// offerLost puts the call back to its place in line and keeps the agent from
// being offered it again at once. Such an agent goes to the back of the idle
// order, so the next offer is another agent's even without a delay.
func (m *Machine) offerLost(c *call, a *agent, missed bool) {
	q := m.queues[c.Queue]
	c.Agent, c.AgentLeg = "", ""
	m.part(a)
	a.IdleSince = m.now
	if missed {
		a.Missed++
	}
	if missed && q.MissedLimit > 0 && a.Missed >= q.MissedLimit && a.Status == Available {
		m.setStatus(a, OnBreak, CauseRONA)
	}
	if q.RejectDelay > 0 {
		a.BackOff = m.now.Add(q.RejectDelay)
		m.timers.set(a.BackOff, timerBackOff, string(a.ID), "")
	}
	m.setAgentState(a, Idle)
	m.wait(c, q)
}

// renewOffer lets an offer go on as a new leg under the new owner: the agent
// stays reserved, the old leg is cancelled by what is stored of it.
func (m *Machine) renewOffer(c *call) {
	old := c.AgentLeg
	a := m.agents[c.Agent]
	m.cancelRing(c, c.leg(old), CauseTakeover)
	if len(a.Contacts) == 0 {
		m.fact(c.offerFact(FactOfferCancelled, old, a.ID)).text("cause", CauseNoPhone)
		m.offerLost(c, a, false)
		return
	}
	id := m.newLeg(c, a)
	m.fact(c.offerFact(FactOfferRenewed, id, a.ID)).text("was", string(old))
	m.setAgentState(a, Reserved)
	m.ring(c, a, id)
}

func (c *call) offerFact(kind string, leg LegID, agent AgentID) Fact {
	return Fact{Kind: kind, Call: c.ID, Leg: leg, Agent: agent, Queue: c.Queue}
}

// why explains a choice at the moment it is made. Its cost is bounded whatever
// the size of the queue.
func (q *queue) why(w *factWriter, now Time) {
	strategy := q.Strategy
	if strategy == "" {
		strategy = LongestIdle
	}
	w.text("strategy", strategy)
	from := w.begin("candidates")
	q.best = q.idle.best(q.best[:0], whyCandidates)
	for i, s := range q.best {
		if i > 0 {
			w.c.buf = append(w.c.buf, ' ')
		}
		w.c.buf = append(append(w.c.buf, s.agent.ID...), ':')
		w.c.buf = appendSeconds(w.c.buf, between(s.agent.IdleSince, now))
	}
	w.end(from).int("eligible", q.idle.len())
	from = w.begin("excluded")
	first := true
	for e, n := range q.out {
		if n > 0 && exclusion(e) != notExcluded {
			w.pair(&first, exclusionNames[e])
			w.c.buf = strconv.AppendInt(w.c.buf, int64(n), 10)
		}
	}
	w.end(from)
	if len(q.seats) > whyAgents {
		return
	}
	from, first = w.begin("excluded_agents"), true
	for _, s := range q.seats {
		if s.agent.out != notExcluded {
			w.pair(&first, string(s.agent.ID))
			w.c.buf = append(w.c.buf, exclusionNames[s.agent.out]...)
		}
	}
	w.end(from)
}

// pair begins "key:" within a value, after a space unless it is the first.
func (w *factWriter) pair(first *bool, key string) {
	if !*first {
		w.c.buf = append(w.c.buf, ' ')
	}
	*first = false
	w.c.buf = append(append(w.c.buf, key...), ':')
}
