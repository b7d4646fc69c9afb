package session

import (
	"encoding/binary"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
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

// clip is one prompt in a leg's codec.
type clip struct {
	name   string
	frames [][]byte
}

// player plays prompts to a leg, one after the other without a gap.
type player struct {
	clips  []clip
	loop   bool // the last one is played until stopped
	clip   int  // what is next: a clip, and a frame of it
	frame  int
	codec  sdp.Codec
	fresh  bool // nothing sent yet: the first packet bears a marker
	source FrameSource
}

// maxPrompts bounds a sequence.
const maxPrompts = 64

// playMedia plays to each of the legs that are meant; the reply is the last
// one's.
func (e *Engine) playMedia(r *mediaapi.Request) (reply mediaapi.Reply, c *call, err error) {
	legs, err := e.participants(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	if r.Leg == "" { // rtpengine's clients name a file
		r.Prompt = strings.TrimSuffix(path.Base(r.Prompt), ".wav")
		if r.Repeat > 1 && len(r.Prompts) == 0 {
			r.Prompts, r.Prompt = slices.Repeat([]string{r.Prompt}, int(min(r.Repeat, maxPrompts+1))), ""
		}
	}
	for _, l := range legs {
		if reply, c, err = e.playTo(l, r); err != nil {
			return reply, nil, err
		}
	}
	return reply, c, nil
}

// playTo plays a prompt or a sequence of them to a leg, replacing what plays. A
// relay to the leg is held off meanwhile.
func (e *Engine) playTo(l *leg, r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	switch {
	case !l.Agreed:
		return mediaapi.Reply{}, nil, refuse(491, "leg is not negotiated yet")
	case e.cfg.Prompts == nil:
		return mediaapi.Reply{}, nil, refuse(503, "no prompts are configured")
	case (r.Prompt == "") == (len(r.Prompts) == 0):
		return mediaapi.Reply{}, nil, refuse(400, "play media needs either file or files")
	case len(r.Prompts) > maxPrompts:
		return mediaapi.Reply{}, nil, refuse(400, "files has %d prompts, %d is the most", len(r.Prompts), maxPrompts)
	}
	names, loop := r.Prompts, false
	if r.Prompt != "" {
		names, loop = []string{r.Prompt}, r.Loop
	}
	p, skipped := e.newPlayer(l, names, loop)
	if r.Prompt != "" && len(skipped) > 0 {
		return mediaapi.Reply{}, nil, refuse(404, "no prompt %q for %s", r.Prompt, l.codec())
	}
	reply := mediaapi.Reply{Duration: p.duration().Milliseconds(), Skipped: skipped}
	if r.Then != "" && r.Prompt == "" {
		if then, missing := e.newPlayer(l, []string{r.Then}, true); len(missing) == 0 {
			p.clips, p.loop = append(p.clips, then.clips...), true
		} else {
			reply.Skipped = append(reply.Skipped, missing...)
		}
	}
	e.countMissing(l, reply.Skipped)
	if len(p.clips) == 0 {
		return reply, nil, nil // what plays goes on
	}
	s := l.call.shard
	s.mu.Lock()
	l.stopPlaying()
	s.startPlaying(l, p)
	s.mu.Unlock()
	s.poller.Wake()
	return reply, l.call, nil
}

// newPlayer makes a player of the prompts that there are, and names the others.
func (e *Engine) newPlayer(l *leg, names []string, loop bool) (p *player, skipped []string) {
	p = &player{loop: loop, codec: l.Send[0], fresh: true, source: e.cfg.Prompts}
	for _, name := range names {
		frames, _, ok := e.cfg.Prompts.Frames(name, l.codec())
		if !ok || len(frames) == 0 {
			skipped = append(skipped, name)
			continue
		}
		p.clips = append(p.clips, clip{name, frames})
	}
	return p, skipped
}

// countMissing notes prompts that a sequence had to do without: a call is never
// stopped for one.
func (e *Engine) countMissing(l *leg, names []string) {
	for _, name := range names {
		e.missing++
		e.log.Warn("no such prompt: it is left out", "call_id", l.call.id, "leg", l.id, "prompt", name)
	}
}

func (p *player) duration() time.Duration {
	frames := 0
	for _, c := range p.clips {
		frames += len(c.frames)
	}
	return time.Duration(frames) * frameTime
}

func (p *player) names() []string {
	names := make([]string, len(p.clips))
	for i, c := range p.clips {
		names[i] = c.name
	}
	return names
}

// position is the frame that is next, counted from the first prompt's start;
// a loop counts from its own start each time.
func (p *player) position() int {
	n := p.frame
	for _, c := range p.clips[:p.clip] {
		n += len(c.frames)
	}
	return n
}

// seek goes to a position. One beyond the end is the end.
func (p *player) seek(position int) {
	p.clip, p.frame = 0, 0
	for p.clip < len(p.clips)-1 && position >= len(p.clips[p.clip].frames) {
		position -= len(p.clips[p.clip].frames)
		p.clip++
	}
	if len(p.clips) > 0 {
		p.frame = min(position, len(p.clips[p.clip].frames))
	}
}

// next goes one frame on, and tells whether there is one.
func (p *player) next() bool {
	p.frame++
	if p.frame < len(p.clips[p.clip].frames) {
		return true
	}
	switch {
	case p.clip < len(p.clips)-1:
		p.clip++
	case !p.loop:
		return false
	}
	p.frame = 0
	return true
}

// stopMedia ends what plays to the legs that are meant.
func (e *Engine) stopMedia(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	legs, err := e.participants(r)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	c := legs[0].call
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	for _, l := range legs {
		l.stopPlaying()
	}
	return mediaapi.Reply{}, c, nil
}

// startPlaying: under shard.mu.
func (s *shard) startPlaying(l *leg, p *player) {
	l.stopFeed()
	l.player = p
	s.schedule(l)
	l.dirty = true
}

// stopPlaying: under shard.mu.
func (l *leg) stopPlaying() {
	if l.player == nil {
		return
	}
	l.player = nil
	l.call.shard.unschedule(l)
	l.dirty = true
}

// schedule has a leg's turn come every 20 ms: under shard.mu.
func (s *shard) schedule(l *leg) {
	if l.slot >= 0 {
		return
	}
	if s.players == 0 {
		s.due = time.Now()
	}
	s.players++
	l.slot = rand.IntN(wheelSlots)
	s.wheel[l.slot] = append(s.wheel[l.slot], l)
}

// unschedule ends that for a leg to which nothing plays, nothing is transcoded,
// no key is sent, and that leads no mix: under shard.mu.
func (s *shard) unschedule(l *leg) {
	if l.slot < 0 || l.player != nil || l.feed != nil || len(l.keying.Strokes) > 0 || l.call.lead == l {
		return
	}
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
	l.slot = -1
}

// reformat goes on in another codec after a renegotiation, at the same place:
// a frame is 20 ms in all of them.
func (p *player) reformat(l *leg) {
	if p.codec == l.Send[0] {
		return
	}
	for i := range p.clips {
		frames, _, ok := p.source.Frames(p.clips[i].name, l.codec())
		if !ok || len(frames) == 0 {
			l.stopPlaying()
			return
		}
		p.clips[i].frames = frames
	}
	p.codec, p.fresh = l.Send[0], true
	p.frame = min(p.frame, len(p.clips[p.clip].frames))
}

// playSlot sends one frame or event packet to each leg of the slot that is due.
func (s *shard) playSlot(now time.Time) {
	legs := s.wheel[s.turn]
	for i := len(legs) - 1; i >= 0; i-- { // a prompt or key that ends takes its leg out
		l := legs[i]
		if len(l.keying.Strokes) > 0 {
			s.stroke(l, now)
		}
		if l.call.lead == l {
			s.mix(l.call, now)
		}
		p := l.player
		switch {
		case l.keying.held:
			l.stopFeed()
			if p != nil {
				p.fresh = true // it goes on after a pause
			}
			continue
		case p == nil:
			if l.feed != nil {
				s.playFeed(l, now)
			} else {
				s.unschedule(l)
			}
			continue
		}
		if p.frame >= len(p.clips[p.clip].frames) { // where a seek or another codec may lead
			p.frame--
			if !p.next() {
				l.stopPlaying()
				continue
			}
		}
		if l.tx == nil {
			continue // its keys are being agreed on
		}
		if l.sendable() {
			s.sendOwn(l, p.codec, p.clips[p.clip].frames[p.frame], s.sinceLast(l, p.fresh, now), p.fresh)
			p.fresh = false
		}
		l.dirty = true
		if !p.next() {
			l.stopPlaying()
		}
	}
}

// sinceLast is how many frames the timestamp must advance: one while playing
// on, the length of the pause after one.
func (s *shard) sinceLast(l *leg, fresh bool, now time.Time) uint32 {
	if !fresh || !l.own.begun {
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
