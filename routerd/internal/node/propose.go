package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// log is the part of raftstore.Store the node needs.
type log interface {
	Propose(ctx context.Context, data []byte) (reply []byte, index uint64, err error)
}

// proposer is the node's only way into the replicated log. It numbers the
// commands of this process so that the machine answers a repeat (a proposal
// whose leader died is sent again) from its cache.
type proposer struct {
	log     log
	session string

	// took is told how long a proposal was under way, unless nil.
	took func(time.Duration)

	mu   sync.Mutex
	next uint64
	// open holds the numbers still waiting for their answer, and since when; floor
	// is the lowest of them, or next when there is none.
	open  map[uint64]time.Time
	floor uint64
}

func newProposer(session string) *proposer {
	return &proposer{session: session, next: 1, floor: 1, open: map[uint64]time.Time{}}
}

// propose commits a fact and returns what the machine answered and the log
// index it stands at. It keeps trying until ctx ends.
func (p *proposer) propose(ctx context.Context, body acd.Body) (acd.Result, uint64, error) {
	seq, floor := p.begin()
	defer p.end(seq)
	data, err := acdwire.EncodeCommand(acd.Command{Session: p.session, Seq: seq, Floor: floor, Body: body})
	if err != nil {
		return acd.Result{}, 0, fmt.Errorf("encode %T: %w", body, err)
	}
	began := time.Now()
	reply, index, err := p.log.Propose(ctx, data)
	if p.took != nil {
		p.took(time.Since(began))
	}
	if err != nil {
		return acd.Result{}, 0, fmt.Errorf("propose %T: %w", body, err)
	}
	res, err := acdwire.DecodeResult(reply)
	if err != nil {
		return acd.Result{}, 0, fmt.Errorf("decode the answer to %T: %w", body, err)
	}
	return res, index, nil
}

func (p *proposer) begin() (seq, floor uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq = p.next
	p.next++
	p.open[seq] = time.Now()
	return seq, p.floor
}

func (p *proposer) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, seq)
	for p.floor < p.next && p.open[p.floor].IsZero() {
		p.floor++
	}
}

// underWay is how long the oldest proposal has been waiting for its answer, and
// how many there are.
func (p *proposer) underWay(now time.Time) (oldest time.Duration, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since, ok := p.open[p.floor]; ok {
		oldest = now.Sub(since)
	}
	return oldest, len(p.open)
}
