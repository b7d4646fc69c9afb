package acd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Strategies: which of the idle agents who may take a call is offered it. In
// all of them agents of a lower tier come first and the agent's id decides
// last, so the order is total.
const (
	// LongestIdle takes the agent whose last call ended, or who became
	// available, the longest ago.
	LongestIdle = "longest-idle"
	// RoundRobin goes on behind the agent who was offered the last call, by
	// position and id, round and round in each tier.
	RoundRobin = "round-robin"
	// Linear takes the lowest position, always from the top.
	Linear = "linear"
	// LeastBusy takes the lowest occupancy over the queue's window, see load.
	LeastBusy = "least-busy"
	// Skills takes the best fit: the levels that exceed what the call needs the
	// least, then the fewest other skills. Who can do more is kept for calls
	// that need it. Then the longest idle.
	Skills = "skills"
	// RingAll rings several agents at once, the longest idle first.
	RingAll = "ring-all"
)

// ranking compares two idle agents of one class and tier: negative for a.
type ranking func(a, b *entry) int

// strategies is the one place that knows them. An agent's rank may only change
// while the agent is in no lineup, see agentReady.
var strategies = map[string]ranking{
	LongestIdle: byIdle,
	RingAll:     byIdle,
	LeastBusy: func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.seat.load.occupancy, b.seat.load.occupancy), byIdle(a, b))
	},
	Skills: func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.surplus, b.surplus), cmp.Compare(a.spare, b.spare), byIdle(a, b))
	},
	RoundRobin: nil, // these two have a lineup of their own
	Linear:     nil,
}

func byIdle(a, b *entry) int { return cmp.Compare(a.seat.agent.IdleSince, b.seat.agent.IdleSince) }

// strategyOf is a known strategy's ranking.
func strategyOf(name string) (ranking, bool) {
	rank, ok := strategies[strategyName(name)]
	return rank, ok
}

// strategyName is the strategy's name with the default filled in.
func strategyName(name string) string {
	if name == "" {
		return LongestIdle
	}
	return name
}

// lineup is the idle agents of a class in the order they are offered calls.
type lineup interface {
	len() int
	add(e *entry)
	remove(e *entry)
	moved(e *entry) // its rank changed
	first() *seat
	best(out []*seat, k int) []*seat // the first k
}

// heap is the lineup by a ranking.
type heap struct{ ranked[*entry] }

func newHeap(rank ranking) *heap {
	return &heap{ranked[*entry]{
		less: func(a, b *entry) bool {
			if a.seat.Tier != b.seat.Tier {
				return a.seat.Tier < b.seat.Tier
			}
			if r := rank(a, b); r != 0 {
				return r < 0
			}
			return strings.Compare(string(a.seat.agent.ID), string(b.seat.agent.ID)) < 0
		},
		place: func(e *entry, pos int) { e.pos = pos },
	}}
}

func (h *heap) add(e *entry)    { h.push(e) }
func (h *heap) remove(e *entry) { h.ranked.remove(e.pos) }
func (h *heap) moved(e *entry)  { h.fix(e.pos) }
func (h *heap) first() *seat    { return h.items[0].seat }

func (h *heap) best(out []*seat, k int) []*seat {
	var few [8]*entry
	for _, e := range h.ranked.best(few[:0], k) {
		out = append(out, e.seat)
	}
	return out
}

// circle is the lineup by place in the queue: from the top or, cyclic, from
// behind the seat that was offered the last call.
type circle struct {
	queue  *queue
	idle   row // of places in queue.seats
	cyclic bool
}

func (ci *circle) len() int        { return ci.idle.size }
func (ci *circle) add(e *entry)    { ci.idle.add(e.seat.at) }
func (ci *circle) remove(e *entry) { ci.idle.remove(e.seat.at) }
func (ci *circle) moved(*entry)    {}

func (ci *circle) first() *seat {
	var one [1]*seat
	return ci.best(one[:0], 1)[0]
}

func (ci *circle) best(out []*seat, k int) []*seat {
	for i := range ci.queue.tiers {
		t := &ci.queue.tiers[i]
		start := t.from
		if ci.cyclic {
			start = t.next
		}
		for _, part := range [2][2]int{{start, t.to}, {t.from, start}} {
			for at := ci.idle.next(part[0], part[1]); at >= 0 && len(out) < k; at = ci.idle.next(at+1, part[1]) {
				out = append(out, ci.queue.seats[at])
			}
		}
	}
	return out
}

