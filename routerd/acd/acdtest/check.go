package acdtest

import (
	"errors"
	"fmt"
	"slices"

	"trunkline/routerd/acd"
)

// Check returns every promise that the state breaks, joined.
func Check(m *acd.Machine) error {
	s := m.Snapshot()
	s.Sort()
	k := &checker{s: s, agents: make(map[acd.AgentID]*acd.AgentInfo), live: make(map[acd.AgentID]int), draining: make(map[acd.AgentID]int)}
	for i := range s.Agents {
		k.agents[s.Agents[i].ID] = &s.Agents[i]
	}
	k.calls()
	k.agentStates()
	k.dispatched()
	k.media()
	k.timers()
	k.channels(m)
	return errors.Join(k.errs...)
}

type checker struct {
	s        *acd.State
	agents   map[acd.AgentID]*acd.AgentInfo
	live     map[acd.AgentID]int // offers and conversations
	draining map[acd.AgentID]int
	errs     []error
}

func (k *checker) fault(format string, args ...any) {
	k.errs = append(k.errs, fmt.Errorf(format, args...))
}

func (k *checker) calls() {
	tickets := make(map[uint64]acd.CallID)
	for i := range k.s.Calls {
		c := k.s.Calls[i]
		if c.Ticket != 0 {
			if other, ok := tickets[c.Ticket]; ok {
				k.fault("ticket %d is held by %s and %s", c.Ticket, other, c.ID)
			}
			tickets[c.Ticket] = c.ID
		}
		over := 0
		for j := range c.Legs {
			l := &c.Legs[j]
			switch {
			case l.State == acd.LegOver:
				over++
			case l.Role == acd.RoleCaller:
			case l.State == acd.LegCancelling || l.State == acd.LegEnding:
				k.draining[l.Agent]++
			default:
				k.live[l.Agent]++
				if l.ID != c.AgentLeg {
					k.fault("call %s: leg %s of %s is %s but not the call's live leg %q", c.ID, l.ID, l.Agent, l.State, c.AgentLeg)
				}
			}
		}
		if over == len(c.Legs) {
			k.fault("call %s is %s but all its legs are over", c.ID, c.State)
		}
		if c.AgentLeg != "" {
			a := k.agents[c.Agent]
			if a == nil || a.Call != c.ID || a.Leg != c.AgentLeg {
				k.fault("call %s has agent %s on leg %s, but the agent does not say so", c.ID, c.Agent, c.AgentLeg)
			}
		}
		if (c.State == acd.CallTalking) && c.AgentLeg == "" || c.AgentLeg != "" && c.State != acd.CallTalking && c.State != acd.CallWaiting {
			k.fault("call %s is %s with live leg %q", c.ID, c.State, c.AgentLeg)
		}
	}
}

func (k *checker) agentStates() {
	for i := range k.s.Agents {
		a := &k.s.Agents[i]
		if k.live[a.ID] > 1 {
			k.fault("agent %s has %d live offers or calls", a.ID, k.live[a.ID])
		}
		busy := a.State == acd.Reserved || a.State == acd.Ringing || a.State == acd.InCall
		if busy != (k.live[a.ID] == 1) || busy != (a.Call != "") {
			k.fault("agent %s is %s with %d live legs and call %q", a.ID, a.State, k.live[a.ID], a.Call)
		}
		if a.Draining != k.draining[a.ID] {
			k.fault("agent %s counts %d draining legs, there are %d", a.ID, a.Draining, k.draining[a.ID])
		}
		if a.State == acd.WrapUp && !k.armed(string(a.ID)) {
			k.fault("agent %s is in wrap-up without a timer", a.ID)
		}
	}
}

// dispatched: no call waits beside an agent who could take it.
func (k *checker) dispatched() {
	waiting := make(map[acd.QueueID]acd.CallID)
	for i := range k.s.Calls {
		if c := k.s.Calls[i]; c.State == acd.CallWaiting && c.AgentLeg == "" {
			waiting[c.Queue] = c.ID
		}
	}
	for _, cfg := range k.s.Config.Agents {
		a := k.agents[cfg.ID]
		if a.Status != acd.Available || a.State != acd.Idle || a.Draining > 0 || len(a.Contacts) == 0 || a.BackOff != 0 {
			continue
		}
		for _, q := range cfg.Queues {
			if c, ok := waiting[q]; ok {
				k.fault("call %s waits in %s beside idle agent %s", c, q, a.ID)
			}
		}
	}
}

func (k *checker) media() {
	uses := make(map[string]int)
	for i := range k.s.Calls {
		for _, address := range k.s.Calls[i].Media {
			uses[address]++
		}
	}
	for _, h := range k.s.Media {
		if h.Calls != uses[h.Address] {
			k.fault("media address %s counts %d calls, there are %d", h.Address, h.Calls, uses[h.Address])
		}
		at := slices.IndexFunc(k.s.Workers, func(w acd.Worker) bool { return w.ID == h.Worker })
		if at < 0 || !k.s.Workers[at].Alive || k.s.Workers[at].Incarnation != h.Incarnation {
			k.fault("media address %s is hosted by %s/%d, which does not live", h.Address, h.Worker, h.Incarnation)
		}
		if h.Standby == h.Worker {
			k.fault("media address %s has its host for standby", h.Address)
		}
	}
	for _, w := range k.s.Workers {
		at := slices.IndexFunc(k.s.Media, func(h acd.MediaHost) bool { return h.Address == w.Home })
		if w.Home != "" && (at < 0 || k.s.Media[at].Worker != w.ID) {
			k.fault("worker %s has home %s but does not host it", w.ID, w.Home)
		}
	}
}

// timers: none is overdue, and every call that is not simply talking has one.
func (k *checker) timers() {
	for _, t := range k.s.Timers {
		if t.At <= k.s.Now {
			k.fault("timer %+v is overdue at %d", t, k.s.Now)
		}
	}
	for i := range k.s.Calls {
		c := k.s.Calls[i]
		endless := c.State == acd.CallTalking || c.State == acd.CallWaiting && c.AgentLeg == ""
		if !endless && !k.armed(string(c.ID)) {
			k.fault("call %s is %s and nothing will end that", c.ID, c.State)
		}
	}
}

func (k *checker) armed(id string) bool {
	return slices.ContainsFunc(k.s.Timers, func(t acd.Timer) bool { return t.ID == id })
}

func (k *checker) channels(m *acd.Machine) {
	used := make(map[acd.TrunkID]int)
	for i := range k.s.Calls {
		for j := range k.s.Calls[i].Legs {
			if l := &k.s.Calls[i].Legs[j]; l.Trunk != "" && l.State != acd.LegOver {
				used[l.Trunk]++
			}
		}
	}
	for _, t := range m.Trunks() {
		if t.Used != used[t.ID] {
			k.fault("trunk %s counts %d calls, there are %d", t.ID, t.Used, used[t.ID])
		}
		if t.Channels > 0 && t.Used > t.Channels {
			k.fault("trunk %s carries %d calls on %d channels", t.ID, t.Used, t.Channels)
		}
	}
}
