package raftstore

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Compact takes a snapshot and leaves trailing entries of the log.
func (s *Store) Compact(trailing uint64) error {
	c := s.raft.ReloadableConfig()
	c.TrailingLogs = trailing
	if err := s.raft.ReloadConfig(c); err != nil {
		return err
	}
	return s.raft.Snapshot().Error()
}

// JumpWall moves this node's wall clock.
func (s *Store) JumpWall(by int64) {
	c := s.fsm.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := c.wall
	c.wall = func() int64 { return wall() + by }
}

// TestDisk is a node's log that hangs between Hang and Release, and that knows
// nothing of entries before its first: raft-wal still finds removed entries
// that share a file with kept ones.
type TestDisk struct {
	raft.LogStore
	gate sync.Mutex
}

// Under puts the disk under a node that is not started yet.
func (d *TestDisk) Under(c *Config) {
	c.wrapLog = func(l raft.LogStore) raft.LogStore {
		d.LogStore = l
		return d
	}
}

// IsMonotonic is the log's own.
func (d *TestDisk) IsMonotonic() bool { return d.LogStore.(raft.MonotonicLogStore).IsMonotonic() }

// GetLog finds no removed entry.
func (d *TestDisk) GetLog(index uint64, e *raft.Log) error {
	first, err := d.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return raft.ErrLogNotFound
	}
	return d.LogStore.GetLog(index, e)
}

// Hang makes appends wait.
func (d *TestDisk) Hang() { d.gate.Lock() }

// Release lets them go on.
func (d *TestDisk) Release() { d.gate.Unlock() }

// StoreLog waits while the disk hangs.
func (d *TestDisk) StoreLog(e *raft.Log) error { return d.StoreLogs([]*raft.Log{e}) }

// StoreLogs waits while the disk hangs.
func (d *TestDisk) StoreLogs(es []*raft.Log) error {
	d.gate.Lock()
	defer d.gate.Unlock()
	return d.LogStore.StoreLogs(es)
}

// WrongWall gives a node that is not started yet a wall clock that is off.
func WrongWall(c *Config, by time.Duration) {
	c.wall = func() int64 { return time.Now().Add(by).UnixNano() }
}

// Turn is the node's place in the order in which followers of a dead leader
// would stand now.
func (s *Store) Turn() int { return s.turn(s.leadership.Load()) }

// HeartbeatTimeout is raft's at this moment, and what it is in peace.
func (s *Store) HeartbeatTimeout() (now, peace time.Duration) {
	return s.raft.ReloadableConfig().HeartbeatTimeout, heartbeatTimeout
}
