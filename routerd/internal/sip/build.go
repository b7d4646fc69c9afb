package sip

import (
	"crypto/sha256"
	"encoding/base32"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Flow is the way a message came in: enough to answer it, on this node or on
// another one.
type Flow struct {
	Network string `cbor:"1,keyasint"` // "tcp" or "udp"
	Remote  string `cbor:"2,keyasint"` // ip:port it came from
	Local   string `cbor:"3,keyasint"` // ip:port it came to
}

// Packet is a message to send. The transport tries Conn, if set: the open
// connection with that remote address; then each hop in order.
type Packet struct {
	Data []byte
	Conn string
	Hops []Hop
	// Since is when it was known that this node may say it; zero: when it was
	// given to Send. The transport drops what has waited longer than packetLife.
	Since time.Time
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// digestOf derives an id from its parts: 20 characters, 100 bits.
func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return base32Lower.EncodeToString(h.Sum(nil))[:20]
}

// NewTag derives a tag from whatever names its dialog, e.g. the cluster's
// secret, Call-ID and From tag: equal parts give equal tags on every node.
func NewTag(parts ...string) string { return digestOf(append([]string{"tag"}, parts...)...) }

// NewBranch derives a Via branch (RFC 3261 section 8.1.1.7) from what names
// its transaction.
func NewBranch(parts ...string) string {
	return "z9hG4bK" + digestOf(append([]string{"branch"}, parts...)...)
}

// writer builds a message.
type writer struct{ b []byte }

func (w *writer) start(parts ...string) {
	w.b = make([]byte, 0, 1500)
	for i, p := range parts {
		if i > 0 {
			w.b = append(w.b, ' ')
		}
		w.b = append(w.b, p...)
	}
	w.b = append(w.b, '\r', '\n')
}

func (w *writer) header(name, value string) {
	w.b = append(w.b, name...)
	w.b = append(w.b, ": "...)
	w.b = append(w.b, value...)
	w.b = append(w.b, '\r', '\n')
}

func (w *writer) headers(hs []Header) {
	for _, h := range hs {
		w.header(h.Name, h.Value)
	}
}

func (w *writer) body(body []byte) []byte {
	w.header("Content-Length", strconv.Itoa(len(body)))
	w.b = append(w.b, '\r', '\n')
	return append(w.b, body...)
}

// stampVias copies the Via values of a request for its responses, the top one
// with received and rport (RFC 3261 section 18.2.1, RFC 3581 section 4). Those
// of a request refused for them are copied as they came.
func stampVias(r *head, flow Flow) []string {
	vias, err := r.list("Via")
	if err != nil || r.via.Host == "" {
		return r.Values("Via")
	}
	remote, err := netip.ParseAddrPort(flow.Remote)
	if err != nil {
		return vias
	}
	ip := remote.Addr().Unmap().String()
	rport, wants := r.via.Params.Get("rport")
	if wants && rport == "" {
		vias[0] = setParam(vias[0], "rport", strconv.Itoa(int(remote.Port())))
	}
	if wants || r.via.Host != ip {
		vias[0] = setParam(vias[0], "received", ip)
	}
	return vias
}

// setParam sets a parameter of a Via value, replacing one of that name.
func setParam(via, name, value string) string {
	parts, err := splitOutside(via, ';')
	if err != nil {
		return via
	}
	out := parts[:1]
	for _, p := range parts[1:] {
		n, _, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(n), name) {
			out = append(out, p)
		}
	}
	return strings.Join(append(out, name+"="+value), ";")
}

// replyPath is where a response with this stamped top Via goes (RFC 3261
// section 18.2.2, RFC 3581): the connection it came by, then the sent-by
// address, which is what still works from another node. A Via that says nothing
// leaves the address the request came from.
func replyPath(via string, flow Flow) (conn string, hops []Hop) {
	v, err := parseVia(via)
	switch {
	case err == nil:
	case flow.Network == "udp":
		return "", []Hop{{"udp", flow.Remote}}
	default:
		return flow.Remote, nil
	}
	host, port := v.Host, v.Port
	if r, ok := v.Params.Get("received"); ok && r != "" {
		host = r
	}
	if port == 0 {
		port = 5060
	}
	if flow.Network == "udp" {
		if rp, ok := v.Params.Get("rport"); ok {
			if n, err := strconv.ParseUint(rp, 10, 16); err == nil {
				port = int(n)
			}
		}
		return "", []Hop{{"udp", net.JoinHostPort(host, strconv.Itoa(port))}}
	}
	return flow.Remote, []Hop{{"tcp", net.JoinHostPort(host, strconv.Itoa(port))}}
}

