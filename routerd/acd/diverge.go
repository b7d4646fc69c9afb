package acd

import (
	"cmp"
	"fmt"
	"slices"
)

// hashIndexes is for how many indexes reports are kept: a router that is slow
// to report is still compared.
const hashIndexes = 4

// hashReported compares what the live routers say of their state after one
// index. The majority's is right: whoever has another one is told to start over.
// Without a majority nobody can tell who is right, so all are named and nobody
// is stopped.
func (m *Machine) hashReported(b HashReported) Result {
	switch {
	case !m.lives(b.Owner):
		return m.noop(ReasonStaleLife)
	case len(b.Hash) != 32 || b.Index >= m.index:
		return m.noop(ReasonBadHash)
	}
	at, known := slices.BinarySearchFunc(m.hashes, b, func(r HashReport, b HashReported) int {
		return cmp.Or(cmp.Compare(r.Index, b.Index), cmp.Compare(r.Owner.Node, b.Owner.Node))
	})
	report := HashReport(b)
	switch {
	case known && m.hashes[at].Owner == b.Owner:
		return m.noop(ReasonUnchanged)
	case known: // of an earlier life
		m.hashes = slices.Clone(m.hashes)
		m.hashes[at] = report
	default:
		m.hashes = slices.Insert(slices.Clone(m.hashes), at, report)
	}
	if m.forgetHashes(b.Index) {
		return m.noop(ReasonOldHash)
	}
	m.compareHashes(b.Index)
	return Result{Applied: true}
}

// forgetHashes keeps the reports of the newest indexes. It tells whether those
// of index are gone.
func (m *Machine) forgetHashes(index uint64) bool {
	n, last := 0, uint64(0)
	for i := len(m.hashes) - 1; i >= 0; i-- {
		if at := m.hashes[i].Index; n == 0 || at != last {
			n, last = n+1, at
		}
		if n > hashIndexes {
			m.hashes = m.hashes[i+1:]
			return index <= last
		}
	}
	return false
}

func (m *Machine) compareHashes(index uint64) {
	var reports []HashReport
	for _, r := range m.hashes {
		if r.Index == index && m.lives(r.Owner) {
			reports = append(reports, r)
		}
	}
	live := len(m.liveNodes())
	right := majority(reports, live)
	if right == nil && len(reports) < live {
		return // not decided yet
	}
	for _, r := range reports {
		n := m.node(r.Owner.Node)
		switch {
		case right == nil:
			m.diverged(n, r, false)
		case slices.Equal(r.Hash, right):
			n.Agreed = max(n.Agreed, index)
			if n.Diverged < index {
				n.Diverged = 0
			}
		default:
			m.diverged(n, r, true)
		}
	}
	// A router that differs is named once for an index; when all have reported
	// there is nobody left to compare.
	m.hashes = slices.DeleteFunc(m.hashes, func(r HashReport) bool {
		return r.Index == index && (len(reports) == live || m.lives(r.Owner) && !slices.Equal(r.Hash, right))
	})
}

// majority returns the hash that more than half of live routers have, or nil.
func majority(reports []HashReport, live int) []byte {
	for _, r := range reports {
		n := 0
		for _, other := range reports {
			if slices.Equal(r.Hash, other.Hash) {
				n++
			}
		}
		if 2*n > live {
			return r.Hash
		}
	}
	return nil
}

func (m *Machine) diverged(n *Node, r HashReport, resync bool) {
	n.Diverged = max(n.Diverged, r.Index)
	m.fact(Fact{Kind: FactNodeDiverged, Node: n.ID}).uint("incarnation", n.Incarnation).uint("index", r.Index).
		uint("agreed", n.Agreed).text("hash", fmt.Sprintf("%x", r.Hash[:8])).flag("resync", resync)
	if resync {
		m.orderAll(Resync{Owner: r.Owner, Index: r.Index, Agreed: n.Agreed})
	}
}
