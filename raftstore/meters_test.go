package raftstore_test

import (
	"bytes"
	"regexp"
	"strconv"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/raftstore/raftstoretest"
)

func TestMetricsTellWhatHappened(t *testing.T) {
	c := raftstoretest.New(t, 1, nil)
	c.StartAll()
	for range 3 {
		c.Propose(c.Nodes[0], "x")
	}
	f := func(name string, want func(float64) bool) {
		t.Helper()
		if v, ok := metric(t, name); !ok || !want(v) {
			t.Errorf("%s is %v, present %v", name, v, ok)
		}
	}
	exactly := func(n float64) func(float64) bool { return func(v float64) bool { return v == n } }
	some := func(v float64) bool { return v > 0 }
	f("routerd_raft_is_leader", exactly(1))
	f("routerd_raft_term", some)
	f("routerd_raft_applied_index", some)
	f("routerd_raft_commit_index", some)
	f("routerd_raft_last_contact_seconds", exactly(0))
	f("routerd_raft_elected_total", exactly(1))
	f("routerd_raft_proposals_total", exactly(3))
	f("routerd_raft_retries_total", exactly(0))
	f("routerd_raft_abandoned_proposals_total", exactly(0))
	f("routerd_raft_refused_connections_total", exactly(0))
	f("routerd_raft_slow_writes_total", func(v float64) bool { return v >= 0 })
	f("routerd_raft_commit_seconds_count", exactly(3))
	f("routerd_raft_propose_seconds_count", exactly(3))
	f("routerd_raft_write_seconds_count", some)
	c.Stop(c.Nodes[0])
	if _, ok := metric(t, "routerd_raft_term"); ok {
		t.Error("a store that is shut down still shows metrics")
	}
}

func metric(t *testing.T, name string) (float64, bool) {
	t.Helper()
	var b bytes.Buffer
	metrics.WritePrometheus(&b, false)
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b.Bytes())
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v, true
}
