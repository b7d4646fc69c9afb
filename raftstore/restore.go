package raftstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// RestoreConfig says what cluster a backup founds.
type RestoreConfig struct {
	// ID is this node, one of Voters.
	ID string
	// Voters is the id and address of each founding voter: the same on all.
	Voters map[string]string
	// Cluster is the new cluster's identity. Zero means a fresh one, which
	// Restore returns: give that to the other nodes, or leave their folders
	// empty and let them join.
	Cluster ClusterID
	// Logger may be nil.
	Logger *slog.Logger
}

// ErrNotEmpty refuses to restore over a node's data.
var ErrNotEmpty = errors.New("raftstore: folder holds a node's data already")

var (
	keyCurrentTerm = []byte("CurrentTerm") // raft's own
)

// Restore founds a new cluster from a backup, in the empty Dir of a node that
// is not running. It is for disaster: all of the old cluster must be stopped
// for good. The new one has another identity, so that a member with the old
// one's data is refused. Restore it on one node and start the others with empty
// folders, which then get the state from it; or restore the same backup with
// the same Cluster on all of them.
//
// The backup is checked whole before anything is put in place; on an error dir
// is left as empty as it was.
func Restore(dir string, r io.Reader, cfg RestoreConfig) (info BackupInfo, cluster ClusterID, err error) {
	fail := func(err error) (BackupInfo, ClusterID, error) {
		return info, ClusterID{}, fmt.Errorf("restore into %s: %w", dir, err)
	}
	if err := cfg.validate(); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if err := emptyDir(dir); err != nil {
		return fail(err)
	}
	if cfg.Cluster == (ClusterID{}) {
		cfg.Cluster = NewClusterID()
	}
	defer func() {
		if err != nil {
			os.RemoveAll(filepath.Join(dir, "wal"))
			os.RemoveAll(filepath.Join(dir, "snapshots"))
		}
	}()
	if info, err = restoreSnapshot(dir, r, cfg); err != nil {
		return fail(err)
	}
	if err = restoreTerm(dir, info.Term, cfg); err != nil {
		return fail(err)
	}
	if err = syncDir(dir); err != nil {
		return fail(err)
	}
	return info, cfg.Cluster, nil
}

func (c RestoreConfig) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.ID == "" {
		fault("ID is empty")
	}
	if len(c.Voters) == 0 {
		fault("Voters is empty")
	} else if c.Voters[c.ID] == "" {
		fault("ID %q is not among Voters", c.ID)
	}
	seen := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(c.Voters)) {
		addr := c.Voters[id]
		if addr == "" {
			fault("Voters[%q] has no address", id)
		} else if other, twice := seen[addr]; twice {
			fault("Voters[%q] and Voters[%q] have the same address %s", other, id, addr)
		}
		seen[addr] = id
	}
	return errors.Join(faults...)
}

// emptyDir checks that dir has nothing but the lock.
func emptyDir(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() != "lock" {
			return fmt.Errorf("%w: there is %q; move it away if it is not needed any more", ErrNotEmpty, e.Name())
		}
	}
	return nil
}

// configuration is the founding members.
func configuration(voters map[string]string) raft.Configuration {
	var c raft.Configuration
	for _, id := range slices.Sorted(maps.Keys(voters)) {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(voters[id]),
		})
	}
	return c
}

// restoreSnapshot writes the backup as this node's snapshot; it is complete
// only when the backup was whole.
func restoreSnapshot(dir string, r io.Reader, cfg RestoreConfig) (BackupInfo, error) {
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, libraryLogger(discarding(cfg.Logger)))
	if err != nil {
		return BackupInfo{}, err
	}
	var sink raft.SnapshotSink
	info, err := ReadBackup(r, func(info BackupInfo, state io.Reader) error {
		if info.Index == 0 || info.Term == 0 {
			return fmt.Errorf("%w: it is of index %d in term %d", ErrBackup, info.Index, info.Term)
		}
		// The transport is asked for addresses in a form that is written and
		// never read.
		_, trans := raft.NewInmemTransport("")
		var err error
		if sink, err = store.Create(1, info.Index, info.Term, configuration(cfg.Voters), 1, trans); err != nil {
			return err
		}
		h := info.header()
		h.cluster = cfg.Cluster
		if _, err := sink.Write(h.encode()); err != nil {
			return err
		}
		_, err = io.Copy(sink, state)
		return err
	})
	if err != nil {
		if sink != nil {
			sink.Cancel()
		}
		return info, err
	}
	return info, sink.Close()
}

// restoreTerm makes the node's term the backup's, so that what the new cluster
// writes is of later terms than what it was founded with.
func restoreTerm(dir string, term uint64, cfg RestoreConfig) error {
	walDir := filepath.Join(dir, "wal")
	if err := os.MkdirAll(walDir, 0o700); err != nil {
		return err
	}
	w, err := wal.Open(walDir, wal.WithLogger(libraryLogger(discarding(cfg.Logger))), wal.WithSegmentSize(segmentSize))
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer w.Close()
	if err := w.SetUint64(keyCurrentTerm, term); err != nil {
		return fmt.Errorf("set the term: %w", err)
	}
	if err := w.Set(keyCluster, cfg.Cluster[:]); err != nil {
		return fmt.Errorf("set the cluster's identity: %w", err)
	}
	return nil
}

func discarding(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
