package acdtest

import (
	"cmp"
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
	k.media()
	k.timers()
	k.retired()
	k.channels(m)
	k.waiting(m)
	return errors.Join(k.errs...)
}

type checker struct {
	s        *acd.State
	agents   map[acd.AgentID]*acd.AgentInfo
	live     map[acd.AgentID]int // offers, reservations and conversations
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
		k.legs(c)
		if c.State == acd.CallHunting || c.Awaits != "" {
			k.hunting(c)
		}
		if c.AgentLeg != "" && c.Agent == "" {
			at := slices.IndexFunc(c.Legs, func(l acd.Leg) bool { return l.ID == c.AgentLeg })
			if at < 0 || c.Legs[at].Role != acd.RoleParty || c.Legs[at].State != acd.LegUp {
				k.fault("call %s talks on leg %s, which is nobody's", c.ID, c.AgentLeg)
			}
		} else if c.AgentLeg != "" {
			a := k.agents[c.Agent]
			if a == nil || a.Call != c.ID || a.Leg != c.AgentLeg {
				k.fault("call %s talks to agent %s on leg %s, but the agent does not say so", c.ID, c.Agent, c.AgentLeg)
			}
		}
		if c.AgentLeg != "" && c.State != acd.CallTalking {
			k.fault("call %s is %s with the agent's leg %q", c.ID, c.State, c.AgentLeg)
		}
	}
}

// legs counts what the call's legs hold of agents: an offer with any number of
// devices, a reservation and a conversation hold one agent each.
func (k *checker) legs(c *acd.Call) {
	over, waits := 0, c.Caller == "" && c.State != acd.CallEnding
	held := make(map[acd.AgentID]int) // the offer's number
	for j := range c.Legs {
		l := &c.Legs[j]
		switch {
		case l.State == acd.LegOver:
			over++
		case l.Agent == "":
		case l.State == acd.LegCancelling || l.State == acd.LegEnding:
			k.draining[l.Agent]++
		case l.State == acd.LegUp:
			if a := k.agents[l.Agent]; a != nil && a.Consult == c.ID && l.ID == c.Caller {
				break // beside the call that counts
			}
			k.live[l.Agent]++
			if l.ID == c.Caller && c.Dialler != "" {
				break
			}
			if l.Role == acd.RoleSupervisor {
				k.supervisor(c, l)
				break
			}
			if r := &c.Referral; l.ID != c.AgentLeg && !(r.Running() && !r.Left && l.ID == r.Leg && l.Agent == r.Agent) {
				k.fault("call %s: leg %s of %s is up but not the conversation's %q", c.ID, l.ID, l.Agent, c.AgentLeg)
			}
		case l.Role == acd.RolePickUp:
			k.pickUp(c, l)
		case l.Role == acd.RoleCaller:
			if a := k.agents[l.Agent]; a == nil || a.Consult != c.ID {
				k.live[l.Agent]++
			}
		case l.Role == acd.RoleSupervisor:
			k.live[l.Agent]++
			k.supervisor(c, l)
			if !slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == string(c.ID) && t.Sub == string(l.ID) }) {
				k.fault("call %s: nothing ends the ringing of its supervisor", c.ID)
			}
		default:
			if was, ok := held[l.Agent]; !ok {
				k.live[l.Agent]++
				k.offer(c, l)
			} else if was != l.Offer {
				k.fault("call %s: agent %s has the offers %d and %d of it", c.ID, l.Agent, was, l.Offer)
			}
			held[l.Agent] = l.Offer
		}
	}
	if a := k.agents[c.Agent]; a != nil && a.Call == c.ID && a.Leg == "" {
		k.live[a.ID]++
		if len(held) > 0 {
			k.fault("call %s rings while %s is reserved for it", c.ID, a.ID)
		}
	}
	k.family(c)
	if over == len(c.Legs) && !waits && len(c.Beside) == 0 {
		k.fault("call %s is %s but all its legs are over", c.ID, c.State)
	}
}

// pickUp: something ends its wait for the answer; it holds the agent unless
// another leg of the call does.
func (k *checker) pickUp(c *acd.Call, l *acd.Leg) {
	if l.State != acd.LegNew || !slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == string(c.ID) && t.Sub == string(l.ID) }) {
		k.fault("call %s: nothing ends the pick-up on leg %s, which is %s", c.ID, l.ID, l.State)
	}
	if a := k.agents[l.Agent]; a != nil && a.Call == c.ID && a.Leg == l.ID {
		k.live[l.Agent]++
		if a.State != acd.Reserved {
			k.fault("agent %s picks up call %s and is %s", a.ID, c.ID, a.State)
		}
	}
}

// supervisor: a live leg of one is that of the call's supervision, the agent says so
// too, and whom it is of talks.
func (k *checker) supervisor(c *acd.Call, l *acd.Leg) {
	s, a := &c.Supervision, k.agents[l.Agent]
	if c.State != acd.CallTalking || s.Agent != l.Agent || s.Leg != l.ID || a == nil || a.Call != c.ID || a.Leg != l.ID {
		k.fault("call %s is %s with the supervisor %s on leg %s, and says %+v", c.ID, c.State, l.Agent, l.ID, *s)
	}
	if of := k.agents[s.Of]; of == nil || of.Call != c.ID || of.Leg != s.Peer || s.Peer != c.AgentLeg && s.Peer != c.Caller {
		k.fault("call %s: %s supervises %s on leg %s, who does not talk there", c.ID, s.Agent, s.Of, s.Peer)
	}
}

