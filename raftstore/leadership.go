package raftstore

import (
	"time"

	"github.com/hashicorp/raft"
)

// leadership is who leads as far as this node knows. A value never changes;
// over is closed when another takes its place.
type leadership struct {
	id, addr string
	// self is set once this node leads and has applied all that earlier
	// leaders committed: only then does its clock know cluster time.
	self bool
	over chan struct{}
}

// watchLeadership follows raft's elections until the store is closed.
func (s *Store) watchLeadership() {
	seen := make(chan raft.Observation, 64)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	s.raft.RegisterObserver(o)
	defer s.raft.DeregisterObserver(o)
	// Observations are dropped when the channel is full; the ticks make up
	// for it.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	member := false
	for {
		s.refreshLeadership()
		member = s.tellRemoval(member)
		select {
		case <-seen:
		case <-s.raft.LeaderCh():
		case <-s.caughtUp:
		case <-tick.C:
		case <-s.done:
			return
		}
	}
}

// tellRemoval says once that this node is a member no more, if it learns of it:
// one that is down or cut off when it is removed does not.
func (s *Store) tellRemoval(was bool) (is bool) {
	_, is = s.server(s.id)
	if was && !is {
		s.log.Error("raft: this node was removed from the cluster: stop it, and empty its folder before it is added again")
	}
	return is
}

// refreshLeadership runs in watchLeadership's goroutine only.
func (s *Store) refreshLeadership() {
	addr, id := s.raft.LeaderWithID()
	now := leadership{id: string(id), addr: string(addr)}
	if s.raft.State() == raft.Leader {
		term := s.raft.CurrentTerm()
		switch {
		case s.readyTerm.Load() == term:
			now.id, now.addr, now.self = s.id, s.port.self.String(), true
		case s.barrierTerm != term:
			s.barrierTerm = term
			go s.catchUp(term)
		}
	}
	was := s.leadership.Load()
	if was.id == now.id && was.addr == now.addr && was.self == now.self {
		return
	}
	now.over = make(chan struct{})
	s.leadership.Store(&now)
	close(was.over)
	s.log.Info("raft: leader changed", "leader", now.id, "self", now.self, "term", s.raft.CurrentTerm())
	if was.self != now.self {
		if now.self {
			s.met.elected.Inc()
		}
		s.tellOwn(now.self)
	}
}

// catchUp waits until a new leader has applied what was committed before it,
// and names the cluster if it is the first.
func (s *Store) catchUp(term uint64) {
	for s.raft.State() == raft.Leader && s.raft.CurrentTerm() == term {
		err := s.raft.Barrier(attemptTimeout).Error()
		if err == nil {
			err = s.nameCluster()
		}
		if err != nil {
			s.log.Info("raft: leader can't act yet", "term", term, "err", err)
			select {
			case <-time.After(backoffMost):
				continue
			case <-s.done:
				return
			}
		}
		s.readyTerm.Store(term)
		select {
		case s.caughtUp <- struct{}{}:
		default:
		}
		return
	}
}

// tellOwn puts the newest own leadership into LeaderCh, replacing one that
// nobody took.
func (s *Store) tellOwn(leads bool) {
	for {
		select {
		case s.own <- leads:
			return
		default:
		}
		select {
		case <-s.own:
		default:
		}
	}
}

// Leader returns the id of the leader this node knows ("" for none) and
// whether it is this node, ready to apply.
func (s *Store) Leader() (id string, isSelf bool) {
	l := s.leadership.Load()
	return l.id, l.self
}

// LeaderCh tells when this node begins to lead, having applied all that was
// committed before, and when it ends. It holds the newest value only; there is
// one channel, for one reader.
func (s *Store) LeaderCh() <-chan bool { return s.own }
