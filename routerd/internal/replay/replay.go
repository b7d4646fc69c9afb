// Package replay builds the state of a past moment again, from a backup or a
// snapshot and the archived log entries that followed it, with the state machine
// itself: what it shows is what every router held at that moment, and its hash
// proves it.
//
// It knows files alone and no network, and it judges nothing: it shows the calls,
// queues, agents and configuration as they were, and what two moments differ in.
package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// Files are what a moment is rebuilt from: at least one of them.
type Files struct {
	Backup  string // a backup's file
	Archive string // an archive's folder; its snapshots serve as backups too
}

// Target is the moment: an index of the log, or a time.
type Target struct {
	Index uint64
	Time  time.Time // if Index is 0: the state after the last entry at this time or before
}

func (t Target) String() string {
	if t.Index != 0 {
		return fmt.Sprintf("index %d", t.Index)
	}
	return t.Time.UTC().Format(time.RFC3339Nano)
}

// Moment is a rebuilt state.
type Moment struct {
	Machine *acd.Machine
	Base    uint64 // index of the state it was built from; 0: from nothing
	Applied int    // entries that were applied to it
}

// ErrNoBase says that no state is as old as the target.
var ErrNoBase = errors.New("replay: neither a backup nor a snapshot is that old, and the archive does not reach back to the first entry")

// At rebuilds the state of a moment.
func (f Files) At(to Target) (*Moment, error) {
	m, err := f.base(to)
	if err != nil {
		return nil, err
	}
	last, err := f.lastEntry(to, m.Base)
	if err != nil {
		return nil, err
	}
	if last <= m.Base {
		return m, nil
	}
	err = archive.Read(f.Archive, m.Base+1, last, func(r archive.Record) error {
		m.Applied++
		_, _, _, err := Apply(m.Machine, r)
		return err
	})
	var gap *archive.GapError
	if errors.As(err, &gap) && m.Base == 0 && gap.From == 1 {
		return nil, fmt.Errorf("%w: %w", ErrNoBase, err)
	}
	if err != nil {
		return nil, fmt.Errorf("replay from index %d to %d: %w", m.Base, last, err)
	}
	return m, nil
}

// Apply gives the machine an archived entry, as the router did.
func Apply(m *acd.Machine, r archive.Record) (acd.Command, acd.Result, []acd.Effect, error) {
	cmd, err := acdwire.DecodeCommand(r.Data)
	if err != nil {
		return cmd, acd.Result{}, nil, fmt.Errorf("entry %d: %w: take a routerctl of the version that wrote it", r.Index, err)
	}
	cmd.Stamp = acd.Time(r.Stamp)
	res, effects := m.Apply(r.Index, cmd)
	return cmd, res, effects, nil
}

// base finds the newest state that is not past the target and reads it.
func (f Files) base(to Target) (*Moment, error) {
	path, index, err := f.newest(to)
	if err != nil {
		return nil, err
	}
	if path == "" {
		if f.Archive == "" {
			return nil, fmt.Errorf("%w: backup %s is of index %d", ErrNoBase, f.Backup, index)
		}
		return &Moment{Machine: acd.New()}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, info, err := ReadState(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Moment{Machine: m, Base: info.Index}, nil
}

// newest returns the file of the best base, or "" and the index of what was too
// new.
func (f Files) newest(to Target) (path string, index uint64, err error) {
	fits := func(at uint64, stamp int64) bool {
		if to.Index != 0 {
			return at <= to.Index
		}
		return stamp <= to.Time.UnixNano()
	}
	if f.Backup != "" {
		file, err := os.Open(f.Backup)
		if err != nil {
			return "", 0, err
		}
		defer file.Close()
		info, err := readInfo(file)
		if err != nil {
			return "", 0, fmt.Errorf("%s: %w", f.Backup, err)
		}
		if index = info.Index; fits(info.Index, info.Stamp) {
			path = f.Backup
		}
	}
	if f.Archive == "" {
		return path, index, nil
	}
	snapshots, err := archive.Snapshots(f.Archive)
	if err != nil {
		return "", 0, err
	}
	for _, s := range snapshots {
		if fits(s.Index, s.Stamp) && (path == "" || s.Index > index) {
			path, index = s.Path, s.Index
		}
	}
	return path, index, nil
}

// errEnough ends the reading of a backup whose head is all that is wanted.
var errEnough = errors.New("enough")

func readInfo(r io.Reader) (info raftstore.BackupInfo, err error) {
	_, err = raftstore.ReadBackup(r, func(i raftstore.BackupInfo, _ io.Reader) error {
		info = i
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return info, err
}

// ReadState reads a backup to its end and restores the machine in it.
func ReadState(r io.Reader) (m *acd.Machine, info raftstore.BackupInfo, err error) {
	info, err = raftstore.ReadBackup(r, func(_ raftstore.BackupInfo, state io.Reader) error {
		s, err := acdwire.DecodeState(state)
		if err != nil {
			return err
		}
		m, err = acd.Restore(s)
		return err
	})
	if err != nil {
		return nil, info, err
	}
	return m, info, nil
}

// lastEntry is the index up to which entries are to be applied.
func (f Files) lastEntry(to Target, base uint64) (uint64, error) {
	if f.Archive == "" {
		if to.Index > base {
			return 0, fmt.Errorf("replay: the backup is of index %d: an archive is needed to go on to %s", base, to)
		}
		return base, nil
	}
	if to.Index != 0 {
		return to.Index, nil
	}
	last, err := archive.IndexAt(f.Archive, to.Time.UnixNano())
	switch {
	case errors.Is(err, archive.ErrBefore) && base > 0:
		return base, nil // nothing came between the base and the moment
	case errors.Is(err, archive.ErrBefore):
		return 0, fmt.Errorf("%w: %s", ErrNoBase, to)
	}
	return last, err
}
