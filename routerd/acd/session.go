package acd

import (
	"cmp"
	"slices"
)

// answered returns the cached result of a proposal that was applied before. A
// command without a session is never a repeat.
func (m *Machine) answered(cmd Command) (Result, bool) {
	s, ok := m.sessions[cmd.Session]
	if !ok {
		return Result{}, false
	}
	if cmd.Seq < s.Floor {
		return m.noop(ReasonForgotten), true
	}
	if i, ok := s.find(cmd.Seq); ok {
		return s.Answers[i].Result, true
	}
	return Result{}, false
}

// remember caches the result of a new proposal and forgets what its session
// no longer waits for.
func (m *Machine) remember(cmd Command, r Result) {
	if cmd.Session == "" {
		return
	}
	s, ok := m.sessions[cmd.Session]
	if !ok {
		s = &Session{ID: cmd.Session}
		m.sessions[cmd.Session] = s
		m.after(sessionMemory, timerSession, cmd.Session, "")
	}
	s.Used = m.now
	if cmd.Floor > s.Floor {
		s.Floor = cmd.Floor
		keep, _ := s.find(cmd.Floor)
		s.Answers = s.Answers[keep:]
	}
	if cmd.Seq < s.Floor {
		return
	}
	i, _ := s.find(cmd.Seq)
	s.Answers = slices.Insert(s.Answers, i, Answer{Seq: cmd.Seq, Result: r})
}

func (s *Session) find(seq uint64) (int, bool) {
	if n := len(s.Answers); n == 0 || s.Answers[n-1].Seq < seq {
		return n, false
	}
	return slices.BinarySearchFunc(s.Answers, seq, func(a Answer, seq uint64) int {
		return cmp.Compare(a.Seq, seq)
	})
}

// sessionUnused forgets a session that has not proposed for sessionMemory: a
// proposer gives up on an answer long before.
func (m *Machine) sessionUnused(id string) {
	s := m.sessions[id]
	if rest := s.Used.Add(sessionMemory); rest > m.now {
		m.timers.set(rest, timerSession, id, "")
		return
	}
	delete(m.sessions, id)
}
