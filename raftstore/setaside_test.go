package raftstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// A node whose state went wrong starts over from a snapshot of before, with its
// log, its term and its vote, and has all that the others have.
func TestANodeStartsOverFromBeforeItsStateWentWrong(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	n := c.Nodes[2]
	propose := func(what string) (index uint64) {
		t.Helper()
		for i := range 20 {
			_, index = c.Propose(n, fmt.Sprint(what, i))
		}
		return index
	}
	propose("first")
	compact(t, n, 1<<20)
	right := propose("right")
	propose("wrong")
	compact(t, n, 1<<20)
	term := n.Store.Stats().Term
	c.Stop(n)
	aside := filepath.Join(t.TempDir(), "aside")
	from, err := raftstore.SetAside(n.Dir, right, aside)
	if err != nil {
		t.Fatal(err)
	}
	if from == 0 || from >= right {
		t.Errorf("starts from %d, right is %d", from, right)
	}
	if list, err := os.ReadDir(aside); err != nil || len(list) != 1 {
		t.Errorf("set aside: %v, %v", list, err)
	}
	c.Start(n)
	propose("after")
	want := c.Nodes[0].Journal().Entries()
	raftstoretest.Await(t, "the node has what the others have", func() bool { return len(n.Journal().Entries()) == len(want) })
	if got := n.Journal().Entries(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("has %v, the others %v", got, want)
	}
	if n.Journal().Restored() != 1 || n.Store.Stats().Term < term {
		t.Errorf("%d snapshots restored, term %d after %d", n.Journal().Restored(), n.Store.Stats().Term, term)
	}
}

// Where the log does not reach back, nothing is touched: coming back without the
// log would break votes.
func TestWithoutAWayBackNothingIsSetAside(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	n := c.Nodes[2]
	var index uint64
	for i := range 300 {
		_, index = c.Propose(n, fmt.Sprint("entry", i))
	}
	compact(t, n, 1)
	c.Stop(n)
	aside := filepath.Join(t.TempDir(), "aside")
	if _, err := raftstore.SetAside(n.Dir, 1, aside); !errors.Is(err, raftstore.ErrNoWayBack) {
		t.Errorf("set aside: %v", err)
	}
	if from, err := raftstore.SetAside(n.Dir, index+100, aside); err != nil || from == 0 {
		t.Errorf("nothing to set aside: from %d, %v", from, err)
	}
	if _, err := raftstore.SetAside(filepath.Join(t.TempDir(), "none"), 1, aside); !errors.Is(err, raftstore.ErrNoState) {
		t.Errorf("an empty folder: %v", err)
	}
	c.Start(n)
	c.Propose(n, "after")
	raftstoretest.Await(t, "the node goes on", func() bool { return n.Journal().Has("after") })
}

func compact(t *testing.T, n *raftstoretest.Node, trailing uint64) {
	t.Helper()
	if err := n.Store.Compact(trailing); err != nil {
		t.Fatal(err)
	}
}
