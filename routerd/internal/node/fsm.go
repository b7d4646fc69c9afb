package node

import (
	"errors"
	"fmt"
	"io"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// fsm applies the log to the machine and hands its effects out. It is called
// by one goroutine, in log order, and must never wait for anything but the
// machine's lock.
type fsm struct{ n *Node }

// Apply implements raftstore.StateMachine.
func (f fsm) Apply(index uint64, stamp int64, data []byte) []byte {
	entered := time.Now()
	cmd, err := acdwire.DecodeCommand(data)
	if err != nil {
		// A command this build does not know: going on would let replicas
		// diverge, so the node stops and says where.
		f.n.halt(fmt.Errorf("log index %d: %w: run a routerd version that knows this command", index, err))
		return nil
	}
	cmd.Stamp = acd.Time(stamp)
	n := f.n
	res, effects := n.apply(index, cmd)
	n.watchSelf(cmd, res)
	n.spread(effects, entered)
	n.announceApplied()
	reply, err := acdwire.EncodeResult(res)
	if err != nil {
		n.halt(fmt.Errorf("encode result at log index %d: %w", index, err))
	}
	return reply
}

// apply gives a command to the machine. A version of behaviour that this build
// does not know stops the node: it would diverge.
func (n *Node) apply(index uint64, cmd acd.Command) (acd.Result, []acd.Effect) {
	defer func() {
		if v := recover(); v != nil {
			unknown, ok := v.(acd.UnknownVersion)
			if !ok {
				panic(v) // a broken invariant
			}
			n.halt(fmt.Errorf("log index %d: %w", index, unknown))
		}
	}()
	n.stateMu.Lock()
	defer n.stateMu.Unlock()
	n.witness.see(index, n.machine)
	before := n.machine.Index()
	res, effects := n.machine.Apply(index, cmd)
	n.applied, n.appliedStamp, n.appliedAt = index, n.machine.Now(), time.Now()
	n.compare(before)
	return res, effects
}

// watchSelf notices in the log that this life began, or that it is over.
func (n *Node) watchSelf(cmd acd.Command, res acd.Result) {
	own := n.owner()
	switch b := cmd.Body.(type) {
	case acd.NodeStarted:
		switch {
		case b.Node != n.id:
		case cmd.Session == n.proposer.session:
			n.incarnation.Store(res.Incarnation)
		case own.Incarnation != 0:
			n.halt(fmt.Errorf("another process runs as router %s: give each its own name", n.id))
		}
	case acd.NodeDied:
		// The others took our calls over: whatever this life still holds is
		// out of date, and a new life is safe where an old one is not.
		if own.Incarnation != 0 && b.Owner == own && !n.draining.Load() {
			n.halt(fmt.Errorf("the cluster declared this life (incarnation %d) dead; start again", own.Incarnation))
		}
	}
}

// Snapshot implements raftstore.StateMachine.
func (f fsm) Snapshot() (func(io.Writer) error, error) {
	f.n.stateMu.RLock()
	state := f.n.machine.Snapshot() // shares nothing with the machine
	f.n.stateMu.RUnlock()
	return func(w io.Writer) error {
		state.Sort()
		return acdwire.EncodeState(w, state)
	}, nil
}

// Restore implements raftstore.StateMachine.
func (f fsm) Restore(r io.Reader) error {
	state, err := acdwire.DecodeState(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m, err := acd.Restore(state)
	var unknown acd.UnknownVersion
	if errors.As(err, &unknown) {
		f.n.halt(fmt.Errorf("snapshot: %w", unknown))
	}
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if f.n.incarnation.Load() != 0 {
		// Orders between our last entry and this snapshot were missed. A new
		// life takes our calls over in order; this one can't.
		f.n.halt(fmt.Errorf("fell behind the log by more than the leader keeps; start again"))
	}
	f.n.stateMu.Lock()
	defer f.n.stateMu.Unlock()
	f.n.machine = m
	f.n.applied, f.n.appliedStamp, f.n.appliedAt = m.Index(), m.Now(), time.Now()
	return nil
}

// halt ends the process: for what must not be lived through. The supervisor
// starts a new life, whose NodeStarted moves this one's calls.
func (n *Node) halt(err error) {
	n.log.Error("routerd stops", "err", err)
	n.exit(3)
}

// view reads the machine. f must not keep references to what it sees.
func (n *Node) view(f func(m *acd.Machine)) {
	n.stateMu.RLock()
	defer n.stateMu.RUnlock()
	f(n.machine)
}

// machineTime is the machine's clock as this node sees it between entries. It
// follows the log, not the wall: a wall clock that jumps moves nothing.
func (n *Node) machineTime() acd.Time {
	n.stateMu.RLock()
	defer n.stateMu.RUnlock()
	if n.appliedStamp == 0 {
		return acd.Time(time.Now().UnixNano())
	}
	return n.appliedStamp.Add(time.Since(n.appliedAt))
}

// waitApplied returns once this node's machine has applied the log up to
// index, or done is closed.
func (n *Node) waitApplied(done <-chan struct{}, index uint64) bool {
	for {
		n.stateMu.Lock()
		if n.appliedMoved == nil {
			n.appliedMoved = make(chan struct{})
		}
		applied, moved := n.applied, n.appliedMoved
		n.stateMu.Unlock()
		if applied >= index {
			return true
		}
		select {
		case <-moved:
		case <-done:
			return false
		}
	}
}

// announceApplied wakes whoever waits for the log to move.
func (n *Node) announceApplied() {
	n.stateMu.Lock()
	if n.appliedMoved != nil {
		close(n.appliedMoved)
		n.appliedMoved = nil
	}
	n.stateMu.Unlock()
	select {
	case n.deadlineMoved <- struct{}{}:
	default:
	}
}
