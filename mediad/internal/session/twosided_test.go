package session

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/ports"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// loopbackIsPlain allows the test's phones plain RTP.
func loopbackIsPlain(c *Config) { c.Plain = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// proxied is a call by offer and answer, as Kamailio's module sends them.
type proxied struct {
	e        *Engine
	id       string
	from, to string
	a, b     *phone
	flags    mediaapi.Request // of offers and answers
}

// call makes a's call to b and returns what b was offered and a was answered.
func (p *proxied) call(t *testing.T) (offered, answered string) {
	t.Helper()
	return p.offer(t, p.a, p.b, p.from, p.to, "")
}

// offer has one side make an offer and the other answer it.
func (p *proxied) offer(t *testing.T, from, to *phone, fromTag, toTag, known string) (offered, answered string) {
	t.Helper()
	r := p.flags
	r.Command, r.CallID, r.FromTag, r.ToTag, r.SDP = mediaapi.Offer, p.id, fromTag, known, from.offer()
	out := do(t, p.e, r)
	r.Command, r.ToTag, r.SDP = mediaapi.Answer, toTag, to.answerTo(out.SDP)
	back := do(t, p.e, r)
	from.use(back.SDP)
	return out.SDP, back.SDP
}

// talk checks that both hear each other, to the octet.
func talk(t *testing.T, a, b *phone, words string) {
	t.Helper()
	a.send(words + " there")
	if h := b.hear(); h.payload != words+" there" {
		t.Errorf("%+v", h)
	}
	b.send(words + " and back")
	if h := a.hear(); h.payload != words+" and back" {
		t.Errorf("%+v", h)
	}
}

func media(t *testing.T, text string) *sdp.Media {
	t.Helper()
	m, err := sdp.ParseUnguarded(text)
	if err != nil {
		t.Fatal(err, text)
	}
	return m
}

// Either side may have SRTP in either suite, or none where configuration allows
// it; what they say arrives as it was said.
func TestSidesTalkWhateverProtectsThem(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain)
	f := func(a, b srtp.Suite, transport string) {
		t.Helper()
		p := proxied{e: e, id: string(a + b), from: "ft", to: "tt", a: newPhone(t, a, false), b: newPhone(t, b, true), flags: mediaapi.Request{Transport: transport}}
		offered, answered := p.call(t)
		if m := media(t, offered); m.Mux || len(m.Codecs) != 1 || len(m.Events) != 1 {
			t.Errorf("offered what the caller has not:\n%s", offered)
		}
		talk(t, p.a, p.b, string(a+b))
		if strings.Contains(answered, "crypto") != (a != srtp.Plain) {
			t.Errorf("%s is answered\n%s", a, answered)
		}
		// A repeat of either message changes nothing.
		r := mediaapi.Request{Command: mediaapi.Answer, CallID: p.id, FromTag: "ft", ToTag: "tt", SDP: p.b.answerTo(offered)}
		if again := do(t, e, r); again.SDP != answered {
			t.Errorf("a repeated answer changed")
		}
		talk(t, p.a, p.b, "still")
		do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: p.id, FromTag: "ft"})
	}
	f(srtp.AESCM128SHA180, srtp.AEAD128GCM, "RTP/SAVP")
	f(srtp.AEAD128GCM, srtp.AESCM128SHA180, "")
	f(srtp.Plain, srtp.AESCM128SHA180, "RTP/SAVP")
	f(srtp.AESCM128SHA180, srtp.Plain, "RTP/AVP")
	f(srtp.Plain, srtp.Plain, "")
	if legs, _ := e.Load(); legs != 0 {
		t.Errorf("%d legs left", legs)
	}
}

