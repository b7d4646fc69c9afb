package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/raftstore"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// compareEvery is how many log entries lie between two comparisons of the
// routers' states.
const compareEvery = 4000

var hashTook = metrics.NewHistogram("routerd_state_hash_seconds")

// compare lets this router report its state after the first command of every
// compareEvery entries. before is the index of the command before this one. It is
// called with the machine's lock held: the snapshot shares calls and history
// with the machine, and its hash is computed beside Apply.
func (n *Node) compare(before uint64) {
	index := n.machine.Index()
	if before/compareEvery == index/compareEvery || n.incarnation.Load() == 0 {
		return
	}
	state, own := n.machine.Snapshot(), n.owner()
	n.async(func() {
		began := time.Now()
		hash := state.Hash()
		hashTook.UpdateDuration(began)
		n.tell(n.life, acd.HashReported{Owner: own, Index: index, Hash: hash[:]})
	})
}

// restart is what a router that must start over leaves for its next life, in
// Data/restart.json. It is written again once that life has set aside what it
// must not use, with Pending false: should the same be asked for once more, the
// snapshot it started from is no good either.
type restart struct {
	Pending bool   `json:"pending"`
	Index   uint64 `json:"index"`  // at which the state differed
	Agreed  uint64 `json:"agreed"` // last index at which it is known to have been right
	Upto    uint64 `json:"upto"`   // no later snapshot may be used
	From    uint64 `json:"from"`   // of the snapshot that was used; 0: the log from its beginning
}

// Files of a router that must start over, in its data folder.
const (
	restartFile  = "restart.json"
	divergedDir  = "diverged" // what is set aside: snapshots, and the state that was wrong
	divergedFile = "diverged.state"
	keepPatience = time.Second
)

// resync ends this life: its state is not the majority's. The wrong state is
// kept for who looks into it, as long as that takes no time.
func (n *Node) resync(o acd.Resync) {
	n.log.Error("this router's state is not that of the majority: it starts over from before", "index", o.Index, "agreed", o.Agreed)
	kept := make(chan error, 1)
	go func() { kept <- n.keepState(filepath.Join(n.conf.Data, divergedFile)) }()
	select {
	case err := <-kept:
		if err != nil {
			n.log.Warn("the wrong state is not kept", "err", err)
		}
	case <-time.After(keepPatience):
		n.log.Warn("the wrong state is not kept: writing it takes too long")
	}
	last, err := readRestart(n.conf.Data)
	if err == nil {
		err = last.again(o).write(n.conf.Data)
	}
	if err != nil {
		n.log.Error("the next life will not start over", "err", err)
	}
	n.halt(fmt.Errorf("state differs from the majority's at log index %d", o.Index))
}

// again asks for a start from before, after r: if that did not help, the
// snapshot that was used then is wrong.
func (r restart) again(o acd.Resync) restart {
	next := restart{Pending: true, Index: o.Index, Agreed: o.Agreed, Upto: o.Agreed}
	if r.Index > 0 && o.Agreed <= r.Agreed {
		next.Upto = max(r.From, 1) - 1
	}
	return next
}

func (n *Node) keepState(path string) error {
	n.stateMu.RLock()
	state := n.machine.Snapshot()
	n.stateMu.RUnlock()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	state.Sort()
	return errors.Join(acdwire.EncodeState(f, state), f.Close())
}

// startOver sets aside, before the log is opened, what the last life was told
// not to use.
func startOver(data string) (done bool, r restart, err error) {
	if r, err = readRestart(data); err != nil || !r.Pending {
		return false, r, err
	}
	r.From, err = raftstore.SetAside(filepath.Join(data, "raft"), r.Upto, filepath.Join(data, divergedDir))
	if errors.Is(err, raftstore.ErrNoWayBack) {
		return false, r, fmt.Errorf("this router's state went wrong after log index %d and can't be rebuilt from its own log: "+
			"replace it (routerctl cluster remove, an empty %s, routerctl cluster add): %w", r.Upto, filepath.Join(data, "raft"), err)
	}
	if err != nil {
		return false, r, err
	}
	// May be missing, if it could not be kept in time.
	if err := os.Rename(filepath.Join(data, divergedFile), filepath.Join(data, divergedDir, divergedFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, r, fmt.Errorf("keep the wrong state: %w", err)
	}
	r.Pending = false
	return true, r, r.write(data)
}

func readRestart(data string) (r restart, err error) {
	text, err := os.ReadFile(filepath.Join(data, restartFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read %s: %w", restartFile, err)
	}
	return r, nil
}

// write replaces the file in one step.
func (r restart) write(data string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(data, restartFile)
	f, err := os.Create(path + ".new")
	if err != nil {
		return fmt.Errorf("write %s: %w", restartFile, err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(path+".new", path)); err != nil {
		return fmt.Errorf("write %s: %w", restartFile, err)
	}
	return nil
}
