package raftstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// DirInfo is what a node's Dir holds.
type DirInfo struct {
	Cluster ClusterID // zero if it was never told
	Term    uint64    // the node's term
	// First and Last are the log's ends, 0 when it is empty.
	First, Last uint64
	Entries     uint64 // read and checked
	Bytes       int64  // of their data
	Snapshots   []SnapshotInfo
}

// SnapshotInfo is a snapshot on disk.
type SnapshotInfo struct {
	ID          string
	Index, Term uint64
	Size        int64
}

// ErrNoState is what a Dir without a node's data is.
var ErrNoState = errors.New("raftstore: no node's data")

// VerifyDir reads all that a stopped node has in dir: that the log has every
// entry from its first to its last, each with its checksum in order and terms
// that never fall; that every snapshot is whole, and that the log goes on where
// the newest ends. state gets the newest snapshot's bytes, as
// StateMachine.Restore does, and may be nil. The error joins all faults; what
// could be read is returned with it. A running node's Dir is refused.
//
// Like a node's start it drops an append that was cut off by a crash, which no
// one was told of. It changes nothing else.
func VerifyDir(dir string, state func(io.Reader) error) (info DirInfo, err error) {
	walDir := filepath.Join(dir, "wal")
	if _, err := os.Stat(walDir); err != nil {
		return info, fmt.Errorf("%w: %w", ErrNoState, err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return info, err
	}
	defer unlock()
	quiet := libraryLogger(slog.New(slog.DiscardHandler))
	w, err := wal.Open(walDir, wal.WithLogger(quiet), wal.WithSegmentSize(segmentSize))
	if err != nil {
		return info, fmt.Errorf("open the log in %s: %w", walDir, err)
	}
	defer w.Close()
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	member, err := openMembership(w)
	if err != nil {
		fault("%w", err)
	} else {
		info.Cluster = member.id()
	}
	if info.Term, err = w.GetUint64(keyCurrentTerm); err != nil {
		fault("read the term: %w", err)
	}
	snaps, err := verifySnapshots(dir, &info, state)
	if err != nil {
		fault("%w", err)
	}
	if err := verifyLog(w, &info, snaps); err != nil {
		fault("%w", err)
	}
	return info, errors.Join(faults...)
}

// verifySnapshots returns where the newest whole snapshot ends.
func verifySnapshots(dir string, info *DirInfo, state func(io.Reader) error) (newest logPosition, err error) {
	list, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return newest, fmt.Errorf("list the snapshots: %w", err)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, max(len(list), 1), libraryLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return newest, fmt.Errorf("open the snapshots: %w", err)
	}
	known, err := store.List()
	if err != nil {
		return newest, fmt.Errorf("list the snapshots: %w", err)
	}
	var faults []error
	listed := map[string]bool{}
	for i, m := range known { // newest first
		listed[m.ID] = true
		info.Snapshots = append(info.Snapshots, SnapshotInfo{m.ID, m.Index, m.Term, m.Size})
		decode := state
		if i > 0 {
			decode = nil
		}
		if err := verifySnapshot(store, m, info.Cluster, decode); err != nil {
			faults = append(faults, fmt.Errorf("snapshot %s: %w", m.ID, err))
		} else if m.Index > newest.index {
			newest = logPosition{m.Index, m.Term}
		}
	}
	for _, e := range list {
		// One that was being written when the node stopped is no fault.
		if e.IsDir() && !listed[e.Name()] && filepath.Ext(e.Name()) != snapshotTemp {
			faults = append(faults, fmt.Errorf("snapshot %s: its description can't be read", e.Name()))
		}
	}
	return newest, errors.Join(faults...)
}

func verifySnapshot(store raft.SnapshotStore, m *raft.SnapshotMeta, cluster ClusterID, state func(io.Reader) error) error {
	_, src, err := store.Open(m.ID) // checks its sum
	if err != nil {
		return err
	}
	defer src.Close()
	r := bufio.NewReaderSize(src, 256<<10)
	h, err := readSnapshotHeader(r)
	switch {
	case err != nil:
		return err
	case h.cluster.stranger(cluster):
		return fmt.Errorf("it is of cluster %s, the node of %s", h.cluster, cluster)
	case h.index > m.Index:
		return fmt.Errorf("its state is of index %d, it says %d", h.index, m.Index)
	case state == nil:
		return nil
	}
	if err := state(r); err != nil {
		return fmt.Errorf("its state: %w", err)
	}
	return nil
}

// maxLogFaults bounds how many faults of a log are told.
const maxLogFaults = 20

func verifyLog(log raft.LogStore, info *DirInfo, snap logPosition) error {
	var err error
	if info.First, err = log.FirstIndex(); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if info.Last, err = log.LastIndex(); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	var faults []error
	if info.First == 0 {
		if info.Term > 0 && snap.index == 0 && info.Cluster != (ClusterID{}) {
			return errors.New("a member without log and snapshot")
		}
		return nil
	}
	if info.First > snap.index+1 {
		faults = append(faults, fmt.Errorf("entries %d to %d are missing: the log begins at %d, the newest whole snapshot ends at %d",
			snap.index+1, info.First-1, info.First, snap.index))
	}
	term := uint64(0)
	for index := info.First; index <= info.Last && len(faults) < maxLogFaults; index++ {
		var e raft.Log
		if err := log.GetLog(index, &e); err != nil {
			faults = append(faults, fmt.Errorf("log index %d: %w", index, err))
			continue
		}
		if err := checkEntry(index, &e); err != nil {
			faults = append(faults, fmt.Errorf("log index %d: %w", index, err))
		} else if e.Type == raft.LogCommand {
			if _, _, _, err := decodeEntry(e.Data); err != nil {
				faults = append(faults, fmt.Errorf("log index %d: %w", index, err))
			}
		}
		switch {
		case e.Term < term:
			faults = append(faults, fmt.Errorf("log index %d is of term %d, the one before of %d", index, e.Term, term))
		case e.Term > info.Term:
			faults = append(faults, fmt.Errorf("log index %d is of term %d, the node is in %d", index, e.Term, info.Term))
		case index == snap.index && e.Term != snap.term:
			faults = append(faults, fmt.Errorf("log index %d is of term %d, the snapshot that ends there of %d", index, e.Term, snap.term))
		}
		term = max(term, e.Term)
		info.Entries++
		info.Bytes += int64(len(e.Data))
	}
	if len(faults) == maxLogFaults {
		faults = append(faults, errors.New("and perhaps more after "+strconv.FormatUint(info.Entries, 10)+" entries"))
	}
	return errors.Join(faults...)
}
