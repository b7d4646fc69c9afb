package raftstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	ID      string
	Cluster ClusterID // zero before it is known
	Leader  string    // "" when none is known
	State   string    // Follower, Candidate, Leader, Shutdown
	Term    uint64
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
		ID: s.id, Cluster: s.member.id(), Leader: leader, State: s.raft.State().String(), Term: s.raft.CurrentTerm(),
		Applied: s.fsm.applied.Load(), Commit: s.raft.CommitIndex(), Last: s.raft.LastIndex(),
		LastContact: s.LastContact(),
	}
	st.Snapshot, _ = strconv.ParseUint(s.raft.Stats()["last_snapshot_index"], 10, 64)
	for _, m := range s.servers() {
		st.Peers = append(st.Peers, Peer{ID: string(m.ID), Addr: string(m.Address), Voter: m.Suffrage == raft.Voter})
	}
	return st
}

// servers is the newest configuration, committed or not.
func (s *Store) servers() []raft.Server {
	f := s.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
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

// Add makes a running node a member without a vote: the leader sends it the
// log, by a snapshot if need be. It works on any node and ends with ctx. The
// node must answer at addr as id and must have an empty Dir or this cluster's
// data, else it is refused: ErrUnreachable, ErrConflict. Adding a member again
// changes nothing.
func (s *Store) Add(ctx context.Context, id, addr string) error {
	return s.administer(ctx, adminRequest{Op: adminAdd, ID: id, Addr: addr})
}

// Promote gives a member its vote, if it has applied all that was committed
// when it was asked; ErrBehind otherwise. It works on any node.
func (s *Store) Promote(ctx context.Context, id string) error {
	return s.administer(ctx, adminRequest{Op: adminPromote, ID: id})
}

// Remove takes a member out of the cluster; a leader gives its office away
// first. It is refused when the voters that remain and answer would be no
// majority (ErrQuorum), which nothing overrides, and when fewer than three
// voters would remain (ErrFewVoters), unless forced. It works on any node.
//
// The member that was removed must be stopped and its Dir emptied.
func (s *Store) Remove(ctx context.Context, id string, force bool) error {
	return s.administer(ctx, adminRequest{Op: adminRemove, ID: id, Force: force})
}

// Transfer hands leadership to a voter, or to the one that is furthest when to
// is "". It works on any node.
func (s *Store) Transfer(ctx context.Context, to string) error {
	return s.administer(ctx, adminRequest{Op: adminTransfer, ID: to})
}

// Replace puts a new member into an old one's place: it adds the new one, waits
// until it has caught up, gives it its vote, and removes the old one. Each step
// that is done already is passed over, so it can be repeated after a failure.
// tell is called with each step and may be nil.
func (s *Store) Replace(ctx context.Context, old, id, addr string, tell func(step string)) error {
	if tell == nil {
		tell = func(string) {}
	}
	if old == id {
		return fmt.Errorf("%w: %s can't replace itself: give the new node a name of its own", ErrConflict, id)
	}
	tell("add " + id + " without a vote")
	if err := s.Add(ctx, id, addr); err != nil {
		return err
	}
	tell("wait until " + id + " has caught up, and give it its vote")
	if err := s.promoteWhenReady(ctx, id); err != nil {
		return err
	}
	tell("remove " + old)
	if err := s.Remove(ctx, old, false); err != nil && !errors.Is(err, ErrNoMember) {
		return err
	}
	return nil
}

func (s *Store) promoteWhenReady(ctx context.Context, id string) error {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		err := s.Promote(ctx, id)
		if !errors.Is(err, ErrBehind) && !errors.Is(err, ErrUnreachable) {
			return err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		}
	}
}

// addHere, promoteHere, removeHere and transferHere run on the leader, one at a
// time: a guard must see the members that its change is made to.

func (s *Store) addHere(ctx context.Context, id, addr string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if id == "" || addr == "" {
		return fmt.Errorf("%w: add needs an id and an address", ErrRefused)
	}
	for _, m := range s.servers() {
		switch {
		case string(m.ID) == id && string(m.Address) == addr:
			return nil
		case string(m.ID) == id:
			return fmt.Errorf("%w: %s is a member at %s: remove it first", ErrConflict, id, m.Address)
		case string(m.Address) == addr:
			return fmt.Errorf("%w: %s is the address of %s", ErrConflict, addr, m.ID)
		}
	}
	st, err := s.statusOf(ctx, id, addr)
	if err != nil {
		return fmt.Errorf("%w: start it first; if it runs, its log says whether it has another cluster's data", err)
	}
	if st.ID != id {
		return fmt.Errorf("%w: the node at %s is %s, not %s", ErrConflict, addr, st.ID, id)
	}
	if st.Cluster.stranger(s.member.id()) {
		return fmt.Errorf("%w: %s has data of cluster %s: empty its folder", ErrConflict, id, st.Cluster)
	}
	return asLeader("add "+id, s.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, attemptTimeout))
}

