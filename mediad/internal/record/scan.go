package record

import (
	"bytes"
	"io"
)

// scanner finds the whole records of a segment one after another and steps
// over damaged ones.
type scanner struct {
	r       io.ReaderAt
	size    int64 // of the file
	seed    uint32
	at      int64 // where to look next
	end     int64 // behind the last whole record
	damaged int   // places where records before end are unreadable
	pending int   // places behind end; damage if another record follows, else the tail
	buffer  []byte
	base    int64 // file offset of buffer[0]
}

const scanBuffer = 1 << 20

func newScanner(r io.ReaderAt, size int64, seed uint32) *scanner {
	return &scanner{r: r, size: size, seed: seed, at: headerSize, end: min(headerSize, size)}
}

// next returns the next whole record and its offset, or io.EOF. The record is
// valid until the following call.
func (s *scanner) next() (at int64, record []byte, err error) {
	for s.at < s.size {
		window, err := s.window()
		if err != nil {
			return 0, nil, err
		}
		size, state := checkRecord(window, s.seed)
		if state == recordWhole {
			at = s.at
			s.at += int64(size)
			s.end = s.at
			s.damaged, s.pending = s.damaged+s.pending, 0
			return at, window[:size], nil
		}
		s.skip(window, size)
	}
	return 0, nil, io.EOF
}

// skip steps over a damaged place: by the length it gives if a record seems to
// follow there, else to the next mark that a record may start at.
func (s *scanner) skip(window []byte, size int) {
	s.pending++
	mark := []byte{recordMark & 0xFF, recordMark >> 8}
	if size > 0 && size+2 <= len(window) && bytes.Equal(window[size:size+2], mark) {
		s.at += int64(size)
		return
	}
	for s.at++; s.at < s.size; s.at++ {
		window, err := s.window()
		if err != nil {
			return // next meets the same error
		}
		i := bytes.Index(window, mark)
		if i < 0 {
			s.at += int64(max(0, len(window)-2)) // the last byte may be half a mark
			continue
		}
		s.at += int64(i)
		// A mark inside encrypted bytes is not a place of its own.
		if _, state := checkRecord(window[i:], s.seed); state != recordBad {
			return
		}
	}
}

// window returns the bytes from at on: at least a record's worth, less only at
// the end of the file.
func (s *scanner) window() ([]byte, error) {
	const need = recordHead + maxBody + recordHead
	have := s.base + int64(len(s.buffer)) - s.at
	if s.at >= s.base && (have >= need || (have >= 0 && s.base+int64(len(s.buffer)) == s.size)) {
		return s.buffer[s.at-s.base:], nil
	}
	if s.buffer == nil {
		s.buffer = make([]byte, scanBuffer)
	}
	s.buffer = s.buffer[:min(scanBuffer, s.size-s.at)]
	s.base = s.at
	if n, err := s.r.ReadAt(s.buffer, s.base); err != nil && (err != io.EOF || n < len(s.buffer)) {
		return nil, err
	}
	return s.buffer, nil
}
