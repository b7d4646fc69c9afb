package session

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// watcherLeg names the leg of somebody who subscribed.
const watcherLeg = "subscriber"

// subscribeRequest offers somebody to hear a call: both parties in one stream,
// as a supervisor who listens does. Asked again under its tag, the offer is made
// anew.
func (e *Engine) subscribeRequest(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c == nil {
		return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
	}
	of, tags, err := c.connected(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if len(r.ToTag) > maxID {
		return mediaapi.Reply{}, nil, refuse(400, "to-tag is longer than %d bytes", maxID)
	}
	w, err := e.wishOf(r, &sdp.Media{Proto: of.proto(), Mux: of.Mux, Direction: sdp.SendOnly}, nil)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if w.formats, err = offeredFormats(append([]string{of.codec()}, r.Codec.Transcode...)); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	w.formats = slices.DeleteFunc(w.formats, func(f sdp.Codec) bool { return f.Name == sdp.Event })
	s := c.sideOf(r.ToTag)
	switch {
	case s != nil && !s.Watcher:
		return mediaapi.Reply{}, nil, refuse(400, "to-tag is a participant's")
	case s == nil:
		tag := r.ToTag
		if tag == "" {
			tag = strconv.FormatUint(rand.Uint64(), 36)
		}
		if s, _, err = e.addSide(c, watcherLeg, tag, ""); err != nil {
			return mediaapi.Reply{}, nil, err
		}
		s.Watcher, s.Label = true, r.SetLabel
	}
	l := c.leg(s.Leg)
	if l.Agreed {
		l.renew(w)
	} else {
		l.propose(w)
	}
	reply := l.offerReply()
	reply.ToTag, reply.FromTags = s.Tag, tags
	for i, tag := range tags {
		reply.TagMedias = append(reply.TagMedias, mediaapi.TagMedias{Tag: tag, Medias: []mediaapi.Media{{Index: 1, Label: strconv.Itoa(i + 1)}}})
	}
	return reply, c, nil
}

// connected returns one of the pair that is subscribed to, and the tags of both.
func (c *call) connected(r *mediaapi.Request) (of *leg, tags []string, err error) {
	for _, s := range c.sides {
		if l := c.leg(s.Leg); l != nil && l.peer != nil {
			of, tags = l, append(tags, s.Tag)
		}
	}
	if of == nil {
		return nil, nil, refuse(491, "call is not connected yet")
	}
	if r.All == "all" {
		return of, tags, nil
	}
	for _, tag := range tags {
		if !slices.Contains(r.FromTags, tag) {
			return nil, nil, refuse(488, "one participant alone can't be subscribed to: give flag all, or from-tags with both")
		}
	}
	return of, tags, nil
}

// subscribeAnswer takes the answer, and the subscriber hears from now on.
func (e *Engine) subscribeAnswer(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c == nil {
		return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
	}
	s := c.sideOf(r.ToTag)
	if s == nil || !s.Watcher {
		return mediaapi.Reply{}, nil, refuse(481, "no subscription by this to-tag")
	}
	if _, _, err := e.legAnswer(&mediaapi.Request{CallID: c.id, Leg: s.Leg, SDP: r.SDP, Link: r.Link}); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	of, _, err := c.connected(&mediaapi.Request{All: "all"})
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if _, _, err := e.supervise(&mediaapi.Request{CallID: c.id, Leg: s.Leg, Peer: of.id, Mode: mediaapi.Listen}); err != nil {
		return mediaapi.Reply{}, nil, err
	}
	return mediaapi.Reply{}, c, nil
}

// unsubscribe ends a subscription.
func (e *Engine) unsubscribe(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	if c == nil {
		return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
	}
	s := c.sideOf(r.ToTag)
	if s == nil || !s.Watcher {
		return mediaapi.Reply{}, nil, refuse(481, "no subscription by this to-tag")
	}
	e.removeSide(c, s)
	return mediaapi.Reply{}, c, nil
}
