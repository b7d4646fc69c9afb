package raftstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
	"trunkline/raftstore/raftstoretest"
)

func withArchive(n *raftstoretest.Node) {
	n.Config.Archive = &archive.Options{Reserve: 1, SnapshotEntries: 100}
}

// archivedOn reads a node's archive from an index on.
func archivedOn(t *testing.T, n *raftstoretest.Node, from uint64) (list []raftstoretest.Entry, err error) {
	t.Helper()
	if n.Store != nil {
		if err := n.Store.SyncArchive(); err != nil {
			t.Fatal(err)
		}
	}
	err = archive.Read(raftstore.ArchiveDir(n.Dir), from, archive.End, func(r archive.Record) error {
		list = append(list, raftstoretest.Entry{Index: r.Index, Stamp: r.Stamp, Data: string(r.Data)})
		return nil
	})
	return list, err
}

func equal(t *testing.T, what string, got, want []raftstoretest.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d entries, want %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: entry %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
}

func TestArchiveHasWhatWasApplied(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	for _, n := range c.Nodes {
		withArchive(n)
	}
	c.StartAll()
	for i := range 50 {
		c.Propose(c.Nodes[i%3], fmt.Sprint(i))
	}
	want := agree(t, c, 50)
	for _, n := range c.Nodes {
		list, err := archivedOn(t, n, 1)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, n.ID, list, want)
	}
	// Restarts archive nothing twice and nothing less.
	for _, n := range c.Nodes {
		c.Kill(n)
	}
	c.StartAll()
	c.Propose(c.Nodes[0], "after")
	want = agree(t, c, 51)
	for _, n := range c.Nodes {
		list, err := archivedOn(t, n, 1)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, n.ID+" restarted", list, want)
		if v, ok := metric(t, "routerd_raft_archive_last_index"); !ok || v == 0 {
			t.Errorf("archive's last index: %v, shown %v", v, ok)
		}
	}
}

