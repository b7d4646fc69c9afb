package session

import (
	"slices"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// renewOffer offers a leg that has its terms others (RFC 3264 section 8): port,
// key and payload types in use stay what they are. Until it is answered nothing
// changes; the one who offers by an offer of its own takes it back.
func (l *leg) renewOffer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	formats, err := offeredFormats(r.Codecs)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	suites, err := offeredSuites(r.Suites)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	l.renew(wish{formats: formats, suites: suites, proto: l.proto(), mux: l.Mux, direction: sdp.SendRecv})
	return l.offerReply(), l.call, nil
}

// renew makes our offer to a leg that has terms, which hold until it is answered.
func (l *leg) renew(w wish) {
	t := l.terms
	t.Formats, t.Offered, t.OfferProto = l.keepNumbers(w.formats), nil, shortProto(w.proto)
	local := l.local(&t, t.Formats)
	local.Proto, local.Direction = t.OfferProto, w.direction
	p, _ := sdp.ProtectionOf(w.proto)
	if p == sdp.ByDTLS {
		t.DTLS.describe(&local, sdp.ActPass)
	}
	if p == sdp.BySDES {
		for i, s := range w.suites {
			k := offeredKey{Tag: i + 1, Suite: s, Key: t.LocalKey, Used: true}
			if s != t.Suite {
				k.Key, k.Used = l.spareKey(s), false
			}
			t.Offered = append(t.Offered, k)
			local.Cryptos = append(local.Cryptos, sdp.Crypto{Tag: k.Tag, Suite: k.Suite, Key: k.Key})
		}
	}
	t.NextSDP = local.Offer()
	if t.NextSDP != t.LocalSDP {
		t.Version++
		local.Version++
		t.NextSDP = local.Offer()
	}
	s := l.call.shard
	s.mu.Lock()
	l.terms = t
	s.mu.Unlock()
}

// spareKey is the key offered for a suite before and never used, else a new
// one: a key that was in force would repeat its packets' indexes.
func (l *leg) spareKey(s srtp.Suite) srtp.Key {
	for _, k := range l.Offered {
		if k.Suite == s && !k.Used {
			return k.Key
		}
	}
	return srtp.NewKey(s)
}

// keepNumbers gives formats the numbers the peer sends them with already; the
// others get theirs, or, where such a number is taken, a free one.
func (l *leg) keepNumbers(formats []sdp.Codec) []sdp.Codec {
	formats = slices.Clone(formats)
	used := [128]bool{}
	fixed := make([]bool, len(formats))
	for i, f := range formats {
		if have, ok := find(l.Receive, f.Name, f.Clock); ok {
			formats[i], fixed[i] = have, true
			used[have.PT] = true
		}
	}
	for _, have := range l.Receive { // not offered any more, yet no other's
		used[have.PT] = true
	}
	for i, f := range formats {
		if fixed[i] {
			continue
		}
		for pt := uint8(96); used[f.PT] && pt < 128; pt++ {
			f.PT = pt
		}
		formats[i] = f
		used[f.PT] = true
	}
	return formats
}
