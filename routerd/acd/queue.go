package acd

import (
	"strings"
	"time"
)

// queue is a configured queue, the calls in it that are under no offer, and
// the agents who could be offered one.
type queue struct {
	Queue
	length  int             // waiting calls, those under offer included
	line    line            // the same calls, in order
	waiting ranked[*call]   // that can be offered, by ticket
	idle    ranked[*seat]   // eligible agents, by the strategy
	out     [exclusions]int // of agents, how many are not eligible for which reason
	seats   []*seat         // all agents who serve it, by id
	best    []*seat         // of why, kept to be used again
	dirty   bool            // in Machine.dirty

	estimate *Estimate // in Machine.estimates
}

// ring is how long an agent's phones ring for one offer.
func (q *queue) ring() time.Duration {
	if q.RingTimeout == 0 {
		return defaultRing
	}
	return q.RingTimeout
}

// most is how many agents are rung at once for one call.
func (q *queue) most() int {
	switch {
	case q.Strategy != RingAll:
		return 1
	case q.RingMost == 0:
		return defaultRingMost
	}
	return q.RingMost
}

// seat is an agent's place in one queue.
type seat struct {
	agent *agent
	queue *queue
	pos   int // in queue.idle; -1: not eligible
}

func newQueue(cfg Queue) *queue {
	rank, _ := strategyOf(cfg.Strategy)
	return &queue{
		Queue: cfg,
		line:  line{less: func(a, b *call) bool { return a.Ticket < b.Ticket }},
		waiting: ranked[*call]{
			less:  func(a, b *call) bool { return a.Ticket < b.Ticket },
			place: func(c *call, pos int) { c.pos = pos },
		},
		idle: ranked[*seat]{
			less: func(a, b *seat) bool {
				if r := rank(&a.agent.AgentInfo, &b.agent.AgentInfo); r != 0 {
					return r < 0
				}
				return strings.Compare(string(a.agent.ID), string(b.agent.ID)) < 0
			},
			place: func(s *seat, pos int) { s.pos = pos },
		},
	}
}

// enqueue puts the call into the line of its queue, whose conditions are not
// asked, see enter. The ticket it is given the first time is its place in every
// line until an agent answers or the call ends, whatever happens to nodes and
// offers.
func (m *Machine) enqueue(c *call) {
	m.stopCallTimers(c)
	q := m.queues[c.Queue]
	if c.Ticket == 0 {
		m.tickets++
		c.Ticket, c.Enqueued = m.tickets, m.now
	}
	c.State, c.Joined, c.Until, c.ToldPosition = CallWaiting, m.now, 0, 0
	c.GuessP50, c.GuessP90, _ = q.more(m.now)
	q.length++
	q.line.insert(c)
	m.fact(Fact{Kind: FactCallQueued, Call: c.ID, Queue: q.ID}).uint("ticket", c.Ticket).int("waiting", q.length)
	if q.MaxWait > 0 {
		c.Until = m.now.Add(q.MaxWait)
		m.timers.set(c.Until, timerMaxWait, string(c.ID), "")
	}
	if q.Music != "" && c.Prompt != (Prompt{Name: q.Music, Loop: true, Started: true}) {
		m.play(c, q.Music, true)
	}
	m.announceFirst(c, q)
	m.requeue(c)
}

// requeue puts a waiting call back to its ticket's place: it can be offered.
func (m *Machine) requeue(c *call) {
	q := m.queues[c.Queue]
	if c.pos < 0 {
		q.waiting.push(c)
	}
	m.touch(q)
}

// offersChanged takes the call out of the line while it is offered to as many
// agents at once as the queue allows, or an agent is reserved for it.
func (m *Machine) offersChanged(c *call, q *queue) {
	if c.pos >= 0 && (m.reserved(c) != nil || c.liveOffers() >= q.most()) {
		q.waiting.remove(c.pos)
	}
}

// leaveQueue takes a call out of its queue, if it is in one.
func (m *Machine) leaveQueue(c *call) {
	if c.State != CallWaiting {
		return
	}
	q := m.queues[c.Queue]
	q.length--
	q.line.remove(c)
	q.quiet()
	if c.pos >= 0 {
		q.waiting.remove(c.pos)
	}
	m.touch(q) // the next one may stand in line for the first time
}

// touch notes that the queue may have a call and an agent for each other.
func (m *Machine) touch(q *queue) {
	if !q.dirty {
		q.dirty = true
		m.dirty = append(m.dirty, q)
	}
}

// rest forgets which queues were touched: a machine that was saved between two
// commands had nothing left to offer.
func (m *Machine) rest() {
	for _, q := range m.dirty {
		q.dirty = false
	}
	m.dirty = m.dirty[:0]
}

// dispatch offers waiting calls to idle agents until one of the two runs out
// in every queue. An agent of several queues gets the call that waits longest.
func (m *Machine) dispatch() {
	for {
		var next *queue
		for _, q := range m.dirty {
			if q.waiting.len() > 0 && q.idle.len() > 0 && (next == nil || q.waiting.items[0].Ticket < next.waiting.items[0].Ticket) {
				next = q
			}
		}
		if next == nil {
			break
		}
		c, a := next.waiting.items[0], next.idle.items[0].agent
		if c.Caller == "" {
			m.reserve(next, c, a)
		} else {
			m.offer(next, c, a)
		}
	}
	for _, q := range m.dirty {
		q.busy(m.now)
	}
	m.rest()
}
