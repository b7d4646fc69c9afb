package raftstore

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// The settings were measured together (docs/decisions 0007 and 0031): one that
// changes by an update of the library, or by hand, must be measured anew.
func TestSettingsAreThoseThatWereMeasured(t *testing.T) {
	pool := x509.NewCertPool()
	cfg, err := Config{
		ID: "r1", Dir: "d", Listen: "127.0.0.1:0", TLS: &tls.Config{RootCAs: pool, ClientCAs: pool},
		CheckPeer: func(*x509.Certificate) error { return nil },
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c := raftConfig(cfg)
	f := func(name string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	const ms = time.Millisecond
	f("HeartbeatTimeout", c.HeartbeatTimeout, 300*ms)
	f("ElectionTimeout", c.ElectionTimeout, 300*ms)
	f("LeaderLeaseTimeout", c.LeaderLeaseTimeout, 150*ms)
	f("CommitTimeout", c.CommitTimeout, 10*ms)
	f("BatchApplyCh", c.BatchApplyCh, true)
	f("MaxAppendEntries", c.MaxAppendEntries, 512)
	f("TrailingLogs", c.TrailingLogs, uint64(400_000))
	f("SnapshotInterval", c.SnapshotInterval, 30*time.Second)
	f("PreVoteDisabled", c.PreVoteDisabled, false)
	f("WriteDeadline", cfg.WriteDeadline, 300*ms)
	f("MinFree", cfg.MinFree, int64(64<<20))
	f("LocalID", c.LocalID, raft.ServerID("r1"))
	if err := raft.ValidateConfig(c); err != nil {
		t.Error(err)
	}
	// What an election lowers must stay what raft allows.
	c.HeartbeatTimeout, c.ElectionTimeout = leaderLease, leaderLease
	if err := raft.ValidateConfig(c); err != nil {
		t.Errorf("in an election: %v", err)
	}
	// raft uses pre-vote only with a transport that has it.
	if _, ok := any(transport{}).(raft.WithPreVote); !ok {
		t.Error("the transport has no pre-vote")
	}
}
