package acd

import (
	"cmp"
	"slices"
	"time"
)

// class is the calls of a queue that the same agents may take now, and those of
// these agents who are idle. A call needs skills and reaches up to a tier; both
// relax while it waits (see Ring and Queue.TierDelay), which moves it to
// another class by its timer. So a call and an agent who suit each other are
// the heads of one class: finding them costs O(log n) however many there are.
type class struct {
	queue   *queue
	needs   []Skill // by skill, levels filled in
	tier    int     // the last that is reached
	agent   *agent  // whom the calls are kept for; nil: nobody
	waiting ranked[waiter]
	idle    lineup
	dirty   bool // in Machine.dirty
}

// seat is an agent's place in one queue.
type seat struct {
	Seat
	agent   *agent
	queue   *queue
	at      int      // in queue.seats
	entries []*entry // one for each class of the queue the agent suits
	load    *load    // nil unless the queue's strategy is least-busy
}

// entry is a seat in a class.
type entry struct {
	seat    *seat
	class   *class
	pos     int // in a heap; -1: not idle
	surplus int // levels beyond those needed
	spare   int // skills that are not needed
}

// waiter is a call in a class's line, with what places it there: a comparison
// that followed two pointers would cost most of an offer.
type waiter struct {
	since  Time
	ticket uint64
	call   *call
}

// head is the first call in line.
func (cl *class) head() *call { return cl.waiting.items[0].call }

// waitsBefore is the order within a queue: greatest effective wait first, then
// the ticket. It does not change while they wait, since all grow alike.
func waitsBefore(a, b *call) bool {
	if a.since != b.since {
		return a.since < b.since
	}
	return a.Ticket < b.Ticket
}

func newClass(q *queue, needs []Skill, tier int) *class {
	return &class{
		queue: q, needs: needs, tier: tier, idle: q.newLineup(),
		waiting: ranked[waiter]{
			less:  func(a, b waiter) bool { return a.since < b.since || a.since == b.since && a.ticket < b.ticket },
			place: func(w waiter, pos int) { w.call.pos = pos },
		},
	}
}

// suits tells whether the seat's agent may take the calls of the class.
func (cl *class) suits(s *seat) bool {
	return s.Tier <= cl.tier && s.agent.skilled(cl.needs)
}

// level is the agent's in a skill; 0: none.
func (a *agent) level(id SkillID) int {
	for i := range a.cfg.Skills {
		if sk := &a.cfg.Skills[i]; sk.Skill == id {
			return max(sk.Level, 1)
		}
	}
	return 0
}

func (a *agent) skilled(needs []Skill) bool {
	for _, need := range needs {
		if a.level(need.Skill) < need.Level {
			return false
		}
	}
	return true
}

// fit measures how much more than is needed the agent can do.
func (a *agent) fit(needs []Skill) (surplus, spare int) {
	for _, need := range needs {
		surplus += a.level(need.Skill) - need.Level
	}
	return surplus, len(a.cfg.Skills) - len(needs)
}

// merge is the skills of both, each at the higher level, by skill.
func merge(a, b []Skill) []Skill {
	var out []Skill
	for _, list := range [2][]Skill{a, b} {
		for _, sk := range list {
			sk.Level = max(sk.Level, 1)
			at, ok := slices.BinarySearchFunc(out, sk.Skill, func(x Skill, id SkillID) int { return cmp.Compare(x.Skill, id) })
			if !ok {
				out = slices.Insert(out, at, sk)
			} else {
				out[at].Level = max(out[at].Level, sk.Level)
			}
		}
	}
	return out
}

// stage is what a waiting call needs once so many of its queue's rings were
// reached.
type stage struct {
	after    time.Duration
	replaces bool // needs are those of a ring, not the queue's and the call's own
	needs    []Skill
	tier     int // reached whatever TierDelay says
}

func stagesOf(cfg *Queue) []stage {
	st := stage{needs: merge(cfg.Needs, nil)}
	stages := []stage{st}
	for _, r := range cfg.Rings {
		st.after = r.After
		if r.Any || len(r.Needs) > 0 {
			st.replaces, st.needs = true, merge(r.Needs, nil)
		}
		st.tier = max(st.tier, r.Tier)
		stages = append(stages, st)
	}
	return stages
}

// ringAt is how many rings are reached after a wait.
func (q *queue) ringAt(waited time.Duration) int {
	n := 0
	for n+1 < len(q.stages) && q.stages[n+1].after <= waited {
		n++
	}
	return n
}

// tierAt is the last tier that is reached after a wait: by the delay, or by the
// rings, and all of them where neither says anything of tiers.
func (q *queue) tierAt(waited time.Duration, ring int) int {
	last := q.lastTier()
	reached := last
	switch {
	case q.TierDelay > 0:
		reached = int(min(waited/q.TierDelay, time.Duration(last)))
	case q.stages[len(q.stages)-1].tier > 0:
		reached = 0
	}
	return min(max(reached, q.stages[ring].tier), last)
}

func (q *queue) lastTier() int {
	if n := len(q.tiers); n > 0 {
		return q.tiers[n-1].tier
	}
	return 0
}

