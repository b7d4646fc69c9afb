package mediaapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// MaxMessage bounds a message on a stream, and so what a peer can make us hold.
const MaxMessage = 256 << 10

// maxCookie bounds a cookie; Kamailio's are under 40 bytes.
const maxCookie = 128

// Format is the encoding of a dictionary. A reply uses its request's.
type Format int

// The two encodings of the NG protocol.
const (
	Bencode Format = iota
	JSON
)

// ErrMalformed is wrapped by every decoding error. A stream is of no use after
// one, since the next message cannot be found.
var ErrMalformed = errors.New("malformed NG message")

// AppendRequest appends `cookie SP dictionary` to b.
func AppendRequest(b []byte, cookie string, f Format, r Request) []byte {
	return appendMessage(b, cookie, f, reflect.ValueOf(r))
}

// AppendReply appends `cookie SP dictionary` to b.
func AppendReply(b []byte, cookie string, f Format, r Reply) []byte {
	return appendMessage(b, cookie, f, reflect.ValueOf(r))
}

// ParseRequest decodes one whole message. The cookie and the format are valid
// as soon as they can be told, so that a bad dictionary can be answered.
func ParseRequest(msg []byte) (cookie string, f Format, r Request, err error) {
	cookie, f, err = parseMessage(msg, reflect.ValueOf(&r).Elem())
	r.Command = normalCommand(r.Command)
	if err == nil {
		r.readFlags()
	}
	return cookie, f, r, err
}

// ParseReply decodes one whole message.
func ParseReply(msg []byte) (cookie string, f Format, r Reply, err error) {
	cookie, f, err = parseMessage(msg, reflect.ValueOf(&r).Elem())
	return cookie, f, r, err
}

func appendMessage(b []byte, cookie string, f Format, v reflect.Value) []byte {
	b = append(b, cookie...)
	b = append(b, ' ')
	dict := toDict(v)
	if f == Bencode {
		return appendBencode(b, dict)
	}
	text, err := json.Marshal(jsonable(dict))
	if err != nil {
		panic("mediaapi: " + err.Error()) // only strings, numbers, lists and maps go in
	}
	return append(b, text...)
}

func parseMessage(msg []byte, v reflect.Value) (cookie string, f Format, err error) {
	i := bytes.IndexByte(msg, ' ')
	if i <= 0 || i > maxCookie || i+1 >= len(msg) {
		return "", 0, fmt.Errorf("%w: no cookie", ErrMalformed)
	}
	cookie, body := string(msg[:i]), msg[i+1:]
	var dict map[string]any
	switch body[0] {
	case 'd':
		f = Bencode
		tree, rest, err := parseBencode(body, 0)
		if err != nil || len(bytes.TrimSpace(rest)) > 0 {
			return cookie, f, fmt.Errorf("%w: bad bencode", ErrMalformed)
		}
		dict = tree.(map[string]any)
	case '{':
		f = JSON
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if err := dec.Decode(&dict); err != nil {
			return cookie, f, fmt.Errorf("%w: bad JSON", ErrMalformed)
		}
		if _, err := dec.Token(); err != io.EOF {
			return cookie, f, fmt.Errorf("%w: bytes after the JSON", ErrMalformed)
		}
	default:
		return cookie, f, fmt.Errorf("%w: neither bencode nor JSON", ErrMalformed)
	}
	if err := fromDict(dict, v); err != nil {
		return cookie, f, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return cookie, f, nil
}

// ReadMessage reads one message from a stream, where messages follow each
// other with nothing or white space between them: as in rtpengine, the
// dictionary's own syntax says where it ends.
func ReadMessage(r *bufio.Reader) ([]byte, error) {
	s := scanner{r: r}
	c, err := s.skipSpace()
	if err != nil {
		return nil, err // io.EOF between messages is a clean end
	}
	for ; c != ' '; c, err = s.next() {
		if err != nil {
			return nil, unexpected(err)
		}
		if len(s.msg) > maxCookie {
			return nil, fmt.Errorf("%w: no cookie", ErrMalformed)
		}
	}
	if c, err = s.next(); err == nil {
		switch c {
		case 'd':
			err = s.bencode()
		case '{':
			err = s.json()
		default:
			err = fmt.Errorf("%w: neither bencode nor JSON", ErrMalformed)
		}
	}
	if err != nil {
		return nil, unexpected(err)
	}
	return s.msg, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// scanner collects the bytes of one message.
type scanner struct {
	r   *bufio.Reader
	msg []byte
}

func (s *scanner) next() (byte, error) {
	c, err := s.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if len(s.msg) >= MaxMessage {
		return 0, fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxMessage)
	}
	s.msg = append(s.msg, c)
	return c, nil
}

func (s *scanner) skipSpace() (byte, error) {
	for {
		c, err := s.next()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, nil
		}
		s.msg = s.msg[:0]
	}
}

// bencode reads to the end of a dictionary whose 'd' has been read.
func (s *scanner) bencode() error {
	for depth := 1; depth > 0; {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case c == 'd' || c == 'l':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: nested too deep", ErrMalformed)
			}
		case c == 'e':
			depth--
		case c == 'i':
			for c != 'e' {
				if c, err = s.next(); err != nil {
					return err
				}
			}
		case c >= '0' && c <= '9':
			n := 0
			for ; c != ':'; c, err = s.next() {
				if err != nil {
					return err
				}
				if n = n*10 + int(c-'0'); c < '0' || c > '9' || n > MaxMessage {
					return fmt.Errorf("%w: bad string length", ErrMalformed)
				}
			}
			for range n {
				if _, err := s.next(); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("%w: bad bencode", ErrMalformed)
		}
	}
	return nil
}

// json reads to the end of an object whose '{' has been read.
func (s *scanner) json() error {
	inString, escaped := false, false
	for depth := 1; depth > 0; {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
