package raftstore

import (
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// meters is this store's metrics: a set of its own, since a process of tests
// holds several stores.
type meters struct {
	set *metrics.Set

	proposals *metrics.Counter
	retries   *metrics.Counter
	abandoned *metrics.Counter
	elected   *metrics.Counter
	slow      *metrics.Counter
	refused   *metrics.Counter
	unsnapped *metrics.Counter
	proposed  *metrics.Histogram
	commit    *metrics.Histogram
	write     *metrics.Histogram
}

func newMeters(s *Store) *meters {
	set := metrics.NewSet()
	return &meters{
		set:       set,
		proposals: set.NewCounter("routerd_raft_proposals_total"),
		retries:   set.NewCounter("routerd_raft_retries_total"),
		abandoned: set.NewCounter("routerd_raft_abandoned_proposals_total"),
		elected:   set.NewCounter("routerd_raft_elected_total"),
		slow:      set.NewCounter("routerd_raft_slow_writes_total"),
		refused:   set.NewCounter("routerd_raft_refused_connections_total"),
		unsnapped: set.NewCounter("routerd_raft_failed_snapshots_total"),
		// From Propose to its answer, retries and forwarding included.
		proposed: set.NewHistogram("routerd_raft_propose_seconds"),
		// On the leader: from the stamp to the state machine's reply.
		commit: set.NewHistogram("routerd_raft_commit_seconds"),
		write:  set.NewHistogram("routerd_raft_write_seconds"),
	}
}

// publish adds the gauges and makes the set visible.
func (m *meters) publish(s *Store, dir string) {
	gauge := func(name string, f func() float64) { m.set.NewGauge(name, f) }
	gauge("routerd_raft_is_leader", func() float64 {
		if _, self := s.Leader(); self {
			return 1
		}
		return 0
	})
	gauge("routerd_raft_term", func() float64 { return float64(s.raft.CurrentTerm()) })
	gauge("routerd_raft_applied_index", func() float64 { return float64(s.fsm.applied.Load()) })
	gauge("routerd_raft_commit_index", func() float64 { return float64(s.raft.CommitIndex()) })
	gauge("routerd_raft_last_contact_seconds", func() float64 { return s.LastContact().Seconds() })
	gauge("routerd_raft_disk_free_bytes", func() float64 {
		free, err := freeBytes(dir)
		if err != nil {
			return -1
		}
		return float64(free)
	})
	if a := s.fsm.archive; a != nil {
		gauge("routerd_raft_archive_last_index", func() float64 { return float64(a.w.Stats().Last) })
		gauge("routerd_raft_archive_bytes", func() float64 { return float64(a.w.Stats().Bytes) })
		gauge("routerd_raft_archive_dropped_entries", func() float64 { return float64(a.w.Stats().Dropped) })
	}
	metrics.RegisterSet(m.set)
}

func (m *meters) withdraw() { metrics.UnregisterSet(m.set, true) }

func (m *meters) wrote(took time.Duration) {
	m.write.Update(took.Seconds())
	if took > slowWrite {
		m.slow.Inc()
	}
}