// A re-INVITE of either side changes that side alone: ports and keys stay, hold
// and its end go across, and a plain side may move.
func TestReinviteOfEitherSide(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain)
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.Plain, false), b: newPhone(t, srtp.AESCM128SHA180, false),
		flags: mediaapi.Request{Transport: "RTP/SAVP"}}
	offered, answered := p.call(t)
	talk(t, p.a, p.b, "1")

	p.a.direction, p.b.direction = sdp.SendOnly, sdp.RecvOnly
	p.a.version++
	held, back := p.offer(t, p.a, p.b, "ft", "tt", "tt")
	if d := media(t, held).Direction; d != sdp.SendOnly {
		t.Errorf("hold is offered as %s", d)
	}
	if d := media(t, back).Direction; d != sdp.RecvOnly {
		t.Errorf("hold is answered with %s", d)
	}
	if media(t, held).RTP != media(t, offered).RTP || string(media(t, held).Cryptos[0].Key) != string(media(t, offered).Cryptos[0].Key) ||
		media(t, back).RTP != media(t, answered).RTP {
		t.Error("hold moves ports or keys")
	}

	// The other side takes it back, under the transport each side has. Its flags
	// say nothing of that.
	p.a.direction, p.b.direction, p.flags = sdp.SendRecv, sdp.SendRecv, mediaapi.Request{}
	p.b.version++
	offered, answered = p.offer(t, p.b, p.a, "tt", "ft", "ft")
	if m, n := media(t, offered), media(t, answered); m.Proto != "RTP/AVP" || n.Proto != "RTP/SAVP" || m.Direction != sdp.SendRecv || n.Direction != sdp.SendRecv {
		t.Errorf("offered\n%s\nanswered\n%s", offered, answered)
	}
	talk(t, p.a, p.b, "2")

	// The plain side moves, and begins its sequence anew: no index comes twice.
	p.a.rtp, p.a.rtcp, p.a.seq = p.a.listen(), p.a.listen(), p.a.seq-2
	p.a.version++
	p.offer(t, p.a, p.b, "ft", "tt", "tt")
	talk(t, p.a, p.b, "3")
	if n := stats(t, e, "k", farLeg).AuthFailed; n != 0 {
		t.Errorf("%d packets did not authenticate", n)
	}
}

// Codec flags decide what the far side is offered, and what is taken of the near
// side; where they differ, speech is transcoded.
func TestCodecFlags(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	all := []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 111}, {Name: sdp.PCMU, Clock: 8000, PT: 0}, {Name: sdp.PCMA, Clock: 8000, PT: 8}}
	n := 0
	f := func(c mediaapi.Codecs, offer string, answers sdp.Codec, codec string) {
		t.Helper()
		n++
		p := proxied{e: e, id: string(rune('a' + n)), from: "ft", to: "tt", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AEAD128GCM, true),
			flags: mediaapi.Request{Codec: c}}
		p.a.codecs, p.b.codecs = all, []sdp.Codec{answers}
		offered, answered := p.call(t)
		var names []string
		for _, c := range media(t, offered).Codecs {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != offer {
			t.Errorf("%+v: offered %s, want %s", c, got, offer)
		}
		if got := media(t, answered).Codecs[0].Name; got != codec {
			t.Errorf("%+v: answered %s, want %s", c, got, codec)
		}
		if e := media(t, offered).Events; len(e) != 0 {
			t.Errorf("events are offered for a side without: %v", e)
		}
	}
	pcma, pcmu, opus := sdp.Codec{Name: sdp.PCMA, Clock: 8000, PT: 8}, sdp.Codec{Name: sdp.PCMU, Clock: 8000}, sdp.Codec{Name: sdp.Opus, Clock: 48000, PT: 96}
	f(mediaapi.Codecs{}, "opus PCMU PCMA", pcma, "PCMA")
	f(mediaapi.Codecs{Strip: []string{"opus"}}, "PCMU PCMA", pcmu, "PCMU")
	f(mediaapi.Codecs{Strip: []string{"all"}, Except: []string{"PCMA"}}, "PCMA", pcma, "PCMA")
	f(mediaapi.Codecs{Strip: []string{"all"}, Offer: []string{"PCMU"}}, "PCMU", pcmu, "PCMU")
	f(mediaapi.Codecs{Mask: []string{"opus"}}, "PCMU PCMA", pcma, "PCMA")
	f(mediaapi.Codecs{Mask: []string{"all"}, Transcode: []string{"PCMA/8000"}}, "PCMA", pcma, "PCMA")
	f(mediaapi.Codecs{Strip: []string{"PCMA"}, Transcode: []string{"PCMA"}}, "opus PCMU PCMA", pcma, "opus")
	f(mediaapi.Codecs{Consume: []string{"PCMU", "PCMA"}}, "opus", opus, "opus")
	refused(t, e, 488, mediaapi.Request{Command: mediaapi.Offer, CallID: "z", FromTag: "f", SDP: newPhone(t, srtp.AEAD128GCM, true).offer(), Codec: mediaapi.Codecs{Strip: []string{"all"}}})
	refused(t, e, 488, mediaapi.Request{Command: mediaapi.Offer, CallID: "z", FromTag: "f", SDP: newPhone(t, srtp.AEAD128GCM, true).offer(), Codec: mediaapi.Codecs{Mask: []string{"all"}, Transcode: []string{"G729"}}})
}

