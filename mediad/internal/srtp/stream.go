package srtp

import (
	"errors"
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/replaydetector"
)

const (
	// replayWindow is in packets: 2.5 s of 20 ms packets.
	replayWindow = 128
	// maxStreams bounds the SSRCs of one key and direction. A peer that holds
	// the key could otherwise make us remember any number.
	maxStreams = 64
	// indexSkip is how far a successor's SRTCP index jumps over what its
	// predecessor may have sent since the last mark: at one report a second,
	// eighteen hours' worth.
	indexSkip = 1 << 16
	// Overhead bounds what protection adds to a packet: tag, index, slack.
	Overhead = 32
)

// What Receiver and Sender refuse. All are counted, none is logged per packet.
var (
	ErrReplayed = errors.New("packet seen before or too old")
	ErrForged   = errors.New("packet does not authenticate")
	ErrStreams  = errors.New("too many SSRCs under one key")
	ErrReused   = errors.New("index already used under this key and SSRC")
)

// Mark is how far one SSRC has come under one key: the packet index of SRTP
// (ROC<<16 | SEQ, RFC 3711 section 3.3.1) or the index of SRTCP.
type Mark struct {
	SSRC  uint32
	Index uint64
	RTCP  bool
}

// Receiver opens what a peer sends on one leg.
type Receiver struct {
	ctx      *srtp.Context // nil: plain
	floor    uint64        // for the replay window that is made next
	last     *window       // the one made last
	rejected bool          // by a replay window, since it was cleared
	header   rtp.Header

	headerRTCP rtcp.Header
	rtp        streams
	rtcp       streams

	first []byte // copy of a packet that may be the first to authenticate
	tries int    // at ROC 1, see openFirst
}

// NewReceiver makes a receiver without streams: the first packet of an SSRC
// starts it at ROC 0.
func NewReceiver(s Suite, k Key) (*Receiver, error) {
	r := &Receiver{}
	if s == Plain {
		return r, nil
	}
	factory := func(max uint64) func() replaydetector.ReplayDetector {
		return func() replaydetector.ReplayDetector {
			r.last = &window{floor: r.floor, max: max, rejected: &r.rejected}
			return r.last
		}
	}
	ctx, err := newContext(s, k,
		srtp.SRTPReplayDetectorFactory(factory(1<<48-1)),
		srtp.SRTCPReplayDetectorFactory(factory(1<<31-1)))
	if err != nil {
		return nil, err
	}
	r.ctx = ctx
	return r, nil
}

func newContext(s Suite, k Key, opts ...srtp.ContextOption) (*srtp.Context, error) {
	p, ok := suites[s]
	if !ok || len(k) != s.KeyBytes() {
		return nil, fmt.Errorf("key of %d bytes for suite %q", len(k), s)
	}
	return srtp.CreateContext(k[:p.key], k[p.key:], p.profile, opts...)
}

// Open authenticates and decrypts an RTP packet in place. It returns the plain
// packet, its header (valid until the next call) and its packet index.
func (r *Receiver) Open(packet []byte) (plain []byte, h *rtp.Header, index uint64, err error) {
	h = &r.header
	r.rejected = false
	switch {
	case r.ctx == nil:
		plain, err = packet, r.openPlain(packet)
	case len(r.rtp.list) == 0:
		plain, err = r.openFirst(packet)
	default:
		plain, err = r.ctx.DecryptRTP(packet[:0], packet, h)
	}
	if err != nil {
		return nil, h, 0, r.refusal()
	}
	s := r.rtp.find(h.SSRC)
	if s == nil {
		if r.ctx == nil {
			r.rtp.room()
		}
		if s = r.rtp.add(h.SSRC); s == nil {
			return nil, h, 0, ErrStreams
		}
		s.index = uint64(h.SequenceNumber)
		if r.ctx != nil {
			roc, _ := r.ctx.ROC(h.SSRC)
			s.index |= uint64(roc) << 16
		}
		return plain, h, s.index, nil
	}
	index, ok := extend(s.index, h.SequenceNumber)
	if !ok {
		index = uint64(h.SequenceNumber) // so does pion: a jump ahead within ROC 0
	}
	s.index = max(s.index, index)
	return plain, h, index, nil
}

