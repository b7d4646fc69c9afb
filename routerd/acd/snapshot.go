package acd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Snapshot returns the state of this moment. Calls, timers and facts are not
// copied: the machine copies a call or timer before it next changes it. The rest is. The result is
// not in order until Sort.
func (m *Machine) Snapshot() *State {
	m.snapshots++
	m.timers.snapshots++
	s := &State{
		Index: m.index, Now: m.now, Tickets: m.tickets, Configured: m.config != nil,
		Nodes:      make([]Node, 0, len(m.nodes)),
		Workers:    make([]Worker, 0, len(m.workers)),
		Media:      make([]MediaHost, 0, len(m.media)),
		Agents:     make([]AgentInfo, 0, len(m.agents)),
		Closed:     make([]*Closed, 0, len(m.closed)),
		Sessions:   make([]Session, 0, len(m.sessions)),
		Timers:     make([]*Timer, 0, m.timers.heap.len()),
		NoOps:      m.NoOps(),
		FactsFirst: m.facts.first, FactsGone: m.facts.gone, FactsSum: m.facts.sum,
		Version: m.version, Configs: slices.Clone(m.configs), Retired: m.retired.queues,
		RetiredSeats: m.retired.seats, RetiredChains: m.retired.chains, RetiredCalendars: m.retired.calendars,
		Tasks:     make([]Task, 0, len(m.tasks)),
		OverTasks: slices.Clone(m.overList),
		Confirmed: slices.Clone(m.confirmed), Sinks: slices.Clone(m.sinks), Hashes: slices.Clone(m.hashes),
		Calls: make([]*Call, 0, len(m.calls)),
		Facts: make([][]byte, 0, len(m.facts.chunks)),
		Loads: make([]Load, 0, len(m.loads)),
	}
	if m.config != nil {
		s.Config = *m.config
	}
	for _, id := range slices.Sorted(maps.Keys(m.estimates)) {
		e := *m.estimates[id]
		e.Works, e.Waits = slices.Clone(e.Works), slices.Clone(e.Waits)
		s.Estimates = append(s.Estimates, e)
	}
	for _, id := range slices.Sorted(maps.Keys(m.ways)) {
		if w := m.ways[id]; !w.blank() {
			s.Ways = append(s.Ways, Way{Trunk: w.Trunk, Next: w.Next, Credit: w.Credit, Links: slices.Clone(w.Links), Alarms: slices.Clone(w.Alarms)})
		}
	}
	for _, n := range m.nodes {
		s.Nodes = append(s.Nodes, *n)
	}
	for _, w := range m.workers {
		s.Workers = append(s.Workers, *w)
	}
	for _, h := range m.media {
		s.Media = append(s.Media, *h)
	}
	for _, id := range m.agentIDs {
		s.Agents = append(s.Agents, m.agents[id].AgentInfo)
	}
	for _, c := range m.closed { // any order: see Sort
		s.Closed = append(s.Closed, c)
	}
	for _, x := range m.sessions { // any order: see Sort
		copied := x.Session
		copied.Answers = slices.Clone(x.Answers)
		s.Sessions = append(s.Sessions, copied)
	}
	for _, t := range m.tasks { // any order: see Sort
		s.Tasks = append(s.Tasks, *t)
	}
	for _, t := range m.timers.heap.items {
		s.Timers = append(s.Timers, t.Timer)
	}
	for _, c := range m.calls { // any order: see Sort
		s.Calls = append(s.Calls, c.Call)
	}
	for _, c := range m.facts.chunks {
		s.Facts = append(s.Facts, c.buf)
	}
	for _, p := range m.spoken.chunks {
		s.Spoken = append(s.Spoken, p.buf)
	}
	for _, c := range m.cursors { // any order: see Sort
		s.Cursors = append(s.Cursors, *c)
	}
	for _, l := range m.loads { // any order: see Sort
		s.Loads = append(s.Loads, l.Load)
	}
	return s
}

// Sort puts the state in its one order: two machines that applied the same log
// then have deeply equal states.
func (s *State) Sort() {
	slices.SortFunc(s.Calls, func(a, b *Call) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Closed, func(a, b *Closed) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(s.Sessions, func(a, b Session) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Timers, compareTimers)
	slices.SortFunc(s.Cursors, func(a, b Cursor) int { return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Tier, b.Tier)) })
	slices.SortFunc(s.Loads, compareLoads)
	slices.SortFunc(s.Tasks, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
}

