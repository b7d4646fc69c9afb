package raftstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// foundInterval is how often a node without a log asks the other voters.
const foundInterval = 100 * time.Millisecond

// errVotersDiffer is a fault of configuration: two nodes would found two
// different clusters.
var errVotersDiffer = errors.New("voters differ between nodes")

// found runs on a node whose Dir was empty. It founds the cluster once every
// voter has answered that it has no log either and was given the same voters.
// If one of them belongs to a cluster already, this node has lost its disk or
// came late: it founds nothing, and the leader sends it the log.
func (s *Store) found() {
	if _, mine := s.voters[s.id]; !mine {
		return
	}
	tick := time.NewTicker(foundInterval)
	defer tick.Stop()
	var told string
	for {
		done, err := s.tryFound()
		if done {
			return
		}
		if err != nil && err.Error() != told {
			told = err.Error()
			s.log.Info("raft: cluster not founded yet", "err", err)
		}
		select {
		case <-tick.C:
		case <-s.done:
			return
		}
	}
}

// tryFound asks all voters once.
func (s *Store) tryFound() (done bool, err error) {
	type said struct {
		frame
		err error
	}
	answers := make(chan said, len(s.voters))
	others := 0
	for id, addr := range s.voters {
		if id == s.id {
			continue
		}
		others++
		go func() {
			silence := time.NewTimer(attemptTimeout)
			defer silence.Stop()
			f, err := s.links.ask(limits{ctx: context.Background(), overtake: s.done, silence: silence.C}, addr, frameHello, nil)
			if err == nil && f.status == statusFresh && string(f.body) != s.voterList() {
				err = fmt.Errorf("%w: %s has %q, here it is %q", errVotersDiffer, id, f.body, s.voterList())
			}
			if err != nil {
				err = fmt.Errorf("ask %s: %w", id, err)
			}
			answers <- said{f, err}
		}()
	}
	var faults []error
	for range others {
		a := <-answers
		if a.err == nil && a.status == statusMember {
			s.log.Info("raft: joining the cluster that exists")
			return true, nil
		}
		faults = append(faults, a.err)
	}
	if err := errors.Join(faults...); err != nil {
		return false, err
	}
	err = s.raft.BootstrapCluster(configuration(s.voters)).Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return true, nil // another voter was faster
	}
	if err != nil {
		return false, fmt.Errorf("found the cluster: %w", err)
	}
	s.log.Info("raft: cluster founded")
	return true, nil
}

// answerHello tells another voter whether this node has a log, and the voters
// it was given.
func (s *Store) answerHello(f frame) frame {
	status := statusFresh
	if s.raft.LastIndex() > 0 || s.raft.CurrentTerm() > 0 {
		status = statusMember
	}
	return frame{kind: frameAnswer, id: f.id, status: status, body: []byte(s.voterList())}
}

// voterList is the voters as one line, equal on nodes that were given the same.
func (s *Store) voterList() string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(s.voters)) {
		list = append(list, id+"="+s.voters[id])
	}
	return strings.Join(list, ",")
}
