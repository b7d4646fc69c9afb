package raftstore

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// tarSnapshots keeps a folder for a snapshot as the library does; its calls take
// as long, and end as, they are told.
type tarSnapshots struct {
	raft.SnapshotStore
	folder                 string
	create, write, closes  time.Duration
	writeFails, closeFails error
	written, cancelled     int
}

func (s *tarSnapshots) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	<-time.After(s.create)
	dir := filepath.Join(s.folder, "1-2-3"+snapshotTemp)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &tarSink{s}, os.WriteFile(filepath.Join(dir, "state.bin"), nil, 0o600)
}

type tarSink struct{ *tarSnapshots }

func (s *tarSink) ID() string { return "1-2-3" }

func (s *tarSink) Write(p []byte) (int, error) {
	<-time.After(s.write)
	s.written += len(p)
	return len(p), s.writeFails
}

func (s *tarSink) Close() error {
	<-time.After(s.closes)
	return s.closeFails
}

func (s *tarSink) Cancel() error {
	s.cancelled++
	return nil
}

// trySnapshot writes size bytes and returns what the watch said, when, and how
// many were counted as failed.
func trySnapshot(t *testing.T, s *tarSnapshots, size int) (after time.Duration, failed int, fatal error) {
	t.Helper()
	s.folder = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var first sync.Once
		w := &watchedSnapshots{SnapshotStore: s, folder: s.folder, failed: func() { failed++ }, watch: &diskWatch{
			deadline: 300 * time.Millisecond, took: func(time.Duration) {},
			fatal: func(err error) {
				first.Do(func() { fatal, after = err, time.Since(began) })
			},
		}}
		sink, err := w.Create(1, 2, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(make([]byte, size)); err != nil {
			sink.Cancel()
		} else if err := sink.Close(); !errors.Is(err, s.closeFails) {
			t.Errorf("closed: %v", err)
		}
		synctest.Wait()
	})
	return after, failed, fatal
}

func TestHungSnapshotIsFatal(t *testing.T) {
	f := func(what string, s *tarSnapshots, size int, want time.Duration) {
		t.Helper()
		after, failed, fatal := trySnapshot(t, s, size)
		if errors.Is(fatal, ErrDiskHung) != (want > 0) || after != want || failed != 0 {
			t.Errorf("%s: fatal %v after %s, want %s; %d failed", what, fatal, after, want, failed)
		}
	}
	const ms = time.Millisecond
	f("a disk in order", &tarSnapshots{create: 200 * ms, write: 200 * ms, closes: time.Second}, 5<<20, 0)
	f("its start hangs", &tarSnapshots{create: time.Hour}, 1, 300*ms)
	f("a part of it hangs", &tarSnapshots{write: time.Hour}, 1, 300*ms)
	f("its end hangs", &tarSnapshots{closes: time.Hour}, 1, 1200*ms)
	f("a later part hangs", &tarSnapshots{create: 100 * ms, write: 301 * ms}, 2<<20, 400*ms)
}

func TestFailedSnapshotIsRemovedAndCounted(t *testing.T) {
	f := func(what string, s *tarSnapshots) {
		t.Helper()
		_, failed, fatal := trySnapshot(t, s, 1)
		if fatal != nil || failed != 1 {
			t.Errorf("%s: fatal %v, %d are counted as failed", what, fatal, failed)
		}
		if left, err := os.ReadDir(s.folder); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", what, left, err)
		}
	}
	f("no space while it is written", &tarSnapshots{writeFails: syscall.ENOSPC})
	f("no space at its end", &tarSnapshots{closeFails: syscall.ENOSPC})
}

func TestUnfinishedSnapshotIsRemovedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	open := func() *snapshotAnchor {
		s, err := openSnapshots(dir, libraryLogger(slog.New(slog.DiscardHandler)),
			&diskWatch{deadline: time.Minute, took: func(time.Duration) {}}, func() { t.Error("counted as failed") })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	_, trans := raft.NewInmemTransport("")
	sink, err := open().Create(1, 10, 2, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 3<<20)
	if _, err := sink.Write(big); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "snapshots", sink.ID()+snapshotTemp)
	if _, err := os.Stat(temp); err != nil {
		t.Fatalf("the library writes elsewhere now: %v", err)
	}
	s := open() // as after a crash
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if sink, err = s.Create(1, 11, 2, raft.Configuration{}, 1, trans); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(big); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := open().List(); err != nil || len(list) != 1 || list[0].Index != 11 || list[0].Size != int64(len(big)) {
		t.Errorf("snapshots %v, %v", list, err)
	}
}
