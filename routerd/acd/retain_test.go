package acd

import (
	"testing"
	"time"
)

// retainer is a machine whose agent changes status at every command: one fact
// each.
type retainer struct {
	t     *testing.T
	m     *Machine
	index uint64
	now   Time
}

func newRetainer(t *testing.T, nodes ...NodeID) *retainer {
	r := &retainer{t: t, m: New(), now: 1}
	for _, n := range nodes {
		r.apply(NodeStarted{Node: n})
	}
	r.apply(ConfigApplied{Config: Config{Queues: []Queue{{ID: "q"}}, Agents: []Agent{{ID: "ann", Queues: []QueueID{"q"}}}}})
	return r
}

func (r *retainer) apply(body Body) Result {
	r.index++
	r.now++
	res, _ := r.m.Apply(r.index, Command{Stamp: r.now, Body: body})
	return res
}

func (r *retainer) facts(n int) {
	for i := range n {
		r.apply(AgentStatusSet{Agent: "ann", Status: []AgentStatus{OnBreak, Training}[i%2]})
	}
}

// kept fails unless the state holds whole chunks of facts, as many as said.
func (r *retainer) kept(chunks int, when string) {
	r.t.Helper()
	if got := len(r.m.facts.chunks); got != chunks {
		r.t.Errorf("%s: %d chunks, want %d", when, got, chunks)
	}
	list := r.m.FactsAfter(r.m.FactsFrom(), 0)
	if from := r.m.FactsFrom(); len(list) > 0 && list[0].Index <= from {
		r.t.Errorf("%s: facts after %d begin with %d", when, from, list[0].Index)
	}
}

// Facts wait in the state for the slowest router, and for one that died a short
// while ago, but neither for ever nor beyond the bound.
func TestFactsWaitForEveryRouter(t *testing.T) {
	r := newRetainer(t, "r1", "r2", "r3")
	r.facts(5 * factChunk)
	r.kept(6, "nobody has confirmed")
	all := r.index
	r.apply(FactsConfirmed{Node: "r1", Index: all})
	r.apply(FactsConfirmed{Node: "r2", Index: all})
	r.kept(6, "r3 has not confirmed")
	r.apply(FactsConfirmed{Node: "r3", Index: 2*factChunk + 10})
	r.kept(4, "r3 has two chunks and a bit")
	if got := r.m.FactsConfirmed("r3"); got != 2*factChunk+10 {
		t.Errorf("r3 confirmed %d", got)
	}
	if res := r.apply(FactsConfirmed{Node: "r3", Index: 5}); res.Applied || res.Reason != ReasonUnchanged || r.m.FactsConfirmed("r3") != 2*factChunk+10 {
		t.Errorf("a confirmation went back: %+v", res)
	}

	r.apply(NodeDied{Owner{"r3", 3}})
	r.apply(FactsConfirmed{Node: "r1", Index: r.index})
	r.kept(4, "r3 died a moment ago")
	r.now = r.now.Add(recentDeath + time.Second)
	r.apply(FactsConfirmed{Node: "r1", Index: r.index})
	r.kept(1, "r3 died long ago")
	r.apply(NodeStarted{Node: "r3"})
	r.facts(2 * factChunk)
	r.apply(FactsConfirmed{Node: "r1", Index: r.index})
	r.apply(FactsConfirmed{Node: "r2", Index: r.index})
	r.kept(3, "r3 is back and has not caught up")
	r.facts((maxFactChunks + 3) * factChunk)
	r.kept(maxFactChunks, "r3 never confirms")
}

// What is dropped and what stays leave no hole and no repeat between them.
func TestReaderAtTheEdgeOfTheTailMissesNothing(t *testing.T) {
	r := newRetainer(t, "r1")
	r.facts(3*factChunk + 100)
	whole := r.m.FactsAfter(0, 0)
	for _, cursor := range []uint64{10, factChunk, factChunk + 1, 2*factChunk + 500, 3 * factChunk} {
		r.apply(FactsConfirmed{Node: "r1", Index: cursor})
		if r.m.FactsFrom() > cursor {
			t.Errorf("facts up to %d are gone, only those up to %d were confirmed", r.m.FactsFrom(), cursor)
		}
		rest := r.m.FactsAfter(cursor, 0)
		i := 0
		for i < len(whole) && whole[i].Index <= cursor {
			i++
		}
		if len(rest) != len(whole)-i || rest[0].Index != whole[i].Index || rest[0].N != whole[i].N {
			t.Errorf("after %d there are %d facts from %d on, want %d from %d on", cursor, len(rest), rest[0].Index, len(whole)-i, whole[i].Index)
		}
	}
	if r.m.FactsFrom() == 0 {
		t.Error("nothing was dropped: the test shows nothing")
	}
	m, err := Restore(r.m.Snapshot())
	if err != nil || m.FactsFrom() != r.m.FactsFrom() || m.Hash() != r.m.Hash() || m.FactsConfirmed("r1") != 3*factChunk {
		t.Errorf("restored: %v, facts from %d", err, m.FactsFrom())
	}
}

func TestConfirmationsOfNobodyAreNoOps(t *testing.T) {
	r := newRetainer(t, "r1")
	f := func(body Body, reason string) {
		t.Helper()
		if res := r.apply(body); res.Applied || res.Reason != reason {
			t.Errorf("%+v: %+v, want %s", body, res, reason)
		}
	}
	f(FactsConfirmed{Node: "r9", Index: 1}, ReasonUnknownNode)
	f(FactsConfirmed{Node: "r1", Index: r.index + 1}, ReasonUnexpected)
	f(SinkConfirmed{Sink: "", Index: 1}, ReasonUnknownSink)
	f(SinkConfirmed{Sink: "pg", Index: r.index + 1}, ReasonUnexpected)
	if res := r.apply(SinkConfirmed{Sink: "pg", Index: 2}); !res.Applied || r.m.SinkConfirmed("pg") != 2 {
		t.Errorf("%+v", res)
	}
	f(SinkConfirmed{Sink: "pg", Index: 1}, ReasonUnchanged)
	for i := range maxSinks - 1 {
		r.apply(SinkConfirmed{Sink: itoa(i), Index: 1})
	}
	f(SinkConfirmed{Sink: "one too many", Index: 1}, ReasonUnknownSink)
	if res := r.apply(SinkConfirmed{Sink: "pg", Index: 3}); !res.Applied {
		t.Errorf("a known sink is refused: %+v", res)
	}
}

// A router's file chains what it reads; it must come to the machine's own sum.
func TestFactsChainToTheMachinesSum(t *testing.T) {
	r := newRetainer(t, "r1")
	r.apply(CallArrived{OnCall: OnCall{Call: "c\xff"}, Owner: Owner{"r1", 1}, From: "", To: "+7\x00"})
	r.facts(2000)
	sum := uint64(0)
	for _, f := range r.m.FactsAfter(0, 0) {
		sum = f.Chain(sum)
	}
	if sum != r.m.FactsSum() || sum == 0 {
		t.Errorf("chained %x, the machine's sum is %x", sum, r.m.FactsSum())
	}
}
