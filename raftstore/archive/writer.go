package archive

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options says how much is kept. Zero values mean the defaults.
type Options struct {
	// SegmentBytes is the size at which a segment is complete: 16 MiB.
	SegmentBytes int64
	// MaxBytes bounds all files together: 4 GiB. MaxAge bounds the age of a
	// segment's last entry, in cluster time: 7 days. What is over either goes,
	// oldest first, a whole segment at a time.
	MaxBytes int64
	MaxAge   time.Duration
	// A snapshot is wanted once SnapshotEntries were archived, or
	// SnapshotEvery has passed in cluster time, since the last: 200 000 and
	// one hour.
	SnapshotEntries uint64
	SnapshotEvery   time.Duration
	// Reserve is the space on the disk that the archive leaves to the log:
	// with less free, nothing is archived. 512 MiB.
	Reserve int64
	// Logger may be nil.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	fill := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&o.SegmentBytes, 16<<20)
	fill(&o.MaxBytes, 4<<30)
	fill((*int64)(&o.MaxAge), int64(7*24*time.Hour))
	fill((*int64)(&o.SnapshotEvery), int64(time.Hour))
	fill(&o.Reserve, 512<<20)
	if o.SnapshotEntries == 0 {
		o.SnapshotEntries = 200_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// writeEvery is how long an entry may be in memory only.
	writeEvery = 50 * time.Millisecond
	// wakeBytes is how much is gathered before it is written earlier.
	wakeBytes = 256 << 10
	// maxPending bounds what waits for a slow disk.
	maxPending = 8 << 20
	// retryAfter is the pause after a failed write.
	retryAfter = time.Second
	// syncBytes is how much is written before it is forced to disk, so that
	// no flood of it holds the log's own writes up.
	syncBytes = 1 << 20
)

// Writer archives the entries of one node.
type Writer struct {
	dir string
	opt Options

	mu      sync.Mutex
	free    func() (int64, error) // the space left on the disk, in bytes
	pending []byte
	// last is the newest entry that was taken; it goes back when a write
	// fails.
	last      position
	reason    string // why entries after last are missing, if they are
	heldUntil time.Time

	snapped atomic.Pointer[position] // newest snapshot
	gapped  atomic.Bool              // entries are missing since that
	bytes   atomic.Int64
	dropped atomic.Uint64

	wake    chan struct{}
	synced  chan chan struct{} // asks of Sync
	done    chan struct{}
	stopped chan struct{}
	closing sync.Once

	// Of the writing goroutine alone.
	file     *os.File
	size     int64
	unsynced int64
	written  position // newest entry in the file
	failing  bool
}

type position struct {
	index uint64
	stamp int64
}

// Open opens the archive in dir, which is made if need be, cuts off what a
// crash left unfinished, and starts to write. One process may have it open.
func Open(dir string, opt Options) (*Writer, error) {
	w := &Writer{
		dir: dir, opt: opt.withDefaults(), wake: make(chan struct{}, 1), synced: make(chan chan struct{}),
		done: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.free = func() (int64, error) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return 0, err
		}
		return int64(st.Bavail) * st.Bsize, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if err := w.recover(); err != nil {
		return nil, fmt.Errorf("archive: open %s: %w", dir, err)
	}
	w.last = w.written
	go w.run()
	return w, nil
}

// Last returns index and stamp of the newest entry taken; zero when there is
// none.
func (w *Writer) Last() (index uint64, stamp int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.index, w.last.stamp
}

// Append takes a command that was applied after the entry at prev. It copies it
// and does not wait for the disk. One that is archived already is passed over;
// where prev is not the newest entry taken, a gap is noted.
func (w *Writer) Append(prev uint64, r Record) { w.append(prev, kindCommand, r) }

// Note takes an entry that was applied but is not the state machine's, so that
// it is not missed.
func (w *Writer) Note(prev uint64, r Record) {
	r.Data = nil
	w.append(prev, kindOther, r)
}

func (w *Writer) append(prev uint64, k kind, r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Index <= w.last.index {
		return
	}
	if !w.heldUntil.IsZero() {
		if time.Now().Before(w.heldUntil) {
			w.dropped.Add(1)
			return
		}
		w.heldUntil = time.Time{}
	}
	if len(w.pending) > maxPending {
		w.dropped.Add(1)
		w.reason = "the disk was too slow"
		return
	}
	if prev > w.last.index {
		w.gap(prev)
	}
	w.pending = record{kind: k, index: r.Index, prev: prev, term: r.Term, stamp: r.Stamp, data: r.Data}.appendTo(w.pending)
	w.last = position{r.Index, r.Stamp}
	if len(w.pending) > wakeBytes {
		w.rouse()
	}
}

// Skip notes that entries up to an index are missing, and why; one who never
// appends another would not be told.
func (w *Writer) Skip(to uint64, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to > w.last.index {
		w.reason = reason
		w.gap(to)
	}
}

// gap runs under mu.
func (w *Writer) gap(to uint64) {
	if w.reason == "" {
		w.reason = "they were applied while the archive was off"
	}
	w.pending = record{kind: kindGap, index: to, prev: w.last.index, stamp: w.last.stamp, data: []byte(w.reason)}.appendTo(w.pending)
	w.last.index = to
	w.reason = ""
	w.gapped.Store(true)
}

func (w *Writer) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes what is pending until the archive is closed.
func (w *Writer) run() {
	defer close(w.stopped)
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.wake:
		case written := <-w.synced:
			w.flush()
			close(written)
		case <-w.done:
			w.flush()
			if w.file != nil {
				w.file.Sync()
				w.file.Close()
			}
			return
		}
		w.flush()
	}
}

