package raftstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"trunkline/raftstore/archive"
)

// ArchiveDir is where a node with this Dir keeps its archive: package archive
// reads it, and its snapshots are backups that ReadBackup reads.
func ArchiveDir(dir string) string { return filepath.Join(dir, "archive") }

// archived is the node's archive; nil when there is none.
type archived struct {
	w    *archive.Writer
	node string
	log  *slog.Logger
}

// openArchive opens the archive and fills it up to this node's snapshot from
// its log: what was in memory when the node crashed, and what a loss of power
// took. A node whose archive can't be opened goes on without: calls come first.
func openArchive(cfg Config, d *disk) *archived {
	if cfg.Archive == nil {
		return nil
	}
	opt := *cfg.Archive
	if opt.Logger == nil {
		opt.Logger = cfg.Logger
	}
	w, err := archive.Open(ArchiveDir(cfg.Dir), opt)
	if err != nil {
		cfg.Logger.Error("raft: no archive is kept", "err", err)
		return nil
	}
	a := &archived{w: w, node: cfg.ID, log: cfg.Logger}
	if err := a.fillUp(d); err != nil {
		cfg.Logger.Warn("raft: the archive has a gap", "err", err)
	}
	return a
}

// fillUp takes from the log what lies between the archive's end and the newest
// snapshot. What follows that snapshot is applied, and so archived, again.
func (a *archived) fillUp(d *disk) error {
	h, err := newestHeader(d.snaps)
	if err != nil {
		return err
	}
	last, stamp := a.w.Last()
	if h.index <= last {
		return nil
	}
	first, err := d.log.FirstIndex()
	if err == nil && (first == 0 || first > last+1) {
		err = fmt.Errorf("the log begins at %d", first)
	}
	if err == nil {
		err = a.fill(d.log, last, stamp, h.index)
	}
	if err != nil {
		a.w.Skip(h.index, "they are not in this node's log any more: "+err.Error())
		return fmt.Errorf("entries %d to %d: %w", last+1, h.index, err)
	}
	return nil
}

// fillBytes is how much is taken from the log before it is written out.
const fillBytes = 1 << 20

func (a *archived) fill(log raft.LogStore, last uint64, stamp int64, to uint64) error {
	taken := 0
	for index := last + 1; index <= to; index++ {
		var e raft.Log
		if err := log.GetLog(index, &e); err != nil {
			return err
		}
		if e.Type != raft.LogCommand {
			continue
		}
		kind, said, body, err := decodeEntry(e.Data)
		if err != nil {
			return err
		}
		stamp = max(stamp+1, said)
		a.take(kind, last, archive.Record{Index: index, Term: e.Term, Stamp: stamp, Data: body})
		last = index
		if taken += len(body); taken > fillBytes {
			taken = 0
			a.w.Sync()
		}
	}
	return nil
}

// newestHeader is that of the newest snapshot; zero when there is none.
func newestHeader(snaps raft.SnapshotStore) (snapshotHeader, error) {
	list, err := snaps.List()
	if err != nil || len(list) == 0 {
		return snapshotHeader{}, err
	}
	_, r, err := snaps.Open(list[0].ID)
	if err != nil {
		return snapshotHeader{}, fmt.Errorf("open snapshot %s: %w", list[0].ID, err)
	}
	defer r.Close()
	return readSnapshotHeader(r)
}

// take archives an entry that was applied after the one at prev.
func (a *archived) take(k entryKind, prev uint64, r archive.Record) {
	switch {
	case a == nil:
	case k == entryCommand:
		a.w.Append(prev, r)
	default:
		a.w.Note(prev, r)
	}
}

func (a *archived) skip(to uint64, reason string) {
	if a != nil {
		a.w.Skip(to, reason)
	}
}

// copySnapshot writes the state to w, and to the archive as a backup if that
// wants one. What fails there does not matter here.
func (a *archived) copySnapshot(s *snapshot, members raft.Configuration, w *bufio.Writer) error {
	if a == nil || !a.w.WantsSnapshot(s.head.index, s.head.last) {
		return s.write(w)
	}
	info := BackupInfo{Node: a.node, Made: time.Now().UTC(), Peers: peersOf(members)}
	info.take(s.head)
	var state error
	wrote := false
	err := a.w.Snapshot(s.head.index, s.head.last, func(copy io.Writer) error {
		b := newBackupWriter(copy)
		aside := &asideWriter{w: b, err: b.begin(info)}
		wrote = true
		if state = s.write(io.MultiWriter(w, aside)); state != nil {
			return state
		}
		if aside.err != nil {
			return aside.err
		}
		return b.end(&info)
	})
	if !wrote {
		state = s.write(w)
	}
	if err != nil && state == nil {
		a.log.Warn("raft: no snapshot in the archive", "err", err)
	}
	return state
}

// asideWriter writes until it fails and pretends from then on.
type asideWriter struct {
	w   io.Writer
	err error
}

func (a *asideWriter) Write(p []byte) (int, error) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
	}
	return len(p), nil
}

// Close writes what is pending.
func (a *archived) Close() {
	if a != nil {
		a.w.Close()
	}
}

// ErrNoArchive says that Config.Archive is not set, or that it can't be opened.
var ErrNoArchive = errors.New("raftstore: this node keeps no archive")

// SyncArchive returns once every entry this node has applied so far is in the
// files of its archive, for a reader to find, or left out as a gap.
func (s *Store) SyncArchive() error {
	if s.fsm.archive == nil {
		return ErrNoArchive
	}
	s.fsm.archive.w.Sync()
	return nil
}
