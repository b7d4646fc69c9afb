package sip

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

// maxHeaders bounds the header lines of one message.
const maxHeaders = 256

// Refusal is why a request is not served: the response it gets.
type Refusal struct {
	Code    int
	Reason  string
	Headers []Header
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string { return fmt.Sprintf("%d %s", r.Code, r.Reason) }

// Malformed is Parse's error. Request is nil for a response, an ACK or when so
// little can be read that nothing can be answered; otherwise it holds just
// enough for [Respond].
type Malformed struct {
	Refusal
	Request *Request
}

// lineParser splits start line and headers only: with no header parsers given,
// sipgo hands every value over as received.
var lineParser = sipgo.NewParser(sipgo.WithHeadersParsers(map[string]sipgo.HeaderParser{}))

// compact maps the one-letter header names of RFC 3261 section 7.3.3 and its
// extensions.
var compact = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
	"e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
	"l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To",
	"u": "Allow-Events", "v": "Via", "x": "Session-Expires",
}

// Parse reads one whole message: a datagram, or what the stream reader cut
// out. Octets beyond Content-Length are dropped (RFC 3261 section 18.3). The
// error is a *Malformed.
func Parse(data []byte) (Message, error) {
	data = bytes.TrimLeft(data, "\r\n")
	lineEnd := bytes.Index(data, []byte("\r\n"))
	if lineEnd < 0 {
		return nil, &Malformed{Refusal: Refusal{Code: 400, Reason: "No Start Line"}}
	}
	line := string(data[:lineEnd])
	if strings.HasPrefix(strings.ToUpper(line), "SIP/") {
		return parseResponse(line, data)
	}
	return parseRequest(line, data)
}

func parseRequest(line string, data []byte) (Message, error) {
	req := &Request{}
	parts := strings.Split(line, " ")
	req.Method = parts[0]
	startErr := func() *Refusal {
		if len(parts) != 3 || !isToken(req.Method) {
			return &Refusal{Code: 400, Reason: "Malformed Request Line"}
		}
		req.URI, req.version = parts[1], parts[2]
		if !strings.EqualFold(req.version, "SIP/2.0") {
			if strings.HasPrefix(strings.ToUpper(req.version), "SIP/") {
				return &Refusal{Code: 505, Reason: "Version Not Supported"}
			}
			return &Refusal{Code: 400, Reason: "Malformed Request Line"}
		}
		if _, err := ParseURI(req.URI); err != nil {
			return &Refusal{Code: 400, Reason: "Malformed Request-URI"}
		}
		return nil
	}()
	// Header lines are read with a start line of our own, so that a bad one can
	// still be answered.
	lines := append([]byte("OPTIONS sip:a SIP/2.0"), data[len(line):]...)
	headErr := req.parse(lines)
	req.raw = data
	if startErr == nil && headErr == nil {
		if req.cseqMethod == req.Method {
			return req, nil
		}
		startErr = &Refusal{Code: 400, Reason: "CSeq Method Mismatch"}
		if !allowed[req.Method] && !recognised[req.Method] { // RFC 4475 section 3.1.2.18
			startErr = &notImplemented
		}
	}
	bad := &Malformed{}
	if startErr != nil {
		bad.Refusal = *startErr
	} else {
		bad.Refusal = Refusal{Code: 400, Reason: reasonOf(headErr)}
	}
	if req.Method != "ACK" && req.answerable() {
		bad.Request = req
	}
	return nil, bad
}

func parseResponse(line string, data []byte) (Message, error) {
	res := &Response{}
	bad := func(reason string) (Message, error) {
		return nil, &Malformed{Refusal: Refusal{Code: 400, Reason: reason}}
	}
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 || !strings.EqualFold(parts[0], "SIP/2.0") {
		return bad("Malformed Status Line")
	}
	code, err := strconv.Atoi(parts[1])
	if err != nil || code < 100 || code > 699 {
		return bad("Malformed Status Code")
	}
	res.Code = code
	if len(parts) == 3 {
		res.Reason = parts[2]
	}
	lines := append([]byte("OPTIONS sip:a SIP/2.0"), data[len(line):]...)
	if err := res.parse(lines); err != nil {
		return bad(reasonOf(err))
	}
	res.raw = data
	return res, nil
}

