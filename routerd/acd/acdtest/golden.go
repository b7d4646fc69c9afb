package acdtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"trunkline/routerd/acd"
)

// goldenMagic begins a golden log, which is gzip of: the magic; for each entry
// its index and stamp, 8 bytes each, its length, 4 bytes, all big-endian, and
// the entry as the log has it; index 0; and the 32 bytes of the last state's
// hash.
const goldenMagic = "tklgold1"

// WriteGolden writes a log and the hash of the state it leads to. It does not
// overwrite a file: a golden log says for ever what a released version did.
func WriteGolden(path string, entries []Entry, hash [32]byte) error {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	b := []byte(goldenMagic)
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, e.Index)
		b = binary.BigEndian.AppendUint64(b, uint64(e.Stamp))
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
		b = append(b, e.Data...)
	}
	b = append(binary.BigEndian.AppendUint64(b, 0), hash[:]...)
	if _, err := z.Write(b); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("golden logs are written once: %w", err)
	}
	_, err = f.Write(buf.Bytes())
	return errors.Join(err, f.Close())
}

// ReplayGolden applies a golden log to an empty machine and fails unless it
// leads to the state it led to when it was written.
func ReplayGolden(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := bufio.NewReader(z)
	magic := make([]byte, len(goldenMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != goldenMagic {
		return fmt.Errorf("%s is no golden log: %q, %w", path, magic, err)
	}
	m := acd.New()
	for {
		var e Entry
		var length uint32
		if err := binary.Read(r, binary.BigEndian, &e.Index); err != nil {
			return fmt.Errorf("%s after index %d: %w", path, m.Index(), err)
		}
		if e.Index == 0 {
			break
		}
		if err := errors.Join(binary.Read(r, binary.BigEndian, &e.Stamp), binary.Read(r, binary.BigEndian, &length)); err != nil {
			return fmt.Errorf("%s: index %d: %w", path, e.Index, err)
		}
		e.Data = make([]byte, length)
		if _, err := io.ReadFull(r, e.Data); err != nil {
			return fmt.Errorf("%s: index %d: %w", path, e.Index, err)
		}
		if _, _, err := ApplyEntry(m, e); err != nil {
			return fmt.Errorf("%s: index %d: %w", path, e.Index, err)
		}
	}
	var want [32]byte
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return fmt.Errorf("%s: its hash: %w", path, err)
	}
	if got := m.Hash(); got != want {
		return fmt.Errorf("%s: %d entries lead to state %s, not %s as they did", path, m.Index(), hex.EncodeToString(got[:8]), hex.EncodeToString(want[:8]))
	}
	return nil
}
