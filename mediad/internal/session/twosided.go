package session

import (
	"slices"
	"strings"
	"time"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// rtpengine's offer and answer over legs of our own: each side is an endpoint
// of ours with its own keys, codec and protection. An offer is not passed on:
// another is made of it; and what the far side answers decides what the near
// side is answered.

// twoSidedOffer keeps a side's offer and makes ours towards the other.
func (e *Engine) twoSidedOffer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	if err := checkTags(r); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := badLink(r.Link); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	c, err := e.openCall(&mediaapi.Request{CallID: r.CallID, Leg: farLeg, Address: r.Address})
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	m, err := e.parsePeer(r.SDP, true)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := c.sameFamily(m); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	near := c.sideOf(r.FromTag)
	far := c.farSide(near, r)
	var there *leg
	if far != nil {
		there = c.leg(far.Leg)
		if a := far.Asked; a != nil && near != nil && a.By == near.Leg && a.SDP == r.SDP && (!there.Agreed || there.NextSDP != "") {
			return there.offerReply(), nil, nil // a repeat
		}
	}
	w, err := e.wishOf(r, m, there)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	accept, err := w.formatsOf(m, &r.Codec)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if near, far, err = e.openSides(c, near, far, r); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	c.leg(near.Leg).reachedBy(r.Link)
	there = c.leg(far.Leg)
	if there.Agreed {
		there.renew(w)
	} else {
		there.propose(w)
	}
	far.Asked = &asked{By: near.Leg, SDP: r.SDP, Accept: accept, NoMux: slices.Contains(r.RTCPMux, "reject")}
	if r.SetLabel != "" {
		near.Label = r.SetLabel
	}
	c.signal = time.Now()
	e.recordByFlag(c, r)
	return there.offerReply(), c, nil
}

func checkTags(r *mediaapi.Request) error {
	if r.FromTag == "" {
		return refuse(400, "from-tag is needed")
	}
	for _, s := range []string{r.FromTag, r.ToTag, r.ViaBranch, r.SetLabel} {
		if len(s) > maxID {
			return refuse(400, "a tag, via-branch or label is longer than %d bytes", maxID)
		}
	}
	return nil
}

// openSides makes the sides of an offer that are not there yet, both with their
// ports: where they can't be had, the client is to ask another node, and now.
func (e *Engine) openSides(c *call, near, far *side, r *mediaapi.Request) (*side, *side, error) {
	var fresh []*side
	fail := func(err error) (*side, *side, error) {
		for _, s := range fresh {
			e.removeSide(c, s)
		}
		if len(c.legs) == 0 {
			e.removeCall(c)
		}
		return nil, nil, err
	}
	if near == nil {
		s, l, err := e.addSide(c, r.FromTag, r.FromTag, "")
		if err != nil {
			return fail(err)
		}
		// A reply that offers is the called side's: the INVITE had no offer.
		l.caller = r.MessageType != "sip_reply"
		near, fresh = s, append(fresh, s)
	}
	if far == nil {
		s, l, err := e.addSide(c, farLeg, "", r.ViaBranch)
		if err != nil {
			return fail(err)
		}
		l.caller = !c.leg(near.Leg).caller
		far = s
	}
	if r.ToTag != "" {
		far.Tag = r.ToTag
	}
	return near, far, nil
}

// twoSidedAnswer completes both legs and relays between them.
func (e *Engine) twoSidedAnswer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	if err := checkTags(r); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if err := badLink(r.Link); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	c := e.calls[r.CallID]
	if c == nil || c.sideOf(r.FromTag) == nil {
		return mediaapi.Reply{}, nil, refuse(481, "no offer with this call-id and from-tag")
	}
	near := c.sideOf(r.FromTag)
	far := c.askedBy(near, r)
	if far == nil {
		return mediaapi.Reply{}, nil, refuse(481, "no offer that this answers")
	}
	here, there := c.leg(near.Leg), c.leg(far.Leg)
	if !there.Agreed || there.PeerSDP != r.SDP || there.NextSDP != "" {
		m, err := e.parsePeer(r.SDP, true)
		if err != nil {
			return mediaapi.Reply{}, nil, err
		}
		if err := c.sameFamily(m); err != nil {
			return mediaapi.Reply{}, nil, err
		}
		if err := there.answered(m, r.SDP); err != nil {
			return mediaapi.Reply{}, nil, err
		}
	}
	there.reachedBy(r.Link)
	if r.ToTag != "" {
		far.Tag = r.ToTag
	}
	if r.SetLabel != "" {
		far.Label = r.SetLabel
	}
	if err := e.acceptFor(here, there, far.Asked, r); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if here.peer != there {
		if _, _, err := e.connect(&mediaapi.Request{CallID: c.id, Leg: here.id, Peer: there.id}); err != nil {
			return mediaapi.Reply{}, nil, err
		}
	}
	c.signal = time.Now()
	e.recordByFlag(c, r)
	return here.reply(), c, nil
}

// acceptFor answers the near side's offer as the far side answered ours: in its
// codec, if there is a choice, and its direction.
func (e *Engine) acceptFor(here, there *leg, a *asked, r *mediaapi.Request) error {
	m, err := e.parsePeer(a.SDP, true)
	if err != nil {
		return err
	}
	prefer := a.Accept
	if listed(prefer, there.codec()) { // it need not be transcoded
		prefer = append([]string{there.codec()}, prefer...)
	}
	codec, ok := pick(m.Codecs, prefer, func(c sdp.Codec) string { return c.Name })
	if !ok {
		return refuse(488, "no acceptable codec")
	}
	suites, err := suitesOf(r.SDES)
	if err != nil {
		return err
	}
	crypto, ok := pickCrypto(m, suites)
	if !ok {
		return refuse(488, "no acceptable crypto suite")
	}
	if a.NoMux && m.Mux && m.DTLS == nil {
		m.RefuseMux()
	}
	// What one is sent the other sends: ours on this leg is the far side's there.
	return here.accept(acceptance{media: m, text: a.SDP, codec: codec, crypto: crypto, most: there.Direction.Reverse()})
}

