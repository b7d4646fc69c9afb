package acd

import (
	"time"
)

// Sizes of the why-record.
const (
	whyCandidates = 5  // idle agents named, best first
	whyAgents     = 16 // agents of a queue up to which the excluded ones are named
	whyChoice     = 5  // other calls named that the agent could have taken
)

// Stages of an offer that no queue's strategy chose.
const (
	stageDirect   = "direct"   // to one agent, by a chain or a transfer
	stageReserved = "reserved" // the agent was kept, see FactOfferReserved
	stagePickUp   = "pick-up"  // the agent picked it up from another's phone
)

// Words of the why-record for idle agents who may not take the call.
const (
	outOfSkill = "skill" // a skill or level is missing
	outOfTier  = "tier"  // of a tier that is not reached yet
	outOfKept  = "kept"  // the call is kept for another
	outOfClass = "unsuited"
)

// why explains the choice that dispatch has made, at that moment: see
// FactOfferMade. Its cost is bounded whatever the size of the queue.
func (m *Machine) why(w *factWriter, c *call) {
	q, cl := m.picked.seat.queue, m.picked.class
	w.text("strategy", strategyName(q.Strategy))
	if c.Ring > 0 {
		w.int("ring", c.Ring)
	}
	if q.lastTier() > 0 {
		w.int("tier", cl.tier)
	}
	from, first := w.begin("needs"), true
	for _, need := range cl.needs {
		w.pair(&first, string(need.Skill))
		w.number(need.Level)
	}
	w.end(from)
	if cl.agent != nil {
		w.text("kept_for", string(cl.agent.ID))
	}
	from, first = w.begin("candidates"), true
	q.best = cl.idle.best(q.best[:0], whyCandidates)
	for _, s := range q.best {
		w.pair(&first, string(s.agent.ID))
		q.measure(w, cl, s, m.now)
	}
	w.end(from).int("eligible", cl.idle.len())
	q.whyExcluded(w, cl)
	m.whyChoice(w, c)
}

// whyExcluded says who was not a candidate.
func (q *queue) whyExcluded(w *factWriter, cl *class) {
	from, first := w.begin("excluded"), true
	for e, n := range q.out {
		if n > 0 && exclusion(e) != notExcluded {
			w.pair(&first, exclusionNames[e])
			w.number(n)
		}
	}
	if n := q.out[notExcluded] - cl.idle.len(); n > 0 {
		w.pair(&first, outOfClass)
		w.number(n)
	}
	w.end(from)
	if len(q.seats) > whyAgents {
		return
	}
	from, first = w.begin("excluded_agents"), true
	for _, s := range q.seats {
		if reason := cl.excludes(s); reason != "" {
			w.pair(&first, string(s.agent.ID))
			w.c.buf = append(w.c.buf, reason...)
		}
	}
	w.end(from)
}

// excludes says why the seat's agent is no candidate; "" for one who is.
func (cl *class) excludes(s *seat) string {
	switch {
	case s.agent.out != notExcluded:
		return exclusionNames[s.agent.out]
	case cl.agent == s.agent:
		return ""
	case cl.agent != nil:
		return outOfKept
	case s.Tier > cl.tier:
		return outOfTier
	case !s.agent.skilled(cl.needs):
		return outOfSkill
	}
	return ""
}

// whyChoice says which other calls the agent could have taken: the one of each
// queue that leads its lines.
func (m *Machine) whyChoice(w *factWriter, c *call) {
	from, first, n := w.begin("choice"), true, 0
	for _, s := range m.picked.seat.agent.seats {
		var head *call
		for _, e := range s.entries {
			if e.class.waiting.len() == 0 {
				continue
			}
			if h := e.class.head(); h != c && (head == nil || leads(h, head, m.now)) {
				head = h
			}
		}
		if head == nil || n == whyChoice {
			continue
		}
		n++
		w.pair(&first, string(s.queue.ID))
		w.number(s.Priority)
		w.c.buf = append(w.c.buf, ':')
		w.effective(head, m.now)
	}
	w.end(from)
	if n == 0 {
		return
	}
	from = w.begin("effective")
	w.effective(c, m.now)
	w.end(from)
	if m.picked.lead != c {
		w.text("named_by", string(m.picked.lead.ID))
	}
}

// effective appends a call's effective wait in seconds.
func (w *factWriter) effective(c *call, now Time) {
	d := time.Duration(c.effectiveWait(now) / 100)
	if d < 0 {
		w.c.buf = append(w.c.buf, '-')
		d = -d
	}
	w.c.buf = appendSeconds(w.c.buf, d)
}

// pair begins "key:" within a value, after a space unless it is the first.
func (w *factWriter) pair(first *bool, key string) {
	if !*first {
		w.c.buf = append(w.c.buf, ' ')
	}
	*first = false
	w.c.buf = append(append(w.c.buf, key...), ':')
}
