package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// suite is a crypto suite by its SDP name, or plain RTP.
type suite string

// Suites that both daemons have.
const (
	cm80   suite = "AES_CM_128_HMAC_SHA1_80"
	gcm128 suite = "AEAD_AES_128_GCM"
	gcm256 suite = "AEAD_AES_256_GCM"
	plain  suite = ""
)

// params are a suite's profile and the lengths of its master key and salt.
var params = map[suite]struct {
	profile   srtp.ProtectionProfile
	key, salt int
}{
	cm80:   {srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	gcm128: {srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	gcm256: {srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
}

func (s suite) transport() string {
	if s == plain {
		return "RTP/AVP"
	}
	return "RTP/SAVP"
}

func (s suite) newKey() []byte {
	key := make([]byte, params[s].key+params[s].salt)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

func (s suite) context(key []byte) (*srtp.Context, error) {
	p := params[s]
	if len(key) != p.key+p.salt {
		return nil, fmt.Errorf("key of %d bytes for %s", len(key), s)
	}
	return srtp.CreateContext(key[:p.key], key[p.key:], p.profile)
}

const (
	frame       = 20 * time.Millisecond
	payloadSize = 160 // G.711, 20 ms
	payloadType = 8
	headerSize  = 12
	// mostPackets bounds what one party sends in its life: ten minutes.
	mostPackets = 30000
)

// party is one end of a call: it sends a packet each 20 ms and checks what its
// far end sent.
type party struct {
	id    uint32
	suite suite
	sock  *socket
	far   *party

	key     []byte        // we send with it
	out, in *srtp.Context // nil: plain
	to      unix.RawSockaddrInet4

	ssrc uint32
	seq  uint16 // of packet 0
	ts   uint32
	sent int

	seen    []uint64 // which of the far end's packets came
	highest int
	header  rtp.Header
	opened  [datagramSize]byte
}

func newParty(id uint32, s suite, sock *socket) *party {
	return &party{id: id, suite: s, sock: sock, key: s.newKey(), ssrc: mathrand.Uint32(), seq: uint16(mathrand.Uint32N(1 << 15)),
		ts: mathrand.Uint32(), seen: make([]uint64, (mostPackets+63)/64), highest: -1}
}

// offer describes the party to a relay; tag is of its crypto line.
func (p *party) offer(tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- %d 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d %s %d\r\na=rtpmap:%d PCMA/8000\r\n",
		p.id, p.sock.addr.Addr(), p.sock.addr.Addr(), p.sock.addr.Port(), p.suite.transport(), payloadType, payloadType)
	if p.suite != plain {
		fmt.Fprintf(&b, "a=crypto:%s %s inline:%s\r\n", tag, p.suite, base64.StdEncoding.EncodeToString(p.key))
	}
	b.WriteString("a=sendrecv\r\na=rtcp-mux\r\na=ptime:20\r\n")
	return b.String()
}

// side is what a relay's session description says.
type side struct {
	addr netip.AddrPort
	tag  string // of the suite's crypto line
	key  []byte
}

var errSDP = errors.New("relay's SDP is of no use")

// readSide reads a relay's description for a party of a suite.
func readSide(text string, s suite) (side, error) {
	var r side
	var host netip.Addr
	var port uint64
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "c=") && len(f) == 3:
			host, _ = netip.ParseAddr(f[2])
		case strings.HasPrefix(line, "m=audio ") && len(f) > 3:
			port, _ = strconv.ParseUint(f[1], 10, 16)
		case strings.HasPrefix(line, "a=crypto:") && len(f) > 2 && f[1] == string(s) && r.key == nil:
			inline, _, _ := strings.Cut(strings.TrimPrefix(f[2], "inline:"), "|")
			key, err := base64.StdEncoding.DecodeString(inline)
			if err != nil {
				if key, err = base64.RawStdEncoding.DecodeString(inline); err != nil {
					return r, fmt.Errorf("%w: key: %w", errSDP, err)
				}
			}
			r.tag, r.key = strings.TrimPrefix(f[0], "a=crypto:"), key
		}
	}
	r.addr = netip.AddrPortFrom(host, uint16(port))
	if !host.Is4() || port == 0 || s != plain && r.key == nil {
		return r, fmt.Errorf("%w: want an address and %q in\n%s", errSDP, s, text)
	}
	return r, nil
}

