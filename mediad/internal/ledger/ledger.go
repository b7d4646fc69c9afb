// Package ledger keeps the account of what was done to recordings: each hold,
// release and erasure, by whom, why and when.
//
// It is a file of lines to which only whole lines are added, each made durable
// before what it says is done:
//
//	<chain> <JSON>\n
//
// The chain is SHA-256, in hex, of the chain before and the JSON: a line that was
// changed, removed or put in breaks all that follow. The files ledger-000001,
// ledger-000002 ... follow one another; the first line of each repeats what is
// still in force, so that only the newest need be read to go on.
//
// A crash may leave half a line at the end. Nothing was done on its account, and
// it is cut off. Damage anywhere else is an error, and then nothing more is
// written: holds may be among what is lost.
//
// It decides nothing and erases nothing.
package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Acts of lines.
const (
	Begin   = "begin"   // of a file: holds in force, the last pass
	Hold    = "hold"    // the call must not be erased
	Release = "release" // it may again
	Erase   = "erase"   // it is decided that the call's key in the segment is destroyed
	Erased  = "erased"  // all decided before is done
	Pass    = "pass"    // retention has looked at everything
)

// Line is one entry. Which fields count depends on Act.
type Line struct {
	Number  uint64    `json:"n"` // from 1, without holes
	At      time.Time `json:"at"`
	Act     string    `json:"act"`
	Call    string    `json:"call,omitempty"`
	Segment string    `json:"segment,omitempty"` // erase: name without suffix
	Slot    uint32    `json:"slot,omitempty"`    // erase: of its key file
	Label   string    `json:"label,omitempty"`
	Who     string    `json:"who,omitempty"`
	Why     string    `json:"why,omitempty"`
	Count   int       `json:"count,omitempty"` // erased, pass: keys destroyed

	Holds []Line     `json:"holds,omitempty"` // begin
	Last  *time.Time `json:"last,omitempty"`  // begin: the last pass
}

// ErrDamaged: a line is not what was written.
var ErrDamaged = errors.New("ledger is damaged")

// maxFile is the size at which another file is begun.
const maxFile = 4 << 20

// Ledger is the newest file, open under the folder's lock.
type Ledger struct {
	dir    string
	lock   *os.File
	file   *os.File
	number int // of the file
	size   int64
	chain  [sha256.Size]byte
	state  State
	limit  int64
}

// State is what the lines come to.
type State struct {
	Next       uint64 // number of the next line
	Holds      map[string]Line
	Unfinished []Line    // erasures decided and perhaps not done
	LastPass   time.Time // zero: there was none
}

// Lock keeps everybody else from the folder's ledger and from what it accounts
// for, until unlock is called or the process ends. It waits as long as ctx allows.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func lock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "ledger.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock ledger: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock ledger, which another process holds: %w", ctx.Err())
		}
	}
}

// Open takes the lock and opens the ledger of a folder, or begins one.
//
// Errors: ErrDamaged, those of the disk, and of ctx while another process has it.
func Open(ctx context.Context, dir string) (*Ledger, error) {
	return open(ctx, dir, maxFile)
}