// caughtUpWithin is how long a member may take to apply what was committed when
// its promotion was asked for. One that follows needs milliseconds.
const caughtUpWithin = time.Second

func (s *Store) promoteHere(ctx context.Context, id string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	m, ok := s.server(id)
	switch {
	case !ok:
		return fmt.Errorf("%w: promote %s: add it first", ErrNoMember, id)
	case m.Suffrage == raft.Voter:
		return nil
	}
	goal := s.raft.CommitIndex()
	late := time.NewTimer(caughtUpWithin)
	defer late.Stop()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		st, err := s.statusOf(ctx, id, string(m.Address))
		if err != nil {
			return err
		}
		if st.Applied >= goal {
			break
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("promote %s: %w", id, ctx.Err())
		case <-late.C:
			return fmt.Errorf("%w: %s has applied %d of %d entries", ErrBehind, id, st.Applied, goal)
		}
	}
	return asLeader("promote "+id, s.raft.AddVoter(m.ID, m.Address, 0, attemptTimeout))
}

// leastVoters is how many voters outlive the loss of one.
const leastVoters = 3

func (s *Store) removeHere(ctx context.Context, id string, force bool) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	m, ok := s.server(id)
	if !ok {
		return fmt.Errorf("%w: remove %s", ErrNoMember, id)
	}
	if m.Suffrage == raft.Voter {
		if err := s.mayLose(ctx, id, force); err != nil {
			return err
		}
	}
	if id == s.id {
		if err := handOver("give leadership away", s.raft.LeadershipTransfer); err != nil {
			return err
		}
		return ErrNotLeader // the next leader removes this node
	}
	return asLeader("remove "+id, s.raft.RemoveServer(m.ID, 0, attemptTimeout))
}

// mayLose checks that the cluster can go on without a voter.
func (s *Store) mayLose(ctx context.Context, id string, force bool) error {
	var remain []raft.Server
	for _, m := range s.servers() {
		if m.Suffrage == raft.Voter && string(m.ID) != id {
			remain = append(remain, m)
		}
	}
	answers := make(chan bool, len(remain))
	for _, m := range remain {
		go func() {
			st, err := s.statusOf(ctx, string(m.ID), string(m.Address))
			answers <- err == nil && st.ID == string(m.ID)
		}()
	}
	healthy := 0
	for range remain {
		if <-answers {
			healthy++
		}
	}
	if need := len(remain)/2 + 1; healthy < need {
		return fmt.Errorf("%w: without %s there are %d voters, of which %d answer and %d must", ErrQuorum, id, len(remain), healthy, need)
	}
	if len(remain) < leastVoters && !force {
		return fmt.Errorf("%w: without %s there are %d: add and promote another first, or force it", ErrFewVoters, id, len(remain))
	}
	return nil
}

func (s *Store) transferHere(to string) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	if to == "" {
		return handOver("transfer leadership", s.raft.LeadershipTransfer)
	}
	m, ok := s.server(to)
	switch {
	case to == s.id:
		return nil
	case !ok:
		return fmt.Errorf("%w: transfer leadership to %s", ErrNoMember, to)
	case m.Suffrage != raft.Voter:
		return fmt.Errorf("%w: %s has no vote: promote it first", ErrRefused, to)
	}
	return handOver("transfer leadership to "+to, func() raft.Future { return s.raft.LeadershipTransferToServer(m.ID, m.Address) })
}

// handOver tries a few times: raft gives a transfer one election timeout, and
// the leader goes on as if nothing had been when that is not enough.
func handOver(what string, transfer func() raft.Future) (err error) {
	const tries = 3
	for range tries {
		if err = asLeader(what, transfer()); err == nil || errors.Is(err, ErrNotLeader) {
			return err
		}
	}
	return err
}

func (s *Store) server(id string) (raft.Server, bool) {
	list := s.servers()
	i := slices.IndexFunc(list, func(m raft.Server) bool { return string(m.ID) == id })
	if i < 0 {
		return raft.Server{}, false
	}
	return list[i], true
}

func asLeader(what string, f raft.Future) error {
	err := f.Error()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%s: %w: %w", what, errOutcomeUnknown, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
