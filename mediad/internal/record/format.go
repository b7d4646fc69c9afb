package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

const (
	segmentMagic = "TKREC\x01\r\n"
	indexMagic   = "TKIDX\x01\r\n"
	headerSize   = 64
	recordMark   = 0xC752 // 0x52 0xC7 on disk
	recordHead   = 8      // mark, length, CRC
	callSize     = 4
	tagSize      = 16
	packetHead   = 26
	trailerSize  = 40

	maxLeg     = 255
	maxPayload = 1500
	minBody    = callSize + packetHead + tagSize
	maxBody    = minBody + maxLeg + maxPayload
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type segmentID [16]byte

// seed starts every CRC of a segment from its id, so that bytes of another
// segment left on a reused disk block are never taken for a record.
func (id segmentID) seed() uint32 { return crc32.Checksum(id[:], castagnoli) }

type segmentHeader struct {
	id       segmentID
	created  int64
	keyCheck [tagSize]byte
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, segmentMagic)
	copy(b[8:], h.id[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(h.created))
	copy(b[32:], h.keyCheck[:])
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

var errHeader = errors.New("damaged segment header")

func decodeHeader(b []byte) (h segmentHeader, err error) {
	if len(b) < headerSize || string(b[:8]) != segmentMagic ||
		crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return h, errHeader
	}
	copy(h.id[:], b[8:])
	h.created = int64(binary.LittleEndian.Uint64(b[24:]))
	copy(h.keyCheck[:], b[32:])
	return h, nil
}

// packet is a stored packet as export sees it.
type packet struct {
	side      Side
	codec     byte
	pt        uint8
	leg       string
	arrival   int64 // ns since 1970 by the writer's clock
	timestamp uint32
	ssrc      uint32
	seq       uint16
	payload   []byte
}

// packetSize is the length of a packet's plain form.
func packetSize(p *Packet) int { return packetHead + len(p.Leg) + len(p.Payload) }

// putPacket writes the plain form into b, which has packetSize bytes.
func putPacket(b []byte, p *Packet, number byte, arrival int64) {
	b[0], b[1], b[2], b[3] = byte(p.Side), number, p.PayloadType, byte(len(p.Leg))
	binary.LittleEndian.PutUint64(b[4:], uint64(arrival))
	binary.LittleEndian.PutUint32(b[12:], p.Timestamp)
	binary.LittleEndian.PutUint32(b[16:], p.SSRC)
	binary.LittleEndian.PutUint16(b[20:], p.Seq)
	// 22 to 25 are zero, reserved.
	binary.LittleEndian.PutUint32(b[22:], 0)
	n := copy(b[packetHead:], p.Leg)
	copy(b[packetHead+n:], p.Payload)
}

var errPacket = errors.New("malformed packet in record")

// getPacket reads the plain form; the payload still points into b.
func getPacket(b []byte, legs map[string]string) (p packet, err error) {
	if len(b) < packetHead || len(b) < packetHead+int(b[3]) || b[0] > byte(Operator) {
		return p, errPacket
	}
	p.side, p.codec, p.pt = Side(b[0]), b[1], b[2]
	p.arrival = int64(binary.LittleEndian.Uint64(b[4:]))
	p.timestamp = binary.LittleEndian.Uint32(b[12:])
	p.ssrc = binary.LittleEndian.Uint32(b[16:])
	p.seq = binary.LittleEndian.Uint16(b[20:])
	leg := b[packetHead : packetHead+int(b[3])]
	name, known := legs[string(leg)]
	if !known {
		name = string(leg)
		legs[name] = name
	}
	p.leg = name
	p.payload = b[packetHead+len(leg):]
	return p, nil
}

// nonce is unique under a data key, which serves one call in one segment.
func nonce(offset int64) (n [12]byte) {
	binary.LittleEndian.PutUint64(n[4:], uint64(offset))
	return n
}

// finishRecord fills mark, length and CRC of a record whose body is in place.
func finishRecord(b []byte, seed uint32) {
	binary.LittleEndian.PutUint16(b, recordMark)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)-recordHead))
	binary.LittleEndian.PutUint32(b[4:], recordSum(b, seed))
}

