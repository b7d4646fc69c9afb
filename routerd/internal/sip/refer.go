package sip

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A far end transfers by REFER in its dialog (RFC 3515). One that is taken opens
// a subscription of which we tell by NOTIFY how the transfer goes, until a final
// code ends it; whether a NOTIFY is answered changes nothing for the call. The
// owner decides: Referred asks it, AcceptRefer or RefuseRefer is its answer.

// Referred: the far end wants its peer to be connected with To. It has no answer
// yet: AcceptRefer or RefuseRefer gives it, before anything else is done with the
// leg.
type Referred struct {
	To     ReferTarget
	By     string // Referred-By (RFC 3892) as received, or the far end's own address
	Reason string // Subject, where the far end says why

	req  *Request
	flow Flow
}

func (Referred) isEvent() {}

// ReferTarget is a Refer-To.
type ReferTarget struct {
	URI  URI
	User string // what was dialled: the user part, unescaped
	// Replaces is the dialog to take over (RFC 3891); nil for a blind transfer.
	Replaces *Replaces
}

// referSub is the subscription of the REFER that is under way.
type referSub struct {
	CSeq uint32 `cbor:"1,keyasint"` // of the REFER: names it in Event from the second one on
	ID   bool   `cbor:"2,keyasint,omitempty"`
	Mute bool   `cbor:"3,keyasint,omitempty"` // Refer-Sub: false (RFC 4488): nothing is told
	Last int    `cbor:"4,keyasint,omitempty"` // code told last
}

// referExpires is what a subscription says of its life, in seconds. It ends with
// the transfer, which is sooner.
const referExpires = 180

// Refusals of REFER.
var (
	badReferTo     = Refusal{Code: 400, Reason: "Malformed Refer-To"}
	oneReferTo     = Refusal{Code: 400, Reason: "One Refer-To Is Needed"} // RFC 3515 section 2.4.1
	inviteOnly     = Refusal{Code: 501, Reason: "Only INVITE Can Be Referred"}
	badReferTarget = Refusal{Code: 416, Reason: "Unsupported Refer-To Scheme"}
	badReferredBy  = Refusal{Code: 429, Reason: "Provide Referrer Identity"} // RFC 3892 section 5
)

// refer reads a REFER within the dialog. What can't be read is refused at once.
func (l *Leg) refer(req *Request, flow Flow) Output {
	no := func(ref Refusal) Output { return Output{Send: []Packet{l.answer(req, flow, ref, nil)}} }
	to, refused := readReferTo(req)
	switch {
	case refused != nil:
		return no(*refused)
	case l.r.State != Confirmed:
		return no(NoSuchDialog)
	case l.r.Refer != nil:
		return no(requestPending)
	}
	e := Referred{To: to, By: "<" + l.remoteURI() + ">", Reason: strings.ToValidUTF8(req.Get("Subject"), "?"), req: req, flow: flow}
	switch by := req.Values("Referred-By"); {
	case len(by) > 1:
		return no(badReferredBy)
	case len(by) == 1:
		if _, err := parseNameAddr(by[0]); err != nil {
			return no(badReferredBy)
		}
		e.By = by[0]
	}
	return Output{Events: []Event{e}}
}

// remoteURI is the far end's address of record in this dialog.
func (l *Leg) remoteURI() string {
	a, err := parseNameAddr(l.r.RemoteAddr)
	if err != nil {
		return "sip:anonymous@anonymous.invalid"
	}
	return a.URI
}

func readReferTo(req *Request) (ReferTarget, *Refusal) {
	all, err := req.list("Refer-To")
	if err != nil {
		return ReferTarget{}, &badReferTo
	}
	if len(all) != 1 {
		return ReferTarget{}, &oneReferTo
	}
	to, err := ParseReferTo(all[0])
	switch {
	case errors.Is(err, errNotINVITE):
		return to, &inviteOnly
	case errors.Is(err, errScheme):
		return to, &badReferTarget
	case err != nil:
		return to, &badReferTo
	}
	return to, nil
}

var (
	errNotINVITE = errors.New("method is not INVITE")
	errScheme    = errors.New("scheme is neither sip, sips nor tel")
)

