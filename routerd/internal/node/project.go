package node

import (
	"context"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// project copies the machine's facts into this node's own file, beside Apply
// and behind it by a fraction of a second. The file's cursor is its newest
// row, so a node that comes back goes on where it stopped.
func (n *Node) project(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	cursor := n.facts.Cursor()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var batch []routeapi.Fact
		n.view(func(m *acd.Machine) {
			for _, f := range m.FactsAfter(cursor, 4096) {
				batch = append(batch, factView(f))
			}
		})
		if len(batch) == 0 {
			continue
		}
		// A full disk must not stop calls: facts wait in the state meanwhile.
		if err := n.facts.Append(ctx, batch); err != nil {
			n.log.Error("facts can't be stored: is the disk full?", "err", err)
			continue
		}
		cursor = batch[len(batch)-1].Index
	}
}
