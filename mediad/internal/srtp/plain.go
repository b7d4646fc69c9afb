package srtp

// Plain is RTP and RTCP without protection, for a far end that configuration
// allows it. It is no crypto suite: it is not Known, SDP can't ask for it by
// name, and nothing is authenticated. Whoever takes it checks where packets
// come from.
const Plain Suite = "plain"

// openPlain reads a packet as it is. Indices are kept as for SRTP, since what
// is relayed is protected under them on the other leg.
func (r *Receiver) openPlain(packet []byte) error {
	if len(packet) < 12 || packet[0]>>6 != 2 {
		return ErrForged
	}
	if _, err := r.header.Unmarshal(packet); err != nil {
		return ErrForged
	}
	return nil
}

// room makes room for one more SSRC of a plain stream, where nobody's key bounds
// them: the oldest goes.
func (s *streams) room() {
	if len(s.list) >= maxStreams {
		s.list = append(s.list[:0], s.list[1:]...)
	}
}

// sealPlain copies a packet as it is.
func (s *Sender) sealPlain(dst, packet []byte) ([]byte, error) {
	ssrc := uint32(packet[8])<<24 | uint32(packet[9])<<16 | uint32(packet[10])<<8 | uint32(packet[11])
	seq := uint16(packet[2])<<8 | uint16(packet[3])
	st := s.rtp.find(ssrc)
	if st == nil {
		s.rtp.room()
		st = s.rtp.add(ssrc)
		st.index = uint64(seq)
	}
	if index, ok := extend(st.index, seq); ok {
		st.index = max(st.index, index)
	}
	return append(dst[:0], packet...), nil
}
