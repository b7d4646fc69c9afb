package raftstore

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// raft's own names for its vote, and the one that holds both.
var (
	keyVoteTerm = []byte("LastVoteTerm")
	keyVoteCand = []byte("LastVoteCand")
	keyVote     = []byte("trunkline-vote")
)

// voteStore keeps a vote in one write. raft writes the term of a vote and then
// the candidate, and answers only after both: two transactions of two fsyncs
// each, while an election waits, and between them a crash leaves a vote for a
// candidate of an earlier term. Here the term waits in memory for the
// candidate.
type voteStore struct {
	raft.StableStore

	mu   sync.Mutex
	term uint64 // written with the next candidate
	held bool
}

// SetUint64 holds a vote's term back and writes all else.
func (s *voteStore) SetUint64(key []byte, v uint64) error {
	if string(key) != string(keyVoteTerm) {
		return s.StableStore.SetUint64(key, v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term, s.held = v, true
	return nil
}

// Set writes a vote whole.
func (s *voteStore) Set(key, val []byte) error {
	if string(key) != string(keyVoteCand) {
		return s.StableStore.Set(key, val)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	term := s.term
	if !s.held {
		var err error
		if term, _, err = s.vote(); err != nil {
			return err
		}
	}
	if err := s.StableStore.Set(keyVote, append(binary.BigEndian.AppendUint64(nil, term), val...)); err != nil {
		return err
	}
	s.held = false
	return nil
}

// GetUint64 finds the vote's term, or any other number.
func (s *voteStore) GetUint64(key []byte) (uint64, error) {
	if string(key) != string(keyVoteTerm) {
		return s.StableStore.GetUint64(key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	term, _, err := s.vote()
	return term, err
}

// Get finds the vote's candidate, or any other value.
func (s *voteStore) Get(key []byte) ([]byte, error) {
	if string(key) != string(keyVoteCand) {
		return s.StableStore.Get(key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, candidate, err := s.vote()
	return candidate, err
}

// vote is what is on disk: the pair, or what was written before there was one.
func (s *voteStore) vote() (term uint64, candidate []byte, err error) {
	both, err := s.StableStore.Get(keyVote)
	switch {
	case err != nil:
		return 0, nil, err
	case len(both) >= 8:
		return binary.BigEndian.Uint64(both), both[8:], nil
	case len(both) > 0:
		return 0, nil, fmt.Errorf("the vote on disk has %d bytes", len(both))
	}
	if term, err = s.StableStore.GetUint64(keyVoteTerm); err != nil {
		return 0, nil, err
	}
	candidate, err = s.StableStore.Get(keyVoteCand)
	return term, candidate, err
}
