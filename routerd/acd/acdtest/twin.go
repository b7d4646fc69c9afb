package acdtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"trunkline/routerd/acd"
)

// Twin says who must be offered which call, in the plainest way: it looks at
// every call and every agent each time, knows no heaps and no classes, and
// reads nothing but the exported state and the facts. What it needs of the past
// (whose turn it is, who was busy, who spoke with whom) it keeps itself.
type Twin struct {
	// Offers is how many offers were compared.
	Offers int

	index   uint64
	now     acd.Time
	cfg     acd.Config
	agents  map[acd.AgentID]*acd.AgentInfo // after the command before
	turns   map[turn]place                 // of round-robin
	spoken  map[string]spoken
	work    map[acd.AgentID][]doing // since the beginning of what any window looks back on
	counted map[seatKey]count       // of least-busy
}

type turn struct {
	queue acd.QueueID
	tier  int
}

type place struct {
	position int
	agent    acd.AgentID
}

type spoken struct {
	agent acd.AgentID
	at    acd.Time
}

// doing is what an agent did between two moments.
type doing struct {
	from, to   acd.Time
	busy, free bool
}

type seatKey struct {
	queue acd.QueueID
	agent acd.AgentID
}

// count is the rank of an idle agent by occupancy and when it was taken.
type count struct {
	since     acd.Time // the agent's seat counts from here
	window    time.Duration
	at        acd.Time
	occupancy int
}

// NewTwin returns the twin of a new machine.
func NewTwin() *Twin {
	return &Twin{
		agents: make(map[acd.AgentID]*acd.AgentInfo), turns: make(map[turn]place), spoken: make(map[string]spoken),
		work: make(map[acd.AgentID][]doing), counted: make(map[seatKey]count),
	}
}

// made is an offer that dispatch made.
type made struct {
	call  acd.CallID
	agent acd.AgentID
}

// Observe compares what the last command's Apply offered with what it had to.
// It is called after every command.
func (t *Twin) Observe(m *acd.Machine) error {
	s := m.Snapshot()
	s.Config = served(s)
	facts := m.FactsAfter(t.index, 0)
	first := slices.IndexFunc(facts, dispatched)
	if first < 0 {
		first = len(facts)
	}
	t.worked(s)
	if slices.ContainsFunc(facts, func(f acd.Fact) bool { return f.Kind == acd.FactConfigApplied || f.Kind == acd.FactQueueDropped }) {
		t.configure(s)
	}
	v := t.before(s, facts[first:])
	t.recount(v, facts[:first])
	if err := t.kept(v, facts[:first]); err != nil {
		return err
	}
	if err := t.compare(v, facts[first:]); err != nil {
		return err
	}
	t.remember(s, facts)
	t.index, t.now = s.Index, s.Now
	t.agents = make(map[acd.AgentID]*acd.AgentInfo, len(s.Agents))
	for i := range s.Agents {
		t.agents[s.Agents[i].ID] = &s.Agents[i]
	}
	return t.sameTurns(s)
}

// served is the configuration with the queues that are retired and the seats of
// those who go on serving them: they are dispatched like any other.
func served(s *acd.State) acd.Config {
	cfg := s.Config
	cfg.Queues = slices.Concat(cfg.Queues, s.Retired)
	cfg.Agents = slices.Clone(cfg.Agents)
	for i := range cfg.Agents {
		a := &cfg.Agents[i]
		a.Seats = slices.Clone(a.Seats)
		for _, r := range s.RetiredSeats {
			if r.Agent == a.ID {
				a.Seats = append(a.Seats, r.Seat)
			}
		}
	}
	return cfg
}

// byStrategy tells an offer that a queue's strategy made.
func byStrategy(f acd.Fact) bool {
	return f.Kind == acd.FactOfferReserved || f.Kind == acd.FactOfferMade && f.Attr("stage") == ""
}

// dispatched tells what dispatch alone does: an offer, or passing over a customer
// for whom no channel is free.
func dispatched(f acd.Fact) bool { return byStrategy(f) || passedOver(f) }

func passedOver(f acd.Fact) bool {
	return f.Kind == acd.FactCustomerMissed && f.Attr("cause") == acd.CauseNoChannel
}

// view is the state as it was when dispatch began.
type view struct {
	now    acd.Time
	queues map[acd.QueueID]*acd.Queue
	agents map[acd.AgentID]*acd.AgentInfo
	seats  map[seatKey]acd.Seat
	skills map[acd.AgentID][]acd.Skill
	calls  []*waiting
}

// waiting is a call in its queue.
type waiting struct {
	*acd.Call
	queue  *acd.Queue
	offers int  // live
	held   bool // an agent is reserved for it
}

