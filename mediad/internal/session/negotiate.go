package session

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// Payload type numbers of our own offers; the static ones are RFC 3551's.
var ownFormats = []sdp.Codec{
	{Name: sdp.Opus, Clock: 48000, PT: 96},
	{Name: sdp.PCMA, Clock: 8000, PT: 8},
	{Name: sdp.PCMU, Clock: 8000, PT: 0},
}

var (
	event           = sdp.Codec{Name: sdp.Event, Clock: 8000, PT: 101}
	eventBesideOpus = sdp.Codec{Name: sdp.Event, Clock: 48000, PT: 97}
)

func parseSDP(text string, parse func(string) (*sdp.Media, error)) (*sdp.Media, error) {
	m, err := parse(text)
	switch {
	case errors.Is(err, sdp.ErrMalformed):
		return nil, refuse(400, "%v", err)
	case err != nil:
		return nil, refuse(488, "%v", err)
	}
	return m, nil
}

// legAccept answers an offer.
func (e *Engine) legAccept(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c, err := e.openCall(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	l := c.leg(r.Leg)
	if l != nil && l.PeerSDP == r.SDP && l.Agreed {
		return l.reply(), nil, nil
	}
	if err := badLink(r.Link); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	m, err := e.parsePeer(r.SDP, strings.EqualFold(r.Transport, "RTP/AVP"))
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	codec, crypto, err := choose(m, r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := c.sameFamily(m); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	fresh := l == nil
	if fresh {
		if l, err = e.addLeg(c, r.Leg); err != nil {
			return mediaapi.Reply{}, nil, err
		}
	}
	if err := l.accept(acceptance{media: m, text: r.SDP, codec: codec, crypto: crypto, most: sdp.SendRecv}); err != nil {
		if fresh {
			e.removeLeg(l)
		}
		return mediaapi.Reply{}, nil, err
	}
	l.reachedBy(r.Link)
	return l.reply(), c, nil
}

// choose picks one codec and one suite from an offer: by the request's order
// where it has one, else by the peer's.
func choose(m *sdp.Media, r *mediaapi.Request) (sdp.Codec, sdp.Crypto, error) {
	codec, ok := pick(m.Codecs, r.Codecs, func(c sdp.Codec) string { return c.Name })
	if !ok {
		return codec, sdp.Crypto{}, refuse(488, "no acceptable codec")
	}
	var wanted []srtp.Suite
	for _, s := range r.Suites {
		wanted = append(wanted, srtp.Suite(strings.ToUpper(s)))
	}
	crypto, ok := pickCrypto(m, wanted)
	if !ok {
		return codec, crypto, refuse(488, "no acceptable crypto suite")
	}
	return codec, crypto, nil
}

// pickCrypto picks one key of an offer, by the wanted order if there is one; where
// keys do not come by SDES, none is fine.
func pickCrypto(m *sdp.Media, wanted []srtp.Suite) (sdp.Crypto, bool) {
	if m.Protection() != sdp.BySDES {
		return sdp.Crypto{}, true
	}
	if len(wanted) == 0 {
		return m.Cryptos[0], true
	}
	for _, w := range wanted {
		for _, c := range m.Cryptos {
			if c.Suite == w {
				return c, true
			}
		}
	}
	return sdp.Crypto{}, false
}

func pick[T any](have []T, want []string, name func(T) string) (T, bool) {
	if len(want) == 0 {
		return have[0], true
	}
	for _, w := range want {
		for _, h := range have {
			if strings.EqualFold(name(h), w) {
				return h, true
			}
		}
	}
	var none T
	return none, false
}

// sameFamily: a socket of ours reaches its own address family only.
func (c *call) sameFamily(m *sdp.Media) error {
	if m.ICE == nil && m.RTP.Addr().Unmap().Is4() != c.host.addr.Unmap().Is4() {
		return refuse(488, "media address is of another IP version")
	}
	return nil
}

// acceptance is an offer, and what of it is taken.
type acceptance struct {
	media  *sdp.Media
	text   string
	codec  sdp.Codec
	crypto sdp.Crypto    // where keys come by SDES
	most   sdp.Direction // what we may do at most
}

// accept takes an offer into force, the first or a later one.
func (l *leg) accept(a acceptance) error {
	m, t, fresh := a.media, l.terms, false
	t.DTLS = nil
	t.PeerSDP, t.Offered, t.Formats, t.NextSDP = a.text, nil, nil, ""
	t.Proto = shortProto(m.Proto)
	switch m.Protection() {
	case sdp.Unguarded:
		t.Suite, t.PeerKey, t.LocalKey = srtp.Plain, nil, nil
	case sdp.ByDTLS:
		if t.DTLS, fresh = l.secured(m, l.DTLS, acceptSetup(m.DTLS.Setup)); fresh {
			t.Suite, t.PeerKey, t.LocalKey = "", nil, nil
		}
	default:
		if !l.Agreed || l.Suite != a.crypto.Suite {
			t.LocalKey = srtp.NewKey(a.crypto.Suite)
		}
		t.Suite, t.PeerKey = a.crypto.Suite, a.crypto.Key
	}
	l.place(&t, m)
	t.Direction = m.Direction.Reverse().And(a.most)
	t.Send = []sdp.Codec{a.codec}
	if ev, ok := m.Event(a.codec.Clock); ok {
		t.Send = append(t.Send, ev)
	}
	t.Receive = t.Send // an answer uses the offer's numbers both ways
	local := l.local(&t, t.Receive)
	if m.Protection() == sdp.BySDES {
		local.Cryptos = []sdp.Crypto{{Tag: a.crypto.Tag, Suite: t.Suite, Key: t.LocalKey}}
	}
	if t.DTLS != nil {
		t.DTLS.describe(&local, t.DTLS.Setup)
	}
	answer := local.Answer(m)
	if l.LocalSDP != "" && answer != l.LocalSDP {
		t.Version++
		local.Version++
		answer = local.Answer(m)
	}
	t.LocalSDP = answer
	return l.settle(t, fresh)
}

// place takes where the peer is. With ICE that is where its checks come from,
// whatever it says.
func (l *leg) place(t *terms, m *sdp.Media) {
	t.Mux = m.Mux
	switch {
	case m.ICE == nil:
		t.RTP, t.RTCP = m.RTP, m.RTCP
	case !l.Agreed || l.DTLS == nil:
		t.RTP, t.RTCP = netip.AddrPort{}, netip.AddrPort{}
	}
}

// local is our side of a leg under some terms, without keys.
func (l *leg) local(t *terms, codecs []sdp.Codec) sdp.Local {
	return sdp.Local{Session: t.Session, Version: t.Version, RTP: netip.AddrPortFrom(l.call.host.addr, l.Port),
		Mux: t.Mux, Direction: t.Direction, Codecs: codecs, Proto: t.Proto}
}

// shortProto is how terms name a transport: the usual one by "".
func shortProto(proto string) string {
	if proto == "RTP/SAVP" {
		return ""
	}
	return proto
}

func longProto(proto string) string {
	if proto == "" {
		return "RTP/SAVP"
	}
	return proto
}

// proto is the transport agreed on.
func (l *leg) proto() string { return longProto(l.Proto) }

// settle puts terms into force and fits sockets and connection to them.
// fresh: keys are to come by another handshake.
func (l *leg) settle(t terms, fresh bool) error {
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	old := l.DTLS
	if err := l.agree(t); err != nil {
		return err
	}
	l.fitBrowser(old, fresh)
	if err := l.fitRTCP(); err != nil {
		return err
	}
	if l.peer != nil {
		routeBoth(l, l.peer)
	}
	if l.player != nil {
		l.player.reformat(l)
	}
	l.keying.refit(s, l)
	l.call.remix()
	return nil
}

// legOffer makes our offer.
func (e *Engine) legOffer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c, err := e.openCall(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if l := c.leg(r.Leg); l != nil {
		if r.Renew && l.Agreed {
			return l.renewOffer(r)
		}
		if l.LocalSDP == "" {
			return mediaapi.Reply{}, nil, refuse(491, "leg has no offer of ours")
		}
		return l.reply(), nil, nil
	}
	if err := badLink(r.Link); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	formats, err := offeredFormats(r.Codecs)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	suites, err := offeredSuites(r.Suites)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	proto := longProto(strings.ToUpper(r.Transport))
	if p, ok := sdp.ProtectionOf(proto); !ok || p == sdp.Unguarded {
		return mediaapi.Reply{}, nil, refuse(488, "transport-protocol %s is not offered", r.Transport)
	}
	l, err := e.addLeg(c, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	l.propose(wish{formats: formats, suites: suites, proto: proto, mux: true, direction: sdp.SendRecv, ice: r.ICE != "remove"})
	l.reachedBy(r.Link)
	return l.reply(), c, nil
}

// propose makes our offer for a leg that has no terms yet. Nothing was ever sent
// under keys that were offered before.
func (l *leg) propose(w wish) {
	t := l.terms
	t.Offered, t.Formats, t.Mux, t.Direction = nil, w.formats, w.mux, w.direction
	t.OfferProto = shortProto(w.proto)
	local := l.local(&t, w.formats)
	local.Proto = t.OfferProto
	p, _ := sdp.ProtectionOf(w.proto)
	if t.DTLS = nil; p == sdp.ByDTLS {
		t.DTLS = l.call.shard.newSecure(w.ice)
		t.DTLS.Mid = "0"
		t.DTLS.describe(&local, sdp.ActPass)
	}
	if p == sdp.BySDES {
		for i, s := range w.suites {
			k := offeredKey{Tag: i + 1, Suite: s, Key: l.spareKey(s)}
			t.Offered = append(t.Offered, k)
			local.Cryptos = append(local.Cryptos, sdp.Crypto{Tag: k.Tag, Suite: k.Suite, Key: k.Key})
		}
	}
	if t.LocalSDP != "" && local.Offer() != t.LocalSDP {
		t.Version++
		local.Version++
	}
	t.LocalSDP = local.Offer()
	s := l.call.shard
	s.mu.Lock()
	l.terms = t
	l.fitBrowser(nil, true)
	s.mu.Unlock()
}

func offeredFormats(want []string) ([]sdp.Codec, error) {
	var formats []sdp.Codec
	for _, w := range want {
		i := slices.IndexFunc(ownFormats, func(c sdp.Codec) bool { return strings.EqualFold(c.Name, w) })
		if i >= 0 && !slices.Contains(formats, ownFormats[i]) {
			formats = append(formats, ownFormats[i])
		}
	}
	if len(want) == 0 {
		formats = slices.Clone(ownFormats)
	}
	if len(formats) == 0 {
		return nil, refuse(488, "no codec of those wanted is known")
	}
	if slices.Contains(formats, ownFormats[0]) {
		formats = append(formats, eventBesideOpus)
	}
	return append(formats, event), nil
}

func offeredSuites(want []string) ([]srtp.Suite, error) {
	if len(want) == 0 {
		return srtp.Suites(), nil
	}
	var suites []srtp.Suite
	for _, w := range want {
		if s := srtp.Suite(w); s.Known() && !slices.Contains(suites, s) {
			suites = append(suites, s)
		}
	}
	if len(suites) == 0 {
		return nil, refuse(488, "no crypto suite of those wanted is known")
	}
	return suites, nil
}

// legAnswer takes the answer to our offer.
func (e *Engine) legAnswer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if l.Agreed && l.PeerSDP == r.SDP && l.NextSDP == "" {
		return l.reply(), nil, nil
	}
	if len(l.Formats) == 0 {
		return mediaapi.Reply{}, nil, refuse(491, "leg has no offer of ours")
	}
	if err := badLink(r.Link); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	m, err := e.parsePeer(r.SDP, true) // it must be as we offered
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := l.call.sameFamily(m); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := l.answered(m, r.SDP); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	l.reachedBy(r.Link)
	return l.reply(), l.call, nil
}

func (l *leg) answered(m *sdp.Media, text string) error {
	t, fresh := l.terms, false
	t.PeerSDP = text
	if t.NextSDP != "" {
		t.LocalSDP, t.NextSDP = t.NextSDP, ""
	}
	offered, _ := sdp.ProtectionOf(longProto(l.OfferProto))
	if m.Protection() != offered {
		return refuse(488, "answer is %s where %s was offered", m.Proto, longProto(l.OfferProto))
	}
	t.Proto = shortProto(m.Proto)
	switch offered {
	case sdp.Unguarded:
		t.Suite, t.PeerKey, t.LocalKey = srtp.Plain, nil, nil
	case sdp.ByDTLS:
		if t.DTLS, fresh = l.secured(m, l.DTLS, answeredSetup(m.DTLS.Setup)); fresh {
			t.Suite, t.PeerKey, t.LocalKey = "", nil, nil
		}
	default:
		crypto := m.Cryptos[0] // an answer has one
		i := slices.IndexFunc(l.Offered, func(k offeredKey) bool { return k.Tag == crypto.Tag && k.Suite == crypto.Suite })
		if i < 0 {
			return refuse(488, "answer takes a crypto suite that was not offered")
		}
		t.Suite, t.LocalKey, t.PeerKey = crypto.Suite, l.Offered[i].Key, crypto.Key
		t.Offered = slices.Clone(l.Offered)
		t.Offered[i].Used = true
	}
	l.place(&t, m)
	t.Direction = m.Direction.Reverse()
	// In our order of preference, in their numbers.
	t.Send, t.Receive = nil, nil
	for _, ours := range t.Formats {
		theirs := m.Codecs
		if ours.Name == sdp.Event {
			theirs = m.Events
		}
		j := slices.IndexFunc(theirs, func(c sdp.Codec) bool { return c.Name == ours.Name && c.Clock == ours.Clock })
		if j >= 0 {
			t.Send = append(t.Send, theirs[j])
			t.Receive = append(t.Receive, ours)
		}
	}
	if len(t.Send) == 0 || t.Send[0].Name == sdp.Event {
		return refuse(488, "answer takes no codec that was offered")
	}
	return l.settle(t, fresh)
}

// offerReply is reply with our offer that is not answered yet.
func (l *leg) offerReply() mediaapi.Reply {
	r := l.reply()
	if l.NextSDP != "" {
		r.SDP = l.NextSDP
	}
	return r
}

func (l *leg) reply() mediaapi.Reply {
	return mediaapi.Reply{SDP: l.LocalSDP, Codec: l.codec(), Suite: string(l.Suite), Direction: string(l.Direction),
		Address: l.call.host.addr.String()}
}
