package record

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Log is a worker's recording log. Its methods may be called from any number
// of goroutines.
type Log struct {
	dir    string
	master []byte
	cfg    Config
	lock   *os.File
	ring   *ring
	counts counters

	// Arrival times are base plus monotonic time, so that setting the clock
	// during a call moves nothing.
	base   time.Time
	baseNS int64

	mu     sync.Mutex
	active map[string]string // calls being recorded, and their labels
	marks  []mark            // in the order of their tails
	next   atomic.Uint64     // tail of the first, or above all

	sealed   chan struct{} // holds a token when segments were sealed
	closed   atomic.Bool
	requests chan func(*writer) // run by the writer between two drains
	quit     chan struct{}
	done     chan struct{}
}

// mark is done once the writer has passed what was queued before it.
type mark struct {
	call string
	tail uint64
	kind markKind
	at   int64  // ns since 1970, of a note
	to   string // the new label
}

type markKind int

const (
	markStop   markKind = iota
	markLabel           // the call goes on under label to, so under another key
	markPause           // write down that it is paused
	markResume          // and that it goes on
)

// Open opens or makes the log in dir, seals what a crash left unsealed, and
// starts the writer. master is the 32-byte master key.
func Open(dir string, master []byte, cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if len(master) != masterKeySize {
		return nil, fmt.Errorf("open recording log: master key has %d bytes, want %d", len(master), masterKeySize)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open recording log: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open recording log %s: %w", dir, err)
	}
	l := &Log{
		dir: dir, master: append([]byte(nil), master...), cfg: cfg, lock: lock,
		ring: newRing(cfg.QueueBytes), base: time.Now(),
		active: make(map[string]string), sealed: make(chan struct{}, 1),
		requests: make(chan func(*writer)), quit: make(chan struct{}), done: make(chan struct{}),
	}
	l.baseNS = l.base.UnixNano()
	l.next.Store(math.MaxUint64)
	if err := l.rescueAll(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open recording log %s: %w", dir, err)
	}
	go newWriter(l).run()
	return l, nil
}

// lockDir keeps a second process out; the kernel drops the lock with the
// process, however it dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, ErrInUse
	}
	return f, nil
}

