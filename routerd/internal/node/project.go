package node

import (
	"context"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

// projectRows bounds one step of project: what it holds in memory, and how long
// it reads the machine.
const projectRows = 4096

// project copies the machine's facts into this node's own file, beside Apply
// and behind it by a fraction of a second. The file knows how far it is, so a
// node that comes back goes on where it stopped.
func (n *Node) project(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	complaint := complaint{every: time.Minute}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := n.projectStep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			complaint.over()
		case complaint.due(time.Now()):
			// A full disk must not stop calls: facts wait in the state.
			n.log.Error("facts can't be stored and wait in memory: free disk space in the data folder", "err", err)
		}
	}
}

func (n *Node) projectStep(ctx context.Context) error {
	if err := n.facts.Upgrade(ctx); err != nil {
		return err
	}
	b := facts.Batch{After: n.facts.Cursor()}
	n.view(func(m *acd.Machine) {
		b.Facts = m.FactsAfter(b.After, projectRows)
		b.Upto = m.Index()
	})
	if len(b.Facts) >= projectRows {
		b.Upto = b.Facts[len(b.Facts)-1].Index
	}
	return n.facts.Append(ctx, b)
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
