package acdtest

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"trunkline/routerd/acd"
)

// TestWhateverCrosses: legs are answered, refused, held and end at any moment,
// deadlines pass within the command that comes next, and agents supervise, pick up,
// transfer and join all the while: no promise of Check is broken and nothing panics.
// "-seed N" repeats a failure.
func TestWhateverCrosses(t *testing.T) {
	from, n := *seed, uint64(1)
	if from == 0 {
		from, n = rand.Uint64(), *seeds
	}
	commands := uint64(0)
	for i := range n {
		at, err := crossings(from+i, 2500)
		if err != nil {
			t.Fatalf("%v\ngo test ./routerd/acd/acdtest -run TestWhateverCrosses -seed %d", err, from+i)
		}
		commands += at
	}
	t.Logf("%d commands in %d worlds from seed %d on", commands, n, from)
}

func crossings(seed uint64, steps int) (commands uint64, err error) {
	f, err := newFarEnd(even{rand.New(rand.NewPCG(seed, 0))}, true)
	if err != nil {
		return 0, err
	}
	f.Crossing = true
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("index %d: %v\n%s", f.index, r, debug.Stack())
		}
	}()
	for i := 0; err == nil && i < steps; i++ {
		if f.dice.Int(3, "crosses") > 0 {
			err = f.Step()
			continue
		}
		if f.dice.Int(4, "passes") == 0 {
			f.Clock = f.Clock.Add(time.Duration(f.dice.Int(20_000, "time")) * time.Millisecond)
		}
		err = f.cross()
	}
	return f.index, err
}

// cross lets something happen that nobody would expect just now.
func (f *FarEnd) cross() error {
	a := simAgents[f.dice.Int(len(simAgents), "agent")]
	switch f.dice.Int(8, "what crosses") {
	case 0, 1:
		return f.supervise(a)
	case 2:
		return f.pickUp(a)
	case 3:
		return f.transfer()
	case 4:
		return f.join()
	}
	calls := f.M.Calls()
	if len(calls) == 0 {
		return f.next()
	}
	c := calls[f.dice.Int(len(calls), "call")]
	if len(c.Legs) == 0 {
		return f.next()
	}
	l := c.Legs[f.dice.Int(len(c.Legs), "leg")].ID
	on := acd.OnCall{Call: c.ID, Epoch: c.Epoch}
	switch f.dice.Int(6, "report") {
	case 0:
		address := []string{"m1.1", "m2.1", "gone"}[f.dice.Int(3, "address")]
		return f.propose("crossing answer", acd.LegAnswered{OnCall: on, Leg: l, Media: acd.Media{Address: address}, Unheard: f.dice.Int(2, "unheard") == 0})
	case 1:
		return f.propose("crossing failure", acd.LegFailed{OnCall: on, Leg: l, Code: []int{480, 486, 487, 603}[f.dice.Int(4, "code")]})
	case 2:
		return f.propose("crossing hold", acd.LegHeld{OnCall: on, Leg: l})
	case 3:
		return f.propose("crossing resume", acd.LegResumed{OnCall: on, Leg: l})
	case 4:
		return f.propose("crossing audit", acd.DialogsAudited{Owner: c.Owner, Missing: []acd.LegRef{{Call: c.ID, Leg: l, Epoch: c.Epoch}}})
	}
	return f.propose("crossing end", acd.LegEnded{OnCall: on, Leg: l, Cause: "bye"})
}
