package acd

import (
	"cmp"
	"slices"
)

// session is a Session and the room its answers have: those that are forgotten
// at the front make place for new ones at the end, so that a proposer who keeps
// up costs no memory.
type session struct {
	Session
	room []Answer // Answers is a part of it
}

// answered returns the cached result of a proposal that was applied before. A
// command without a session is never a repeat.
func (m *Machine) answered(s *session, seq uint64) (Result, bool) {
	if s == nil {
		return Result{}, false
	}
	if seq < s.Floor {
		return m.noop(ReasonForgotten), true
	}
	if i, ok := s.find(seq); ok {
		return s.Answers[i].Result, true
	}
	return Result{}, false
}

// remember caches the result of a new proposal and forgets what its session
// no longer waits for.
func (m *Machine) remember(s *session, cmd *Command, r Result) {
	if cmd.Session == "" {
		return
	}
	if s == nil {
		s = &session{Session: Session{ID: cmd.Session}}
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
	s.makeRoom()
	i, _ := s.find(cmd.Seq)
	s.Answers = slices.Insert(s.Answers, i, Answer{Seq: cmd.Seq, Result: r})
}

// makeRoom lets one more answer be added where it is. Answers move to the front
// only when half of the room is free there, which happens seldom enough.
func (s *session) makeRoom() {
	n := len(s.Answers)
	if n < cap(s.Answers) {
		return
	}
	if 2*n > len(s.room) {
		s.room = make([]Answer, max(16, 4*n))
	}
	copy(s.room, s.Answers)
	s.Answers = s.room[:n]
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
