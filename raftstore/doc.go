// Package raftstore carries opaque commands through a replicated log to a
// state machine: hashicorp/raft over mutual TLS, logged by raft-wal with one
// fsync for each batch.
//
// Propose takes a command on any node. The leader stamps it with cluster time
// and appends it; other nodes forward it to the leader over one pipelined
// connection. An attempt whose outcome is unknown (the leader died, lost its
// office or went silent) is repeated with the same bytes until the caller's
// context ends, so a command may be applied more than once: the state machine
// must tell repeats by what is in the bytes.
//
// # Time
//
// Cluster time is the only time a state machine sees. Each node runs a clock
// that is anchored by the stamps it applies and advanced by the machine's
// monotonic clock; the wall clock is asked only when the log is empty, and to
// measure how long a node was down when it replays its log. Stamps grow
// strictly: the state machine is given max(previous+1, stamp).
//
// # Wire
//
// A node listens on one TCP port with TLS 1.3; both ends show a certificate of
// the cluster's authority and Config.CheckPeer must accept it. The first byte a
// dialler sends names the protocol: 1 is a hashicorp/raft stream, 2 is a stream
// of forward frames (see frame.go). The 16 bytes behind it are the identity of
// the dialler's cluster, zero on a node that is to join; a node of another
// cluster is refused.
//
// Log entries are described in entry.go, snapshots in fsm.go, backups in
// backup.go.
//
// # Members
//
// A cluster is founded once by Config.Voters; from then on the log says who
// belongs. Add, Promote, Remove, Replace and Transfer work on every node: what
// only the leader can do goes to it over the forward stream, as commands do.
// Nobody is removed but by Remove, which first counts who answers.
//
// # Backups
//
// Backup writes the whole state on any node. Restore founds another cluster
// from it: the identity is new, so a member that comes back with the old
// cluster's data is refused by all of the new one. Config.Archive has the
// entries kept that the log drops, for package archive's readers.
//
// # Disks
//
// A write of log, term or vote that hangs for Config.WriteDeadline, or fails,
// calls Config.OnFatal with what a person must do, and so does an entry that
// comes back from the disk with a wrong checksum, before it is applied or sent
// on. Snapshots are written in steps of 1 MiB that are watched like the log; one
// that fails is removed and counted, and the log keeps what it would have had.
// Open fails when less than Config.MinFree is left. Restarted with room again a
// node lacks nothing it acknowledged.
//
// # Elections
//
// A follower whose connection to the leader breaks, and one that has not heard
// it for 200 ms, has raft look for the leader at once, in an order in which the
// longest log comes last; see suspicion.go. What raft then does is its own.
//
// # Faults of the library that are worked around
//
//   - hashicorp/raft issue 695: the heartbeat fast path changes term and state
//     outside the main loop, and replicas can diverge. The transport here
//     ignores SetHeartbeatHandler, so that heartbeats take the ordinary path.
//   - hashicorp/raft issue 503: a leader whose disk hangs keeps its office by
//     heartbeats and stops the cluster. Writes are watched; one in flight for
//     longer than Config.WriteDeadline calls Config.OnFatal.
//   - hashicorp/raft issue 205: a follower just filled by a snapshot refuses
//     the entries that follow it when they come twice. The log here answers
//     for the snapshot's last entry.
//
// # What it refuses to do
//
// It does not look into commands, does not deduplicate them, serves no reads,
// and removes no member by itself: who is dead is a decision of the state
// machine above it. Order between commands proposed at the same time is the
// order of the log and of nothing else.
package raftstore
