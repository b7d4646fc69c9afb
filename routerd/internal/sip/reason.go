package sip

import (
	"strconv"
	"strings"
)

// Reason is the header that says why a BYE, CANCEL or refusal was sent: a SIP
// code and its meaning (RFC 3326).
func Reason(cause int, text string) Header {
	return Header{"Reason", "SIP;cause=" + strconv.Itoa(cause) + `;text="` + quotable(text) + `"`}
}

// quotable makes a text safe inside a quoted-string: printable ASCII, without
// quotes and backslashes.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// maxReason bounds a Reason that is carried across.
const maxReason = 256

// reasonOfFar is the Reason of a request or refusal as it came, to be carried
// to the other leg; "" if there is none, or one that can't be.
func reasonOfFar(h *head) string {
	v := h.Get("Reason")
	if len(v) > maxReason {
		return ""
	}
	return v
}
