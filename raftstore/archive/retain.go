package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WantsSnapshot tells whether a snapshot of the state at an index would help: a
// replay begins with one.
func (w *Writer) WantsSnapshot(index uint64, stamp int64) bool {
	last := *w.snapped.Load()
	switch {
	case index <= last.index:
		return false
	case last.index == 0, w.gapped.Load():
		return true
	}
	return index-last.index >= w.opt.SnapshotEntries || stamp-last.stamp >= int64(w.opt.SnapshotEvery)
}

// Snapshot keeps a state that ends with the entry at index. write may take its
// time; the file is put in place when it is whole and on disk.
func (w *Writer) Snapshot(index uint64, stamp int64, write func(io.Writer) error) error {
	if err := w.room(); err != nil {
		return fmt.Errorf("archive: keep a snapshot: %w", err)
	}
	gapped := w.gapped.Load()
	path := filepath.Join(w.dir, fmt.Sprintf("%020d-%d%s", index, stamp, snapshotExt))
	size, err := writeWhole(path, write)
	if err != nil {
		return fmt.Errorf("archive: keep a snapshot: %w", err)
	}
	w.snapped.Store(&position{index, stamp})
	if gapped {
		w.gapped.Store(false)
	}
	w.bytes.Add(size)
	return nil
}

func writeWhole(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.Create(path + ".new")
	if err != nil {
		return 0, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	b := bufio.NewWriterSize(f, 256<<10)
	if err := write(b); err != nil {
		return 0, err
	}
	if err := b.Flush(); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(path))
}

// retain removes what is too much or too old. It runs when a segment was
// completed.
func (w *Writer) retain() {
	segments, err := listSegments(w.dir)
	if err != nil {
		w.opt.Logger.Warn("archive: can't remove old segments", "dir", w.dir, "err", err)
		return
	}
	snaps, err := Snapshots(w.dir)
	if err != nil {
		w.opt.Logger.Warn("archive: can't remove old segments", "dir", w.dir, "err", err)
		return
	}
	total := int64(0)
	for _, s := range segments {
		total += s.size
	}
	for _, s := range snaps {
		total += s.Size
	}
	remove := func(path string, size int64) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.opt.Logger.Warn("archive: can't remove an old file", "file", path, "err", err)
			return
		}
		total -= size
	}
	for len(segments) > 1 && (total > w.opt.MaxBytes || w.old(segments[1])) {
		remove(segments[0].path, segments[0].size)
		segments = segments[1:]
		// A snapshot is of use as long as it ends where the oldest segment
		// goes on, or later.
		for len(snaps) > 1 && snaps[1].Index < segments[0].first {
			remove(snaps[0].Path, snaps[0].Size)
			snaps = snaps[1:]
		}
	}
	w.bytes.Store(total)
}

// old tells whether what is before a segment is too old: that ends where this
// one begins.
func (w *Writer) old(next segmentFile) bool {
	f, err := os.Open(next.path)
	if err != nil {
		return false
	}
	defer f.Close()
	s := newScanner(f)
	if s.start() != nil {
		return false
	}
	rec, err := s.next()
	return err == nil && rec.stamp != 0 && w.written.stamp-rec.stamp > int64(w.opt.MaxAge)
}

// Stats are the figures of this moment.
type Stats struct {
	Last    uint64 // index of the newest entry taken
	Bytes   int64  // of all files
	Dropped uint64 // entries left out since the start
}

// Stats returns them.
func (w *Writer) Stats() Stats {
	last, _ := w.Last()
	return Stats{Last: last, Bytes: w.bytes.Load(), Dropped: w.dropped.Load()}
}
