package raftstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// openSnapshots opens the snapshots in dir and removes what a crash left
// unfinished: raft passes over it and never removes it.
func openSnapshots(dir string, logger hclog.Logger, watch *diskWatch, failed func()) (*snapshotAnchor, error) {
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, logger)
	if err != nil {
		return nil, fmt.Errorf("open the snapshots in %s: %w", dir, err)
	}
	folder := filepath.Join(dir, "snapshots")
	list, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), snapshotTemp) {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return nil, fmt.Errorf("remove an unfinished snapshot: %w", err)
			}
		}
	}
	snaps, err := newSnapshotAnchor(&watchedSnapshots{SnapshotStore: files, folder: folder, watch: watch, failed: failed})
	if err != nil {
		return nil, fmt.Errorf("open the snapshots in %s: %w", dir, err)
	}
	return snaps, nil
}

// snapshotTemp ends the name of a snapshot that is being written.
const snapshotTemp = ".tmp"

// watchedSnapshots writes snapshots in steps that are forced to disk one by one
// and watched like the log's writes: a hung disk is noticed, and a flood of
// unwritten pages never holds up the log. One that fails is removed. It is not
// fatal: the log has what it would have had.
type watchedSnapshots struct {
	raft.SnapshotStore
	folder string
	watch  *diskWatch
	failed func()
}

// Create begins a snapshot.
func (s *watchedSnapshots) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration,
	at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	var sink raft.SnapshotSink
	err := s.timed("snapshot's start", startSteps, func() (err error) {
		sink, err = s.SnapshotStore.Create(v, index, term, c, at, trans)
		return err
	})
	if err != nil {
		s.failed()
		return nil, err
	}
	w := &watchedSink{SnapshotSink: sink, store: s, temp: filepath.Join(s.folder, sink.ID()+snapshotTemp)}
	// The sink does not show its file; any descriptor of it will do for
	// forcing it to disk.
	if w.file, err = os.Open(filepath.Join(w.temp, "state.bin")); err != nil {
		return nil, errors.Join(fmt.Errorf("open the snapshot's file: %w", err), w.Cancel())
	}
	return w, nil
}

// timed watches a call that does several writes to disk in turn.
func (s *watchedSnapshots) timed(what string, steps int, do func() error) error {
	defer s.watch.start(what, time.Duration(steps)*s.watch.deadline)()
	return do()
}

const (
	// snapshotStep is how much of a snapshot is written before it is forced
	// to disk.
	snapshotStep = 1 << 20
	// startSteps and endSteps are the writes with fsync that the library does
	// when a snapshot begins (its description) and ends (state, description,
	// folder, and the removal of an older one).
	startSteps = 1
	endSteps   = 4
)

// watchedSink is a snapshot that is being written.
type watchedSink struct {
	raft.SnapshotSink
	store *watchedSnapshots
	temp  string
	file  *os.File
	dirty int
	over  bool
}

// Write takes a part of the state.
func (s *watchedSink) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), snapshotStep-s.dirty)]
		err := s.store.timed("snapshot", 1, func() error {
			m, err := s.SnapshotSink.Write(part)
			n += m
			if s.dirty += m; err == nil && s.dirty >= snapshotStep {
				s.dirty = 0
				err = unix.Fdatasync(int(s.file.Fd()))
			}
			return err
		})
		if err != nil {
			return n, err
		}
		p = p[len(part):]
	}
	return n, nil
}

// Close completes the snapshot.
func (s *watchedSink) Close() error {
	if s.over {
		return nil
	}
	err := s.store.timed("snapshot's end", endSteps, s.SnapshotSink.Close)
	s.end(err != nil)
	return err
}

// Cancel removes it.
func (s *watchedSink) Cancel() error {
	if s.over {
		return nil
	}
	s.SnapshotSink.Cancel() // it forgets to remove what it can't complete
	s.end(true)
	return nil
}

func (s *watchedSink) end(failed bool) {
	s.over = true
	if s.file != nil {
		s.file.Close()
	}
	if failed {
		s.store.failed()
		os.RemoveAll(s.temp)
	}
}