// openFirst opens a packet when none has authenticated yet. Its ROC may be 1
// already: SEQ may have wrapped among packets we missed at the start of the
// stream, or between the last mark and a take-over.
func (r *Receiver) openFirst(packet []byte) ([]byte, error) {
	r.first = append(r.first[:0], packet...) // a failed open leaves nothing of packet
	plain, err := r.ctx.DecryptRTP(packet[:0], packet, &r.header)
	if err == nil || !errors.Is(err, srtp.ErrFailedToVerifyAuthTag) {
		return plain, err
	}
	// Each try leaves a state for the forged SSRC in pion's map: bound them.
	if r.tries++; r.tries > maxStreams {
		return nil, err
	}
	ssrc := r.header.SSRC
	r.ctx.SetROC(ssrc, 1)
	if plain, err = r.ctx.DecryptRTP(packet[:0], r.first, &r.header); err != nil {
		r.ctx.SetROC(ssrc, 0)
	}
	return plain, err
}

// OpenRTCP authenticates and decrypts an SRTCP packet in place.
func (r *Receiver) OpenRTCP(packet []byte) ([]byte, error) {
	if len(packet) < 8 {
		return nil, ErrForged
	}
	if r.ctx == nil {
		if packet[0]>>6 != 2 {
			return nil, ErrForged
		}
		return packet, nil
	}
	ssrc := ssrcOfRTCP(packet)
	r.rejected = false
	plain, err := r.ctx.DecryptRTCP(packet[:0], packet, &r.headerRTCP)
	if err != nil {
		return nil, r.refusal()
	}
	if r.rtcp.find(ssrc) == nil {
		s := r.rtcp.add(ssrc)
		if s == nil {
			return nil, ErrStreams
		}
		s.received = r.last
	}
	return plain, nil
}

// Marks appends how far each stream has come.
func (r *Receiver) Marks(m []Mark) []Mark {
	m = r.rtp.marks(m)
	for _, s := range r.rtcp.list {
		m = append(m, Mark{SSRC: s.ssrc, Index: s.received.newest, RTCP: true})
	}
	return m
}

// Restore sets a stream to where a mark says it was: its ROC is then known
// exactly, and nothing up to the mark is taken again.
func (r *Receiver) Restore(s Suite, k Key, m Mark) error {
	if m.RTCP {
		if r.ctx == nil {
			return nil
		}
		return r.restoreRTCP(m)
	}
	if r.rtp.find(m.SSRC) != nil {
		return nil
	}
	st := r.rtp.add(m.SSRC)
	if st == nil {
		return ErrStreams
	}
	if r.ctx == nil {
		st.index = m.Index
		return nil
	}
	// pion sets only the ROC. A packet of our own making at the marked index,
	// protected with the peer's key, moves its guess to the sequence number.
	send, err := newContext(s, k)
	if err != nil {
		return err
	}
	st.index = m.Index
	send.SetROC(m.SSRC, uint32(m.Index>>16))
	packet, err := send.EncryptRTP(nil, emptyPacket(m), nil)
	if err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	r.floor = m.Index
	r.ctx.SetROC(m.SSRC, uint32(m.Index>>16))
	r.floor = 0
	if _, err := r.ctx.DecryptRTP(nil, packet, nil); err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	return nil
}

// restoreRTCP needs the replay window only: SRTCP packets carry their index.
func (r *Receiver) restoreRTCP(m Mark) error {
	if r.rtcp.find(m.SSRC) != nil {
		return nil
	}
	st := r.rtcp.add(m.SSRC)
	if st == nil {
		return ErrStreams
	}
	r.floor = m.Index + 1
	r.ctx.SetIndex(m.SSRC, uint32(m.Index))
	r.floor = 0
	st.received = r.last
	st.received.newest = m.Index
	return nil
}

// Sender protects what goes to a peer on one leg.
type Sender struct {
	ctx    *srtp.Context // nil: plain
	header rtp.Header
	rtp    streams
	rtcp   streams

	headerRTCP rtcp.Header

	reserved uint64 // SRTCP indices that predecessors may have used
}

// NewSender makes a sender without streams.
func NewSender(s Suite, k Key) (*Sender, error) {
	if s == Plain {
		return &Sender{}, nil
	}
	ctx, err := newContext(s, k)
	if err != nil {
		return nil, err
	}
	return &Sender{ctx: ctx}, nil
}

// Succeed makes a new sender the successor of so many others under its key. Those
// may have sent reports of an SSRC that no mark tells of, so each begins beyond what
// they can have used; see indexSkip.
func (s *Sender) Succeed(lives uint32) { s.reserved = uint64(lives) * indexSkip }