// Start begins recording a call, under keys of its own. The label, a queue's
// name, says later how long it is kept; it may be empty. Starting a call that is
// being recorded changes nothing, or its label from here on. A standby that
// takes a call over starts it in its own log.
//
// Errors: ErrCallID, ErrLabel, ErrClosed.
func (l *Log) Start(call, label string) error {
	if call == "" || len(call) > maxCallID {
		return fmt.Errorf("record call: %w (%d bytes, at most %d)", ErrCallID, len(call), maxCallID)
	}
	if len(label) > maxLabel {
		return fmt.Errorf("record call: %w (%d bytes, at most %d)", ErrLabel, len(label), maxLabel)
	}
	if l.closed.Load() {
		return ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unmark(call)
	old, active := l.active[call]
	if !active {
		callsActive.Add(1)
		l.active[call] = label
		return nil
	}
	for _, m := range l.marks {
		if m.call == call && m.kind == markLabel {
			old = m.to
		}
	}
	if old != label {
		l.mark(mark{call: call, kind: markLabel, to: label})
	}
	return nil
}

// Stop ends the recording of a call; what Append accepted before is kept.
func (l *Log) Stop(call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, active := l.active[call]; !active {
		return
	}
	for _, m := range l.marks {
		if m.call == call && m.kind == markStop {
			return
		}
	}
	l.mark(mark{call: call, kind: markStop})
}

// Pause writes down that a call is paused from now until Resume, so that the
// gap is told for what it is. Whoever appends must have ceased already.
func (l *Log) Pause(call string) { l.note(call, markPause) }

// Resume ends a pause. What is appended afterwards is kept again.
func (l *Log) Resume(call string) { l.note(call, markResume) }

func (l *Log) note(call string, kind markKind) {
	at := l.baseNS + int64(time.Since(l.base))
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, active := l.active[call]; active {
		l.mark(mark{call: call, kind: kind, at: at})
	}
}

// mark puts a mark behind what is queued. mu is held.
func (l *Log) mark(m mark) {
	m.tail = l.ring.tail.Load()
	l.setMarks(append(l.marks, m))
}

// setMarks: mu is held.
func (l *Log) setMarks(marks []mark) {
	l.marks = marks
	if len(marks) == 0 {
		l.next.Store(math.MaxUint64)
		return
	}
	l.next.Store(marks[0].tail)
}

// Sealed gets a token after segments were sealed.
func (l *Log) Sealed() <-chan struct{} { return l.sealed }

func (l *Log) tellSealed() {
	select {
	case l.sealed <- struct{}{}:
	default:
	}
}

// Append queues a packet for the disk. It never blocks and never allocates;
// false means that the packet was dropped and counted. Packets of a call that
// was not started are accepted here and dropped by the writer.
func (l *Log) Append(p *Packet) bool {
	number := codecNumber(p.Codec)
	if number == codecEvent {
		silent := *p
		silent.Payload = nil // digits are not recorded
		p = &silent
	}
	if len(p.Call) > maxCallID || len(p.Leg) > maxLeg || len(p.Payload) > maxPayload {
		l.counts.drop(dropOversize, 1)
		return false
	}
	if l.closed.Load() {
		l.counts.drop(dropNotStarted, 1)
		return false
	}
	slot, ok := l.ring.claim(2 + len(p.Call) + packetSize(p))
	if !ok {
		l.counts.drop(dropQueueFull, 1)
		return false
	}
	binary.LittleEndian.PutUint16(slot.bytes, uint16(len(p.Call)))
	n := 2 + copy(slot.bytes[2:], p.Call)
	putPacket(slot.bytes[n:], p, number, l.baseNS+int64(p.Arrival.Sub(l.base)))
	l.ring.publish(slot)
	return true
}

// Sync returns when all that Append accepted before is on disk, or with what
// kept packets from it since the last Sync.
func (l *Log) Sync(ctx context.Context) error {
	return l.onWriter(ctx, func(w *writer) error {
		err := cmp.Or(w.sync(), w.failed)
		w.failed = nil
		return err
	})
}

// Forget stops recording a call and destroys its keys in every segment of
// this log. It returns when they are gone from the disk.
func (l *Log) Forget(ctx context.Context, call string) (erased int, err error) {
	err = l.onWriter(ctx, func(w *writer) error {
		w.drain()
		l.mu.Lock()
		l.endLocked(call)
		l.mu.Unlock()
		if err := w.forget(call); err != nil {
			return err
		}
		var err error
		erased, err = Forget([]string{l.dir}, call)
		return err
	})
	return erased, err
}

// endLocked forgets that a call is being recorded. mu is held.
func (l *Log) endLocked(call string) {
	if _, active := l.active[call]; active {
		delete(l.active, call)
		callsActive.Add(-1)
	}
	l.setMarks(slices.DeleteFunc(l.marks, func(m mark) bool { return m.call == call }))
}

// unmark takes back a Stop that the writer has not reached. mu is held.
func (l *Log) unmark(call string) {
	l.setMarks(slices.DeleteFunc(l.marks, func(m mark) bool { return m.call == call && m.kind == markStop }))
}

// Stats returns the counts since Open.
func (l *Log) Stats() Stats { return l.counts.snapshot() }

// Close writes what is queued, seals the segment and lets the folder go. If
// ctx ends first, because the disk hangs, Close gives up; the next Open then
// seals what is there.
func (l *Log) Close(ctx context.Context) error {
	if !l.closed.CompareAndSwap(false, true) {
		return ErrClosed
	}
	err := l.onWriter(ctx, func(w *writer) error {
		w.drain()
		err := w.seal()
		close(l.quit)
		return err
	})
	l.mu.Lock()
	callsActive.Add(-int64(len(l.active)))
	clear(l.active)
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("close recording log: %w", err)
	}
	<-l.done
	return l.lock.Close()
}

// onWriter runs f on the writer's goroutine.
func (l *Log) onWriter(ctx context.Context, f func(*writer) error) error {
	result := make(chan error, 1)
	select {
	case l.requests <- func(w *writer) { result <- f(w) }:
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
