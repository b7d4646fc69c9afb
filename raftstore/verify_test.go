package raftstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// stoppedDir is the folder of a node that took commands and a snapshot.
func stoppedDir(t *testing.T, trailing uint64) string {
	t.Helper()
	c := raftstoretest.New(t, 1, nil)
	c.StartAll()
	n := c.Nodes[0]
	for i := range 100 {
		c.Propose(n, fmt.Sprintf("command number %d of the log", i))
	}
	if err := n.Store.Compact(trailing); err != nil {
		t.Fatal(err)
	}
	c.Propose(n, "command after the snapshot")
	if _, err := raftstore.VerifyDir(n.Dir, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("verify a running node: %v", err)
	}
	c.Stop(n)
	return n.Dir
}

func TestVerifyDirReadsAllThereIs(t *testing.T) {
	dir := stoppedDir(t, 1000)
	var j raftstoretest.Journal
	info, err := raftstore.VerifyDir(dir, j.Restore)
	if err != nil {
		t.Fatal(err)
	}
	if info.First != 1 || info.Last < 101 || info.Entries != info.Last || info.Bytes < 2500 || len(info.Snapshots) != 1 ||
		info.Cluster == (raftstore.ClusterID{}) || info.Term == 0 {
		t.Errorf("info is %+v", info)
	}
	if got := len(j.Entries()); got != 100 {
		t.Errorf("the snapshot has %d commands, want 100", got)
	}
	if _, err := raftstore.VerifyDir(t.TempDir(), nil); !errors.Is(err, raftstore.ErrNoState) {
		t.Errorf("an empty folder: %v", err)
	}
	choke := errors.New("choked")
	if _, err := raftstore.VerifyDir(dir, func(io.Reader) error { return choke }); !errors.Is(err, choke) {
		t.Errorf("a decoder that fails: %v", err)
	}
}

func TestVerifyDirFindsDamage(t *testing.T) {
	good := stoppedDir(t, 50)
	f := func(what string, harm func(t *testing.T, dir string), want string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		harm(t, dir)
		info, err := raftstore.VerifyDir(dir, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, info %+v, want %q", what, err, info, want)
		}
	}
	edit := func(pattern string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(files) != 1 {
				t.Fatalf("%s: %v, %v", pattern, files, err)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(in string) func([]byte) []byte {
		return func(b []byte) []byte {
			i := bytes.Index(b, []byte(in))
			if i < 0 {
				t.Fatalf("%q is not in the file", in)
			}
			b[i] ^= 4
			return b
		}
	}
	f("a bit of an old entry", edit("wal/*.wal", flip("command number 77 of")), "checksum differs")
	f("a bit of a snapshot", edit("snapshots/*/state.bin", flip("number 7 of")), "CRC mismatch")
	f("a snapshot cut short", edit("snapshots/*/state.bin", func(b []byte) []byte { return b[:len(b)-1] }), "CRC mismatch")
	f("a snapshot's description", edit("snapshots/*/meta.json", func(b []byte) []byte { return b[:20] }), "description")
	f("the snapshot that the log goes on from", func(t *testing.T, dir string) {
		if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
			t.Fatal(err)
		}
	}, "entries 1 to ")
}
