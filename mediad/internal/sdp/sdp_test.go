package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"trunkline/mediad/internal/srtp"
)

var (
	key30 = strings.Repeat("A", 40)
	key28 = strings.Repeat("B", 37) + "A=="
)

func text(lines ...string) string {
	return "v=0\r\no=u 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n"
}

// summary is what Parse found, in one line.
func summary(m *Media) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s mux=%v %s", m.RTP, m.RTCP, m.Mux, m.Direction)
	for _, c := range append(append([]Codec{}, m.Codecs...), m.Events...) {
		fmt.Fprintf(&b, " %d=%s/%d", c.PT, c.Name, c.Clock)
	}
	for _, c := range m.Cryptos {
		fmt.Fprintf(&b, " %d:%s", c.Tag, c.Suite)
	}
	return b.String()
}

func TestDescriptionsAreRead(t *testing.T) {
	f := func(want string, lines ...string) {
		t.Helper()
		m, err := Parse(text(lines...))
		if err != nil {
			t.Errorf("%v: %v", lines, err)
			return
		}
		if got := summary(m); got != want {
			t.Errorf("%v:\n got %s\nwant %s", lines, got, want)
		}
	}
	crypto := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key30
	f("192.0.2.1:4000 192.0.2.1:4001 mux=false sendrecv 8=PCMA/8000 0=PCMU/8000 1:AES_CM_128_HMAC_SHA1_80",
		"m=audio 4000 RTP/SAVP 8 0 3", crypto)
	f("192.0.2.9:4000 192.0.2.9:4000 mux=true recvonly 111=opus/48000 8=PCMA/8000 101=telephone-event/8000 102=telephone-event/48000 1:AES_CM_128_HMAC_SHA1_80 2:AEAD_AES_128_GCM",
		"m=audio 4000 RTP/SAVP 111 8 101 102", "c=IN IP4 192.0.2.9", "a=rtpmap:111 OPUS/48000/2", "a=rtpmap:101 telephone-event/8000",
		"a=rtpmap:102 telephone-event/48000", "a=rtcp-mux", "a=recvonly", crypto+"|2^31", "a=crypto:2 AEAD_AES_128_GCM inline:"+key28+" WSH=64")
	// The session's direction, an RTCP address of its own, video beside it, a line we can't use before one we can.
	f("192.0.2.1:4000 192.0.2.7:5555 mux=false inactive 8=PCMA/8000 7:AES_CM_128_HMAC_SHA1_80",
		"a=inactive", "m=video 9 RTP/SAVP 96", "m=audio 4000 RTP/SAVP 8", "a=rtcp:5555 IN IP4 192.0.2.7",
		"a=crypto:6 F8_128_HMAC_SHA1_80 inline:"+key30, strings.Replace(crypto, ":1", ":7", 1))
	f("0.0.0.0:4000 0.0.0.0:4001 mux=false sendonly 8=PCMA/8000 1:AES_CM_128_HMAC_SHA1_80",
		"m=audio 4000 RTP/SAVP 8", "c=IN IP4 0.0.0.0", crypto)
	f("[2001:db8::1]:4000 [2001:db8::1]:4001 mux=false sendrecv 0=PCMU/8000 1:AES_CM_128_HMAC_SHA1_80",
		"m=audio 3000 RTP/AVP 0", "m=audio 4000 RTP/SAVP 0", "c=IN IP6 2001:db8::1", crypto)
}

func TestUnusableDescriptionsAreRefused(t *testing.T) {
	f := func(want error, lines ...string) {
		t.Helper()
		if _, err := Parse(text(lines...)); !errors.Is(err, want) {
			t.Errorf("%v: got %v, want %v", lines, err, want)
		}
	}
	crypto := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
	f(ErrUnusable, "m=audio 4000 RTP/AVP 8", crypto+key30)
	f(ErrUnusable, "m=audio 4000 RTP/AVPF 8", crypto+key30)
	f(ErrUnusable, "m=audio 4000 TCP/RTP/SAVP 8", crypto+key30)
	f(ErrUnusable, "m=audio 0 RTP/SAVP 8", crypto+key30)
	f(ErrUnusable, "m=video 4000 RTP/SAVP 8", crypto+key30)
	f(ErrUnusable)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 9 18", crypto+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 72", "a=rtpmap:72 PCMA/8000", crypto+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", "c=IN IP4 media.example", crypto+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", "c=IN IP4 239.1.1.1", crypto+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30[1:])
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+"!!!!")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30+"|1:4")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30+";inline:"+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30+" UNENCRYPTED_SRTP")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30+" UNAUTHENTICATED_SRTP")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", crypto+key30+" KDR=2")
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", "a=crypto:1 AEAD_AES_128_GCM inline:"+key30)
	f(ErrUnusable, "m=audio 4000 RTP/SAVP 8", "a=crypto:1 NULL_HMAC_SHA1_80 inline:"+key30)
	f(ErrMalformed, "m=audio x RTP/SAVP 8")
	f(ErrMalformed, "hello")
}

