package raftstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// What is asked about members goes as JSON in an admin frame: status to any
// node, the rest to the leader. A node that does not lead forwards, as it does
// with commands, so that every operation works on every node.
type adminRequest struct {
	Op    adminOp `json:"op"`
	ID    string  `json:"id,omitempty"`
	Addr  string  `json:"addr,omitempty"`
	Force bool    `json:"force,omitempty"`
}

type adminOp string

const (
	adminStatus   adminOp = "status"
	adminAdd      adminOp = "add"
	adminPromote  adminOp = "promote"
	adminRemove   adminOp = "remove"
	adminTransfer adminOp = "transfer"
)

type adminReply struct {
	// Refusal names a sentinel of refusals; "" when it was done, "other" for
	// an error without one.
	Refusal   string     `json:"refusal,omitempty"`
	Text      string     `json:"text,omitempty"`
	NotLeader bool       `json:"not_leader,omitempty"`
	Unknown   bool       `json:"unknown,omitempty"` // done or not: repeat
	Status    nodeStatus `json:"status,omitzero"`
}

// nodeStatus is what a node says of itself.
type nodeStatus struct {
	ID      string    `json:"id"`
	Cluster ClusterID `json:"cluster"`
	Term    uint64    `json:"term"`
	// LastTerm is the term of the log's last entry.
	LastTerm uint64 `json:"last_term"`
	Last     uint64 `json:"last"`
	Commit   uint64 `json:"commit"`
	Applied  uint64 `json:"applied"`
	// Done is the last index the state machine has taken. Applied may be
	// ahead: it counts what waits for the state machine.
	Done uint64 `json:"done"`
	// Leads is set on a leader that has applied all that was committed
	// before: every command that was acknowledged is at Done or before.
	Leads bool `json:"leads"`
	// Peers is how many members it knows: 0 on one that is to join.
	Peers int `json:"peers"`
}

var (
	// ErrRefused is what a guard says: the operation would harm the cluster,
	// or makes no sense. Nothing was changed. The sentinels below are all
	// ErrRefused too.
	ErrRefused = errors.New("raftstore: refused")
	// ErrBehind refuses a vote to a member that lacks entries.
	ErrBehind = fmt.Errorf("%w: member is behind", ErrRefused)
	// ErrUnreachable refuses what needs an answer of a member that gives none.
	ErrUnreachable = fmt.Errorf("%w: member does not answer", ErrRefused)
	// ErrQuorum refuses to leave fewer healthy voters than a majority.
	ErrQuorum = fmt.Errorf("%w: no healthy majority would remain", ErrRefused)
	// ErrFewVoters refuses, without force, to leave a cluster that would not
	// outlive the loss of one voter.
	ErrFewVoters = fmt.Errorf("%w: fewer than three voters would remain", ErrRefused)
	// ErrNoMember refuses what names no member.
	ErrNoMember = fmt.Errorf("%w: no such member", ErrRefused)
	// ErrConflict refuses an id or address that is another member's, and a
	// node of another cluster.
	ErrConflict = fmt.Errorf("%w: conflict", ErrRefused)
	// ErrNoLeader is returned when ctx ends before a leader was found.
	ErrNoLeader = errors.New("raftstore: no leader")
)

// refusals carry the sentinels over the wire.
var refusals = map[string]error{
	"behind": ErrBehind, "unreachable": ErrUnreachable, "quorum": ErrQuorum, "few_voters": ErrFewVoters,
	"no_member": ErrNoMember, "conflict": ErrConflict, "refused": ErrRefused,
}

// remoteError is an error that the leader told, with the sentinel it wraps.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func replyTo(err error) adminReply {
	switch {
	case err == nil:
		return adminReply{}
	case errors.Is(err, ErrNotLeader):
		return adminReply{NotLeader: true}
	case errors.Is(err, errOutcomeUnknown):
		return adminReply{Unknown: true}
	}
	r := adminReply{Refusal: "other", Text: err.Error()}
	for name, is := range refusals {
		if is != ErrRefused && errors.Is(err, is) {
			r.Refusal = name
			return r
		}
	}
	if errors.Is(err, ErrRefused) {
		r.Refusal = "refused"
	}
	return r
}

func (r adminReply) err() error {
	switch {
	case r.NotLeader:
		return ErrNotLeader
	case r.Unknown:
		return errOutcomeUnknown
	case r.Refusal == "":
		return nil
	}
	return &remoteError{text: r.Text, is: refusals[r.Refusal]}
}