func recordSum(b []byte, seed uint32) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[2:4]), castagnoli, b[recordHead:])
}

type recordState int

const (
	recordWhole recordState = iota
	recordBad               // no record starts here
	recordShort             // one may start here, but b ends first
)

// checkRecord says whether a whole, undamaged record starts at b[0], and how
// long it is.
func checkRecord(b []byte, seed uint32) (size int, state recordState) {
	if len(b) < recordHead {
		return 0, recordShort
	}
	body := int(binary.LittleEndian.Uint16(b[2:]))
	if binary.LittleEndian.Uint16(b) != recordMark || body < minBody || body > maxBody {
		return 0, recordBad
	}
	size = recordHead + body
	if len(b) < size {
		return size, recordShort
	}
	if recordSum(b[:size], seed) != binary.LittleEndian.Uint32(b[4:]) {
		return size, recordBad
	}
	return size, recordWhole
}

func recordCall(b []byte) uint32 { return binary.LittleEndian.Uint32(b[recordHead:]) }

// callIndex collects the offsets of one call's records in a segment as
// varints of their differences.
type callIndex struct {
	slot    uint32
	count   uint64
	last    int64
	offsets []byte
}

func (c *callIndex) add(offset int64) {
	c.offsets = binary.AppendUvarint(c.offsets, uint64(offset-c.last))
	c.last = offset
	c.count++
}

// encodeIndex returns index and trailer, to be written at offset end.
func encodeIndex(calls []*callIndex, end int64, seed uint32) []byte {
	var b []byte
	for _, c := range calls {
		if c.count == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(c.slot))
		b = binary.AppendUvarint(b, c.count)
		b = binary.AppendUvarint(b, uint64(len(c.offsets)))
		b = append(b, c.offsets...)
	}
	t := make([]byte, trailerSize)
	copy(t, indexMagic)
	binary.LittleEndian.PutUint64(t[8:], uint64(end))
	binary.LittleEndian.PutUint64(t[16:], uint64(len(b)))
	binary.LittleEndian.PutUint32(t[32:], indexSum(b, seed))
	binary.LittleEndian.PutUint32(t[36:], crc32.Update(seed, castagnoli, t[:36]))
	return append(b, t...)
}

func indexSum(index []byte, seed uint32) uint32 { return crc32.Update(seed, castagnoli, index) }

var errIndex = errors.New("damaged segment index")

// decodeTrailer returns where the index lies in a file of the given size.
func decodeTrailer(t []byte, fileSize int64, seed uint32) (start, length int64, sum uint32, err error) {
	if len(t) != trailerSize || string(t[:8]) != indexMagic ||
		crc32.Update(seed, castagnoli, t[:36]) != binary.LittleEndian.Uint32(t[36:]) {
		return 0, 0, 0, errIndex
	}
	start = int64(binary.LittleEndian.Uint64(t[8:]))
	length = int64(binary.LittleEndian.Uint64(t[16:]))
	if start < headerSize || length < 0 || start > fileSize || start+length != fileSize-trailerSize {
		return 0, 0, 0, errIndex
	}
	return start, length, binary.LittleEndian.Uint32(t[32:]), nil
}

// indexOffsets returns the offsets of a call's records.
func indexOffsets(index []byte, slots map[uint32]bool, end int64) ([]int64, error) {
	var offsets []int64
	for len(index) > 0 {
		var field [3]uint64
		for i := range field {
			v, n := binary.Uvarint(index)
			if n <= 0 {
				return nil, errIndex
			}
			field[i], index = v, index[n:]
		}
		size := field[2]
		if size > uint64(len(index)) || field[1] > size {
			return nil, errIndex
		}
		list := index[:size]
		index = index[size:]
		if field[0] > 0xFFFFFFFF || !slots[uint32(field[0])] {
			continue
		}
		at := int64(0)
		for len(list) > 0 {
			delta, n := binary.Uvarint(list)
			if n <= 0 || delta > uint64(end) {
				return nil, errIndex
			}
			list = list[n:]
			if at += int64(delta); at < headerSize || at >= end {
				return nil, errIndex
			}
			offsets = append(offsets, at)
		}
	}
	return offsets, nil
}
