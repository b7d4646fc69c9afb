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
// can't be parsed costs itself and not the connection. It holds one message's
// bytes and a reading's at most.
type framer struct {
	base    []byte // the array that buf is a part of
	buf     []byte
	max     int
	scanned int // of buf, without the end of the headers
	want    int // whole length of the message at the front, 0: not known yet
	reading int // bytes offered to the next reading
}

// Sizes of a reading: small for the many connections that say little.
const (
	leastReading = 2 << 10
	mostReading  = 32 << 10
)

// space is room for the next reading; took says how much of it came.
func (f *framer) space() []byte {
	f.reading = max(f.reading, leastReading)
	switch {
	case len(f.buf) == 0:
		if len(f.base) != f.reading {
			f.base = make([]byte, f.reading)
		}
		f.buf = f.base[:0]
	case cap(f.buf)-len(f.buf) < f.reading/2:
		f.base = make([]byte, len(f.buf)+f.reading)
		f.buf = f.base[:copy(f.base, f.buf)]
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

func (f *framer) took(n int) {
	full := n == cap(f.buf)-len(f.buf)
	f.buf = f.buf[:len(f.buf)+n]
	switch {
	case full:
		f.reading = min(2*f.reading, mostReading)
	case n < f.reading/4:
		f.reading = max(f.reading/2, leastReading)
	}
}

// add appends bytes as if they were read.
func (f *framer) add(b []byte) {
	for len(b) > 0 {
		n := copy(f.space(), b)
		f.took(n)
		b = b[n:]
	}
}

// next gives the next whole message, or nil if more bytes are needed. pings is
// the number of double-CRLF keep-alives before it (RFC 5626 section 3.5.1).
// After an error the stream has lost its place; what came is in msg.
func (f *framer) next() (msg []byte, pings int, err error) {
	for f.want == 0 && bytes.HasPrefix(f.buf, crlf) {
		if bytes.HasPrefix(f.buf, headEnd) {
			pings++
			f.drop(4)
			continue
		}
		if len(f.buf) == 2 || len(f.buf) == 3 && f.buf[2] == '\r' {
			return nil, pings, nil // perhaps half a ping
		}
		f.drop(2)
	}
	if f.want == 0 {
		i := bytes.Index(f.buf[f.scanned:], headEnd)
		if i < 0 {
			if len(f.buf) > f.max {
				return nil, pings, errTooLarge
			}
			f.scanned = max(0, len(f.buf)-len(headEnd)+1)
			return nil, pings, nil
		}
		head := f.scanned + i + len(headEnd)
		n, err := contentLength(f.buf[:head])
		if err == nil && (n > f.max || head+n > f.max) {
			err = errTooLarge
		}
		if err != nil {
			return bytes.Clone(f.buf[:head]), pings, err
		}
		f.want = head + n
	}
	if len(f.buf) < f.want {
		return nil, pings, nil
	}
	msg = bytes.Clone(f.buf[:f.want])
	f.drop(f.want)
	return msg, pings, nil
}

func (f *framer) drop(n int) {
	f.buf = f.buf[n:]
	f.scanned, f.want = 0, 0
}

// started reports whether part of a message is waiting for the rest.
func (f *framer) started() bool { return len(bytes.TrimLeft(f.buf, "\r\n")) > 0 }

// contentLength reads Content-Length from raw headers, folded ones too. Without
// it there is no body, and one that is announced by its type makes the length
// unknown: were it read as the next message, whoever writes a body could write a
// request that no edge has seen.
func contentLength(head []byte) (int, error) {
	length, typed := -1, false
	_, lines, _ := strings.Cut(unfold(string(head)), "\r\n")
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimRight(name, " \t")) {
		case "content-type", "c":
			typed = true
		case "content-length", "l":
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if err != nil || length >= 0 && length != int(n) {
				return 0, errNoFrame
			}
			length = int(n)
		}
	}
	if length < 0 && typed {
		return 0, errNoFrame
	}
	return max(length, 0), nil
}

// unfold joins the lines of folded headers (RFC 3261 section 7.3.1).
func unfold(head string) string {
	if !strings.Contains(head, "\r\n ") && !strings.Contains(head, "\r\n\t") {
		return head
	}
	return strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(head)
}
