package acdtest

import (
	"fmt"
	"slices"
	"time"

	"trunkline/routerd/acd"
)

// administer does what people and routers do beside the calls.
func (f *FarEnd) administer() error {
	switch f.dice.Int(4, "administer") {
	case 0:
		return f.reconfigure()
	case 1:
		return f.audit()
	case 2:
		return f.probe()
	}
	return f.reportHash()
}

// probe: an edge finds a trunk in some state, or is gone.
func (f *FarEnd) probe() error {
	states := []acd.LinkState{acd.LinkUp, acd.LinkSuspect, acd.LinkDown, ""}
	return f.propose("link", acd.TrunkStateChanged{
		Trunk: []acd.TrunkID{"sbc-a", "sbc-b"}[f.dice.Int(2, "trunk")], Edge: []string{"edge-1", "edge-2"}[f.dice.Int(2, "edge")],
		State: states[f.dice.Int(len(states), "state")],
	})
}

// reconfigure applies the configuration with anything of it changed or missing.
func (f *FarEnd) reconfigure() error {
	cfg := world(f.dice)
	for i := range cfg.Queues {
		cfg.Queues[i].MaxWait = time.Duration(1+f.dice.Int(120, "max-wait")) * time.Second
	}
	for f.dice.Int(2, "drop queue") == 0 && len(cfg.Queues) > 1 {
		dropQueue(&cfg, cfg.Queues[f.dice.Int(len(cfg.Queues), "queue")].ID)
	}
	if f.dice.Int(3, "drop chains") == 0 {
		cfg.Chains, cfg.Queues[0].WhenFull = nil, acd.Then{}
		cfg.Numbers = slices.DeleteFunc(cfg.Numbers, func(n acd.Number) bool { return n.Chain != "" })
	}
	for range f.dice.Int(3, "drop agents") {
		at := f.dice.Int(len(cfg.Agents), "agent")
		gone := string(cfg.Agents[at].ID)
		cfg.Agents = slices.Delete(cfg.Agents, at, at+1)
		for i := range cfg.Chains {
			cfg.Chains[i].Steps = slices.DeleteFunc(cfg.Chains[i].Steps, func(s acd.ChainStep) bool { return s.Agent == gone })
		}
	}
	base := uint64(0)
	if versions := f.M.Configs(); f.dice.Int(3, "base") == 0 {
		base = versions[f.dice.Int(len(versions), "base")].Version
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("the world is refused: %w", err)
	}
	waiting := f.line()
	if next, armed := f.M.NextDeadline(); armed && next <= max(f.Clock, f.M.Now()+1) {
		clear(waiting) // some may be due to leave in the same step
	}
	if err := f.propose("config", acd.ConfigApplied{Config: cfg, Base: base, Source: make([]byte, 10)}); err != nil {
		return err
	}
	// Whatever was changed, who waited for an agent waits on, or was offered to
	// one: nobody is sent away and nobody gets another place.
	now := f.line()
	for id, ticket := range waiting {
		if now[id] != ticket && !f.takenOver(id, ticket) {
			return fmt.Errorf("index %d: call %s had ticket %d before the configuration, now %d", f.index, id, ticket, now[id])
		}
	}
	return nil
}

// takenOver tells whether the last command gave the call's place, or one before
// it, to its customer. A chain whose agent a configuration deletes sends its
// caller to a queue, and there the caller takes the place of the callback that
// waits for the same number.
func (f *FarEnd) takenOver(id acd.CallID, ticket uint64) bool {
	for _, fact := range f.M.FactsAfter(f.index-1, 0) {
		if fact.Kind == acd.FactCallMerged && fact.Call == id {
			into, _ := f.M.Call(acd.CallID(fact.Attr("into")))
			return into.Ticket > 0 && into.Ticket <= ticket
		}
	}
	return false
}

