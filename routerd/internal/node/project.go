package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

var (
	copied   = metrics.NewCounter("routerd_facts_copied_total")
	diverged = metrics.NewCounter("routerd_facts_diverged_total")
	lost     = metrics.NewCounter("routerd_facts_skipped_total")
)

// Bounds of the projection.
const (
	projectRows  = 4096             // of one step: what it holds in memory, and how long it reads the machine
	confirmRows  = 1024             // facts after which the others are told how far this file is
	confirmEvery = 10 * time.Second // and at the latest
	expireEvery  = time.Minute
	projectEvery = 500 * time.Millisecond // a batch costs two writes that are waited for, however small

	longDead = 24 * time.Hour // a router's death after which facts are not hoped for from it
)

// projector copies the machine's facts into this node's own file, beside Apply
// and behind it by about half a second. The file knows how far it is, so a
// node that comes back goes on where it stopped: from the state, if the state
// still has what comes next, else from another router's file.
type projector struct {
	id    acd.NodeID
	facts *facts.Store
	log   *slog.Logger
	view  func(func(m *acd.Machine))
	// others are the routers that may have facts which this one lacks.
	others func() []acd.NodeID
	page   func(ctx context.Context, from acd.NodeID, after uint64) (facts.Page, error)
	// confirm tells the machine how far the file is, unless it is busy.
	confirm func(ctx context.Context, index uint64) bool
	// live tells whether the machine has caught up with what was applied before
	// this process began.
	live func() bool

	unconfirmed int // facts
	confirmedAt time.Time
}

func (n *Node) newProjector() *projector {
	p := &projector{id: n.id, facts: n.facts, log: n.log, view: n.view, page: n.peers.facts}
	p.others = func() []acd.NodeID {
		var ids []acd.NodeID
		n.view(func(m *acd.Machine) {
			for _, r := range m.Nodes() {
				if r.ID != n.id && (r.Alive || m.Now().Sub(r.Died) < longDead) {
					ids = append(ids, r.ID)
				}
			}
		})
		return ids
	}
	busy := make(chan struct{}, 1)
	p.confirm = func(ctx context.Context, index uint64) bool {
		select {
		case busy <- struct{}{}:
		default:
			return false // the last one is still on its way
		}
		// Beside the projection: without a leader it takes a while.
		n.async(func() {
			n.tell(ctx, acd.FactsConfirmed{Node: n.id, Index: index})
			<-busy
		})
		return true
	}
	p.live = func() bool { return n.incarnation.Load() != 0 }
	return p
}

// project runs the projection and removes what is older than the limit.
func (n *Node) project(ctx context.Context) {
	p := n.newProjector()
	tick := time.NewTicker(projectEvery)
	defer tick.Stop()
	complaint, expired := complaint{every: time.Minute}, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := p.step(ctx)
		if err == nil && time.Since(expired) > expireEvery {
			err, expired = n.expire(ctx), time.Now()
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			complaint.over()
		case complaint.due(time.Now()):
			// A full disk must not stop calls: facts wait in the state.
			n.log.Error("facts can't be stored and wait in memory: does the data folder's disk have room?", "err", err)
		}
	}
}

// expire removes the facts and records that are older than the configuration
// keeps (T11). Machine time decides: a wall clock that jumps removes nothing.
func (n *Node) expire(ctx context.Context) error {
	var now acd.Time
	n.view(func(m *acd.Machine) { now = m.Now() })
	return expireBefore(ctx, n.facts, now.Add(-n.conf.Facts.Keep()))
}

func expireBefore(ctx context.Context, s *facts.Store, before acd.Time) error {
	for before > 0 {
		removed, err := s.Expire(ctx, before)
		if err != nil || removed < facts.ExpireStep {
			return err
		}
		if !pause(ctx, 10*time.Millisecond) { // the projection's turn
			return ctx.Err()
		}
	}
	return nil
}

