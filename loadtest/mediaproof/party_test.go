package main

import (
	"net/netip"
	"testing"
)

// call is a pair of parties whose packets need no relay between them.
func call(t *testing.T, s suite) (a, b *party) {
	t.Helper()
	g, err := newGenerator(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	a, b = g.add(s, s)
	for p, far := range map[*party]*party{a: b, b: a} {
		if err := p.connect(side{addr: far.sock.addr, key: far.key}); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// next is the party's next packet as it goes out.
func (p *party) next() []byte {
	p.talk(make([]byte, 0, datagramSize), 0)
	d := p.sock.out
	return append([]byte(nil), d.bufs[d.n-1][:d.iovs[d.n-1].Len]...)
}

// Every packet is judged by its content, not only counted.
func TestEveryPacketIsJudged(t *testing.T) {
	for _, s := range []suite{cm80, gcm128, gcm256, plain} {
		a, b := call(t, s)
		expect := func(what string, packet []byte, want verdict) {
			t.Helper()
			if v, _ := b.check(append([]byte(nil), packet...)); v != want {
				t.Errorf("%q, %s: verdict %d, want %d", s, what, v, want)
			}
		}
		first, second, third := a.next(), a.next(), a.next()
		expect("in order", first, good)
		expect("one left out", third, good)
		expect("behind a later one", second, late)
		expect("twice", second, double)
		bad := append([]byte(nil), a.next()...)
		bad[100] ^= 1
		if s == plain {
			expect("a bit of the payload", bad, altered)
		} else {
			expect("a bit of the payload", bad, unauthentic)
		}
		expect("its own party's", b.next(), map[bool]verdict{true: altered, false: unauthentic}[s == plain])
		expect("a report", []byte{0x80, 200, 0, 1, 0, 0, 0, 0}, control)
	}
}

// A relay that authenticates and then sends something else is found out.
func TestAnotherPayloadUnderAGoodTagIsFoundOut(t *testing.T) {
	a, b := call(t, gcm128)
	packet := a.packet(nil, 0, 0)
	a.sent = 1
	packet[headerSize+50] ^= 1
	sealed, err := a.out.EncryptRTP(nil, packet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := b.check(sealed); v != altered {
		t.Errorf("verdict %d", v)
	}
}

func TestARelaysDescriptionIsRead(t *testing.T) {
	const text = "v=0\r\nc=IN IP4 127.0.0.9\r\nm=audio 40000 RTP/SAVP 8\r\n" +
		"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA|2^20\r\n" +
		"a=crypto:7 AEAD_AES_128_GCM inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
	f := func(text string, s suite, tag string, ok bool) {
		t.Helper()
		r, err := readSide(text, s)
		if (err == nil) != ok || ok && (r.tag != tag || r.addr.String() != "127.0.0.9:40000" || len(r.key) != params[s].key+params[s].salt) {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
	f(text, cm80, "1", true)
	f(text, gcm128, "7", true) // without padding, as rtpengine writes it
	f(text, gcm256, "", false)
	f("v=0\r\nm=audio 40000 RTP/AVP 8\r\n", plain, "", false)
}