// ParseReferTo reads the value of a Refer-To header (RFC 3515 section 2.1). Of the
// headers its URI asks for only Replaces has a meaning; others are refused by
// nobody and used by nobody.
func ParseReferTo(v string) (ReferTarget, error) {
	var t ReferTarget
	a, err := parseNameAddr(v)
	if err != nil {
		return t, fmt.Errorf("parse Refer-To: %w", err)
	}
	bare, headers, _ := strings.Cut(a.URI, "?")
	if t.URI, err = ParseURI(bare); err != nil {
		return t, fmt.Errorf("parse Refer-To: %w", err)
	}
	switch t.URI.Scheme {
	case "sip", "sips", "tel":
	default:
		return t, errScheme
	}
	if m, ok := t.URI.Params.Get("method"); ok && m != "INVITE" {
		return t, errNotINVITE
	}
	if _, err := url.PathUnescape(bare); err != nil {
		return t, fmt.Errorf("parse Refer-To: %w", err)
	}
	if t.URI.User == "" {
		return t, errors.New("parse Refer-To: no user")
	}
	t.User = strings.ToValidUTF8(t.URI.User, "?") // its escapes are decoded, and only once
	for _, h := range strings.Split(headers, "&") {
		name, value, _ := strings.Cut(h, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue
		}
		if t.Replaces != nil {
			return t, errors.New("parse Refer-To: two Replaces")
		}
		plain, err := url.PathUnescape(value)
		if err != nil {
			return t, fmt.Errorf("parse Refer-To: %w", err)
		}
		r, err := ParseReplaces(plain)
		if err != nil {
			return t, err
		}
		t.Replaces = &r
	}
	return t, nil
}

// AcceptRefer takes a REFER: 202 and the first NOTIFY, once what it asks for is
// committed with the record.
func (l *Leg) AcceptRefer(now Time, e Referred) Output {
	seq, _ := e.req.CSeq()
	sub := &referSub{CSeq: seq, ID: l.r.Referrals > 0, Mute: strings.EqualFold(strings.TrimSpace(e.req.Get("Refer-Sub")), "false")}
	l.r.Refer = sub
	l.r.Referrals++
	ref := Refusal{Code: 202, Reason: "Accepted", Headers: []Header{{"Contact", "<" + l.r.Local.Contact + ">"}}}
	if e.req.has("Refer-Sub") {
		ref.Headers = append(ref.Headers, Header{"Refer-Sub", strconv.FormatBool(!sub.Mute)})
	}
	o := Output{Commit: true, Send: []Packet{l.answer(e.req, e.flow, ref, nil)}}
	o.add(l.NotifyRefer(now, 100))
	return o
}

// RefuseRefer refuses a REFER at once.
func (l *Leg) RefuseRefer(e Referred, code int) Output {
	return Output{Send: []Packet{l.answer(e.req, e.flow, Refusal{Code: code, Reason: ReasonPhrase(code)}, nil)}}
}

// Referring tells whether the far end waits to hear of a transfer it asked for.
func (l *Leg) Referring() bool { return l.r.Refer != nil }

// NotifyRefer tells the far end how its transfer goes; a final code is the last
// word. Where nobody waits for it, or it was said already, it does nothing.
func (l *Leg) NotifyRefer(now Time, code int) Output {
	sub := l.r.Refer
	if sub == nil || sub.Last == code {
		return Output{}
	}
	sub.Last = code
	event, state := "refer", "active;expires="+strconv.Itoa(referExpires)
	if sub.ID {
		event += ";id=" + strconv.FormatUint(uint64(sub.CSeq), 10)
	}
	if code >= 200 {
		l.r.Refer = nil
		state = "terminated;reason=noresource"
	}
	if sub.Mute || l.r.State != Confirmed {
		return Output{Commit: true}
	}
	return l.sendRequest(now, "NOTIFY", []Header{
		{"Event", event}, {"Subscription-State", state}, {"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow},
		{"Content-Type", "message/sipfrag;version=2.0"},
	}, []byte("SIP/2.0 "+strconv.Itoa(code)+" "+ReasonPhrase(code)+"\r\n"))
}

// notified: a NOTIFY of ours was answered, or never will be. A far end that knows
// nothing of the subscription (481) or does not want it is told no more.
func (l *Leg) notified(code int) {
	if code >= 400 && code != 408 && code != 491 && code < 500 {
		l.r.Refer = nil
	}
}
