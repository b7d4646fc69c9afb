package sip

import (
	"strconv"
	"strings"

	"trunkline/routerd/acd"
)

// Time is the cluster's machine time: a clock that every router agrees on, so
// that deadlines in a leg's record keep their meaning on another node.
type Time = acd.Time

// Header is one header line. Name is in its long form.
type Header struct {
	Name  string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// Message is a received *Request or *Response. Its mandatory headers are
// present and well-formed.
type Message interface {
	// CallID, FromTag, ToTag and Branch (of the topmost Via) name the dialog
	// and the transaction; tags may be empty.
	CallID() string
	FromTag() string
	ToTag() string
	Branch() string
	CSeq() (uint32, string)
	// Get returns the first value of a header, Values all lines of it.
	Get(name string) string
	Values(name string) []string
	Body() []byte
	// Raw is the message as received: Parse(Raw()) gives it again.
	Raw() []byte
}

// head is what requests and responses share.
type head struct {
	headers    []Header
	body       []byte
	raw        []byte
	via        Via
	from, to   NameAddr
	callID     string
	cseq       uint32
	cseqMethod string
}

func (h *head) CallID() string         { return h.callID }
func (h *head) FromTag() string        { t, _ := h.from.Params.Get("tag"); return t }
func (h *head) ToTag() string          { t, _ := h.to.Params.Get("tag"); return t }
func (h *head) Branch() string         { return h.via.Branch() }
func (h *head) CSeq() (uint32, string) { return h.cseq, h.cseqMethod }
func (h *head) Body() []byte           { return h.body }
func (h *head) Raw() []byte            { return h.raw }

// From is the From header.
func (h *head) From() NameAddr { return h.from }

// To is the To header.
func (h *head) To() NameAddr { return h.to }

// Via is the topmost Via.
func (h *head) Via() Via { return h.via }

func (h *head) Get(name string) string {
	for i := range h.headers {
		if strings.EqualFold(h.headers[i].Name, name) {
			return h.headers[i].Value
		}
	}
	return ""
}

func (h *head) Values(name string) []string {
	var out []string
	for i := range h.headers {
		if strings.EqualFold(h.headers[i].Name, name) {
			out = append(out, h.headers[i].Value)
		}
	}
	return out
}

// has reports whether the header is there at all, even empty.
func (h *head) has(name string) bool { return len(h.Values(name)) > 0 }

// list returns all comma-separated elements of a header, over all its lines.
func (h *head) list(name string) ([]string, error) {
	var out []string
	for _, line := range h.Values(name) {
		if line == "" {
			continue // Supported and its like may be empty (RFC 3261 section 25.1)
		}
		parts, err := splitList(line)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// hasOption reports whether a comma-separated header (Supported, Require,
// Allow) has the given element.
func (h *head) hasOption(name, option string) bool {
	parts, err := h.list(name)
	if err != nil {
		return false
	}
	for _, p := range parts {
		if strings.EqualFold(p, option) {
			return true
		}
	}
	return false
}

// sdp is the body if it is a session description.
func (h *head) sdp() []byte {
	if len(h.body) == 0 || mediaType(h.Get("Content-Type")) != "application/sdp" {
		return nil
	}
	return h.body
}

// mediaType is a Content-Type without parameters, in lower case.
func mediaType(s string) string {
	t, _, _ := strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// Request is a received request.
type Request struct {
	Method string
	URI    string // the Request-URI as received
	head
	version string
}

// Response is a received response.
type Response struct {
	Code   int
	Reason string
	head
}

// SDP is the session description a request carries, or nil.
func (r *Request) SDP() []byte { return r.sdp() }

// SDP is the session description a response carries, or nil.
func (r *Response) SDP() []byte { return r.sdp() }

// Dialled is the user part of the Request-URI, or of To where that has none.
func (r *Request) Dialled() string {
	if u, err := ParseURI(r.URI); err == nil && u.User != "" {
		return strings.ToValidUTF8(u.User, "?")
	}
	return strings.ToValidUTF8(r.to.User(), "?")
}

// RequestURI is the parsed Request-URI. Requests from Parse and the transport
// have a valid one or an unknown scheme.
func (r *Request) RequestURI() URI {
	u, _ := ParseURI(r.URI)
	return u
}

// contact is the URI of the one Contact, or "".
func (h *head) contact() string {
	c, err := h.list("Contact")
	if err != nil || len(c) == 0 {
		return ""
	}
	a, err := parseNameAddr(c[0])
	if err != nil || a.URI == "*" {
		return ""
	}
	return a.URI
}

// retryAfter is the Retry-After value in seconds, 0 for none.
func (h *head) retryAfter() int {
	v := h.Get("Retry-After")
	if i := strings.IndexAny(v, " ;("); i >= 0 {
		v = v[:i]
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}
