package acd

import (
	"maps"
	"slices"
)

// Bounds on the configurations that are remembered.
const (
	maxConfigs     = 20
	maxConfigBytes = 8 << 20 // of their sources together; the newest is kept whatever its size
)

// configApplied replaces the configuration. Waiting calls and busy agents stay
// as they are, and what calls still need goes on beside it, see retired.
func (m *Machine) configApplied(b ConfigApplied) Result {
	refuse := func(reason string) Result {
		r := m.noop(reason)
		r.Version = m.configVersion()
		return r
	}
	switch {
	case b.IfNone && m.config != nil:
		return refuse(ReasonConfigured)
	case b.Base != 0 && b.Base != m.configVersion():
		return refuse(ReasonConfigChanged)
	case b.Config.Validate() != nil:
		return refuse(ReasonBadConfig)
	}
	pool := m.retired
	if m.config != nil {
		pool.pool(m.config)
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
	version := m.keepConfig(b)
	m.fact(Fact{Kind: FactConfigApplied}).uint("version", version).text("by", b.By).text("comment", b.Comment).
		int("queues", len(b.Config.Queues)).int("agents", len(b.Config.Agents))
	m.retire(pool, m.config)
	m.reindex()
	m.keepWays()
	m.watchQueues()
	for _, id := range slices.Sorted(maps.Keys(m.calls)) {
		if c := m.calls[id]; c.State == CallWaiting {
			m.widen(m.own(c), m.queues[c.Queue]) // by the new rings and delays
		}
	}
	return Result{Applied: true, Version: version}
}

// configVersion is the version in force, 0 before the first.
func (m *Machine) configVersion() uint64 {
	if len(m.configs) == 0 {
		return 0
	}
	return m.configs[len(m.configs)-1].Version
}

// keepConfig remembers who applied what, and forgets what is too old or, with
// those after it, too large.
func (m *Machine) keepConfig(b ConfigApplied) (version uint64) {
	version = m.configVersion() + 1
	list := append(slices.Clone(m.configs), ConfigVersion{
		Version: version, Index: m.index, At: m.now, By: b.By, Comment: b.Comment, Source: b.Source,
	})
	from, size := len(list)-1, len(b.Source)
	for from > 0 && len(list)-from < maxConfigs && size+len(list[from-1].Source) <= maxConfigBytes {
		from--
		size += len(list[from].Source)
	}
	m.configs = list[from:]
	return version
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
	m.stopAgentTimers(a)
	a.Pending, a.PendingReason = "", ""
	if a.State == WrapUp {
		m.setAgentState(a, Idle)
	}
}

func (m *Machine) stopAgentTimers(a *agent) {
	for _, kind := range []TimerKind{timerRegistration, timerBackOff, timerWrapUp} {
		m.timers.stop(kind, string(a.ID), "")
	}
}

// forgetDeleted drops deleted agents whose last leg is over.
func (m *Machine) forgetDeleted() {
	m.deleted = slices.DeleteFunc(m.deleted, func(id AgentID) bool {
		a := m.agents[id]
		if a.State != Idle || a.Draining > 0 {
			return false
		}
		// An offer that was lost since may have made the agent back off.
		m.stopAgentTimers(a)
		m.fact(Fact{Kind: FactAgentDeleted, Agent: a.ID})
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
	for _, list := range [][]Calendar{cfg.Calendars, m.retired.calendars} {
		for i := range list {
			m.calendars[list[i].ID] = newCalendar(&list[i])
		}
	}
	m.chains = make(map[ChainID]*Chain, len(cfg.Chains))
	for _, list := range [][]Chain{cfg.Chains, m.retired.chains} {
		for i := range list {
			m.chains[list[i].ID] = &list[i]
		}
	}
	m.queues = make(map[QueueID]*queue, len(cfg.Queues))
	m.dirty, m.stirred = nil, nil
	for _, q := range cfg.Queues {
		m.queues[q.ID] = newQueue(q)
		m.estimateOf(m.queues[q.ID])
	}
	for _, q := range m.retired.queues {
		m.queues[q.ID] = newQueue(q)
		m.queues[q.ID].retired = true
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
		if a := m.agents[c.Awaits]; a != nil {
			a.hunted(c)
		}
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
	a.seats, a.hunters, a.out, a.measured = nil, nil, a.exclusion(), false
	if a.Deleted {
		a.cfg = nil
		m.deleted = append(m.deleted, a.ID)
		return
	}
	places := a.cfg.seats()
	for _, s := range m.retired.seats {
		if s.Agent == a.ID {
			places = append(places, s.Seat)
		}
	}
	for _, cfg := range places {
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