// dropQueue takes a queue and all that refers to it out of a configuration.
func dropQueue(cfg *acd.Config, gone acd.QueueID) {
	cfg.Queues = slices.DeleteFunc(cfg.Queues, func(q acd.Queue) bool { return q.ID == gone })
	cfg.Numbers = slices.DeleteFunc(cfg.Numbers, func(n acd.Number) bool { return n.Queue == gone })
	for i := range cfg.Numbers {
		cfg.Numbers[i].Rules = slices.DeleteFunc(cfg.Numbers[i].Rules, func(r acd.Rule) bool { return r.Queue == gone || r.When.Queue == gone })
	}
	for i := range cfg.Queues {
		q := &cfg.Queues[i]
		thens := []*acd.Then{&q.WhenClosed, &q.WhenFull, &q.AfterMaxWait, &q.WhenEmpty, &q.Exit}
		for j := range q.Admission {
			thens = append(thens, &q.Admission[j].Then)
		}
		for _, t := range thens {
			if t.Queue == gone {
				t.Queue = ""
			}
		}
	}
	for i := range cfg.Agents {
		for _, p := range []*acd.Permit{&cfg.Agents[i].Dial, &cfg.Agents[i].Transfer} {
			p.Queues = slices.DeleteFunc(slices.Clone(p.Queues), func(q acd.QueueID) bool { return q == gone })
		}
	}
	for i := range cfg.Chains {
		if cfg.Chains[i].Then.Queue == gone {
			cfg.Chains[i].Then = acd.Then{Prompt: "sorry"}
		}
	}
	for i := range cfg.Agents {
		cfg.Agents[i].Seats = slices.DeleteFunc(cfg.Agents[i].Seats, func(s acd.Seat) bool { return s.Queue == gone })
		cfg.Agents[i].Queues = slices.DeleteFunc(slices.Clone(cfg.Agents[i].Queues), func(q acd.QueueID) bool { return q == gone })
	}
}

// line returns the tickets of the calls that wait for an agent or to be called.
func (f *FarEnd) line() map[acd.CallID]uint64 {
	line := make(map[acd.CallID]uint64)
	for _, c := range f.M.Calls() {
		// Retrying: at the head at last, but no channel was free to call it.
		if c.State == acd.CallWaiting || c.State == acd.CallRetrying {
			line[c.ID] = c.Ticket
		}
	}
	return line
}

// audit: the owner of a call has lost a dialog.
func (f *FarEnd) audit() error {
	calls := f.M.Calls()
	if len(calls) == 0 {
		return f.next()
	}
	c := calls[f.dice.Int(len(calls), "call")]
	if len(c.Legs) == 0 {
		return f.next() // a callback or a task that waits
	}
	l := c.Legs[f.dice.Int(len(c.Legs), "leg")]
	return f.propose("audit", acd.DialogsAudited{Owner: c.Owner, Missing: []acd.LegRef{{Call: c.ID, Epoch: c.Epoch, Leg: l.ID}}})
}

// lie is a report of a state that a router does not have.
type lie struct {
	owner acd.Owner
	index uint64
}

// reportHash lets all routers report the state of this moment, one of them
// perhaps another one.
func (f *FarEnd) reportHash() error {
	index, hash := f.M.Index(), f.M.Hash()
	liar := f.dice.Int(2*len(simNodes), "liar")
	for i, n := range f.M.Nodes() {
		if !n.Alive {
			continue
		}
		body := acd.HashReported{Owner: acd.Owner{Node: n.ID, Incarnation: n.Incarnation}, Index: index, Hash: slices.Clone(hash[:])}
		if i == liar {
			body.Hash[0]++
			f.lies[lie{body.Owner, index}] = true
		}
		at := f.Clock.Add(time.Duration(f.dice.Int(2000, "delay")) * time.Millisecond)
		f.push(event{at: at, name: "hash", body: func() (acd.Body, bool) { return body, f.alive(body.Owner) }})
	}
	return f.next()
}

// resync ends the life that is told to start over, which must have lied, and
// begins another.
func (f *FarEnd) resync(o acd.Resync) error {
	if !f.lies[lie{o.Owner, o.Index}] {
		return fmt.Errorf("router %v is told to start over but had the right state at %d", o.Owner, o.Index)
	}
	f.push(event{at: f.Clock.Add(time.Second), name: "restart", body: func() (acd.Body, bool) {
		return acd.NodeStarted{Node: o.Owner.Node}, f.alive(o.Owner)
	}})
	return nil
}
