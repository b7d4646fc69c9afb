package session

import (
	"errors"
	"net/netip"
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// route is what becomes of packets with one payload type on the way to the
// other leg.
type route struct {
	pass    bool
	blocked bool // by command: nothing is wrong with it
	pt      uint8
	rates   rates        // of events, if they differ
	table   *[256]byte   // from one law of G.711 to the other
	trans   *transcoding // to and from Opus; without any of these the payload stays
}

// connect relays between two legs from now on, and stops what plays to them.
func (e *Engine) connect(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	if r.Leg == "" && r.FromTag != "" {
		return e.connectTags(r)
	}
	a, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	b, err := e.findLeg(r.CallID, r.Peer)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	switch {
	case a == b:
		return mediaapi.Reply{}, nil, refuse(400, "leg and peer are the same")
	case !a.Agreed || !b.Agreed:
		return mediaapi.Reply{}, nil, refuse(491, "a leg is not negotiated yet")
	}
	s := a.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	a.stopPlaying()
	b.stopPlaying()
	if a.peer != b {
		a.disconnect()
		b.disconnect()
		a.peer, b.peer = b, a
	}
	routeBoth(a, b)
	a.call.remix()
	return mediaapi.Reply{Codec: a.codec()}, a.call, nil
}

// connectTags is connect as rtpengine's clients have it.
func (e *Engine) connectTags(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	c := e.calls[r.CallID]
	switch {
	case c == nil:
		return mediaapi.Reply{}, nil, refuse(481, "unknown call-id")
	case r.ToCallID != "" && r.ToCallID != r.CallID:
		return mediaapi.Reply{}, nil, refuse(501, "to-call-id: two calls can't be made one")
	case r.HasFlag("directional"):
		return mediaapi.Reply{}, nil, refuse(501, "directional: use subscribe request")
	}
	a, b := c.sideOf(r.FromTag), c.sideOf(r.ToTag)
	if a == nil || b == nil {
		return mediaapi.Reply{}, nil, refuse(481, "no participants by this from-tag and to-tag")
	}
	return e.connect(&mediaapi.Request{CallID: c.id, Leg: a.Leg, Peer: b.Leg})
}

// disconnect ends the relay of a leg, if there is one: under shard.mu.
func (l *leg) disconnect() {
	if p := l.peer; p != nil {
		p.peer, l.peer = nil, nil
		p.forward, l.forward = [128]route{}, [128]route{}
		p.stopFeed()
		l.stopFeed()
		p.dirty, l.dirty = true, true
	}
}

// routeBoth works out both legs' tables: under shard.mu.
func routeBoth(a, b *leg) {
	routeOneWay(a, b)
	routeOneWay(b, a)
}

func routeOneWay(from, to *leg) {
	old := from.forward
	from.forward = [128]route{}
	for _, in := range from.Receive {
		if out, ok := find(to.Send, in.Name, in.Clock); ok {
			from.forward[in.PT] = route{pass: true, pt: out.PT}
			continue
		}
		if in.Name == sdp.Event {
			if out, ok := to.eventFormat(); ok {
				from.forward[in.PT] = route{pass: true, pt: out.PT, rates: rates{in.Clock, out.Clock}}
			}
			continue
		}
		if table := codec.Table(in.Name, to.Send[0].Name); table != nil {
			from.forward[in.PT] = route{pass: true, pt: to.Send[0].PT, table: table}
			continue
		}
		// Keep a transcoder that is at work: its state is the speech so far.
		if tr := old[in.PT].trans; tr != nil && tr.from == in && tr.to == to.Send[0] {
			from.forward[in.PT] = old[in.PT]
			continue
		}
		if tr := newTranscoding(in, to.Send[0]); tr != nil {
			from.forward[in.PT] = route{pass: true, pt: to.Send[0].PT, trans: tr}
		}
	}
	from.block(to)
	if tr := to.feed; tr != nil && !from.feeds(tr) {
		to.stopFeed()
	}
}

// feeds tells whether what the leg receives goes through a transcoding.
func (l *leg) feeds(tr *transcoding) bool {
	for _, in := range l.Receive {
		if l.forward[in.PT].trans == tr {
			return true
		}
	}
	return false
}

func find(list []sdp.Codec, name string, clock int) (sdp.Codec, bool) {
	for _, c := range list {
		if c.Name == name && c.Clock == clock {
			return c, true
		}
	}
	return sdp.Codec{}, false
}

// receiveRTP is the way of one packet: authenticate, learn, count, record,
// pass on.
func (s *shard) receiveRTP(l *leg, data []byte, from netip.AddrPort, now time.Time) {
	s.count.received++
	s.count.receivedBytes += uint64(len(data))
	if l.rx == nil {
		s.count.unready++ // our offer is not answered: there is no key yet
		return
	}
	if l.pinned && from != l.pin {
		s.count.strange++
		return
	}
	plain, h, index, err := l.rx.Open(data)
	if err != nil {
		s.countRefused(l, err)
		return
	}
	format := l.receive[h.PayloadType]
	newest := l.in.arrived(h, index, len(plain), format, now)
	l.dirty = true
	if newest && from != l.to.Addr() {
		l.learn(from)
	}
	if format == nil {
		l.in.misplaced++
		s.count.misplaced++
		return
	}
	payload := payloadOf(plain, h)
	l.in.bytes += uint64(len(payload))
	l.in.wire += uint64(len(data))
	if format.Name == sdp.Event {
		s.hear(l, h, payload, l.peer != nil && l.forward[h.PayloadType].pass)
	}
	if l.call.taping.keeps() && !l.withheld(format) {
		s.tap(l, format, h, payload, now)
	}
	if l.mixed.voice != nil && !l.muted() {
		l.mixed.voice.put(h, payload, now)
	}
	if p := l.peer; p != nil && p.hears() && (!p.mixed.begun || format.Name == sdp.Event) && !(format.Name == sdp.Event && l.digits.Muted) {
		s.pass(l, p, plain, h, payload, now)
	}
}

// hears tells whether what its peer's far end says is sent to a leg now.
func (l *leg) hears() bool { return l.player == nil && !l.keying.held && l.sendable() }

func (s *shard) countRefused(l *leg, err error) {
	if errors.Is(err, srtp.ErrReplayed) {
		l.in.replayed++
		s.count.replayed++
		return
	}
	l.in.forged++
	s.count.forged++
}

// learn moves a leg's destination to where an authentic packet came from: the
// newest one, so that an old packet sent again from elsewhere moves nothing.
func (l *leg) learn(from netip.AddrPort) {
	l.to.Set(from)
	l.destined = true
	if l.Mux {
		l.toRTCP.Set(from)
	}
}

// payloadOf is a packet without header, extension and padding.
func payloadOf(plain []byte, h *rtp.Header) []byte {
	n := h.MarshalSize()
	end := len(plain)
	if h.Padding && end > n {
		end -= int(plain[end-1])
	}
	if n >= end {
		return nil
	}
	return plain[n:end]
}

// pass protects a packet for the other leg and sends it. The packet keeps its
// SSRC, sequence number, time and marker: equal in, equal out, whichever
// worker does it.
func (s *shard) pass(from, to *leg, plain []byte, h *rtp.Header, payload []byte, now time.Time) {
	r := &from.forward[h.PayloadType]
	if !r.pass {
		if !r.blocked {
			from.in.misplaced++
			s.count.misplaced++
		}
		return
	}
	if r.trans != nil {
		s.feed(to, r.trans, h, payload, now)
		return
	}
	if r.rates != (rates{}) {
		from.digits.rescale(r.rates, h, plain, payload)
	}
	if r.table != nil {
		for i, v := range payload {
			payload[i] = r.table[v]
		}
	}
	ssrc := h.SSRC ^ from.Remap
	if ssrc == to.own.ssrc || ssrc == to.keying.SSRC {
		s.count.reused++ // ours on that leg: by chance once in 2^32, else by intent
		return
	}
	plain[1] = plain[1]&0x80 | r.pt
	putSSRC(plain[8:], ssrc)
	to.relay.passed(h, ssrc, len(payload), now)
	s.send(to, plain)
}

// send protects a packet and sends it to a leg's peer, at the latest when the
// thread has dealt with all that has come.
func (s *shard) send(to *leg, plain []byte) {
	box := to.outbox
	if box == nil || !box.Takes(len(plain)+srtp.Overhead, to.to) {
		if !s.speaks() {
			return
		}
		out, ok := s.seal(to, s.out, plain)
		if ok && to.rtp.Send(out, to.to) != nil {
			s.count.unsent++
		}
		return
	}
	if s.mute { // flush asks whether we are
		s.count.muted++
		return
	}
	if box.Full() {
		s.flush()
	}
	if out, ok := s.seal(to, box.Next(), plain); ok {
		box.Put(len(out), to.Port, to.to)
	}
}

// seal protects a packet to a leg's peer into dst and counts it.
func (s *shard) seal(to *leg, dst, plain []byte) (out []byte, ok bool) {
	out, err := to.tx.Seal(dst, plain)
	if err != nil {
		s.count.reused++
		return nil, false
	}
	to.dirty = true
	to.out.packets++
	to.out.bytes += uint64(len(plain) - 12)
	to.out.wire += uint64(len(out))
	s.count.sent++
	s.count.sentBytes += uint64(len(out))
	return out, true
}

// tap hands a packet to the recorder.
func (s *shard) tap(l *leg, format *sdp.Codec, h *rtp.Header, payload []byte, now time.Time) {
	p := &s.packet // field by field: a literal would be made elsewhere and copied
	p.Call, p.Leg, p.Side, p.Arrival, p.Codec = l.call.id, l.id, l.side(), now, format.Name
	p.PayloadType, p.Seq, p.Timestamp, p.SSRC, p.Payload = h.PayloadType, h.SequenceNumber, h.Timestamp, h.SSRC, payload
	s.rec.Append(p)
}

// side of the conversation: leg "1" is the customer's, and so is an rtpengine
// client's offerer.
func (l *leg) side() record.Side {
	if l.caller {
		return record.Customer
	}
	return record.SideOf(l.id)
}

func putSSRC(b []byte, ssrc uint32) {
	b[0], b[1], b[2], b[3] = byte(ssrc>>24), byte(ssrc>>16), byte(ssrc>>8), byte(ssrc)
}
