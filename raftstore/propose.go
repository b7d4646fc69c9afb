package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

var (
	// ErrClosed is returned once the store is shut down.
	ErrClosed = errors.New("raftstore: store is closed")
	// ErrTooLarge is returned for a command over MaxCommand.
	ErrTooLarge = errors.New("raftstore: command is too large")
	// ErrDiskHung is what Config.OnFatal gets when a write did not come back.
	ErrDiskHung = errors.New("raftstore: disk hung")
	// ErrDiskFull and ErrDiskFailed are what Config.OnFatal gets when a write
	// of the log, term or vote failed. Open fails with ErrDiskFull when less
	// than Config.MinFree is left.
	ErrDiskFull   = errors.New("raftstore: disk full")
	ErrDiskFailed = errors.New("raftstore: disk failed")
	// ErrDiskDamaged is what Config.OnFatal gets when the log gives back
	// another entry than was written: empty this node's Dir, and the others
	// send it the log.
	ErrDiskDamaged = errors.New("raftstore: disk damaged")

	errNotLeader      = errors.New("not the leader")
	errNoLeader       = errors.New("no leader")
	errOutcomeUnknown = errors.New("outcome unknown")
)

const (
	// attemptTimeout is how long a leader may be silent before a command is
	// sent again: a hung leader is replaced within half of it.
	attemptTimeout = time.Second
	// A failed attempt is followed by another after backoffFirst, doubled up
	// to backoffMost, or at once when a leader is found.
	backoffFirst = 2 * time.Millisecond
	backoffMost  = 16 * time.Millisecond
)

// Propose has data applied by the state machine and returns its reply and the
// log index. It works on any node: a node that does not lead forwards to the
// one that does. While there is no leader, or the outcome of an attempt is
// unknown, it repeats the same bytes until ctx ends, so the command may be
// applied twice: the state machine must tell. Concurrent calls share disk
// writes and network packets. The error is ctx's, ErrClosed or ErrTooLarge.
//
// The caller must not change data before Propose returns.
func (s *Store) Propose(ctx context.Context, data []byte) (reply []byte, index uint64, err error) {
	if len(data) > MaxCommand {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	s.met.proposals.Inc()
	began := time.Now()
	backoff := backoffFirst
	why := errNoLeader // what stood in the way last
	for {
		lead := s.leadership.Load()
		reply, index, err = s.attempt(ctx, lead, data)
		if err == nil {
			s.met.proposed.UpdateDuration(began)
			return reply, index, nil
		}
		if ctx.Err() != nil {
			s.met.abandoned.Inc()
			return nil, 0, fmt.Errorf("propose: %w (%v)", ctx.Err(), why)
		}
		why = err
		select {
		case <-s.done:
			return nil, 0, ErrClosed
		default:
		}
		s.met.retries.Inc()
		// Spread the callers, who all failed at the same moment.
		pause := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-pause.C:
		case <-lead.over:
		case <-ctx.Done():
		case <-s.done:
		}
		pause.Stop()
		backoff = min(2*backoff, backoffMost)
	}
}

// attempt tries once with the leader that is known.
func (s *Store) attempt(ctx context.Context, lead *leadership, data []byte) ([]byte, uint64, error) {
	switch {
	case lead.self:
		return s.applyAndWait(ctx, data)
	case lead.addr == "" || lead.id == s.id:
		return nil, 0, errNoLeader
	}
	silence := time.NewTimer(attemptTimeout)
	defer silence.Stop()
	lim := limits{ctx: ctx, overtake: lead.over, silence: silence.C}
	f, err := s.links.ask(lim, lead.addr, framePropose, data)
	switch {
	case err != nil:
		return nil, 0, err
	case f.status == statusApplied:
		return f.body, f.index, nil
	case f.status == statusNotLeader:
		return nil, 0, errNotLeader
	default:
		return nil, 0, errOutcomeUnknown
	}
}

// applyAndWait runs applyHere and stops waiting when ctx ends.
func (s *Store) applyAndWait(ctx context.Context, data []byte) ([]byte, uint64, error) {
	type outcome struct {
		reply []byte
		index uint64
		err   error
	}
	got := make(chan outcome, 1)
	go func() {
		reply, index, err := s.applyHere(data)
		got <- outcome{reply, index, err}
	}()
	select {
	case o := <-got:
		return o.reply, o.index, o.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-s.done:
		return nil, 0, ErrClosed
	}
}

// applyHere stamps a command and appends it to the log if this node leads.
func (s *Store) applyHere(data []byte) ([]byte, uint64, error) {
	if !s.leadership.Load().self {
		return nil, 0, errNotLeader
	}
	began := time.Now()
	f := s.gather.send(encodeEntry(entryCommand, s.fsm.clock.now(), data))
	if err := f.Error(); err != nil {
		if errors.Is(err, raft.ErrNotLeader) {
			return nil, 0, errNotLeader
		}
		return nil, 0, fmt.Errorf("%w: %w", errOutcomeUnknown, err)
	}
	s.met.commit.UpdateDuration(began)
	reply, _ := f.Response().([]byte)
	return reply, f.Index(), nil
}
