package acd

import (
	"slices"
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
	strategy, candidates, eligible, excluded, names := q.why(m.now)
	q.waiting.remove(c.pos)
	c.Offers++
	c.Agent = a.ID
	id := m.newLeg(c, a)
	m.fact(c.offerFact(FactOfferMade, id, a.ID, []Attr{
		{"offer", itoa(c.Offers)}, {"strategy", strategy}, {"candidates", candidates},
		{"eligible", eligible}, {"excluded", excluded}, {"excluded_agents", names},
	}))
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
	l.Ring = m.order(c, RingAgent{Leg: id, Agent: a.ID, Contacts: a.Contacts, From: c.From, To: c.To})
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
	waited := seconds(between(c.Enqueued, m.now))
	m.fact(c.offerFact(FactOfferAccepted, l.ID, l.Agent, append([]Attr{
		{"rang", seconds(between(l.Started, m.now))}, {"wait", waited},
	}, media.attrs()...)))
	m.setAgentState(a, InCall)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.connect(c)
	m.fact(c.offerFact(FactCallBridged, c.AgentLeg, c.Agent, []Attr{{"wait", waited}}))
}

// connect gives the orders of a talking call; both may be repeated.
func (m *Machine) connect(c *call) {
	m.order(c, Bridge{A: CallerLeg, B: c.AgentLeg})
	m.order(c, StartRecording{})
}

// ringTimedOut: the agent did not answer. The call keeps its ticket.
func (m *Machine) ringTimedOut(c *call, id LegID) {
	l := c.leg(id)
	a := m.agents[l.Agent]
	m.fact(c.offerFact(FactOfferTimedOut, id, a.ID, []Attr{
		{"rang", seconds(between(l.Started, m.now))}, {"missed", itoa(a.Missed + 1)},
	}))
	m.cancelRing(c, l, CauseRingTimeout)
	m.offerLost(c, a, true)
}

// offerRejected: the leg under offer failed by itself.
func (m *Machine) offerRejected(c *call, l Leg, cause string, code int) {
	m.fact(c.offerFact(FactOfferRejected, l.ID, l.Agent, []Attr{{"code", itoa(code)}, {"reason", cause}}))
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
		m.fact(c.offerFact(FactOfferCancelled, old, a.ID, []Attr{{"cause", CauseNoPhone}}))
		m.offerLost(c, a, false)
		return
	}
	id := m.newLeg(c, a)
	m.fact(c.offerFact(FactOfferRenewed, id, a.ID, []Attr{{"was", string(old)}}))
	m.setAgentState(a, Reserved)
	m.ring(c, a, id)
}

func (c *call) offerFact(kind string, leg LegID, agent AgentID, attrs []Attr) Fact {
	return Fact{Kind: kind, Call: c.ID, Leg: leg, Agent: agent, Queue: c.Queue, Attrs: attrs}
}

// why explains a choice at the moment it is made. Its cost is bounded whatever
// the size of the queue.
func (q *queue) why(now Time) (strategy, candidates, eligible, excluded, names string) {
	strategy = q.Strategy
	if strategy == "" {
		strategy = LongestIdle
	}
	var text []byte
	for i, s := range q.idle.best(whyCandidates) {
		if i > 0 {
			text = append(text, ' ')
		}
		text = append(text, s.agent.ID...)
		text = append(text, ':')
		text = append(text, seconds(between(s.agent.IdleSince, now))...)
	}
	candidates, eligible = string(text), itoa(q.idle.len())
	text = text[:0]
	for e, n := range q.out {
		if n > 0 && exclusion(e) != notExcluded {
			text = appendPair(text, exclusionNames[e], itoa(n))
		}
	}
	excluded = string(text)
	text = text[:0]
	if len(q.seats) <= whyAgents {
		for _, s := range q.seats {
			if s.agent.out != notExcluded {
				text = appendPair(text, string(s.agent.ID), exclusionNames[s.agent.out])
			}
		}
	}
	return strategy, candidates, eligible, excluded, string(text)
}

func appendPair(text []byte, key, value string) []byte {
	if len(text) > 0 {
		text = append(text, ' ')
	}
	text = append(text, key...)
	text = append(text, ':')
	return append(text, value...)
}
