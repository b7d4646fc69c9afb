package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Record is one entry that was applied.
type Record struct {
	Index uint64
	Term  uint64
	Stamp int64 // cluster time in nanoseconds since 1970, as the machine got it
	Data  []byte
}

type kind byte

const (
	kindCommand kind = 1
	kindGap     kind = 2
	kindEnd     kind = 3
	kindOther   kind = 4
)

// record is a record on disk.
type record struct {
	kind  kind
	index uint64
	prev  uint64
	term  uint64
	stamp int64
	data  []byte
}

const (
	magic      = "tklarch1"
	recordHead = 4 + 4
	recordBody = 1 + 4*8
	// maxData is more than any command or reason has.
	maxData = 4 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// errTorn is a record that is cut off or damaged.
	errTorn = errors.New("record is cut off or damaged")
)

func (r record) appendTo(b []byte) []byte {
	from := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(recordBody+len(r.data)))
	b = append(b, 0, 0, 0, 0, byte(r.kind))
	b = binary.BigEndian.AppendUint64(b, r.index)
	b = binary.BigEndian.AppendUint64(b, r.prev)
	b = binary.BigEndian.AppendUint64(b, r.term)
	b = binary.BigEndian.AppendUint64(b, uint64(r.stamp))
	b = append(b, r.data...)
	binary.BigEndian.PutUint32(b[from+4:], crc32.Checksum(b[from+recordHead:], castagnoli))
	return b
}

// size is the length on disk.
func (r record) size() int64 { return int64(recordHead + recordBody + len(r.data)) }

// scanner reads records one after the other.
type scanner struct {
	r   *bufio.Reader
	buf []byte
}

func newScanner(r io.Reader) *scanner { return &scanner{r: bufio.NewReaderSize(r, 256<<10)} }

// start reads the magic word.
func (s *scanner) start() error {
	var head [len(magic)]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return torn(err)
	}
	if string(head[:]) != magic {
		return fmt.Errorf("%w: it starts with %q, not %q", errTorn, head, magic)
	}
	return nil
}

// next reads a record; its data is valid until the next one is read. At the end
// of the input it fails with io.EOF.
func (s *scanner) next() (record, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(s.r, head[:1]); err != nil {
		return record{}, err
	}
	if _, err := io.ReadFull(s.r, head[1:]); err != nil {
		return record{}, torn(err)
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < recordBody || n > recordBody+maxData {
		return record{}, fmt.Errorf("%w: length %d", errTorn, n)
	}
	if err := s.fill(n); err != nil {
		return record{}, torn(err)
	}
	b := s.buf
	if crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return record{}, fmt.Errorf("%w: checksum differs", errTorn)
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	r := record{kind: kind(b[0]), index: number(0), prev: number(1), term: number(2), stamp: int64(number(3)), data: b[recordBody:]}
	if r.kind < kindCommand || r.kind > kindOther || r.index < r.prev {
		return record{}, fmt.Errorf("%w: kind %d, index %d after %d", errTorn, r.kind, r.index, r.prev)
	}
	return r, nil
}

// fill reads n bytes into buf, which grows as they arrive.
func (s *scanner) fill(n int) error {
	const step = 64 << 10
	s.buf = s.buf[:0]
	for len(s.buf) < n {
		from, part := len(s.buf), min(n-len(s.buf), step)
		if cap(s.buf) < from+part {
			s.buf = append(s.buf, make([]byte, part)...)
		}
		s.buf = s.buf[:from+part]
		if _, err := io.ReadFull(s.r, s.buf[from:]); err != nil {
			return err
		}
	}
	return nil
}

// torn makes the input's end within a record what it is.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within", errTorn)
	}
	return err
}
