package node

import (
	"context"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// sweepEvery is how often the leader looks for media that no call uses: a
// router that died between opening a session and committing it left one.
const sweepEvery = 30 * time.Second

// sweep frees, as long as this node leads, what workers hold for calls that the
// machine does not know. A session must be unknown in two looks in a row, since
// a new one is opened before its call's answer is committed.
func (n *Node) sweep(ctx context.Context) {
	suspects := map[acd.WorkerID]map[string]bool{}
	for pause(ctx, sweepEvery) {
		if _, self := n.store.Leader(); !self {
			clear(suspects)
			continue
		}
		var workers []acd.Worker
		n.view(func(m *acd.Machine) { workers = m.Workers() })
		for _, w := range workers {
			if w.Alive {
				suspects[w.ID] = n.sweepWorker(ctx, w.ID, suspects[w.ID])
			}
		}
	}
}

// sweepWorker frees the sessions of one worker that were suspects already, and
// returns those that are now.
func (n *Node) sweepWorker(ctx context.Context, id acd.WorkerID, before map[string]bool) map[string]bool {
	rep, err := n.workers.do(ctx, id, mediaapi.Request{Command: mediaapi.List})
	if err != nil {
		n.log.Warn("a worker does not list its calls", "worker", id, "err", err)
		return before
	}
	now := map[string]bool{}
	n.view(func(m *acd.Machine) {
		for _, call := range rep.Calls {
			if _, _, known := m.OwnerOf(acd.CallID(call)); !known {
				now[call] = true
			}
		}
	})
	for call := range now {
		if !before[call] {
			continue
		}
		delete(now, call)
		if _, err := n.workers.do(ctx, id, mediaapi.Request{Command: mediaapi.Delete, CallID: call}); err != nil {
			n.log.Warn("media that no call uses is not freed", "worker", id, "call_id", call, "err", err)
			continue
		}
		swept.Inc()
		n.log.Info("media that no call used is freed", "worker", id, "call_id", call)
	}
	return now
}