// before takes back what dispatch did, which was the last thing done.
func (t *Twin) before(s *acd.State, offers []acd.Fact) *view {
	v := &view{
		now: s.Now, queues: make(map[acd.QueueID]*acd.Queue), agents: make(map[acd.AgentID]*acd.AgentInfo),
		seats: make(map[seatKey]acd.Seat), skills: make(map[acd.AgentID][]acd.Skill),
	}
	for i := range s.Config.Queues {
		v.queues[s.Config.Queues[i].ID] = &s.Config.Queues[i]
	}
	for i := range s.Config.Agents {
		a := &s.Config.Agents[i]
		v.skills[a.ID] = a.Skills
		for _, q := range a.Queues {
			v.seats[seatKey{q, a.ID}] = acd.Seat{Queue: q}
		}
		for _, seat := range a.Seats {
			v.seats[seatKey{seat.Queue, a.ID}] = seat
		}
	}
	for i := range s.Agents {
		a := s.Agents[i]
		v.agents[a.ID] = &a
	}
	type offer struct {
		call  acd.CallID
		offer string
	}
	undone := make(map[offer]bool)
	passed := make(map[acd.CallID]bool)
	for _, f := range offers {
		passed[f.Call] = passed[f.Call] || passedOver(f)
		if !byStrategy(f) {
			continue
		}
		undone[offer{f.Call, f.Attr("offer")}] = true
		if a := v.agents[f.Agent]; a != nil && a.Call == f.Call {
			a.State, a.Call, a.Leg = acd.Idle, "", ""
		}
	}
	for _, c := range s.Calls {
		if c.State != acd.CallWaiting && !passed[c.ID] {
			continue
		}
		w := &waiting{Call: c, queue: v.queues[c.Queue]}
		for _, l := range offersOf(c) {
			if !undone[offer{c.ID, fmt.Sprint(l.Offer)}] {
				w.offers++
			}
		}
		if a := v.agents[c.Agent]; a != nil && a.Call == c.ID && a.Leg == "" {
			w.held = true
		}
		// A caller who is promised a callback has a leg until that is said.
		if c.Caller == "" && slices.ContainsFunc(c.Legs, func(l acd.Leg) bool { return l.Number == "" && l.Role == acd.RoleCaller && l.State != acd.LegOver }) {
			w.held = true
		}
		v.calls = append(v.calls, w)
	}
	slices.SortFunc(v.calls, func(a, b *waiting) int { return cmp.Compare(a.Ticket, b.Ticket) })
	return v
}

func (w *waiting) most() int {
	switch {
	case w.queue.Strategy != acd.RingAll:
		return 1
	case w.queue.RingMost == 0:
		return 5
	}
	return w.queue.RingMost
}

// idle tells an agent who can be offered a call.
func idle(a *acd.AgentInfo) bool {
	return a != nil && !a.Deleted && a.Status == acd.Available && a.State == acd.Idle && a.Draining == 0 && len(a.Contacts) > 0 && a.BackOff == 0
}

// away tells an agent for whom no call is kept.
func away(a *acd.AgentInfo) bool {
	return a == nil || a.Deleted || a.Status != acd.Available || len(a.Contacts) == 0
}

func level(skills []acd.Skill, id acd.SkillID) int {
	for _, sk := range skills {
		if sk.Skill == id {
			return max(sk.Level, 1)
		}
	}
	return 0
}

// needs is what the call needs after its wait, and the last tier it reaches.
func (w *waiting) needs(v *view) (needs []acd.Skill, tier int) {
	waited := v.now.Sub(w.Joined)
	needs = append(slices.Clone(w.queue.Needs), w.Needs...)
	tiers := false
	for _, r := range w.queue.Rings {
		tiers = tiers || r.Tier > 0
		if r.After > waited {
			continue
		}
		if r.Any || len(r.Needs) > 0 {
			needs = r.Needs
		}
		tier = max(tier, r.Tier)
	}
	if w.queue.TierDelay > 0 {
		tier = max(tier, int(waited/w.queue.TierDelay))
	} else if !tiers {
		tier = 1 << 30
	}
	return needs, tier
}

// suits tells whether the agent may take the call now.
func (v *view) suits(w *waiting, a *acd.AgentInfo) bool {
	seat, ok := v.seats[seatKey{w.Queue, a.ID}]
	if !ok || w.held || w.offers >= w.most() {
		return false
	}
	if w.Sticky != "" {
		return w.Sticky == a.ID
	}
	needs, tier := w.needs(v)
	for _, need := range needs {
		if level(v.skills[a.ID], need.Skill) < max(need.Level, 1) {
			return false
		}
	}
	return seat.Tier <= tier
}

// effective is (waited + priority * step) * weight.
func (w *waiting) effective(now acd.Time) int64 {
	step, weight := w.queue.PriorityStep, w.queue.Weight
	if step == 0 {
		step = time.Minute
	}
	if weight == 0 {
		weight = 100
	}
	return (int64(now-w.Enqueued) + int64(w.Priority)*int64(step)) * int64(weight)
}

