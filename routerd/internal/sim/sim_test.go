package sim

import (
	"os"
	"strconv"
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

func TestASeedGivesOneTrace(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		a, b := Run(seed, nil), Run(seed, nil)
		if a.Digest != b.Digest || a.Lines != b.Lines || a.Entries != b.Entries {
			t.Errorf("seed %d: %d lines with digest %x, then %d with %x", seed, a.Lines, a.Digest, b.Lines, b.Digest)
		}
	}
}
