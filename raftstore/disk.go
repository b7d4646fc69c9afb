package raftstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// slowWrite is the write that is counted as slow: a healthy disk takes a few
// milliseconds for an fsync.
const slowWrite = 100 * time.Millisecond

// watchedLog is a log store whose writes are watched (hashicorp/raft issue
// 503): a write in flight for longer than deadline is fatal, because a leader
// that can't write would keep its office by heartbeats. Truncation is not
// watched by itself: a write that waits behind it is.
type watchedLog struct {
	raft.LogStore
	watch *diskWatch
}

// IsMonotonic hands on what the store says: raft must clear a log that may not
// have gaps before it installs a snapshot.
func (l *watchedLog) IsMonotonic() bool { return isMonotonic(l.LogStore) }

// GetLog finds an entry and checks it, before it is applied or sent on: damage
// must stay on the disk it happened on.
func (l *watchedLog) GetLog(index uint64, e *raft.Log) error {
	if err := l.LogStore.GetLog(index, e); err != nil {
		return err
	}
	if err := checkEntry(index, e); err != nil {
		err = fmt.Errorf("%w: log index %d: %w", ErrDiskDamaged, index, err)
		l.watch.fatal(err)
		return err
	}
	return nil
}

func (l *watchedLog) StoreLog(e *raft.Log) error {
	defer l.watch.start("append")()
	return l.LogStore.StoreLog(e)
}

func (l *watchedLog) StoreLogs(es []*raft.Log) error {
	defer l.watch.start("append")()
	return l.LogStore.StoreLogs(es)
}

// watchedStable does the same for term and vote.
type watchedStable struct {
	raft.StableStore
	watch *diskWatch
}

func (s *watchedStable) Set(key, val []byte) error {
	defer s.watch.start("vote")()
	return s.StableStore.Set(key, val)
}

func (s *watchedStable) SetUint64(key []byte, val uint64) error {
	defer s.watch.start("term")()
	return s.StableStore.SetUint64(key, val)
}

// diskWatch times writes.
type diskWatch struct {
	deadline time.Duration
	fatal    func(error)
	took     func(time.Duration)
}

// looks is in how many steps a deadline passes. A process that was stopped for
// a while finds its timers due at once, with its disk in order: it must see the
// write in flight several times before it gives up.
const looks = 3

// start begins to watch a write; the function it returns ends it.
func (w *diskWatch) start(what string) (end func()) {
	began := time.Now()
	var mu sync.Mutex
	seen, over := 0, false
	var t *time.Timer
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(w.deadline/looks, func() {
		mu.Lock()
		seen++
		hung := !over && seen == looks
		if !over && seen < looks {
			t.Reset(w.deadline / looks)
		}
		mu.Unlock()
		if hung {
			w.fatal(fmt.Errorf("%w: %s in flight for %s", ErrDiskHung, what, time.Since(began).Round(time.Millisecond)))
		}
	})
	return func() {
		mu.Lock()
		over = true
		t.Stop()
		mu.Unlock()
		w.took(time.Since(began))
	}
}
