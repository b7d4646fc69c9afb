package acd

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Bounds on what is remembered of who spoke with whom. It is kept in chunks of
// bytes that are never touched again once full, so a snapshot shares them;
// whole chunks are dropped from the old end.
const (
	spokenChunk     = 1024
	maxSpokenChunks = 256
)

// spokenLog remembers whom customers spoke with last. An entry is
//
//	at                 uint64, little-endian, as all numbers here
//	number, agent      each a uint16 length and the bytes
type spokenLog struct {
	chunks []*spokenPart // all but the last are full
	seq    uint64        // entries there ever were
	last   map[string]spoken
}

type spokenPart struct {
	n   int
	buf []byte
}

// spoken is the last conversation of a number.
type spoken struct {
	agent AgentID
	at    Time
	seq   uint64
}

// customer is the number of who calls or is called.
func (c *call) customer() string {
	if c.Number != "" {
		return c.Number
	}
	return c.From
}

// known tells a number that belongs to somebody.
func known(number string) bool {
	return len(number) > 2 && (number[0] == '+' || number[0] >= '0' && number[0] <= '9')
}

// spoke notes that the call's customer speaks with the agent, if its queue
// keeps callers for agents.
func (m *Machine) spoke(c *call, a AgentID) {
	q := m.queues[c.Queue]
	if q == nil || q.Sticky.Days == 0 || !known(c.customer()) {
		return
	}
	l := &m.spoken
	if n := len(l.chunks); n == 0 || l.chunks[n-1].n == spokenChunk {
		l.chunks = append(l.chunks, new(spokenPart))
		if len(l.chunks) > maxSpokenChunks {
			l.forget()
		}
	}
	p := l.chunks[len(l.chunks)-1]
	p.buf = binary.LittleEndian.AppendUint64(p.buf, uint64(m.now))
	p.buf = appendText(appendText(p.buf, c.customer()), string(a))
	p.n++
	l.seq++
	l.last[c.customer()] = spoken{a, m.now, l.seq}
}

// forget drops the oldest chunk.
func (l *spokenLog) forget() {
	kept := 0
	for _, p := range l.chunks[1:] {
		kept += p.n
	}
	p := l.chunks[0]
	l.chunks = slices.Clone(l.chunks[1:])
	r := factReader{buf: p.buf}
	for range p.n {
		_, number, _ := r.spoken()
		if l.last[number].seq <= l.seq-uint64(kept) {
			delete(l.last, number)
		}
	}
}

// spoken reads one entry.
func (r *factReader) spoken() (at Time, number string, agent AgentID) {
	if len(r.buf) < 8 {
		r.bad, r.buf = true, nil
		return 0, "", ""
	}
	at = Time(binary.LittleEndian.Uint64(r.buf))
	r.buf = r.buf[8:]
	return at, r.text(), AgentID(r.text())
}

// restoreSpoken rebuilds the memory from a snapshot's chunks.
func (m *Machine) restoreSpoken(chunks [][]byte) error {
	l := &m.spoken
	for i, data := range chunks {
		p := &spokenPart{buf: data}
		for r := (factReader{buf: data}); len(r.buf) > 0; {
			at, number, agent := r.spoken()
			if r.bad {
				return errors.New("who spoke with whom is damaged")
			}
			p.n++
			l.seq++
			l.last[number] = spoken{agent, at, l.seq}
		}
		if p.n == 0 || p.n > spokenChunk || p.n < spokenChunk && i < len(chunks)-1 {
			return errors.New("who spoke with whom is not whole")
		}
		l.chunks = append(l.chunks, p)
	}
	return nil
}

// lastSpoken is the agent to keep a call for that joins the queue: whom its
// customer spoke with last, if that is not too long ago and the agent is there,
// serves the queue and can do what the call needs. Tiers don't matter.
func (m *Machine) lastSpoken(c *call, q *queue) AgentID {
	if q.Sticky.Days == 0 {
		return ""
	}
	last, ok := m.spoken.last[c.customer()]
	if !ok || last.at.Add(time.Duration(q.Sticky.Days)*24*time.Hour) < m.now {
		return ""
	}
	s := m.keeper(last.agent, q)
	if s == nil || !s.agent.skilled(merge(q.Needs, c.Needs)) {
		return ""
	}
	if s.agent.out != notExcluded && q.Sticky.Wait == 0 {
		return "" // busy, and nobody is to be waited for
	}
	return last.agent
}
