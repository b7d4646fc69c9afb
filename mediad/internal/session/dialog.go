package session

import (
	"net/netip"
	"slices"
	"strconv"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// side is one participant of a call that rtpengine's clients make by offer and
// answer: a leg under the names that SIP has for it.
type side struct {
	Leg     string `json:"leg"`
	Tag     string `json:"tag,omitempty"`    // "" until its answer or its own offer tells
	Branch  string `json:"branch,omitempty"` // of a fork
	Label   string `json:"label,omitempty"`
	Watcher bool   `json:"watcher,omitempty"` // it subscribed to the others

	Asked *asked `json:"asked,omitempty"` // the offer last made to it
}

// asked is an offer that was passed on to a side. It stays after its answer: a
// fork may answer once more.
type asked struct {
	By     string   `json:"by"` // leg
	SDP    string   `json:"sdp"`
	Accept []string `json:"accept"` // codecs that may be taken of it
	NoMux  bool     `json:"no_mux,omitempty"`
}

// maxSides bounds the forks of a call.
const maxSides = 16

// farLeg names the leg of a side whose tag is not known yet.
const farLeg = "answerer"

// sideOf returns the side with a SIP tag, nil if there is none.
func (c *call) sideOf(tag string) *side {
	for _, s := range c.sides {
		if tag != "" && s.Tag == tag {
			return s
		}
	}
	return nil
}

// sideOfLeg returns the side of a leg.
func (c *call) sideOfLeg(id string) *side {
	for _, s := range c.sides {
		if s.Leg == id {
			return s
		}
	}
	return nil
}

// farSide returns whom an offer of near's goes to, nil for somebody new. Before
// its answer the far side has no tag; later it is who answered last.
func (c *call) farSide(near *side, r *mediaapi.Request) *side {
	if s := c.sideOf(r.ToTag); s != nil && s != near {
		return s
	}
	if near == nil {
		return nil
	}
	for _, s := range c.sides {
		if s != near && !s.Watcher && s.Branch == r.ViaBranch && (s.Tag == "" || r.ToTag == "") {
			return s
		}
	}
	return nil
}

// askedBy returns the side that an answer to near's offer comes from: by its
// tag, or by its fork, or the one that was asked last.
func (c *call) askedBy(near *side, r *mediaapi.Request) *side {
	var found *side
	for _, s := range c.sides {
		if s.Asked == nil || s.Asked.By != near.Leg {
			continue
		}
		if s.Tag != "" && s.Tag == r.ToTag || r.ViaBranch != "" && s.Branch == r.ViaBranch {
			return s
		}
		found = s
	}
	return found
}

// addSide makes a side with its leg. id names the leg, if it is free.
func (e *Engine) addSide(c *call, id, tag, branch string) (*side, *leg, error) {
	if len(c.sides) >= maxSides {
		return nil, nil, refuse(400, "call has %d parties, which is the most", maxSides)
	}
	name := id
	for n := 2; c.leg(name) != nil; n++ {
		name = id + "-" + strconv.Itoa(n)
	}
	l, err := e.addLeg(c, name)
	if err != nil {
		return nil, nil, err
	}
	s := &side{Leg: name, Tag: tag, Branch: branch}
	c.sides = append(c.sides, s)
	return s, l, nil
}

// removeSide ends a side and its leg.
func (e *Engine) removeSide(c *call, s *side) {
	if l := c.leg(s.Leg); l != nil {
		e.removeLeg(l)
	}
	c.sides = slices.DeleteFunc(c.sides, func(x *side) bool { return x == s })
}

// parsePeer reads a peer's description. plain allows plain RTP, if configuration
// allows it to the addresses named in it.
func (e *Engine) parsePeer(text string, plain bool) (*sdp.Media, error) {
	parse := sdp.Parse
	if plain && len(e.cfg.Plain) > 0 {
		parse = sdp.ParseUnguarded
	}
	m, err := parseSDP(text, parse)
	if err != nil || m.Protection() != sdp.Unguarded {
		return m, err
	}
	for _, a := range []netip.AddrPort{m.RTP, m.RTCP} {
		if !e.mayBePlain(a.Addr()) {
			return nil, refuse(488, "unusable SDP: RTP/AVP is not allowed to %s", a.Addr())
		}
	}
	return m, nil
}

// mayBePlain tells whether configuration allows a far end RTP without
// protection. Nowhere is no place that packets come from or go to (hold).
func (e *Engine) mayBePlain(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsUnspecified() || slices.ContainsFunc(e.cfg.Plain, func(p netip.Prefix) bool { return p.Contains(a) })
}

// participants are the legs that a command of an rtpengine client is about: by
// leg, by tag, label or address, or, if it says so, all.
func (e *Engine) participants(r *mediaapi.Request) ([]*leg, error) {
	if r.Leg != "" {
		l, err := e.findLeg(r.CallID, r.Leg)
		return []*leg{l}, err
	}
	c := e.calls[r.CallID]
	if c == nil {
		return nil, refuse(481, "unknown call-id")
	}
	var found []*leg
	for _, s := range c.sides {
		l := c.leg(s.Leg)
		switch {
		case l == nil || s.Watcher && r.All == "all":
		case r.All == "all", r.Label != "" && s.Label == r.Label:
			found = append(found, l)
		case r.Party != "":
			if a, err := netip.ParseAddr(r.Party); err == nil && l.RTP.Addr() == a {
				found = append(found, l)
			}
		case r.Label == "" && r.FromTag != "" && s.Tag == r.FromTag:
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil, refuse(481, "unknown leg: no participant by this from-tag, label or address")
	}
	return found, nil
}

// warnUnknown is what rtpengine warns of; its clients go on.
func warnUnknown(r *mediaapi.Request) string {
	if r.FromTag == "" {
		return ""
	}
	return "Call-ID not found or tags didn't match"
}

// deleteSides ends a call, or one fork of it, for somebody who is part of it,
// and says how it went.
func (e *Engine) deleteSides(c *call, r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	near := c.sideOf(r.FromTag)
	if r.FromTag != "" && near == nil {
		if r.HasFlag("fatal") {
			return mediaapi.Reply{}, nil, refuse(481, "no participant by this from-tag")
		}
		return mediaapi.Reply{Warning: warnUnknown(r)}, nil, nil
	}
	var reply mediaapi.Reply
	if !r.HasFlag("fast") {
		reply = c.figures()
	}
	forks := 0
	var gone *side
	for _, s := range c.sides {
		if s == near || s.Watcher {
			continue
		}
		forks++
		if r.ViaBranch != "" && s.Branch == r.ViaBranch || r.ViaBranch == "" && r.ToTag != "" && s.Tag == r.ToTag {
			gone = s
		}
	}
	if gone != nil && forks > 1 {
		e.removeSide(c, gone)
		return reply, c, nil
	}
	e.removeCall(c)
	return reply, nil, nil
}