func refused(t *testing.T, e *Engine, code int64, r mediaapi.Request) mediaapi.Reply {
	t.Helper()
	reply, _ := e.Do(r)
	if reply.Result != mediaapi.ResultError || reply.Code != code {
		t.Errorf("%s: %+v, want %d", r.Command, reply, code)
	}
	return reply
}

func TestSuitesAndMuxByFlags(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	n := 0
	f := func(sdes, mux []string, want string, wantMux bool) {
		t.Helper()
		n++
		r := do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: string(rune('a' + n)), FromTag: "f", SDP: newPhone(t, srtp.AEAD128GCM, true).offer(),
			SDES: sdes, RTCPMux: mux})
		var got []string
		m := media(t, r.SDP)
		for _, c := range m.Cryptos {
			got = append(got, string(c.Suite))
		}
		if s := strings.Join(got, " "); s != want || m.Mux != wantMux {
			t.Errorf("%v %v: %s mux=%t", sdes, mux, s, m.Mux)
		}
	}
	const all = "AEAD_AES_128_GCM AES_CM_128_HMAC_SHA1_80 AEAD_AES_256_GCM AES_256_CM_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32"
	f(nil, nil, all, true)
	f([]string{"only-AES_CM_128_HMAC_SHA1_80"}, []string{"demux"}, "AES_CM_128_HMAC_SHA1_80", false)
	f([]string{"no-AEAD_AES_128_GCM", "no-AEAD_AES_256_GCM"}, nil, "AES_CM_128_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_80 AES_CM_128_HMAC_SHA1_32", true)
	f([]string{"order:AES_CM_128_HMAC_SHA1_32;AES_CM_128_HMAC_SHA1_80"}, nil,
		"AES_CM_128_HMAC_SHA1_32 AES_CM_128_HMAC_SHA1_80 AEAD_AES_128_GCM AEAD_AES_256_GCM AES_256_CM_HMAC_SHA1_80", true)
	refused(t, e, 488, mediaapi.Request{Command: mediaapi.Offer, CallID: "z", FromTag: "f", SDP: newPhone(t, srtp.AEAD128GCM, true).offer(), SDES: []string{"only-NULL"}})
}

