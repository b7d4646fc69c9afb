package raftstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A forward frame is
//
//	length  4 bytes, big-endian, of what follows
//	kind    1 byte
//	id      8 bytes, chosen by the asker, repeated in the answer
//	status  1 byte,  in answers only
//	index   8 bytes, in answers only: log index of the applied command
//	body    the rest
//
// Answers come in any order. A frame that breaks the format ends the
// connection.
type frame struct {
	kind   frameKind
	id     uint64
	status frameStatus
	index  uint64
	body   []byte
}

type frameKind byte

const (
	framePropose frameKind = 1 // body: the command
	frameHello   frameKind = 2 // no body; answered with a hello
	frameAnswer  frameKind = 3 // body: the machine's reply, a hello, or an admin reply
	frameAdmin   frameKind = 4 // body: a request about members as JSON, see admin.go
)

type frameStatus byte

const (
	statusApplied   frameStatus = 1 // body is the machine's reply
	statusNotLeader frameStatus = 2 // ask another node
	statusUnknown   frameStatus = 3 // may or may not be applied: repeat
	statusFresh     frameStatus = 4 // hello: this node has no log yet
	statusMember    frameStatus = 5 // hello: this node belongs to a cluster
	statusDone      frameStatus = 6 // admin: body is an adminReply as JSON
)

const (
	// MaxCommand is the largest command Propose takes, in bytes. Heartbeats
	// wait behind an entry on its way to disk, so one of several megabytes
	// can cost the leader its office.
	MaxCommand = 2 << 20

	frameHead  = 1 + 8
	answerHead = frameHead + 1 + 8
	// maxFrame leaves room for replies that are a little longer than the
	// largest command.
	maxFrame = MaxCommand + 64<<10
)

var errFrame = errors.New("malformed forward frame")

// appendTo appends the frame's wire form to b.
func (f frame) appendTo(b []byte) []byte {
	head := frameHead
	if f.kind == frameAnswer {
		head = answerHead
	}
	b = binary.BigEndian.AppendUint32(b, uint32(head+len(f.body)))
	b = append(b, byte(f.kind))
	b = binary.BigEndian.AppendUint64(b, f.id)
	if f.kind == frameAnswer {
		b = append(b, byte(f.status))
		b = binary.BigEndian.AppendUint64(b, f.index)
	}
	return append(b, f.body...)
}

// readFrame reads one frame. The body is a fresh slice.
func readFrame(r *bufio.Reader) (frame, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < frameHead || n > maxFrame {
		return frame{}, fmt.Errorf("%w: length %d", errFrame, n)
	}
	b, err := readExactly(r, int(n))
	if err != nil {
		return frame{}, err
	}
	return parseFrame(b)
}

// readExactly reads n bytes and allocates as they arrive, so that a peer who
// announces megabytes and sends none costs nothing.
func readExactly(r *bufio.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		from := len(b)
		b = append(b, make([]byte, min(n-from, step))...)
		if _, err := io.ReadFull(r, b[from:]); err != nil {
			return nil, fmt.Errorf("%w: cut short: %w", errFrame, err)
		}
	}
	return b, nil
}

// parseFrame parses what follows the length.
func parseFrame(b []byte) (frame, error) {
	if len(b) < frameHead {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	f := frame{kind: frameKind(b[0]), id: binary.BigEndian.Uint64(b[1:])}
	switch f.kind {
	case framePropose, frameAdmin:
		f.body = b[frameHead:]
	case frameHello:
		if len(b) != frameHead {
			return frame{}, fmt.Errorf("%w: hello with a body", errFrame)
		}
	case frameAnswer:
		if len(b) < answerHead {
			return frame{}, fmt.Errorf("%w: answer of %d bytes", errFrame, len(b))
		}
		f.status = frameStatus(b[frameHead])
		if f.status < statusApplied || f.status > statusDone {
			return frame{}, fmt.Errorf("%w: status %d", errFrame, f.status)
		}
		f.index = binary.BigEndian.Uint64(b[frameHead+1:])
		f.body = b[answerHead:]
	default:
		return frame{}, fmt.Errorf("%w: kind %d", errFrame, f.kind)
	}
	return f, nil
}
