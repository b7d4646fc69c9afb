package acdtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"trunkline/routerd/acd"
)

var record = flag.Bool("record", false, "write the golden logs of acd.MaxVersion, which must not be there yet")

// goldenDays are the random days that are kept of each version, by seed.
var goldenDays = []uint64{1, 2, 3}

// goldenSteps make a day of some 3 000 entries.
const goldenSteps = 3000

// TestGoldenLogs: the logs of every version that was released lead to the state
// they led to then, whatever the build behaves like since. A version counts as
// released once its logs are written:
//
//	go test ./routerd/acd/acdtest -run TestGoldenLogs -record
//
// A version below MaxVersion must have them.
func TestGoldenLogs(t *testing.T) {
	if *record {
		recordGolden(t, "testdata/golden", fmt.Sprintf("v%d-", acd.MaxVersion))
	}
	for v := uint32(1); v <= acd.MaxVersion; v++ {
		files, err := filepath.Glob(fmt.Sprintf("testdata/golden/v%d-*.log", v))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			if v < acd.MaxVersion {
				t.Errorf("no golden logs of version %d", v)
			}
			t.Logf("version %d is not released yet: it has no golden logs", v)
		}
		for _, file := range files {
			if err := ReplayGolden(file); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestGoldenLogsTellChanges: what is written replays, is not overwritten, and a
// log that leads to another state is an error.
func TestGoldenLogsTellChanges(t *testing.T) {
	dir := t.TempDir()
	d, err := goldenDay(4, 200)
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := filepath.Join(dir, "right.log"), filepath.Join(dir, "wrong.log")
	if err := WriteGolden(right, d.Log(), d.M.Hash()); err != nil {
		t.Fatal(err)
	}
	if err := ReplayGolden(right); err != nil {
		t.Error(err)
	}
	if WriteGolden(right, d.Log(), d.M.Hash()) == nil {
		t.Error("a golden log was overwritten")
	}
	if err := WriteGolden(wrong, d.Log()[:len(d.Log())-1], d.M.Hash()); err != nil {
		t.Fatal(err)
	}
	if ReplayGolden(wrong) == nil {
		t.Error("another state was taken for the same")
	}
}

// recordGolden writes the random days and every script.
func recordGolden(t *testing.T, dir, prefix string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, seed := range goldenDays {
		d, err := goldenDay(seed, goldenSteps)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteGolden(filepath.Join(dir, fmt.Sprintf("%sday-%d.log", prefix, seed)), d.Log(), d.M.Hash()); err != nil {
			t.Fatal(err)
		}
	}
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range scripts {
		d, err := driverOf(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		name = prefix + "script-" + name[:len(name)-len(filepath.Ext(name))] + ".log"
		if err := WriteGolden(filepath.Join(dir, name), d.Log(), d.M.Hash()); err != nil {
			t.Fatal(err)
		}
	}
}

// driverOf runs a script and returns what it drove.
func driverOf(path string) (*Driver, error) {
	s := &script{Driver: NewDriver()}
	_, _, err := s.runFile(path)
	return s.Driver, err
}

// goldenDay is a random day whose end is left open.
func goldenDay(seed uint64, steps int) (*Driver, error) {
	f, err := NewFarEnd(even{rand.New(rand.NewPCG(seed, 0))})
	for range steps {
		if err == nil {
			err = f.Step()
		}
	}
	return f.Driver, err
}
