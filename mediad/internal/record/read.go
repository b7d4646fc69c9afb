package record

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Sources are where parts of a call may be.
type Sources struct {
	Dirs  []string // each one worker's log
	Store Fetcher  // where workers hand sealed segments to; nil: none

	// Only segments in which something between the two may have been recorded are
	// looked at; zero: no bound. A large store answers slowly without.
	Since, Until time.Time
}

// Fetcher is what reading needs of a store: names of objects end in those of
// segments' files, and begin with the worker's.
type Fetcher interface {
	Get(ctx context.Context, name string, w io.Writer) error
	List(ctx context.Context, prefix string) ([]string, error)
}

// covers tells whether a segment of that name may hold something of the time. One
// holds more than an hour only where its disk hung.
func (s Sources) covers(name string) bool {
	const longest = time.Hour
	created, ok := Created(name)
	return !ok || (s.Until.IsZero() || !created.After(s.Until)) && (s.Since.IsZero() || !created.Add(longest).Before(s.Since))
}

// recording is all that the sources hold of one call.
type recording struct {
	sources  [][]packet // one per worker, in the order they were written
	segments int
	erased   int // segments whose keys of the call were destroyed
	damaged  int // records or stretches of records that could not be read
	unknown  int // key slots so damaged that nobody knows whose they are
	missing  int // segments whose key file is there alone
}

// reader collects one call.
type reader struct {
	recording
	ctx    context.Context
	from   Sources
	stored map[string]string // objects of the store, by the name of their file
	seen   map[string]bool   // segments
	master []byte
	call   string
	legs   map[string]string
}

// readRecording collects a call's packets.
func readRecording(ctx context.Context, from Sources, master []byte, call string) (*recording, error) {
	r := &reader{ctx: ctx, from: from, master: master, call: call,
		stored: map[string]string{}, seen: map[string]bool{}, legs: map[string]string{}}
	workers, err := r.listStore()
	if err != nil {
		return nil, fmt.Errorf("list stored recordings: %w", err)
	}
	for _, dir := range from.Dirs {
		if err := r.readDir(dir); err != nil {
			return nil, fmt.Errorf("read recordings in %s: %w", dir, err)
		}
	}
	for _, worker := range slices.Sorted(maps.Keys(workers)) {
		if err := r.readStored(workers[worker]); err != nil {
			return nil, fmt.Errorf("read stored recordings of %s: %w", worker, err)
		}
	}
	switch {
	case len(r.sources) > 0:
		return &r.recording, nil
	case r.missing > 0:
		return nil, fmt.Errorf("%w here: %d of its segments are in a store that was not named, or lost", ErrNoRecording, r.missing)
	case r.segments == 0 && r.erased > 0:
		return nil, ErrErased
	case r.damaged+r.unknown > 0:
		return nil, fmt.Errorf("%w that can be read: %d damaged records, %d damaged keys", ErrNoRecording, r.damaged, r.unknown)
	}
	return nil, ErrNoRecording
}

// listStore finds the store's objects, and each worker's key files among them, by
// time.
func (r *reader) listStore() (workers map[string][]string, err error) {
	if r.from.Store == nil {
		return nil, nil
	}
	names, err := r.from.Store.List(r.ctx, "")
	if err != nil {
		return nil, err
	}
	workers = map[string][]string{}
	for _, name := range names {
		file := path.Base(name)
		if _, ok := Created(file); !ok || !r.from.covers(file) {
			continue
		}
		r.stored[file] = name
		if strings.HasSuffix(file, keysSuffix) {
			workers[path.Dir(name)] = append(workers[path.Dir(name)], name)
		}
	}
	return workers, nil
}

// readDir reads one worker's folder, and segments of it that are in the store.
func (r *reader) readDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var packets []packet
	for _, entry := range entries { // by name, so by time
		name, isKeys := strings.CutSuffix(entry.Name(), keysSuffix)
		if !isKeys || !r.from.covers(name) {
			continue
		}
		r.seen[name] = true
		base := filepath.Join(dir, name)
		table, err := readKeyFile(base + keysSuffix)
		if errors.Is(err, errHeader) {
			// Torn while it was made, so without calls; or lost, and then
			// nobody can tell whose.
			if info, statErr := entry.Info(); statErr == nil && info.Size() > slotSize {
				r.damaged++
			}
			continue
		}
		if err != nil {
			return err
		}
		if packets, err = r.readCall(packets, table, name, base); err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	if len(packets) > 0 {
		r.sources = append(r.sources, packets)
	}
	return nil
}

// readStored reads segments of one worker of which no folder has the keys.
func (r *reader) readStored(keyFiles []string) error {
	var packets []packet
	for _, object := range keyFiles {
		name := SegmentName(object)
		if r.seen[name] {
			continue
		}
		var b bytes.Buffer
		if err := r.from.Store.Get(r.ctx, object, &b); err != nil {
			return err
		}
		table, err := decodeKeyFile(b.Bytes())
		if err != nil {
			r.damaged++
			continue
		}
		if packets, err = r.readCall(packets, table, name, ""); err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	if len(packets) > 0 {
		r.sources = append(r.sources, packets)
	}
	return nil
}

// readCall appends what a segment holds of the call. base is its path without
// suffix, or empty.
func (r *reader) readCall(packets []packet, table keyFile, name, base string) ([]packet, error) {
	r.unknown += len(table.damaged)
	var slots []keySlot
	for _, s := range table.slots {
		switch {
		case s.call != r.call:
		case s.erased:
			r.erased++
		default:
			slots = append(slots, s)
		}
	}
	if len(slots) == 0 {
		return packets, nil
	}
	keys, err := openKeys(r.master, table.header)
	if err != nil {
		return packets, err
	}
	ciphers := make(map[uint32]cipher.AEAD)
	for _, s := range slots {
		if ciphers[s.number], err = keys.unwrap(s); err != nil {
			return packets, err
		}
	}
	f, sealed, err := r.openSegment(name, base)
	if errors.Is(err, fs.ErrNotExist) {
		r.missing++ // keys without their segment
		return packets, nil
	}
	if err != nil {
		return packets, err
	}
	defer f.Close()
	r.segments++
	return r.readSegment(packets, f, sealed, table.header, ciphers)
}

// openSegment opens a segment under whichever name it has now: its writer may
// seal it at any moment, and it may be handed over then.
func (r *reader) openSegment(name, base string) (f *os.File, sealed bool, err error) {
	err = fs.ErrNotExist
	for range 2 {
		if base == "" {
			break
		}
		if f, err = os.Open(base + sealedSuffix); err == nil {
			return f, true, nil
		}
		if f, err = os.Open(base + openSuffix); err == nil {
			return f, false, nil
		}
	}
	if object := r.stored[name+sealedSuffix]; object != "" && errors.Is(err, fs.ErrNotExist) {
		f, err = r.fetch(object)
		return f, true, err
	}
	return nil, false, err
}

// fetch brings a segment into a file without a name.
func (r *reader) fetch(object string) (*os.File, error) {
	f, err := os.CreateTemp("", "segment-*")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), r.from.Store.Get(r.ctx, object, f)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
