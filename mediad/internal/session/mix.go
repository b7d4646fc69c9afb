package session

import (
	"slices"
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/jitter"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/mediaapi"
)

// A supervisor is a leg beside two that are connected. Whoever hears more than
// one party hears a mix of our own making; everybody else goes on hearing relayed
// packets, untouched. A mix begins when its first frame is there, and until then
// the relay goes on: nobody meets a gap for a supervisor's sake.

// supervision is what a supervisor's leg does, as replicated.
type supervision struct {
	Mode string `json:"mode,omitempty"` // mediaapi.Listen and the like, "" for any other leg
	Of   string `json:"of,omitempty"`   // a leg of the pair; with Whisper, the one that hears it
}

// supervise makes a leg a supervisor, changes what it does, or ends that.
func (e *Engine) supervise(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Mode == mediaapi.Unsupervised {
		l.supervision = supervision{}
		l.call.remix()
		return mediaapi.Reply{}, l.call, nil
	}
	of, err := e.findLeg(r.CallID, r.Peer)
	switch {
	case !slices.Contains([]string{mediaapi.Listen, mediaapi.Whisper, mediaapi.Join}, r.Mode):
		return mediaapi.Reply{}, nil, refuse(400, "mode %q is none of listen, whisper, join and none", r.Mode)
	case err != nil:
		return mediaapi.Reply{}, nil, err
	case of == l:
		return mediaapi.Reply{}, nil, refuse(400, "leg and peer are the same")
	case !l.Agreed:
		return mediaapi.Reply{}, nil, refuse(491, "leg is not negotiated yet")
	case l.peer != nil:
		return mediaapi.Reply{}, nil, refuse(491, "leg is connected itself")
	case of.peer == nil:
		return mediaapi.Reply{}, nil, refuse(491, "peer is connected with nobody")
	}
	l.stopPlaying()
	l.supervision = supervision{Mode: r.Mode, Of: of.id}
	l.call.remix()
	s.poller.Wake()
	return mediaapi.Reply{Codec: l.codec()}, l.call, nil
}

// mixed is one leg's part in a call with a supervisor.
type mixed struct {
	ears  []*leg // whom it hears in a mix, nil: nobody
	voice *voice // what it says, nil: in no mix

	begun   bool // its peer's relayed packets are held off
	fresh   bool // the next packet bears a marker
	format  sdp.Codec
	encoder *codec.Encoder
	pcm     []int16
	frame   []byte
}

// voice is what a leg receives, decoded at the pace of the mix.
type voice struct {
	rate    int
	sources [128]*source // by payload type
	now     *source      // the one heard last
	frame   []int16      // of this turn; nil: silence
}

// source is one payload format of a voice.
type source struct {
	name    string
	clock   int
	decoder *codec.Decoder
	buffer  *jitter.Buffer
	pcm     []int16
	taken   int // of pcm, by the turn before
}

// remix works out who hears whom after anything changed: under shard.mu.
func (c *call) remix() {
	ears := map[*leg][]*leg{}
	c.lead = nil
	for _, l := range c.legs {
		of := c.leg(l.supervision.Of)
		if l.supervision.Mode == "" {
			continue
		}
		if of == nil || of.peer == nil || l.peer != nil || !l.Agreed {
			l.supervision = supervision{} // the pair is no more
			continue
		}
		if c.lead == nil {
			c.lead = l
		}
		ears[l] = append(ears[l], of, of.peer)
		switch l.supervision.Mode {
		case mediaapi.Whisper:
			ears[of] = append(ears[of], l)
		case mediaapi.Join:
			ears[of], ears[of.peer] = append(ears[of], l), append(ears[of.peer], l)
			for _, other := range c.legs {
				if other != l && other.supervision.Mode != "" {
					ears[other] = append(ears[other], l)
				}
			}
		}
	}
	rate, heard := 48000, map[*leg]bool{}
	for l, list := range ears { // any order: only sets are made
		if l.supervision.Mode == "" {
			list = append(list, l.peer)
			ears[l] = list
		}
		for _, x := range append([]*leg{l}, list...) {
			if x.codec() != codec.Opus {
				rate = 8000
			}
		}
		for _, x := range list {
			heard[x] = true
		}
	}
	for _, l := range c.legs {
		l.remix(ears[l], heard[l], rate)
		if l != c.lead {
			c.shard.unschedule(l)
		}
	}
	if c.lead != nil {
		c.shard.schedule(c.lead)
	}
}