// wish is how one of our offers is to be.
type wish struct {
	formats   []sdp.Codec
	suites    []srtp.Suite
	proto     string // of the m= line
	mux       bool
	direction sdp.Direction // as the one behind us has it
	ice       bool          // with DTLS
}

// wishOf reads what the client wants the far side to be offered for the near
// side's offer. there is the far leg, if it is there.
func (e *Engine) wishOf(r *mediaapi.Request, m *sdp.Media, there *leg) (wish, error) {
	w := wish{proto: strings.ToUpper(r.Transport), direction: m.Direction, ice: r.ICE != "remove"}
	if w.proto == "" || w.proto == "ACCEPT" {
		if w.proto = m.Proto; there != nil && there.Agreed {
			w.proto = there.proto()
		}
	}
	p, ok := sdp.ProtectionOf(w.proto)
	switch {
	case !ok:
		return w, refuse(488, "transport-protocol %s is not served", r.Transport)
	case there != nil && there.Agreed && (p == sdp.ByDTLS) != (there.DTLS != nil):
		return w, refuse(488, "transport-protocol %s: a side can't be changed to DTLS or from it", r.Transport)
	case p == sdp.Unguarded && len(e.cfg.Plain) == 0:
		return w, refuse(488, "transport-protocol %s: plain RTP is allowed to nobody here", r.Transport)
	}
	var err error
	if w.suites, err = suitesOf(r.SDES); err != nil {
		return w, err
	}
	offered := m.Mux || slices.Contains(r.RTCPMux, "offer") || slices.Contains(r.RTCPMux, "require")
	w.mux = p == sdp.ByDTLS || offered && !slices.Contains(r.RTCPMux, "demux")
	return w, nil
}

// formatsOf settles what the far side is offered, in the near side's order, and
// returns the codecs that may be taken of the near side.
func (w *wish) formatsOf(m *sdp.Media, c *mediaapi.Codecs) (accept []string, err error) {
	var offer []string
	for _, f := range m.Codecs {
		kept := listed(c.Except, f.Name)
		switch {
		case listed(c.Strip, f.Name) && !kept && !listed(c.Offer, f.Name):
			continue
		case !(listed(c.Mask, f.Name) || listed(c.Consume, f.Name)) || kept:
			offer = append(offer, f.Name)
		}
		accept = append(accept, f.Name)
	}
	for _, name := range c.Transcode {
		name, _, _ = strings.Cut(name, "/")
		if !listed(offer, name) {
			offer = append(offer, name)
		}
	}
	switch {
	case len(offer) == 0:
		return nil, refuse(488, "codec: none is left to offer")
	case len(accept) == 0:
		return nil, refuse(488, "codec: none is left to take of the offerer")
	}
	formats, err := offeredFormats(offer)
	if err != nil {
		return nil, err
	}
	if len(m.Events) == 0 { // or the far side would send keys that the near side can't hear
		formats = slices.DeleteFunc(formats, func(f sdp.Codec) bool { return f.Name == sdp.Event })
	}
	w.formats = formats
	return accept, nil
}

// listed tells whether a list of codecs, which may have parameters, has one.
func listed(list []string, codec string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		name, _, _ := strings.Cut(s, "/")
		return strings.EqualFold(name, codec) || strings.EqualFold(name, "all") || strings.EqualFold(name, "full")
	})
}

// suitesOf reads rtpengine's SDES options: which suites, in which order.
func suitesOf(options []string) ([]srtp.Suite, error) {
	list := srtp.Suites()
	var only []srtp.Suite
	for _, o := range options {
		word, rest, _ := strings.Cut(o, "-")
		switch strings.ToLower(word) {
		case "no":
			list = slices.DeleteFunc(list, func(s srtp.Suite) bool { return strings.EqualFold(string(s), rest) })
		case "only":
			only = append(only, srtp.Suite(strings.ToUpper(rest)))
		}
		if order, ok := strings.CutPrefix(o, "order:"); ok {
			at := map[srtp.Suite]int{}
			for i, s := range strings.Split(order, ";") {
				at[srtp.Suite(strings.ToUpper(s))] = i - 1<<16
			}
			slices.SortStableFunc(list, func(a, b srtp.Suite) int { return at[a] - at[b] })
		}
	}
	if len(only) > 0 {
		list = slices.DeleteFunc(list, func(s srtp.Suite) bool { return !slices.Contains(only, s) })
	}
	if len(list) == 0 {
		return nil, refuse(488, "SDES: no crypto suite is left")
	}
	return list, nil
}

// recordByFlag starts recording where an offer or answer asks for it.
func (e *Engine) recordByFlag(c *call, r *mediaapi.Request) {
	on := r.HasFlag("record-call") || slices.Contains([]string{"yes", "on", "true", "1"}, strings.ToLower(r.RecordCall))
	if !on || c.taping.On {
		return
	}
	if _, _, err := e.startRecording(&mediaapi.Request{CallID: c.id}); err != nil {
		e.log.Error("call is not recorded", "call_id", c.id, "err", err)
	}
}
