// Package sdp reads the one audio stream a peer offers or answers and writes
// ours (RFC 8866, RFC 3264), with keys by SDES (RFC 4568) or by DTLS (RFC 5763)
// and ICE (RFC 8839), RTCP beside RTP or multiplexed with it (RFC 3605,
// RFC 5761), and the codecs of the tier.
//
// It decides what is usable, not what is wanted: preferences are the caller's.
// Plain RTP is refused (T2) unless the caller asks for it. So are host names,
// MKI, unencrypted and unauthenticated variants of a suite. Of other media in
// an offer it remembers just enough to reject them line by line.
package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"trunkline/mediad/internal/srtp"
)

// ErrMalformed is wrapped when the text is not SDP, ErrUnusable when it is but
// offers nothing we may take: 400 and 488 in SIP.
var (
	ErrMalformed = errors.New("malformed SDP")
	ErrUnusable  = errors.New("unusable SDP")
)

// Direction of media as its attribute spells it, seen from the one who
// describes it.
type Direction string

// The four directions (RFC 8866 section 6.7).
const (
	SendRecv Direction = "sendrecv"
	SendOnly Direction = "sendonly"
	RecvOnly Direction = "recvonly"
	Inactive Direction = "inactive"
)

// Sends tells whether the describer sends.
func (d Direction) Sends() bool { return d == SendRecv || d == SendOnly }

// And is what both allow.
func (d Direction) And(o Direction) Direction {
	switch send, receive := d.Sends() && o.Sends(), d.Receives() && o.Receives(); {
	case send && receive:
		return SendRecv
	case send:
		return SendOnly
	case receive:
		return RecvOnly
	}
	return Inactive
}

// Receives tells whether the describer wants to receive.
func (d Direction) Receives() bool { return d == SendRecv || d == RecvOnly }

// Reverse is the direction seen from the other side (RFC 3264 section 6.1).
func (d Direction) Reverse() Direction {
	switch d {
	case SendOnly:
		return RecvOnly
	case RecvOnly:
		return SendOnly
	}
	return d
}

// Codec is a payload format and its number in one description.
type Codec struct {
	Name  string // canonical: "opus", "PCMA", "PCMU" or "telephone-event"
	Clock int    // Hz
	PT    uint8
}

// Names of the payload formats.
const (
	Opus  = "opus"
	PCMA  = "PCMA"
	PCMU  = "PCMU"
	Event = "telephone-event" // RFC 4733
)

// Crypto is one a=crypto line.
type Crypto struct {
	Tag   int
	Suite srtp.Suite
	Key   srtp.Key
}

// Media is what a peer's description says of its audio.
type Media struct {
	Proto     string // as the m= line has it
	RTP, RTCP netip.AddrPort
	Mux       bool // a=rtcp-mux is there
	Direction Direction
	Codecs    []Codec  // the ones we know, in the peer's order, without events
	Events    []Codec  // telephone-event, one per clock rate
	Cryptos   []Crypto // the ones we know, in the peer's order: where keys come by SDES
	DTLS      *DTLS    // where they come by DTLS
	ICE       *ICE     // beside DTLS, if the peer does it
	Mid       string   // a=mid, ""

	audio    int       // which section it is
	sections []section // all of them, for the answer
}

// Protection is how packets are protected, and where the keys come from.
type Protection string

// The protections. Their zero value is the one that is usual between
// telephone systems.
const (
	BySDES    Protection = ""
	ByDTLS    Protection = "dtls"
	Unguarded Protection = "plain" // RTP as such
)

// protections are the transports we know (RFC 3551, RFC 3711, RFC 4585,
// RFC 5124, RFC 5764). Feedback profiles are taken for their base: nobody has
// to send early feedback.
var protections = map[string]Protection{
	"RTP/SAVP": BySDES, "RTP/SAVPF": BySDES,
	"UDP/TLS/RTP/SAVP": ByDTLS, "UDP/TLS/RTP/SAVPF": ByDTLS,
	"RTP/AVP": Unguarded, "RTP/AVPF": Unguarded,
}

