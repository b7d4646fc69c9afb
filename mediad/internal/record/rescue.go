package record

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// rescueAll seals what an earlier process left unsealed. A segment that cannot
// be sealed stays as it is, readable as far as it goes: it must not keep new
// calls from being recorded.
func (l *Log) rescueAll() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, unsealed := strings.CutSuffix(entry.Name(), openSuffix)
		if !unsealed {
			continue
		}
		if err := l.rescue(filepath.Join(l.dir, name)); err != nil {
			diskErrors.Inc()
			l.cfg.Logger.Error("segment of an earlier run stays unsealed", "segment", name, "err", err)
		}
	}
	return nil
}

// rescue cuts a segment behind its last whole record, writes the index and
// seals it. It is safe to die anywhere in it: a half-written index is cut off
// as a torn tail the next time.
func (l *Log) rescue(base string) error {
	f, err := os.OpenFile(base+openSuffix, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		// It had its final name before the error that gave it up.
		_, err = os.Stat(base + sealedSuffix)
		return err
	}
	if err != nil {
		return err
	}
	defer f.Close()
	header, err := segmentHeaderOf(f, base)
	if errors.Is(err, errHeader) {
		// Died while making it, before any record; or damaged beyond reading.
		// It is kept under another name for a person to look at.
		l.cfg.Logger.Warn("segment without a readable header set aside", "segment", filepath.Base(base))
		return os.Rename(base+openSuffix, base+damagedSuffix)
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	scan := newScanner(f, info.Size(), header.id.seed())
	var order []*callIndex
	bySlot := make(map[uint32]*callIndex)
	for {
		at, record, err := scan.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		slot := recordCall(record)
		c := bySlot[slot]
		if c == nil {
			c = &callIndex{slot: slot}
			bySlot[slot] = c
			order = append(order, c)
		}
		c.add(at)
	}
	torn := info.Size() - scan.end
	if err := f.Truncate(scan.end); err != nil {
		return err
	}
	// The header may be the damaged part, where only its copy was readable.
	if _, err := f.WriteAt(header.encode(), 0); err != nil {
		return err
	}
	if _, err := f.WriteAt(encodeIndex(order, scan.end, header.id.seed()), scan.end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(base+openSuffix, base+sealedSuffix); err != nil {
		return err
	}
	l.counts.rescued.Add(1)
	l.counts.torn.Add(uint64(max(0, torn)))
	recovered.Inc()
	tornBytes.Add(int(max(0, torn)))
	l.cfg.Logger.Info("segment of an earlier run sealed",
		"segment", filepath.Base(base), "calls", len(order), "torn_bytes", torn, "damaged", scan.damaged)
	return disk{}.syncDir(l.dir)
}

// segmentHeaderOf reads the header of a segment, or its copy in the key file.
func segmentHeaderOf(f io.ReaderAt, base string) (segmentHeader, error) {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return segmentHeader{}, err
	}
	h, err := decodeHeader(b)
	if err == nil {
		return h, nil
	}
	k, keyErr := readKeyFile(base + keysSuffix)
	if keyErr != nil {
		return h, errHeader
	}
	return k.header, nil
}
