package sip

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Param is one ;name=value of a header value. Value is as received, quotes
// included.
type Param struct{ Name, Value string }

// Params are the parameters of one header value, in order.
type Params []Param

// Get returns the value of a parameter, without surrounding quotes.
func (p Params) Get(name string) (string, bool) {
	for _, kv := range p {
		if strings.EqualFold(kv.Name, name) {
			return unquote(kv.Value), true
		}
	}
	return "", false
}

// NameAddr is a From, To, Contact, Route or similar value (RFC 3261 section 20.10).
type NameAddr struct {
	Display string // as received, quotes removed
	URI     string // without angle brackets
	Params  Params
}

// User is the user part of the address's URI, unescaped as far as it can be.
func (a NameAddr) User() string {
	u, err := ParseURI(a.URI)
	if err != nil {
		return ""
	}
	return u.User
}

// Via is one Via value (RFC 3261 section 20.42).
type Via struct {
	Transport string // upper case
	Host      string // IPv6 without brackets
	Port      int    // 0: none given
	Params    Params
}

// Branch is the transaction id, empty for RFC 2543 clients.
func (v Via) Branch() string { b, _ := v.Params.Get("branch"); return b }

// unquote removes the quotes of a quoted-string and its backslashes.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// splitOutside cuts s at every sep that is neither in a quoted string nor in
// angle brackets. Quotes inside brackets do not count: a URI has none.
func splitOutside(s string, sep byte) ([]string, error) {
	var out []string
	quoted, angle := false, false
	start := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"' && !angle:
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == sep && !angle:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("unterminated quoted string")
	}
	if angle {
		return nil, errors.New("unterminated angle bracket")
	}
	return append(out, strings.TrimSpace(s[start:])), nil
}

// splitList cuts a header value with several comma-separated elements. Empty
// elements are malformed.
func splitList(s string) ([]string, error) {
	parts, err := splitOutside(s, ',')
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if p == "" {
			return nil, errors.New("empty list element")
		}
	}
	return parts, nil
}

// parseParams reads ";a=b;c" (the leading semicolon already removed).
func parseParams(s string) (Params, error) {
	parts, err := splitOutside(s, ';')
	if err != nil {
		return nil, err
	}
	out := make(Params, 0, len(parts))
	for _, p := range parts {
		name, value, has := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !isToken(name) {
			return nil, fmt.Errorf("bad parameter name %q", name)
		}
		if has && value == "" {
			return nil, fmt.Errorf("parameter %s has no value", name)
		}
		if has && value[0] != '"' && strings.ContainsAny(value, " \t\",;<>") {
			return nil, fmt.Errorf("bad value of parameter %s", name)
		}
		out = append(out, Param{name, value})
	}
	return out, nil
}

// parseNameAddr reads one name-addr or addr-spec with its parameters.
func parseNameAddr(s string) (NameAddr, error) {
	var a NameAddr
	s = strings.TrimSpace(s)
	rest := s
	if strings.HasPrefix(s, `"`) {
		end := quotedEnd(s)
		if end < 0 {
			return a, errors.New("unterminated display name")
		}
		a.Display = unquote(s[:end])
		rest = strings.TrimSpace(s[end:])
		if !strings.HasPrefix(rest, "<") {
			return a, errors.New("display name without <uri>")
		}
	} else if i := strings.IndexByte(s, '<'); i > 0 {
		a.Display = strings.TrimSpace(s[:i])
		for _, word := range strings.Fields(a.Display) {
			if !isToken(word) {
				return a, fmt.Errorf("bad display name %q", a.Display)
			}
		}
		rest = s[i:]
	}
	if strings.HasPrefix(rest, "<") {
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return a, errors.New("unterminated <uri>")
		}
		a.URI = rest[1:end]
		rest = strings.TrimSpace(rest[end+1:])
		if rest != "" && rest[0] != ';' {
			return a, errors.New("text after <uri>")
		}
		rest = strings.TrimPrefix(rest, ";")
	} else {
		// RFC 3261 section 20: without brackets, parameters belong to the header,
		// and the URI has neither comma, question mark nor semicolon.
		a.URI, rest, _ = strings.Cut(rest, ";")
		a.URI = strings.TrimSpace(a.URI)
		if strings.ContainsAny(a.URI, ",?") {
			return a, errors.New("URI with , or ? needs angle brackets")
		}
	}
	if a.URI != "*" {
		if _, err := ParseURI(a.URI); err != nil {
			return a, err
		}
	}
	if rest != "" {
		p, err := parseParams(rest)
		if err != nil {
			return a, err
		}
		a.Params = p
	}
	return a, nil
}

