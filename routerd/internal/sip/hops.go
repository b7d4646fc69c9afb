package sip

import (
	"cmp"
	"net"
	"slices"
	"strconv"
)

// Ways a call goes on beyond us: how often it may be passed on still
// (Max-Forwards), whether it came back (loops), and where a redirection sends
// it.

// usualForwards is what a request without Max-Forwards may be passed on, and
// what ours begin with (RFC 3261 section 8.1.1.6).
const usualForwards = 70

// hopsLeft is how often a request may still be passed on.
func (r *Request) hopsLeft() int {
	if n := r.maxForwards(); n >= 0 {
		return n
	}
	return usualForwards
}

// forwards is the Max-Forwards of a request of ours: only the INVITE that
// begins a dialog goes on for somebody.
func (l *Leg) forwards(method string) string {
	if method == "INVITE" && !l.r.Server && l.r.State == Pending && l.r.Hops > 0 {
		return strconv.Itoa(l.r.Hops)
	}
	return strconv.Itoa(usualForwards)
}

// Passed reports whether the request went through one of the addresses
// (host:port) before it came here: it is one of theirs that came back (RFC 3261
// section 16.3).
func (r *Request) Passed(addresses []string) bool {
	vias, err := r.list("Via")
	if err != nil {
		return false
	}
	for _, text := range vias {
		v, err := parseVia(text)
		if err != nil {
			continue
		}
		port := v.Port
		if port == 0 {
			port = 5060
		}
		if slices.Contains(addresses, net.JoinHostPort(v.Host, strconv.Itoa(port))) {
			return true
		}
	}
	return false
}

// targets are the URIs of a 3xx, the most wanted first (RFC 3261 section
// 20.10: q, 1 if it is not given).
func (h *head) targets() (uris []string) {
	type target struct {
		uri string
		q   float64
	}
	var all []target
	contacts, _ := h.list("Contact")
	for _, c := range contacts {
		a, err := parseNameAddr(c)
		if err != nil || a.URI == "*" {
			continue
		}
		q := 1.0
		if v, ok := a.Params.Get("q"); ok {
			if n, err := strconv.ParseFloat(v, 64); err == nil && n >= 0 && n <= 1 {
				q = n
			}
		}
		all = append(all, target{a.URI, q})
	}
	slices.SortStableFunc(all, func(a, b target) int { return cmp.Compare(b.q, a.q) })
	for _, t := range all {
		uris = append(uris, t.uri)
	}
	return uris
}
