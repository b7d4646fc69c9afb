package acd

// A call's effective wait is what it waited since its ticket was given, plus
// its priority times the queue's PriorityStep, times the queue's Weight. So
// priority ages: a call of any priority is served before one that comes enough
// later, whatever that one's priority. Within a queue the order never changes;
// between queues of different weight it may.
//
// While calls and idle agents suit each other, dispatch takes the call with the
// greatest effective wait, its queue's strategy names the agent, and of all the
// calls this agent may take the agent is offered the one that goes first for
// this agent (see goesBefore): usually that call.

// effectiveWait is in hundredths of nanoseconds of wait.
func (c *call) effectiveWait(now Time) int64 {
	return int64(now-c.since) * int64(c.class.queue.weight())
}

func (q *queue) weight() int {
	if q.Weight == 0 {
		return 100
	}
	return q.Weight
}

// leads tells which of two waiting calls comes first.
func leads(a, b *call, now Time) bool {
	if x, y := a.effectiveWait(now), b.effectiveWait(now); x != y {
		return x > y
	}
	return a.Ticket < b.Ticket
}

// touch notes that the class may have a call and an agent for each other.
func (m *Machine) touch(cl *class) {
	if !cl.dirty && cl.waiting.len() > 0 && cl.idle.len() > 0 {
		cl.dirty = true
		m.dirty = append(m.dirty, cl)
	}
}

// stir notes that calls may stand in the queue's lines from now on.
func (m *Machine) stir(q *queue) {
	if !q.stirred {
		q.stirred = true
		m.stirred = append(m.stirred, q)
	}
}

// rest forgets what was touched: a machine that was saved between two commands
// had nothing left to offer.
func (m *Machine) rest() {
	for _, cl := range m.dirty {
		cl.dirty = false
	}
	for _, q := range m.stirred {
		q.stirred = false
	}
	m.dirty, m.stirred, m.picked = m.dirty[:0], m.stirred[:0], pick{}
}

// dispatch offers waiting calls to idle agents until no two suit each other.
func (m *Machine) dispatch() {
	for len(m.dirty) > 0 {
		var lead *call
		for _, cl := range m.dirty {
			if cl.waiting.len() == 0 || cl.idle.len() == 0 {
				continue
			}
			if head := cl.head(); lead == nil || leads(head, lead, m.now) {
				lead = head
			}
		}
		if lead == nil {
			break
		}
		s, c := m.choose(lead.class.idle.first())
		if c.Caller == "" && !m.canDial() {
			m.noChannel(m.own(c))
			continue
		}
		m.picked = pick{lead: lead, class: c.class, seat: s}
		if c.Caller == "" {
			m.reserve(s.queue, c, s.agent)
		} else {
			m.offer(s.queue, c, s.agent)
		}
		if m.picked.class.agent == nil {
			m.turn(s)
		}
	}
	for _, q := range m.stirred {
		q.busy(m.now)
	}
	m.rest()
}

// pick is the choice that dispatch just made, for the why-record.
type pick struct {
	lead  *call // whose queue's strategy named the agent
	class *class
	seat  *seat
}

// choose finds, of the calls the named agent may take, the one that goes first
// for this agent, and the agent's seat there.
func (m *Machine) choose(named *seat) (*seat, *call) {
	var at *seat
	var first *call
	for _, s := range named.agent.seats {
		for _, e := range s.entries {
			if e.class.waiting.len() == 0 {
				continue
			}
			if c := e.class.head(); first == nil || goesBefore(s, c, at, first, m.now) {
				at, first = s, c
			}
		}
	}
	return at, first
}

// goesBefore is the order of calls for one agent: the agent's priority of their
// queues, then those kept for the agent, then effective wait.
func goesBefore(sa *seat, a *call, sb *seat, b *call, now Time) bool {
	if sa.Priority != sb.Priority {
		return sa.Priority > sb.Priority
	}
	if ka, kb := a.class.agent != nil, b.class.agent != nil; ka != kb {
		return ka
	}
	return leads(a, b, now)
}
