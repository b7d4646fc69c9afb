package sip

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Registration is a REGISTER, read (RFC 3261 section 10.3, RFC 3327, RFC 5626).
type Registration struct {
	User      string // of the address of record (To)
	Domain    string
	CallID    string
	CSeq      uint32
	Contacts  []Binding
	RemoveAll bool // Contact: * with Expires: 0
	Path      []string
	UserAgent string
	Outbound  bool // the client supports RFC 5626
}

// Binding is one contact. Expires 0 removes it.
type Binding struct {
	URI      string
	Expires  time.Duration
	Instance string // +sip.instance, without quotes
	RegID    int    // reg-id, 0 for none
}

// RegistrarPolicy bounds how long bindings live.
type RegistrarPolicy struct {
	Min, Default, Max time.Duration
}

// ParseRegister reads a validated REGISTER. No contact at all only asks for
// the present ones.
func ParseRegister(req *Request, p RegistrarPolicy) (Registration, *Refusal) {
	bad := func(reason string) (Registration, *Refusal) {
		return Registration{}, &Refusal{Code: 400, Reason: reason}
	}
	aor, err := ParseURI(req.to.URI)
	for _, name := range []string{"To", "Contact", "Path"} {
		for _, v := range req.Values(name) {
			if !utf8.ValidString(v) {
				return bad("Malformed " + name)
			}
		}
	}
	if err != nil || aor.User == "" || aor.Scheme == "tel" {
		ref := NotFound
		return Registration{}, &ref
	}
	seq, _ := req.CSeq()
	reg := Registration{
		User: aor.User, Domain: aor.Host, CallID: req.CallID(), CSeq: seq, UserAgent: strings.ToValidUTF8(req.Get("User-Agent"), "?"),
		Outbound: req.hasOption("Supported", "outbound"),
	}
	// A Path is kept even if the client does not say it supports it (RFC 3327
	// section 5.3 leaves that to policy): an edge added it, and nothing reaches
	// the phone without.
	if reg.Path, err = req.list("Path"); err != nil {
		return bad("Malformed Path")
	}
	if len(reg.Path) > maxPath {
		return bad("Too Many Proxies In Path")
	}
	def := p.Default
	if v := req.Get("Expires"); v != "" {
		d, ok := deltaSeconds(v)
		if !ok {
			return bad("Malformed Expires")
		}
		def = d
	}
	contacts, err := req.list("Contact")
	if err != nil {
		return bad("Malformed Contact")
	}
	for _, c := range contacts {
		a, err := parseNameAddr(c)
		if err != nil {
			return bad("Malformed Contact")
		}
		if a.URI == "*" {
			if len(contacts) > 1 || req.Get("Expires") == "" || def != 0 {
				return bad("Wildcard Contact Needs Expires: 0 Alone")
			}
			reg.RemoveAll = true
			return reg, nil
		}
		b, ref := binding(a, def, p)
		if ref != nil {
			return Registration{}, ref
		}
		reg.Contacts = append(reg.Contacts, b)
	}
	return reg, reg.flows()
}

// maxPath bounds the proxies between a phone and us.
const maxPath = 8

// flows applies RFC 5626 section 6: reg-id means nothing from a client that does
// not support outbound, names one flow in a REGISTER, and needs a first hop that
// keeps the flow, which it says by ob in its Path.
func (r *Registration) flows() *Refusal {
	flows := 0
	for i := range r.Contacts {
		switch b := &r.Contacts[i]; {
		case !r.Outbound:
			b.RegID = 0
		case b.RegID > 0 && b.Expires > 0:
			flows++
		}
	}
	switch {
	case flows > 1:
		return &Refusal{Code: 400, Reason: "More Than One Flow In A Registration"}
	case flows == 1 && !r.firstHopKeepsFlows():
		return &Refusal{Code: 439, Reason: "First Hop Lacks Outbound Support"}
	}
	return nil
}

