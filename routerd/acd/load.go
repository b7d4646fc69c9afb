package acd

import (
	"cmp"
	"time"
)

// defaultWindow is what least-busy looks back on where the queue doesn't say.
const defaultWindow = time.Hour

// loadParts is into how many parts a window is counted.
const loadParts = 12

// Load is how busy an agent was in the last parts of a least-busy queue's
// window: (talk + hold + wrap-up) and (available), by part of the window in
// which it fell. Ringing counts as neither.
type Load struct {
	Queue QueueID          `cbor:"1,keyasint"`
	Agent AgentID          `cbor:"2,keyasint"`
	Width time.Duration    `cbor:"3,keyasint"` // of a part
	Since Time             `cbor:"4,keyasint"` // counted up to here
	Busy  [loadParts]int64 `cbor:"5,keyasint"` // ns; part p of time is at p % loadParts
	Free  [loadParts]int64 `cbor:"6,keyasint"` // ns
}

// load is a Load and the rank that follows from it.
//
// Occupancy is counted when the agent becomes idle and then, while the agent
// is idle, at each multiple of a twelfth of the window: in between it does not
// change, so that a lineup stays in order. It is therefore exact to a twelfth
// of the window, and it looks back on eleven to twelve twelfths of it.
type load struct {
	Load
	occupancy int // permille
}

type loadKey struct {
	queue QueueID
	agent AgentID
}

func compareLoads(a, b Load) int {
	return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Agent, b.Agent))
}

func (q *queue) loadWidth() time.Duration {
	if q.Window == 0 {
		return defaultWindow / loadParts
	}
	return q.Window / loadParts
}

// count adds what the agent did since it was last counted, which was all one
// thing, and forgets what the window has passed.
func (l *load) count(now Time, busy, free bool) {
	width := int64(l.Width)
	part, last := int64(l.Since)/width, int64(now)/width
	if last-part >= loadParts { // all of it is forgotten, and more is not known of
		part = last - loadParts
		l.Since = Time((part + 1) * width)
		l.Busy, l.Free = [loadParts]int64{}, [loadParts]int64{}
	}
	for first := part; part <= last; part++ {
		if part > first { // in its place stands what the window has passed
			l.Busy[part%loadParts], l.Free[part%loadParts] = 0, 0
		}
		until := min(now, Time((part+1)*width))
		if busy {
			l.Busy[part%loadParts] += int64(until - l.Since)
		}
		if free {
			l.Free[part%loadParts] += int64(until - l.Since)
		}
		l.Since = until
	}
	l.rank()
}

func (l *load) rank() {
	var busy, free int64
	for i := range loadParts {
		busy += l.Busy[i]
		free += l.Free[i]
	}
	l.occupancy = 0
	if busy > 0 {
		l.occupancy = int(busy / max((busy+free)/1000, 1))
	}
}

// countLoad brings the agent's loads up to date before the status or state
// changes, and when it becomes eligible.
func (m *Machine) countLoad(a *agent) {
	if !a.measured {
		return
	}
	busy := a.State == InCall || a.State == WrapUp
	free := a.State == Idle && a.Status == Available
	for _, s := range a.seats {
		if s.load != nil {
			s.load.count(m.now, busy, free)
		}
	}
}

// loadOf gives the seat its load, from before if there is one.
func (m *Machine) loadOf(s *seat) {
	if s.queue.Strategy != LeastBusy {
		return
	}
	s.agent.measured = true
	key, width := loadKey{s.queue.ID, s.agent.ID}, s.queue.loadWidth()
	l := m.loads[key]
	if l == nil || l.Width != width {
		l = &load{Load: Load{Queue: key.queue, Agent: key.agent, Width: width, Since: m.now}}
		m.loads[key] = l
	}
	l.rank()
	s.load = l
}

// forgetLoads drops those of agents who left their queues.
func (m *Machine) forgetLoads() {
	for key, l := range m.loads { // any order: each is judged alone
		a := m.agents[key.agent]
		kept := false
		if a != nil {
			for _, s := range a.seats {
				kept = kept || s.load == l
			}
		}
		if !kept {
			delete(m.loads, key)
		}
	}
}

// recountAt arms the queue's next count while agents are idle.
func (m *Machine) recountAt(q *queue) {
	if q.recount > m.now {
		return
	}
	width := Time(q.loadWidth())
	q.recount = (m.now/width + 1) * width
	m.timers.set(q.recount, timerLoad, string(q.ID), "")
}

// recountLoads counts the idle agents of the queue anew.
func (m *Machine) recountLoads(id QueueID) {
	q := m.queues[id]
	if q == nil || q.Strategy != LeastBusy || q.out[notExcluded] == 0 {
		return // nobody is idle, or the queue has changed
	}
	for _, s := range q.seats {
		if s.agent.out != notExcluded {
			continue
		}
		was := s.load.occupancy
		s.load.count(m.now, false, true)
		if s.load.occupancy == was {
			continue
		}
		for _, e := range s.entries {
			e.class.idle.moved(e)
		}
	}
	m.recountAt(q)
}