// Plain RTP is refused unless configuration allows it to the very address, on
// either side and in either message; routers have to say so as well.
func TestPlainRTPNeedsConfiguration(t *testing.T) {
	plain, secure := newPhone(t, srtp.Plain, false), newPhone(t, srtp.AEAD128GCM, true)
	offer := mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "f", SDP: plain.offer(), Transport: "RTP/SAVP"}
	none := newEngine(t, "127.0.0.1")
	refused(t, none, 488, offer)
	refused(t, none, 488, mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "f", SDP: secure.offer(), Transport: "RTP/AVP"})
	elsewhere := newEngine(t, "127.0.0.2", func(c *Config) { c.Plain = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
	refused(t, elsewhere, 488, offer)
	out := do(t, elsewhere, mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "f", SDP: secure.offer(), Transport: "RTP/AVP"})
	refused(t, elsewhere, 488, mediaapi.Request{Command: mediaapi.Answer, CallID: "k", FromTag: "f", ToTag: "t", SDP: plain.answerTo(out.SDP)})
	here := newEngine(t, "127.0.0.3", loopbackIsPlain)
	refused(t, here, 488, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "k", Leg: "1", SDP: plain.offer()})
	do(t, here, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "k", Leg: "1", SDP: plain.offer(), Transport: "RTP/AVP"})
	// An answer can't be less than the offer.
	do(t, here, mediaapi.Request{Command: mediaapi.Offer, CallID: "s", FromTag: "f", SDP: secure.offer()})
	refused(t, here, 488, mediaapi.Request{Command: mediaapi.Answer, CallID: "s", FromTag: "f", ToTag: "t", SDP: plain.offer()})
	legs, _ := none.Load()
	if legs != 0 {
		t.Errorf("%d legs: a refusal left something behind", legs)
	}
}

// Two forks ring, each with ports and keys of its own; the one that answers is
// connected, the other one is deleted by its branch.
func TestForksByBranch(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b1, b2 := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	r := mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "ft", SDP: a.offer(), ViaBranch: "z1"}
	one := do(t, e, r)
	r.ViaBranch = "z2"
	two := do(t, e, r)
	if media(t, one.SDP).RTP == media(t, two.SDP).RTP {
		t.Error("forks share a port")
	}
	answer := func(b *phone, branch, tag, offer string) {
		t.Helper()
		a.use(do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "k", FromTag: "ft", ToTag: tag, ViaBranch: branch, SDP: b.answerTo(offer)}).SDP)
	}
	answer(b1, "z1", "t1", one.SDP) // early media of the first
	talk(t, a, b1, "early")
	answer(b2, "z2", "t2", two.SDP)
	talk(t, a, b2, "answered")
	do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "k", FromTag: "ft", ViaBranch: "z1"})
	talk(t, a, b2, "alone")
	if w := do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "k", FromTag: "nobody"}); w.Warning == "" {
		t.Error("a stranger's delete is not warned of")
	}
	refused(t, e, 481, mediaapi.Request{Command: mediaapi.Delete, CallID: "k", FromTag: "nobody", Flags: []string{"fatal"}})
	do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "k", FromTag: "t2", ToTag: "ft"})
	if legs, _ := e.Load(); legs != 0 {
		t.Errorf("%d legs left", legs)
	}
}

// The offer comes with the 200 and its answer with the ACK: from-tag is the
// called side's then. Who answers last is who is heard, without a branch too.
func TestDelayedOfferAndAnotherAnswer(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	p := proxied{e: e, id: "k", from: "callee", to: "caller", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AEAD128GCM, true),
		flags: mediaapi.Request{MessageType: "sip_reply"}}
	p.call(t)
	talk(t, p.a, p.b, "x")
	if l := e.calls["k"].leg("callee"); l.caller {
		t.Error("the called side is taken for the caller")
	}
	q := proxied{e: e, id: "q", from: "ft", to: "early", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AEAD128GCM, true)}
	offered, _ := q.call(t)
	late := newPhone(t, srtp.AEAD128GCM, true)
	q.a.use(do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "q", FromTag: "ft", ToTag: "late", SDP: late.answerTo(offered)}).SDP)
	talk(t, q.a, late, "late")
}

// A caller who tries again with another offer, after a 407 for example, is
// offered anew on the same ports.
func TestOfferIsMadeAnewBeforeItsAnswer(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AEAD128GCM, true)}
	first := do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "ft", SDP: p.a.offer()})
	p.a.version++
	p.a.codecs = append(p.a.codecs, sdp.Codec{Name: sdp.PCMU, Clock: 8000})
	offered, _ := p.call(t)
	if media(t, offered).RTP != media(t, first.SDP).RTP || len(media(t, offered).Codecs) != 2 {
		t.Errorf("%s", offered)
	}
	talk(t, p.a, p.b, "x")
}

