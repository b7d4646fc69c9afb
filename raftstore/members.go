package raftstore

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

// ErrNotLeader is returned by what only the leader can do.
var ErrNotLeader = errors.New("raftstore: not the leader")

// Peer is a member of the cluster.
type Peer struct {
	ID, Addr string
	Voter    bool
}

// Stats is this node's view of the cluster.
type Stats struct {
	ID     string
	Leader string // "" when none is known
	State  string // Follower, Candidate, Leader, Shutdown
	Term   uint64
	// Applied is the last index the state machine took, Commit the last
	// known to be on a majority's disks, Last the last on this disk.
	Applied, Commit, Last uint64
	// LastContact is the time since the leader was heard; 0 on the leader,
	// -1 before any.
	LastContact time.Duration
	Snapshot    uint64 // index of the last snapshot, 0 for none
	Peers       []Peer // by the newest configuration, in its order
}

// Stats returns the figures of this moment.
func (s *Store) Stats() Stats {
	leader, _ := s.Leader()
	st := Stats{
		ID: s.id, Leader: leader, State: s.raft.State().String(), Term: s.raft.CurrentTerm(),
		Applied: s.fsm.applied.Load(), Commit: s.raft.CommitIndex(), Last: s.raft.LastIndex(),
		LastContact: s.LastContact(),
	}
	st.Snapshot, _ = strconv.ParseUint(s.raft.Stats()["last_snapshot_index"], 10, 64)
	f := s.raft.GetConfiguration()
	if f.Error() == nil {
		for _, m := range f.Configuration().Servers {
			st.Peers = append(st.Peers, Peer{ID: string(m.ID), Addr: string(m.Address), Voter: m.Suffrage == raft.Voter})
		}
	}
	return st
}

// LastContact is the time since this node heard the leader; 0 on the leader, -1
// before any. A leader that is out of touch with the majority for 75 ms is none.
func (s *Store) LastContact() time.Duration {
	if s.raft.State() == raft.Leader {
		return 0
	}
	last := s.raft.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}

// TransferLeadership hands leadership to the follower that is furthest. The
// error is ErrNotLeader or raft's.
func (s *Store) TransferLeadership() error {
	return asLeader("transfer leadership", s.raft.LeadershipTransfer())
}

// AddNonvoter adds a member that gets the log and has no vote. Promote it once
// it has caught up.
func (s *Store) AddNonvoter(id, addr string) error {
	return asLeader("add "+id, s.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, attemptTimeout))
}

// Promote gives a member its vote.
func (s *Store) Promote(id, addr string) error {
	return asLeader("promote "+id, s.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, attemptTimeout))
}

// Remove takes a member out of the cluster.
func (s *Store) Remove(id string) error {
	return asLeader("remove "+id, s.raft.RemoveServer(raft.ServerID(id), 0, attemptTimeout))
}

func asLeader(what string, f raft.Future) error {
	err := f.Error()
	if errors.Is(err, raft.ErrNotLeader) {
		return ErrNotLeader
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