// ProtectionOf is what a transport of an m= line means.
func ProtectionOf(proto string) (p Protection, ok bool) {
	p, ok = protections[proto]
	return p, ok
}

// Protection of the audio.
func (m *Media) Protection() Protection { return protections[m.Proto] }

type section struct{ kind, proto, formats string }

// maxText bounds a description; real ones are under 4 kB.
const maxText = 64 << 10

// Parse reads a peer's offer or answer, in which audio has to be protected.
func Parse(text string) (*Media, error) { return parse(text, false) }

// ParseUnguarded also takes plain RTP, where there is no protected audio.
func ParseUnguarded(text string) (*Media, error) { return parse(text, true) }

func parse(text string, unguarded bool) (*Media, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(text))
	}
	m := &Media{audio: -1}
	audio, plain := m.split(text, unguarded)
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(audio); err != nil {
		// pion quotes the text in its errors, and the text holds keys.
		return nil, ErrMalformed
	}
	if m.audio < 0 {
		if plain {
			return nil, fmt.Errorf("%w: audio is not RTP/SAVP", ErrUnusable)
		}
		return nil, fmt.Errorf("%w: no audio", ErrUnusable)
	}
	if len(desc.MediaDescriptions) != 1 {
		return nil, ErrMalformed // lines end otherwise than we think
	}
	md := desc.MediaDescriptions[0]
	if err := m.guard(&desc, md); err != nil {
		return nil, err
	}
	if err := m.transport(&desc, md); err != nil {
		return nil, err
	}
	if m.codecs(md); len(m.Codecs) == 0 {
		return nil, fmt.Errorf("%w: no known codec", ErrUnusable)
	}
	return m, nil
}

// guard reads where the keys come from.
func (m *Media) guard(desc *sdp.SessionDescription, md *sdp.MediaDescription) error {
	switch m.Protection() {
	case BySDES:
		if m.cryptos(md); len(m.Cryptos) == 0 {
			return fmt.Errorf("%w: no acceptable crypto suite", ErrUnusable)
		}
	case ByDTLS:
		return m.dtls(desc, md)
	}
	return nil
}

// split notes all sections and returns the text with the one of our audio
// alone: pion would refuse a description for a transport it does not know,
// such as udptl, even in a section that we reject. The first protected audio is
// ours, else, if it may be, the first that is not. plain tells whether there was
// audio that may not.
func (m *Media) split(text string, unguarded bool) (audio string, plain bool) {
	for line := range strings.Lines(text) {
		v, ok := strings.CutPrefix(line, "m=")
		if !ok {
			continue
		}
		f := strings.Fields(v)
		if len(f) < 4 {
			return text, false // pion will say so
		}
		m.sections = append(m.sections, section{f[0], f[2], strings.Join(f[3:], " ")})
		if f[0] != "audio" || f[1] == "0" {
			continue
		}
		p, known := ProtectionOf(f[2])
		switch {
		case !known || p == Unguarded && !unguarded:
			plain = true
		case m.audio < 0 || m.Protection() == Unguarded && p != Unguarded:
			m.audio, m.Proto = len(m.sections)-1, f[2]
		}
	}
	var b strings.Builder
	section := -1
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "m=") {
			section++
		}
		if section < 0 || section == m.audio {
			b.WriteString(line)
		}
	}
	return b.String(), plain
}

