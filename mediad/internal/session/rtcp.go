package session

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

const (
	// reportEvery is RFC 3550's minimum interval, which two participants of
	// one call never exceed by bandwidth.
	reportEvery = 5 * time.Second
	// relayedFor: while the far leg's own reports come through, ours would
	// only repeat them.
	relayedFor = 3 * reportEvery
)

// RTCP packet types (RFC 3550 section 12.1).
const (
	rtcpSR   = 200
	rtcpRR   = 201
	rtcpSDES = 202
)

// firstReport and nextReport are randomised (RFC 3550 section 6.2).
func firstReport() time.Duration {
	return time.Duration(rand.Int64N(int64(reportEvery/2))) + reportEvery/4
}

func nextReport() time.Duration {
	return time.Duration(rand.Int64N(int64(reportEvery))) + reportEvery/2
}

// cname is a short-term persistent one (RFC 7022 section 4.2).
func cname() string {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	binary.BigEndian.PutUint32(b[8:], rand.Uint32())
	return base64.RawStdEncoding.EncodeToString(b[:])
}

// receiveRTCP is the way of one RTCP packet.
func (s *shard) receiveRTCP(l *leg, data []byte, from netip.AddrPort, now time.Time) {
	s.count.rtcpReceived++
	if l.rx == nil {
		s.count.unready++
		return
	}
	if l.pinned && from != l.pinRTCP {
		s.count.strange++
		return
	}
	plain, err := l.rx.OpenRTCP(data)
	if err != nil {
		s.count.rtcpForged++
		return
	}
	l.in.rtcp++
	l.in.lastRTCP = now
	l.dirty = true
	if !l.Mux && from != l.toRTCP.Addr() {
		l.toRTCP.Set(from)
	}
	if !l.readReports(plain, now) {
		return
	}
	p := l.peer
	if p == nil || p.player != nil || !p.sendable() || l.transcodes() || p.transcodes() || l.mixed.begun || p.mixed.begun {
		return
	}
	if l.Remap != 0 || p.Remap != 0 {
		remapReports(plain, l.Remap, p.Remap)
	}
	p.relayed = now
	s.sealReport(p, plain, now)
}

// transcodes tells whether what the leg receives is transcoded: the streams'
// SSRCs then differ on both sides, and reports mean nothing on the other.
func (l *leg) transcodes() bool {
	for _, c := range l.Receive {
		if tr := l.forward[c.PT].trans; tr != nil && tr.begun {
			return true
		}
	}
	return false
}

// eachRTCP walks a compound packet; false if it is not well formed.
func eachRTCP(b []byte, f func(kind byte, count int, body []byte)) bool {
	for len(b) > 0 {
		if len(b) < 4 || b[0]>>6 != 2 {
			return false
		}
		n := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
		if n > len(b) {
			return false
		}
		f(b[1], int(b[0]&31), b[4:n])
		b = b[n:]
	}
	return true
}

// blocks returns the report blocks of an SR or RR body.
func blocks(kind byte, count int, body []byte) []byte {
	at := 4 // after the sender's SSRC
	if kind == rtcpSR {
		at = 24
	} else if kind != rtcpRR {
		return nil
	}
	if end := at + 24*count; end <= len(body) {
		return body[at:end]
	}
	return nil
}

// readReports takes what is of use from a compound packet.
func (l *leg) readReports(b []byte, now time.Time) bool {
	return eachRTCP(b, func(kind byte, count int, body []byte) {
		if kind == rtcpSR && len(body) >= 24 {
			l.in.srSSRC = binary.BigEndian.Uint32(body)
			l.in.srMiddle = uint32(binary.BigEndian.Uint64(body[4:]) >> 16)
			l.in.srArrival = now
		}
		for blk := blocks(kind, count, body); len(blk) >= 24; blk = blk[24:] {
			l.reported(blk, now)
		}
	})
}

// reported takes one report block of the peer's.
func (l *leg) reported(blk []byte, now time.Time) {
	r := &l.report
	ssrc, highest := binary.BigEndian.Uint32(blk), binary.BigEndian.Uint32(blk[8:])
	lost := int64(int32(binary.BigEndian.Uint32(blk[4:])<<8) >> 8) // 24 bits, signed
	jitter := uint64(binary.BigEndian.Uint32(blk[12:]))
	s := r.stream(ssrc)
	if s.known {
		l.share.reported(int64(int32(highest-s.highest)), lost-s.lost, jitter)
	}
	s.highest, s.lost, s.known = highest, lost, true
	r.lost, r.jitter = lost, jitter
	lsr, dlsr := binary.BigEndian.Uint32(blk[16:]), binary.BigEndian.Uint32(blk[20:])
	if sent, ok := r.sent.at(lsr); ok && lsr != 0 {
		if rtt := now.Sub(sent) - time.Duration(dlsr)*time.Second>>16; rtt >= 0 {
			r.rtt = rtt
			l.share.timed(rtt)
		}
	}
}

