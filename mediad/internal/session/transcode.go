package session

import (
	"github.com/pion/rtp"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/sdp"
)

// transcoding is one direction between two codecs. What comes out is a stream
// of our own: another worker's encoder would make other bytes, so it must not
// bear the SSRC of a relayed one.
type transcoding struct {
	from, to sdp.Codec
	coder    *codec.Transcoder
	buf      []byte

	ssrc   uint32 // of the stream being transcoded
	lastTS uint32
	begun  bool
}

func newTranscoding(from, to sdp.Codec) *transcoding {
	coder, err := codec.NewTranscoder(from.Name, to.Name)
	if err != nil {
		return nil // the table then counts these packets as misplaced
	}
	return &transcoding{from: from, to: to, coder: coder, buf: make([]byte, 0, 2048)}
}

// transcode sends one packet's payload in the other leg's codec. Losses and
// pauses stay: time and sequence numbers advance as the incoming ones do.
func (s *shard) transcode(from, to *leg, r *route, h *rtp.Header, payload []byte) {
	tr := r.trans
	steps := int32(1)
	if tr.begun && tr.ssrc == h.SSRC {
		in := int32(tr.from.Clock / 50)
		d := int32(h.Timestamp - tr.lastTS)
		if d <= 0 {
			return // late: the decoder is past it
		}
		steps = max(1, d/in)
	}
	first := !tr.begun || tr.ssrc != h.SSRC
	tr.begun, tr.ssrc, tr.lastTS = true, h.SSRC, h.Timestamp
	out, err := tr.coder.Transcode(tr.buf[:0], payload)
	if err != nil || len(out) == 0 {
		s.count.misplaced++
		return
	}
	tr.buf = out[:0]
	s.count.transcoded++
	s.sendOwn(to, tr.to, out, uint32(steps), first)
}
