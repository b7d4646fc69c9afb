package sip

import (
	"net"
	"strings"
	"testing"
	"unicode"
)

// FuzzValues: what a header value's parser takes can be written again, and
// means the same then.
func FuzzValues(f *testing.F) {
	for _, s := range []string{
		`"J Rosenberg \\\"" <sip:jdrosen@example.com;lr>;tag=98asjd8;x="a;b"`, "sip:user@[2001:db8::10]:5070;tag=1", "<tel:+74950000001;phone-context=x>",
		"SIP / 2.0 / TCP  spindle.example.com : 5062 ; branch = z9hG4bK9ikj8;rport;received=[::1]", "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bK",
		"1 INVITE", "776656 1 INVITE", "90;refresher=uas", "sip:a%40b%00:pass@host;transport=tcp;maddr=x?Subject=y", "soap.beep://192.0.2.103:3002", "<sip:a@b?Replaces=x>, *",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := ParseURI(s); err == nil {
			if strings.ContainsFunc(u.User, unicode.IsControl) && !strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("escapes brought out control characters: %q", u.User)
			}
			if h, ok := hopOf(s, "tcp"); ok {
				if _, _, err := net.SplitHostPort(h.Addr); err != nil {
					t.Errorf("a hop that is no address: %q: %v", h.Addr, err)
				}
			}
		}
		if v, err := parseVia(s); err == nil {
			again, err := parseVia(setParam(setParam(s, "received", "127.0.0.1"), "rport", "5060"))
			if err != nil || again.Host != v.Host || again.Port != v.Port || again.Branch() != v.Branch() {
				t.Errorf("stamped %q: %+v, was %+v: %v", s, again, v, err)
			}
		}
		if a, err := parseNameAddr(s); err == nil && a.URI != "*" {
			again, err := parseNameAddr("<" + a.URI + ">")
			if err != nil || again.URI != a.URI || again.User() != a.User() {
				t.Errorf("%q has the URI %q, which is read as %+v: %v", s, a.URI, again, err)
			}
			if tag, ok := a.Params.Get("tag"); ok && tag == "" {
				t.Logf("empty tag in %q", s)
			}
		}
		if parts, err := splitList(s); err == nil {
			if again, err := splitList(strings.Join(parts, ", ")); err != nil || len(again) != len(parts) {
				t.Errorf("%q: %d parts, joined %d: %v", s, len(parts), len(again), err)
			}
		}
		parseCSeq(s)
		sessionExpires(s)
		deltaSeconds(s)
	})
}

// FuzzRefer: where a far end wants a call to go, and which call is to be replaced,
// come without what could become another header.
func FuzzRefer(f *testing.F) {
	f.Add("<sip:+74950000001@b?Replaces=abc%40sbc%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only>")
	f.Add("<sip:a%0d%0aX%3a@b>")
	f.Add("<sip:a@b?Replaces=x%3Bto-tag%3D1%0d%0aX:y%3Bfrom-tag%3D2>;x")
	f.Add("tel:+74950000001;method=BYE")
	f.Add("abc@sbc;to-tag=1;from-tag=2")
	f.Fuzz(func(t *testing.T, s string) {
		if !isPrintable(s) {
			return // refused before
		}
		clean := func(what, v string) {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%q gives %s %q", s, what, v)
			}
		}
		if to, err := ParseReferTo(s); err == nil {
			clean("user", to.User)
			if r := to.Replaces; r != nil {
				clean("Replaces", r.CallID+r.ToTag+r.FromTag)
			}
		}
		if r, err := ParseReplaces(s); err == nil {
			clean("Replaces", r.CallID+r.ToTag+r.FromTag)
		}
		rack(s)
	})
}

// FuzzCredentials: no Authorization value lets anybody in who has no password.
func FuzzCredentials(f *testing.F) {
	f.Add(`Digest username="ann", realm="trunkline", nonce="x", uri="sip:a", response="0", qop=auth, nc=00000001, cnonce="y", algorithm=SHA-256`)
	f.Add(`Digest username="ann",realm="trunkline",nonce="",uri="",response=""`)
	f.Add("NoOneKnowsThisScheme opaque-data=here")
	auth := testAuthenticator()
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return
		}
		msg, err := Parse(register("+Authorization: " + s))
		if err != nil {
			return
		}
		if proof, ref := auth.Check(regTime, msg.(*Request)); ref == nil {
			t.Errorf("%q let %+v in", s, proof)
		}
	})
}

// FuzzRecord: a record is written by another router, so it may be of any
// version or broken; it is refused or can be gone on with.
func FuzzRecord(f *testing.F) {
	client, _ := NewClientLeg(start, routerLocal(), agentParams())
	for _, l := range []*Leg{talking(f), client} {
		b, err := l.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xbf})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := new(Leg)
		if l.UnmarshalBinary(b) != nil {
			return
		}
		again, err := l.MarshalBinary()
		if err != nil {
			t.Fatalf("a record that was read can't be written: %v", err)
		}
		if err := new(Leg).UnmarshalBinary(again); err != nil {
			t.Fatalf("and not be read again: %v", err)
		}
	})
}
