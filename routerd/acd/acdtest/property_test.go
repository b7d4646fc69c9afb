package acdtest

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"pgregory.net/rapid"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// drawn takes its choices from rapid, which prints the seed and shrinks.
type drawn struct{ t *rapid.T }

func (d drawn) Int(n int, what string) int { return rapid.IntRange(0, n-1).Draw(d.t, what) }

// TestEverythingComesToItsEnd: under random callers, phones, deaths, losses and
// repeats every promise of Check holds after every command on two replicas,
// one of them restarted from snapshots; and when it becomes quiet every call
// ends and no agent stays held.
func TestEverythingComesToItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, err := NewFarEnd(drawn{t})
		if err != nil {
			t.Fatal(err)
		}
		steps := rapid.IntRange(20, 150).Draw(t, "steps")
		for i := range steps {
			if i%29 == 28 {
				if err := f.RestartTwin(); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.drain(); err != nil {
			t.Fatal(err)
		}
		replay(t, f)
	})
}

var (
	seed  = flag.Uint64("seed", 0, "run TestLongDay with this seed only")
	seeds = flag.Uint64("seeds", 6, "run TestLongDay with this many new seeds")
)

// even takes its choices evenly from a seed; rapid prefers small ones.
type even struct{ r *rand.Rand }

func (e even) Int(n int, _ string) int { return e.r.IntN(n) }

// TestLongDay: the same, longer, with even odds. "-seed N" repeats a failure.
func TestLongDay(t *testing.T) {
	list := []uint64{*seed}
	if *seed == 0 {
		list = nil
		for range *seeds {
			list = append(list, rand.Uint64())
		}
	}
	for _, seed := range list {
		day(t, seed, 1500)
		if t.Failed() {
			t.Fatalf("go test ./routerd/acd/acdtest -run TestLongDay -seed %d", seed)
		}
	}
}

func day(t *testing.T, seed uint64, steps int) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	f, err := NewFarEnd(even{rand.New(rand.NewPCG(seed, 0))})
	if err != nil {
		t.Error(err)
		return
	}
	for i := range steps {
		if i%97 == 96 {
			err = f.RestartTwin()
		}
		if err == nil {
			err = f.Step()
		}
		if err != nil {
			t.Errorf("step %d: %v", i, err)
			return
		}
	}
	if err := f.drain(); err != nil {
		t.Error(err)
	}
}

// TestSnapshotBesideApply: a snapshot written while the machine goes on holds
// the state of the moment it was taken (the race detector watches as well).
func TestSnapshotBesideApply(t *testing.T) {
	f, err := NewFarEnd(even{rand.New(rand.NewPCG(1, 2))})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		s, sum := f.M.Snapshot(), f.M.Hash()
		written := make(chan error, 1)
		go func() { written <- rewritten(s, sum) }()
		for range 30 {
			if err := f.Step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
}

func rewritten(s *acd.State, sum [32]byte) error {
	var buf bytes.Buffer
	if err := acdwire.EncodeState(&buf, s); err != nil {
		return err
	}
	got, err := acdwire.DecodeState(&buf)
	if err == nil && got.Hash() != sum {
		err = errors.New("the snapshot holds another state")
	}
	return err
}

// replay applies the whole log again to an empty machine.
func replay(t *rapid.T, f *FarEnd) {
	m := acd.New()
	for _, e := range f.Log() {
		if _, _, err := ApplyEntry(m, e); err != nil {
			t.Fatal(err)
		}
	}
	if m.Hash() != f.M.Hash() {
		t.Fatalf("the log replays to %x, not %x", m.Hash(), f.M.Hash())
	}
}
