package acd

import "strconv"

// Sizes of the why-record.
const (
	whyCandidates = 5  // idle agents named, best first
	whyAgents     = 16 // agents of a queue up to which the excluded ones are named
)

// Stages of an offer that no queue's strategy chose.
const (
	stageDirect   = "direct"   // to one agent, by a chain or a transfer
	stageReserved = "reserved" // the agent was kept, see FactOfferReserved
)

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
