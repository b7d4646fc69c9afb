package raftstore_test

import (
	"fmt"
	"testing"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// Two followers that stood at the same time would split the vote.
func TestFollowersStandInTurn(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	disks := map[string]*raftstore.TestDisk{}
	for _, n := range c.Nodes {
		disks[n.ID] = &raftstore.TestDisk{}
		disks[n.ID].Under(&n.Config)
	}
	c.StartAll()
	c.Propose(c.Leader(), "before")
	low, high := c.Followers()[0], c.Followers()[1] // in the order of their ids
	f := func(what string, wantLow, wantHigh int) {
		t.Helper()
		raftstoretest.Await(t, fmt.Sprintf("%s: turns %d and %d", what, wantLow, wantHigh), func() bool {
			return low.Store.Turn() == wantLow && high.Store.Turn() == wantHigh
		})
	}
	f("equal logs", 0, 1)
	disks[high.ID].Hang()
	c.Propose(c.Leader(), "one has more")
	f("the lower id has more", 1, 0)
	disks[high.ID].Release()
	f("equal again", 0, 1)
	c.Kill(low)
	if got := high.Store.Turn(); got != 1 {
		t.Errorf("while %s doesn't answer the turn is %d, want 1 as before", low.ID, got)
	}
}

func TestTimeoutsAreAsBeforeOnceThereIsALeader(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	for i := range 3 {
		c.Propose(c.Nodes[i], "before")
		old := c.Leader()
		c.Kill(old)
		c.Propose(c.Followers()[0], "after")
		c.Start(old)
		c.Leader()
		for _, n := range c.Nodes {
			raftstoretest.Await(t, "the timeout of peace on "+n.ID, func() bool {
				now, peace := n.Store.HeartbeatTimeout()
				return now == peace
			})
		}
	}
}
