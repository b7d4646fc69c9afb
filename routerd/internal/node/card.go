package node

import (
	"fmt"
	"strings"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// cardHeader carries the caller's card to an agent's phone or the program beside
// it: key="value" pairs. The edges take off only names that begin with X-Trunkline.
const cardHeader = "X-Card"

// maxCardHeader bounds it, in bytes: an INVITE by UDP must not need fragments.
const maxCardHeader = 500

// cardHeaders tell an agent who gives the call away and why (I7), by RFC 3892 and
// RFC 3261 section 20.36, and what is known of the caller (N7).
func cardHeaders(card []acd.Attr, host string) (out []sip.Header) {
	var pairs []string
	size := 0
	for _, at := range card {
		switch at.Key {
		case acd.CardTransferredBy:
			out = append(out, sip.Header{Name: "Referred-By", Value: fmt.Sprintf("<sip:%s@%s>", userPart(at.Value), host)})
			continue
		case acd.CardTransferReason:
			if v := headerText(at.Value); v != "" {
				out = append(out, sip.Header{Name: "Subject", Value: v})
			}
			continue
		}
		pair := userPart(at.Key) + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(headerText(at.Value)) + `"`
		if size += len(pair) + 2; size <= maxCardHeader {
			pairs = append(pairs, pair)
		}
	}
	if len(pairs) > 0 {
		out = append(out, sip.Header{Name: cardHeader, Value: strings.Join(pairs, "; ")})
	}
	return out
}

// headerText makes text safe to stand in a header: valid UTF-8 on one line.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.TrimSpace(s)
}
