package raftstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// A backup is one stream:
//
//	magic   8 bytes, "tklback1"
//	length  4 bytes, big-endian, of the description
//	info    the description: a BackupInfo as JSON
//	chunks  of the state: 4 bytes, big-endian, the length, then as many bytes;
//	        a length of 0 ends them
//	sum     32 bytes, SHA-256 of all before
//
// Nothing may follow. The state is what the state machine wrote for its
// snapshot, without any head of this package.
const (
	backupMagic = "tklback1"
	// maxBackupInfo bounds the description.
	maxBackupInfo = 1 << 20
	// backupChunk is the longest chunk written, maxBackupChunk the longest
	// read.
	backupChunk    = 256 << 10
	maxBackupChunk = 1 << 20
)

// BackupInfo describes a backup.
type BackupInfo struct {
	Cluster ClusterID `json:"cluster"` // the cluster it is of
	Node    string    `json:"node"`    // the node that made it
	// Index and Term are of the last entry in the state; Stamp is its cluster
	// time and Wall the wall time at which its leader appended it, both in
	// nanoseconds since 1970.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Stamp int64  `json:"stamp"`
	Wall  int64  `json:"wall"`
	// Made is when it was made, by the node's wall clock.
	Made  time.Time `json:"made"`
	Peers []Peer    `json:"peers"` // the members at that index
	// Stale is set when there was no leader to ask: the cluster may have
	// acknowledged entries after Index before the backup was made.
	Stale bool `json:"stale,omitempty"`

	// Size is the length of the state and Sum the stream's SHA-256 in
	// hexadecimal digits. They are known once a backup was written or read
	// whole.
	Size int64  `json:"-"`
	Sum  string `json:"-"`
}

// ErrBackup is what a stream is that is no whole backup.
var ErrBackup = errors.New("raftstore: not a whole backup")

// Backup writes a snapshot of the whole state. It works on any node: with a
// leader within reach the backup has everything that was acknowledged before
// Backup was called, without one it has what this node knows and is marked
// Stale. The state machine is held up as by any snapshot, and no longer.
func (s *Store) Backup(ctx context.Context, w io.Writer) (BackupInfo, error) {
	info := BackupInfo{Node: s.id, Made: time.Now().UTC()}
	err := s.catchUpWithLeader(ctx)
	info.Stale = errors.Is(err, ErrNoLeader)
	if err != nil && !info.Stale {
		return info, fmt.Errorf("back up: %w", err)
	}
	meta, state, err := s.snapshot(ctx)
	if err != nil {
		return info, fmt.Errorf("back up: %w", err)
	}
	defer state.Close()
	r := bufio.NewReaderSize(state, backupChunk)
	h, err := readSnapshotHeader(r)
	if err != nil {
		return info, fmt.Errorf("back up: %w", err)
	}
	if h.index == 0 { // of the header's first version
		h.index, h.term = meta.Index, meta.Term
	}
	info.Peers = peersOf(meta.Configuration)
	info.take(h)
	bw := newBackupWriter(w)
	if err := bw.begin(info); err != nil {
		return info, fmt.Errorf("back up: %w", err)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{bw}, struct{ io.Reader }{r}, make([]byte, backupChunk)); err != nil {
		return info, fmt.Errorf("back up: %w", err)
	}
	if err := bw.end(&info); err != nil {
		return info, fmt.Errorf("back up: %w", err)
	}
	return info, nil
}

// snapshotWithin is how long a snapshot that is refused is tried again: raft
// gives none while its state machine has a change of members before it.
const snapshotWithin = 2 * time.Second

func (s *Store) snapshot(ctx context.Context) (*raft.SnapshotMeta, io.ReadCloser, error) {
	late := time.NewTimer(snapshotWithin)
	defer late.Stop()
	for {
		f := s.raft.Snapshot()
		err := f.Error()
		if err == nil {
			return f.Open()
		}
		select {
		case <-time.After(backoffMost):
		case <-late.C:
			return nil, nil, fmt.Errorf("take a snapshot: %w", err)
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("take a snapshot: %w (%w)", err, ctx.Err())
		case <-s.done:
			return nil, nil, ErrClosed
		}
	}
}

// take fills in what the snapshot's header says.
func (i *BackupInfo) take(h snapshotHeader) {
	i.Cluster, i.Index, i.Term, i.Stamp, i.Wall = h.cluster, h.index, h.term, h.last, h.lastWall
}

func (i *BackupInfo) header() snapshotHeader {
	return snapshotHeader{cluster: i.Cluster, index: i.Index, term: i.Term, last: i.Stamp, lastWall: i.Wall}
}

func peersOf(c raft.Configuration) []Peer {
	list := []Peer{}
	for _, m := range c.Servers {
		list = append(list, Peer{ID: string(m.ID), Addr: string(m.Address), Voter: m.Suffrage == raft.Voter})
	}
	return list
}

// leaderWithin is how long a backup looks for a leader.
const leaderWithin = 2 * time.Second

// catchUpWithLeader waits until this node's state machine has taken what the
// leader's had when it was asked. Without a leader it fails with ErrNoLeader.
func (s *Store) catchUpWithLeader(ctx context.Context) error {
	look, cancel := context.WithTimeout(ctx, leaderWithin)
	defer cancel()
	pause := time.NewTicker(backoffMost)
	defer pause.Stop()
	for {
		lead := s.leadership.Load()
		if lead.id != "" {
			// One that was elected a moment ago may lack what another
			// acknowledged.
			if st, err := s.statusOf(look, lead.id, lead.addr); err == nil && st.Leads {
				return s.waitDone(ctx, st)
			}
		}
		select {
		case <-pause.C:
		case <-look.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return ErrNoLeader
		case <-s.done:
			return ErrClosed
		}
	}
}

// waitDone waits until this node is as far as another was: its state machine,
// and raft with its members. For raft an entry is applied that only waits for
// the state machine.
func (s *Store) waitDone(ctx context.Context, as nodeStatus) error {
	pause := time.NewTicker(backoffFirst)
	defer pause.Stop()
	for s.fsm.applied.Load() < as.Done || s.raft.AppliedIndex() < as.Commit {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for index %d: %w", as.Commit, ctx.Err())
		case <-s.done:
			return ErrClosed
		}
	}
	return nil
}

// backupWriter frames a backup and sums it up.
type backupWriter struct {
	w    *bufio.Writer
	sum  hash.Hash
	size int64
}

func newBackupWriter(w io.Writer) *backupWriter {
	sum := sha256.New()
	return &backupWriter{w: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), sum: sum}
}

func (b *backupWriter) begin(info BackupInfo) error {
	text, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode the description: %w", err)
	}
	head := append(make([]byte, 0, len(backupMagic)+4+len(text)), backupMagic...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(text)))
	_, err = b.w.Write(append(head, text...))
	return err
}

// Write takes a part of the state.
func (b *backupWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), backupChunk)]
		if _, err := b.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))); err != nil {
			return n, err
		}
		if _, err := b.w.Write(part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	b.size += int64(n)
	return n, nil
}

// end completes the stream and fills in Size and Sum.
func (b *backupWriter) end(info *BackupInfo) error {
	if _, err := b.w.Write(make([]byte, 4)); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	sum := b.sum.Sum(nil)
	info.Size, info.Sum = b.size, fmt.Sprintf("%x", sum)
	if _, err := b.w.Write(sum); err != nil {
		return err
	}
	return b.w.Flush()
}