// step takes what is new.
func (p *projector) step(ctx context.Context) error {
	if err := p.facts.Upgrade(ctx); err != nil {
		return err
	}
	for {
		b := facts.Batch{After: p.facts.Cursor(), Gently: true}
		var from uint64
		p.view(func(m *acd.Machine) {
			if from = m.FactsFrom(); b.After < from {
				return
			}
			b.Facts, b.Upto = m.FactsAfter(b.After, projectRows), m.Index()
			if len(b.Facts) < projectRows {
				sum := m.FactsSum()
				b.Sum = &sum
			}
		})
		if b.After < from {
			if err := p.catchUp(ctx, from); err != nil {
				return err
			}
			continue
		}
		if b.Sum == nil {
			b.Upto = b.Facts[len(b.Facts)-1].Index
		}
		if b.Upto < b.After {
			if !p.live() {
				return nil // the log is being replayed
			}
			// The file is of another cluster, or of this one before a backup was
			// restored: nothing that is in it may be taken for its history.
			return fmt.Errorf("the file holds facts up to log index %d and the log ends at %d: move facts.sqlite out of the data folder, another router's is copied", b.After, b.Upto)
		}
		if err := p.append(ctx, b); err != nil {
			return err
		}
		p.tellOthers(ctx, b)
		if b.Sum != nil {
			return nil
		}
	}
}

// append stores a batch of the state. A file that comes to another sum than the
// machine is damaged somewhere: that is told, and the history goes on, since
// what comes now is right.
func (p *projector) append(ctx context.Context, b facts.Batch) error {
	err := p.facts.Append(ctx, b)
	if !errors.Is(err, facts.ErrDiverged) {
		return err
	}
	diverged.Inc()
	p.log.Error("this router's facts are not the cluster's history: compare routerctl facts-digest of all routers, then move this one's facts.sqlite out of its data folder and start it again", "err", err)
	b.Adopt = true
	return p.facts.Append(ctx, b)
}

// tellOthers confirms how far the file is, now and then: the state keeps facts
// until it knows.
func (p *projector) tellOthers(ctx context.Context, b facts.Batch) {
	if p.unconfirmed += len(b.Facts); p.unconfirmed == 0 {
		return
	}
	if p.unconfirmed < confirmRows && time.Since(p.confirmedAt) < confirmEvery {
		return
	}
	if p.confirm(ctx, b.Upto) {
		p.unconfirmed, p.confirmedAt = 0, time.Now()
	}
}

// catchUp copies from another router's file what the state does not have any
// more, up to from.
func (p *projector) catchUp(ctx context.Context, from uint64) error {
	p.log.Info("copying facts from another router: this one was away", "index", p.facts.Cursor(), "upto", from)
	var errs []error
	highest := uint64(0) // cursor of those that answered
	others := p.others()
	for _, peer := range others {
		cursor, err := p.copyFrom(ctx, peer, from)
		highest = max(highest, cursor)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("router %s: %w", peer, err))
	}
	answered := true
	for _, err := range errs {
		answered = answered && errors.Is(err, errBehind)
	}
	if !answered || highest > p.facts.Cursor() {
		return fmt.Errorf("facts from %d to %d are not in the state any more and can't be copied yet: %w", p.facts.Cursor(), from, errors.Join(errs...))
	}
	// Every router was asked and none has them: waiting would only lose more.
	lost.Inc()
	p.log.Error("no router has the facts of some log entries: they are lost", "after", p.facts.Cursor(), "upto", from)
	return p.facts.Skip(ctx, &facts.Page{Batch: facts.Batch{After: from}})
}

// errBehind means that another router's file does not reach as far as needed.
var errBehind = errors.New("its file does not have them either")

// copyFrom takes page after page until this file reaches upto, or the other
// ends. Each must come to the sum that the other router has stored for it.
func (p *projector) copyFrom(ctx context.Context, peer acd.NodeID, upto uint64) (cursor uint64, err error) {
	for p.facts.Cursor() < upto {
		after := p.facts.Cursor()
		page, err := p.page(ctx, peer, after)
		if err != nil {
			return cursor, err
		}
		cursor = page.Cursor
		if page.Cursor <= after {
			return cursor, errBehind
		}
		if err := page.Check(after); err != nil {
			return cursor, err
		}
		if err := p.facts.Skip(ctx, &page); err != nil {
			return cursor, err
		}
		if err := p.facts.Append(ctx, page.Batch); err != nil {
			return cursor, err
		}
		if p.facts.Cursor() == after {
			return cursor, fmt.Errorf("a page after %d brought nothing", after)
		}
		copied.Add(len(page.Facts))
	}
	return cursor, nil
}

// complaint keeps a fault that lasts from filling the log.
type complaint struct {
	every time.Duration
	last  time.Time
}

func (c *complaint) due(now time.Time) bool {
	if !c.last.IsZero() && now.Sub(c.last) < c.every {
		return false
	}
	c.last = now
	return true
}

// over lets the next fault be told at once.
func (c *complaint) over() { c.last = time.Time{} }
