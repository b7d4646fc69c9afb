package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// End as the last index of a range means all there is.
const End = math.MaxUint64

// GapError says that entries of the range that was asked for are missing. What
// is before them was read.
type GapError struct {
	From, To uint64 // the missing indexes, both included
	Reason   string
}

func (e *GapError) Error() string {
	return fmt.Sprintf("archive: entries %d to %d are missing: %s", e.From, e.To, e.Reason)
}

// ErrDamaged is what a complete segment is that can't be read to its end.
var ErrDamaged = errors.New("archive: segment is damaged")

// Read calls fn with the commands whose indexes are in from to to, both
// included, in log order. Data is valid until fn returns. An error of fn ends
// it and is returned. Where an entry is missing it stops with a *GapError,
// before what follows; and so it does at the end if the archive does not reach
// to, unless to is End. It may run while the archive is being written and reads
// what is on disk by then.
func Read(dir string, from, to uint64, fn func(Record) error) error {
	r := &reader{from: max(from, 1), to: to, fn: fn}
	err := r.dir(dir)
	if errors.Is(err, errReached) {
		return nil
	}
	if err == nil && to != End && r.last < to {
		return &GapError{From: max(r.last+1, r.from), To: to, Reason: "the archive ends here"}
	}
	return err
}

// ReadStream reads what Export wrote, as Read does. A stream that is cut off
// fails with ErrDamaged.
func ReadStream(src io.Reader, fn func(Record) error) error {
	r := &reader{from: 1, to: End, fn: fn, anywhere: true}
	ended, err := r.segment(src)
	switch {
	case errors.Is(err, errTorn):
		return fmt.Errorf("%w: stream: %w", ErrDamaged, err)
	case err == nil && !ended:
		return fmt.Errorf("%w: stream: its end is missing", ErrDamaged)
	}
	return err
}

// Export writes the commands of a range as a stream, which ReadStream reads. It
// fails like Read, and the stream then lacks its end.
func Export(w io.Writer, dir string, from, to uint64) error {
	out := bufio.NewWriterSize(w, 256<<10)
	out.WriteString(magic)
	prev := max(from, 1) - 1
	var last record
	var buf []byte
	err := Read(dir, from, to, func(r Record) error {
		last = record{kind: kindCommand, index: r.Index, prev: prev, term: r.Term, stamp: r.Stamp, data: r.Data}
		buf = last.appendTo(buf[:0])
		prev = r.Index
		_, err := out.Write(buf)
		return err
	})
	if err == nil {
		_, err = out.Write(record{kind: kindEnd, index: prev, prev: prev, term: last.term, stamp: last.stamp}.appendTo(buf[:0]))
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return err
}

// errReached ends a reader that has all it was asked for.
var errReached = errors.New("reached the end of the range")

// reader takes records in order and watches over gaps.
type reader struct {
	from, to uint64
	fn       func(Record) error
	anywhere bool // the first record may follow anything
	last     uint64
	seen     bool
}

func (r *reader) dir(dir string) error {
	segments, err := listSegments(dir)
	if err != nil {
		return err
	}
	// Begin with the last segment that begins at from or before.
	at := 0
	for i, s := range segments {
		if s.first <= r.from {
			at = i
		}
	}
	for i, s := range segments[at:] {
		tail := at+i == len(segments)-1
		ended, err := r.file(s.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it became too old meanwhile; the next record tells
		case errors.Is(err, errTorn) && tail:
			return nil // being written, or cut off by a crash
		case errors.Is(err, errTorn):
			return fmt.Errorf("%w: %s: %w", ErrDamaged, s.path, err)
		case err != nil:
			return err
		case !ended && !tail:
			return fmt.Errorf("%w: %s: its end is missing", ErrDamaged, s.path)
		}
	}
	return nil
}

func (r *reader) file(path string) (ended bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return r.segment(f)
}

func (r *reader) segment(src io.Reader) (ended bool, err error) {
	s := newScanner(src)
	if err := s.start(); err != nil {
		return false, err
	}
	for {
		rec, err := s.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if rec.kind == kindEnd {
			return true, nil
		}
		if err := r.take(rec); err != nil {
			return false, err
		}
	}
}

func (r *reader) take(rec record) error {
	// An entry may be archived once only, whatever became of the file.
	if r.seen && rec.index <= r.last {
		return nil
	}
	missing := rec.prev
	if rec.kind == kindGap {
		missing = rec.index
	}
	known := max(r.last, r.from-1) // complete up to there, for this range
	if !r.seen && r.anywhere {
		known = max(known, rec.prev)
	}
	if missing > known && missing >= r.from && known < r.to {
		why := "they were never archived, or are no longer"
		if rec.kind == kindGap {
			why = string(rec.data)
		}
		return &GapError{From: known + 1, To: min(missing, r.to), Reason: why}
	}
	if rec.index > r.to {
		r.last = r.to
		return errReached
	}
	r.seen, r.last = true, rec.index
	if rec.kind == kindCommand && rec.index >= r.from {
		if err := r.fn(Record{Index: rec.index, Term: rec.term, Stamp: rec.stamp, Data: rec.data}); err != nil {
			return err
		}
	}
	if rec.index == r.to {
		return errReached
	}
	return nil
}

// ErrBefore says that a moment is before the archive's first entry.
var ErrBefore = errors.New("archive: nothing is as old as that")

// IndexAt returns the index of the last entry that was applied at a cluster
// time or before, in nanoseconds since 1970.
func IndexAt(dir string, stamp int64) (uint64, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return 0, err
	}
	for _, s := range slices.Backward(segments) {
		index, found, err := indexAt(s.path, stamp)
		if err != nil {
			return 0, err
		}
		if found {
			return index, nil
		}
	}
	return 0, ErrBefore
}

