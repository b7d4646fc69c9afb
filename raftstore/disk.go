package raftstore

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"golang.org/x/sys/unix"
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

func (l *watchedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

func (l *watchedLog) StoreLogs(es []*raft.Log) error {
	return l.watch.write("append", func() error { return l.LogStore.StoreLogs(es) })
}

// watchedStable does the same for term and vote.
type watchedStable struct {
	raft.StableStore
	watch *diskWatch
}

func (s *watchedStable) Set(key, val []byte) error {
	return s.watch.write("vote", func() error { return s.StableStore.Set(key, val) })
}

func (s *watchedStable) SetUint64(key []byte, val uint64) error {
	return s.watch.write("term", func() error { return s.StableStore.SetUint64(key, val) })
}

// diskWatch times writes.
type diskWatch struct {
	dir      string
	deadline time.Duration
	fatal    func(error)
	took     func(time.Duration)
}

// write runs a write that the node can't be without: one that hangs is fatal,
// and so is one that fails. A leader would step down and a follower stay
// behind, both for as long as the disk is as it is, while a router that ended
// has its calls taken over.
func (w *diskWatch) write(what string, do func() error) error {
	end := w.start(what, w.deadline)
	err := do()
	end()
	if err != nil && !errors.Is(err, wal.ErrClosed) {
		w.fatal(w.failure(what, err))
	}
	return err
}

// failure says what a person must do.
func (w *diskWatch) failure(what string, err error) error {
	free, ask := freeBytes(w.dir)
	// raft-wal makes the next segment ahead and reports a failure of that as a
	// sealed segment, so the error need not say that the disk is full.
	if errors.Is(err, syscall.ENOSPC) || ask == nil && free < 2*segmentSize {
		return fmt.Errorf("%w: %s: %w: free space on the disk of %s (%d MiB left) and start this node again: nothing it acknowledged is lost",
			ErrDiskFull, what, err, w.dir, free>>20)
	}
	return fmt.Errorf("%w: %s: %w: mend the disk of %s and start this node again, with an empty folder if its data is lost",
		ErrDiskFailed, what, err, w.dir)
}

// freeBytes is the space that is left to this process on the disk of dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// checkRoom refuses to start on a disk that is nearly full: a node that starts
// and ends again and again has calls given to it and taken away each time.
func checkRoom(dir string, least int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("raftstore: %w", err)
	}
	if free < least {
		return fmt.Errorf("%w: %d MiB are left on the disk of %s and %d are needed to start: free space", ErrDiskFull, free>>20, dir, least>>20)
	}
	return nil
}

// looks is in how many steps a deadline passes. A process that was stopped for
// a while finds its timers due at once, with its disk in order: it must see the
// write in flight several times before it gives up.
const looks = 3

// start begins to watch a write; the function it returns ends it.
func (w *diskWatch) start(what string, deadline time.Duration) (end func()) {
	began := time.Now()
	var mu sync.Mutex
	seen, over := 0, false
	var t *time.Timer
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(deadline/looks, func() {
		mu.Lock()
		seen++
		hung := !over && seen == looks
		if !over && seen < looks {
			t.Reset(deadline / looks)
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
