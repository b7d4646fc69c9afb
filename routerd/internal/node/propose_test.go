package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// memoryLog applies to a machine at once; it can lose answers.
type memoryLog struct {
	mu      sync.Mutex
	machine *acd.Machine
	index   uint64
	lose    int // answers to lose: the command is applied all the same
	told    []acd.Body
	late    acd.Time    // added to the stamps
	state   sync.Locker // of the node that reads the machine; nil: nobody else does
}

// since returns what was told after the first n.
func (l *memoryLog) since(n int) []acd.Body {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told[n:])
}

func (l *memoryLog) Propose(_ context.Context, data []byte) ([]byte, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		cmd, err := acdwire.DecodeCommand(data)
		if err != nil {
			return nil, 0, err
		}
		l.index++
		l.told = append(l.told, cmd.Body)
		cmd.Stamp = acd.Time(l.index) + l.late
		res := l.apply(cmd)
		if l.lose > 0 { // raftstore repeats the same bytes
			l.lose--
			continue
		}
		reply, err := acdwire.EncodeResult(res)
		return reply, l.index, err
	}
}

func (l *memoryLog) apply(cmd acd.Command) acd.Result {
	if l.state != nil {
		l.state.Lock()
		defer l.state.Unlock()
	}
	res, _ := l.machine.Apply(l.index, cmd)
	return res
}

// A proposal whose answer was lost is repeated, and still counts once.
func TestRepeatedProposalCountsOnce(t *testing.T) {
	log := &memoryLog{machine: acd.New(), lose: 2}
	p := newProposer("r1/test")
	p.log = log
	res, _, err := p.propose(t.Context(), acd.NodeStarted{Node: "r1"})
	if err != nil || res.Incarnation != 1 {
		t.Fatalf("incarnation %d, err %v: want the first attempt's, 1", res.Incarnation, err)
	}
}

// The floor never passes a number whose answer somebody still waits for.
func TestFloorWaitsForTheSlowest(t *testing.T) {
	p := newProposer("s")
	first, _ := p.begin()
	second, floor := p.begin()
	if floor != first {
		t.Fatalf("floor %d while %d is open", floor, first)
	}
	p.end(second)
	if _, floor := p.begin(); floor != first {
		t.Errorf("floor %d after the second ended, want %d", floor, first)
	}
	p.end(first)
	if _, floor := p.begin(); floor != 3 {
		t.Errorf("floor %d, want 3: the lowest still open", floor)
	}
}

func TestAGivenUpProposalDoesNotHoldTheFloor(t *testing.T) {
	p := newProposer("s")
	p.log = failingLog{}
	if _, _, err := p.propose(t.Context(), acd.Ticked{}); !errors.Is(err, context.Canceled) {
		t.Errorf("err %v, want what the log said", err)
	}
	if p.floor != 2 {
		t.Errorf("floor %d, want 2", p.floor)
	}
}

type failingLog struct{}

func (failingLog) Propose(context.Context, []byte) ([]byte, uint64, error) {
	return nil, 0, context.Canceled
}
