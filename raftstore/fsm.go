package raftstore

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"trunkline/raftstore/archive"
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

// fsm is the state machine as hashicorp/raft sees it: it takes the stamp off
// each entry and keeps the clock.
type fsm struct {
	machine StateMachine
	clock   *clock
	leading func() bool
	member  *membership
	archive *archived
	// replayTo is the last index that was on disk when the store was
	// opened; a snapshot restored while starting is as old.
	replayTo uint64
	starting atomic.Bool

	last     int64  // stamp of the last applied entry
	lastWall int64  // wall time at which its leader appended it
	term     uint64 // its term
	applied  atomic.Uint64
}

// Apply panics on an entry it can't understand: going on would make this node
// differ from those who do.
func (f *fsm) Apply(l *raft.Log) any {
	kind, stamp, body, err := decodeEntry(l.Data)
	if err != nil {
		panic(fmt.Sprintf("raftstore: log index %d: %v", l.Index, err))
	}
	if l.Index <= f.replayTo {
		f.clock.replayed(stamp, wallOf(l.AppendedAt))
	} else {
		f.clock.live(stamp, f.leading())
	}
	f.last = max(f.last+1, stamp)
	f.lastWall = wallOf(l.AppendedAt)
	f.term = l.Term
	var reply []byte
	switch kind {
	case entryCommand:
		reply = f.machine.Apply(l.Index, f.last, body)
	case entryCluster:
		if err := f.member.join(ClusterID(body)); err != nil {
			panic(fmt.Sprintf("raftstore: log index %d: %v", l.Index, err))
		}
	}
	prev := f.applied.Swap(l.Index)
	f.archive.take(kind, prev, archive.Record{Index: l.Index, Term: l.Term, Stamp: f.last, Data: body})
	return reply
}

// StoreConfiguration makes raft count entries of configuration as applied: a
// snapshot is refused as long as the newest one is not.
func (f *fsm) StoreConfiguration(uint64, raft.Configuration) {}

func wallOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// The header of a snapshot is a magic word, then last, lastWall, and index and
// term of the last applied entry as big-endian 64-bit numbers, then the
// identity of the cluster. The state machine's bytes follow. The first version
// had last and lastWall only and is still read.
const (
	snapshotMagic1 = "tklsnap1"
	snapshotMagic  = "tklsnap2"
	snapshotHead1  = len(snapshotMagic1) + 2*8
	snapshotHead   = len(snapshotMagic) + 4*8 + len(ClusterID{})
)

// snapshotHeader is what stands before the state machine's own bytes.
type snapshotHeader struct {
	last, lastWall int64
	index, term    uint64
	cluster        ClusterID
}

func (h snapshotHeader) encode() []byte {
	b := append(make([]byte, 0, snapshotHead), snapshotMagic...)
	for _, v := range []uint64{uint64(h.last), uint64(h.lastWall), h.index, h.term} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, h.cluster[:]...)
}

func readSnapshotHeader(r io.Reader) (h snapshotHeader, err error) {
	var b [snapshotHead]byte
	if _, err := io.ReadFull(r, b[:snapshotHead1]); err != nil {
		return h, fmt.Errorf("read the snapshot's header: %w", err)
	}
	magic := string(b[:len(snapshotMagic)])
	if magic != snapshotMagic && magic != snapshotMagic1 {
		return h, fmt.Errorf("snapshot starts with %q, not %q", magic, snapshotMagic)
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[len(snapshotMagic)+8*i:]) }
	h.last, h.lastWall = int64(number(0)), int64(number(1))
	if magic == snapshotMagic1 {
		return h, nil
	}
	if _, err := io.ReadFull(r, b[snapshotHead1:]); err != nil {
		return h, fmt.Errorf("read the snapshot's header: %w", err)
	}
	h.index, h.term = number(2), number(3)
	h.cluster = ClusterID(b[snapshotHead-len(h.cluster):])
	return h, nil
}

func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	write, err := f.machine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("capture the state at index %d: %w", f.applied.Load(), err)
	}
	return &snapshot{fsm: f, write: write, head: snapshotHeader{
		last: f.last, lastWall: f.lastWall, index: f.applied.Load(), term: f.term, cluster: f.member.id(),
	}}, nil
}

func (f *fsm) Restore(src io.ReadCloser) error {
	defer src.Close()
	r := bufio.NewReaderSize(src, 256<<10)
	h, err := readSnapshotHeader(r)
	if err != nil {
		return err
	}
	if h.cluster.stranger(f.member.id()) {
		return fmt.Errorf("snapshot is of cluster %s, this node belongs to %s", h.cluster, f.member.id())
	}
	if err := f.machine.Restore(r); err != nil {
		return fmt.Errorf("restore the state: %w", err)
	}
	if err := f.member.join(h.cluster); err != nil {
		return err
	}
	f.last, f.lastWall, f.term = h.last, h.lastWall, h.term
	f.applied.Store(h.index)
	if f.last == 0 {
		return nil // taken before the first command
	}
	if !f.starting.Load() {
		f.archive.skip(h.index, "a snapshot was installed: this node was further behind than the leader's log reaches")
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
	fsm   *fsm
	head  snapshotHeader
	write func(io.Writer) error
}

func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.persist(sink, membersOf(sink)); err != nil {
		sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

func (s *snapshot) persist(sink io.Writer, members raft.Configuration) error {
	w := bufio.NewWriterSize(sink, 256<<10)
	if _, err := w.Write(s.head.encode()); err != nil {
		return err
	}
	if err := s.fsm.archive.copySnapshot(s, members, w); err != nil {
		return err
	}
	return w.Flush()
}

func (s *snapshot) Release() {}
