package acd

import (
	"cmp"
	"maps"
	"slices"
)

// The accessors return copies, sorted by id, that later commands don't change.

// Index is the log index of the last command applied, Now the machine time.
func (m *Machine) Index() uint64 { return m.index }

// Now is the machine time.
func (m *Machine) Now() Time { return m.now }

// Config returns the configuration and whether one was ever applied.
func (m *Machine) Config() (Config, bool) {
	if m.config == nil {
		return Config{}, false
	}
	return *m.config, true
}

// Configs returns the versions of the configuration that are remembered, the one
// in force last.
func (m *Machine) Configs() []ConfigVersion { return slices.Clone(m.configs) }

// Calls returns the open calls.
func (m *Machine) Calls() []Call {
	out := make([]Call, 0, len(m.calls))
	for _, c := range m.calls { // any order: sorted below
		out = append(out, c.copy())
	}
	slices.SortFunc(out, func(a, b Call) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Call returns an open call.
func (m *Machine) Call(id CallID) (Call, bool) {
	c, ok := m.calls[id]
	if !ok {
		return Call{}, false
	}
	return c.copy(), true
}

func (c *call) copy() Call {
	out := *c.Call
	out.Legs = slices.Clone(c.Legs)
	return out
}

// OwnerOf returns the owner and the epoch of an open call, without copying it.
func (m *Machine) OwnerOf(id CallID) (Owner, uint64, bool) {
	c, ok := m.calls[id]
	if !ok {
		return Owner{}, 0, false
	}
	return c.Owner, c.Epoch, true
}

// CallsOf returns the ids of a life's open calls, without copying the calls.
func (m *Machine) CallsOf(owner Owner) []CallID {
	var out []CallID
	for id, c := range m.calls { // any order: sorted below
		if c.Owner == owner {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Closed returns a call that ended a moment ago.
func (m *Machine) Closed(id CallID) (Closed, bool) {
	c, ok := m.closed[id]
	if !ok {
		return Closed{}, false
	}
	return *c, true
}

// OpenCalls is how many calls are open.
func (m *Machine) OpenCalls() int { return len(m.calls) }

// Agents returns all agents.
func (m *Machine) Agents() []AgentInfo {
	out := make([]AgentInfo, 0, len(m.agentIDs))
	for _, id := range m.agentIDs {
		out = append(out, m.agents[id].info())
	}
	return out
}

// Agent returns an agent with its contacts.
func (m *Machine) Agent(id AgentID) (AgentInfo, bool) {
	a, ok := m.agents[id]
	if !ok {
		return AgentInfo{}, false
	}
	return a.info(), true
}

func (a *agent) info() AgentInfo {
	out := a.AgentInfo
	if a.cfg != nil {
		out.Name = a.cfg.Name
		for _, s := range a.seats {
			out.Queues = append(out.Queues, s.queue.ID)
		}
	}
	return out
}

// QueueInfo is a queue's figures of this moment.
type QueueInfo struct {
	ID      QueueID
	Waiting int  // calls, those under offer included
	Oldest  Time // when the first of them was enqueued; 0: none
	Agents  int  // who serve it and are available
	Idle    int  // of those, who could be offered a call now
	Retired bool // no longer configured, gone with its last call
}

// Queues returns the figures of all queues.
func (m *Machine) Queues() []QueueInfo {
	oldest := make(map[QueueID]Time, len(m.queues))
	for _, c := range m.calls { // any order: a minimum
		if at, ok := oldest[c.Queue]; c.State == CallWaiting && (!ok || c.Enqueued < at) {
			oldest[c.Queue] = c.Enqueued
		}
	}
	out := make([]QueueInfo, 0, len(m.queues))
	for _, id := range slices.Sorted(maps.Keys(m.queues)) {
		q := m.queues[id]
		out = append(out, QueueInfo{
			ID: id, Waiting: q.length, Oldest: oldest[id], Idle: q.out[notExcluded], Retired: q.retired,
			Agents: len(q.seats) - q.out[isLoggedOut] - q.out[isOnBreak] - q.out[isInTraining],
		})
	}
	return out
}

// TrunkInfo is a trunk's use of this moment (T8) and how its ways out are (T10).
type TrunkInfo struct {
	ID       TrunkID
	Channels int // allowed; 0: no limit
	Used     int // legs that are not over
	Rate     int // new calls a second allowed; 0: no limit
	State    LinkState
	Links    []Link // by edge; none: nobody has asked yet
	Alarms   []LinkAlarm
}

// Trunks returns the configured trunks.
func (m *Machine) Trunks() []TrunkInfo {
	out := make([]TrunkInfo, 0, len(m.trunks))
	for _, id := range slices.Sorted(maps.Keys(m.trunks)) {
		t := TrunkInfo{ID: id, Channels: m.trunks[id].Channels, Used: m.channels[id], Rate: m.trunks[id].Rate, State: m.trunkState(id)}
		if w := m.ways[id]; w != nil {
			t.Links, t.Alarms = slices.Clone(w.Links), slices.Clone(w.Alarms)
		}
		out = append(out, t)
	}
	return out
}

// Nodes returns all routerds there ever were.
func (m *Machine) Nodes() []Node {
	out := make([]Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		out = append(out, *n)
	}
	return out
}

// Workers returns all mediads there ever were.
func (m *Machine) Workers() []Worker {
	out := make([]Worker, 0, len(m.workers))
	for _, w := range m.workers {
		out = append(out, *w)
	}
	return out
}

// MediaHosts returns the media addresses that live workers host.
func (m *Machine) MediaHosts() []MediaHost {
	out := make([]MediaHost, 0, len(m.media))
	for _, h := range m.media {
		out = append(out, *h)
	}
	return out
}

// MediaHost returns who hosts the address.
func (m *Machine) MediaHost(address string) (MediaHost, bool) {
	h := m.host(address)
	if h == nil {
		return MediaHost{}, false
	}
	return *h, true
}

// NoOps returns how many commands changed nothing, by reason.
func (m *Machine) NoOps() []Count {
	out := make([]Count, 0, len(m.noops))
	for _, reason := range slices.Sorted(maps.Keys(m.noops)) {
		out = append(out, Count{reason, m.noops[reason]})
	}
	return out
}

// RootOf is the call whose actor has the legs of the call: the one beside which it
// stands or stood a moment ago, or itself.
func (m *Machine) RootOf(id CallID) CallID {
	if c, ok := m.calls[id]; ok {
		return m.root(c).ID
	}
	if c, ok := m.closed[id]; ok && c.Root != "" {
		return c.Root
	}
	return id
}

// Family returns an open call and those that stand beside it.
func (m *Machine) Family(id CallID) []Call {
	c, ok := m.calls[id]
	if !ok {
		return nil
	}
	out := []Call{c.copy()}
	for _, beside := range c.Beside {
		out = append(out, m.calls[beside].copy())
	}
	return out
}
