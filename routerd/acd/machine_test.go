package acd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestRankedIsSorted: against a plain sorted slice, under random pushes,
// removals and changes of rank.
func TestRankedIsSorted(t *testing.T) {
	type item struct{ rank, id, pos int }
	less := func(a, b *item) bool { return a.rank < b.rank || a.rank == b.rank && a.id < b.id }
	rapid.Check(t, func(t *rapid.T) {
		r := ranked[*item]{less: less, place: func(i *item, pos int) { i.pos = pos }}
		var model []*item
		for step := range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 3).Draw(t, "op"); {
			case op <= 1 || len(model) == 0:
				it := &item{rank: rapid.IntRange(0, 9).Draw(t, "rank"), id: step, pos: -1}
				model = append(model, it)
				r.push(it)
			case op == 2:
				at := rapid.IntRange(0, len(model)-1).Draw(t, "at")
				r.remove(model[at].pos)
				if model[at].pos != -1 {
					t.Fatal("a removed item has a place")
				}
				model = slices.Delete(model, at, at+1)
			default:
				it := model[rapid.IntRange(0, len(model)-1).Draw(t, "at")]
				it.rank = rapid.IntRange(0, 9).Draw(t, "rank")
				r.fix(it.pos)
			}
			slices.SortFunc(model, func(a, b *item) int {
				if less(a, b) {
					return -1
				}
				return 1
			})
			k := min(5, len(model))
			if got := r.best(nil, k); !slices.Equal(got, model[:k]) {
				t.Fatalf("best %d differ", k)
			}
			for i, it := range r.items {
				if it.pos != i {
					t.Fatalf("item at %d says %d", i, it.pos)
				}
			}
		}
	})
}

func TestTimeNeverGoesBack(t *testing.T) {
	m := New()
	last := Time(0)
	for i, stamp := range []Time{1000, 1000, 5, 1002, 2000, -7} {
		m.Apply(uint64(i+1), Command{Stamp: stamp, Body: Ticked{}})
		if want := max(last+1, stamp); m.Now() != want {
			t.Errorf("stamp %d after %d: now %d, want %d", stamp, last, m.Now(), want)
		}
		last = m.Now()
	}
}

// unknown is a command no machine knows.
type unknown struct{ Ticked }

// TestBrokenInvariantPanics: and names the log index.
func TestBrokenInvariantPanics(t *testing.T) {
	f := func(what string, run func(m *Machine)) {
		t.Helper()
		m := New()
		m.Apply(41, Command{Body: Ticked{}})
		defer func() {
			if text := fmt.Sprint(recover()); !strings.Contains(text, "index 4") {
				t.Errorf("%s: %s", what, text)
			}
		}()
		run(m)
	}
	f("an unknown command", func(m *Machine) { m.Apply(42, Command{Body: unknown{}}) })
	f("no command", func(m *Machine) { m.Apply(42, Command{}) })
	f("an index again", func(m *Machine) { m.Apply(41, Command{Body: Ticked{}}) })
	f("a timer of a call that is not there", func(m *Machine) {
		m.after(1, timerMaxWait, "c1", "")
		m.Apply(42, Command{Stamp: 100, Body: Ticked{}})
	})
	f("a timer of an unknown kind", func(m *Machine) {
		m.after(1, 99, "c1", "")
		m.Apply(42, Command{Stamp: 100, Body: Ticked{}})
	})
}

// TestSessionForgetsBelowFloor: the cache holds what the proposer may still ask
// for, answers a repeat below it without applying it, and goes when unused.
func TestSessionForgetsBelowFloor(t *testing.T) {
	m := New()
	index := uint64(0)
	propose := func(seq, floor uint64) Result {
		index++
		r, _ := m.Apply(index, Command{Session: "s", Seq: seq, Floor: floor, Body: NodeStarted{Node: "r1"}})
		return r
	}
	for _, seq := range []uint64{5, 3, 4, 9} { // commits may overtake one another
		propose(seq, 3)
	}
	if r := propose(4, 3); r.Incarnation != 3 {
		t.Errorf("repeat of 4: %+v", r)
	}
	if r := propose(9, 5); r.Incarnation != 4 {
		t.Errorf("repeat of 9: %+v", r)
	}
	propose(10, 5)
	if got := len(m.sessions["s"].Answers); got != 3 {
		t.Errorf("%d answers are kept, want those of 5, 9 and 10", got)
	}
	if r := propose(4, 5); r.Reason != ReasonForgotten {
		t.Errorf("repeat below the floor: %+v", r)
	}
	at, _ := m.NextDeadline()
	index++
	m.Apply(index, Command{Stamp: at, Body: Ticked{}})
	if at, ok := m.NextDeadline(); ok {
		index++
		m.Apply(index, Command{Stamp: at, Body: Ticked{}})
	}
	if len(m.sessions) != 0 {
		t.Error("an unused session stays")
	}
}

