package raftstore

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// tarDisk is a store whose writes take as long as it is told.
type tarDisk struct {
	raft.InmemStore
	takes time.Duration
}

func (d *tarDisk) StoreLogs(es []*raft.Log) error {
	<-time.After(d.takes)
	return d.InmemStore.StoreLogs(es)
}

func (d *tarDisk) StoreLog(e *raft.Log) error { return d.StoreLogs([]*raft.Log{e}) }

func (d *tarDisk) SetUint64(key []byte, v uint64) error {
	<-time.After(d.takes)
	return d.InmemStore.SetUint64(key, v)
}

func (d *tarDisk) Set(key, v []byte) error {
	<-time.After(d.takes)
	return d.InmemStore.Set(key, v)
}

// writes are those that a node can't be without.
var writes = map[string]func(raft.LogStore, raft.StableStore) error{
	"entry":   func(l raft.LogStore, _ raft.StableStore) error { return l.StoreLog(&raft.Log{Index: 1}) },
	"entries": func(l raft.LogStore, _ raft.StableStore) error { return l.StoreLogs([]*raft.Log{{Index: 1}}) },
	"term":    func(_ raft.LogStore, s raft.StableStore) error { return s.SetUint64([]byte("t"), 1) },
	"vote":    func(_ raft.LogStore, s raft.StableStore) error { return s.Set([]byte("v"), nil) },
}

func TestHungWriteIsFatal(t *testing.T) {
	for name, write := range writes {
		f := func(takes time.Duration, want bool) {
			t.Helper()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var fatal error
				var after, took time.Duration
				store := &tarDisk{InmemStore: *raft.NewInmemStore(), takes: takes}
				watch := &diskWatch{
					deadline: 300 * time.Millisecond,
					fatal:    func(err error) { fatal, after = err, time.Since(began) },
					took:     func(d time.Duration) { took = d },
				}
				if err := write(&watchedLog{store, watch}, &watchedStable{store, watch}); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Second)
				synctest.Wait()
				if got := errors.Is(fatal, ErrDiskHung); got != want {
					t.Errorf("%s written in %s: fatal is %v", name, takes, fatal)
				}
				if want && after != 300*time.Millisecond {
					t.Errorf("%s: fatal after %s, want 300 ms", name, after)
				}
				if took != takes {
					t.Errorf("%s: took %s, want %s", name, took, takes)
				}
			})
		}
		f(299*time.Millisecond, false)
		f(5*time.Second, true)
	}
}

// badDisk is a store whose writes fail.
type badDisk struct {
	raft.InmemStore
	err error
}

func (d *badDisk) StoreLogs([]*raft.Log) error    { return d.err }
func (d *badDisk) SetUint64([]byte, uint64) error { return d.err }
func (d *badDisk) Set([]byte, []byte) error       { return d.err }

func TestFailedWriteIsFatalAndSaysWhatToDo(t *testing.T) {
	sealed := errors.New("segment is sealed")
	for name, write := range writes {
		f := func(dir string, fails, want error, advice string) {
			t.Helper()
			var fatal error
			store := &badDisk{err: fails}
			watch := &diskWatch{dir: dir, deadline: time.Second, fatal: func(err error) { fatal = err }, took: func(time.Duration) {}}
			if err := write(&watchedLog{store, watch}, &watchedStable{store, watch}); !errors.Is(err, fails) {
				t.Errorf("%s: raft is told %v", name, err)
			}
			if !errors.Is(fatal, want) || want != nil && (!errors.Is(fatal, fails) || !strings.Contains(fatal.Error(), advice)) {
				t.Errorf("%s fails with %v: fatal is %v", name, fails, fatal)
			}
		}
		f(t.TempDir(), syscall.ENOSPC, ErrDiskFull, "free space")
		f(t.TempDir(), syscall.EIO, ErrDiskFailed, "mend the disk")
		f(t.TempDir(), sealed, ErrDiskFailed, "mend the disk")
		f("/proc", sealed, ErrDiskFull, "free space") // 0 bytes are free there
		f(t.TempDir(), wal.ErrClosed, nil, "")        // while stopping
	}
}

func TestNodeDoesNotStartOnAFullDisk(t *testing.T) {
	if err := checkRoom("/proc", 1); !errors.Is(err, ErrDiskFull) {
		t.Errorf("no room: %v", err)
	}
	if err := checkRoom(t.TempDir(), 1); err != nil {
		t.Errorf("room enough: %v", err)
	}
}

func TestWatchedLogTellsWhetherItMayHaveGaps(t *testing.T) {
	if (&watchedLog{LogStore: raft.NewInmemStore()}).IsMonotonic() {
		t.Error("an in-memory log may have gaps")
	}
	if !(&watchedLog{LogStore: gapless{raft.NewInmemStore()}}).IsMonotonic() {
		t.Error("a monotonic log was not told to be one")
	}
}

type gapless struct{ raft.LogStore }

func (gapless) IsMonotonic() bool { return true }
