package session

import (
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/jitter"
	"trunkline/mediad/internal/sdp"
)

// transcoding is one direction between Opus and G.711. Packets are put into order
// as they come and played at the pace of the leg they go to. What comes out is a
// stream of our own: another worker's encoder would make other bytes, so it must
// not bear the SSRC of a relayed one.
type transcoding struct {
	from, to sdp.Codec
	coder    *codec.Transcoder
	buffer   *jitter.Buffer
	frame    []byte

	ssrc  uint32 // of the stream being transcoded
	begun bool
	fresh bool // nothing of this talkspurt is sent: the first packet bears a marker
}

func newTranscoding(from, to sdp.Codec) *transcoding {
	coder, err := codec.NewTranscoder(from.Name, to.Name)
	if err != nil {
		return nil // the table then counts these packets as misplaced
	}
	return &transcoding{from: from, to: to, coder: coder, buffer: jitter.New(from.Clock), frame: make([]byte, 0, 2048), fresh: true}
}

// feed takes one packet's payload that is to go to a leg in another codec: under
// shard.mu.
func (s *shard) feed(to *leg, tr *transcoding, h *rtp.Header, payload []byte, now time.Time) {
	if tr.begun && tr.ssrc != h.SSRC {
		tr.buffer.Reset()
	}
	tr.begun, tr.ssrc = true, h.SSRC
	tr.buffer.Put(h.Timestamp, uint32(codec.PayloadTicks(tr.from.Name, payload)), payload, now)
	if to.feed != tr {
		to.feed = tr
		s.schedule(to)
	}
}

// playFeed sends a leg 20 ms of what is transcoded for it: under shard.mu.
func (s *shard) playFeed(l *leg, now time.Time) {
	tr := l.feed
	tr.buffer.Frame()
	for !tr.coder.Ready() {
		next, err := tr.buffer.Next(), error(nil)
		switch next.What {
		case jitter.Waiting:
			return
		case jitter.Idle:
			tr.fresh = true
			l.stopFeed()
			return
		case jitter.Play:
			err = tr.coder.Play(next.Payload)
		case jitter.Conceal:
			s.count.concealed++
			err = tr.coder.Conceal(next.Ticks, next.Payload)
		}
		if err != nil {
			s.count.misplaced++
			if tr.coder.Conceal(next.Ticks, nil) != nil {
				return
			}
		}
	}
	out, err := tr.coder.Frame(tr.frame[:0])
	if err != nil {
		s.count.misplaced++
		return
	}
	tr.frame = out[:0]
	if !l.sendable() {
		return
	}
	s.count.transcoded++
	s.sendOwn(l, tr.to, out, s.sinceLast(l, tr.fresh, now), tr.fresh)
	tr.fresh = false
}

// stopFeed ends what is transcoded for a leg until more comes: under shard.mu.
func (l *leg) stopFeed() {
	if l.feed == nil {
		return
	}
	l.feed.buffer.Reset()
	l.feed.fresh = true
	l.feed = nil
	l.call.shard.unschedule(l)
}
