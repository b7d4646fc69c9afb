// Package standby copies a media worker's session state to the worker that
// takes over when it dies: whole records when something changes, acknowledged,
// and running marks (how far each stream has come) many times a second, not
// acknowledged.
//
// It carries bytes and does not look into them. It decides nothing about who
// hosts an address: it keeps what it was sent until it is asked for it, and
// refuses a host whose epoch is over. Both ends are workers over mutual TLS.
//
// One connection serves one hosted media address. Frames are
//
//	length uint32 (of type and body) | type uint8 | body
//
// big-endian. The host sends hello {JSON of Hello}, then reset, put and
// marks..., synced,
// then put, drop and marks as they come; put and drop bear a serial number
// uint64 and a key (uint16 length, bytes). The standby sends ack (uint64: all
// up to this serial are kept) and fenced (uint64: epoch that ended yours).
package standby

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	frameHello  = 1
	frameReset  = 2
	framePut    = 3
	frameDrop   = 4
	frameSynced = 5
	frameMarks  = 6
	frameAck    = 7
	frameFenced = 8
)

// maxFrame bounds a frame, and so what a peer can make us hold at once.
const maxFrame = 16 << 20

var errFrame = errors.New("malformed replication frame")

// Hello opens a connection.
type Hello struct {
	Worker      string `json:"worker"` // who hosts
	Incarnation uint64 `json:"incarnation"`
	Address     string `json:"address"`
	Epoch       uint64 `json:"epoch"`
}

func appendFrame(b []byte, kind byte, body ...[]byte) []byte {
	n := 1
	for _, p := range body {
		n += len(p)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, kind)
	for _, p := range body {
		b = append(b, p...)
	}
	return b
}

// appendKeyed appends a put or drop.
func appendKeyed(b []byte, kind byte, serial uint64, key string, value []byte) []byte {
	var head [10]byte
	binary.BigEndian.PutUint64(head[:], serial)
	binary.BigEndian.PutUint16(head[8:], uint16(len(key)))
	return appendFrame(b, kind, head[:], []byte(key), value)
}

func parseKeyed(body []byte) (serial uint64, key string, value []byte, err error) {
	if len(body) < 10 {
		return 0, "", nil, errFrame
	}
	n := 10 + int(binary.BigEndian.Uint16(body[8:]))
	if n > len(body) {
		return 0, "", nil, errFrame
	}
	return binary.BigEndian.Uint64(body), string(body[10:n]), body[n:], nil
}

func readFrame(r *bufio.Reader) (kind byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return body[0], body[1:], nil
}

// AppendMark appends one entry of a marks batch.
func AppendMark(b []byte, key string, mark []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(mark)))
	return append(b, mark...)
}

func parseMark(b []byte) (key string, mark, rest []byte, err error) {
	field := func() []byte {
		if err != nil || len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			err = errFrame
			return nil
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		f := b[2:n]
		b = b[n:]
		return f
	}
	k, m := field(), field()
	return string(k), m, b, err
}