// newLineup is an empty lineup for the queue's strategy. All seats are known.
func (q *queue) newLineup() lineup {
	switch name := strategyName(q.Strategy); name {
	case RoundRobin, Linear:
		return &circle{queue: q, idle: newRow(len(q.seats)), cyclic: name == RoundRobin}
	default:
		rank, _ := strategyOf(name)
		return newHeap(rank)
	}
}

// tier is a run of the queue's seats and, for round-robin, whose turn is next.
type tier struct {
	tier     int
	from, to int // in queue.seats
	next     int // in queue.seats, from to to
	cursor   *Cursor
}

// Cursor says who was offered the last call of a round-robin queue and tier.
// The agent may be gone since: the next is who comes after that place.
type Cursor struct {
	Queue    QueueID `cbor:"1,keyasint"`
	Tier     int     `cbor:"2,keyasint"`
	Position int     `cbor:"3,keyasint"`
	Agent    AgentID `cbor:"4,keyasint"`
}

type cursorKey struct {
	queue QueueID
	tier  int
}

// compareSeats is the order of seats in a queue.
func compareSeats(a, b *seat) int {
	return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Position, b.Position), cmp.Compare(a.agent.ID, b.agent.ID))
}

// arrange puts the seats in order once all are known, and the round-robin's
// cursors to their places.
func (m *Machine) arrange(q *queue) {
	slices.SortFunc(q.seats, compareSeats)
	q.tiers = nil
	for i, s := range q.seats {
		s.at = i
		if n := len(q.tiers); n > 0 && q.tiers[n-1].tier == s.Tier {
			q.tiers[n-1].to = i + 1
		} else {
			q.tiers = append(q.tiers, tier{tier: s.Tier, from: i, to: i + 1, next: i})
		}
	}
	if q.Strategy != RoundRobin {
		return
	}
	for i := range q.tiers {
		t := &q.tiers[i]
		if t.cursor = m.cursors[cursorKey{q.ID, t.tier}]; t.cursor == nil {
			continue
		}
		for t.next < t.to && t.cursor.reaches(q.seats[t.next]) {
			t.next++
		}
	}
}

// reaches tells a seat that is not after the cursor.
func (c *Cursor) reaches(s *seat) bool {
	return cmp.Or(cmp.Compare(s.Position, c.Position), cmp.Compare(s.agent.ID, c.Agent)) <= 0
}

// turn moves the round-robin on behind the seat that is offered a call.
func (m *Machine) turn(s *seat) {
	q := s.queue
	if q.Strategy != RoundRobin {
		return
	}
	i, _ := slices.BinarySearchFunc(q.tiers, s.Tier, func(t tier, n int) int { return cmp.Compare(t.tier, n) })
	t := &q.tiers[i]
	if t.cursor == nil {
		t.cursor = &Cursor{Queue: q.ID, Tier: t.tier}
		m.cursors[cursorKey{q.ID, t.tier}] = t.cursor
	}
	t.cursor.Position, t.cursor.Agent = s.Position, s.agent.ID
	t.next = s.at + 1
}

// forgetCursors drops those of queues and tiers that are no more.
func (m *Machine) forgetCursors() {
	for key := range m.cursors { // any order: each is judged alone
		q := m.queues[key.queue]
		if q == nil || q.Strategy != RoundRobin || !slices.ContainsFunc(q.tiers, func(t tier) bool { return t.tier == key.tier }) {
			delete(m.cursors, key)
		}
	}
}

// measure appends what the strategy judges a candidate by to the why-record.
func (q *queue) measure(w *factWriter, cl *class, s *seat, now Time) {
	switch strategyName(q.Strategy) {
	case RoundRobin, Linear:
		w.number(s.Position)
	case LeastBusy:
		w.number(s.load.occupancy)
	case Skills:
		surplus, spare := s.agent.fit(cl.needs)
		w.number(surplus)
		w.c.buf = append(w.c.buf, '+')
		w.number(spare)
	default:
		w.c.buf = appendSeconds(w.c.buf, between(s.agent.IdleSince, now))
	}
}

// defaultStep is how much wait one priority is worth where the queue doesn't say.
const defaultStep = time.Minute
