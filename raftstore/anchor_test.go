package raftstore

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

func TestLogAnswersForTheSnapshotsLastEntry(t *testing.T) {
	snaps := raft.NewInmemSnapshotStore()
	logs := raft.NewInmemStore()
	open := func() *anchoredLog {
		a, err := newSnapshotAnchor(snaps)
		if err != nil {
			t.Fatal(err)
		}
		return &anchoredLog{LogStore: logs, anchor: a}
	}
	l := open()
	f := func(l *anchoredLog, index, term uint64) {
		t.Helper()
		var e raft.Log
		err := l.GetLog(index, &e)
		if term == 0 && !errors.Is(err, raft.ErrLogNotFound) || term != 0 && (err != nil || e.Index != index || e.Term != term) {
			t.Errorf("entry %d is %+v, %v, want term %d", index, e, err, term)
		}
	}
	f(l, 204, 0)
	_, trans := raft.NewInmemTransport("")
	sink, err := l.anchor.Create(1, 204, 7, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	f(l, 204, 0) // not before it is complete
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	f(l, 204, 7)
	f(l, 203, 0)
	f(l, 205, 0)
	f(open(), 204, 7) // and after a restart
	if err := l.StoreLog(&raft.Log{Index: 204, Term: 9}); err != nil {
		t.Fatal(err)
	}
	f(l, 204, 9) // the log itself comes first
}
