package session

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// ownStream is the one stream a leg sends of the worker's own making: prompts
// and transcoded speech. Its SSRC never leaves this worker: a successor starts
// another, since it can't know how far this one came.
type ownStream struct {
	ssrc     uint32
	seq      uint16
	ts       uint32
	begun    bool
	last     time.Time // when a frame went out
	packets  uint32    // for sender reports
	octets   uint32
	reported uint32 // packets at the last report
}

// player plays a prompt to a leg.
type player struct {
	name   string
	loop   bool
	pos    int // frame that is next
	frames [][]byte
	codec  sdp.Codec
	fresh  bool // nothing sent yet: the first packet bears a marker
	source FrameSource
}

// playMedia plays a prompt to a leg, replacing what plays. A relay to the leg
// is held off meanwhile.
func (e *Engine) playMedia(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if !l.Agreed {
		return mediaapi.Reply{}, nil, refuse(491, "leg is not negotiated yet")
	}
	p, err := e.newPlayer(l, r.Prompt, r.Loop)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	s := l.call.shard
	s.mu.Lock()
	l.stopPlaying()
	s.startPlaying(l, p)
	s.mu.Unlock()
	s.poller.Wake()
	return mediaapi.Reply{Duration: int64(len(p.frames)) * frameTime.Milliseconds()}, l.call, nil
}

func (e *Engine) newPlayer(l *leg, name string, loop bool) (*player, error) {
	if e.cfg.Prompts == nil {
		return nil, refuse(503, "no prompts are configured")
	}
	frames, _, ok := e.cfg.Prompts.Frames(name, l.codec())
	if !ok || len(frames) == 0 {
		return nil, refuse(404, "no prompt %q for %s", name, l.codec())
	}
	return &player{name: name, loop: loop, frames: frames, codec: l.Send[0], fresh: true, source: e.cfg.Prompts}, nil
}

// stopMedia ends what plays to a leg.
func (e *Engine) stopMedia(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	l.stopPlaying()
	return mediaapi.Reply{}, l.call, nil
}

// startPlaying: under shard.mu.
func (s *shard) startPlaying(l *leg, p *player) {
	if s.players == 0 {
		s.due = time.Now()
	}
	s.players++
	l.player, l.slot = p, rand.IntN(wheelSlots)
	s.wheel[l.slot] = append(s.wheel[l.slot], l)
	l.dirty = true
}

// stopPlaying: under shard.mu.
func (l *leg) stopPlaying() {
	if l.player == nil {
		return
	}
	s := l.call.shard
	slot := s.wheel[l.slot]
	for i, x := range slot {
		if x == l {
			slot[i] = slot[len(slot)-1]
			slot[len(slot)-1] = nil
			s.wheel[l.slot] = slot[:len(slot)-1]
			break
		}
	}
	s.players--
	l.player, l.slot = nil, -1
	l.dirty = true
}

// reformat goes on in another codec after a renegotiation, at the same place:
// a frame is 20 ms in all of them.
func (p *player) reformat(l *leg) {
	if p.codec == l.Send[0] {
		return
	}
	frames, _, ok := p.source.Frames(p.name, l.codec())
	if !ok || len(frames) == 0 {
		l.stopPlaying()
		return
	}
	p.frames, p.codec, p.fresh = frames, l.Send[0], true
	p.pos = min(p.pos, len(frames))
}

// playSlot sends one frame to each leg of the slot that is due.
func (s *shard) playSlot(now time.Time) {
	legs := s.wheel[s.turn]
	for i := len(legs) - 1; i >= 0; i-- { // a prompt that ends takes its leg out
		l := legs[i]
		p := l.player
		if p.pos >= len(p.frames) {
			l.stopPlaying()
			continue
		}
		if l.sendable() {
			s.sendOwn(l, p.codec, p.frames[p.pos], s.sinceLast(l, p.codec, now), p.fresh)
			p.fresh = false
		}
		l.dirty = true
		if p.pos++; p.pos >= len(p.frames) {
			if p.loop {
				p.pos = 0
			} else {
				l.stopPlaying()
			}
		}
	}
}

// sinceLast is how many frames the timestamp must advance: one while playing
// on, the length of the pause after one.
func (s *shard) sinceLast(l *leg, codec sdp.Codec, now time.Time) uint32 {
	if !l.player.fresh || !l.own.begun {
		return 1
	}
	return uint32(max(1, (now.Sub(l.own.last)+frameTime/2)/frameTime))
}

// sendOwn sends a frame of our own making, steps frames after the last one.
func (s *shard) sendOwn(l *leg, codec sdp.Codec, frame []byte, steps uint32, marker bool) {
	o := &l.own
	if !o.begun {
		o.begun = true
		// Below 2^15, so that a receiver that misses the first packets still
		// guesses ROC 0 (RFC 3711 section 3.3.1).
		o.seq, o.ts = uint16(rand.Uint32N(1<<15)), rand.Uint32()
		for l.tx.Knows(o.ssrc) {
			o.ssrc = rand.Uint32()
		}
	} else {
		o.seq++
		o.ts += steps * uint32(codec.Clock/50)
	}
	b := append(s.plain[:0], 0x80, codec.PT)
	if marker {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, o.seq)
	b = binary.BigEndian.AppendUint32(b, o.ts)
	b = binary.BigEndian.AppendUint32(b, o.ssrc)
	b = append(b, frame...)
	s.plain = b[:0]
	o.last = time.Now()
	o.packets++
	o.octets += uint32(len(frame))
	s.send(l, b)
}
