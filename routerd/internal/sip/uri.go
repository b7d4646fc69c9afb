package sip

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	sipgo "github.com/emiago/sipgo/sip"
)

// URI is what the engine reads of a SIP, SIPS or TEL URI (RFC 3261 section 19.1).
type URI struct {
	Scheme  string // lower case
	User    string // escapes decoded, see unescapeUser; for tel: the number
	Host    string // IPv6 without brackets
	Port    int    // 0: none given
	Params  Params
	Headers bool // has a ?headers part
}

// ParseURI reads a URI. A scheme other than sip, sips and tel gives a URI with
// nothing but the scheme.
func ParseURI(s string) (URI, error) {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '<' || s[i] == '>' || s[i] == '"' {
			return URI{}, errors.New("URI has a character that must be escaped")
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !isScheme(scheme) || rest == "" {
		return URI{}, errors.New("not a URI")
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	switch u.Scheme {
	case "tel":
		number, params, has := strings.Cut(rest, ";")
		u.User = number
		if has {
			p, err := parseParams(params)
			if err != nil {
				return URI{}, err
			}
			u.Params = p
		}
		return u, nil
	case "sip", "sips":
	default:
		return u, nil
	}
	var g sipgo.Uri
	if err := sipgo.ParseUri(s, &g); err != nil {
		return URI{}, fmt.Errorf("parse URI: %w", err)
	}
	u.User, u.Host, u.Port = unescapeUser(g.User), strings.Trim(g.Host, "[]"), g.Port
	if !isHost(u.Host) || u.Port < 0 || u.Port > 65535 {
		return URI{}, errors.New("URI has no valid host and port")
	}
	for _, kv := range g.UriParams {
		u.Params = append(u.Params, Param{kv.K, kv.V})
	}
	u.Headers = len(g.Headers) > 0
	return u, nil
}

// unescapeUser decodes the escapes of a user part (RFC 3261 section 19.1.2),
// once. One that would hide a control character, or is none, is left as it came:
// names go into numbers, files and reports.
func unescapeUser(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	d, err := url.PathUnescape(s)
	if err != nil || strings.ContainsFunc(d, unicode.IsControl) {
		return s
	}
	return d
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// Hop is where a packet can be sent: a network ("tcp" or "udp") and host:port.
type Hop struct {
	Network string `cbor:"1,keyasint"`
	Addr    string `cbor:"2,keyasint"`
}

// hopOf is the next hop a URI names. Without a transport parameter the
// engine's own network is used, since its edges speak nothing else. TLS hops
// can't be dialled: those belong to the edges.
func hopOf(uri, network string) (Hop, bool) {
	u, err := ParseURI(uri)
	if err != nil || u.Host == "" {
		return Hop{}, false
	}
	h := Hop{Network: network}
	if t, ok := u.Params.Get("transport"); ok {
		h.Network = strings.ToLower(t)
	}
	if u.Scheme == "sips" || h.Network != "tcp" && h.Network != "udp" {
		return Hop{}, false
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	h.Addr = net.JoinHostPort(u.Host, strconv.Itoa(port))
	return h, true
}

// isLoose reports whether a route-set element names a loose router (;lr).
func isLoose(route string) bool {
	a, err := parseNameAddr(route)
	if err != nil {
		return true
	}
	u, err := ParseURI(a.URI)
	if err != nil {
		return true
	}
	_, ok := u.Params.Get("lr")
	return ok
}