// quotedEnd is the index after the closing quote of the quoted string s starts
// with, or -1.
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// parseVia reads one Via element. White space is allowed around the slashes
// and the colon (RFC 4475 section 3.1.1.1).
func parseVia(s string) (Via, error) {
	var v Via
	proto, rest, ok := cutN(s, '/', 2)
	if !ok || len(proto) != 2 {
		return v, errors.New("bad protocol")
	}
	// Another version is refused by the start line, with a 505 that must find
	// its way back.
	if !strings.EqualFold(strings.TrimSpace(proto[0]), "SIP") || !isToken(strings.TrimSpace(proto[1])) {
		return v, errors.New("protocol is not SIP")
	}
	rest = strings.TrimLeft(rest, " \t")
	i := strings.IndexAny(rest, " \t")
	if i < 0 {
		return v, errors.New("no sent-by")
	}
	v.Transport = strings.ToUpper(rest[:i])
	if !isToken(v.Transport) {
		return v, errors.New("bad transport")
	}
	sentBy, params, has := strings.Cut(strings.TrimSpace(rest[i:]), ";")
	host, port, err := splitSentBy(strings.TrimSpace(sentBy))
	if err != nil {
		return v, err
	}
	v.Host, v.Port = host, port
	if has {
		if v.Params, err = parseParams(params); err != nil {
			return v, err
		}
	}
	return v, nil
}

// cutN cuts n fields ending in sep off the front of s.
func cutN(s string, sep byte, n int) (fields []string, rest string, ok bool) {
	for range n {
		i := strings.IndexByte(s, sep)
		if i < 0 {
			return nil, s, false
		}
		fields = append(fields, s[:i])
		s = s[i+1:]
	}
	return fields, s, true
}

// splitSentBy splits host [COLON port], with an IPv6 reference or spaces
// around the colon.
func splitSentBy(s string) (host string, port int, err error) {
	host = s
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errors.New("unterminated IPv6 reference")
		}
		host, s = s[1:end], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, s = strings.TrimSpace(s[:i]), s[i:]
	} else {
		s = ""
	}
	s = strings.TrimSpace(s)
	if s != "" {
		if s[0] != ':' {
			return "", 0, errors.New("text after host")
		}
		n, err := strconv.ParseUint(strings.TrimSpace(s[1:]), 10, 16)
		if err != nil || n == 0 {
			return "", 0, errors.New("bad port")
		}
		port = int(n)
	}
	if !isHost(host) {
		return "", 0, fmt.Errorf("bad host %q", host)
	}
	return host, port, nil
}

func isHost(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == ':' || c == '%') {
			return false
		}
	}
	return true
}

// isToken reports whether s is an RFC 3261 token.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// parseCSeq reads "number method" (number below 2^31, RFC 3261 section 8.1.1.5).
func parseCSeq(s string) (uint32, string, error) {
	f := strings.Fields(s)
	if len(f) != 2 {
		return 0, "", errors.New("want a number and a method")
	}
	n, err := strconv.ParseUint(f[0], 10, 31)
	if err != nil {
		return 0, "", errors.New("number out of range")
	}
	if !isToken(f[1]) {
		return 0, "", errors.New("bad method")
	}
	return uint32(n), f[1], nil
}
