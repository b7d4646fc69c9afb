package raftstore

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// gatherFor is how far apart commands go into the log at least. What comes in
// between goes together: a write of three disks, and a packet to each follower and
// back, cost a processor about a millisecond, however few commands they carry. A
// command that comes after a pause does not wait.
const gatherFor = 2 * time.Millisecond

// gather is where commands of this leader wait for each other.
type gather struct {
	apply func(entry []byte, timeout time.Duration) raft.ApplyFuture

	mu      sync.Mutex
	last    time.Time // when commands last went
	waiting []*gathered
}

// gathered is a command and, once sent is closed, its future.
type gathered struct {
	entry  []byte
	future raft.ApplyFuture
	sent   chan struct{}
}

// send gives an entry to raft, with those that came in the same while.
func (g *gather) send(entry []byte) raft.ApplyFuture {
	own := &gathered{entry: entry, sent: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, own)
	first := len(g.waiting) == 1
	wait := gatherFor - time.Since(g.last)
	g.mu.Unlock()
	if !first {
		<-own.sent
		return own.future
	}
	time.Sleep(wait) // not at all where it is less than 0
	g.mu.Lock()
	all := g.waiting
	g.waiting, g.last = nil, time.Now()
	g.mu.Unlock()
	for _, w := range all {
		w.future = g.apply(w.entry, attemptTimeout)
		close(w.sent)
	}
	return own.future
}