func open(ctx context.Context, dir string, limit int64) (*Ledger, error) {
	f, err := lock(ctx, dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{dir: dir, limit: limit, lock: f, state: State{Next: 1, Holds: map[string]Line{}}}
	if err := l.load(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// load reads the newest file, or begins the first.
func (l *Ledger) load() error {
	numbers, err := files(l.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return l.begin(1)
	}
	l.number = numbers[len(numbers)-1]
	path := name(l.dir, l.number)
	if l.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	r := newReader(l.file, path)
	if err := r.all(nil); err != nil {
		return err
	}
	if err := l.file.Truncate(r.end); err != nil {
		return fmt.Errorf("cut ledger: %w", err)
	}
	if r.end > 0 {
		l.chain, l.state, l.size = r.chain, r.state, r.end
		return nil
	}
	// Who began this file died before its first line was whole.
	if len(numbers) > 1 {
		if err := l.continueFrom(numbers[len(numbers)-2]); err != nil {
			return err
		}
	}
	return l.first()
}

// continueFrom takes chain and state of an earlier file.
func (l *Ledger) continueFrom(number int) error {
	f, err := os.Open(name(l.dir, number))
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	r := newReader(f, f.Name())
	if err := r.all(nil); err != nil {
		return err
	}
	l.chain, l.state = r.chain, r.state
	return nil
}

func name(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("ledger-%06d", number))
}

// Files are the paths of a folder's ledger files, oldest first.
func Files(dir string) (paths []string, err error) {
	numbers, err := files(dir)
	for _, n := range numbers {
		paths = append(paths, name(dir, n))
	}
	return paths, err
}

// files lists the numbers of a folder's ledger files.
func files(dir string) (numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list ledger: %w", err)
	}
	for _, e := range entries {
		var n int
		if digits, ok := strings.CutPrefix(e.Name(), "ledger-"); ok && len(digits) >= 6 {
			if _, err := fmt.Sscanf(digits, "%d", &n); err == nil && e.Name() == filepath.Base(name("", n)) {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// begin makes another file.
func (l *Ledger) begin(number int) error {
	f, err := os.OpenFile(name(l.dir, number), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("begin ledger file: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.number, l.size = f, number, 0
	if err := syncDir(l.dir); err != nil {
		return err
	}
	return l.first()
}

// first writes the line that repeats what is in force.
func (l *Ledger) first() error {
	line := Line{Act: Begin, At: time.Now().UTC(), Holds: l.state.inForce()}
	if !l.state.LastPass.IsZero() {
		line.Last = &l.state.LastPass
	}
	return l.write([]Line{line})
}

// inForce is the holds, by call.
func (s State) inForce() []Line {
	var out []Line
	for _, call := range slices.Sorted(maps.Keys(s.Holds)) {
		out = append(out, s.Holds[call])
	}
	return out
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("fsync ledger: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("fsync ledger: %w", err)
	}
	return nil
}

// State is what the ledger says now.
func (l *Ledger) State() State { return l.state }

// Append writes lines behind all others and returns when they are durable.
// Number and, where it is zero, At are filled in. After an error the ledger must
// be opened anew.
func (l *Ledger) Append(lines ...Line) error {
	if l.size > l.limit && len(l.state.Unfinished) == 0 {
		if err := l.begin(l.number + 1); err != nil {
			return err
		}
	}
	return l.write(lines)
}

func (l *Ledger) write(lines []Line) error {
	var out bytes.Buffer
	chain := l.chain
	for _, line := range lines {
		line.Number = l.state.Next
		if line.At.IsZero() {
			line.At = time.Now().UTC()
		}
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
		chain = link(chain, text)
		fmt.Fprintf(&out, "%x %s\n", chain, text)
		l.state.take(line)
	}
	if _, err := l.file.WriteAt(out.Bytes(), l.size); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("fsync ledger: %w", err)
	}
	l.chain, l.size = chain, l.size+int64(out.Len())
	return nil
}

func link(before [sha256.Size]byte, text []byte) [sha256.Size]byte {
	return sha256.Sum256(append(before[:], text...))
}

// take counts a line in.
func (s *State) take(line Line) {
	s.Next = line.Number + 1
	switch line.Act {
	case Begin:
		s.Holds, s.Unfinished = map[string]Line{}, nil
		for _, h := range line.Holds {
			s.Holds[h.Call] = h
		}
		if line.Last != nil {
			s.LastPass = *line.Last
		}
	case Hold:
		s.Holds[line.Call] = line
	case Release:
		delete(s.Holds, line.Call)
	case Erase:
		s.Unfinished = append(s.Unfinished, line)
	case Erased:
		s.Unfinished = nil
	case Pass:
		s.LastPass = line.At
	}
}

// Close lets the lock go.
func (l *Ledger) Close() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	return errors.Join(err, l.lock.Close())
}

// reader goes over one file.
type reader struct {
	in    *bufio.Reader
	path  string
	first bool
	end   int64 // behind the last whole line
	chain [sha256.Size]byte
	state State
}

func newReader(f io.Reader, path string) *reader {
	return &reader{in: bufio.NewReaderSize(f, 1<<16), path: path, first: true, state: State{Holds: map[string]Line{}}}
}

// all reads to the end and passes each line on. The chain of a file's first line
// is taken as it is: only Read, which has the file before, can check it.
func (r *reader) all(use func(Line) error) error {
	for {
		text, err := r.in.ReadBytes('\n')
		if err == io.EOF {
			return nil // text, if any, is what a crash left
		}
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		line, err := r.line(text)
		if err != nil {
			return fmt.Errorf("%w: %s, byte %d: %w", ErrDamaged, r.path, r.end, err)
		}
		r.end += int64(len(text))
		r.state.take(line)
		if use == nil {
			continue
		}
		if err := use(line); err != nil {
			return err
		}
	}
}

func (r *reader) line(text []byte) (line Line, err error) {
	var chain [sha256.Size]byte
	digits, body, ok := bytes.Cut(bytes.TrimSuffix(text, []byte("\n")), []byte(" "))
	if n, err := hex.Decode(chain[:], digits[:min(len(digits), 2*len(chain))]); !ok || err != nil || n != len(chain) || len(digits) != 2*len(chain) {
		return line, errors.New("no chain in front")
	}
	if err := json.Unmarshal(body, &line); err != nil {
		return line, err
	}
	switch {
	case r.first && line.Act != Begin:
		return line, errors.New("does not begin as a file does")
	case !r.first && chain != link(r.chain, body):
		return line, fmt.Errorf("line %d does not follow from the one before", line.Number)
	case !r.first && line.Number != r.state.Next:
		return line, fmt.Errorf("line %d where %d should be", line.Number, r.state.Next)
	}
	r.chain, r.first = chain, false
	return line, nil
}

// Read passes all lines of a folder's ledger to use, oldest first, and checks the
// chain through all its files. It takes no lock and may be used beside a writer.
func Read(dir string, use func(Line) error) (State, error) {
	numbers, err := files(dir)
	if err != nil {
		return State{}, err
	}
	state := State{Next: 1, Holds: map[string]Line{}}
	var chain [sha256.Size]byte
	for i, n := range numbers {
		if n != i+1 {
			return state, fmt.Errorf("%w: %s is missing", ErrDamaged, name(dir, i+1))
		}
		f, err := os.Open(name(dir, n))
		if err != nil {
			return state, fmt.Errorf("read ledger: %w", err)
		}
		r := newReader(f, f.Name())
		r.first, r.chain, r.state = false, chain, state
		err = r.all(use)
		f.Close()
		if err != nil {
			return state, err
		}
		chain, state = r.chain, r.state
	}
	return state, nil
}
