package raftstore

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ReadBackup reads a backup to its end. state gets the description and the
// state machine's bytes, as StateMachine.Restore does; it may leave some unread
// and may be nil. What it did counts only if ReadBackup returns no error: the
// checksum comes last. The error is ErrBackup, the reader's, or state's.
func ReadBackup(r io.Reader, state func(BackupInfo, io.Reader) error) (BackupInfo, error) {
	b := &backupReader{sum: sha256.New()}
	b.r = bufio.NewReaderSize(r, 64<<10)
	info, err := b.begin()
	if err != nil {
		return BackupInfo{}, err
	}
	if state != nil {
		if err := state(info, b); err != nil {
			return info, b.blame(fmt.Errorf("state of the backup: %w", err))
		}
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{b}); err != nil {
		return info, err
	}
	info.Size, info.Sum = b.size, fmt.Sprintf("%x", b.sum.Sum(nil))
	return info, b.check()
}

// VerifyBackup reads a backup to its end and says whether it is whole. It does
// not look into the state: ReadBackup does, with the state machine's decoder.
func VerifyBackup(r io.Reader) (BackupInfo, error) { return ReadBackup(r, nil) }

// backupReader is the state within a backup.
type backupReader struct {
	r    *bufio.Reader
	sum  hash.Hash
	left uint32 // of the present chunk
	over bool   // the last chunk was read
	size int64
	err  error
}

func (b *backupReader) begin() (info BackupInfo, err error) {
	var head [len(backupMagic) + 4]byte
	if err := b.full(head[:], "its head"); err != nil {
		return info, err
	}
	if magic := string(head[:len(backupMagic)]); magic != backupMagic {
		return info, fmt.Errorf("%w: it starts with %q, not %q", ErrBackup, magic, backupMagic)
	}
	n := binary.BigEndian.Uint32(head[len(backupMagic):])
	if n > maxBackupInfo {
		return info, fmt.Errorf("%w: its description has %d bytes", ErrBackup, n)
	}
	text := make([]byte, n)
	if err := b.full(text, "its description"); err != nil {
		return info, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&info); err != nil {
		return info, fmt.Errorf("%w: its description: %w", ErrBackup, err)
	}
	return info, nil
}

// full reads and sums up all of p.
func (b *backupReader) full(p []byte, what string) error {
	if n, err := io.ReadFull(b.r, p); err != nil {
		b.sum.Write(p[:n])
		return b.cut(what, err)
	}
	b.sum.Write(p)
	return nil
}

func (b *backupReader) cut(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s is cut short", ErrBackup, what)
	}
	return fmt.Errorf("read %s of the backup: %w", what, err)
}

// Read gives the state, and io.EOF only after a whole one.
func (b *backupReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	b.err = err
	return n, err
}

func (b *backupReader) read(p []byte) (int, error) {
	if b.left == 0 && !b.over {
		var size [4]byte
		if err := b.full(size[:], "its state"); err != nil {
			return 0, err
		}
		b.left = binary.BigEndian.Uint32(size[:])
		if b.left > maxBackupChunk {
			return 0, fmt.Errorf("%w: a chunk of %d bytes", ErrBackup, b.left)
		}
		b.over = b.left == 0
	}
	if b.over {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(len(p), int(b.left))])
	b.sum.Write(p[:n])
	b.left -= uint32(n)
	b.size += int64(n)
	if err != nil && n == 0 {
		return 0, b.cut("its state", err)
	}
	return n, nil
}

// check compares the checksum and looks for bytes behind it.
func (b *backupReader) check() error {
	want := b.sum.Sum(nil)
	var got [sha256.Size]byte
	if _, err := io.ReadFull(b.r, got[:]); err != nil {
		return b.cut("its checksum", err)
	}
	if !bytes.Equal(got[:], want) {
		return fmt.Errorf("%w: its checksum differs", ErrBackup)
	}
	if _, err := b.r.ReadByte(); err == nil {
		return fmt.Errorf("%w: something follows its end", ErrBackup)
	}
	return nil
}

// blame says that a decoder failed because the stream is bad, if it is.
func (b *backupReader) blame(err error) error {
	if _, bad := io.Copy(io.Discard, struct{ io.Reader }{b}); bad != nil {
		return errors.Join(bad, err)
	}
	if bad := b.check(); bad != nil {
		return errors.Join(bad, err)
	}
	return err
}
