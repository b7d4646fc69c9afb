package raftstore_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

func TestEveryNodeProposes(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	for _, n := range c.Nodes {
		reply, index := c.Propose(n, "from "+n.ID)
		if want := "applied from " + n.ID; reply != want {
			t.Errorf("%s: reply %q, want %q", n.ID, reply, want)
		}
		if index == 0 {
			t.Errorf("%s: no index", n.ID)
		}
	}
	agree(t, c, 3)
}

// agree waits until every running node applied at least n commands and checks
// that they applied the same.
func agree(t *testing.T, c *raftstoretest.Cluster, n int) []raftstoretest.Entry {
	t.Helper()
	var first []raftstoretest.Entry
	raftstoretest.Await(t, fmt.Sprintf("%d commands on every node", n), func() bool {
		first = nil
		for _, node := range c.Nodes {
			if node.Store == nil {
				continue
			}
			e := node.Journal().Entries()
			if len(e) < n || first != nil && len(e) != len(first) {
				return false
			}
			first = e
		}
		return true
	})
	for _, node := range c.Nodes {
		if node.Store == nil {
			continue
		}
		for i, e := range node.Journal().Entries() {
			if e != first[i] {
				t.Fatalf("%s applied %+v where another applied %+v", node.ID, e, first[i])
			}
		}
	}
	return first
}

func TestPendingProposalOutlivesItsLeader(t *testing.T) {
	for _, end := range []string{"killed", "shut down"} {
		t.Run(end, func(t *testing.T) {
			c := raftstoretest.New(t, 3, nil)
			c.StartAll()
			leader, follower := c.Leader(), c.Followers()[0]

			// A stream of proposals, so that some are under way when the
			// leader goes.
			const callers = 16
			stop := make(chan struct{})
			counts := make([]int, callers)
			var wg sync.WaitGroup
			for w := range callers {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						c.Propose(follower, fmt.Sprintf("%d.%d", w, i))
						counts[w] = i + 1
					}
				})
			}
			raftstoretest.Await(t, "the stream", func() bool { return len(follower.Journal().Entries()) > 100 })
			if end == "killed" {
				c.Kill(leader)
			} else {
				c.Stop(leader)
			}
			next := c.Leader()
			if next == leader {
				t.Fatal("the leader that was stopped leads")
			}
			before := len(follower.Journal().Entries())
			raftstoretest.Await(t, "the stream to go on", func() bool { return len(follower.Journal().Entries()) > before+100 })
			close(stop)
			wg.Wait()

			// Nothing that was acknowledged is lost.
			want := 0
			seen := map[string]bool{}
			for _, n := range counts {
				want += n
			}
			raftstoretest.Await(t, "all acknowledged commands", func() bool {
				for _, e := range next.Journal().Entries() {
					seen[e.Data] = true
				}
				return len(seen) >= want
			})
			for w, n := range counts {
				for i := range n {
					if key := fmt.Sprintf("%d.%d", w, i); !seen[key] {
						t.Errorf("acknowledged command %s is lost", key)
					}
				}
			}
			agree(t, c, want)
		})
	}
}

func TestRestartedNodeReplaysItsLog(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	for i := range 20 {
		c.Propose(c.Nodes[i%3], fmt.Sprint(i))
	}
	before := agree(t, c, 20)
	for _, n := range c.Nodes {
		c.Kill(n)
	}
	c.StartAll()
	after := agree(t, c, 20)
	for i, e := range before {
		if after[i] != e {
			t.Fatalf("after the restart entry %d is %+v, was %+v", i, after[i], e)
		}
	}
	c.Propose(c.Nodes[0], "after")
	all := agree(t, c, 21)
	if got, last := all[20].Stamp, all[19].Stamp; got <= last {
		t.Errorf("stamp after the restart is %d, not above %d", got, last)
	}
}

func TestLaggingNodeCatchesUp(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	lagging := c.Followers()[0]
	c.Propose(lagging, "before")
	c.Kill(lagging)
	for i := range 50 {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	c.Start(lagging)
	agree(t, c, 51)
}

func TestNodeThatLostItsDiskIsRefilled(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	for i := range 10 {
		c.Propose(c.Nodes[0], fmt.Sprint(i))
	}
	agree(t, c, 10)
	lost := c.Followers()[0]
	c.Kill(lost)
	if err := os.RemoveAll(lost.Dir); err != nil {
		t.Fatal(err)
	}
	c.Start(lost)
	agree(t, c, 10)
	c.Propose(lost, "again")
	agree(t, c, 11)
}

func TestNodesWithDifferentVotersFoundNothing(t *testing.T) {
	c := raftstoretest.New(t, 2, nil)
	odd := map[string]string{}
	for id, addr := range c.Nodes[1].Config.Voters {
		odd[id] = addr
	}
	odd["r3"] = raftstoretest.FreeAddr(t)
	c.Nodes[1].Config.Voters = odd
	c.Start(c.Nodes[0])
	c.Start(c.Nodes[1])
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := c.Nodes[0].Store.Propose(ctx, []byte("x")); err == nil {
		t.Fatal("a command was committed although the voters differ")
	}
	if st := c.Nodes[0].Store.Stats(); st.Last != 0 {
		t.Errorf("log has %d entries, want none", st.Last)
	}
}

func TestConfigFaultsAreToldAtOnce(t *testing.T) {
	_, err := raftstore.Open(raftstore.Config{}, &raftstoretest.Journal{})
	if err == nil {
		t.Fatal("opened without a configuration")
	}
	for _, want := range []string{"ID", "Dir", "Listen", "CheckPeer", "TLS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestDirBelongsToOneStore(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	c.StartAll()
	cfg := c.Nodes[0].Config
	cfg.Listen = raftstoretest.FreeAddr(t)
	if _, err := raftstore.Open(cfg, &raftstoretest.Journal{}); err == nil {
		t.Fatal("two stores opened one directory")
	}
}
