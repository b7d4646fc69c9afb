package raftstore

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// StateMachine is applied by one goroutine in log order.
type StateMachine interface {
	// Apply takes the command at a log index. stamp is cluster time in
	// nanoseconds since 1970 and grows strictly from entry to entry. The
	// machine may keep data but must not change it. The reply goes to the
	// proposer.
	Apply(index uint64, stamp int64, data []byte) (reply []byte)
	// Snapshot captures the state and returns fast, since Apply waits for
	// it; write runs beside later Applies, at most once.
	Snapshot() (write func(io.Writer) error, err error)
	// Restore replaces the whole state with a snapshot.
	Restore(r io.Reader) error
}

const (
	entryVersion = 1
	entryHead    = 1 + 8
)

func encodeEntry(stamp int64, data []byte) []byte {
	b := make([]byte, 0, entryHead+len(data))
	b = append(b, entryVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(stamp))
	return append(b, data...)
}

// fsm is the state machine as hashicorp/raft sees it: it takes the stamp off
// each entry and keeps the clock.
type fsm struct {
	machine StateMachine
	clock   *clock
	leading func() bool
	// replayTo is the last index that was on disk when the store was
	// opened; a snapshot restored while starting is as old.
	replayTo uint64
	starting atomic.Bool

	last     int64 // stamp of the last applied entry
	lastWall int64 // wall time at which its leader appended it
	applied  atomic.Uint64
}

func (f *fsm) Apply(l *raft.Log) any {
	if len(l.Data) < entryHead || l.Data[0] != entryVersion {
		// Going on would make this node differ from those who understand
		// the entry.
		panic(fmt.Sprintf("raftstore: entry at index %d is of an unknown version", l.Index))
	}
	stamp := int64(binary.BigEndian.Uint64(l.Data[1:]))
	if l.Index <= f.replayTo {
		f.clock.replayed(stamp, wallOf(l.AppendedAt))
	} else {
		f.clock.live(stamp, f.leading())
	}
	f.last = max(f.last+1, stamp)
	f.lastWall = wallOf(l.AppendedAt)
	reply := f.machine.Apply(l.Index, f.last, l.Data[entryHead:])
	f.applied.Store(l.Index)
	return reply
}

func wallOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// The header of a snapshot: magic, then last and lastWall as big-endian 64-bit
// numbers.
const (
	snapshotMagic = "tklsnap1"
	snapshotHead  = len(snapshotMagic) + 16
)

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	write, err := f.machine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("capture the state at index %d: %w", f.applied.Load(), err)
	}
	return &snapshot{last: f.last, lastWall: f.lastWall, write: write}, nil
}

func (f *fsm) Restore(src io.ReadCloser) error {
	defer src.Close()
	r := bufio.NewReaderSize(src, 256<<10)
	var head [snapshotHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("read the snapshot's header: %w", err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("snapshot starts with %q, not %q", head[:len(snapshotMagic)], snapshotMagic)
	}
	if err := f.machine.Restore(r); err != nil {
		return fmt.Errorf("restore the state: %w", err)
	}
	f.last = int64(binary.BigEndian.Uint64(head[len(snapshotMagic):]))
	f.lastWall = int64(binary.BigEndian.Uint64(head[len(snapshotMagic)+8:]))
	if f.last == 0 {
		return nil // taken before the first command
	}
	if f.starting.Load() {
		f.clock.replayed(f.last, f.lastWall)
	} else {
		f.clock.live(f.last, f.leading())
	}
	return nil
}

// snapshot is a captured state on its way to disk.
type snapshot struct {
	last, lastWall int64
	write          func(io.Writer) error
}

func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.persist(sink); err != nil {
		sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

func (s *snapshot) persist(sink io.Writer) error {
	w := bufio.NewWriterSize(sink, 256<<10)
	head := append(make([]byte, 0, snapshotHead), snapshotMagic...)
	head = binary.BigEndian.AppendUint64(head, uint64(s.last))
	head = binary.BigEndian.AppendUint64(head, uint64(s.lastWall))
	if _, err := w.Write(head); err != nil {
		return err
	}
	if err := s.write(w); err != nil {
		return err
	}
	return w.Flush()
}

func (s *snapshot) Release() {}
