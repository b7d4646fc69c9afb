package sip

import (
	"net/url"
	"slices"
	"strings"
)

// Anonymous stands for a caller who withholds the number, or has none.
const Anonymous = "anonymous"

// Identity is who calls, and by which way the call came, as the far end's network
// asserts it. All of it is valid UTF-8.
type Identity struct {
	Number  string // or user, of the caller
	Private bool   // the caller asks that it be shown to nobody
	// Diverting is the number that was called first, if the call was diverted
	// before it came here, and Diversion why, in the words of RFC 5806.
	Diverting string
	Diversion string
}

// Shown is the number as anybody beyond the carrier may see it.
func (i Identity) Shown() string {
	if i.Private || i.Number == "" {
		return Anonymous
	}
	return i.Number
}

// Identity reads who calls: the first identity of P-Asserted-Identity (RFC 3325),
// since only trusted edges can reach us, else of Remote-Party-ID, which it
// replaced, else From; and whether Privacy (RFC 3323) or Remote-Party-ID ask to
// keep it. Of a diverted call it reads the first diversion, by Diversion (RFC
// 5806) or History-Info (RFC 7044). Headers that can't be read count as absent: a
// call is not lost over them.
func (r *Request) Identity() Identity {
	i := Identity{Number: r.Caller(), Private: r.wantsPrivacy()}
	if i.Diverting, i.Diversion = r.diversion(); i.Diverting == "" {
		i.Diverting, i.Diversion = r.history()
	}
	return i
}

// Caller is the calling number or user, whether it may be shown or not. It is
// valid UTF-8, like Dialled, whatever was sent.
func (r *Request) Caller() string {
	for _, a := range r.addresses("P-Asserted-Identity") {
		if a.User() != "" {
			return strings.ToValidUTF8(a.User(), "?")
		}
	}
	for _, a := range r.addresses("Remote-Party-ID") {
		if party, ok := a.Params.Get("party"); a.User() != "" && (!ok || strings.EqualFold(party, "calling")) {
			return strings.ToValidUTF8(a.User(), "?")
		}
	}
	return strings.ToValidUTF8(r.from.User(), "?")
}

// addresses are a header's values that can be read.
func (h *head) addresses(name string) []NameAddr {
	values, err := h.list(name)
	if err != nil {
		return nil
	}
	var out []NameAddr
	for _, v := range values {
		if a, err := parseNameAddr(v); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// wantsPrivacy: of the values of Privacy those that are about who calls. One
// that can't be read is taken for all of them.
func (r *Request) wantsPrivacy() bool {
	for _, line := range r.Values("Privacy") {
		for word := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ';' || c == ',' }) {
			switch strings.ToLower(strings.TrimSpace(word)) {
			case "none", "session", "critical", "history":
			default: // id, user, header, and what is to come
				return true
			}
		}
	}
	return slices.ContainsFunc(r.addresses("Remote-Party-ID"), func(a NameAddr) bool {
		party, ok := a.Params.Get("party")
		return (!ok || strings.EqualFold(party, "calling")) && hidden(a)
	})
}

// hidden tells the privacy parameter that RFC 5806 and Remote-Party-ID share.
func hidden(a NameAddr) bool {
	p, _ := a.Params.Get("privacy")
	return strings.EqualFold(p, "full") || strings.EqualFold(p, "uri")
}

// diversion is the first diversion: the last value, for each diverting party puts
// its own before the others (RFC 5806 section 5).
func (r *Request) diversion() (number, reason string) {
	all := r.addresses("Diversion")
	if len(all) == 0 || hidden(all[len(all)-1]) {
		return "", ""
	}
	first := all[len(all)-1]
	reason, _ = first.Params.Get("reason")
	return bounded(first.User()), bounded(strings.ToLower(reason))
}

// history is the first target of History-Info, if another one followed.
func (r *Request) history() (number, reason string) {
	all := r.addresses("History-Info")
	if len(all) < 2 {
		return "", ""
	}
	// By index: 1 is the first target, and the next one says why it was left.
	indexOf := func(a NameAddr) string { v, _ := a.Params.Get("index"); return v }
	slices.SortStableFunc(all, func(a, b NameAddr) int { return compareIndex(indexOf(a), indexOf(b)) })
	first, headers := all[0], ""
	if base, rest, ok := strings.Cut(first.URI, "?"); ok {
		first.URI, headers = base, rest
	}
	query, err := url.ParseQuery(strings.ReplaceAll(headers, ";", "%3B"))
	if err != nil {
		query = nil
	}
	for name, values := range query {
		if strings.EqualFold(name, "Privacy") && len(values) > 0 && !strings.EqualFold(values[0], "none") {
			return "", ""
		}
	}
	cause := ""
	if next, err := ParseURI(all[1].URI); err == nil {
		cause, _ = next.Params.Get("cause") // RFC 4458
	}
	for name, values := range query {
		if strings.EqualFold(name, "Reason") && len(values) > 0 && cause == "" {
			_, cause, _ = strings.Cut(values[0], "cause=")
			cause, _, _ = strings.Cut(cause, ";")
		}
	}
	return bounded(first.User()), diversionReasons[strings.TrimSpace(cause)]
}

// compareIndex orders indexes of History-Info, as 1.2 before 1.10.
func compareIndex(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	return slices.CompareFunc(as, bs, func(x, y string) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
}

// diversionReasons are the words of RFC 5806 for the causes of RFC 4458.
var diversionReasons = map[string]string{
	"302": "unconditional", "404": "unknown", "408": "no-answer", "480": "deflection", "486": "user-busy", "487": "deflection", "503": "out-of-service",
}

// bounded is a text as a card takes it.
func bounded(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "?") }

// ForwardedHeaders say of an INVITE of ours to a number that it was diverted, last
// diversion first, in both ways: those who read one mostly don't the other. host
// is the domain of our numbers.
func ForwardedHeaders(to string, diverted []string, host string) []Header {
	if len(diverted) == 0 {
		return nil
	}
	uri := func(number string) string { return "<sip:" + number + "@" + host + ";user=phone>" }
	var out []Header
	for _, number := range diverted {
		out = append(out, Header{"Diversion", uri(number) + ";reason=unknown;counter=1"})
	}
	index := "1"
	for i := len(diverted) - 1; i >= 0; i-- {
		v := uri(diverted[i]) + ";index=" + index
		if i < len(diverted)-1 {
			v += ";mp=" + index[:len(index)-2]
		}
		out = append(out, Header{"History-Info", v})
		index += ".1"
	}
	return append(out, Header{"History-Info", uri(to) + ";index=" + index + ";mp=" + index[:len(index)-2]})
}
