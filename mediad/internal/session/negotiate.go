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

func parseSDP(text string) (*sdp.Media, error) {
	m, err := sdp.Parse(text)
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
	m, err := parseSDP(r.SDP)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	codec, crypto, err := choose(m, r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := c.sameFamily(m.RTP.Addr()); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	fresh := l == nil
	if fresh {
		if l, err = e.addLeg(c, r.Leg); err != nil {
			return mediaapi.Reply{}, nil, err
		}
	}
	if err := l.accept(m, codec, crypto, r.SDP); err != nil {
		if fresh {
			e.removeLeg(l)
		}
		return mediaapi.Reply{}, nil, err
	}
	return l.reply(), c, nil
}

// choose picks one codec and one suite from an offer: by the request's order
// where it has one, else by the peer's.
func choose(m *sdp.Media, r *mediaapi.Request) (sdp.Codec, sdp.Crypto, error) {
	codec, ok := pick(m.Codecs, r.Codecs, func(c sdp.Codec) string { return c.Name })
	if !ok {
		return codec, sdp.Crypto{}, refuse(488, "no acceptable codec")
	}
	crypto, ok := pick(m.Cryptos, r.Suites, func(c sdp.Crypto) string { return string(c.Suite) })
	if !ok {
		return codec, crypto, refuse(488, "no acceptable crypto suite")
	}
	return codec, crypto, nil
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
func (c *call) sameFamily(peer netip.Addr) error {
	if peer.Unmap().Is4() != c.host.addr.Unmap().Is4() {
		return refuse(488, "media address is of another IP version")
	}
	return nil
}

// accept takes an offer into force, the first or a later one.
func (l *leg) accept(m *sdp.Media, codec sdp.Codec, crypto sdp.Crypto, text string) error {
	t := l.terms
	t.PeerSDP, t.Offered, t.Formats, t.NextSDP = text, nil, nil, ""
	t.Suite, t.PeerKey = crypto.Suite, crypto.Key
	if !l.Agreed || l.Suite != crypto.Suite {
		t.LocalKey = srtp.NewKey(crypto.Suite)
	}
	t.Mux, t.RTP, t.RTCP = m.Mux, m.RTP, m.RTCP
	t.Direction = m.Direction.Reverse()
	t.Send = []sdp.Codec{codec}
	if ev, ok := m.Event(codec.Clock); ok {
		t.Send = append(t.Send, ev)
	}
	t.Receive = t.Send // an answer uses the offer's numbers both ways
	local := sdp.Local{Session: t.Session, Version: t.Version, RTP: netip.AddrPortFrom(l.call.host.addr, l.Port),
		Mux: t.Mux, Direction: t.Direction, Codecs: t.Receive,
		Cryptos: []sdp.Crypto{{Tag: crypto.Tag, Suite: t.Suite, Key: t.LocalKey}}}
	answer := local.Answer(m)
	if l.LocalSDP != "" && answer != l.LocalSDP {
		t.Version++
		local.Version++
		answer = local.Answer(m)
	}
	t.LocalSDP = answer
	return l.settle(t)
}

// settle puts terms into force and fits sockets and connection to them.
func (l *leg) settle(t terms) error {
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.agree(t); err != nil {
		return err
	}
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
	formats, err := offeredFormats(r.Codecs)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	suites, err := offeredSuites(r.Suites)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	l, err := e.addLeg(c, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	local := sdp.Local{Session: l.Session, Version: l.Version, RTP: netip.AddrPortFrom(c.host.addr, l.Port),
		Mux: true, Direction: sdp.SendRecv, Codecs: formats}
	for i, s := range suites {
		k := offeredKey{Tag: i + 1, Suite: s, Key: srtp.NewKey(s)}
		l.Offered = append(l.Offered, k)
		local.Cryptos = append(local.Cryptos, sdp.Crypto{Tag: k.Tag, Suite: k.Suite, Key: k.Key})
	}
	l.Formats = formats
	l.LocalSDP = local.Offer()
	return l.reply(), c, nil
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
	if len(l.Offered) == 0 {
		return mediaapi.Reply{}, nil, refuse(491, "leg has no offer of ours")
	}
	m, err := parseSDP(r.SDP)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := l.call.sameFamily(m.RTP.Addr()); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := l.answered(m, r.SDP); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	return l.reply(), l.call, nil
}

func (l *leg) answered(m *sdp.Media, text string) error {
	t := l.terms
	t.PeerSDP = text
	if t.NextSDP != "" {
		t.LocalSDP, t.NextSDP = t.NextSDP, ""
	}
	crypto := m.Cryptos[0] // an answer has one
	i := slices.IndexFunc(l.Offered, func(k offeredKey) bool { return k.Tag == crypto.Tag && k.Suite == crypto.Suite })
	if i < 0 {
		return refuse(488, "answer takes a crypto suite that was not offered")
	}
	t.Suite, t.LocalKey, t.PeerKey = crypto.Suite, l.Offered[i].Key, crypto.Key
	t.Offered = slices.Clone(l.Offered)
	t.Offered[i].Used = true
	t.Mux, t.RTP, t.RTCP = m.Mux, m.RTP, m.RTCP
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
	return l.settle(t)
}

func (l *leg) reply() mediaapi.Reply {
	return mediaapi.Reply{SDP: l.LocalSDP, Codec: l.codec(), Suite: string(l.Suite), Direction: string(l.Direction),
		Address: l.call.host.addr.String()}
}
