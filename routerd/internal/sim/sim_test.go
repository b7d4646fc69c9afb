package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// seedsOf reads how many seeds to run, and from which on.
func seedsOf(t *testing.T, n uint64) (from, to uint64) {
	t.Helper()
	number := func(name string, v uint64) uint64 {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return n
		}
		return v
	}
	if raced {
		n /= 10
	}
	from = number("FROM", 1)
	return from, from + number("SEEDS", n)
}

func TestEveryPromiseHolds(t *testing.T) {
	from, to := seedsOf(t, 40)
	for seed := from; seed < to; seed++ {
		if o := Run(seed, nil); o.Failure != nil {
			t.Errorf("%s: %v", o.Profile, o.Failure)
		}
	}
}

// TestKnownSeeds runs the seeds that once failed.
func TestKnownSeeds(t *testing.T) {
	data, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		number, story, _ := strings.Cut(strings.TrimSpace(line), " ")
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil || story == "" {
			t.Fatalf("testdata/seeds.txt: %q is not a seed and its story", line)
		}
		if ran++; raced && ran > 2 {
			continue
		}
		if o := Run(seed, nil); o.Failure != nil {
			t.Errorf("%s (%s)", o.Failure, story)
		}
	}
	if ran == 0 {
		t.Error("no seeds")
	}
}

func TestASeedGivesOneTrace(t *testing.T) {
	_, to := seedsOf(t, 4)
	for seed := uint64(1); seed < min(to, 4); seed++ {
		a, b := Run(seed, nil), Run(seed, nil)
		if a.Digest != b.Digest || a.Lines != b.Lines || a.Entries != b.Entries {
			t.Errorf("seed %d: %d lines with digest %x, then %d with %x", seed, a.Lines, a.Digest, b.Lines, b.Digest)
		}
	}
}
