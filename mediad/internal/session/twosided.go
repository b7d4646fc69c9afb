package session

import (
	"strings"

	"trunkline/mediad/mediaapi"
)

// rtpengine's offer and answer over the same legs: the offerer's leg is named
// by its from-tag; the answerer's, whose tag is not known yet, farLeg. Only
// SRTP to SRTP, one answer for each offer.
const farLeg = "answerer"

// twoSidedOffer keeps the offer and makes ours towards the other side.
func (e *Engine) twoSidedOffer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	if r.FromTag == "" {
		return mediaapi.Reply{}, nil, refuse(400, "from-tag is needed")
	}
	if r.Transport != "" && !strings.EqualFold(r.Transport, "RTP/SAVP") {
		return mediaapi.Reply{}, nil, refuse(488, "transport-protocol %s: only RTP/SAVP is served", r.Transport)
	}
	m, err := parseSDP(r.SDP)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if c := e.calls[r.CallID]; c != nil && c.offer != nil && c.offer.FromTag == r.FromTag && c.offer.SDP == r.SDP {
		if l := c.leg(farLeg); l != nil {
			return l.reply(), nil, nil
		}
	}
	var codecs []string
	for _, c := range m.Codecs {
		codecs = append(codecs, c.Name)
	}
	far := mediaapi.Request{CallID: r.CallID, Leg: farLeg, Codecs: codecs, Address: r.Address}
	reply, c, err := e.legOffer(&far)
	if err != nil {
		return reply, nil, err
	}
	if c == nil {
		return reply, nil, refuse(488, "a second offer in a call is not served")
	}
	c.offer = &mediaapi.Request{CallID: r.CallID, FromTag: r.FromTag, SDP: r.SDP}
	return reply, c, nil
}

// twoSidedAnswer completes both legs and relays between them.
func (e *Engine) twoSidedAnswer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c == nil || c.offer == nil {
		return mediaapi.Reply{}, nil, refuse(481, "no offer with this call-id")
	}
	if _, _, err := e.legAnswer(&mediaapi.Request{CallID: c.id, Leg: farLeg, SDP: r.SDP}); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	codec := c.leg(farLeg).codec()
	near := mediaapi.Request{CallID: c.id, Leg: c.offer.FromTag, SDP: c.offer.SDP, Codecs: []string{codec}}
	reply, _, err := e.legAccept(&near)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if _, _, err := e.connect(&mediaapi.Request{CallID: c.id, Leg: c.offer.FromTag, Peer: farLeg}); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	return reply, c, nil
}
