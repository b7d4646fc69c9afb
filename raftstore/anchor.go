package raftstore

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// anchoredLog answers for the entry a snapshot ends with (hashicorp/raft issue
// 205). A follower that installed a snapshot has removed its log up to there;
// when the leader then repeats the entries after the snapshot, raft looks for
// the one before them, does not find it, refuses, and is sent the snapshot
// again without end. Only index and term of that entry are compared.
type anchoredLog struct {
	raft.LogStore
	anchor *snapshotAnchor
}

// IsMonotonic hands on what the store says.
func (l *anchoredLog) IsMonotonic() bool { return isMonotonic(l.LogStore) }

// GetLog finds an entry, or the bare index and term of the snapshot's last.
func (l *anchoredLog) GetLog(index uint64, e *raft.Log) error {
	err := l.LogStore.GetLog(index, e)
	if !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if last := l.anchor.last.Load(); last != nil && last.index == index {
		// Without data: were it ever applied, the state machine would halt.
		*e = raft.Log{Index: last.index, Term: last.term}
		return nil
	}
	return err
}

func isMonotonic(l raft.LogStore) bool {
	m, ok := l.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// snapshotAnchor is a snapshot store that remembers where the newest snapshot
// ends.
type snapshotAnchor struct {
	raft.SnapshotStore
	last atomic.Pointer[logPosition]
}

type logPosition struct{ index, term uint64 }

func newSnapshotAnchor(store raft.SnapshotStore) (*snapshotAnchor, error) {
	a := &snapshotAnchor{SnapshotStore: store}
	list, err := store.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	if len(list) > 0 { // newest first
		a.last.Store(&logPosition{list[0].Index, list[0].Term})
	}
	return a, nil
}

// Create begins a snapshot; it counts once it is closed.
func (a *snapshotAnchor) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration,
	at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := a.SnapshotStore.Create(v, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return &anchoringSink{sink, c, func() { a.last.Store(&logPosition{index, term}) }}, nil
}

type anchoringSink struct {
	raft.SnapshotSink
	members raft.Configuration
	done    func()
}

// membersOf is the configuration of a snapshot that is being written.
func membersOf(sink raft.SnapshotSink) raft.Configuration {
	if s, ok := sink.(*anchoringSink); ok {
		return s.members
	}
	return raft.Configuration{}
}

func (s *anchoringSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	s.done()
	return nil
}