// DTLS is taken with what makes it safe, or not at all.
func TestDTLSIsRead(t *testing.T) {
	print := "a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("0A:", 32), ":")
	f := func(want error, lines ...string) *Media {
		t.Helper()
		m, err := Parse(text(append([]string{"m=audio 9 UDP/TLS/RTP/SAVPF 8"}, lines...)...))
		if !errors.Is(err, want) {
			t.Errorf("%v: %v", lines, err)
		}
		return m
	}
	m := f(nil, "c=IN IP4 0.0.0.0", print, "a=setup:actpass", "a=rtcp-mux", "a=mid:0", "a=ice-ufrag:abcd", "a=ice-pwd:"+strings.Repeat("p", 22))
	if m.DTLS.Setup != ActPass || len(m.DTLS.Fingerprint) != 32 || m.ICE.Ufrag != "abcd" || m.Mid != "0" || m.Direction != SendRecv {
		t.Errorf("%+v %+v", m, m.DTLS)
	}
	if m = f(nil, print, "a=rtcp-mux"); m.DTLS.Setup != Active || m.ICE != nil {
		t.Errorf("%+v", m.DTLS)
	}
	f(ErrUnusable, print)
	f(ErrUnusable, "a=rtcp-mux", "a=setup:active")
	f(ErrUnusable, "a=rtcp-mux", "a=fingerprint:sha-1 "+strings.TrimSuffix(strings.Repeat("0A:", 20), ":"))
	f(ErrUnusable, "a=rtcp-mux", print, "a=setup:holdconn")
	f(ErrUnusable, "a=rtcp-mux", print, "a=ice-ufrag:abcd", "a=ice-pwd:short")
	l := Local{RTP: netip.MustParseAddrPort("192.0.2.1:20000"), Proto: "UDP/TLS/RTP/SAVPF", Mux: true, Direction: SendRecv, Codecs: []Codec{{PCMA, 8000, 8}},
		DTLS: &DTLS{Setup: Passive, Fingerprint: make([]byte, 32)}, ICE: &ICE{"abcd", strings.Repeat("p", 22)}, Mid: "a1"}
	m, err := Parse(l.Offer())
	if err != nil || m.DTLS.Setup != Passive || *m.ICE != *l.ICE || m.Mid != "a1" || len(m.DTLS.Fingerprint) != 32 {
		t.Errorf("%v\n%s", err, l.Offer())
	}
}

// Plain RTP is read by those alone that ask for it, and only where there is
// nothing better.
func TestPlainIsReadOnRequest(t *testing.T) {
	both := text("m=audio 4000 RTP/AVP 8", "m=audio 4002 RTP/SAVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key30)
	if m, err := ParseUnguarded(both); err != nil || m.RTP.Port() != 4002 || m.Protection() != BySDES {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := ParseUnguarded(text("m=audio 4000 RTP/AVPF 8")); err != nil || m.Protection() != Unguarded || m.Proto != "RTP/AVPF" {
		t.Errorf("%+v %v", m, err)
	}
}

func TestErrorsHoldNoKeys(t *testing.T) {
	secret := "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
	_, err := Parse(text("m=audio 4000 RTP/AVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+secret, "z!"+secret))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
}

func TestOwnDescriptionsAreRead(t *testing.T) {
	k := make(srtp.Key, 30)
	l := Local{Session: 5, Version: 2, RTP: netip.MustParseAddrPort("[2001:db8::2]:20000"), Mux: true, Direction: SendOnly,
		Codecs:  []Codec{{Opus, 48000, 96}, {PCMA, 8000, 8}, {Event, 8000, 101}},
		Cryptos: []Crypto{{Tag: 3, Suite: srtp.AESCM128SHA180, Key: k}}}
	f := func(got, want string) {
		t.Helper()
		m, err := Parse(got)
		if err != nil {
			t.Fatal(err, got)
		}
		if s := summary(m); s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
	const sums = "[2001:db8::2]:20000 [2001:db8::2]:20000 mux=true sendonly 96=opus/48000 8=PCMA/8000 101=telephone-event/8000 3:AES_CM_128_HMAC_SHA1_80"
	f(l.Offer(), sums)
	offer, err := Parse(text("m=video 9 RTP/SAVP 97 98", "m=audio 4000 RTP/SAVP 8", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key30,
		"m=audio 4002 RTP/SAVP 8"))
	if err != nil {
		t.Fatal(err)
	}
	answer := l.Answer(offer)
	f(answer, sums)
	first, last := strings.Index(answer, "m=video 0 RTP/SAVP 97 98"), strings.Index(answer, "m=audio 0 RTP/SAVP 8")
	if middle := strings.Index(answer, "m=audio 20000"); first < 0 || middle < first || last < middle {
		t.Errorf("sections out of order:\n%s", answer)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text("m=audio 4000 RTP/SAVP 111 8", "a=rtpmap:111 opus/48000/2", "a=rtcp:5 IN IP4 1.1.1.1", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key30+"|2^20 WSH=1"))
	f.Add(text("m=video 9 RTP/SAVP 97", "m=audio 4000 RTP/SAVP 0", "c=IN IP6 ::1", "a=crypto:1 AEAD_AES_128_GCM inline:"+key28))
	f.Add(text("m=audio 9 UDP/TLS/RTP/SAVPF 8", "a=rtcp-mux", "a=mid:0", "a=setup:actpass", "a=ice-ufrag:abcd", "a=ice-pwd:"+strings.Repeat("p", 22),
		"a=fingerprint:sha-256 "+strings.TrimSuffix(strings.Repeat("0A:", 32), ":")))
	f.Add(text("m=audio 4000 RTP/AVP 8"))
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseUnguarded(s)
		if err != nil {
			return
		}
		l := Local{RTP: netip.MustParseAddrPort("192.0.2.1:20000"), Direction: m.Direction.Reverse(), Codecs: m.Codecs, Cryptos: m.Cryptos,
			Proto: m.Proto, Mux: m.Mux, DTLS: m.DTLS, ICE: m.ICE, Mid: m.Mid}
		if _, err := ParseUnguarded(l.Offer()); err != nil {
			t.Errorf("%q: own offer does not parse: %v", s, err)
		}
		_ = l.Answer(m)
	})
}
