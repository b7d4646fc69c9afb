package sip

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Replaces names a dialog by its tags as its recipient sees it (RFC 3891 section 3).
type Replaces struct {
	CallID    string
	ToTag     string // ours
	FromTag   string // the far end's
	EarlyOnly bool
}

// ParseReplaces reads the value of a Replaces header (RFC 3891 section 6.1).
func ParseReplaces(v string) (Replaces, error) {
	if strings.ContainsFunc(v, unicode.IsControl) { // escaped in a Refer-To: another header, if it went on
		return Replaces{}, errors.New("parse Replaces: control character")
	}
	id, rest, _ := strings.Cut(v, ";")
	r := Replaces{CallID: strings.TrimSpace(id)}
	p, err := parseParams(rest)
	if err != nil {
		return r, fmt.Errorf("parse Replaces: %w", err)
	}
	seen := map[string]bool{}
	for _, kv := range p {
		name := strings.ToLower(kv.Name)
		if seen[name] {
			return r, fmt.Errorf("parse Replaces: %s given twice", name)
		}
		seen[name] = true
		switch name {
		case "to-tag":
			r.ToTag = kv.Value
		case "from-tag":
			r.FromTag = kv.Value
		case "early-only":
			r.EarlyOnly = true
		}
	}
	if r.CallID == "" || r.ToTag == "" || r.FromTag == "" || strings.ContainsAny(r.CallID, " \t\r\n,<>") {
		return r, errors.New("parse Replaces: no Call-ID, to-tag or from-tag")
	}
	return r, nil
}

// Is tells whether r names the leg's dialog, which may be an early one of an INVITE
// of ours (RFC 3891 section 3).
func (r Replaces) Is(l *Leg) bool {
	if r.CallID != l.r.CallID || r.ToTag != l.r.LocalTag {
		return false
	}
	return r.FromTag == l.r.RemoteTag || l.earlyOf(r.FromTag) != nil
}

// Replaces reads what an INVITE wants to replace; nil for nothing. A refusal says
// what is wrong with it.
func (r *Request) Replaces() (*Replaces, *Refusal) {
	all := r.Values("Replaces")
	switch {
	case len(all) == 0:
		return nil, nil
	case r.Method != "INVITE" || len(all) > 1 || r.has("Join"): // RFC 3891 section 3, RFC 3911 section 4
		return nil, &badReplaces
	}
	v, err := ParseReplaces(all[0])
	if err != nil {
		return nil, &badReplaces
	}
	return &v, nil
}

var badReplaces = Refusal{Code: 400, Reason: "Malformed Replaces"}
