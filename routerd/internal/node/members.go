package node

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/raftstore/gossip"
	"trunkline/routerd/acd"
)

// newcomerGrace is how long after its own start a leader waits for gossip to
// find a member before it takes the member's absence for death.
const newcomerGrace = 5 * time.Second

// reconcile is the leader's duty: what gossip sees of routers and workers
// becomes committed facts. Gossip only suspects; the machine's answer decides.
func (n *Node) reconcile(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.gossip.Changes():
		}
		if _, self := n.store.Leader(); !self {
			continue
		}
		seen := map[string]gossip.Member{}
		for _, m := range n.gossip.Members() {
			seen[m.Name] = m
			n.everSeen[m.Name] = true
		}
		n.reconcileRouters(ctx, seen)
		n.reconcileWorkers(ctx, seen)
	}
}

// absent tells whether a member that the machine holds alive is gone.
func (n *Node) absent(name string, seen map[string]gossip.Member) bool {
	if _, ok := seen[name]; ok {
		return false
	}
	return n.everSeen[name] || time.Since(n.started) > newcomerGrace
}

func (n *Node) reconcileRouters(ctx context.Context, seen map[string]gossip.Member) {
	var dead []acd.Owner
	alive := 0
	n.view(func(m *acd.Machine) {
		for _, r := range m.Nodes() {
			if !r.Alive {
				continue
			}
			alive++
			if r.ID != n.id && n.absent(string(r.ID), seen) {
				dead = append(dead, acd.Owner{Node: r.ID, Incarnation: r.Incarnation})
			}
		}
	})
	// A leader that sees most of the cluster gone is itself the one cut off.
	if len(dead)*2 > alive {
		return
	}
	for _, o := range dead {
		n.log.Warn("router is gone: its calls move", "peer", o.Node, "incarnation", o.Incarnation)
		n.tell(ctx, acd.NodeDied{Owner: o})
	}
}

func (n *Node) reconcileWorkers(ctx context.Context, seen map[string]gossip.Member) {
	known := map[acd.WorkerID]acd.Worker{}
	n.view(func(m *acd.Machine) {
		for _, w := range m.Workers() {
			known[w.ID] = w
		}
	})
	for _, m := range seen {
		meta, ok := workerMeta(m)
		if !ok {
			continue
		}
		id := acd.WorkerID(m.Name)
		if w, ok := known[id]; ok && meta.Incarnation <= w.Incarnation {
			switch {
			case meta.Incarnation < w.Incarnation:
			case w.Alive && meta.Draining && meta.Covered:
				n.workerDied(id, meta.Incarnation)
			case !w.Alive && !meta.Draining:
				n.beginAnew(ctx, id, meta)
			}
			continue
		}
		n.log.Info("media worker joined", "worker", id, "incarnation", meta.Incarnation)
		n.tell(ctx, acd.WorkerStarted{Worker: id, Incarnation: meta.Incarnation, Control: meta.Control, Replication: meta.Replication, Addresses: meta.Addresses})
	}
	for _, w := range lostWorkers(known, func(id acd.WorkerID) bool { return n.absent(string(id), seen) }) {
		n.workerDied(w.ID, w.Incarnation)
	}
}

// lostWorkers are those that are gone. If it is most of them, the leader is
// itself cut off from their network, and calls whose media flows must not end
// for that. Where they did die, each says so with its next life.
func lostWorkers(known map[acd.WorkerID]acd.Worker, absent func(acd.WorkerID) bool) []acd.Worker {
	var lost []acd.Worker
	alive := 0
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if w := known[id]; w.Alive {
			alive++
			if absent(id) {
				lost = append(lost, w)
			}
		}
	}
	if alive > 1 && len(lost)*2 > alive {
		return nil
	}
	return lost
}

// workerDied reports a worker's death once for each life.
func (n *Node) workerDied(id acd.WorkerID, incarnation uint64) {
	n.mu.Lock()
	done := n.reported[id] == incarnation
	n.reported[id] = incarnation
	n.mu.Unlock()
	if done {
		return
	}
	n.log.Warn("media worker is gone: its media address moves to the standby", "worker", id, "incarnation", incarnation)
	go n.tell(n.life, acd.WorkerDied{Worker: id, Incarnation: incarnation})
}

// beginAnewEvery paces what a worker is told that takes itself for alive.
const beginAnewEvery = time.Second

// beginAnew tells a worker that it was declared dead: it hung, or nobody could
// hear it. It comes back with another life.
func (n *Node) beginAnew(ctx context.Context, id acd.WorkerID, meta mediaapi.WorkerMeta) {
	if time.Since(n.awoken[id]) < beginAnewEvery {
		return
	}
	n.awoken[id] = time.Now()
	n.log.Warn("a media worker lives that was declared dead: it is told to begin anew", "worker", id, "incarnation", meta.Incarnation)
	go func() {
		if err := n.workers.beginAnew(ctx, id, meta); err != nil {
			n.log.Warn("a media worker was not told to begin anew", "worker", id, "err", err)
		}
	}()
}

// tell proposes a fact whose answer changes nothing for the caller.
func (n *Node) tell(ctx context.Context, body acd.Body) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, _, err := n.proposer.propose(ctx, body); err != nil && ctx.Err() == nil {
		n.log.Error("a fact could not be committed", "err", err)
	}
}

func workerMeta(m gossip.Member) (mediaapi.WorkerMeta, bool) {
	var meta mediaapi.WorkerMeta
	err := json.Unmarshal(m.Meta, &meta)
	return meta, err == nil && meta.Kind == "worker"
}

// tick proposes a Ticked whenever this node leads and a timer is due.
func (n *Node) tick(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.deadlineMoved:
		}
		wait := 50 * time.Millisecond
		if _, self := n.store.Leader(); self {
			var due acd.Time
			var some bool
			n.view(func(m *acd.Machine) { due, some = m.NextDeadline() })
			if some {
				wait = max(due.Sub(n.machineTime()), 0)
				if wait == 0 {
					n.tell(ctx, acd.Ticked{})
					wait = 2 * time.Millisecond // never spin on a deadline in the far end of a slow log
				}
			}
		}
		timer.Reset(min(wait, 50*time.Millisecond))
	}
}