// TestFactsAreBounded: the oldest chunk goes, and a reader can tell.
func TestFactsAreBounded(t *testing.T) {
	m := New()
	const total = (maxFactChunks + 1) * factChunk
	for i := range uint64(total) {
		m.Apply(i+1, Command{Body: NodeStarted{Node: "r1"}})
	}
	facts := m.FactsAfter(0, 0)
	if got, want := len(facts), maxFactChunks*factChunk; got != want {
		t.Fatalf("%d facts, want %d", got, want)
	}
	if m.FactsFrom() != factChunk || facts[0].Index != factChunk+1 {
		t.Errorf("facts after %d are whole, the first is of %d", m.FactsFrom(), facts[0].Index)
	}
	if got := m.FactsAfter(total-3, 2); len(got) != 2 || got[0].Index != total-2 {
		t.Errorf("after the third last: %+v", got)
	}
	s := m.Snapshot()
	restored, err := Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(total+1, Command{Body: NodeStarted{Node: "r1"}})
	restored.Apply(total+1, Command{Body: NodeStarted{Node: "r1"}})
	if m.Hash() != restored.Hash() || m.FactsFrom() != restored.FactsFrom() {
		t.Error("a restored machine keeps other facts")
	}
}

// TestFactsOfOneIndexStayTogether: a cursor that is an index skips none.
func TestFactsOfOneIndexStayTogether(t *testing.T) {
	m := New()
	cfg := Config{Queues: []Queue{{ID: "q"}}, Agents: []Agent{{ID: "ann"}, {ID: "bob"}}}
	m.Apply(1, Command{Body: ConfigApplied{Config: cfg}})
	m.Apply(2, Command{Body: ConfigApplied{}}) // deletes both: three facts
	m.Apply(3, Command{Body: NodeStarted{Node: "r1"}})
	if got := m.FactsAfter(1, 1); len(got) != 3 {
		t.Errorf("%d facts of index 2, want all 3: %+v", len(got), got)
	}
}

// TestValidateFindsAllFaults: all at once, each with its place.
func TestValidateFindsAllFaults(t *testing.T) {
	cfg := Config{
		Trunks:      []Trunk{{ID: "a", Channels: -1}, {ID: "a"}, {}},
		MaxChannels: -1,
		Numbers:     []Number{{Number: "100", Queue: "none"}, {Number: "+1", Queue: "q"}, {Number: "+1", Queue: "q"}},
		Queues:      []Queue{{ID: "q", MaxWait: -1, Strategy: "dice"}, {ID: "q", MaxLength: -1, MissedLimit: -1}, {}},
		Agents:      []Agent{{ID: "a", Queues: []QueueID{"q", "q", "none"}, HA1SHA256: "xyz", HA1MD5: "0"}, {ID: "a"}, {}},
	}
	want := []string{
		"agents[0].ha1_md5", "agents[0].ha1_sha256", "agents[0].queues[1]", "agents[0].queues[2]", "agents[1].id", "agents[2].id",
		"max_channels", "numbers[0].number", "numbers[0].queue", "numbers[2].number",
		"queues[0].max_wait", "queues[0].strategy", "queues[1].id", "queues[1].max_length", "queues[1].missed_limit", "queues[2].id",
		"trunks[0].channels", "trunks[1].id", "trunks[2].id",
	}
	var got []string
	for _, line := range strings.Split(cfg.Validate().Error(), "\n") {
		path, _, _ := strings.Cut(line, ": ")
		got = append(got, path)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("an empty configuration: %v", err)
	}
}