// Respond answers a request outside any dialog of ours, and is what 404, 481,
// 488, 503 and OPTIONS outside dialogs are made with. tag is the To tag where
// the request has none; the same request should always get the same one.
func Respond(r *Request, flow Flow, tag string, ref Refusal, body []byte) Packet {
	vias := stampVias(&r.head, flow)
	var w writer
	w.start("SIP/2.0", strconv.Itoa(ref.Code), ref.Reason)
	for _, v := range vias {
		w.header("Via", v)
	}
	to := r.Get("To")
	if to != "" {
		to = withTag(to, r.ToTag(), tag, ref.Code)
	}
	for _, h := range []Header{{"From", r.Get("From")}, {"To", to}, {"Call-ID", r.Get("Call-ID")}, {"CSeq", r.Get("CSeq")}} {
		if h.Value != "" { // missing from some that are refused for it
			w.header(h.Name, h.Value)
		}
	}
	w.headers(ref.Headers)
	p := Packet{Data: w.body(body)}
	if len(vias) > 0 {
		p.Conn, p.Hops = replyPath(vias[0], flow)
	}
	return p
}

// withTag is a To value for a response: 100 adds no tag, anything else must
// have one (RFC 3261 section 8.2.6.2).
func withTag(to, has, tag string, code int) string {
	if has != "" || tag == "" || code == 100 {
		return to
	}
	return to + ";tag=" + tag
}

// AnswerOptions is the 200 for an OPTIONS outside a dialog (RFC 3261 section
// 11.2): a probe by an edge, mostly.
func AnswerOptions(r *Request, flow Flow, tag, product string) Packet {
	return Respond(r, flow, tag, Refusal{200, "OK", []Header{
		{"Allow", Allow}, {"Accept", Accept}, {"Supported", Supported}, {"Server", product},
	}}, nil)
}

// Refusals the call flow needs.
var (
	NotFound        = Refusal{Code: 404, Reason: "Not Found"}
	NoSuchDialog    = Refusal{Code: 481, Reason: "Call/Transaction Does Not Exist"}
	NotAcceptable   = Refusal{488, "Not Acceptable Here", []Header{{"Warning", `399 trunkline "SRTP with a suite and codec of ours is required"`}}}
	ServerError     = Refusal{Code: 500, Reason: "Server Internal Error"}
	mergedRequest   = Refusal{Code: 482, Reason: "Loop Detected"}
	requestPending  = Refusal{Code: 491, Reason: "Request Pending"}
	notImplemented  = Refusal{501, "Not Implemented", []Header{{"Allow", Allow}}}
	notInThisDialog = Refusal{405, "Method Not Allowed", []Header{{"Allow", Allow}}}
)

// Unavailable is 503 with Retry-After.
func Unavailable(retryAfter int) Refusal {
	return Refusal{503, "Service Unavailable", []Header{{"Retry-After", strconv.Itoa(retryAfter)}}}
}

// reasonPhrases are for codes an order may name.
var reasonPhrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
	200: "OK", 302: "Moved Temporarily", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
	410: "Gone", 415: "Unsupported Media Type", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
	482: "Loop Detected", 484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
	503: "Service Unavailable", 504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline", 606: "Not Acceptable",
}

// ReasonPhrase is the usual phrase of a status code.
func ReasonPhrase(code int) string {
	if s, ok := reasonPhrases[code]; ok {
		return s
	}
	switch {
	case code < 200:
		return "Progress"
	case code < 300:
		return "OK"
	case code < 400:
		return "Redirected"
	case code < 500:
		return "Refused"
	case code < 600:
		return "Server Failure"
	}
	return "Declined"
}
