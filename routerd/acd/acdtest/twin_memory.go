package acdtest

import (
	"fmt"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// What the twin remembers by itself: occupancy, turns and conversations.

// windowParts is into how many parts a least-busy queue's window is counted.
const windowParts = 12

// worked adds what every agent did up to this command: nobody's state changes
// between commands.
func (t *Twin) worked(s *acd.State) {
	if t.now == 0 {
		return
	}
	for i := range s.Agents {
		id := s.Agents[i].ID
		a := t.agents[id]
		if a == nil {
			continue
		}
		is := doing{
			from: t.now, to: s.Now, busy: a.State == acd.InCall || a.State == acd.WrapUp,
			free: a.State == acd.Idle && a.Status == acd.Available,
		}
		if all := t.work[id]; len(all) > 0 && all[len(all)-1].busy == is.busy && all[len(all)-1].free == is.free {
			all[len(all)-1].to = s.Now
		} else {
			t.work[id] = append(all, is)
		}
		for len(t.work[id]) > 0 && t.work[id][0].to < s.Now.Add(-24*time.Hour) {
			t.work[id] = t.work[id][1:]
		}
	}
}

// configure keeps the counts of seats that stay as they are.
func (t *Twin) configure(s *acd.State) {
	t.cfg = s.Config
	old := t.counted
	t.counted = make(map[seatKey]count)
	for _, q := range s.Config.Queues {
		if q.Strategy != acd.LeastBusy {
			continue
		}
		window := q.Window
		if window == 0 {
			window = time.Hour
		}
		for i := range s.Config.Agents {
			a := &s.Config.Agents[i]
			serves := false
			for _, id := range a.Queues {
				serves = serves || id == q.ID
			}
			for _, seat := range a.Seats {
				serves = serves || seat.Queue == q.ID
			}
			if !serves {
				continue
			}
			key := seatKey{q.ID, a.ID}
			c, ok := old[key]
			if !ok || c.window != window {
				c = count{since: s.Now, window: window, at: s.Now}
			}
			t.counted[key] = c
		}
	}
	for key := range t.turns { // any order: each is judged alone
		kept := false
		for _, q := range s.Config.Queues {
			kept = kept || q.ID == key.queue && q.Strategy == acd.RoundRobin && hasTier(s.Config, q.ID, key.tier)
		}
		if !kept {
			delete(t.turns, key)
		}
	}
}

func hasTier(cfg acd.Config, q acd.QueueID, tier int) bool {
	for i := range cfg.Agents {
		a := &cfg.Agents[i]
		said := false
		for _, s := range a.Seats {
			if s.Queue == q {
				said = true
				if s.Tier == tier {
					return true
				}
			}
		}
		for _, id := range a.Queues {
			if id == q && !said && tier == 0 {
				return true
			}
		}
	}
	return false
}

// recount takes the rank of who became idle by this command anew, and of who
// was idle when a new part of the window began.
func (t *Twin) recount(v *view, facts []acd.Fact) {
	changed := make(map[acd.AgentID]bool)
	phones := make(map[acd.AgentID]int)
	for _, f := range facts {
		switch f.Kind {
		case acd.FactAgentState:
			changed[f.Agent] = true
		case acd.FactAgentStatus:
			changed[f.Agent] = changed[f.Agent] || f.Attr("status") != f.Attr("was")
		case acd.FactAgentRegistered:
			phones[f.Agent]++
		case acd.FactAgentUnregistered:
			phones[f.Agent]--
			if was := t.agents[f.Agent]; was != nil && len(was.Contacts)+phones[f.Agent] == 0 {
				changed[f.Agent] = true // nobody could be called, if only for a moment
			}
		}
	}
	for key, c := range t.counted { // any order: each is counted alone
		if !idle(v.agents[key.agent]) {
			continue
		}
		width := c.window / windowParts
		if idle(t.agents[key.agent]) && !changed[key.agent] && int64(v.now)/int64(width) == int64(c.at)/int64(width) {
			continue
		}
		c.at = v.now
		from := acd.Time((int64(v.now)/int64(width) - windowParts + 1) * int64(width))
		var busy, free time.Duration
		for _, w := range t.work[key.agent] {
			d := min(w.to, v.now).Sub(max(w.from, from, c.since))
			if d <= 0 {
				continue
			}
			if w.busy {
				busy += d
			}
			if w.free {
				free += d
			}
		}
		c.occupancy = 0
		if busy > 0 {
			c.occupancy = int(busy / max((busy+free)/1000, 1))
		}
		t.counted[key] = c
	}
}

// kept checks for whom calls are kept: whom the customer spoke with last, as
// long as that one is there.
func (t *Twin) kept(v *view, facts []acd.Fact) error {
	moved := make(map[acd.AgentID]bool)
	for _, f := range facts {
		if f.Kind == acd.FactConfigApplied {
			return nil // new rules hold from the next command on
		}
		if f.Kind == acd.FactAgentState || f.Kind == acd.FactAgentStatus || f.Kind == acd.FactAgentRegistered || f.Kind == acd.FactAgentUnregistered {
			moved[f.Agent] = true
		}
	}
	for _, w := range v.calls {
		if w.Sticky == "" || w.held || w.offers >= w.most() {
			continue // or it is looked at when the offer is lost
		}
		waited, wait := v.now.Sub(w.Joined), max(w.queue.Sticky.Wait, 1)
		if away(v.agents[w.Sticky]) || waited >= wait {
			return fmt.Errorf("call %s is kept for %s after %s of %s, away: %t", w.ID, w.Sticky, waited, wait, away(v.agents[w.Sticky]))
		}
		if w.Joined != v.now {
			continue
		}
		if last, ok := t.spoken[customer(w.Call)]; !ok || last.agent != w.Sticky {
			return fmt.Errorf("call %s is kept for %s, its customer spoke with %+v", w.ID, w.Sticky, last)
		}
	}
	for _, f := range facts {
		if f.Kind != acd.FactCallQueued || f.Attr("kept_for") != "" {
			continue
		}
		for _, w := range v.calls {
			if w.ID != f.Call || w.queue.Sticky.Days == 0 || w.Joined != v.now {
				continue
			}
			last, ok := t.spoken[customer(w.Call)]
			a := v.agents[last.agent]
			if !ok || moved[last.agent] || away(a) || !idle(a) && w.queue.Sticky.Wait == 0 || last.at.Add(time.Duration(w.queue.Sticky.Days)*24*time.Hour) < v.now {
				continue
			}
			if _, serves := v.seats[seatKey{w.Queue, a.ID}]; serves && skilled(v.skills[a.ID], append(w.Needs, w.queue.Needs...)) {
				return fmt.Errorf("call %s is not kept for %s, with whom its customer spoke", w.ID, a.ID)
			}
		}
	}
	return nil
}

func skilled(skills, needs []acd.Skill) bool {
	for _, n := range needs {
		if level(skills, n.Skill) < max(n.Level, 1) {
			return false
		}
	}
	return true
}

// isNumber tells a customer's number from an agent's id, who is nobody's customer,
// and from a caller who withholds it.
func isNumber(s string) bool { return len(s) > 2 && strings.ContainsAny(s[:1], "+0123456789") }

func customer(c *acd.Call) string {
	if c.Number != "" {
		return c.Number
	}
	return c.From
}

// remember notes who speaks with whom.
func (t *Twin) remember(s *acd.State, facts []acd.Fact) {
	for _, f := range facts {
		if f.Kind != acd.FactOfferAccepted && f.Kind != acd.FactCallTakenOver && (f.Kind != acd.FactCallJoined || f.Agent == "") {
			continue
		}
		for _, q := range s.Config.Queues {
			if q.ID != f.Queue || q.Sticky.Days == 0 {
				continue
			}
			for _, c := range s.Calls {
				if c.ID == f.Call && (f.Kind == acd.FactOfferAccepted || c.Dialler == "") && isNumber(customer(c)) {
					t.spoken[customer(c)] = spoken{f.Agent, s.Now}
				}
			}
		}
	}
}

// sameTurns compares whose turn it is with the machine's own notes.
func (t *Twin) sameTurns(s *acd.State) error {
	for _, c := range s.Cursors {
		if got := t.turns[turn{c.Queue, c.Tier}]; got != (place{c.Position, c.Agent}) {
			return fmt.Errorf("queue %s, tier %d: the last was %s at %d, not %s at %d", c.Queue, c.Tier, got.agent, got.position, c.Agent, c.Position)
		}
	}
	if len(s.Cursors) != len(t.turns) {
		return fmt.Errorf("%d turns are noted, not %d", len(s.Cursors), len(t.turns))
	}
	return nil
}
