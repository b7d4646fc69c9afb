package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"trunkline/raftstore"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/replay"
)

func clusterRestore(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	conf := fs.String("config", "/etc/trunkline/routerd.yaml", "this router's `FILE`: its name, folders and the founding voters")
	cluster := fs.String("cluster", "", "`ID` of a cluster that was restored on another router already, to restore it here too")
	yes := fs.Bool("yes", false, "do not ask")
	return func(_ context.Context, e *env, words []string) error {
		if err := need(words, "the backup's file"); err != nil {
			return err
		}
		c, err := config.Load(*conf)
		if err != nil {
			return err
		}
		rc := raftstore.RestoreConfig{ID: c.Node, Voters: c.Raft.Voters}
		if *cluster != "" {
			if rc.Cluster, err = raftstore.ParseClusterID(*cluster); err != nil {
				return fmt.Errorf("-cluster: %w", err)
			}
		}
		info, m, err := checkBackup(words[0])
		if err != nil {
			return err
		}
		printBackup(e.stdout, words[0], info)
		printState(e.stdout, m)
		r := restoration{file: words[0], conf: *conf, dir: filepath.Join(c.Data, "raft"), data: c.Data, rc: rc}
		if err := r.empty(); err != nil {
			return err
		}
		if err := e.confirm(*yes, r.plan()); err != nil {
			return err
		}
		return r.do(e.stdout)
	}
}

// restoration is what a restore will do.
type restoration struct {
	file, conf, dir, data string
	rc                    raftstore.RestoreConfig
}

// beside are files that tell of the log that is gone; they are kept aside.
var beside = []string{"facts.sqlite", "facts.sqlite-wal", "facts.sqlite-shm", "restart.json"}

// empty refuses a folder that holds a log: whoever wants it gone says so by
// moving it away.
func (r restoration) empty() error {
	list, err := os.ReadDir(r.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("%s holds a log: stop routerd and move that folder away first (keep it until all is well)", r.dir)
	}
	return nil
}

func (r restoration) others() []string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(r.rc.Voters)) {
		if id != r.rc.ID {
			list = append(list, id)
		}
	}
	return list
}

func (r restoration) plan() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThis founds a NEW cluster from %s, with the voters %s of %s.\n", r.file, strings.Join(slices.Sorted(maps.Keys(r.rc.Voters)), ", "), r.conf)
	fmt.Fprintf(&b, "All routers of the old cluster must be stopped, for good. What happened after the backup is lost.\n")
	fmt.Fprintf(&b, "  1. the state goes into %s\n", r.dir)
	fmt.Fprintf(&b, "  2. the history's file in %s is moved aside, not deleted: it knows more than the backup\n", r.data)
	return b.String()
}

func (r restoration) do(out io.Writer) (err error) {
	aside, err := r.setAside()
	if err != nil {
		return err
	}
	f, err := os.Open(r.file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.MkdirAll(r.data, 0o750); err != nil {
		return err
	}
	_, cluster, err := raftstore.Restore(r.dir, f, r.rc)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fmt.Fprintf(out, "restored into %s: cluster %s\n", r.dir, cluster)
	if aside != "" {
		fmt.Fprintf(out, "the old history is in %s\n", aside)
	}
	fmt.Fprintf(out, "now:\n  start routerd on %s, with %s belonging to the user it runs as\n", r.rc.ID, r.dir)
	for _, id := range r.others() {
		fmt.Fprintf(out, "  on %s: move its raft folder and facts.sqlite away, start routerd\n", id)
	}
	fmt.Fprintf(out, "  then: routerctl cluster members; routerctl cluster verify; routerctl show\n")
	return nil
}

// setAside moves what tells of the old log into a folder of its own.
func (r restoration) setAside() (folder string, err error) {
	for _, name := range beside {
		path := filepath.Join(r.data, name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if folder == "" {
			folder = filepath.Join(r.data, "before-restore-"+time.Now().UTC().Format("20060102T150405Z"))
			if err := os.Mkdir(folder, 0o750); err != nil {
				return "", err
			}
		}
		if err := os.Rename(path, filepath.Join(folder, name)); err != nil {
			return folder, err
		}
	}
	return folder, nil
}

// checkBackup reads a backup to its end, and the state in it.
func checkBackup(file string) (raftstore.BackupInfo, *acd.Machine, error) {
	f, err := os.Open(file)
	if err != nil {
		return raftstore.BackupInfo{}, nil, err
	}
	defer f.Close()
	m, info, err := replay.ReadState(f)
	if err != nil {
		return info, nil, fmt.Errorf("%s: %w", file, err)
	}
	return info, m, nil
}

func printState(out io.Writer, m *acd.Machine) {
	hash := m.Hash()
	version := uint64(0)
	if list := m.Configs(); len(list) > 0 {
		version = list[len(list)-1].Version
	}
	fmt.Fprintf(out, "its state can be read: %d calls, %d agents, configuration version %d, hash %s\n", m.OpenCalls(), len(m.Agents()), version, hex.EncodeToString(hash[:]))
}
