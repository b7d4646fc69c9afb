package record

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	openSuffix    = ".open"
	sealedSuffix  = ".seg"
	keysSuffix    = ".keys"
	damagedSuffix = ".damaged"
)

// fileSystem is what the writer needs of a disk.
type fileSystem interface {
	create(path string) (file, error)
	rename(from, to string) error
	remove(path string) error
	syncDir(path string) error
}

type file interface {
	WriteAt(b []byte, at int64) (int, error)
	Sync() error
	Close() error
}

type disk struct{}

func (disk) create(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }

func (disk) remove(path string) error { return os.Remove(path) }

func (disk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// segment is the pair of files being written.
type segment struct {
	base  string // path without suffix
	begun time.Time
	files fileSystem
	data  file
	table file // keys
	keys  *segmentKeys
	seed  uint32

	calls map[string]*segmentCall
	order []*callIndex // by slot number

	size           int64 // offset of the next record
	written        int64
	pending        []byte
	pendingPackets int
	keysWritten    int64
	pendingKeys    []byte
	nonce          [12]byte
	dirty          bool // since the last fsync
	keysDirty      bool
	entryDirty     bool // the folder does not yet hold our names for certain
}

func newSegment(dir string, master []byte, files fileSystem, now int64) (*segment, error) {
	header := segmentHeader{created: now}
	rand.Read(header.id[:]) // never fails
	keys, err := newSegmentKeys(master, header.id)
	if err != nil {
		return nil, err
	}
	header.keyCheck = keys.check()
	s := &segment{
		base:  filepath.Join(dir, fmt.Sprintf("rec-%016x-%s", now, hex.EncodeToString(header.id[:4]))),
		begun: time.Now(), files: files, keys: keys, seed: header.id.seed(),
		calls: make(map[string]*segmentCall), entryDirty: true,
		pending: header.encode(), size: headerSize,
	}
	// Slot 0 repeats the header: a damaged segment can still be read.
	s.pendingKeys = append(header.encode(), make([]byte, slotSize-headerSize)...)
	if s.table, err = files.create(s.base + keysSuffix); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	if s.data, err = files.create(s.base + openSuffix); err != nil {
		s.table.Close()
		s.discard()
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := s.flush(); err != nil {
		s.close()
		s.discard()
		return nil, err
	}
	return s, nil
}

// discard removes the files of a segment that holds nothing: on a full disk
// another one is tried each second, and names need room too.
func (s *segment) discard() {
	for _, suffix := range []string{openSuffix, keysSuffix} {
		_ = s.files.remove(s.base + suffix) // what stays is set aside by the next Open
	}
}

// add encrypts one packet behind the pending ones.
func (s *segment) add(c *segmentCall, plain []byte) {
	start := len(s.pending)
	s.pending = append(s.pending, make([]byte, recordHead+callSize)...)
	binary.LittleEndian.PutUint32(s.pending[start+recordHead:], c.slot)
	s.nonce = nonce(s.size) // in the segment, lest it escape to the heap each time
	s.pending = c.data.Seal(s.pending, s.nonce[:], plain, nil)
	finishRecord(s.pending[start:], s.seed)
	c.add(s.size)
	s.size += int64(len(s.pending) - start)
	s.pendingPackets++
}

// flush writes keys, then records: a record on disk always has its key there.
func (s *segment) flush() error {
	if len(s.pendingKeys) > 0 {
		if _, err := s.table.WriteAt(s.pendingKeys, s.keysWritten); err != nil {
			return fmt.Errorf("write keys: %w", err)
		}
		s.keysWritten += int64(len(s.pendingKeys))
		s.pendingKeys = s.pendingKeys[:0]
		s.keysDirty, s.dirty = true, true
	}
	if len(s.pending) > 0 {
		if _, err := s.data.WriteAt(s.pending, s.written); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
		s.written += int64(len(s.pending))
		s.pending, s.pendingPackets = s.pending[:0], 0
		s.dirty = true
	}
	return nil
}

func (s *segment) sync() error {
	if s.keysDirty {
		if err := s.table.Sync(); err != nil {
			return fmt.Errorf("fsync keys: %w", err)
		}
		s.keysDirty = false
	}
	if err := s.data.Sync(); err != nil {
		return fmt.Errorf("fsync records: %w", err)
	}
	if s.entryDirty {
		if err := s.files.syncDir(filepath.Dir(s.base)); err != nil {
			return fmt.Errorf("fsync folder: %w", err)
		}
		s.entryDirty = false
	}
	s.dirty = false
	return nil
}

// seal writes the index, makes everything durable and gives the segment its
// final name.
func (s *segment) seal() error {
	s.pending = append(s.pending, encodeIndex(s.order, s.size, s.seed)...)
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return fmt.Errorf("close segment: %w", err)
	}
	if err := s.files.rename(s.base+openSuffix, s.base+sealedSuffix); err != nil {
		return fmt.Errorf("seal segment: %w", err)
	}
	if err := s.files.syncDir(filepath.Dir(s.base)); err != nil {
		return fmt.Errorf("fsync folder: %w", err)
	}
	return nil
}

func (s *segment) close() error { return errors.Join(s.data.Close(), s.table.Close()) }