// next is the next offer that must be made; nil: none.
func (t *Twin) next(v *view) *made {
	var lead *waiting
	for _, w := range v.calls { // by ticket: the first of equals stays
		if lead != nil && w.effective(v.now) <= lead.effective(v.now) {
			continue
		}
		for _, a := range v.agents { // any order: a question
			if idle(a) && v.suits(w, a) {
				lead = w
				break
			}
		}
	}
	if lead == nil {
		return nil
	}
	agent := t.choose(v, lead)
	var first *waiting
	for _, w := range v.calls {
		if !v.suits(w, agent) {
			continue
		}
		if first == nil || v.goesBefore(agent.ID, w, first) {
			first = w
		}
	}
	return &made{first.ID, agent.ID}
}

// goesBefore: for this agent, a and not b, whose ticket is lower.
func (v *view) goesBefore(agent acd.AgentID, a, b *waiting) bool {
	pa, pb := v.seats[seatKey{a.Queue, agent}].Priority, v.seats[seatKey{b.Queue, agent}].Priority
	if pa != pb {
		return pa > pb
	}
	if (a.Sticky != "") != (b.Sticky != "") {
		return a.Sticky != ""
	}
	return a.effective(v.now) > b.effective(v.now)
}

// choose is the agent the strategy of the call's queue names.
func (t *Twin) choose(v *view, w *waiting) *acd.AgentInfo {
	var all []*acd.AgentInfo
	for _, a := range v.agents { // any order: sorted below
		if idle(a) && v.suits(w, a) {
			all = append(all, a)
		}
	}
	seat := func(a *acd.AgentInfo) acd.Seat { return v.seats[seatKey{w.Queue, a.ID}] }
	needs, _ := w.needs(v)
	if w.Sticky != "" {
		needs = nil
	}
	rank := func(a *acd.AgentInfo) [3]int64 {
		switch w.queue.Strategy {
		case acd.Linear:
			return [3]int64{int64(seat(a).Position)}
		case acd.RoundRobin:
			last, ok := t.turns[turn{w.Queue, seat(a).Tier}]
			passed := int64(0)
			if ok && (seat(a).Position < last.position || seat(a).Position == last.position && a.ID <= last.agent) {
				passed = 1
			}
			return [3]int64{passed, int64(seat(a).Position)}
		case acd.LeastBusy:
			return [3]int64{int64(t.counted[seatKey{w.Queue, a.ID}].occupancy), int64(a.IdleSince)}
		case acd.Skills:
			surplus, spare := int64(0), int64(len(v.skills[a.ID]))
			seen := make(map[acd.SkillID]int)
			for _, n := range needs {
				seen[n.Skill] = max(seen[n.Skill], max(n.Level, 1))
			}
			for id, lv := range seen { // any order: a sum
				surplus += int64(level(v.skills[a.ID], id) - lv)
				spare--
			}
			return [3]int64{surplus, spare, int64(a.IdleSince)}
		}
		return [3]int64{int64(a.IdleSince)}
	}
	return slices.MinFunc(all, func(a, b *acd.AgentInfo) int {
		ra, rb := rank(a), rank(b)
		return cmp.Or(cmp.Compare(seat(a).Tier, seat(b).Tier), slices.Compare(ra[:], rb[:]), cmp.Compare(a.ID, b.ID))
	})
}

// compare makes the offers that must be made, one by one, beside those that
// were made.
func (t *Twin) compare(v *view, facts []acd.Fact) error {
	for _, f := range facts {
		if !dispatched(f) {
			continue
		}
		want := t.next(v)
		if passedOver(f) {
			if want == nil || want.call != f.Call {
				return fmt.Errorf("call %s was passed over, but it was not its turn", f.Call)
			}
			v.calls = slices.DeleteFunc(v.calls, func(w *waiting) bool { return w.ID == f.Call })
			continue
		}
		if want == nil {
			return fmt.Errorf("call %s was offered to %s, but nothing had to be offered", f.Call, f.Agent)
		}
		if want.call != f.Call || want.agent != f.Agent {
			return fmt.Errorf("call %s was offered to %s (%s), but %s had to be offered to %s", f.Call, f.Agent, printFact(f), want.call, want.agent)
		}
		t.Offers++
		w := v.calls[slices.IndexFunc(v.calls, func(w *waiting) bool { return w.ID == f.Call })]
		if f.Kind == acd.FactOfferReserved {
			w.held = true
		} else {
			w.offers++
		}
		v.agents[f.Agent].State = acd.Reserved
		seat := v.seats[seatKey{w.Queue, f.Agent}]
		if w.queue.Strategy == acd.RoundRobin && w.Sticky == "" {
			t.turns[turn{w.Queue, seat.Tier}] = place{seat.Position, f.Agent}
		}
	}
	if want := t.next(v); want != nil {
		return fmt.Errorf("call %s had to be offered to %s and was not", want.call, want.agent)
	}
	return nil
}