func (s *Store) answerAdmin(f frame) frame {
	var req adminRequest
	var reply adminReply
	if err := json.Unmarshal(f.body, &req); err != nil {
		reply = replyTo(fmt.Errorf("%w: request is not understood: %w", ErrRefused, err))
	} else if req.Op == adminStatus {
		reply.Status = s.status()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
		defer cancel()
		reply = replyTo(s.lead(ctx, req))
	}
	body, err := json.Marshal(reply)
	if err != nil {
		body = nil // can't be: the reply is plain data
	}
	return frame{kind: frameAnswer, id: f.id, status: statusDone, body: body}
}

// lead carries a request out on the leader.
func (s *Store) lead(ctx context.Context, req adminRequest) error {
	if !s.leadership.Load().self {
		return ErrNotLeader
	}
	switch req.Op {
	case adminAdd:
		return s.addHere(ctx, req.ID, req.Addr)
	case adminPromote:
		return s.promoteHere(ctx, req.ID)
	case adminRemove:
		return s.removeHere(ctx, req.ID, req.Force)
	case adminTransfer:
		return s.transferHere(req.ID)
	}
	return fmt.Errorf("%w: operation %q is not known to this version", ErrRefused, req.Op)
}

// adminTimeout bounds one request on the leader.
const adminTimeout = 10 * time.Second

// administer has the leader carry a request out, whoever that is, and tries
// again while there is none. Each operation takes work that is done already for
// its own: it may have been, by an attempt whose answer was lost.
func (s *Store) administer(ctx context.Context, req adminRequest) error {
	pause := time.NewTicker(backoffMost)
	defer pause.Stop()
	why := errNoLeader
	unknown := false // whether an earlier attempt did it
	for {
		lead := s.leadership.Load()
		var err error
		switch {
		case lead.self:
			err = s.lead(ctx, req)
		case lead.addr == "" || lead.id == s.id:
			err = ErrNotLeader
		default:
			var reply adminReply
			if reply, err = s.askAdmin(ctx, lead.addr, req); err == nil {
				err = reply.err()
			} else {
				err = fmt.Errorf("%w: %w", errOutcomeUnknown, err)
			}
		}
		switch {
		case errors.Is(err, errOutcomeUnknown):
			why, unknown = err, true
		case errors.Is(err, ErrNotLeader):
		case unknown && req.Op == adminRemove && errors.Is(err, ErrNoMember):
			return nil
		default:
			return err
		}
		select {
		case <-pause.C:
		case <-lead.over:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w (%v)", ErrNoLeader, ctx.Err(), why)
		case <-s.done:
			return ErrClosed
		}
	}
}

// askAdmin sends a request to one node and waits for its reply until ctx ends.
func (s *Store) askAdmin(ctx context.Context, addr string, req adminRequest) (adminReply, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return adminReply{}, fmt.Errorf("encode the request: %w", err)
	}
	f, err := s.links.ask(limits{ctx: ctx, overtake: s.done}, addr, frameAdmin, body)
	if err != nil {
		return adminReply{}, err
	}
	if f.status != statusDone {
		return adminReply{}, fmt.Errorf("%w: status %d to an admin request", errFrame, f.status)
	}
	var reply adminReply
	if err := json.Unmarshal(f.body, &reply); err != nil {
		return adminReply{}, fmt.Errorf("%w: admin reply: %w", errFrame, err)
	}
	return reply, nil
}

// statusOf asks a node for its status; a silent one costs statusTimeout.
func (s *Store) statusOf(ctx context.Context, id, addr string) (nodeStatus, error) {
	if id == s.id {
		return s.status(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	reply, err := s.askAdmin(ctx, addr, adminRequest{Op: adminStatus})
	if err != nil {
		return nodeStatus{}, fmt.Errorf("%w: %s at %s: %w", ErrUnreachable, id, addr, err)
	}
	return reply.Status, nil
}

// statusTimeout is how long a member may take to say how it is.
const statusTimeout = 500 * time.Millisecond

func (s *Store) status() nodeStatus {
	st := nodeStatus{
		ID: s.id, Cluster: s.member.id(), Term: s.raft.CurrentTerm(), Last: s.raft.LastIndex(),
		Commit: s.raft.CommitIndex(), Applied: s.raft.AppliedIndex(),
		Done: s.fsm.applied.Load(), Leads: s.leadership.Load().self, Peers: len(s.servers()),
	}
	raw := s.raft.Stats()
	for _, name := range []string{"last_log_term", "last_snapshot_term"} {
		term, _ := strconv.ParseUint(raw[name], 10, 64) // a number by its contract
		st.LastTerm = max(st.LastTerm, term)
	}
	return st
}
