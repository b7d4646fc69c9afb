package raftstore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// ClusterID tells one cluster from another. A cluster gets it from its first
// leader, as an entry of the log, and one that is restored from a backup gets
// another: members that still have the old cluster's data are refused. The zero
// value belongs to a node that is no member yet.
type ClusterID [16]byte

// NewClusterID makes an identity that no other cluster has.
func NewClusterID() ClusterID {
	var c ClusterID
	rand.Read(c[:]) // never fails
	return c
}

// ParseClusterID reads what String writes.
func ParseClusterID(s string) (ClusterID, error) {
	var c ClusterID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(c) {
		return c, fmt.Errorf("raftstore: cluster identity %q is not 32 hexadecimal digits", s)
	}
	return ClusterID(b), nil
}

// String returns 32 hexadecimal digits, or "" for the zero value.
func (c ClusterID) String() string {
	if c == (ClusterID{}) {
		return ""
	}
	return hex.EncodeToString(c[:])
}

// MarshalText writes String.
func (c ClusterID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (c *ClusterID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*c = ClusterID{}
		return nil
	}
	*c, err = ParseClusterID(string(b))
	return err
}

// stranger reports whether two nodes belong to different clusters. A node
// without an identity is a stranger to nobody: it is about to join.
func (c ClusterID) stranger(other ClusterID) bool {
	return c != (ClusterID{}) && other != (ClusterID{}) && c != other
}

// keyCluster is where the stable store keeps the identity, since entries are
// applied again only after a leader was met.
var keyCluster = []byte("trunkline-cluster")

// membership is the identity of this node's cluster.
type membership struct {
	stable raft.StableStore
	now    atomic.Pointer[ClusterID]
}

func openMembership(stable raft.StableStore) (*membership, error) {
	m := &membership{stable: stable}
	m.now.Store(&ClusterID{})
	b, err := stable.Get(keyCluster)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's identity: %w", err)
	}
	if len(b) == 0 {
		return m, nil
	}
	if len(b) != len(ClusterID{}) {
		return nil, fmt.Errorf("the cluster's identity on disk has %d bytes", len(b))
	}
	id := ClusterID(b)
	m.now.Store(&id)
	return m, nil
}

func (m *membership) id() ClusterID { return *m.now.Load() }

// join takes the identity that the log or a snapshot names; the first one
// stays.
func (m *membership) join(id ClusterID) error {
	if id == (ClusterID{}) || m.id() != (ClusterID{}) {
		return nil
	}
	if err := m.stable.Set(keyCluster, id[:]); err != nil {
		return fmt.Errorf("keep the cluster's identity: %w", err)
	}
	m.now.Store(&id)
	return nil
}

var errNoIdentity = errors.New("cluster has no identity yet")

// nameCluster gives the cluster its identity, once, from a leader that has
// applied all before.
func (s *Store) nameCluster() error {
	if s.member.id() != (ClusterID{}) {
		return nil
	}
	id := NewClusterID()
	if err := s.raft.Apply(encodeEntry(entryCluster, s.fsm.clock.now(), id[:]), time.Second).Error(); err != nil {
		return fmt.Errorf("name the cluster: %w", err)
	}
	if s.member.id() == (ClusterID{}) {
		return errNoIdentity
	}
	s.log.Info("raft: cluster named", "cluster", s.member.id().String())
	return nil
}

// Cluster returns the identity of this node's cluster; zero before it is known.
func (s *Store) Cluster() ClusterID { return s.member.id() }
