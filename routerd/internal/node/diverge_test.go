package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
)

// replicas are nodes without sockets on a real replicated log.
type replicas struct {
	*raftstoretest.Cluster
	t     *testing.T
	nodes map[string]*replica
}

type replica struct {
	*Node
	stopped atomic.Int64 // how often it halted
}

func newReplicas(t *testing.T) *replicas {
	r := &replicas{t: t, nodes: map[string]*replica{}}
	data := t.TempDir()
	r.Cluster = raftstoretest.New(t, 3, func(id string) raftstore.StateMachine {
		r.nodes[id] = newReplica(t, id, filepath.Join(data, id))
		return fsm{r.nodes[id].Node}
	})
	for _, member := range r.Nodes {
		member.Config.Dir = filepath.Join(data, member.ID, "raft")
		r.start(member)
	}
	return r
}

func newReplica(t *testing.T, id, data string) *replica {
	life, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	n := &replica{Node: &Node{
		id: acd.NodeID(id), life: life, machine: acd.New(), deadlineMoved: make(chan struct{}, 1), actors: map[acd.CallID]*actor{},
		log: raftstoretest.Logger(t).With("node", id), conf: &config.Config{Node: id, Data: data},
		proposer: newProposer(fmt.Sprint(id, "/", time.Now().UnixNano())),
	}}
	n.exit = func(int) { n.stopped.Add(1); end() }
	return n
}

func (r *replicas) start(member *raftstoretest.Node) *replica {
	r.t.Helper()
	r.Start(member)
	n := r.nodes[member.ID]
	n.store, n.proposer.log = member.Store, member.Store
	return n
}

func (r *replicas) begin(n *replica) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if _, index, err := n.proposer.propose(ctx, acd.NodeStarted{Node: n.id}); err != nil || !n.waitApplied(ctx.Done(), index) {
		r.t.Fatal(err)
	}
}

// tick proposes so many commands.
func (r *replicas) tick(n *replica, count int) (index uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Second)
	defer cancel()
	for range count {
		var err error
		if _, index, err = n.proposer.propose(ctx, acd.Ticked{}); err != nil {
			r.t.Fatal(err)
		}
	}
	return index
}

func (n *replica) node(id acd.NodeID) (found acd.Node) {
	n.view(func(m *acd.Machine) {
		for _, x := range m.Nodes() {
			if x.ID == id {
				found = x
			}
		}
	})
	return found
}

// A router whose state goes wrong is found by comparing states, stops, and
// comes back with the state of the others, by its own log and with its vote.
func TestTheOddRouterStartsOver(t *testing.T) {
	r := newReplicas(t)
	n1, odd := r.nodes["r1"], r.nodes["r3"]
	for _, n := range r.nodes {
		r.begin(n)
	}
	r.tick(n1, compareEvery+20)
	raftstoretest.Await(t, "all agree", func() bool {
		return n1.node("r1").Agreed > 0 && n1.node("r1").Agreed == n1.node("r2").Agreed && n1.node("r1").Agreed == n1.node("r3").Agreed
	})
	agreed := n1.node("r3").Agreed

	// A bit flips: r3 has given a ticket that nobody else has.
	odd.stateMu.Lock()
	s := odd.machine.Snapshot()
	s.Sort()
	s.Tickets++
	m, err := acd.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	odd.machine = m
	odd.stateMu.Unlock()
	r.tick(n1, compareEvery)
	raftstoretest.Await(t, "r3 stops", func() bool { return odd.stopped.Load() > 0 })
	if n1.stopped.Load()+r.nodes["r2"].stopped.Load() > 0 || n1.node("r3").Diverged == 0 || n1.node("r1").Diverged != 0 {
		t.Errorf("r1 says %+v, %+v", n1.node("r1"), n1.node("r3"))
	}

	// Its next life.
	member := r.Nodes[2]
	r.Kill(member)
	data := odd.conf.Data
	done, told, err := startOver(data)
	if err != nil || !done || told.Agreed != agreed {
		t.Fatalf("start over: %t, %+v, %v: agreed was %d", done, told, err, agreed)
	}
	if again, _, err := startOver(data); again || err != nil {
		t.Fatalf("started over twice: %v", err)
	}
	if _, err := os.Stat(filepath.Join(data, divergedDir, divergedFile)); err != nil {
		t.Errorf("the wrong state is not kept: %v", err)
	}
	back := r.start(member)
	r.begin(back)
	r.tick(n1, compareEvery)
	raftstoretest.Await(t, "r3 agrees again", func() bool { return n1.node("r3").Agreed > agreed && n1.node("r3").Diverged == 0 })
	if back.stopped.Load() > 0 {
		t.Error("r3 stopped again")
	}
}

// The same snapshot does not serve a second time.
func TestASnapshotThatDidNotHelpIsNotUsedAgain(t *testing.T) {
	f := func(last restart, agreed, want uint64) {
		t.Helper()
		got := last.again(acd.Resync{Index: 5000, Agreed: agreed})
		if got != (restart{Pending: true, Index: 5000, Agreed: agreed, Upto: want}) {
			t.Errorf("%+v, agreed %d: %+v, want up to %d", last, agreed, got, want)
		}
	}
	f(restart{}, 3000, 3000)
	f(restart{Index: 4000, Agreed: 3000, Upto: 3000, From: 2500}, 3000, 2499)
	f(restart{Index: 4000, Agreed: 3000, Upto: 2499, From: 2000}, 3000, 1999)
	f(restart{Index: 4000, Agreed: 3000, Upto: 1999, From: 0}, 3000, 0)
	f(restart{Index: 4000, Agreed: 3000, Upto: 3000, From: 2500}, 9000, 9000)
}