// Nodes that can't take a call say so as Kamailio's module reads it, before
// anything is answered.
func TestClientIsSentToAnotherNode(t *testing.T) {
	offer := func(n string) mediaapi.Request {
		return mediaapi.Request{Command: mediaapi.Offer, CallID: n, FromTag: "f", SDP: newPhone(t, srtp.AEAD128GCM, true).offer(), Supports: []string{"load limit"}}
	}
	full := newEngine(t, "127.0.0.1", func(c *Config) { c.MaxLegs = 3 })
	do(t, full, offer("1"))
	if r := refused(t, full, 503, offer("2")); r.Reason != "Parallel session limit reached" {
		t.Errorf("%+v", r)
	}
	narrow := newEngine(t, "127.0.0.2", func(c *Config) { c.Ports = ports.Range{First: 31000, Last: 31003} })
	do(t, narrow, offer("1"))
	if r := refused(t, narrow, 503, offer("2")); r.Reason != "Ran out of ports" {
		t.Errorf("%+v", r)
	}
	busy := newEngine(t, "127.0.0.3", func(c *Config) { c.MaxCPU = 50 })
	do(t, busy, offer("1"))
	busy.pressure.Store(80)
	r, _ := busy.Do(offer("2"))
	if r.Result != mediaapi.ResultLoadLimit || r.Message == "" {
		t.Errorf("%+v", r)
	}
	old := offer("2")
	old.Supports = nil
	refused(t, busy, 503, old)
	do(t, busy, mediaapi.Request{Command: mediaapi.Query, CallID: "1"}) // what is there goes on
	for _, e := range []*Engine{full, narrow, busy} {
		if legs, _ := e.Load(); legs != 2 {
			t.Errorf("%d legs: a refusal left something behind", legs)
		}
	}
}

// Media and keys are kept from the other side by command: of all, or of one.
func TestBlocking(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain)
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.Plain, false), b: newPhone(t, srtp.AEAD128GCM, true), flags: mediaapi.Request{Transport: "RTP/SAVP"}}
	p.call(t)
	talk(t, p.a, p.b, "before")
	command := func(name string, flags ...string) {
		t.Helper()
		do(t, e, mediaapi.Request{Command: name, CallID: "k", FromTag: "ft", Flags: flags})
	}
	command(mediaapi.BlockMedia, "directional")
	p.a.send("not heard")
	p.b.send("heard")
	if h := p.a.hear(); h.payload != "heard" {
		t.Errorf("%+v", h)
	}
	command(mediaapi.UnblockMedia) // of all: the one alone stays
	before := stats(t, e, "k", "ft").Packets
	p.a.send("not heard")
	until(t, "it came while blocked", func() bool { return stats(t, e, "k", "ft").Packets > before })
	command(mediaapi.UnblockMedia, "directional")
	talk(t, p.a, p.b, "unblocked") // and nothing of before

	command(mediaapi.SilenceMedia, "directional")
	p.a.send("secret")
	if h := p.b.hear(); h.payload != strings.Repeat("\xd5", 6) {
		t.Errorf("%q is no silence", h.payload)
	}
	command(mediaapi.UnsilenceMedia, "directional")

	command(mediaapi.BlockDTMF)
	p.a.pt = 101
	p.a.send("\x05\x80\x03\x20")
	p.a.pt = 8
	talk(t, p.a, p.b, "no key") // b would have heard it first
	command(mediaapi.UnblockDTMF)
	p.a.pt = 101
	p.a.send("\x06\x80\x03\x20")
	if h := p.b.hear(); h.pt != 101 {
		t.Errorf("%+v", h)
	}
	if r := refused(t, e, 501, mediaapi.Request{Command: mediaapi.StartForwarding, CallID: "k"}); r.Reason == "" {
		t.Error("no reason")
	}
	if n := stats(t, e, "k", "ft").Misplaced; n != 0 {
		t.Errorf("%d blocked packets count as misplaced", n)
	}
}

