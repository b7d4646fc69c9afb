package acdtest

import (
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	steps    = flag.Int("steps", 30_000, "commands that TestTwin compares")
	twinSeed = flag.Uint64("twin-seed", 0, "run one world of TestTwin with this seed")
	twinFrom = flag.Uint64("twin-from", 0, "the first of TestTwin's seeds; 0: any")
)

// worldSteps is how many steps one random world of TestTwin takes.
const worldSteps = 2_000

// TestTwin: after every command the machine has offered exactly what the naive
// twin would have, whatever the strategies, rings, tiers, weights, priorities
// and changes of configuration. "-twin-seed N" repeats a failure, "-twin-from N"
// a whole run.
func TestTwin(t *testing.T) {
	if *twinSeed != 0 {
		t.Log(compareWorld(t, *twinSeed))
		return
	}
	from := *twinFrom
	if from == 0 {
		from = rand.Uint64()
	}
	var commands, offers, worlds atomic.Int64
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() {
			for int(commands.Load()) < *steps && !t.Failed() {
				n, made := compareWorld(t, from+uint64(worlds.Add(1)))
				commands.Add(n)
				offers.Add(made)
			}
		})
	}
	g.Wait()
	t.Logf("%d commands and %d offers in %d worlds from seed %d on", commands.Load(), offers.Load(), worlds.Load(), from)
	if offers.Load() < commands.Load()/100 {
		t.Errorf("only %d offers: the worlds are too quiet to prove anything", offers.Load())
	}
}

func compareWorld(t *testing.T, seed uint64) (commands, offers int64) {
	f, err := newFarEnd(even{rand.New(rand.NewPCG(seed, 0))}, true)
	for i := 0; err == nil && i < worldSteps; i++ {
		err = f.Step()
	}
	if err != nil {
		t.Errorf("%v\ngo test ./routerd/acd/acdtest -run TestTwin -twin-seed %d", err, seed)
	}
	return int64(f.index), int64(f.plain.Offers)
}
