package totals

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
	"trunkline/routerd/internal/facts"
)

// drawn takes a simulation's choices from rapid, which prints the seed and shrinks.
type drawn struct{ t *rapid.T }

func (d drawn) Int(n int, what string) int { return rapid.IntRange(0, n-1).Draw(d.t, what) }

// even takes them evenly from a seed.
type even struct{ r *rand.Rand }

func (e even) Int(n int, _ string) int { return e.r.IntN(n) }

// fill stores the facts in a file.
func fill(t interface {
	Fatal(...any)
	Helper()
}, s *facts.Store, list []acd.Fact) {
	t.Helper()
	b := facts.Batch{After: s.Cursor(), Upto: list[len(list)-1].Index, Facts: list}
	if err := s.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

// simulate returns the facts of random calls, agents and deaths.
func simulate(t interface{ Fatal(...any) }, dice acdtest.Dice, steps int) []acd.Fact {
	f, err := acdtest.NewFarEnd(dice)
	if err != nil {
		t.Fatal(err)
	}
	for range steps {
		if err := f.Step(); err != nil {
			t.Fatal(err)
		}
	}
	return f.M.FactsAfter(0, 0)
}

// moved is the same history at another time and slower: so it passes through
// more intervals, and through changes of the clock.
func moved(list []acd.Fact, base acd.Time, slower int64) []acd.Fact {
	from := list[0].At
	move := func(t acd.Time) acd.Time {
		if t == 0 {
			return 0
		}
		return base + (t-from)*acd.Time(slower)
	}
	out := slices.Clone(list)
	for i := range out {
		f := &out[i]
		f.At = move(f.At)
		f.Attrs = slices.Clone(f.Attrs)
		for j, a := range f.Attrs {
			switch a.Key {
			case "arrived", "answered", "enqueued", "bridged", "ended", "started":
				if t, err := strconv.ParseInt(a.Value, 10, 64); err == nil {
					f.Attrs[j].Value = strconv.FormatInt(int64(move(acd.Time(t))), 10)
				}
			}
		}
	}
	return out
}

// TestFactsAndRecordsGiveTheSameTotals: whatever happens, at every interval, in
// every zone, and for any part of the history.
func TestFactsAndRecordsGiveTheSameTotals(t *testing.T) {
	dir := t.TempDir()
	files := 0
	rapid.Check(t, func(t *rapid.T) {
		list := simulate(t, drawn{t}, rapid.IntRange(30, 200).Draw(t, "steps"))
		base := rapid.SampledFrom([]string{"2026-03-01T09:00:00Z", "2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z", "2026-12-31T22:00:00Z"}).Draw(t, "base")
		list = moved(list, at(base), rapid.SampledFrom([]int64{1, 20, 200}).Draw(t, "slower"))
		files++
		s, err := facts.Open(filepath.Join(dir, time.Duration(files).String()))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fill(t, s, list)
		for range 4 {
			compare(t, s, list, drawnSettings(t, list))
		}
	})
}

// TestTotalsOfEveryScript: of every story that is told of the machine, whole and
// cut off at each end of a call or of a conversation.
func TestTotalsOfEveryScript(t *testing.T) {
	files, err := filepath.Glob("../../../acd/acdtest/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	dir, ran, counted := t.TempDir(), 0, 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			ran++
			list, err := acdtest.FileFacts(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 || len(list) > 2000 { // a story of no calls
				return
			}
			s, err := facts.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			fill(t, s, list)
			set := Settings{Interval: QuarterHour, Zone: time.UTC, Threshold: 20 * time.Second, Short: 5 * time.Second, From: list[0].At, To: list[len(list)-1].At + 1}
			for _, q := range compare(t, s, list, set).Queues {
				counted += int(q.Answered)
			}
			for _, f := range list {
				if f.Kind == acd.FactLegEnded || f.Kind == acd.FactCallEnded {
					part := set
					part.To = f.At + 1
					compare(t, s, list, part)
				}
			}
		})
	}
	if ran == len(files) && counted < 100 {
		t.Errorf("only %d calls were answered in all of them", counted)
	}
}

