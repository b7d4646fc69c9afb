package raftstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

func backUp(t *testing.T, n *raftstoretest.Node) ([]byte, raftstore.BackupInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := n.Store.Backup(within(t, 30*time.Second), &b)
	if err != nil {
		t.Fatalf("back up %s: %v", n.ID, err)
	}
	return b.Bytes(), info
}

func TestBackupOfAnyNodeHasAllThatWasAcknowledged(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	for i, n := range c.Nodes {
		_, index := c.Propose(c.Nodes[(i+1)%3], "before backup by "+n.ID)
		b, info := backUp(t, n)
		if info.Index < index || info.Term == 0 || info.Stale || info.Cluster != n.Store.Cluster() || info.Node != n.ID || len(info.Peers) != 3 {
			t.Errorf("%s: backup is %+v, want index %d or more", n.ID, info, index)
		}
		var j raftstoretest.Journal
		read, err := raftstore.ReadBackup(bytes.NewReader(b), func(_ raftstore.BackupInfo, r io.Reader) error { return j.Restore(r) })
		if err != nil {
			t.Fatal(err)
		}
		if read.Sum != info.Sum || read.Size != info.Size || read.Index != info.Index || !read.Made.Equal(info.Made) {
			t.Errorf("read %+v, written %+v", read, info)
		}
		if got := j.Entries(); len(got) != i+1 || got[i].Data != "before backup by "+n.ID {
			t.Errorf("%s: the backup has %+v", n.ID, got)
		}
		if last := j.Entries()[i]; info.Stamp != last.Stamp || info.Index != last.Index {
			t.Errorf("%s: backup of index %d, stamp %d; its last entry is %+v", n.ID, info.Index, info.Stamp, last)
		}
	}
}

// slowJournal takes its time for each command, so that raft's idea of what is
// applied runs ahead of it.
type slowJournal struct{ raftstoretest.Journal }

func (s *slowJournal) Apply(index uint64, stamp int64, data []byte) []byte {
	<-time.After(20 * time.Millisecond)
	return s.Journal.Apply(index, stamp, data)
}

func TestBackupWaitsForTheStateMachine(t *testing.T) {
	slow := ""
	c := raftstoretest.New(t, 3, func(id string) raftstore.StateMachine {
		if id == slow {
			return &slowJournal{}
		}
		return &raftstoretest.Journal{}
	})
	c.StartAll()
	follower := c.Followers()[0]
	c.Kill(follower)
	slow = follower.ID
	c.Start(follower)
	c.Leader()
	const n = 20
	var last uint64
	for i := range n {
		_, last = c.Propose(c.Leader(), fmt.Sprint(i))
	}
	if got := len(follower.Machine.(*slowJournal).Entries()); got == n {
		t.Log("the slow machine is not behind: nothing is proved")
	}
	if _, info := backUp(t, follower); info.Index < last {
		t.Errorf("the backup is of index %d, the last acknowledged command of %d", info.Index, last)
	}
}

func TestBackupAfterAChangeOfMembers(t *testing.T) {
	c, fourth := withSpare(t)
	c.Propose(c.Nodes[0], "before")
	c.Start(fourth)
	if err := c.Nodes[0].Store.Add(within(t, 30*time.Second), fourth.ID, fourth.Addr); err != nil {
		t.Fatal(err)
	}
	// Nothing was proposed since: raft refuses a snapshot that is older than
	// the newest configuration.
	if _, info := backUp(t, c.Nodes[0]); len(info.Peers) != 4 {
		t.Errorf("members in the backup: %+v", info.Peers)
	}
}

func TestBackupWithoutALeaderIsMarked(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	c.Propose(c.Nodes[0], "before")
	agree(t, c, 1)
	c.Kill(c.Nodes[1])
	c.Kill(c.Nodes[2])
	raftstoretest.Await(t, "no leader", func() bool { id, _ := c.Nodes[0].Store.Leader(); return id == "" })
	b, info := backUp(t, c.Nodes[0])
	if !info.Stale {
		t.Error("a backup made without a leader is not marked")
	}
	if read, err := raftstore.VerifyBackup(bytes.NewReader(b)); err != nil || !read.Stale {
		t.Errorf("read as %+v, %v", read, err)
	}
}

