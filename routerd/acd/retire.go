package acd

import (
	"cmp"
	"slices"
	"time"
)

// retired is what is no longer configured but calls still need, each by id:
// queues they are bound for, chains they are in, and whatever those lead to.
// A configuration that is applied replaces the rules, not the calls' ways out.
type retired struct {
	queues    []Queue
	seats     []RetiredSeat
	chains    []Chain
	calendars []Calendar
}

// retireEvery is how often it is looked whether calls still need it.
const retireEvery = 10 * time.Second

func (r *retired) empty() bool { return len(r.queues)+len(r.chains)+len(r.calendars) == 0 }

// pool adds what a configuration has and r lacks.
func (r *retired) pool(cfg *Config) {
	r.queues = addMissing(r.queues, cfg.Queues, func(q Queue) QueueID { return q.ID })
	r.chains = addMissing(r.chains, cfg.Chains, func(c Chain) ChainID { return c.ID })
	r.calendars = addMissing(r.calendars, cfg.Calendars, func(c Calendar) CalendarID { return c.ID })
	for i := range cfg.Agents {
		for _, s := range cfg.Agents[i].seats() {
			r.seats = append(r.seats, RetiredSeat{Agent: cfg.Agents[i].ID, Seat: s})
		}
	}
}

func addMissing[T any, ID comparable](list, more []T, id func(T) ID) []T {
	have := make(map[ID]bool, len(list))
	for _, v := range list {
		have[id(v)] = true
	}
	list = slices.Clone(list)
	for _, v := range more {
		if !have[id(v)] {
			list = append(list, v)
		}
	}
	return list
}

// retire keeps of pool what open calls need and cfg does not have.
func (m *Machine) retire(pool retired, cfg *Config) {
	need := newReach(&pool, cfg)
	bound := make(map[QueueID]int)
	for _, c := range m.calls { // any order: a set
		if c.Ended == 0 {
			need.queue(c.Queue)
			need.chain(c.Chain)
			need.then(c.Hunt.Then)
			bound[c.Queue]++
		}
	}
	was := m.retired
	m.retired = need.result(cfg)
	for _, q := range m.retired.queues {
		if !slices.ContainsFunc(was.queues, func(w Queue) bool { return w.ID == q.ID }) {
			m.fact(Fact{Kind: FactQueueRetired, Queue: q.ID}).int("calls", bound[q.ID])
		}
	}
	for _, w := range was.queues {
		configured := slices.ContainsFunc(cfg.Queues, func(q Queue) bool { return w.ID == q.ID })
		if !configured && !slices.ContainsFunc(m.retired.queues, func(q Queue) bool { return w.ID == q.ID }) {
			m.fact(Fact{Kind: FactQueueDropped, Queue: w.ID})
		}
	}
	if m.retired.empty() {
		m.timers.stop(timerRetired, "", "")
	} else {
		m.after(retireEvery, timerRetired, "", "")
	}
}

// retiredChecked drops what the last call has left.
func (m *Machine) retiredChecked() {
	before := m.retired
	m.retire(before, m.config)
	if len(before.queues) != len(m.retired.queues) || len(before.chains) != len(m.retired.chains) ||
		len(before.calendars) != len(m.retired.calendars) {
		m.accountQueues()
		m.reindex()
		m.watchQueues()
	}
}

// reach follows queues and chains to all they lead to.
type reach struct {
	pool      *retired
	queues    map[QueueID]*Queue // nil once reached
	chains    map[ChainID]*Chain
	calendars map[CalendarID]bool
	out       retired
}

// newReach prepares for following what the pool has and cfg has not.
func newReach(pool *retired, cfg *Config) *reach {
	r := &reach{pool: pool, queues: make(map[QueueID]*Queue), chains: make(map[ChainID]*Chain), calendars: make(map[CalendarID]bool)}
	for i := range pool.queues {
		r.queues[pool.queues[i].ID] = &pool.queues[i]
	}
	for i := range pool.chains {
		r.chains[pool.chains[i].ID] = &pool.chains[i]
	}
	for i := range cfg.Queues {
		delete(r.queues, cfg.Queues[i].ID)
	}
	for i := range cfg.Chains {
		delete(r.chains, cfg.Chains[i].ID)
	}
	return r
}

func (r *reach) queue(id QueueID) {
	q := r.queues[id]
	if q == nil {
		return
	}
	r.queues[id] = nil
	r.out.queues = append(r.out.queues, *q)
	r.calendars[q.Calendar] = true
	for _, t := range []Then{q.WhenClosed, q.WhenFull, q.AfterMaxWait, q.WhenEmpty, q.Exit} {
		r.then(t)
	}
	for _, a := range q.Admission {
		r.calendars[a.Open], r.calendars[a.Closed] = true, true
		r.then(a.Then)
	}
}

func (r *reach) chain(id ChainID) {
	c := r.chains[id]
	if c == nil {
		return
	}
	r.chains[id] = nil
	r.out.chains = append(r.out.chains, *c)
	r.then(c.Then)
}

func (r *reach) then(t Then) {
	r.queue(t.Queue)
	r.chain(t.Chain)
}

// result is what was reached, with its calendars and with the seats of agents
// who are still configured.
func (r *reach) result(cfg *Config) retired {
	slices.SortFunc(r.out.queues, func(a, b Queue) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(r.out.chains, func(a, b Chain) int { return cmp.Compare(a.ID, b.ID) })
	for i := range cfg.Calendars {
		delete(r.calendars, cfg.Calendars[i].ID)
	}
	for _, c := range r.pool.calendars {
		if r.calendars[c.ID] {
			r.out.calendars = append(r.out.calendars, c)
		}
	}
	slices.SortFunc(r.out.calendars, func(a, b Calendar) int { return cmp.Compare(a.ID, b.ID) })
	agents := make(map[AgentID]bool, len(cfg.Agents))
	for i := range cfg.Agents {
		agents[cfg.Agents[i].ID] = true
	}
	order := func(a, b RetiredSeat) int {
		return cmp.Or(cmp.Compare(a.Seat.Queue, b.Seat.Queue), cmp.Compare(a.Agent, b.Agent))
	}
	for _, s := range r.pool.seats {
		if agents[s.Agent] && slices.ContainsFunc(r.out.queues, func(q Queue) bool { return q.ID == s.Seat.Queue }) {
			r.out.seats = append(r.out.seats, s)
		}
	}
	slices.SortStableFunc(r.out.seats, order)
	return r.out
}