// parse reads header lines and body and checks what every message must have.
func (h *head) parse(data []byte) error {
	msg, n, err := lineParser.ParseHeaders(data, false)
	if msg != nil {
		for _, g := range headersOf(msg) {
			name := g.Name()
			if long, ok := compact[strings.ToLower(name)]; ok {
				name = long
			}
			h.headers = append(h.headers, Header{name, g.Value()})
		}
	}
	// What can be echoed in a 400 is read even if something else is broken.
	fieldErr := h.readFields()
	if err != nil {
		return fmt.Errorf("split headers: %w", err)
	}
	if len(h.headers) > maxHeaders {
		return errors.New("too many headers")
	}
	if fieldErr != nil {
		return fieldErr
	}
	return h.readBody(data[n:])
}

func headersOf(m sipgo.Message) []sipgo.Header {
	switch m := m.(type) {
	case *sipgo.Request:
		return m.Headers()
	case *sipgo.Response:
		return m.Headers()
	}
	return nil
}

// single are the headers that may occur once with one value each.
var single = []string{"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type",
	"Expires", "Min-Expires", "Session-Expires", "Min-SE"}

func (h *head) readFields() error {
	for _, f := range h.headers {
		if !isToken(f.Name) {
			return fmt.Errorf("bad header name")
		}
		if !isPrintable(f.Value) {
			return fmt.Errorf("control character in %s", f.Name)
		}
	}
	var errs []error
	fail := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	for _, name := range single {
		if len(h.Values(name)) > 1 {
			fail(name, errors.New("more than one"))
		}
	}
	vias, err := h.list("Via")
	if err == nil && len(vias) == 0 {
		err = errors.New("missing")
	}
	for i := range vias {
		v, e := parseVia(vias[i])
		if e != nil {
			err = e
			break
		}
		if i == 0 {
			h.via = v
		}
	}
	fail("Via", err)
	h.from, err = h.nameAddr("From")
	fail("From", err)
	h.to, err = h.nameAddr("To")
	fail("To", err)
	h.callID = h.Get("Call-ID")
	if h.callID == "" || strings.ContainsAny(h.callID, " \t,") || !isASCII(h.callID) {
		fail("Call-ID", errors.New("missing or malformed"))
	}
	h.cseq, h.cseqMethod, err = parseCSeq(h.Get("CSeq"))
	fail("CSeq", err)
	if mf := h.Get("Max-Forwards"); mf != "" {
		if _, err := strconv.ParseUint(mf, 10, 8); err != nil {
			fail("Max-Forwards", errors.New("out of range"))
		}
	}
	for _, name := range []string{"Record-Route", "Route", "Contact", "Path"} {
		fail(name, h.checkAddrs(name))
	}
	for _, name := range []string{"Supported", "Require", "Proxy-Require", "Allow"} {
		_, err := h.list(name)
		fail(name, err)
	}
	return errors.Join(errs...)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isPrintable reports whether a value can be echoed: no control characters but
// tab and those a backslash quotes, and never a line break.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != 0x7f || c == '\t' {
			continue
		}
		if c == '\r' || c == '\n' || i == 0 || s[i-1] != '\\' {
			return false
		}
	}
	return true
}

func (h *head) nameAddr(name string) (NameAddr, error) {
	v := h.Get(name)
	if v == "" {
		return NameAddr{}, errors.New("missing")
	}
	if parts, err := splitList(v); err != nil || len(parts) > 1 {
		return NameAddr{}, errors.New("not one address")
	}
	return parseNameAddr(v)
}

func (h *head) checkAddrs(name string) error {
	parts, err := h.list(name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := parseNameAddr(p); err != nil {
			return err
		}
	}
	return nil
}

func (h *head) readBody(rest []byte) error {
	h.body = rest
	cl := h.Get("Content-Length")
	if cl != "" {
		n, err := strconv.ParseUint(cl, 10, 31)
		if err != nil {
			return errors.New("Content-Length: not a length")
		}
		if int(n) > len(rest) {
			return errors.New("Content-Length: body is shorter")
		}
		h.body = rest[:n]
	}
	if len(h.body) > 0 && h.Get("Content-Type") == "" {
		return errors.New("Content-Type: missing")
	}
	return nil
}

// answerable: a 400 can name the transaction it is about. What else a response
// echoes (RFC 3261 section 8.2.6.2) may be missing or malformed, and is then
// left out or repeated as it came (RFC 4475 sections 3.1.2.1 and 3.3.1).
func (r *Request) answerable() bool {
	for _, f := range r.headers {
		if !isPrintable(f.Value) {
			return false
		}
	}
	return r.Get("Via") != "" && r.Get("CSeq") != ""
}

// reasonOf makes a reason phrase of a parse error: its first line.
func reasonOf(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	var b strings.Builder
	b.WriteString("Malformed ")
	for i := 0; i < len(s) && b.Len() < 100; i++ {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' {
			b.WriteByte(c)
		}
	}
	return b.String()
}