// Restore returns the machine that s was taken from. It takes s over, which no
// other machine may have. Facts in
// the snapshot that belong to other chunks than the writer's are an error, and
// so are references that lead nowhere: such a snapshot is damaged.
//
// A state of a later version of behaviour than MaxVersion is an UnknownVersion.
func Restore(s *State) (*Machine, error) {
	if s.Version > MaxVersion {
		return nil, UnknownVersion(s.Version)
	}
	m := New()
	m.index, m.now, m.tickets = s.Index, s.Now, s.Tickets
	m.version, m.configs = max(s.Version, 1), s.Configs
	m.retired = retired{s.Retired, s.RetiredSeats, s.RetiredChains, s.RetiredCalendars}
	m.confirmed, m.sinks, m.hashes = s.Confirmed, s.Sinks, s.Hashes
	for i := range s.Tasks {
		m.tasks[s.Tasks[i].ID] = &s.Tasks[i]
	}
	for i := range s.Estimates {
		m.estimates[s.Estimates[i].Queue] = &s.Estimates[i]
	}
	for i := range s.Ways {
		m.ways[s.Ways[i].Trunk] = &s.Ways[i]
	}
	m.overList = s.OverTasks
	for _, t := range s.OverTasks {
		m.overTasks[t.ID] = t.At
	}
	for i := range s.Nodes {
		m.nodes = append(m.nodes, &s.Nodes[i])
	}
	for i := range s.Workers {
		m.workers = append(m.workers, &s.Workers[i])
	}
	for i := range s.Media {
		m.media = append(m.media, &s.Media[i])
	}
	for _, a := range s.Agents {
		m.agents[a.ID] = &agent{AgentInfo: a}
	}
	for _, c := range s.Closed {
		m.closed[c.Call] = c
	}
	for i := range s.Sessions {
		m.sessions[s.Sessions[i].ID] = &session{Session: s.Sessions[i]}
	}
	for _, c := range s.Cursors {
		m.cursors[cursorKey{c.Queue, c.Tier}] = &c
	}
	for _, l := range s.Loads {
		if l.Width <= 0 {
			return nil, fmt.Errorf("load of agent %s in %s is counted by %s", l.Agent, l.Queue, l.Width)
		}
		m.loads[loadKey{l.Queue, l.Agent}] = &load{Load: l}
	}
	if err := m.restoreSpoken(s.Spoken); err != nil {
		return nil, err
	}
	for _, t := range s.Timers {
		m.timers.set(t.At, t.Kind, t.ID, t.Sub)
	}
	for _, n := range s.NoOps {
		m.noops[n.Reason] = n.N
	}
	for _, data := range s.Calls {
		c := &call{Call: data, pos: -1}
		m.calls[c.ID] = c
		m.owned[c.Owner.Node]++
		for i := range c.Legs {
			if c.Legs[i].State != LegOver {
				m.useChannel(c.Legs[i].Trunk)
			}
		}
	}
	if err := m.restoreFacts(s); err != nil {
		return nil, err
	}
	if err := s.check(m); err != nil {
		return nil, err
	}
	m.restoreCustomers()
	m.restoreSupervised()
	if s.Configured {
		m.config = &s.Config
		m.reindex()
		m.rest()
	}
	return m, nil
}

func (m *Machine) restoreFacts(s *State) error {
	m.facts = factLog{first: s.FactsFirst, gone: s.FactsGone, sum: s.FactsSum}
	for i, data := range s.Facts {
		c, err := readChunk(data)
		if err != nil {
			return fmt.Errorf("chunk %d of %d: %w", i, len(s.Facts), err)
		}
		if c.n == 0 || c.n > factChunk || c.n < factChunk && i < len(s.Facts)-1 {
			return fmt.Errorf("chunk %d of %d holds %d facts", i, len(s.Facts), c.n)
		}
		m.facts.chunks = append(m.facts.chunks, c)
	}
	return nil
}

// check finds references that lead nowhere before anything follows them.
func (s *State) check(m *Machine) error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !s.Configured && (len(s.Calls) > 0 || len(s.Agents) > 0) {
		fault("calls or agents without a configuration")
	}
	if err := s.Config.Validate(); err != nil {
		errs = append(errs, err)
	}
	for _, a := range s.Config.Agents {
		if m.agents[a.ID] == nil {
			fault("agent %s is configured but not there", a.ID)
		}
	}
	queues := make(map[QueueID]bool)
	for _, q := range slices.Concat(s.Config.Queues, s.Retired) {
		queues[q.ID] = true
	}
	configured := make(map[AgentID]bool)
	for _, a := range s.Config.Agents {
		configured[a.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(m.agents)) {
		if !m.agents[id].Deleted && !configured[id] {
			fault("agent %s is not configured", id)
		}
	}
	for _, c := range s.Calls {
		if c.Ended == 0 && c.Queue != "" && !queues[c.Queue] || c.State == CallWaiting && c.Queue == "" {
			fault("call %s: no queue %q", c.ID, c.Queue)
		}
		for _, l := range c.Legs {
			if (l.Role == RoleAgent || l.Role == RoleSupervisor) && l.State != LegOver && m.agents[l.Agent] == nil {
				fault("call %s: leg %s: no agent %q", c.ID, l.ID, l.Agent)
			}
		}
	}
	for i := range s.Tasks {
		if t := &s.Tasks[i]; t.State == TaskCalling && m.calls[t.Call] == nil {
			fault("task %s: no call %q", t.ID, t.Call)
		}
	}
	for _, h := range s.Media {
		if m.worker(h.Worker) == nil {
			fault("media address %s: no worker %q", h.Address, h.Worker)
		}
	}
	return errors.Join(errs...)
}