// widensAfter is the wait after waited at which the queue's rings or tiers let
// in more agents; 0: at none.
func (q *queue) widensAfter(waited time.Duration) time.Duration {
	next := time.Duration(0)
	sooner := func(d time.Duration) {
		if d > waited && (next == 0 || d < next) {
			next = d
		}
	}
	if ring := q.ringAt(waited); ring+1 < len(q.stages) {
		sooner(q.stages[ring+1].after)
	}
	if q.TierDelay > 0 {
		if t := waited/q.TierDelay + 1; int(t) <= q.lastTier() {
			sooner(t * q.TierDelay)
		}
	}
	return next
}

// classOf is the class a waiting call belongs to now. It also brings the
// call's own note of it up to date.
func (m *Machine) classOf(c *call, q *queue) *class {
	waited := between(c.Joined, m.now)
	ring := q.ringAt(waited)
	if ring != c.Ring {
		m.own(c)
		c.Ring = ring
	}
	if c.Sticky != "" {
		if s := m.keeper(c.Sticky, q); s != nil {
			return q.keptFor(s)
		}
		m.own(c)
		c.Sticky = ""
	}
	st := &q.stages[ring]
	needs := st.needs
	if !st.replaces && len(c.Needs) > 0 {
		needs = merge(q.Needs, c.Needs)
	}
	return q.classFor(needs, q.tierAt(waited, ring))
}

// classFor finds the class or makes it, which takes a look at each seat, once.
// There are as many as configured needs, rings and tiers make: few.
func (q *queue) classFor(needs []Skill, tier int) *class {
	for _, cl := range q.classes {
		if cl.tier == tier && slices.Equal(cl.needs, needs) {
			return cl
		}
	}
	cl := newClass(q, needs, tier)
	q.classes = append(q.classes, cl)
	for _, s := range q.seats {
		if cl.suits(s) {
			cl.admit(s)
		}
	}
	return cl
}

func (cl *class) admit(s *seat) {
	e := &entry{seat: s, class: cl, pos: -1}
	e.surplus, e.spare = s.agent.fit(cl.needs)
	s.entries = append(s.entries, e)
	if s.agent.out == notExcluded {
		cl.idle.add(e)
	}
}

// keeper is the seat of an agent calls of the queue can be kept for: who is
// there, if busy.
func (m *Machine) keeper(id AgentID, q *queue) *seat {
	a := m.agents[id]
	if a == nil || a.away() {
		return nil
	}
	for _, s := range a.seats {
		if s.queue == q {
			return s
		}
	}
	return nil
}

// keptFor is the class of the calls that are kept for one agent.
func (q *queue) keptFor(s *seat) *class {
	cl := q.kept[s.agent.ID]
	if cl == nil {
		cl = newClass(q, nil, s.Tier)
		cl.agent = s.agent
		q.kept[s.agent.ID] = cl
		cl.admit(s)
	}
	return cl
}

// join puts the call into its class's line at its place, from another if need
// be.
func (m *Machine) join(c *call, q *queue) {
	cl := m.classOf(c, q)
	if c.pos < 0 || c.class != cl {
		q.withdraw(c)
		c.class = cl
		cl.waiting.push(waiter{c.since, c.Ticket, c})
		q.standing++
		m.stir(q)
	}
	m.touch(cl)
}

// withdraw takes the call out of its class's line, if it is in one.
func (q *queue) withdraw(c *call) {
	if c.pos < 0 {
		return
	}
	cl := c.class
	cl.waiting.remove(c.pos)
	q.standing--
	if cl.agent != nil && cl.waiting.len() == 0 {
		delete(q.kept, cl.agent.ID)
		for _, s := range cl.agent.seats {
			s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool { return e.class == cl })
		}
	}
}

// widen arms the moment at which more agents may take the waiting call.
func (m *Machine) widen(c *call, q *queue) {
	next := q.widensAfter(between(c.Joined, m.now))
	if keep := q.keep(); c.Sticky != "" && (next == 0 || keep < next) {
		next = keep
	}
	if next > 0 {
		m.timers.set(max(c.Joined.Add(next), m.now+1), timerWiden, string(c.ID), "")
	} else {
		m.timers.stop(timerWiden, string(c.ID), "")
	}
}

// keep is how long a call is kept for one agent: at least until the next
// command, so that an idle one is asked.
func (q *queue) keep() time.Duration { return max(q.Sticky.Wait, 1) }

// widened: more agents may take the call.
func (m *Machine) widened(c *call) {
	q := m.queues[c.Queue]
	if c.Sticky != "" && between(c.Joined, m.now) >= q.keep() {
		c.Sticky = ""
	}
	if c.pos >= 0 {
		m.join(c, q)
	} else {
		c.Ring = q.ringAt(between(c.Joined, m.now))
	}
	w := m.fact(Fact{Kind: FactCallWidened, Call: c.ID, Queue: c.Queue}).int("ring", c.Ring)
	if q.lastTier() > 0 {
		w.int("tier", q.tierAt(between(c.Joined, m.now), c.Ring))
	}
	w.text("kept_for", string(c.Sticky))
	m.widen(c, q)
}

// release lets others take the calls that were kept for an agent who is away
// now.
func (m *Machine) release(a *agent) {
	for _, s := range a.seats {
		cl := s.queue.kept[a.ID]
		if cl == nil {
			continue
		}
		for cl.waiting.len() > 0 {
			c := m.own(cl.head())
			c.Sticky = ""
			m.join(c, s.queue)
			m.widen(c, s.queue)
		}
	}
}