// remix gives a leg what it needs for its part and takes the rest away.
func (l *leg) remix(ears []*leg, heard bool, rate int) {
	m := &l.mixed
	if len(ears) == 0 {
		m.ears, m.begun, m.encoder = nil, false, nil
	} else {
		m.ears = ears
		if m.encoder == nil || m.format != l.Send[0] || m.encoder.Rate() != rate {
			encoder, err := codec.NewEncoder(l.codec(), rate)
			if err != nil {
				m.ears = nil // no codec of ours: it was never agreed on
				return
			}
			m.encoder, m.format, m.fresh = encoder, l.Send[0], true
			m.pcm, m.frame = make([]int16, rate/50), make([]byte, 0, 2048)
		}
	}
	switch {
	case !heard:
		m.voice = nil
	case m.voice == nil || m.voice.rate != rate || !m.voice.fits(l):
		m.voice = newVoice(l, rate)
	}
}

func newVoice(l *leg, rate int) *voice {
	v := &voice{rate: rate}
	for _, c := range l.Receive {
		decoder, err := codec.NewDecoder(c.Name, rate)
		if err == nil {
			v.sources[c.PT] = &source{name: c.Name, clock: c.Clock, decoder: decoder, buffer: jitter.New(c.Clock), pcm: make([]int16, 0, rate*180/1000)}
		}
	}
	return v
}

// fits tells whether the leg still receives what the voice decodes.
func (v *voice) fits(l *leg) bool {
	for _, c := range l.Receive {
		if src := v.sources[c.PT]; c.Name != sdp.Event && (src == nil || src.name != c.Name) {
			return false
		}
	}
	return true
}

// put takes a packet.
func (v *voice) put(h *rtp.Header, payload []byte, now time.Time) {
	src := v.sources[h.PayloadType]
	if src == nil {
		return
	}
	if v.now != src && v.now != nil {
		v.now.buffer.Reset()
	}
	v.now = src
	src.buffer.Put(h.Timestamp, uint32(codec.PayloadTicks(src.name, payload)), payload, now)
}

// turn decodes the next 20 ms.
func (v *voice) turn(count *counts) {
	v.frame = nil
	src := v.now
	if src == nil {
		return
	}
	src.pcm = src.pcm[:copy(src.pcm, src.pcm[src.taken:])]
	src.taken = 0
	src.buffer.Frame()
	want := v.rate / 50
	for len(src.pcm) < want {
		next, err := src.buffer.Next(), error(nil)
		switch next.What {
		case jitter.Play:
			src.pcm, err = src.decoder.Decode(src.pcm, next.Payload)
		case jitter.Conceal:
			count.concealed++
			src.pcm, err = src.decoder.Conceal(src.pcm, int(next.Ticks)*v.rate/src.clock, next.Payload)
		default:
			return // silence; what is left of a frame goes with the next
		}
		if err != nil {
			count.misplaced++
			return
		}
	}
	v.frame, src.taken = src.pcm[:want], want
}

// mix does a call's turn: under shard.mu.
func (s *shard) mix(c *call, now time.Time) {
	for _, l := range c.legs {
		if l.mixed.voice != nil {
			l.mixed.voice.turn(&s.count)
		}
	}
	for _, l := range c.legs {
		if l.mixed.ears != nil {
			s.mixFor(l, now)
		}
	}
}

func (s *shard) mixFor(l *leg, now time.Time) {
	m := &l.mixed
	if l.player != nil || l.keying.held || !l.sendable() {
		m.fresh = true
		return
	}
	if !m.begun {
		// Until the first frame of its peer is there the relay goes on; a peer
		// that is silent has nothing to go on with.
		if p := l.peer; p != nil && p.mixed.voice.frame == nil && now.Sub(p.in.lastArrival) < maxLag {
			return
		}
		m.begun, m.fresh = true, true
		if l.feed != nil {
			l.feed.buffer.Reset()
			l.feed = nil // its own turn takes it off the wheel
		}
	}
	clear(m.pcm)
	for _, x := range m.ears {
		for i, v := range x.mixed.voice.frame {
			m.pcm[i] = int16(min(max(int32(m.pcm[i])+int32(v), -1<<15), 1<<15-1))
		}
	}
	out, err := m.encoder.Encode(m.frame[:0], m.pcm)
	if err != nil {
		s.count.misplaced++
		return
	}
	m.frame = out[:0]
	s.count.mixed++
	s.sendOwn(l, m.format, out, s.sinceLast(l, m.fresh, now), m.fresh)
	m.fresh = false
}
