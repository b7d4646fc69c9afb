package acd

import (
	"maps"
	"slices"
)

// configApplied replaces the configuration. Waiting calls and busy agents stay
// as they are; queues that calls are bound for may not go.
func (m *Machine) configApplied(b ConfigApplied) Result {
	if b.IfNone && m.config != nil {
		return m.noop(ReasonConfigured)
	}
	if b.Config.Validate() != nil {
		return m.noop(ReasonBadConfig)
	}
	queues := make(map[QueueID]bool, len(b.Config.Queues))
	for _, q := range b.Config.Queues {
		queues[q.ID] = true
	}
	for _, c := range m.calls { // any order: a question
		if c.Ended == 0 && c.Bridged == 0 && !queues[c.Queue] {
			return m.noop(ReasonQueueInUse)
		}
	}
	m.accountQueues()
	m.config = &b.Config
	configured := make(map[AgentID]bool, len(b.Config.Agents))
	for i := range b.Config.Agents {
		id := b.Config.Agents[i].ID
		configured[id] = true
		if a, ok := m.agents[id]; ok {
			a.Deleted = false
			continue
		}
		m.agents[id] = &agent{AgentInfo: AgentInfo{ID: id, Status: LoggedOut, State: Idle, Since: m.now, IdleSince: m.now}}
	}
	for _, id := range m.agentIDs {
		if !configured[id] && !m.agents[id].Deleted {
			m.deleteAgent(m.agents[id])
		}
	}
	m.reindex()
	m.watchQueues()
	for _, id := range slices.Sorted(maps.Keys(m.calls)) {
		if c := m.calls[id]; c.State == CallWaiting {
			m.widen(m.own(c), m.queues[c.Queue]) // by the new rings and delays
		}
	}
	m.fact(Fact{Kind: FactConfigApplied}).int("queues", len(b.Config.Queues)).int("agents", len(b.Config.Agents))
	return Result{Applied: true}
}

// deleteAgent takes an agent who is no longer configured out of the queues. A
// call goes on; the agent is forgotten after it, see forgetDeleted.
func (m *Machine) deleteAgent(a *agent) {
	if a.Status != LoggedOut {
		m.setStatus(a, LoggedOut, "deleted")
	}
	for _, ct := range a.Contacts {
		m.unregistered(a, ct, "deleted")
	}
	a.Deleted, a.Contacts, a.BackOff = true, nil, 0
	m.timers.stop(timerRegistration, string(a.ID), "")
	m.timers.stop(timerBackOff, string(a.ID), "")
	m.timers.stop(timerWrapUp, string(a.ID), "")
	if a.State == WrapUp {
		m.setAgentState(a, Idle)
	}
	m.fact(Fact{Kind: FactAgentDeleted, Agent: a.ID})
}

// forgetDeleted drops deleted agents whose last leg is over.
func (m *Machine) forgetDeleted() {
	m.deleted = slices.DeleteFunc(m.deleted, func(id AgentID) bool {
		a := m.agents[id]
		if a.State != Idle || a.Draining > 0 {
			return false
		}
		m.timers.stop(timerBackOff, string(id), "") // of an offer that was lost since
		delete(m.agents, id)
		at, _ := slices.BinarySearch(m.agentIDs, id)
		m.agentIDs = slices.Delete(m.agentIDs, at, at+1)
		return true
	})
}

// reindex rebuilds all that follows from the configuration and the calls. It is
// the only builder of the queues, so that a restored machine equals the one
// that wrote the snapshot.
func (m *Machine) reindex() {
	cfg := m.config
	m.trunks = make(map[TrunkID]*Trunk, len(cfg.Trunks))
	for i := range cfg.Trunks {
		m.trunks[cfg.Trunks[i].ID] = &cfg.Trunks[i]
	}
	m.numbers = make(map[string]*Number, len(cfg.Numbers))
	for i := range cfg.Numbers {
		m.numbers[cfg.Numbers[i].Number] = &cfg.Numbers[i]
	}
	m.calendars = make(map[CalendarID]*calendar, len(cfg.Calendars))
	for i := range cfg.Calendars {
		m.calendars[cfg.Calendars[i].ID] = newCalendar(&cfg.Calendars[i])
	}
	m.queues = make(map[QueueID]*queue, len(cfg.Queues))
	m.dirty, m.stirred = nil, nil
	for _, q := range cfg.Queues {
		m.queues[q.ID] = newQueue(q)
		m.estimateOf(m.queues[q.ID])
	}
	for i := range cfg.Agents {
		m.agents[cfg.Agents[i].ID].cfg = &cfg.Agents[i]
	}
	m.agentIDs = slices.Sorted(maps.Keys(m.agents))
	m.deleted = nil
	for _, id := range m.agentIDs {
		m.seat(m.agents[id])
	}
	for _, id := range slices.Sorted(maps.Keys(m.queues)) {
		m.arrange(m.queues[id])
	}
	m.forgetCursors()
	m.forgetLoads()
	for _, c := range m.calls { // any order: lines and lineups have a total order
		c.pos, c.class = -1, nil
		if c.State != CallWaiting {
			continue
		}
		q := m.queues[c.Queue]
		q.length++
		c.since = q.joinedSince(c)
		q.line.insert(c)
		m.requeue(c)
	}
}

// seat gives the agent a place in each queue it serves.
func (m *Machine) seat(a *agent) {
	a.seats, a.out, a.measured = nil, a.exclusion(), false
	if a.Deleted {
		a.cfg = nil
		m.deleted = append(m.deleted, a.ID)
		return
	}
	for _, cfg := range a.cfg.seats() {
		q := m.queues[cfg.Queue]
		s := &seat{Seat: cfg, agent: a, queue: q}
		a.seats = append(a.seats, s)
		q.seats = append(q.seats, s)
		q.out[a.out]++
		m.loadOf(s)
		if a.out == notExcluded && s.load != nil {
			m.recountAt(q)
		}
	}
}

// seats are the agent's places in queues, those of Queues first.
func (a *Agent) seats() []Seat {
	var out []Seat
	for _, id := range a.Queues {
		at := slices.IndexFunc(a.Seats, func(s Seat) bool { return s.Queue == id })
		if at < 0 {
			out = append(out, Seat{Queue: id})
		} else {
			out = append(out, a.Seats[at])
		}
	}
	for _, s := range a.Seats {
		if !slices.Contains(a.Queues, s.Queue) {
			out = append(out, s)
		}
	}
	return out
}