// remapReports changes the SSRCs of a compound packet on its way from one leg
// to another, as RTP's are: sender's by the one leg's remap, those reported on
// by the other's.
func remapReports(b []byte, sender, reported uint32) {
	eachRTCP(b, func(kind byte, count int, body []byte) {
		if len(body) < 4 {
			return
		}
		putSSRC(body, binary.BigEndian.Uint32(body)^sender)
		for blk := blocks(kind, count, body); len(blk) >= 24; blk = blk[24:] {
			putSSRC(blk, binary.BigEndian.Uint32(blk)^reported)
		}
	})
}

// sendReport reports on what we receive, and on what we send of our own, each
// five seconds or so, unless the far leg's reports come through.
func (s *shard) sendReport(l *leg, now time.Time) {
	l.nextRTCP = now.Add(nextReport())
	to := l.toRTCP.Addr()
	if !to.IsValid() || to.Addr().IsUnspecified() || now.Sub(l.relayed) < relayedFor {
		return
	}
	s.sealReport(l, s.appendReport(s.plain[:0], l, now), now)
}

func (s *shard) appendReport(b []byte, l *leg, now time.Time) []byte {
	o, r := &l.own, &l.relay
	ssrc, start := o.ssrc, len(b)
	switch {
	case o.packets != o.reported:
		b = l.appendSent(b, now, ssrc, o.ts, o.last, o.packets, o.octets)
	case r.packets != r.reported:
		// Whose stream it is does not report on it. Without a sender report the
		// peer could not tell the round trip.
		ssrc = r.ssrc
		b = l.appendSent(b, now, ssrc, r.ts, r.at, r.packets, r.octets)
	default:
		b = append(b, 0x80, rtcpRR, 0, 0)
		b = binary.BigEndian.AppendUint32(b, ssrc)
	}
	o.reported, r.reported = o.packets, r.packets
	if l.in.heard {
		b[start]++
		b = l.in.appendBlock(b, now)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))

	start = len(b)
	b = append(b, 0x81, rtcpSDES, 0, 0)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, 1, byte(len(l.cname))) // CNAME
	b = append(b, l.cname...)
	b = append(b, 0)
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b
}

// appendSent begins a sender report (RFC 3550 section 6.4.1) on a stream whose
// newest packet had ts and went out at last.
func (l *leg) appendSent(b []byte, now time.Time, ssrc, ts uint32, last time.Time, packets, octets uint32) []byte {
	b = append(b, 0x80, rtcpSR, 0, 0)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, ntp(now))
	since := now.Sub(last)
	b = binary.BigEndian.AppendUint32(b, ts+uint32(since*time.Duration(l.Send[0].Clock)/time.Second))
	b = binary.BigEndian.AppendUint32(b, packets)
	return binary.BigEndian.AppendUint32(b, octets)
}

// appendBlock is a report block on the stream heard last (RFC 3550 section
// 6.4.1, appendix A.3).
func (st *inStats) appendBlock(b []byte, now time.Time) []byte {
	expected := st.expected()
	interval, got := expected-st.reportedExpected, st.count-st.reportedCount
	st.reportedExpected, st.reportedCount = expected, st.count
	fraction := uint64(0)
	if interval > got {
		fraction = (interval - got) << 8 / interval
	}
	lost := min(max(st.lostNow(), -1<<23), 1<<23-1)
	b = binary.BigEndian.AppendUint32(b, st.ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(min(fraction, 255))<<24|uint32(lost)&0xffffff)
	b = binary.BigEndian.AppendUint32(b, uint32(st.highest))
	b = binary.BigEndian.AppendUint32(b, uint32(st.jitter>>4))
	lsr, dlsr := uint32(0), uint32(0)
	if st.srSSRC == st.ssrc && !st.srArrival.IsZero() {
		lsr, dlsr = st.srMiddle, uint32(now.Sub(st.srArrival)<<16/time.Second)
	}
	b = binary.BigEndian.AppendUint32(b, lsr)
	return binary.BigEndian.AppendUint32(b, dlsr)
}

// sealReport protects a compound packet and sends it to a leg's peer.
func (s *shard) sealReport(l *leg, plain []byte, now time.Time) {
	if !s.speaks() {
		return
	}
	eachRTCP(plain, func(kind byte, _ int, body []byte) {
		if kind == rtcpSR && len(body) >= 24 {
			l.report.sent.note(uint32(binary.BigEndian.Uint64(body[4:])>>16), now)
		}
	})
	out, err := l.tx.SealRTCP(s.out, plain)
	if err != nil {
		s.count.reused++
		return
	}
	l.dirty = true
	if err := l.rtcpSocket().Send(out, l.toRTCP); err != nil {
		s.count.unsent++
		return
	}
	l.out.rtcp++
	s.count.rtcpSent++
}

// ntp is a time in NTP's 64-bit format (RFC 3550 section 4).
func ntp(t time.Time) uint64 {
	const unixToNTP = 2208988800 // seconds from 1900 to 1970
	return uint64(t.Unix()+unixToNTP)<<32 | uint64(t.Nanosecond())<<32/1e9
}