// flush writes what is pending. What can't be written becomes a gap.
func (w *Writer) flush() {
	w.mu.Lock()
	chunk := w.pending
	upTo := w.last
	if len(chunk) == 0 {
		w.mu.Unlock()
		return
	}
	w.pending = make([]byte, 0, min(max(cap(chunk), 4<<10), wakeBytes))
	w.mu.Unlock()

	err := w.room()
	if err == nil {
		err = w.write(chunk, upTo)
	}
	if err == nil {
		if w.failing {
			w.failing = false
			w.opt.Logger.Info("archive: entries are archived again", "dir", w.dir)
		}
		return
	}
	w.mu.Lock()
	w.pending = w.pending[:0]
	w.dropped.Add(w.last.index - w.written.index)
	w.last = w.written
	w.reason = err.Error()
	w.heldUntil = time.Now().Add(retryAfter)
	w.mu.Unlock()
	if !w.failing {
		w.failing = true
		w.opt.Logger.Warn("archive: entries are left out, the log goes on without", "dir", w.dir, "err", err)
	}
}

// errNoRoom says that the rest of the disk is the log's.
var errNoRoom = errors.New("the disk is nearly full")

func (w *Writer) room() error {
	w.mu.Lock()
	ask := w.free
	w.mu.Unlock()
	free, err := ask()
	if err != nil {
		return fmt.Errorf("ask for the free space: %w", err)
	}
	if free < w.opt.Reserve {
		return fmt.Errorf("%w: %d bytes are free and %d are the log's", errNoRoom, free, w.opt.Reserve)
	}
	return nil
}

// write appends a chunk of whole records that ends with the entry upTo.
func (w *Writer) write(chunk []byte, upTo position) error {
	if w.file != nil && w.size+int64(len(chunk)) > w.opt.SegmentBytes && w.size > int64(len(magic)) {
		if err := w.seal(); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.create(firstIndex(chunk)); err != nil {
			return err
		}
	}
	if _, err := w.file.WriteAt(chunk, w.size); err != nil {
		// What was written of it is cut off, now or by the next chunk.
		w.file.Truncate(w.size)
		return err
	}
	w.size += int64(len(chunk))
	w.unsynced += int64(len(chunk))
	w.bytes.Add(int64(len(chunk)))
	w.written = upTo
	if w.unsynced < syncBytes {
		return nil
	}
	w.unsynced = 0
	return unix.Fdatasync(int(w.file.Fd()))
}

// firstIndex is that of a chunk's first record.
func firstIndex(chunk []byte) uint64 {
	var n uint64
	for _, b := range chunk[recordHead+1 : recordHead+9] {
		n = n<<8 | uint64(b)
	}
	return n
}

func (w *Writer) create(first uint64) error {
	f, err := os.OpenFile(filepath.Join(w.dir, fmt.Sprintf("%020d%s", first, segmentExt)), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(magic), 0); err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	w.file, w.size = f, int64(len(magic))
	w.bytes.Add(w.size)
	return nil
}

// seal completes the segment: from now on it survives a loss of power.
func (w *Writer) seal() error {
	end := record{kind: kindEnd, index: w.written.index, prev: w.written.index, stamp: w.written.stamp}.appendTo(nil)
	if _, err := w.file.WriteAt(end, w.size); err != nil {
		w.file.Truncate(w.size)
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	w.file.Close()
	w.file = nil
	w.bytes.Add(int64(len(end)))
	if err := syncDir(w.dir); err != nil {
		return err
	}
	w.retain()
	return nil
}

// recover finds where the archive ends and cuts off what is not whole.
func (w *Writer) recover() error {
	snaps, err := Snapshots(w.dir)
	if err != nil {
		return err
	}
	w.snapped.Store(&position{})
	for _, s := range snaps {
		w.snapped.Store(&position{s.Index, s.Stamp})
		w.bytes.Add(s.Size)
	}
	segments, err := listSegments(w.dir)
	if err != nil {
		return err
	}
	for i, s := range segments {
		w.bytes.Add(s.size)
		if i == len(segments)-1 {
			return w.reopen(s)
		}
	}
	return nil
}

func (w *Writer) reopen(s segmentFile) error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	good, ended := int64(0), false
	sc := newScanner(f)
	if sc.start() == nil {
		good = int64(len(magic))
		for {
			rec, err := sc.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if errors.Is(err, errTorn) {
				w.opt.Logger.Info("archive: cut off what a crash left", "file", s.path, "bytes", s.size-good, "err", err)
				break
			}
			if err != nil {
				f.Close()
				return err
			}
			good += rec.size()
			w.written.index = rec.index
			if rec.stamp != 0 {
				w.written.stamp = rec.stamp
			}
			w.gapped.Store(w.gapped.Load() || rec.kind == kindGap && rec.index > w.snapped.Load().index)
			ended = rec.kind == kindEnd
			if ended {
				break
			}
		}
	}
	w.bytes.Add(good - s.size)
	if ended {
		return f.Close()
	}
	if good == 0 {
		f.Close()
		return os.Remove(s.path)
	}
	if err := f.Truncate(good); err != nil {
		f.Close()
		return err
	}
	w.file, w.size = f, good
	return nil
}

// Sync returns once all that was taken so far is in the files, or left out.
func (w *Writer) Sync() {
	written := make(chan struct{})
	select {
	case w.synced <- written:
		<-written
	case <-w.stopped:
	}
}

// Close writes what is pending and stops.
func (w *Writer) Close() {
	w.closing.Do(func() { close(w.done) })
	<-w.stopped
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
