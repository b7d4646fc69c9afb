package sip

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

var (
	errTooLarge = errors.New("message too large")
	errNoFrame  = errors.New("message length unknown")
	crlf        = []byte("\r\n")
	headEnd     = []byte("\r\n\r\n")
)

// framer cuts a byte stream into messages (RFC 3261 section 18.3). It only
// looks for the end of the headers and Content-Length, so that a message that
// can't be parsed costs itself and not the connection.
type framer struct {
	buf []byte
	max int
}

// next gives the next whole message, or nil if more bytes are needed. pings is
// the number of double-CRLF keep-alives before it (RFC 5626 section 3.5.1).
// After an error the stream has lost its place; what came is in msg.
func (f *framer) next() (msg []byte, pings int, err error) {
	for bytes.HasPrefix(f.buf, crlf) {
		if bytes.HasPrefix(f.buf, headEnd) {
			pings++
			f.buf = f.buf[4:]
			continue
		}
		if len(f.buf) == 2 || len(f.buf) == 3 && f.buf[2] == '\r' {
			return nil, pings, nil // perhaps half a ping
		}
		f.buf = f.buf[2:]
	}
	i := bytes.Index(f.buf, headEnd)
	if i < 0 {
		if len(f.buf) > f.max {
			return nil, pings, errTooLarge
		}
		return nil, pings, nil
	}
	head := i + len(headEnd)
	n, err := contentLength(f.buf[:head])
	if err != nil {
		return bytes.Clone(f.buf[:head]), pings, err
	}
	if n > f.max || head+n > f.max {
		return bytes.Clone(f.buf[:head]), pings, errTooLarge
	}
	if len(f.buf) < head+n {
		return nil, pings, nil
	}
	msg = bytes.Clone(f.buf[:head+n])
	f.buf = f.buf[head+n:]
	return msg, pings, nil
}

// add appends bytes read from the connection.
func (f *framer) add(b []byte) {
	if len(f.buf) == 0 {
		f.buf = nil // let go of a large array of earlier messages
	}
	f.buf = append(f.buf, b...)
}

// started reports whether part of a message is waiting for the rest.
func (f *framer) started() bool { return len(bytes.Trim(f.buf, "\r\n")) > 0 }

// contentLength reads Content-Length from raw headers. A missing one counts as
// 0: without it a stream has no other place to cut.
func contentLength(head []byte) (int, error) {
	length := -1
	for line := range strings.SplitSeq(string(head), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		name = strings.TrimSpace(name)
		if !strings.EqualFold(name, "Content-Length") && !strings.EqualFold(name, "l") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
		if err != nil || length >= 0 && length != int(n) {
			return 0, errNoFrame
		}
		length = int(n)
	}
	return max(length, 0), nil
}