// connect makes the party ready to talk to the relay.
func (p *party) connect(r side) (err error) {
	p.to = destination(r.addr)
	if p.suite == plain {
		return nil
	}
	if p.out, err = p.suite.context(p.key); err != nil {
		return err
	}
	p.in, err = p.suite.context(r.key)
	return err
}

// packet writes packet n of a party, plain.
func (p *party) packet(b []byte, n int, now int64) []byte {
	b = append(b, 0x80, payloadType)
	b = binary.BigEndian.AppendUint16(b, p.seq+uint16(n))
	b = binary.BigEndian.AppendUint32(b, p.ts+uint32(n)*payloadSize)
	b = binary.BigEndian.AppendUint32(b, p.ssrc)
	b = binary.BigEndian.AppendUint32(b, p.id)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint64(b, uint64(now))
	for i := range uint64(payloadSize-16) / 8 {
		b = binary.BigEndian.AppendUint64(b, filler(p.id, n, i))
	}
	return b
}

// filler is the i-th word of what only this packet has (splitmix64).
func filler(id uint32, n int, i uint64) uint64 {
	z := uint64(id)<<32 + uint64(n) + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// talk queues the next packet.
func (p *party) talk(scratch []byte, now int64) {
	b := p.packet(scratch[:0], p.sent, now)
	p.sent++
	p.emit(b)
}

func (p *party) emit(b []byte) {
	wire := append(p.sock.next(), b...)
	if p.out != nil {
		sealed, err := p.out.EncryptRTP(wire[:0], b, &p.header)
		if err != nil {
			panic("mediaproof: " + err.Error()) // a packet of our own making
		}
		wire = sealed
	}
	p.sock.send(len(wire), &p.to)
}

// forge sends what the next packet would be, with a tag that is not its own: a
// relay that passes it on authenticates nothing.
func (p *party) forge(scratch []byte, now int64) {
	b := p.packet(scratch[:0], p.sent, now)
	sealed, err := p.out.EncryptRTP(p.sock.next(), b, &p.header)
	if err != nil {
		panic("mediaproof: " + err.Error()) // a packet of our own making
	}
	sealed[len(sealed)-1] ^= 1
	p.sock.send(len(sealed), &p.to)
}

// verdict is what a received packet turned out to be.
type verdict int

const (
	good verdict = iota
	late         // good, behind one that was sent after it
	double
	unauthentic
	altered // opens, but is not what the far end sent
	control // RTCP
)

// check opens a packet that came to the party and compares every byte with what
// its far end sent. sentAt is when that was.
func (p *party) check(b []byte) (v verdict, sentAt int64) {
	if len(b) > 1 && b[1]&0x7f >= 64 && b[1]&0x7f < 96 {
		return control, 0
	}
	if p.in != nil {
		opened, err := p.in.DecryptRTP(p.opened[:0], b, &p.header)
		if err != nil {
			return unauthentic, 0
		}
		b = opened
	}
	far := p.far
	if len(b) != headerSize+payloadSize || binary.BigEndian.Uint32(b[headerSize:]) != far.id {
		return altered, 0
	}
	n := int(binary.BigEndian.Uint32(b[headerSize+4:]))
	sentAt = int64(binary.BigEndian.Uint64(b[headerSize+8:]))
	if n >= far.sent {
		return altered, 0
	}
	var want [headerSize + payloadSize]byte
	if string(far.packet(want[:0], n, sentAt)) != string(b) {
		return altered, 0
	}
	bit := uint64(1) << (n % 64)
	if p.seen[n/64]&bit != 0 {
		return double, 0
	}
	p.seen[n/64] |= bit
	if n < p.highest {
		return late, sentAt
	}
	p.highest = n
	return good, sentAt
}
