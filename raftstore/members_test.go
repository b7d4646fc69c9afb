package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// withSpare starts three founders and gives a fourth node that is not started.
func withSpare(t *testing.T, prepare ...func(*raftstoretest.Node)) (c *raftstoretest.Cluster, spare *raftstoretest.Node) {
	t.Helper()
	c = raftstoretest.New(t, 4, nil)
	founders := map[string]string{}
	for _, n := range c.Nodes[:3] {
		founders[n.ID] = n.Addr
	}
	for _, n := range c.Nodes {
		n.Config.Voters = founders
		for _, f := range prepare {
			f(n)
		}
	}
	for _, n := range c.Nodes[:3] {
		c.Start(n)
	}
	c.Leader()
	return c, c.Nodes[3]
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func voters(n *raftstoretest.Node) (ids []string) {
	for _, p := range n.Store.Stats().Peers {
		if p.Voter {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

func TestMemberIsAddedPromotedAndRemoved(t *testing.T) {
	c, fourth := withSpare(t)
	ctx := within(t, 30*time.Second)
	leader, follower := c.Leader(), c.Followers()[0]
	c.Propose(leader, "before")
	c.Start(fourth)
	// Every operation works on a node that does not lead.
	if err := follower.Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	if err := follower.Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Errorf("added again: %v", err)
	}
	agree(t, c, 1)
	c.Propose(fourth, "from the new member")
	if fourth.Store.Cluster() != leader.Store.Cluster() || fourth.Store.Cluster() == (raftstore.ClusterID{}) {
		t.Errorf("the new member is of cluster %q, the leader of %q", fourth.Store.Cluster(), leader.Store.Cluster())
	}
	if err := fourth.Store.Promote(ctx, fourth.ID); err != nil {
		t.Fatal(err)
	}
	raftstoretest.Await(t, "four voters", func() bool { return len(voters(fourth)) == 4 })
	if err := fourth.Store.Remove(ctx, fourth.ID, false); err != nil {
		t.Fatal(err)
	}
	if got := voters(leader); len(got) != 3 {
		t.Errorf("voters after the removal: %v", got)
	}
	c.Propose(follower, "after")
	// What was removed and wiped may come back.
	c.Kill(fourth)
	if err := os.RemoveAll(fourth.Dir); err != nil {
		t.Fatal(err)
	}
	c.Start(fourth)
	if err := leader.Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	agree(t, c, 3)
}

// Nobody is removed by being away, and who is removed says so.
func TestOnlyRemoveRemoves(t *testing.T) {
	var log logOf
	c, fourth := withSpare(t, func(n *raftstoretest.Node) {
		if n.ID == "r4" {
			log.also = raftstoretest.Output(t)
			n.Config.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
	})
	ctx := within(t, 30*time.Second)
	c.Start(fourth)
	if err := c.Nodes[0].Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	raftstoretest.Await(t, "the new member to know itself", func() bool { return len(fourth.Store.Stats().Peers) == 4 })
	away := c.Followers()[0]
	if away == fourth {
		away = c.Followers()[1]
	}
	c.Kill(away)
	began := time.Now()
	for i := 0; time.Since(began) < time.Second; i++ {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	if p := c.Leader().Store.Stats().Peers; len(p) != 4 {
		t.Errorf("members after one was away for a second: %v", p)
	}
	c.Start(away)
	if log.has("was removed") {
		t.Error("a member says that it was removed")
	}
	if err := c.Nodes[0].Store.Remove(ctx, fourth.ID, false); err != nil {
		t.Fatal(err)
	}
	raftstoretest.Await(t, "the removed member to say so", func() bool { return log.has("this node was removed from the cluster") })
}

func TestEmptyMemberIsFilledBySnapshot(t *testing.T) {
	c, fourth := withSpare(t, func(n *raftstoretest.Node) { new(raftstore.TestDisk).Under(&n.Config) })
	for i := range 200 {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	for _, n := range c.Nodes[:3] {
		if err := n.Store.Compact(5); err != nil {
			t.Fatalf("compact %s: %v", n.ID, err)
		}
	}
	c.Start(fourth)
	ctx := within(t, 30*time.Second)
	if err := c.Nodes[0].Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	agree(t, c, 200)
	if fourth.Journal().Restored() == 0 {
		t.Error("the empty member was filled without a snapshot")
	}
	if err := fourth.Store.Promote(ctx, fourth.ID); err != nil {
		t.Fatal(err)
	}
	c.Propose(fourth, "last")
	agree(t, c, 201)
	if got, want := fourth.Store.Cluster(), c.Nodes[0].Store.Cluster(); got != want {
		t.Errorf("cluster by the snapshot is %q, want %q", got, want)
	}
}

func TestLeaderIsReplaced(t *testing.T) {
	c, fourth := withSpare(t)
	old := c.Leader()
	c.Start(fourth)
	c.Propose(old, "before")
	var steps []string
	if err := fourth.Store.Replace(within(t, 100*time.Millisecond), old.ID, fourth.ID, fourth.Addr, nil); !errors.Is(err, raftstore.ErrNoLeader) {
		t.Fatalf("replaced by a node that knows no leader: %v", err)
	}
	on := c.Nodes[0]
	if on == old {
		on = c.Nodes[1]
	}
	if err := on.Store.Replace(within(t, 30*time.Second), old.ID, fourth.ID, fourth.Addr,
		func(s string) { steps = append(steps, s) }); err != nil {
		t.Fatalf("replace: %v, after %q", err, steps)
	}
	if len(steps) != 3 {
		t.Errorf("steps told: %q", steps)
	}
	// The old leader is out, and nothing it does counts any more.
	raftstoretest.Await(t, "three voters without "+old.ID, func() bool {
		for _, id := range voters(on) {
			if id == old.ID {
				return false
			}
		}
		return len(voters(on)) == 3
	})
	c.Kill(old)
	c.Propose(fourth, "after")
	agree(t, c, 2)
}

func TestGuardsOfMembers(t *testing.T) {
	c, fourth := withSpare(t)
	ctx := within(t, 60*time.Second)
	leader := c.Leader()
	f := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || !errors.Is(err, raftstore.ErrRefused) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	on := c.Followers()[0].Store // the sentinels come through the forward stream
	f("add a node that does not run", on.Add(ctx, fourth.ID, fourth.Addr), raftstore.ErrUnreachable)
	f("add without an address", on.Add(ctx, "r9", ""), raftstore.ErrRefused)
	f("add an address that is another's", on.Add(ctx, "r9", leader.Addr), raftstore.ErrConflict)
	f("add a name that is another's", on.Add(ctx, leader.ID, fourth.Addr), raftstore.ErrConflict)
	f("promote what is no member", on.Promote(ctx, "r9"), raftstore.ErrNoMember)
	f("remove what is no member", on.Remove(ctx, "r9", true), raftstore.ErrNoMember)
	f("transfer to what is no member", on.Transfer(ctx, "r9"), raftstore.ErrNoMember)
	f("go down to two voters", on.Remove(ctx, leader.ID, false), raftstore.ErrFewVoters)
	f("replace by itself", on.Replace(ctx, "r1", "r1", fourth.Addr, nil), raftstore.ErrConflict)

	c.Start(fourth)
	f("add a node by a wrong name", on.Add(ctx, "r9", fourth.Addr), raftstore.ErrConflict)
	if err := on.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	f("transfer to a member without a vote", on.Transfer(ctx, fourth.ID), raftstore.ErrRefused)
	c.Kill(fourth)
	f("promote a member that is down", on.Promote(ctx, fourth.ID), raftstore.ErrUnreachable)
	if err := on.Remove(ctx, fourth.ID, false); err != nil {
		t.Errorf("remove a member without a vote: %v", err)
	}

	// One of three is down: removing one of the other two would stop all.
	leader = c.Leader()
	down, up := c.Followers()[0], c.Followers()[1]
	c.Kill(down)
	f("remove a voter that a majority needs", up.Store.Remove(ctx, up.ID, true), raftstore.ErrQuorum)
	f("remove the leader that a majority needs", up.Store.Remove(ctx, leader.ID, true), raftstore.ErrQuorum)
	f("remove the dead one, leaving two", up.Store.Remove(ctx, down.ID, false), raftstore.ErrFewVoters)
	if err := up.Store.Remove(ctx, down.ID, true); err != nil {
		t.Errorf("remove the dead one by force: %v", err)
	}
	c.Propose(up, "two voters go on")
	f("go down to one voter", up.Store.Remove(ctx, leader.ID, false), raftstore.ErrFewVoters)
}

func TestMemberThatIsBehindGetsNoVote(t *testing.T) {
	c, fourth := withSpare(t)
	ctx := within(t, 60*time.Second)
	for i := range 40 {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	disk := &raftstore.TestDisk{}
	disk.Under(&fourth.Config)
	c.Start(fourth)
	disk.Hang()
	if err := c.Nodes[1].Store.Add(ctx, fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	if err := c.Leader().Store.Promote(ctx, fourth.ID); !errors.Is(err, raftstore.ErrBehind) {
		t.Errorf("promote a member that has nothing: %v", err)
	}
	if got := voters(c.Leader()); len(got) != 3 {
		t.Errorf("voters are %v", got)
	}
	disk.Release()
	agree(t, c, 40)
	if err := c.Leader().Store.Promote(ctx, fourth.ID); err != nil {
		t.Errorf("promote the member that caught up: %v", err)
	}
}

func TestTransferWorksOnEveryNode(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	ctx := within(t, 30*time.Second)
	for _, on := range c.Nodes {
		to := c.Followers()[0]
		if err := on.Store.Transfer(ctx, to.ID); err != nil {
			t.Fatalf("transfer to %s asked of %s: %v", to.ID, on.ID, err)
		}
		raftstoretest.Await(t, to.ID+" to lead", func() bool { _, self := to.Store.Leader(); return self })
		c.Propose(on, "after the transfer to "+to.ID)
	}
	lone := raftstoretest.New(t, 3, nil)
	lone.Start(lone.Nodes[0])
	if err := lone.Nodes[0].Store.Transfer(within(t, 50*time.Millisecond), ""); !errors.Is(err, raftstore.ErrNoLeader) {
		t.Errorf("transfer without a leader: %v", err)
	}
}
