package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

const (
	// clientCount clients share keyCount registers, so that they meet.
	clientCount = 6
	keyCount    = 4
	// attemptPatience is after which a client turns to another node.
	attemptPatience = 700 * time.Millisecond
)

// clients propose to nodes, each as one session with one command under way, and
// keep what was answered and when. A command without an answer is repeated at
// another node with its number, as a router does it; so it counts as one that
// was under way all the time.
type clients struct {
	list  processes
	began time.Time
	stop  chan struct{}
	wg    sync.WaitGroup
	done  atomic.Int64

	mu      sync.Mutex
	history []porcupine.Operation
	faults  []string
}

var lifeOfClients atomic.Int64

func startClients(tb testing.TB, list processes) *clients {
	c := &clients{list: list, began: time.Now(), stop: make(chan struct{})}
	life := lifeOfClients.Add(1)
	seed := rand.Uint64()
	tb.Logf("clients of seed %d", seed)
	for i := range clientCount {
		c.wg.Go(func() { c.run(i, life, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	tb.Cleanup(c.end)
	return c
}

func (c *clients) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.wg.Wait()
}

func (c *clients) run(id int, life int64, random *rand.Rand) {
	at := id
	for seq := uint64(1); ; seq++ {
		op := raftstoretest.Op{
			Session: fmt.Sprintf("life %d client %d", life, id), Seq: seq,
			Key: fmt.Sprintf("life %d key %d", life, random.IntN(keyCount)),
		}
		mine := fmt.Sprintf("%d.%d ", id, seq)
		switch random.IntN(5) {
		case 0:
			op.Kind, op.Value = raftstoretest.OpWrite, mine
		case 1:
			op.Kind, op.Value = raftstoretest.OpSwap, mine
			op.Expect = fmt.Sprintf("%d.%d ", random.IntN(clientCount), max(int(seq)-1+random.IntN(3), 1))
		case 2:
			op.Kind, op.Value = raftstoretest.OpAppend, mine
		default:
			op.Kind = raftstoretest.OpRead
		}
		call := time.Since(c.began)
		out, ok := c.do(&at, op)
		answered := porcupine.Operation{ClientId: id, Input: op, Call: int64(call), Output: out, Return: int64(time.Since(c.began))}
		if !ok {
			// Nobody knows whether it was done, or will be.
			answered.Output, answered.Return = nil, int64(time.Since(c.began)+time.Hour)
		}
		c.mu.Lock()
		c.history = append(c.history, answered)
		c.mu.Unlock()
		if !ok {
			return
		}
		c.done.Add(1)
		if random.IntN(8) == 0 && !c.repeat(&at, op, out) {
			return
		}
		// Think a little: the history must stay short enough to be judged.
		select {
		case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
		case <-c.stop:
			return
		}
	}
}

// repeat sends an answered command once more, as one whose answer was lost: it
// must get that answer again and do nothing.
func (c *clients) repeat(at *int, op raftstoretest.Op, out raftstoretest.Outcome) bool {
	*at++
	again, ok := c.do(at, op)
	if ok && again != out {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults = append(c.faults, fmt.Sprintf("%+v was answered %+v and then %+v", op, out, again))
	}
	return ok
}

// do repeats a command until it is answered; not ok means that the clients
// were stopped before.
func (c *clients) do(at *int, op raftstoretest.Op) (raftstoretest.Outcome, bool) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), attemptPatience)
		out, err := c.list[*at%len(c.list)].Do(ctx, op)
		cancel()
		if err == nil {
			return out, true
		}
		*at++
		pause := time.Millisecond
		if errors.Is(err, raftstoretest.ErrEnded) {
			pause = 10 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-c.stop:
			return out, false
		}
	}
}

// served waits until as many more commands were answered.
func (c *clients) served(tb testing.TB, more int) {
	tb.Helper()
	goal := c.done.Load() + int64(more)
	raftstoretest.Await(tb, fmt.Sprintf("%d more commands to be answered", more), func() bool { return c.done.Load() >= goal })
}

func (c *clients) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.history)
}

// check stops the clients and judges what they saw.
func (c *clients) check(tb testing.TB) {
	tb.Helper()
	c.end()
	for _, f := range c.faults {
		tb.Error(f)
	}
	began := time.Now()
	result := porcupine.CheckOperationsTimeout(registerModel, c.history, time.Minute)
	tb.Logf("%d commands judged in %s: %s", len(c.history), time.Since(began).Round(time.Millisecond), result)
	if result != porcupine.Ok {
		tb.Errorf("the history of %d commands is not linearizable: %s", len(c.history), result)
	}
}

// registerModel is a register that forgets nothing and never repeats: that
// repeats are harmless is what is to be shown.
var registerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(raftstoretest.Op).Key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range byKey {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		now, out := input.(raftstoretest.Op).Apply(state.(string))
		return output == nil || out == output.(raftstoretest.Outcome), now
	},
	Equal: func(a, b any) bool { return a == b },
}

// The judge must find what it is there for.
func TestJudgeFindsFaults(t *testing.T) {
	op := func(client int, kind raftstoretest.OpKind, value string, call, ret int64, held string) porcupine.Operation {
		return porcupine.Operation{
			ClientId: client, Input: raftstoretest.Op{Kind: kind, Value: value}, Call: call, Return: ret,
			Output: raftstoretest.Outcome{Value: held, OK: true},
		}
	}
	const write, read, add = raftstoretest.OpWrite, raftstoretest.OpRead, raftstoretest.OpAppend
	f := func(what string, want bool, history ...porcupine.Operation) {
		t.Helper()
		if got := porcupine.CheckOperations(registerModel, history); got != want {
			t.Errorf("%s: judged %v", what, got)
		}
	}
	f("a good history", true, op(1, write, "a", 0, 10, ""), op(2, read, "", 5, 15, "a"), op(3, read, "", 2, 4, ""))
	f("an acknowledged write is lost", false, op(1, write, "a", 0, 10, ""), op(2, read, "", 11, 12, ""))
	f("an append is done twice", false, op(1, add, "a", 0, 10, ""), op(2, read, "", 11, 12, "aa"))
	f("a read from an old leader", false, op(1, write, "a", 0, 1, ""), op(2, write, "b", 2, 3, "a"), op(3, read, "", 4, 5, "a"))
	f("two leaders", false, op(1, add, "a", 0, 10, ""), op(2, add, "b", 0, 10, ""), op(3, read, "", 11, 12, "b"))
}

func stats(tb testing.TB, p *raftstoretest.Process) raftstore.Stats {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	st, err := p.Stats(ctx)
	if err != nil {
		tb.Fatalf("%s: %v", p.ID, err)
	}
	return st
}
