package acd

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLoadCountsTheWindow: against a list of everything the agent ever did,
// over gaps of any length.
func TestLoadCountsTheWindow(t *testing.T) {
	type span struct {
		from, to   Time
		busy, free bool
	}
	rapid.Check(t, func(t *rapid.T) {
		const width = 60 // ns: the unit does not matter
		start := Time(rapid.IntRange(0, 1_000).Draw(t, "start"))
		l := &load{Load: Load{Width: width, Since: start}}
		var all []span
		now := start
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			gap := rapid.SampledFrom([]int{0, 1, 30, width, width + 1, 5 * width, loadParts * width, (loadParts + 1) * width, 40 * width}).Draw(t, "gap")
			what := rapid.IntRange(0, 2).Draw(t, "what")
			s := span{from: now, to: now + Time(gap), busy: what == 0, free: what == 1}
			now = s.to
			all = append(all, s)
			l.count(now, s.busy, s.free)
			from := (now/width - loadParts + 1) * width
			var busy, free int64
			for _, s := range all {
				if d := int64(s.to - max(s.from, from)); d > 0 && s.busy {
					busy += d
				} else if d > 0 && s.free {
					free += d
				}
			}
			want := 0
			if busy > 0 {
				want = int(busy / max((busy+free)/1000, 1))
			}
			if l.occupancy != want {
				t.Fatalf("after %+v: %d, want %d of %d busy and %d free", all, l.occupancy, want, busy, free)
			}
		}
	})
}

// TestRecountKeepsOrder: while agents are idle their ranks change and the lineup
// follows, at every twelfth of the window.
func TestRecountKeepsOrder(t *testing.T) {
	m := New()
	index, clock := uint64(0), Time(1e18)
	apply := func(body Body) Result {
		index++
		r, _ := m.Apply(index, Command{Stamp: clock, Body: body})
		return r
	}
	cfg := Config{Queues: []Queue{{ID: "q", Strategy: LeastBusy, Window: time.Hour}}}
	for _, id := range []AgentID{"ann", "bob", "cat"} {
		cfg.Agents = append(cfg.Agents, Agent{ID: id, Queues: []QueueID{"q"}, AutoAvailable: true})
	}
	apply(ConfigApplied{Config: cfg})
	for _, a := range cfg.Agents {
		apply(RegistrationChanged{Agent: a.ID, Contact: Contact{URI: "sip:" + string(a.ID), SIPID: "r"}, Expires: 24 * time.Hour})
	}
	// Ann was busy an hour ago for long, Bob a moment ago for a little.
	q := m.queues["q"]
	width := Time(q.loadWidth())
	part := int64(clock / width)
	m.loads[loadKey{"q", "ann"}].Busy[(part-10)%loadParts] = int64(10 * time.Minute)
	m.loads[loadKey{"q", "bob"}].Busy[part%loadParts] = int64(time.Minute)
	for _, s := range q.seats {
		s.load.rank()
		q.classFor(nil, 0).idle.moved(s.entries[0])
	}
	order := func() (out []AgentID) {
		for _, s := range q.classFor(nil, 0).idle.best(nil, 3) {
			out = append(out, s.agent.ID)
		}
		return out
	}
	for parts := range 15 {
		clock = clock.Add(time.Duration(width))
		apply(Ticked{})
		got := order()
		for _, s := range q.seats {
			want := *s.load
			want.rank()
			if want.occupancy != s.load.occupancy || int64(s.load.Since/width) != int64(clock/width) {
				t.Fatalf("after %d parts %s was not counted", parts, s.agent.ID)
			}
		}
		for i := 1; i < len(got); i++ {
			a, b := m.loads[loadKey{"q", got[i-1]}], m.loads[loadKey{"q", got[i]}]
			if a.occupancy > b.occupancy {
				t.Fatalf("after %d parts the order is %v: %d before %d", parts, got, a.occupancy, b.occupancy)
			}
		}
	}
	if got := order(); got[0] != "ann" || got[1] != "bob" {
		t.Errorf("all is forgotten, but the order is %v", got)
	}
}
