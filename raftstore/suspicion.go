package raftstore

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// A follower of hashicorp/raft looks for its leader at random times, once or
// twice in a heartbeat timeout to each side, and refuses its vote as long as it
// has not looked itself: of two followers the slower one decides, and the next
// command waits 340 ms in the middle and 450 ms at worst. What is known here
// makes it look earlier:
//
//   - A leader's process that ends breaks its connections at once. Its followers
//     then need only be sure that its lease is over.
//   - They ask each other how long their logs are and stand one after the other,
//     those with shorter logs first: the last has the longest and finds that the
//     others have given the leader up, so the first election it calls it wins.
//
// All of it goes through raft's own settings: a shorter heartbeat timeout makes
// it look at once (raft.ReloadConfig), and what it then does is what it would
// have done later. It stands only if it has not heard the leader for that long,
// it asks for pre-votes, and those who hear the leader refuse them. So a wrong
// suspicion costs nothing, and a node that suspects nobody is a correct one.
const (
	heartbeatTimeout = 300 * time.Millisecond
	leaderLease      = 150 * time.Millisecond
	// brokenAfter is the time from a broken connection to the first stand. A
	// leader out of touch for leaderLease has stepped down.
	brokenAfter = leaderLease
	// brokenStep is between one follower's stand and the next: several times
	// a TLS handshake and a vote.
	brokenStep = 20 * time.Millisecond
	// brokenSlack is how long after the break what the leader sent before may
	// be taken in.
	brokenSlack = 20 * time.Millisecond
	// silentAfter is the time from the last contact, if the connection holds:
	// the leader hangs or is cut off, or this machine is starved.
	silentAfter = 200 * time.Millisecond
	// silentStep is larger than the difference between the times at which two
	// followers last heard the leader.
	silentStep = 40 * time.Millisecond
	// askWithin is how long other followers may take to say how they are.
	askWithin = 40 * time.Millisecond
	// watchInterval is how often the time since the last contact is looked at,
	// and warmInterval how often a broken connection to another voter is
	// tried again.
	watchInterval = 10 * time.Millisecond
	warmInterval  = time.Second
)

// suspect watches the leader until the store is closed.
func (s *Store) suspect() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var warmed time.Time
	for {
		if time.Since(warmed) > warmInterval {
			warmed = time.Now()
			s.warmLinks()
		}
		lead := s.leadership.Load()
		var broken <-chan struct{}
		if lead.addr != "" && lead.id != s.id {
			broken = s.links.to(lead.addr).broken()
		}
		select {
		case <-tick.C:
			s.restoreTimeouts(lead)
			if broken != nil && s.LastContact() > silentAfter-askWithin {
				s.standInTurn(lead, s.raft.LastContact().Add(silentAfter), silentStep, 0)
			}
		case <-broken:
			s.standInTurn(lead, time.Now().Add(brokenAfter), brokenStep, brokenSlack)
		case <-lead.over:
		case <-s.done:
			return
		}
	}
}

// warmLinks keeps a connection to every voter: a handshake costs as much as an
// election, and there is no time for it when one is due.
func (s *Store) warmLinks() {
	for _, m := range s.servers() {
		if m.Suffrage == raft.Voter && string(m.ID) != s.id {
			s.links.to(string(m.Address))
		}
	}
}

// standInTurn makes raft look for the leader at a time that depends on how long
// this node's log is, unless the leader is replaced before, or heard: what was
// under way may come in for slack.
func (s *Store) standInTurn(lead *leadership, first time.Time, step, slack time.Duration) {
	begun := time.Now()
	if !s.mayStand(lead) {
		s.await(lead, watchInterval)
		return
	}
	turn := s.turn(lead)
	if !s.await(lead, time.Until(first.Add(time.Duration(turn)*step))) {
		return
	}
	last := s.raft.LastContact()
	if last.After(begun.Add(slack)) || !s.await(lead, leaderLease-time.Since(last)) {
		return
	}
	s.log.Info("raft: leader is not heard", "leader", lead.id, "turn", turn)
	s.setTimeouts(leaderLease)
	s.await(lead, heartbeatTimeout)
}

// await waits for d and returns false if the leader changed meanwhile.
func (s *Store) await(lead *leadership, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-lead.over:
	case <-s.done:
	}
	return false
}

func (s *Store) mayStand(lead *leadership) bool {
	m, ok := s.server(s.id)
	return ok && m.Suffrage == raft.Voter && s.raft.State() == raft.Follower && lead.addr != ""
}

// turn is how many of the other followers stand before this one: those with
// shorter logs, and of those with equal logs, or that don't answer, the lower
// ids. What counts is that no two stand at the same time.
func (s *Store) turn(lead *leadership) int {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	mine := s.status()
	var others []raft.Server
	for _, m := range s.servers() {
		if m.Suffrage == raft.Voter && string(m.ID) != s.id && string(m.ID) != lead.id {
			others = append(others, m)
		}
	}
	before := make(chan bool, len(others))
	for _, m := range others {
		go func() {
			st, err := s.statusOf(ctx, string(m.ID), string(m.Address))
			if err != nil {
				st = nodeStatus{ID: string(m.ID), LastTerm: mine.LastTerm, Last: mine.Last}
			}
			before <- st.standsBefore(mine)
		}()
	}
	turn := 0
	for range others {
		if <-before {
			turn++
		}
	}
	return turn
}

func (n nodeStatus) standsBefore(other nodeStatus) bool {
	switch {
	case n.LastTerm != other.LastTerm:
		return n.LastTerm < other.LastTerm
	case n.Last != other.Last:
		return n.Last < other.Last
	}
	return n.ID < other.ID
}

// setTimeouts makes raft look for the leader if d is less than it was.
func (s *Store) setTimeouts(d time.Duration) {
	c := s.raft.ReloadableConfig()
	c.HeartbeatTimeout, c.ElectionTimeout = d, d
	if err := s.raft.ReloadConfig(c); err != nil {
		s.log.Warn("raft: timeouts not changed", "err", err)
	}
}

// restoreTimeouts undoes setTimeouts once there is a leader again, or none came
// of it.
func (s *Store) restoreTimeouts(lead *leadership) {
	if s.raft.ReloadableConfig().HeartbeatTimeout == heartbeatTimeout {
		return
	}
	if lead.id != "" && s.LastContact() < leaderLease || s.raft.State() == raft.Leader {
		s.setTimeouts(heartbeatTimeout)
	}
}