// family: calls beside each other have one owner and no leg's id twice.
func (k *checker) family(c *acd.Call) {
	for _, id := range c.Beside {
		at, ok := slices.BinarySearchFunc(k.s.Calls, id, func(x *acd.Call, id acd.CallID) int { return cmp.Compare(x.ID, id) })
		if !ok {
			k.fault("call %s has %s beside it, which is not open", c.ID, id)
			continue
		}
		b := k.s.Calls[at]
		if b.Root != c.ID || b.Owner != c.Owner || b.Epoch != c.Epoch {
			k.fault("call %s of %v at %d stands beside %s of %v at %d, and says %q", b.ID, b.Owner, b.Epoch, c.ID, c.Owner, c.Epoch, b.Root)
		}
		for _, l := range b.Legs {
			if slices.ContainsFunc(c.Legs, func(x acd.Leg) bool { return x.ID == l.ID }) {
				k.fault("calls %s and %s both have leg %s", c.ID, b.ID, l.ID)
			}
		}
	}
}

// hunting: exactly one thing goes on in a chain, and something ends it; nobody
// waits for an agent who could be offered the call.
func (k *checker) hunting(c *acd.Call) {
	doing := len(offersOf(c))
	for i := range c.Legs {
		if l := &c.Legs[i]; l.Role == acd.RoleParty && (l.State == acd.LegNew || l.State == acd.LegRinging) {
			doing++
		}
	}
	if c.Awaits != "" {
		doing++
		if a := k.agents[c.Awaits]; a == nil || a.State == acd.Idle && a.Draining == 0 || a.Status != acd.Available {
			k.fault("call %s waits for agent %s, who is not busy", c.ID, c.Awaits)
		}
	}
	if doing != 1 || c.State != acd.CallHunting || c.Ticket == 0 {
		k.fault("call %s is %s with ticket %d at step %d of a chain and does %d things", c.ID, c.State, c.Ticket, c.Step, doing)
	}
}

// offer: the agent knows of it and something ends it.
func (k *checker) offer(c *acd.Call, first *acd.Leg) {
	a := k.agents[first.Agent]
	if a == nil || a.Call != c.ID || a.Leg != first.ID {
		k.fault("call %s is offered to %s on leg %s, but the agent does not say so", c.ID, first.Agent, first.ID)
	}
	if !slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == string(c.ID) && t.Sub == fmt.Sprint(first.Offer) }) {
		k.fault("call %s: nothing ends offer %d to %s", c.ID, first.Offer, first.Agent)
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
		if (a.State == acd.WrapUp) != (a.WrapUpEnds != 0) {
			k.fault("agent %s is %s and may wrap up until %d", a.ID, a.State, a.WrapUpEnds)
		}
		if ends, armed := k.timer(string(a.ID), wrapUpTimer); a.State == acd.WrapUp && (!armed || ends > a.WrapUpEnds) {
			k.fault("agent %s is in wrap-up and its timer, if any, is at %d: at most %d", a.ID, ends, a.WrapUpEnds)
		}
		if !busy && a.Pending != "" {
			k.fault("agent %s is %s and waits to become %s", a.ID, a.State, a.Pending)
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
			k.fault("timer %+v is overdue at %d", *t, k.s.Now)
		}
	}
	for i := range k.s.Calls {
		c := k.s.Calls[i]
		husk := c.State == acd.CallEnding && len(c.Beside) > 0
		endless := husk || c.State == acd.CallTalking || c.State == acd.CallWaiting && len(offersOf(c)) == 0
		if !endless && !k.armed(string(c.ID)) {
			k.fault("call %s is %s and nothing will end that", c.ID, c.State)
		}
	}
}

// offersOf returns the first leg of each of the call's live offers.
func offersOf(c *acd.Call) []acd.Leg {
	var out []acd.Leg
	for _, l := range c.Legs {
		if l.Role != acd.RoleAgent || l.State != acd.LegNew && l.State != acd.LegRinging {
			continue
		}
		if !slices.ContainsFunc(out, func(o acd.Leg) bool { return o.Offer == l.Offer }) {
			out = append(out, l)
		}
	}
	return out
}

// retired: every queue a call is bound for is there, and none twice.
func (k *checker) retired() {
	queues := make(map[acd.QueueID]bool)
	for _, q := range slices.Concat(k.s.Config.Queues, k.s.Retired) {
		if queues[q.ID] {
			k.fault("queue %s is there twice", q.ID)
		}
		queues[q.ID] = true
	}
	for i := range k.s.Calls {
		if c := k.s.Calls[i]; c.Ended == 0 && c.Queue != "" && !queues[c.Queue] {
			k.fault("call %s is bound for queue %s, which is gone", c.ID, c.Queue)
		}
	}
	if len(k.s.Retired)+len(k.s.RetiredChains)+len(k.s.RetiredCalendars) > 0 && !k.armed("") {
		k.fault("nothing will drop what is retired")
	}
}

// wrapUpTimer is the kind of the timer that ends a wrap-up.
const wrapUpTimer acd.TimerKind = 7

func (k *checker) timer(id string, kind acd.TimerKind) (at acd.Time, armed bool) {
	for _, t := range k.s.Timers {
		if t.ID == id && t.Kind == kind {
			return t.At, true
		}
	}
	return 0, false
}

func (k *checker) armed(id string) bool {
	return slices.ContainsFunc(k.s.Timers, func(t *acd.Timer) bool { return t.ID == id })
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