// What the archive lost by a crash comes out of the log, although the snapshot
// is beyond it.
func TestArchiveIsFilledUpFromTheLog(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	n := c.Nodes[0]
	withArchive(n)
	c.StartAll()
	for i := range 60 {
		c.Propose(n, fmt.Sprint(i))
	}
	if err := n.Store.Compact(1000); err != nil {
		t.Fatal(err)
	}
	c.Propose(n, "after the snapshot")
	want := agree(t, c, 61)
	c.Kill(n)
	files, err := filepath.Glob(filepath.Join(raftstore.ArchiveDir(n.Dir), "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	for _, keep := range []int64{1500, 0} {
		if err := os.Truncate(files[0], keep); err != nil {
			t.Fatal(err)
		}
		c.Start(n)
		c.Propose(n, fmt.Sprint("kept ", keep))
		want = agree(t, c, len(want)+1)
		list, err := archivedOn(t, n, 1)
		if err != nil {
			t.Fatalf("%d bytes kept: %v", keep, err)
		}
		equal(t, fmt.Sprintf("%d bytes kept", keep), list, want)
		c.Kill(n)
	}
}

// A node that was sent a snapshot says what it has not seen, and what follows
// can be replayed from a snapshot that it keeps itself.
func TestInstalledSnapshotIsAGapInTheArchive(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	for _, n := range c.Nodes {
		new(raftstore.TestDisk).Under(&n.Config)
		withArchive(n)
	}
	c.StartAll()
	late := c.Followers()[0]
	c.Propose(late, "before")
	agree(t, c, 1)
	c.Kill(late)
	for i := range 200 {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	for _, n := range c.Nodes {
		if n.Store != nil {
			if err := n.Store.Compact(5); err != nil {
				t.Fatalf("compact %s: %v", n.ID, err)
			}
		}
	}
	c.Start(late)
	c.Propose(c.Leader(), "after the snapshot")
	want := agree(t, c, 202)
	list, err := archivedOn(t, late, 1)
	var gap *archive.GapError
	// A command that was repeated while a leader changed is there twice.
	if !errors.As(err, &gap) || gap.From != want[0].Index+1 || gap.To < want[199].Index || gap.To >= want[len(want)-1].Index ||
		!strings.Contains(gap.Reason, "snapshot was installed") {
		t.Fatalf("read %d entries, %v", len(list), err)
	}
	equal(t, "before the gap", list, want[:1])

	// The next snapshot is kept, for it closes the gap.
	if err := late.Store.Compact(1000); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		c.Propose(late, fmt.Sprint("later ", i))
	}
	want = agree(t, c, len(want)+10)
	snap, ok, err := archive.SnapshotBefore(raftstore.ArchiveDir(late.Dir), archive.End)
	if err != nil || !ok || snap.Index < gap.To {
		t.Fatalf("snapshot %+v, %v, %v; the gap ends at %d", snap, ok, err, gap.To)
	}
	equal(t, "replayed", replay(t, late, snap), want)
}

// replay builds a Journal from a snapshot of the archive and what followed.
func replay(t *testing.T, n *raftstoretest.Node, snap archive.Snapshot) []raftstoretest.Entry {
	t.Helper()
	f, err := os.Open(snap.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var j raftstoretest.Journal
	info, err := raftstore.ReadBackup(f, func(_ raftstore.BackupInfo, r io.Reader) error { return j.Restore(r) })
	if err != nil {
		t.Fatal(err)
	}
	if info.Index != snap.Index || info.Stamp != snap.Stamp || len(info.Peers) != 3 || info.Cluster == (raftstore.ClusterID{}) {
		t.Errorf("the snapshot %+v says %+v", snap, info)
	}
	list, err := archivedOn(t, n, snap.Index+1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		j.Apply(e.Index, e.Stamp, []byte(e.Data))
	}
	return j.Entries()
}

// An archive that can't be written must cost the node nothing.
func TestNodeGoesOnWithoutItsArchive(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	n := c.Nodes[0]
	n.Config.Archive = &archive.Options{Reserve: 1 << 62} // more than is free
	c.StartAll()
	for i := range 20 {
		c.Propose(n, fmt.Sprint(i))
	}
	if err := n.Store.Compact(1000); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	if err := n.Store.SyncArchive(); err != nil {
		t.Fatal(err)
	}
	raftstoretest.Await(t, "dropped entries to be counted", func() bool {
		v, ok := metric(t, "routerd_raft_archive_dropped_entries")
		return ok && v >= 20
	})
	c.Kill(n)
	if err := os.RemoveAll(raftstore.ArchiveDir(n.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(raftstore.ArchiveDir(n.Dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Start(n)
	c.Propose(n, "without")
	if err := n.Store.SyncArchive(); !errors.Is(err, raftstore.ErrNoArchive) {
		t.Errorf("sync: %v", err)
	}
	agree(t, c, 21)
}

func TestSnapshotOfTheArchiveIsABackup(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	n := c.Nodes[0]
	withArchive(n)
	c.StartAll()
	for i := range 10 {
		c.Propose(n, fmt.Sprint(i))
	}
	if err := n.Store.Compact(1000); err != nil {
		t.Fatal(err)
	}
	want := agree(t, c, 10)
	c.Kill(n)
	snaps, err := archive.Snapshots(raftstore.ArchiveDir(n.Dir))
	if err != nil || len(snaps) != 1 {
		t.Fatal(snaps, err)
	}
	f, err := os.Open(snaps[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n.Dir = filepath.Join(t.TempDir(), "anew")
	n.Config.Dir = n.Dir
	if _, _, err := raftstore.Restore(n.Dir, f, raftstore.RestoreConfig{ID: n.ID, Voters: n.Config.Voters}); err != nil {
		t.Fatal(err)
	}
	c.Start(n)
	c.Propose(n, "after")
	e := agree(t, c, 11)
	equal(t, "restored", e[:10], want)
	if d := time.Duration(e[10].Stamp - e[9].Stamp); d <= 0 || d > time.Minute {
		t.Errorf("stamped %s after the backup's last", d)
	}
	if _, err := archivedOn(t, n, 1); err == nil {
		t.Error("the new cluster's archive does not say that it begins later")
	}
}
