package sip

import (
	"strconv"
	"strings"
	"time"
)

// Allow are the methods the engine serves.
const Allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER"

// Accept are the bodies it understands.
const Accept = "application/sdp, " + dtmfRelay + ", " + dtmf

// Supported are the extensions it understands in a dialog (RFC 4028, 4488, 3891, 3262).
const Supported = "timer, norefersub, replaces, " + option100rel

var allowed = map[string]bool{
	"INVITE": true, "ACK": true, "CANCEL": true, "BYE": true, "OPTIONS": true,
	"INFO": true, "UPDATE": true, "PRACK": true, "REGISTER": true, "REFER": true,
}

// recognised are methods we know but do not serve: 405 and not 501.
var recognised = map[string]bool{
	"SUBSCRIBE": true, "NOTIFY": true, "MESSAGE": true, "PUBLISH": true,
}

// understood are the option tags that may be required of us.
var understood = map[string]bool{"timer": true, "norefersub": true, "replaces": true, option100rel: true}

// understoodByRegistrar are those a REGISTER may require (RFC 3327, 5626).
var understoodByRegistrar = map[string]bool{"path": true, "outbound": true}

// Policy bounds what requests may ask for.
type Policy struct {
	MinSE time.Duration // shortest session interval, RFC 4028 section 4 wants at least 90 s
}

// Validate inspects a request as RFC 3261 section 8.2 orders, before any state
// is made for it. nil means it may be served. ACK is never refused here:
// nothing may answer it.
func Validate(r *Request, p Policy) *Refusal {
	if r.Method == "ACK" {
		return nil
	}
	if !allowed[r.Method] {
		if recognised[r.Method] {
			return &notInThisDialog
		}
		return &notImplemented
	}
	u := r.RequestURI()
	switch {
	case u.Scheme != "sip" && u.Scheme != "sips" && u.Scheme != "tel":
		return &Refusal{Code: 416, Reason: "Unsupported URI Scheme"}
	case u.Headers:
		return &Refusal{Code: 400, Reason: "Request-URI With Headers"}
	case r.Branch() == "z9hG4bK":
		return &Refusal{Code: 400, Reason: "Empty Via Branch"}
	case r.maxForwards() == 0 && r.ToTag() == "" && r.Method == "INVITE":
		// It would go on as a request of ours (RFC 7332 section 3); what ends here
		// is served whatever is left (RFC 4475 section 3.3.11).
		return &Refusal{Code: 483, Reason: "Too Many Hops"}
	}
	if r.Method == "CANCEL" {
		return nil // RFC 3261 section 8.2.2.3: Require in CANCEL is ignored
	}
	known := understood
	if r.Method == "REGISTER" {
		known = understoodByRegistrar
	}
	if bad := unknownOptions(r, known); len(bad) > 0 {
		return &Refusal{420, "Bad Extension", []Header{{"Unsupported", strings.Join(bad, ", ")}}}
	}
	if ref := validateBody(r); ref != nil {
		return ref
	}
	if _, ref := r.Replaces(); ref != nil {
		return ref
	}
	if r.Method == "INVITE" {
		if c, err := r.list("Contact"); err != nil || len(c) != 1 || r.contact() == "" {
			return &Refusal{Code: 400, Reason: "INVITE Without One Contact"}
		}
		if !acceptsSDP(r) {
			return &Refusal{Code: 406, Reason: "Not Acceptable"}
		}
	}
	if r.Method == "INVITE" || r.Method == "UPDATE" {
		return validateTimer(r, p)
	}
	return nil
}

// maxForwards is the number of hops left, -1 where nothing says so.
func (r *Request) maxForwards() int {
	n, err := strconv.Atoi(r.Get("Max-Forwards"))
	if err != nil {
		return -1
	}
	return n
}

func unknownOptions(r *Request, known map[string]bool) []string {
	var bad []string
	req, _ := r.list("Require")
	for _, o := range req {
		if !known[strings.ToLower(o)] {
			bad = append(bad, o)
		}
	}
	return bad
}

func validateBody(r *Request) *Refusal {
	if len(r.Body()) == 0 || r.Method != "INVITE" && r.Method != "UPDATE" && r.Method != "PRACK" {
		return nil
	}
	if enc := r.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &Refusal{415, "Unsupported Media Type", []Header{{"Accept-Encoding", "identity"}}}
	}
	if mediaType(r.Get("Content-Type")) != "application/sdp" {
		return &Refusal{415, "Unsupported Media Type", []Header{{"Accept", "application/sdp"}}}
	}
	return nil
}

func acceptsSDP(r *Request) bool {
	if !r.has("Accept") {
		return true
	}
	types, err := r.list("Accept")
	if err != nil {
		return false
	}
	for _, t := range types {
		switch mediaType(t) {
		case "application/sdp", "application/*", "*/*":
			return true
		}
	}
	return false
}

// validateTimer refuses a session interval that is too short. Only a client
// that knows 422 gets it (RFC 4028 section 8.1): for others the 2xx asks more.
func validateTimer(r *Request, p Policy) *Refusal {
	if !r.has("Session-Expires") {
		return nil
	}
	d, _, ok := sessionExpires(r.Get("Session-Expires"))
	if !ok {
		return &Refusal{Code: 400, Reason: "Malformed Session-Expires"}
	}
	if d < p.MinSE && (r.hasOption("Supported", "timer") || r.hasOption("Require", "timer")) {
		return &Refusal{422, "Session Interval Too Small", []Header{{"Min-SE", seconds(p.MinSE)}}}
	}
	return nil
}

// sessionExpires reads "delta-seconds;refresher=x" (RFC 4028 section 4).
func sessionExpires(v string) (d time.Duration, refresher string, ok bool) {
	num, rest, has := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(num), 10, 31)
	if err != nil || n == 0 {
		return 0, "", false
	}
	if has {
		p, err := parseParams(rest)
		if err != nil {
			return 0, "", false
		}
		refresher, _ = p.Get("refresher")
	}
	return time.Duration(n) * time.Second, strings.ToLower(refresher), true
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
