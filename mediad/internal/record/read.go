package record

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// recording is all that the given folders hold of one call.
type recording struct {
	sources  [][]packet // one per folder, in the order they were written
	segments int
	erased   int // segments whose keys of the call were destroyed
	damaged  int // records or stretches of records that could not be read
	unknown  int // key slots so damaged that nobody knows whose they are
}

// readRecording collects a call's packets. A folder is one worker's log.
func readRecording(dirs []string, master []byte, call string) (*recording, error) {
	r := &recording{}
	for _, dir := range dirs {
		packets, err := r.readDir(dir, master, call)
		if err != nil {
			return nil, fmt.Errorf("read recordings in %s: %w", dir, err)
		}
		if len(packets) > 0 {
			r.sources = append(r.sources, packets)
		}
	}
	switch {
	case len(r.sources) > 0:
		return r, nil
	case r.segments == 0 && r.erased > 0:
		return nil, ErrErased
	case r.damaged+r.unknown > 0:
		return nil, fmt.Errorf("%w that can be read: %d damaged records, %d damaged keys", ErrNoRecording, r.damaged, r.unknown)
	}
	return nil, ErrNoRecording
}

func (r *recording) readDir(dir string, master []byte, call string) ([]packet, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var packets []packet
	legs := make(map[string]string)
	for _, entry := range entries { // by name, so by time
		name, isKeys := strings.CutSuffix(entry.Name(), keysSuffix)
		if !isKeys {
			continue
		}
		base := filepath.Join(dir, name)
		table, err := readKeyFile(base + keysSuffix)
		if errors.Is(err, errHeader) {
			// Torn while it was made, so without calls; or lost, and then
			// nobody can tell whose.
			if info, statErr := entry.Info(); statErr == nil && info.Size() > slotSize {
				r.damaged++
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		r.unknown += len(table.damaged)
		var slots []keySlot
		for _, s := range table.slots {
			switch {
			case s.call != call:
			case s.erased:
				r.erased++
			default:
				slots = append(slots, s)
			}
		}
		if len(slots) == 0 {
			continue
		}
		keys, err := openKeys(master, table.header)
		if err != nil {
			return nil, fmt.Errorf("segment %s: %w", name, err)
		}
		ciphers := make(map[uint32]cipher.AEAD)
		for _, s := range slots {
			if ciphers[s.number], err = keys.unwrap(s); err != nil {
				return nil, fmt.Errorf("segment %s: %w", name, err)
			}
		}
		r.segments++
		if packets, err = r.readSegment(packets, base, table.header, ciphers, legs); err != nil {
			return nil, fmt.Errorf("segment %s: %w", name, err)
		}
	}
	return packets, nil
}

// openSegment opens a segment under whichever name it has now: its writer may
// seal it at any moment.
func openSegment(base string) (f *os.File, sealed bool, err error) {
	for range 2 {
		if f, err = os.Open(base + sealedSuffix); err == nil {
			return f, true, nil
		}
		if f, err = os.Open(base + openSuffix); err == nil {
			return f, false, nil
		}
	}
	return nil, false, err
}

func (r *recording) readSegment(packets []packet, base string, h segmentHeader, ciphers map[uint32]cipher.AEAD, legs map[string]string) ([]packet, error) {
	f, sealed, err := openSegment(base)
	if errors.Is(err, os.ErrNotExist) {
		r.damaged++ // keys without their segment
		return packets, nil
	}
	if err != nil {
		return packets, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return packets, err
	}
	use := func(at int64, record []byte) {
		p, err := openRecord(record, at, ciphers[recordCall(record)], legs)
		if err != nil {
			r.damaged++
			return
		}
		packets = append(packets, p)
	}
	if sealed {
		offsets, end, err := readIndex(f, info.Size(), h.id.seed(), ciphers)
		if err == nil {
			r.readAt(f, offsets, end, h.id.seed(), ciphers, use)
			return packets, nil
		}
		if !errors.Is(err, errIndex) {
			return packets, err
		}
		r.damaged++ // the index; the records can be found without it
	}
	scan := newScanner(f, info.Size(), h.id.seed())
	for {
		at, record, err := scan.next()
		if err == io.EOF {
			r.damaged += scan.damaged
			return packets, nil
		}
		if err != nil {
			return packets, err
		}
		if ciphers[recordCall(record)] != nil {
			use(at, record)
		}
	}
}

// readIndex returns the offsets of the calls' records in ascending order, and
// the offset behind the last record.
func readIndex(f io.ReaderAt, size int64, seed uint32, ciphers map[uint32]cipher.AEAD) (offsets []int64, end int64, err error) {
	trailer := make([]byte, trailerSize)
	if size < headerSize+trailerSize {
		return nil, 0, errIndex
	}
	if _, err := f.ReadAt(trailer, size-trailerSize); err != nil {
		return nil, 0, err
	}
	start, length, sum, err := decodeTrailer(trailer, size, seed)
	if err != nil {
		return nil, 0, err
	}
	index := make([]byte, length)
	if _, err := f.ReadAt(index, start); err != nil {
		return nil, 0, err
	}
	if indexSum(index, seed) != sum {
		return nil, 0, errIndex
	}
	slots := make(map[uint32]bool)
	for slot := range ciphers {
		slots[slot] = true
	}
	offsets, err = indexOffsets(index, slots, start)
	slices.Sort(offsets)
	return offsets, start, err
}

// readAt reads the records at the offsets of a sealed segment's index.
func (r *recording) readAt(f io.ReaderAt, offsets []int64, end int64, seed uint32, ciphers map[uint32]cipher.AEAD, use func(int64, []byte)) {
	const (
		chunk = 64 << 10 // read at once where records of the call lie close,
		hole  = 4 << 10  // which means no farther apart than this
		most  = recordHead + maxBody
	)
	buffer, base := make([]byte, 0, chunk+most), int64(0)
	for i, at := range offsets {
		if at+min(most, end-at) > base+int64(len(buffer)) {
			stop := at + most
			for _, next := range offsets[i+1:] {
				if next > stop+hole || next > at+chunk {
					break
				}
				stop = next + most
			}
			buffer, base = buffer[:min(stop, end)-at], at
			n, err := f.ReadAt(buffer, at)
			if buffer = buffer[:n]; err != nil && err != io.EOF {
				r.damaged++ // an unreadable sector costs its records only
				continue
			}
		}
		record := buffer[at-base:]
		size, state := checkRecord(record, seed)
		if state != recordWhole || ciphers[recordCall(record)] == nil {
			r.damaged++
			continue
		}
		use(at, record[:size])
	}
}

// openRecord decrypts a whole record. The packet owns its payload.
func openRecord(record []byte, at int64, data cipher.AEAD, legs map[string]string) (packet, error) {
	n := nonce(at)
	plain, err := data.Open(nil, n[:], record[recordHead+callSize:], nil)
	if err != nil {
		return packet{}, fmt.Errorf("decrypt record at %d: %w", at, err)
	}
	return getPacket(plain, legs)
}
