package endpoint

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// outgoing is a request being written. Headers go out in the order given.
type outgoing struct {
	method string
	branch string
	b      strings.Builder
}

// newToken returns n random bytes in hex: tags, branches, Call-IDs.
func newToken(n int) string {
	buf := make([]byte, n)
	_, _ = rand.Read(buf) // never fails (crypto/rand)
	return hex.EncodeToString(buf)
}

// newRequest writes the start line, Via and Max-Forwards.
func newRequest(method, uri string, f *flow, branch string) *outgoing {
	o := &outgoing{method: method, branch: branch}
	fmt.Fprintf(&o.b, "%s %s SIP/2.0\r\n", method, uri)
	fmt.Fprintf(&o.b, "Via: SIP/2.0/%s %s;rport;branch=%s\r\nMax-Forwards: 70\r\n", f.transport, f.local, branch)
	return o
}

func newBranch() string { return "z9hG4bK" + newToken(10) }

func (o *outgoing) header(name, value string) *outgoing {
	o.b.WriteString(name)
	o.b.WriteString(": ")
	o.b.WriteString(value)
	o.b.WriteString("\r\n")
	return o
}

// bytes ends the message with its body.
func (o *outgoing) bytes(contentType, body string) []byte {
	if body != "" {
		o.header("Content-Type", contentType)
	}
	o.header("Content-Length", strconv.Itoa(len(body)))
	o.b.WriteString("\r\n")
	o.b.WriteString(body)
	return []byte(o.b.String())
}

// headerValues returns every value of a header that may be a list, split at
// the commas that are not inside <> or quotes (RFC 3261 section 7.3.1).
func headerValues(msg sip.Message, name string) []string {
	var out []string
	for _, h := range msg.GetHeaders(name) {
		out = append(out, splitList(h.Value())...)
	}
	return out
}

func splitList(s string) []string {
	var out []string
	depth, quoted, from := 0, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			depth++
		case c == '>':
			depth--
		case c == ',' && depth == 0:
			out = append(out, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	if last := strings.TrimSpace(s[from:]); last != "" {
		out = append(out, last)
	}
	return out
}

// bareURI takes the URI out of a name-addr.
func bareURI(nameAddr string) string {
	if _, rest, ok := strings.Cut(nameAddr, "<"); ok {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(nameAddr, ";")
	return strings.TrimSpace(uri)
}

// uriAddr returns the address of a URI whose host is an IP literal.
func uriAddr(uri string) (netip.AddrPort, bool) {
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil {
		return netip.AddrPort{}, false
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(ip, uint16(port)), true
}

func headerValue(msg sip.Message, name string) string {
	if h := msg.GetHeaders(name); len(h) > 0 {
		return h[0].Value()
	}
	return ""
}

// tagOf returns the tag of a From or To value.
func tagOf(params sip.HeaderParams) string {
	tag, _ := params.Get("tag")
	return tag
}

// newResponse answers req with the given To tag (none for 100).
func newResponse(req *sip.Request, code int, reason, tag string, headers [][2]string, contentType, body string) []byte {
	if to := req.To(); to != nil && tag != "" && !to.Params.Has("tag") {
		to.Params.Add("tag", tag)
	}
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	for _, h := range headers {
		res.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	if body != "" {
		res.AppendHeader(sip.NewHeader("Content-Type", contentType))
	}
	res.SetBody([]byte(body))
	return []byte(res.String())
}
