package record

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

func (r *reader) readSegment(packets []packet, f *os.File, sealed bool, h segmentHeader, ciphers map[uint32]cipher.AEAD) ([]packet, error) {
	info, err := f.Stat()
	if err != nil {
		return packets, err
	}
	use := func(at int64, record []byte) {
		p, err := openRecord(record, at, ciphers[recordCall(record)], r.legs)
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
func (r *reader) readAt(f io.ReaderAt, offsets []int64, end int64, seed uint32, ciphers map[uint32]cipher.AEAD, use func(int64, []byte)) {
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
