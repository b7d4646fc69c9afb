package acdtest

import (
	"fmt"
	"strings"

	"trunkline/routerd/acd"
)

// confirm READER [index=N] [sink=yes]: a router's file, or an external sink,
// holds the facts up to N, or up to now.
func (s *script) confirm(a *args) ([]string, error) {
	index := uint64(a.number("index", int(s.M.Index())))
	if a.text("sink", "") != "" {
		return s.propose(acd.SinkConfirmed{Sink: a.text("", ""), Index: index})
	}
	return s.propose(acd.FactsConfirmed{Node: acd.NodeID(a.text("", "")), Index: index})
}

// restless AGENT facts=N: the agent changes status that often, a fact each.
func (s *script) restless(a *args) ([]string, error) {
	for i := range a.number("facts", 0) {
		body := acd.AgentStatusSet{Agent: acd.AgentID(a.text("", "")), Status: []acd.AgentStatus{acd.Training, acd.OnBreak}[i%2]}
		if _, _, err := s.Propose(body); err != nil {
			return nil, err
		}
	}
	return s.retained(a)
}

// retained says which facts the state holds, and who has confirmed how many.
func (s *script) retained(*args) ([]string, error) {
	st := s.M.Snapshot()
	line := fmt.Sprintf("facts after %d: %d in %d chunks", s.M.FactsFrom(), len(s.M.FactsAfter(s.M.FactsFrom(), 0)), len(st.Facts))
	var who []string
	for _, c := range append(st.Confirmed, st.Sinks...) {
		who = append(who, fmt.Sprintf("%s=%d", c.Reader, c.Index))
	}
	return []string{strings.TrimSpace(line + " " + strings.Join(who, " "))}, nil
}
