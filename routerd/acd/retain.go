package acd

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// recentDeath is how long facts wait in the state for a router that died. One
// that is away for longer copies from another router's file.
const recentDeath = 24 * time.Hour

// maxSinks bounds the external sinks: there are as many as the configuration
// files name, and a name that is mistyped stays.
const maxSinks = 16

// factsConfirmed notes that the router's own file holds the facts up to an
// index, and lets go of those that no router waits for any more.
func (m *Machine) factsConfirmed(b FactsConfirmed) Result {
	if m.node(b.Node) == nil {
		return m.noop(ReasonUnknownNode)
	}
	if r := m.confirm(&m.confirmed, string(b.Node), b.Index); !r.Applied {
		return r
	}
	m.releaseFacts()
	return Result{Applied: true}
}

// sinkConfirmed notes how far an external sink is. What it has not got is in
// the routers' own files, so the state need not keep it.
func (m *Machine) sinkConfirmed(b SinkConfirmed) Result {
	if _, known := find(m.sinks, b.Sink); b.Sink == "" || !known && len(m.sinks) >= maxSinks {
		return m.noop(ReasonUnknownSink)
	}
	return m.confirm(&m.sinks, b.Sink, b.Index)
}

func find(list []Confirmation, reader string) (int, bool) {
	return slices.BinarySearchFunc(list, reader, func(c Confirmation, reader string) int { return cmp.Compare(c.Reader, reader) })
}

// confirm moves a reader on, never back: an old leader that wakes may repeat
// what it meant to say long ago. Nobody can have facts of this index or later.
func (m *Machine) confirm(list *[]Confirmation, reader string, index uint64) Result {
	if index >= m.index {
		return m.noop(ReasonUnexpected)
	}
	i, known := find(*list, reader)
	if !known {
		*list = slices.Insert(*list, i, Confirmation{Reader: reader})
	}
	if (*list)[i].Index >= index && known {
		return m.noop(ReasonUnchanged)
	}
	(*list)[i].Index = index
	return Result{Applied: true}
}

// releaseFacts drops the chunks that every router has which lives or died a
// short while ago. The newest chunk stays.
func (m *Machine) releaseFacts() {
	all := m.index
	for _, n := range m.nodes {
		if !n.Alive && m.now.Sub(n.Died) > recentDeath {
			continue
		}
		i, ok := find(m.confirmed, string(n.ID))
		if !ok {
			return // it has confirmed nothing yet
		}
		all = min(all, m.confirmed[i].Index)
	}
	l := &m.facts
	drop := 0
	for drop < len(l.chunks)-1 && l.chunks[drop].last <= all {
		drop++
	}
	l.drop(drop)
}

// drop forgets the oldest n chunks. A snapshot may still hold them.
func (l *factLog) drop(n int) {
	if n == 0 {
		return
	}
	l.gone = l.chunks[n-1].last
	l.chunks = slices.Clone(l.chunks[n:])
	l.first += uint64(n) * factChunk
}

// FactsConfirmed returns the index up to which a router's own file holds the
// facts, as far as it has said.
func (m *Machine) FactsConfirmed(id NodeID) uint64 { return confirmed(m.confirmed, string(id)) }

// SinkConfirmed returns the index up to which an external sink holds the facts.
func (m *Machine) SinkConfirmed(sink string) uint64 { return confirmed(m.sinks, sink) }

func confirmed(list []Confirmation, reader string) uint64 {
	if i, ok := find(list, reader); ok {
		return list[i].Index
	}
	return 0
}

// FactsSum is the sum chained over all facts there ever were, see Fact.Chain: a
// router whose file comes to the same has the same history.
func (m *Machine) FactsSum() uint64 { return m.facts.sum }

// Chain adds the fact to the running sum of the history that sum is so far; it
// begins at 0.
func (f Fact) Chain(sum uint64) uint64 {
	b := appendHead(make([]byte, 0, 512), f.Index, f.N, f.At, f)
	for _, a := range f.Attrs {
		b = appendText(appendText(b, a.Key), a.Value)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	return foldBytes(sum, b)
}
