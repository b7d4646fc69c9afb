package facts

import (
	"strings"
	"unicode/utf8"

	"trunkline/routerd/acd"
)

// What came in over SIP may hold any byte, and databases take only UTF-8
// without NUL. So a byte that is no part of a character, and NUL, are stored as
// the character of the private use area that has the byte's value above
// strange; the bytes of those characters themselves likewise. Nothing is lost:
// plain undoes fit, and the facts that come back chain to the same sum.
const (
	strange     = 0xf700
	strangeLead = 0xef // first byte of those characters in UTF-8
)

// fit makes a text fit for a database.
func fit(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, strangeLead) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0 || r == utf8.RuneError && n == 1 || r&^0xff == strange {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(strange + rune(c))
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// plain is the inverse of fit.
func plain(s string) string {
	if strings.IndexByte(s, strangeLead) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r&^0xff == strange {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// texts applies f to all texts of a fact. The machine's own copy stays as it is.
func texts(x acd.Fact, f func(string) string) acd.Fact {
	x.Kind = f(x.Kind)
	x.Call, x.Leg = acd.CallID(f(string(x.Call))), acd.LegID(f(string(x.Leg)))
	x.Agent, x.Queue, x.Node = acd.AgentID(f(string(x.Agent))), acd.QueueID(f(string(x.Queue))), acd.NodeID(f(string(x.Node)))
	for i, a := range x.Attrs {
		if c := (acd.Attr{Key: f(a.Key), Value: f(a.Value)}); c != a {
			attrs := append([]acd.Attr(nil), x.Attrs...)
			for j := i; j < len(attrs); j++ {
				attrs[j] = acd.Attr{Key: f(attrs[j].Key), Value: f(attrs[j].Value)}
			}
			x.Attrs = attrs
			break
		}
	}
	return x
}
