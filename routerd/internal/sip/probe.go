package sip

import (
	"strings"
)

// NewOptions is an OPTIONS outside any dialog (RFC 3261 section 11.1), which asks
// whoever URI leads to whether it is there. It belongs to no leg: its answer is
// told by Call-ID, and nothing is repeated, for the next question comes soon. Of p
// it takes the ids, URI, From, To, Headers and Hops.
func NewOptions(local Local, p ClientParams) Packet {
	network := local.Network
	if len(p.Hops) > 0 {
		network = p.Hops[0].Network
	}
	var w writer
	w.start("OPTIONS", p.URI, "SIP/2.0")
	w.header("Via", "SIP/2.0/"+strings.ToUpper(network)+" "+local.SentBy+";branch="+p.Branch)
	w.header("Max-Forwards", "70")
	w.header("From", withTag(p.From, "", local.Tag, 200))
	w.header("To", p.To)
	w.header("Call-ID", p.CallID)
	w.header("CSeq", "1 OPTIONS")
	w.header("Contact", "<"+local.Contact+">")
	w.header("Accept", "application/sdp")
	if local.Product != "" {
		w.header("User-Agent", local.Product)
	}
	w.headers(p.Headers)
	return Packet{Data: w.body(nil), Hops: p.Hops}
}

// FirstHop is the host of the first of a contact's Path values (RFC 3327).
func FirstHop(path []string) (host string, ok bool) {
	if len(path) == 0 {
		return "", false
	}
	a, err := parseNameAddr(path[0])
	if err != nil {
		return "", false
	}
	u, err := ParseURI(a.URI)
	return u.Host, err == nil && u.Host != ""
}