// Seal protects an RTP packet into dst, whose capacity must exceed the
// packet's length by Overhead. It refuses an index it has used: two packets
// under one (key, SSRC, index) would give both away.
func (s *Sender) Seal(dst, packet []byte) ([]byte, error) {
	if len(packet) < 12 {
		return nil, ErrForged
	}
	if s.ctx == nil {
		return s.sealPlain(dst, packet)
	}
	ssrc := uint32(packet[8])<<24 | uint32(packet[9])<<16 | uint32(packet[10])<<8 | uint32(packet[11])
	seq := uint16(packet[2])<<8 | uint16(packet[3])
	st := s.rtp.find(ssrc)
	if st == nil {
		if st = s.rtp.add(ssrc); st == nil {
			return nil, ErrStreams
		}
		st.first, st.index = uint64(seq), uint64(seq)
		st.sent.accept(st.index)
	} else {
		index, ok := extend(st.index, seq)
		if !ok || index < st.first || !st.sent.check(index) {
			return nil, ErrReused
		}
		st.sent.accept(index)
		st.index = max(st.index, index)
	}
	return s.ctx.EncryptRTP(dst[:0], packet, &s.header)
}

// SealRTCP protects an RTCP packet into dst, which needs room as for Seal.
func (s *Sender) SealRTCP(dst, packet []byte) ([]byte, error) {
	if len(packet) < 8 {
		return nil, ErrForged
	}
	if s.ctx == nil {
		return append(dst[:0], packet...), nil
	}
	ssrc := ssrcOfRTCP(packet)
	st := s.rtcp.find(ssrc)
	if st == nil {
		if st = s.rtcp.add(ssrc); st == nil {
			return nil, ErrStreams
		}
		st.index = s.reserved
		s.ctx.SetIndex(ssrc, uint32(st.index))
	}
	out, err := s.ctx.EncryptRTCP(dst[:0], packet, &s.headerRTCP)
	if err != nil {
		return nil, err
	}
	st.index++
	return out, nil
}

// Knows tells whether the SSRC was ever sent under this key.
func (s *Sender) Knows(ssrc uint32) bool {
	return s.rtp.find(ssrc) != nil || s.rtcp.find(ssrc) != nil
}

// Marks appends how far each stream has come.
func (s *Sender) Marks(m []Mark) []Mark {
	m = s.rtp.marks(m)
	n := len(m)
	m = s.rtcp.marks(m)
	for i := n; i < len(m); i++ {
		m[i].RTCP = true
	}
	return m
}

// Restore sets a stream to where a mark says it was. Of SRTP the next packet
// continues exactly: a relay protects the same packet in the same way again.
// Of SRTCP, whose packets are made anew, the index skips ahead.
func (s *Sender) Restore(m Mark) error {
	list := &s.rtp
	if m.RTCP {
		list = &s.rtcp
	}
	if list.find(m.SSRC) != nil {
		return nil
	}
	st := list.add(m.SSRC)
	if st == nil {
		return ErrStreams
	}
	if s.ctx == nil {
		st.index = m.Index
		return nil
	}
	if m.RTCP {
		st.index = max(m.Index+indexSkip, s.reserved)
		s.ctx.SetIndex(m.SSRC, uint32(st.index))
		return nil
	}
	// As in Receiver.Restore; this packet is thrown away.
	s.ctx.SetROC(m.SSRC, uint32(m.Index>>16))
	if _, err := s.ctx.EncryptRTP(nil, emptyPacket(m), nil); err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	st.first, st.index = m.Index+1, m.Index
	st.sent.accept(m.Index)
	return nil
}

func emptyPacket(m Mark) []byte {
	return []byte{0x80, 0, byte(m.Index >> 8), byte(m.Index), 0, 0, 0, 0,
		byte(m.SSRC >> 24), byte(m.SSRC >> 16), byte(m.SSRC >> 8), byte(m.SSRC)}
}

func ssrcOfRTCP(p []byte) uint32 {
	return uint32(p[4])<<24 | uint32(p[5])<<16 | uint32(p[6])<<8 | uint32(p[7])
}

// refusal turns pion's errors into ours; pion's own for a replay is private.
func (r *Receiver) refusal() error {
	if r.rejected {
		return ErrReplayed
	}
	return ErrForged
}
