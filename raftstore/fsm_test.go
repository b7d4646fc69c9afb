package raftstore

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// recorder keeps stamps; its snapshot is one word.
type recorder struct {
	stamps []int64
	word   string
	fail   error
}

func (r *recorder) Apply(_ uint64, stamp int64, _ []byte) []byte {
	r.stamps = append(r.stamps, stamp)
	return nil
}

func (r *recorder) Snapshot() (func(io.Writer) error, error) {
	return func(w io.Writer) error {
		if r.fail != nil {
			return r.fail
		}
		_, err := io.WriteString(w, "word")
		return err
	}, nil
}

func (r *recorder) Restore(src io.Reader) error {
	b, err := io.ReadAll(src)
	r.word = string(b)
	return err
}

func newFSM(m StateMachine, c *clock) *fsm {
	return &fsm{machine: m, clock: c, leading: func() bool { return false }, member: newMembership()}
}

func newMembership() *membership {
	m := &membership{stable: raft.NewInmemStore()}
	m.now.Store(&ClusterID{})
	return m
}

func TestStampsGrowStrictly(t *testing.T) {
	r := &recorder{}
	f := newFSM(r, (&hands{wall: hour}).clock())
	for i, stamp := range []int64{100, 100, 50, 103, 102, 200} {
		f.Apply(&raft.Log{Index: uint64(i + 1), Data: encodeEntry(entryCommand, stamp, nil)})
	}
	for i, want := range []int64{100, 101, 102, 103, 104, 200} {
		if r.stamps[i] != want {
			t.Fatalf("stamps are %v", r.stamps)
		}
	}
}

func TestUnknownOrDamagedEntryHaltsLoudly(t *testing.T) {
	good := encodeEntry(entryCommand, 1, []byte("x"))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	newer := bytes.Clone(good)
	newer[0]++
	for _, data := range [][]byte{nil, {entryVersion1, 0, 0}, good[:entryHead-1], flipped, newer,
		encodeEntry(3, 1, nil), encodeEntry(entryCluster, 1, []byte("short"))} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(string), "index 42") {
					t.Errorf("entry %x: panic %v, want one that names the index", data, r)
				}
			}()
			newFSM(&recorder{}, newClock()).Apply(&raft.Log{Index: 42, Data: data})
		}()
	}
}

func TestClusterIsNamedOnce(t *testing.T) {
	r := &recorder{}
	f := newFSM(r, newClock())
	first, second := ClusterID{1}, ClusterID{2}
	f.Apply(&raft.Log{Index: 1, Data: encodeEntry(entryCluster, 1, first[:])})
	f.Apply(&raft.Log{Index: 2, Data: encodeEntry(entryCluster, 2, second[:])})
	if got := f.member.id(); got != first {
		t.Errorf("cluster is %s, want the first name", got)
	}
	if len(r.stamps) != 0 {
		t.Error("the state machine was given a name")
	}
	again, err := openMembership(f.member.stable)
	if err != nil || again.id() != first {
		t.Errorf("after a restart the cluster is %s, %v", again.id(), err)
	}
}

// memorySink is a snapshot in memory.
type memorySink struct {
	bytes.Buffer
	closed, cancelled bool
}

func (s *memorySink) ID() string    { return "test" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.cancelled = true; return nil }

func TestSnapshotCarriesTheStamp(t *testing.T) {
	h := &hands{wall: 1000 * hour}
	r := &recorder{}
	f := newFSM(r, h.clock())
	f.Apply(&raft.Log{Index: 1, Term: 3, AppendedAt: time.Unix(0, h.wall), Data: encodeEntry(entryCommand, 700*hour, nil)})
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink memorySink
	if err := snap.Persist(&sink); err != nil || !sink.closed {
		t.Fatalf("persist: %v, closed %v", err, sink.closed)
	}

	// Two hours later another life starts from it.
	h.pass(2 * time.Hour)
	r2 := &recorder{}
	f2 := newFSM(r2, h.clock())
	f2.starting.Store(true)
	if err := f2.Restore(io.NopCloser(bytes.NewReader(sink.Bytes()))); err != nil {
		t.Fatal(err)
	}
	if r2.word != "word" {
		t.Errorf("machine restored %q", r2.word)
	}
	if f2.applied.Load() != 1 || f2.term != 3 {
		t.Errorf("restored as of index %d, term %d, want 1 and 3", f2.applied.Load(), f2.term)
	}
	if got := f2.clock.now(); got != 702*hour {
		t.Errorf("clock is at %d h, want 702", got/hour)
	}
	f2.Apply(&raft.Log{Index: 2, Data: encodeEntry(entryCommand, 1, nil)})
	if got := r2.stamps[0]; got != 700*hour+1 {
		t.Errorf("stamp after the snapshot is %d, want one more than the last before", got)
	}
}

func TestFailedSnapshotIsCancelled(t *testing.T) {
	r := &recorder{fail: errors.New("no space")}
	snap, err := newFSM(r, newClock()).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink memorySink
	if err := snap.Persist(&sink); !errors.Is(err, r.fail) || !sink.cancelled || sink.closed {
		t.Errorf("persist: %v, cancelled %v, closed %v", err, sink.cancelled, sink.closed)
	}
}

func TestSnapshotOfTheFirstVersionIsRead(t *testing.T) {
	r := &recorder{}
	f := newFSM(r, newClock())
	old := "tklsnap1" + "\x00\x00\x00\x00\x00\x00\x00\x07" + "\x00\x00\x00\x00\x00\x00\x00\x08" + "word"
	if err := f.Restore(io.NopCloser(strings.NewReader(old))); err != nil {
		t.Fatal(err)
	}
	if r.word != "word" || f.last != 7 || f.lastWall != 8 {
		t.Errorf("restored %q, stamps %d and %d", r.word, f.last, f.lastWall)
	}
}

func TestSnapshotOfAnotherClusterIsRefused(t *testing.T) {
	f := newFSM(&recorder{}, newClock())
	if err := f.member.join(ClusterID{1}); err != nil {
		t.Fatal(err)
	}
	b := append(snapshotHeader{cluster: ClusterID{2}, last: 1, index: 1, term: 1}.encode(), "word"...)
	if err := f.Restore(io.NopCloser(bytes.NewReader(b))); err == nil {
		t.Error("a snapshot of another cluster was restored")
	}
}

func TestForeignSnapshotIsRefused(t *testing.T) {
	for _, b := range []string{"", "short", "notours!" + strings.Repeat("x", 30)} {
		r := &recorder{}
		if err := newFSM(r, newClock()).Restore(io.NopCloser(strings.NewReader(b))); err == nil || r.word != "" {
			t.Errorf("snapshot %q was restored as %q, %v", b, r.word, err)
		}
	}
}