// transport reads addresses, RTCP and direction.
func (m *Media) transport(desc *sdp.SessionDescription, md *sdp.MediaDescription) error {
	c := md.ConnectionInformation
	if c == nil {
		c = desc.ConnectionInformation
	}
	if c == nil || c.Address == nil {
		return fmt.Errorf("%w: no c= line", ErrUnusable)
	}
	addr, err := netip.ParseAddr(c.Address.Address)
	if err != nil || addr.Zone() != "" || addr.IsMulticast() {
		return fmt.Errorf("%w: c= is no unicast IP address", ErrUnusable)
	}
	port := md.MediaName.Port.Value
	if port < 1 || port > 65535 {
		return fmt.Errorf("%w: port %d", ErrUnusable, port)
	}
	m.RTP = netip.AddrPortFrom(addr, uint16(port))
	_, m.Mux = md.Attribute("rtcp-mux")
	m.RTCP = netip.AddrPortFrom(addr, uint16(port+1))
	if m.Mux {
		m.RTCP = m.RTP
	} else if v, ok := md.Attribute("rtcp"); ok {
		m.RTCP = parseRTCP(v, m.RTCP)
	}

	m.Direction = SendRecv
	for _, d := range []Direction{SendRecv, SendOnly, RecvOnly, Inactive} {
		if _, ok := desc.Attribute(string(d)); ok {
			m.Direction = d
		}
	}
	for _, d := range []Direction{SendRecv, SendOnly, RecvOnly, Inactive} {
		if _, ok := md.Attribute(string(d)); ok {
			m.Direction = d
		}
	}
	if addr.IsUnspecified() && m.ICE == nil { // hold as RFC 2543 had it: nowhere to send to
		if m.Direction.Sends() {
			m.Direction = SendOnly
		} else {
			m.Direction = Inactive
		}
	}
	return nil
}

// parseRTCP reads `port [IN IP4 address]` (RFC 3605) over a default.
func parseRTCP(v string, to netip.AddrPort) netip.AddrPort {
	f := strings.Fields(v)
	if len(f) == 0 {
		return to
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil || port == 0 {
		return to
	}
	addr := to.Addr()
	if len(f) == 4 {
		if a, err := netip.ParseAddr(f[3]); err == nil && a.Zone() == "" && !a.IsMulticast() {
			addr = a
		}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// codecs reads the formats of the m= line in their order; the static numbers
// need no rtpmap (RFC 3551 section 6).
func (m *Media) codecs(md *sdp.MediaDescription) {
	maps := map[string]string{"0": "PCMU/8000", "8": "PCMA/8000"}
	for _, a := range md.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		if pt, enc, ok := strings.Cut(a.Value, " "); ok {
			maps[pt] = strings.TrimSpace(enc)
		}
	}
	for _, format := range md.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil || (pt >= 64 && pt < 96) { // RTCP's numbers (RFC 5761 section 4)
			continue
		}
		c := Codec{PT: uint8(pt)}
		switch enc := strings.ToLower(maps[format]); {
		case enc == "opus/48000/2":
			c.Name, c.Clock = Opus, 48000
		case enc == "pcma/8000" || enc == "pcma/8000/1":
			c.Name, c.Clock = PCMA, 8000
		case enc == "pcmu/8000" || enc == "pcmu/8000/1":
			c.Name, c.Clock = PCMU, 8000
		case enc == "telephone-event/8000" || enc == "telephone-event/8000/1":
			c.Name, c.Clock = Event, 8000
		case enc == "telephone-event/48000" || enc == "telephone-event/48000/1":
			c.Name, c.Clock = Event, 48000
		default:
			continue
		}
		if c.Name == Event {
			m.Events = append(m.Events, c)
		} else {
			m.Codecs = append(m.Codecs, c)
		}
	}
}

func (m *Media) cryptos(md *sdp.MediaDescription) {
	for _, a := range md.Attributes {
		if a.Key == "crypto" {
			if c, ok := parseCrypto(a.Value); ok {
				m.Cryptos = append(m.Cryptos, c)
			}
		}
	}
}

// RefuseMux has RTCP go beside RTP though the peer would multiplex them.
func (m *Media) RefuseMux() {
	m.Mux, m.RTCP = false, netip.AddrPortFrom(m.RTP.Addr(), m.RTP.Port()+1)
}

// Event returns the telephone-event format that goes with a clock rate; if
// there is none, one of another rate: phones that send Opus with events at
// 8000 Hz are many.
func (m *Media) Event(clock int) (Codec, bool) {
	for _, e := range m.Events {
		if e.Clock == clock {
			return e, true
		}
	}
	if len(m.Events) > 0 {
		return m.Events[0], true
	}
	return Codec{}, false
}