func indexAt(path string, stamp int64) (index uint64, found bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	s := newScanner(f)
	if s.start() != nil {
		return 0, false, nil // not written yet
	}
	for {
		rec, err := s.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn), rec.kind == kindEnd:
			return index, found, nil
		case err != nil:
			return 0, false, err
		case rec.kind == kindGap:
			continue
		case rec.stamp > stamp:
			return index, found, nil
		}
		index, found = rec.index, true
	}
}

// Snapshot is a state kept beside the segments.
type Snapshot struct {
	Index uint64 // of the last entry in it
	Stamp int64  // and its cluster time
	Path  string
	Size  int64
}

// Snapshots lists the snapshots, oldest first.
func Snapshots(dir string) ([]Snapshot, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	var all []Snapshot
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), snapshotExt)
		index, stamp, two := strings.Cut(name, "-")
		if !ok || !two {
			continue
		}
		s := Snapshot{Path: filepath.Join(dir, e.Name())}
		s.Index, err = strconv.ParseUint(index, 10, 64)
		if err != nil {
			continue
		}
		if s.Stamp, err = strconv.ParseInt(stamp, 10, 64); err != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			s.Size = info.Size()
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return int(int64(a.Index - b.Index)) })
	return all, nil
}

// SnapshotBefore returns the newest snapshot that ends at an index or before.
func SnapshotBefore(dir string, index uint64) (Snapshot, bool, error) {
	all, err := Snapshots(dir)
	for _, s := range slices.Backward(all) {
		if s.Index <= index {
			return s, true, err
		}
	}
	return Snapshot{}, false, err
}

const (
	segmentExt  = ".log"
	snapshotExt = ".snap"
)

type segmentFile struct {
	first uint64
	path  string
	size  int64
}

// listSegments lists them, oldest first.
func listSegments(dir string) ([]segmentFile, error) {
	list, err := os.ReadDir(dir) // sorted by name, and so by index
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	var all []segmentFile
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			all = append(all, segmentFile{first, filepath.Join(dir, e.Name()), info.Size()})
		}
	}
	return all, nil
}