// restored makes the Config's Dir anew from a backup.
func restored(t *testing.T, n *raftstoretest.Node, b []byte, id raftstore.ClusterID) raftstore.ClusterID {
	t.Helper()
	n.Dir = filepath.Join(t.TempDir(), n.ID)
	n.Config.Dir = n.Dir
	_, got, err := raftstore.Restore(n.Dir, bytes.NewReader(b), raftstore.RestoreConfig{ID: n.ID, Voters: n.Config.Voters, Cluster: id})
	if err != nil {
		t.Fatalf("restore %s: %v", n.ID, err)
	}
	return got
}

func TestClusterIsFoundedFromABackup(t *testing.T) {
	for _, where := range []string{"one node", "all nodes"} {
		t.Run(where, func(t *testing.T) {
			c := raftstoretest.New(t, 3, nil)
			c.StartAll()
			c.Propose(c.Nodes[0], "kept")
			b, info := backUp(t, c.Nodes[1])
			before := c.Nodes[0].Journal().Entries()
			c.Propose(c.Nodes[0], "lost")
			for _, n := range c.Nodes {
				c.Kill(n)
			}
			id := restored(t, c.Nodes[0], b, raftstore.ClusterID{})
			for _, n := range c.Nodes[1:] {
				if where == "all nodes" {
					if got := restored(t, n, b, id); got != id {
						t.Errorf("%s is of cluster %s, want %s", n.ID, got, id)
					}
				} else if err := os.RemoveAll(n.Dir); err != nil {
					t.Fatal(err)
				}
			}
			c.StartAll()
			e := agree(t, c, 1)
			if len(e) != 1 || e[0] != before[0] {
				t.Fatalf("restored %+v, want %+v", e, before[0])
			}
			for i, n := range c.Nodes {
				if _, index := c.Propose(n, "after on "+n.ID); index <= info.Index {
					t.Errorf("index %d after the restore, the backup has %d", index, info.Index)
				}
				e = agree(t, c, i+2)
				if got := n.Store.Cluster(); got != id || got == info.Cluster {
					t.Errorf("%s is of cluster %s, want %s", n.ID, got, id)
				}
				if st := n.Store.Stats(); st.Term <= info.Term {
					t.Errorf("term is %d, not above the backup's %d", st.Term, info.Term)
				}
			}
			if e[1].Stamp <= e[0].Stamp {
				t.Errorf("stamps are %+v", e)
			}
			// And once more from the disks that it has now.
			for _, n := range c.Nodes {
				c.Kill(n)
			}
			c.StartAll()
			agree(t, c, 4)
		})
	}
}

