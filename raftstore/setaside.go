package raftstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// ErrNoWayBack means that no snapshot and no log of a node leads back to a state
// from before an index.
var ErrNoWayBack = errors.New("raftstore: nothing is left to rebuild the state from")

// SetAside makes a stopped node forget the states it has in snapshots of indexes
// above upto, so that its next start rebuilds its state from before and from the
// log. They are moved into the folder to, which is emptied first. It returns the
// index of the snapshot the node will start from, 0 if it starts from the log's
// first entry.
//
// It is for a node whose state machine went wrong while its log is right: log,
// term and vote stay, so the node may vote at once. A voter that had lost its log
// must not come back: it could help elect a leader without entries that its own
// lost copy had helped to commit. Where the log does not reach back far enough
// nothing is changed and the error is ErrNoWayBack: then the node must be
// replaced (Store.Replace), which takes its vote away first.
func SetAside(dir string, upto uint64, to string) (from uint64, err error) {
	walDir := filepath.Join(dir, "wal")
	if _, err := os.Stat(walDir); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoState, err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return 0, err
	}
	defer unlock()
	first, last, err := logEnds(walDir)
	if err != nil {
		return 0, err
	}
	list, err := listSnapshots(dir)
	if err != nil {
		return 0, err
	}
	var gone []string
	for _, s := range list { // newest first
		if s.Index > upto {
			gone = append(gone, s.ID)
		} else {
			from = max(from, s.Index)
		}
	}
	if first > from+1 || last < from || first == 0 && from == 0 {
		return 0, fmt.Errorf("%w of index %d: the log holds %d to %d and the newest earlier snapshot is of %d", ErrNoWayBack, upto, first, last, from)
	}
	if err := os.RemoveAll(to); err != nil {
		return 0, fmt.Errorf("set snapshots aside: %w", err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return 0, fmt.Errorf("set snapshots aside: %w", err)
	}
	snapshots := filepath.Join(dir, "snapshots")
	for _, id := range gone {
		if err := os.Rename(filepath.Join(snapshots, id), filepath.Join(to, id)); err != nil {
			return 0, fmt.Errorf("set snapshots aside: %w", err)
		}
	}
	if err := errors.Join(syncDir(snapshots), syncDir(to)); err != nil {
		return 0, fmt.Errorf("set snapshots aside: %w", err)
	}
	return from, nil
}

func logEnds(walDir string) (first, last uint64, err error) {
	quiet := libraryLogger(slog.New(slog.DiscardHandler))
	w, err := wal.Open(walDir, wal.WithLogger(quiet), wal.WithSegmentSize(segmentSize))
	if err != nil {
		return 0, 0, fmt.Errorf("open the log in %s: %w", walDir, err)
	}
	defer w.Close()
	if first, err = w.FirstIndex(); err == nil {
		last, err = w.LastIndex()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the log in %s: %w", walDir, err)
	}
	return first, last, nil
}

func listSnapshots(dir string) ([]*raft.SnapshotMeta, error) {
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, 1<<10, libraryLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("open the snapshots: %w", err)
	}
	list, err := store.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	return list, nil
}
