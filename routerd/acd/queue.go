package acd

import "time"

// queue is a configured queue, the calls in it and the agents who serve it.
type queue struct {
	Queue
	length  int                // waiting calls, those under offer included
	line    line               // the same calls, in order
	stages  []stage            // by how many rings a call has reached
	classes []*class           // see class
	kept    map[AgentID]*class // of the calls that are kept for one agent
	seats   []*seat            // all agents who serve it, by tier, position and id
	tiers   []tier             // of seats
	out     [exclusions]int    // of agents, how many are not eligible for which reason
	best    []*seat            // of why, kept to be used again
	recount Time               // when least-busy counts anew, see load

	standing int  // calls in the lines of its classes
	stirred  bool // in Machine.stirred
	retired  bool // no longer configured: no call is sent here any more

	estimate *Estimate // in Machine.estimates
}

func newQueue(cfg Queue) *queue {
	return &queue{Queue: cfg, line: line{less: waitsBefore}, stages: stagesOf(&cfg), kept: make(map[AgentID]*class)}
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

// enqueue puts the call into the line of its queue, whose conditions are not
// asked, see enter. The ticket it is given the first time is its place in every
// line until an agent answers or the call ends, whatever happens to nodes and
// offers.
func (m *Machine) enqueue(c *call) {
	m.stopCallTimers(c)
	q := m.queues[c.Queue]
	if c.Caller != "" {
		m.meet(c)
	}
	m.giveTicket(c)
	c.Ring, c.Sticky = 0, ""
	if c.State != CallRetrying { // else it counts as having been here all the time
		c.Joined, c.Sticky, c.ToldPosition = m.now, m.lastSpoken(c, q), 0
	}
	c.State, c.Until = CallWaiting, 0
	p50, p90, known := q.more(m.now)
	q.length++
	c.since = q.joinedSince(c)
	q.line.insert(c)
	m.fact(Fact{Kind: FactCallQueued, Call: c.ID, Queue: q.ID}).uint("ticket", c.Ticket).earlier("enqueued", c.Enqueued, m.now).
		int("waiting", q.length).text("kept_for", string(c.Sticky))
	if c.Caller != "" {
		c.GuessP50, c.GuessP90 = p50, p90
		m.attend(c, q, p50, known)
	}
	m.widen(c, q)
	m.requeue(c)
}

// attend begins what a caller in line has of the queue: the longest wait, the
// music, the offer of a callback and announcements.
func (m *Machine) attend(c *call, q *queue, p50 time.Duration, known bool) {
	if q.MaxWait > 0 {
		c.Until = m.now.Add(q.MaxWait)
		m.timers.set(c.Until, timerMaxWait, string(c.ID), "")
	}
	if offer := m.offerCallback(c, q, p50, known); offer != "" {
		m.tell(c, q, []string{offer})
	} else if q.Music != "" && c.Prompt != (Prompt{Name: q.Music, Loop: true, Started: true}) {
		m.play(c, q.Music, true)
	}
	m.announceFirst(c, q)
}

// giveTicket gives a call its place in every line it will be in, once.
func (m *Machine) giveTicket(c *call) {
	if c.Ticket == 0 {
		m.tickets++
		c.Ticket, c.Enqueued = m.tickets, m.now
	}
}

// requeue puts a waiting call to its ticket's place in line, and takes it out
// of the line while it is offered to as many agents at once as the queue allows,
// an agent is reserved for it, or its caller hears the promise of a callback.
func (m *Machine) requeue(c *call) {
	q := m.queues[c.Queue]
	if c.liveOffers() < q.most() && m.reserved(c) == nil && c.promised() == nil {
		m.join(c, q)
	} else {
		q.withdraw(c)
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
	q.withdraw(c)
	m.stir(q) // the next one may stand in line for the first time
}

// joinedSince is when the call would have been given its ticket if it had no
// priority.
func (q *queue) joinedSince(c *call) Time {
	step := q.PriorityStep
	if step == 0 {
		step = defaultStep
	}
	return c.Enqueued.Add(-step * time.Duration(c.Priority))
}

// unserved tells whether calls stand in line for whom no phone rings.
func (q *queue) unserved() bool {
	if q.standing == 0 {
		return false
	}
	for _, cl := range q.classes {
		if cl.waiting.len() > 0 && cl.head().nextOffer(0) == nil {
			return true
		}
	}
	for _, cl := range q.kept { // any order: a question
		if cl.head().nextOffer(0) == nil {
			return true
		}
	}
	return false
}