func drawnSettings(t *rapid.T, list []acd.Fact) Settings {
	set := Settings{
		Interval:  rapid.SampledFrom(Intervals).Draw(t, "interval"),
		Zone:      zone(t, rapid.SampledFrom([]string{"UTC", "Europe/Moscow", "Europe/Berlin", "Asia/Kathmandu"}).Draw(t, "zone")),
		Threshold: time.Duration(rapid.IntRange(0, 60).Draw(t, "threshold")) * time.Second,
		Short:     time.Duration(rapid.IntRange(0, 20).Draw(t, "short")) * time.Second,
		From:      list[0].At, To: list[len(list)-1].At + 1,
	}
	if rapid.Bool().Draw(t, "part") {
		set.From = rapid.SampledFrom(list).Draw(t, "from").At + acd.Time(rapid.IntRange(-1, 1).Draw(t, "off"))
		set.To = max(set.From, rapid.SampledFrom(list).Draw(t, "to").At+acd.Time(rapid.IntRange(-1, 1).Draw(t, "off")))
	}
	return set
}

// compare counts in three ways: from the file's records, from its facts, and
// from the whole stream of facts without a file.
func compare(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
	Helper()
}, s *facts.Store, list []acd.Fact, set Settings) Table {
	t.Helper()
	records, err := OfRecords(context.Background(), s, set)
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := OfFacts(context.Background(), s, set)
	if err != nil {
		t.Fatal(err)
	}
	stream := FromFacts(set, nil)
	for _, f := range list {
		stream.Fact(f)
	}
	if diff := Compare(records, fromFile, 3); len(diff) > 0 {
		t.Fatalf("%+v: records and facts of the file differ: %q", set, diff)
	}
	if diff := Compare(records, stream.Table(), 3); len(diff) > 0 {
		t.Fatalf("%+v: records and the stream of facts differ: %q", set, diff)
	}
	return records
}

// A longer day with even odds, cut into quarters of an hour: none of the figures
// is 0 everywhere, so that the comparison above is of something.
func TestTotalsOfALongDay(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 6))
	list := moved(simulate(t, even{r}, 8000), at("2026-10-25T00:00:00Z"), 3)
	s, err := facts.Open(filepath.Join(t.TempDir(), "facts"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, list)
	set := Settings{Interval: QuarterHour, Zone: zone(t, "Europe/Berlin"), Threshold: 4 * time.Minute, Short: 2 * time.Minute, From: list[0].At, To: list[len(list)-1].At + 1}
	// Parts of the day begin and end amid calls, with callbacks that were promised
	// before and customers who call after.
	for range 30 {
		part := set
		part.From = list[r.IntN(len(list))].At + acd.Time(r.IntN(3)-1)
		part.To = max(part.From, list[r.IntN(len(list))].At+acd.Time(r.IntN(3)-1))
		compare(t, s, list, part)
	}
	table := compare(t, s, list, set)
	var all Queue
	for _, q := range table.Queues {
		all.Add(q)
		if q.Arrived != q.Early+q.Merged+q.Offered || q.Offered != q.Answered+q.Abandoned+q.Dropped {
			t.Errorf("figures don't add up: %+v", q)
		}
	}
	var agents Agent
	for _, a := range table.Agents {
		agents.Handled += a.Handled
		agents.Talk += a.Talk
		agents.Available += a.Available
		agents.Ringing += a.Ringing
		agents.InCall += a.InCall
		agents.WrapUp += a.WrapUp
		agents.OnBreak += a.OnBreak
	}
	for _, v := range []any{all, agents} {
		r := reflect.ValueOf(v)
		for i := range r.NumField() {
			switch name := r.Type().Field(i).Name; {
			case name == "Start" || name == "Queue" || name == "Agent" || name == "Training":
			case r.Field(i).IsZero():
				t.Errorf("%s is 0 all day: the test shows nothing of it", name)
			}
		}
	}
	// Calls that somebody outside answered are no agent's.
	if all.Answered < agents.Handled || all.Talk < agents.Talk || all.InCall != agents.InCall || all.WrapUp != agents.WrapUp || all.Ringing != agents.Ringing {
		t.Errorf("queues together %+v\nagents together %+v", all, agents)
	}
	if len(table.Queues) < 8 {
		t.Errorf("only %d rows", len(table.Queues))
	}
}
