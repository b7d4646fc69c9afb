package keeping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
)

// Store is where segments go from a worker's disk. Names are paths with slashes.
// What Put has returned from is durable there and was compared with what was
// given. Get of a name that is not there returns an error that is fs.ErrNotExist;
// Delete of one returns nil.
type Store interface {
	Put(ctx context.Context, name string, f *os.File) error
	Get(ctx context.Context, name string, w io.Writer) error
	Has(ctx context.Context, name string) (bool, error)
	List(ctx context.Context, prefix string) ([]string, error)
	Delete(ctx context.Context, name string) error
}

// Config is what a Keeper is made of.
type Config struct {
	Dir        string // of one worker's recordings, its ledger among them
	Worker     string // names its part of the store
	Rules      Rules
	SegmentAge time.Duration // bounds how long after its creation a segment is sealed
	Store      Store         // nil: segments stay in Dir
	MinFree    int64         // bytes; with less the disk counts as full
	MakeRoom   bool          // on a full disk the oldest recordings go, rather than new ones unrecorded
	Logger     *slog.Logger
}

// Keeper keeps the recordings of one folder. Several, in several processes, may
// be at work on it: the ledger's lock orders them.
type Keeper struct {
	cfg     Config
	now     func() time.Time
	free    func(dir string) (int64, error)
	step    func(point string) error // fails where a test wants the process to die
	adopted bool                     // the store's key files are all in the folder
	settled string                   // ledger file up to which the store has all, whole
}

// New makes a keeper; it touches nothing yet.
func New(cfg Config) *Keeper {
	if cfg.Rules.Default <= 0 {
		cfg.Rules.Default = Year
	}
	if cfg.SegmentAge <= 0 {
		cfg.SegmentAge = record.DefaultSegmentAge
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{cfg: cfg, now: time.Now, free: freeBytes, step: func(string) error { return nil }}
}

var (
	// ErrHeld: the call is on hold.
	ErrHeld = errors.New("call is on hold")
	// ErrNotHeld: there is no hold to release.
	ErrNotHeld = errors.New("call is not on hold")
	// ErrClock: the clock has leapt.
	ErrClock = errors.New("clock has leapt")
	// ErrNotNamed: who or why is missing.
	ErrNotNamed = errors.New("who and why must both be given")
)

func (k *Keeper) path(segment, suffix string) string {
	return filepath.Join(k.cfg.Dir, segment+suffix)
}

func (k *Keeper) object(segment, suffix string) string {
	return k.cfg.Worker + "/" + segment + suffix
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// segments are the names of those whose key files are in the folder, oldest
// first.
func (k *Keeper) segments() (names []string, err error) {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	for _, e := range entries {
		if _, ok := record.Created(e.Name()); ok && strings.HasSuffix(e.Name(), record.KeysSuffix) {
			names = append(names, record.SegmentName(e.Name()))
		}
	}
	return names, nil
}

// begin opens the ledger, and finishes what an earlier holder left undone.
func (k *Keeper) begin(ctx context.Context) (*ledger.Ledger, error) {
	if err := k.restoreLedger(ctx); err != nil {
		return nil, err
	}
	l, err := ledger.Open(ctx, k.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := k.finish(ctx, l); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// finish carries out what is decided and not known to be done.
func (k *Keeper) finish(ctx context.Context, l *ledger.Ledger) error {
	undone := l.State().Unfinished
	if len(undone) == 0 {
		return nil
	}
	bySegment := map[string][]uint32{}
	var order []string
	for _, line := range undone {
		if bySegment[line.Segment] == nil {
			order = append(order, line.Segment)
		}
		bySegment[line.Segment] = append(bySegment[line.Segment], line.Slot)
	}
	for _, segment := range order {
		if err := k.destroy(ctx, segment, bySegment[segment]); err != nil {
			return err
		}
	}
	if err := k.step("destroyed"); err != nil {
		return err
	}
	if err := l.Append(ledger.Line{Act: ledger.Erased, Count: len(undone)}); err != nil {
		return err
	}
	return k.publishLedger(ctx)
}

// erase writes down that the slots go, and has them gone.
func (k *Keeper) erase(ctx context.Context, l *ledger.Ledger, lines []ledger.Line) error {
	if err := k.step("undecided"); err != nil {
		return err
	}
	if err := l.Append(lines...); err != nil {
		return err
	}
	if err := k.step("decided"); err != nil {
		return err
	}
	if err := k.publishLedger(ctx); err != nil {
		return err
	}
	return k.finish(ctx, l)
}

// wholeSegment as a slot stands for all files of a segment, whose key file
// cannot be read.
const wholeSegment = 0

// destroy removes keys of a segment here and in the store, and the segment with
// the last of them. It may be repeated.
func (k *Keeper) destroy(ctx context.Context, segment string, slots []uint32) error {
	if slices.Contains(slots, wholeSegment) {
		return k.remove(ctx, segment)
	}
	keys := k.path(segment, record.KeysSuffix)
	if !exists(keys) {
		return k.remove(ctx, segment) // it was removed, as a whole, before
	}
	if _, err := record.EraseSlots(keys, slots); err != nil {
		return err
	}
	if err := k.step("erased here"); err != nil {
		return err
	}
	if err := k.copyKeys(ctx, segment); err != nil {
		return err
	}
	if err := k.step("erased in the store"); err != nil {
		return err
	}
	table, err := record.ReadTable(keys)
	if err != nil || !table.Empty() || exists(k.path(segment, record.OpenSuffix)) {
		return err
	}
	return k.remove(ctx, segment)
}

// copyKeys puts the folder's key file over the store's, if it has one.
func (k *Keeper) copyKeys(ctx context.Context, segment string) error {
	if k.cfg.Store == nil {
		return nil
	}
	there, err := k.cfg.Store.Has(ctx, k.object(segment, record.KeysSuffix))
	if err != nil || !there {
		return err
	}
	return k.put(ctx, segment, record.KeysSuffix)
}

func (k *Keeper) put(ctx context.Context, segment, suffix string) error {
	return k.putFile(ctx, k.path(segment, suffix), k.object(segment, suffix))
}

func (k *Keeper) putFile(ctx context.Context, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	defer f.Close()
	return k.cfg.Store.Put(ctx, name, f)
}

// remove takes a segment's files away, the key file last: while it is there,
// somebody will come back to this.
func (k *Keeper) remove(ctx context.Context, segment string) error {
	if k.cfg.Store != nil {
		for _, suffix := range []string{record.SealedSuffix, record.KeysSuffix} {
			if err := k.cfg.Store.Delete(ctx, k.object(segment, suffix)); err != nil {
				return err
			}
			if err := k.step("removed from the store"); err != nil {
				return err
			}
		}
	}
	for _, suffix := range []string{record.SealedSuffix, record.DamagedSuffix, record.KeysSuffix} {
		if err := os.Remove(k.path(segment, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove segment: %w", err)
		}
		if err := k.step("removed here"); err != nil {
			return err
		}
	}
	return record.SyncDir(k.cfg.Dir)
}
