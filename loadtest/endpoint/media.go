package endpoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// media is the RTP session of one call.
type media struct {
	rtp, rtcp *net.UDPConn // rtcp is nil when both share a port
	src       *source
	ssrc      uint32
	listen    *listener

	mu      sync.Mutex
	dest    netip.AddrPort
	destC   netip.AddrPort
	pt      uint8
	eventPT uint8 // 0: the other side takes no events
	event   *outEvent
	out     *srtp.Context
	outC    *srtp.Context
	sent    int
	bytes   int
	late    time.Duration
	sentC   int
	leap    int // packets from the next one to the wrap of the sequence number; 0: no leap is asked for
	stop    chan struct{}
	done    sync.WaitGroup
	halted  sync.Once

	// drop, in tests, says which packets by number are never sent.
	drop   func(n uint32) bool
	impair Impairment
}

var profiles = map[Suite]srtp.ProtectionProfile{
	AES128SHA80: srtp.ProtectionProfileAes128CmHmacSha1_80,
	AES128SHA32: srtp.ProtectionProfileAes128CmHmacSha1_32,
	AES128GCM:   srtp.ProtectionProfileAeadAes128Gcm,
	AES256GCM:   srtp.ProtectionProfileAeadAes256Gcm,
}

// newContext makes one direction's SRTP state. Replay protection is off by
// default in pion/srtp; a receiver without it would count repeats as media.
func newContext(c crypto) (*srtp.Context, error) {
	k, _, ok := c.suite.lengths()
	if !ok {
		return nil, fmt.Errorf("unknown suite %q", c.suite)
	}
	return srtp.CreateContext(c.key[:k], c.key[k:], profiles[c.suite],
		srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(64))
}

// openMedia binds an even port, and the odd one after it unless mux.
func openMedia(addr netip.Addr, mux bool) (*media, error) {
	var last error
	for range 200 {
		port := uint16(20000 + 2*rand.IntN(20000))
		a, err := listenMedia(netip.AddrPortFrom(addr, port))
		if err != nil {
			last = err
			continue
		}
		m := &media{rtp: a, ssrc: rand.Uint32(), stop: make(chan struct{})}
		if !mux {
			if m.rtcp, err = listenMedia(netip.AddrPortFrom(addr, port+1)); err != nil {
				last = err
				a.Close()
				continue
			}
		}
		return m, nil
	}
	return nil, fmt.Errorf("bind a media port on %s: %w", addr, last)
}

func (m *media) port() uint16 { return m.rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// begin starts sending and receiving. It is called once.
func (m *media) begin(remote description, ours, theirs crypto, codec Codec, src *source, hear []int) error {
	var err error
	if m.listen, err = newListener(codec, theirs, hear); err != nil {
		return err
	}
	if m.out, err = newContext(ours); err != nil {
		return err
	}
	if m.outC, err = newContext(ours); err != nil {
		return err
	}
	m.src = src
	m.redirect(remote, codec)
	m.done.Add(2)
	go func() { defer m.done.Done(); m.receive(m.rtp) }()
	go func() { defer m.done.Done(); m.play() }()
	if m.rtcp != nil {
		m.done.Add(1)
		go func() { defer m.done.Done(); m.receive(m.rtcp) }()
	}
	return nil
}

// redirect sends to where a (new) SDP of the other side says.
func (m *media) redirect(remote description, codec Codec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dest = netip.AddrPortFrom(remote.addr, remote.port)
	m.destC = netip.AddrPortFrom(remote.addr, remote.rtcpPort)
	if m.rtcp == nil && remote.mux {
		m.destC = m.dest
	}
	m.pt = remote.codecs[codec]
	m.eventPT = remote.events[codec.clock()]
}

// play sends a packet each 20 ms by the clock, not by the interval: a late
// packet does not move those after it. RTCP goes out once a second.
func (m *media) play() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	header := rtp.Header{Version: 2, SSRC: m.ssrc, SequenceNumber: uint16(rand.Uint32N(1 << 15)), Timestamp: rand.Uint32()}
	var payload, packet []byte
	for n := uint32(0); ; n++ {
		due := start.Add(time.Duration(n) * time.Second / framesPerSecond)
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-m.stop:
				return
			}
		}
		select {
		case <-m.stop:
			return
		default:
		}
		payload = m.src.payload(payload, n)
		header.Marker = n == 0
		m.mu.Lock()
		m.late = max(m.late, time.Since(due))
		header.SequenceNumber += m.leaped(header.SequenceNumber)
		header.PayloadType = m.pt
		plain, err := header.Marshal()
		if err == nil {
			packet, err = m.out.EncryptRTP(packet[:0], append(plain, payload...), &header)
		}
		if err == nil && (m.drop == nil || !m.drop(n)) && !m.impair.loses(n) {
			_ = sendLater(m.rtp, packet, m.dest, m.impair.Delay+m.impair.late(n))
		}
		m.sent++
		m.bytes += len(payload)
		m.mu.Unlock()
		if n%framesPerSecond == framesPerSecond/2 {
			m.report(header.Timestamp)
		}
		m.sendEvent(&header, m.src.codec.frame())
		header.SequenceNumber++
		header.Timestamp += uint32(m.src.codec.frame())
	}
}

