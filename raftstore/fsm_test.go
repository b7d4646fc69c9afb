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
	return &fsm{machine: m, clock: c, leading: func() bool { return false }}
}

func TestStampsGrowStrictly(t *testing.T) {
	r := &recorder{}
	f := newFSM(r, (&hands{wall: hour}).clock())
	for i, stamp := range []int64{100, 100, 50, 103, 102, 200} {
		f.Apply(&raft.Log{Index: uint64(i + 1), Data: encodeEntry(stamp, nil)})
	}
	for i, want := range []int64{100, 101, 102, 103, 104, 200} {
		if r.stamps[i] != want {
			t.Fatalf("stamps are %v", r.stamps)
		}
	}
}

func TestUnknownEntryHaltsLoudly(t *testing.T) {
	for _, data := range [][]byte{nil, {entryVersion, 0, 0}, append([]byte{entryVersion + 1}, make([]byte, 8)...)} {
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
	f.Apply(&raft.Log{Index: 1, AppendedAt: time.Unix(0, h.wall), Data: encodeEntry(700*hour, nil)})
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
	if got := f2.clock.now(); got != 702*hour {
		t.Errorf("clock is at %d h, want 702", got/hour)
	}
	f2.Apply(&raft.Log{Index: 2, Data: encodeEntry(1, nil)})
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

func TestForeignSnapshotIsRefused(t *testing.T) {
	for _, b := range []string{"", "short", "notours!" + strings.Repeat("x", 30)} {
		r := &recorder{}
		if err := newFSM(r, newClock()).Restore(io.NopCloser(strings.NewReader(b))); err == nil || r.word != "" {
			t.Errorf("snapshot %q was restored as %q, %v", b, r.word, err)
		}
	}
}