// firstHopKeepsFlows looks at the Path value next to the phone, the last one.
func (r *Registration) firstHopKeepsFlows() bool {
	if len(r.Path) == 0 {
		return false
	}
	a, err := parseNameAddr(r.Path[len(r.Path)-1])
	if err != nil {
		return false
	}
	u, err := ParseURI(a.URI)
	if err != nil {
		return false
	}
	_, ok := u.Params.Get("ob")
	return ok
}

// Source is the address a phone's REGISTER came from, as the edge next to it says
// in its Path; "" where it doesn't.
func Source(path []string) string {
	if len(path) == 0 {
		return ""
	}
	a, err := parseNameAddr(path[len(path)-1])
	if err != nil {
		return ""
	}
	u, err := ParseURI(a.URI)
	if err != nil {
		return ""
	}
	received, _ := u.Params.Get("received")
	from, err := url.PathUnescape(received)
	if err != nil {
		return ""
	}
	phone, err := ParseURI(from)
	if err != nil {
		return ""
	}
	return phone.Host
}

// Path are the values of a request's Path, none if they can't be read.
func (r *Request) Path() []string {
	path, err := r.list("Path")
	if err != nil {
		return nil
	}
	return path
}

func binding(a NameAddr, expires time.Duration, p RegistrarPolicy) (Binding, *Refusal) {
	u, err := ParseURI(a.URI)
	if err != nil || u.Scheme != "sip" && u.Scheme != "sips" {
		return Binding{}, &Refusal{Code: 400, Reason: "Unsupported Contact URI"}
	}
	b := Binding{URI: a.URI, Expires: expires}
	if v, ok := a.Params.Get("expires"); ok {
		// RFC 3261 section 20.10: a malformed value counts as 3600.
		if d, ok := deltaSeconds(v); ok {
			b.Expires = d
		} else {
			b.Expires = time.Hour
		}
	}
	b.Instance, _ = a.Params.Get("+sip.instance")
	if v, ok := a.Params.Get("reg-id"); ok && b.Instance != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return Binding{}, &Refusal{Code: 400, Reason: "Malformed reg-id"}
		}
		b.RegID = int(n)
	}
	if b.Expires > 0 && b.Expires < p.Min {
		return Binding{}, &Refusal{423, "Interval Too Brief", []Header{{"Min-Expires", seconds(p.Min)}}}
	}
	if p.Max > 0 {
		b.Expires = min(b.Expires, p.Max)
	}
	return b, nil
}

// deltaSeconds reads a number of seconds; values beyond 2^32-1 are clipped to
// a year, like other absurd ones.
func deltaSeconds(v string) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n, 365*86400)) * time.Second, true
}

// flowTimer is how often a phone is to show that its flow lives (RFC 5626 section
// 4.4.1): an edge that is dead is then noticed within it, and the phone registers
// that flow anew by another.
const flowTimer = 60 * time.Second

// RegisterOK is the 200 to a REGISTER with all bindings the address of record
// has now; Expires is what each has left. There is no Service-Route: phones
// keep to the edge they registered through.
func RegisterOK(req *Request, flow Flow, tag, product string, bindings []Binding) Packet {
	var h []Header
	outbound := false
	for _, b := range bindings {
		v := "<" + b.URI + ">;expires=" + strconv.Itoa(int((b.Expires+time.Second-1)/time.Second))
		if b.Instance != "" {
			v += `;+sip.instance="` + b.Instance + `"`
		}
		if b.RegID > 0 {
			v += ";reg-id=" + strconv.Itoa(b.RegID)
			outbound = true
		}
		h = append(h, Header{"Contact", v})
	}
	if req.hasOption("Supported", "path") {
		for _, p := range req.Values("Path") {
			h = append(h, Header{"Path", p})
		}
	}
	if outbound && req.hasOption("Supported", "outbound") {
		h = append(h, Header{"Require", "outbound"}, Header{"Flow-Timer", seconds(flowTimer)})
	}
	h = append(h, Header{"Supported", "path, outbound"}, Header{"Server", product})
	return Respond(req, flow, tag, Refusal{200, "OK", h}, nil)
}