// longestLeap is less than half of the sequence numbers, so that the receiver's
// guess of the rollover counter stays right (RFC 3711 section 3.3.1).
const longestLeap = 1 << 14

// leaped is how many sequence numbers are left out before the next packet, to
// come as near to the wrap as was asked for. The lock is held.
func (m *media) leaped(next uint16) uint16 {
	if m.leap == 0 {
		return 0
	}
	far := uint16(-m.leap) - next
	if far > longestLeap {
		return longestLeap
	}
	m.leap = 0
	return far
}

// report sends a compound of sender report and CNAME (RFC 3550 section 6).
func (m *media) report(timestamp uint32) {
	if m.impair.NoRTCP {
		return
	}
	blocks := m.listen.reports()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	ntp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: m.ssrc, NTPTime: ntp, RTPTime: timestamp, PacketCount: uint32(m.sent), OctetCount: uint32(m.bytes), Reports: blocks},
		rtcp.NewCNAMESourceDescription(m.ssrc, "far-end"),
	})
	if err != nil {
		return
	}
	packet, err := m.outC.EncryptRTCP(nil, raw, nil)
	if err != nil {
		return
	}
	conn := m.rtcp
	if conn == nil {
		conn = m.rtp
	}
	if err := sendLater(conn, packet, m.destC, m.impair.Delay); err == nil {
		m.sentC++
	}
}

func (m *media) receive(conn *net.UDPConn) {
	heard := uint32(0)
	buf := make([]byte, 2048)
	oob := make([]byte, 128)
	for {
		n, oobn, _, _, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 {
			continue
		}
		at := arrival(oob[:oobn])
		// RFC 5761 section 4: payload types 64 to 95 of the second byte are RTCP.
		if t := buf[1] & 0x7f; t >= 64 && t < 96 {
			m.listen.control(buf[:n])
			continue
		}
		if heard++; m.impair.loses(heard) {
			continue
		}
		m.listen.packet(buf[:n], at.Add(m.impair.late(heard)))
	}
}

// halt stops sending and closes the ports.
func (m *media) halt() {
	m.halted.Do(func() {
		close(m.stop)
		m.rtp.Close()
		if m.rtcp != nil {
			m.rtcp.Close()
		}
		m.done.Wait()
	})
}

// beginTalk and endTalk bound the talk phase for a far end without marks.
func (m *media) beginTalk(at time.Time) {
	if m.listen != nil {
		m.listen.beginTalk(at)
	}
}

func (m *media) endTalk(at time.Time) {
	if m.listen != nil {
		m.listen.endTalk(at)
	}
}

func (m *media) result() MediaResult {
	var r MediaResult
	if m.listen != nil {
		r = m.listen.result()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Sent, r.SendLate, r.RTCPSent = m.sent, m.late, m.sentC
	return r
}