func TestOldMemberIsRefusedByTheRestoredCluster(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	c.Propose(c.Nodes[0], "kept")
	b, _ := backUp(t, c.Nodes[0])
	for i := range 50 {
		c.Propose(c.Nodes[0], fmt.Sprint("lost ", i))
	}
	agree(t, c, 51)
	for _, n := range c.Nodes {
		c.Kill(n)
	}
	id := restored(t, c.Nodes[0], b, raftstore.ClusterID{})
	restored(t, c.Nodes[1], b, id)
	// r3 comes back with the old cluster's data, which is longer.
	for _, n := range c.Nodes {
		c.Start(n)
	}
	old := c.Nodes[2]
	c.Propose(c.Nodes[0], "new")
	for _, n := range c.Nodes[:2] {
		raftstoretest.Await(t, "the new command on "+n.ID, func() bool { return n.Journal().Has("new") })
		if n.Journal().Has("lost 0") {
			t.Errorf("%s took the old cluster's log", n.ID)
		}
	}
	if old.Journal().Has("new") {
		t.Error("the old member took the new cluster's log")
	}
	if v, ok := metric(t, "routerd_raft_refused_connections_total"); !ok || v == 0 {
		t.Errorf("refused connections: %v, shown %v", v, ok)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := old.Store.Propose(ctx, []byte("from the old")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("propose on the old member: %v", err)
	}
	// With an empty folder it is welcome.
	c.Kill(old)
	if err := os.RemoveAll(old.Dir); err != nil {
		t.Fatal(err)
	}
	c.Start(old)
	agree(t, c, 2)
}

func TestRestoreRefuses(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	c.StartAll()
	n := c.Nodes[0]
	c.Propose(n, "x")
	b, _ := backUp(t, n)
	good := raftstore.RestoreConfig{ID: n.ID, Voters: n.Config.Voters}
	f := func(what, dir string, b []byte, cfg raftstore.RestoreConfig, want string) {
		t.Helper()
		_, _, err := raftstore.Restore(dir, bytes.NewReader(b), cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	empty := func() string { return filepath.Join(t.TempDir(), "new") }
	f("a running node", n.Dir, b, good, "in use")
	c.Stop(n)
	f("a node's data", n.Dir, b, good, "already")
	f("no id", empty(), b, raftstore.RestoreConfig{Voters: good.Voters}, "ID is empty")
	f("no voters", empty(), b, raftstore.RestoreConfig{ID: "r1"}, "Voters is empty")
	f("not a voter", empty(), b, raftstore.RestoreConfig{ID: "r7", Voters: good.Voters}, `"r7" is not among`)
	f("two of one address", empty(), b, raftstore.RestoreConfig{ID: "r1", Voters: map[string]string{"r1": "a:1", "r2": "a:1"}}, "same address")

	// What is cut or damaged leaves the folder empty, so that a good one can
	// be restored there.
	dir := empty()
	f("a cut backup", dir, b[:len(b)-1], good, "cut short")
	bad := bytes.Clone(b)
	bad[len(bad)-40] ^= 1
	f("a damaged backup", dir, bad, good, "checksum differs")
	f("no backup", dir, []byte("PK\x03\x04 is something else"), good, "starts with")
	if _, _, err := raftstore.Restore(dir, bytes.NewReader(b), good); err != nil {
		t.Errorf("a good backup after bad ones: %v", err)
	}
}

func TestDamagedBackupIsFound(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	c.StartAll()
	for i := range 20 {
		c.Propose(c.Nodes[0], fmt.Sprint("command ", i))
	}
	b, _ := backUp(t, c.Nodes[0])
	if _, err := raftstore.VerifyBackup(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := raftstore.VerifyBackup(bytes.NewReader(b[:n])); !errors.Is(err, raftstore.ErrBackup) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	for i := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := raftstore.VerifyBackup(bytes.NewReader(bad)); !errors.Is(err, raftstore.ErrBackup) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	if _, err := raftstore.VerifyBackup(bytes.NewReader(append(bytes.Clone(b), 0))); !errors.Is(err, raftstore.ErrBackup) {
		t.Errorf("with a byte behind it: %v", err)
	}
	// A decoder that chokes on damage is told that it was damage; one that
	// chokes on a good state is not.
	choke := func(_ raftstore.BackupInfo, r io.Reader) error { return errors.New("choked") }
	bad := bytes.Clone(b)
	bad[len(bad)-40] ^= 1
	if _, err := raftstore.ReadBackup(bytes.NewReader(bad), choke); !errors.Is(err, raftstore.ErrBackup) {
		t.Errorf("decoder fails on damage: %v", err)
	}
	if _, err := raftstore.ReadBackup(bytes.NewReader(b), choke); err == nil || errors.Is(err, raftstore.ErrBackup) {
		t.Errorf("decoder fails on a good state: %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(b[:len(b)-50]), failing{})
	if _, err := raftstore.VerifyBackup(broken); !errors.Is(err, errMedium) || errors.Is(err, raftstore.ErrBackup) {
		t.Errorf("a medium that fails: %v", err)
	}
}

var errMedium = errors.New("medium error")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errMedium }

func FuzzVerifyBackup(f *testing.F) {
	f.Add([]byte("tklback1\x00\x00\x00\x02{}\x00\x00\x00\x01x\x00\x00\x00\x00"))
	f.Add([]byte("tklback1\xff\xff\xff\xff"))
	f.Add([]byte("tklback1\x00\x00\x00\x02{}\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := raftstore.VerifyBackup(bytes.NewReader(b))
		if err == nil && (info.Sum == "" || info.Size > int64(len(b))) {
			t.Fatalf("%x is read as %+v", b, info)
		}
		if err != nil && !errors.Is(err, raftstore.ErrBackup) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}
