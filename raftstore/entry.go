package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// An entry of the log is
//
//	version  1 byte, 2
//	kind     1 byte
//	stamp    8 bytes, big-endian: cluster time in nanoseconds since 1970
//	sum      4 bytes, big-endian: CRC-32C of kind, stamp and body
//	body     the rest: the command, or the 16 bytes of a cluster's identity
//
// Version 1 had neither kind nor sum and is still read. The sum is there
// because raft-wal checks what it wrote last and nothing before: a bit that
// flips in an old entry would else be applied by one replica alone.
const (
	entryVersion = 2
	entryHead    = 1 + 1 + 8 + 4

	entryVersion1 = 1
	entryHead1    = 1 + 8
)

type entryKind byte

const (
	entryCommand entryKind = 1 // for the state machine
	entryCluster entryKind = 2 // names the cluster, see ClusterID
)

var (
	errEntryVersion = errors.New("entry is of an unknown version")
	errEntryDamaged = errors.New("entry is damaged")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func encodeEntry(kind entryKind, stamp int64, body []byte) []byte {
	b := make([]byte, entryHead, entryHead+len(body))
	b[0], b[1] = entryVersion, byte(kind)
	binary.BigEndian.PutUint64(b[2:], uint64(stamp))
	binary.BigEndian.PutUint32(b[10:], entrySum(b[1:10], body))
	return append(b, body...)
}

func entrySum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body)
}

// decodeEntry checks an entry and takes it apart; body is part of b.
func decodeEntry(b []byte) (kind entryKind, stamp int64, body []byte, err error) {
	switch {
	case len(b) >= entryHead1 && b[0] == entryVersion1:
		return entryCommand, int64(binary.BigEndian.Uint64(b[1:])), b[entryHead1:], nil
	case len(b) == 0 || b[0] != entryVersion:
		return 0, 0, nil, errEntryVersion
	case len(b) < entryHead:
		return 0, 0, nil, fmt.Errorf("%w: %d bytes", errEntryDamaged, len(b))
	}
	kind, stamp, body = entryKind(b[1]), int64(binary.BigEndian.Uint64(b[2:])), b[entryHead:]
	if entrySum(b[1:10], body) != binary.BigEndian.Uint32(b[10:]) {
		return 0, 0, nil, fmt.Errorf("%w: checksum differs", errEntryDamaged)
	}
	switch {
	case kind == entryCommand, kind == entryCluster && len(body) == len(ClusterID{}):
		return kind, stamp, body, nil
	}
	return 0, 0, nil, fmt.Errorf("%w: kind %d with %d bytes", errEntryVersion, kind, len(body))
}

// checkEntry checks what the log gave back for an index.
func checkEntry(index uint64, l *raft.Log) error {
	if l.Index != index {
		return fmt.Errorf("%w: it says index %d", errEntryDamaged, l.Index)
	}
	if l.Type != raft.LogCommand || len(l.Data) == 0 {
		return nil // raft's own, or an anchor's bare position
	}
	_, _, _, err := decodeEntry(l.Data)
	if errors.Is(err, errEntryVersion) {
		return nil // to be told when it is applied
	}
	return err
}
