package raftstore

import (
	"fmt"
	"testing"

	wal "github.com/hashicorp/raft-wal"
)

func TestVoteIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	w, err := wal.Open(dir, wal.WithSegmentSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Close() }()
	s := &voteStore{StableStore: w}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := func(s *voteStore, term uint64, candidate string) {
		t.Helper()
		got, err := s.GetUint64(keyVoteTerm)
		must(err)
		who, err := s.Get(keyVoteCand)
		must(err)
		if got != term || string(who) != candidate {
			t.Errorf("vote is for %q in term %d, want %q in term %d", who, got, candidate, term)
		}
	}
	f(s, 0, "")
	// One of a version that wrote two keys.
	must(w.SetUint64(keyVoteTerm, 3))
	must(w.Set(keyVoteCand, []byte("old")))
	f(s, 3, "old")
	for term := uint64(4); term < 7; term++ {
		candidate := fmt.Sprint("r", term)
		must(s.SetUint64(keyVoteTerm, term))
		must(s.Set(keyVoteCand, []byte(candidate)))
		f(s, term, candidate)
		f(&voteStore{StableStore: w}, term, candidate) // after a restart
	}
	// A crash between the two leaves the vote that was told to somebody.
	must(s.SetUint64(keyVoteTerm, 9))
	f(&voteStore{StableStore: w}, 6, "r6")
	must(s.Set(keyVoteCand, []byte("r9")))
	f(s, 9, "r9")
	// Everything else goes through.
	must(s.SetUint64(keyCurrentTerm, 12))
	if v, err := w.GetUint64(keyCurrentTerm); v != 12 || err != nil {
		t.Errorf("term on disk is %d, %v", v, err)
	}
	must(s.Set(keyCluster, []byte("0123456789abcdef")))
	if v, err := s.Get(keyCluster); string(v) != "0123456789abcdef" || err != nil {
		t.Errorf("cluster is %q, %v", v, err)
	}
	must(w.Close())
	if w, err = wal.Open(dir, wal.WithSegmentSize(1<<20)); err != nil {
		t.Fatal(err)
	}
	f(&voteStore{StableStore: w}, 9, "r9")
}