// Prompts, keys, queries and subscriptions name the sides by their tags.
func TestCommandsNameSidesByTag(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AESCM128SHA180, true), flags: mediaapi.Request{SetLabel: "side"}}
	p.call(t)
	talk(t, p.a, p.b, "x")
	if r := do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "k", FromTag: "tt", Prompt: "/srv/sounds/short.wav", Repeat: 2}); r.Duration != 200 {
		t.Errorf("%+v", r)
	}
	if h := p.b.hear(); h.payload != "short PCMA frame 0" {
		t.Errorf("%+v", h)
	}
	do(t, e, mediaapi.Request{Command: mediaapi.StopMedia, CallID: "k", FromTag: "tt"})
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "k", FromTag: "tt", Code: "7"})
	for h := p.a.hear(); h.pt != 101; h = p.a.hear() {
	}
	r := do(t, e, mediaapi.Request{Command: mediaapi.Query, CallID: "k", FromTag: "ft"})
	ft, tt := r.Tags["ft"], r.Tags["tt"]
	if len(r.Tags) != 2 || ft.InCall[0] != "tt" || tt.InCall[0] != "ft" || ft.Label != "side" || tt.Label != "side" || r.Totals.RTP.Packets != 2 ||
		ft.Medias[0].Streams[0].Crypto != string(srtp.AEAD128GCM) || ft.Medias[0].Streams[0].Endpoint.Port != int64(port(p.a.rtp)) || r.Created == 0 {
		t.Errorf("%+v", r)
	}
	refused(t, e, 481, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "k", FromTag: "nobody", Prompt: "short"})
	do(t, e, mediaapi.Request{Command: mediaapi.Connect, CallID: "k", FromTag: "ft", ToTag: "tt"})
	refused(t, e, 501, mediaapi.Request{Command: mediaapi.Connect, CallID: "k", FromTag: "ft", ToTag: "tt", ToCallID: "other"})
}

// Somebody subscribes and hears both parties, mixed, until he has had enough.
func TestSubscription(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain)
	p := proxied{e: e, id: "k", from: "ft", to: "tt", a: newPhone(t, srtp.AEAD128GCM, true), b: newPhone(t, srtp.AEAD128GCM, true)}
	ask := mediaapi.Request{Command: mediaapi.SubscribeRequest, CallID: "k", All: "all", Transport: "RTP/AVP"}
	refused(t, e, 481, ask)
	p.call(t)
	one := ask
	one.All, one.FromTags = "", []string{"ft"}
	refused(t, e, 488, one)
	r := do(t, e, ask)
	if d := media(t, r.SDP).Direction; d != sdp.SendOnly || len(r.FromTags) != 2 || r.ToTag == "" || len(r.TagMedias) != 2 {
		t.Errorf("%s %+v", d, r)
	}
	w := newPhone(t, srtp.Plain, false)
	w.direction = sdp.RecvOnly
	do(t, e, mediaapi.Request{Command: mediaapi.SubscribeAnswer, CallID: "k", ToTag: r.ToTag, SDP: w.answerTo(r.SDP)})
	stop := time.Now().Add(patience)
	for i := 0; w.peekNothing(); i++ { // both speak until he hears something
		talk(t, p.a, p.b, strings.Repeat("x", 150))
		if time.Now().After(stop) {
			t.Fatal("hears nothing")
		}
	}
	do(t, e, mediaapi.Request{Command: mediaapi.Unsubscribe, CallID: "k", ToTag: r.ToTag})
	refused(t, e, 481, mediaapi.Request{Command: mediaapi.Unsubscribe, CallID: "k", ToTag: r.ToTag})
	talk(t, p.a, p.b, "on")
	if legs, _ := e.Load(); legs != 2 {
		t.Errorf("%d legs", legs)
	}
}

// peekNothing waits a packet's time for something to hear.
func (p *phone) peekNothing() bool {
	_, ok := p.read(p.rtp, frameTime)
	return !ok
}
