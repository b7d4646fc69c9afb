package endpoint

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Codec is an encoding name as in rtpmap.
type Codec string

// Codecs.
const (
	PCMA Codec = "PCMA"
	Opus Codec = "opus"
)

// Suite is an SDES crypto suite by its RFC 4568 or RFC 7714 name.
type Suite string

// Suites.
const (
	AES128SHA80 Suite = "AES_CM_128_HMAC_SHA1_80"
	AES128SHA32 Suite = "AES_CM_128_HMAC_SHA1_32"
	AES128GCM   Suite = "AEAD_AES_128_GCM"
	AES256GCM   Suite = "AEAD_AES_256_GCM"
)

// lengths of master key and salt.
func (s Suite) lengths() (key, salt int, ok bool) {
	switch s {
	case AES128SHA80, AES128SHA32:
		return 16, 14, true
	case AES128GCM:
		return 16, 12, true
	case AES256GCM:
		return 32, 12, true
	}
	return 0, 0, false
}

func (c Codec) payloadType() uint8 {
	if c == Opus {
		return 96
	}
	return 8
}

func (c Codec) clock() int {
	if c == Opus {
		return 48000
	}
	return 8000
}

// newKey makes master key and salt for a suite.
func newKey(s Suite) []byte {
	k, salt, _ := s.lengths()
	key := make([]byte, k+salt)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// crypto is one a=crypto line.
type crypto struct {
	tag   string
	suite Suite
	key   []byte // master key and salt
}

// description is what this package reads of an SDP body.
type description struct {
	addr      netip.Addr
	port      uint16
	rtcpPort  uint16
	mux       bool
	profile   string
	codecs    map[Codec]uint8 // payload type
	events    map[int]uint8   // payload type of telephone-event, by its clock
	order     []Codec
	cryptos   []crypto
	direction string
}

var errNoAudio = errors.New("no audio in the SDP")

// parseSDP reads the first audio section. RFC 8866, RFC 4568, RFC 5761.
func parseSDP(body []byte) (description, error) {
	d := description{codecs: map[Codec]uint8{}, events: map[int]uint8{}, direction: "sendrecv"}
	var formats []string
	maps := map[string]string{"8": "PCMA/8000", "0": "PCMU/8000"}
	section := 0 // 0 session, 1 the audio, 2 anything after
	for line := range strings.Lines(string(body)) {
		line = strings.TrimRight(line, "\r\n")
		kind, value, _ := strings.Cut(line, "=")
		switch {
		case kind == "m" && section == 0 && strings.HasPrefix(value, "audio "):
			section = 1
			f := strings.Fields(value)
			if len(f) < 4 {
				return d, fmt.Errorf("malformed media line %q", line)
			}
			port, err := strconv.ParseUint(f[1], 10, 16)
			if err != nil {
				return d, fmt.Errorf("malformed media port %q", line)
			}
			d.port, d.rtcpPort, d.profile, formats = uint16(port), uint16(port)+1, f[2], f[3:]
		case kind == "m" && section == 1:
			section = 2
		case section == 2:
		case kind == "c":
			f := strings.Fields(value)
			if len(f) == 3 {
				a, err := netip.ParseAddr(f[2])
				if err != nil {
					return d, fmt.Errorf("malformed connection line %q: %w", line, err)
				}
				d.addr = a
			}
		case kind == "a":
			d.attribute(value, maps)
		}
	}
	if section == 0 {
		return d, errNoAudio
	}
	for _, f := range formats {
		name, clock, _ := strings.Cut(maps[f], "/")
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		if hz, err := strconv.Atoi(clock); err == nil && strings.EqualFold(name, "telephone-event") {
			d.events[hz] = uint8(pt)
		}
		for _, c := range []Codec{PCMA, Opus} {
			if strings.EqualFold(name, string(c)) {
				if _, dup := d.codecs[c]; !dup {
					d.codecs[c] = uint8(pt)
					d.order = append(d.order, c)
				}
			}
		}
	}
	return d, nil
}

func (d *description) attribute(value string, maps map[string]string) {
	name, arg, _ := strings.Cut(value, ":")
	switch name {
	case "rtpmap":
		if pt, enc, ok := strings.Cut(arg, " "); ok {
			maps[pt] = enc
		}
	case "rtcp-mux":
		d.mux = true
	case "rtcp":
		port, _, _ := strings.Cut(arg, " ")
		if p, err := strconv.ParseUint(port, 10, 16); err == nil {
			d.rtcpPort = uint16(p)
		}
	case "sendrecv", "sendonly", "recvonly", "inactive":
		d.direction = name
	case "crypto":
		f := strings.Fields(arg)
		if len(f) < 3 || !strings.HasPrefix(f[2], "inline:") {
			return
		}
		suite := Suite(f[1])
		k, salt, ok := suite.lengths()
		inline, _, _ := strings.Cut(strings.TrimPrefix(f[2], "inline:"), "|")
		key, err := base64.StdEncoding.DecodeString(inline)
		if err != nil { // padding is left out by some (RFC 4568 erratum)
			key, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(inline, "="))
		}
		if !ok || err != nil || len(key) != k+salt {
			return
		}
		d.cryptos = append(d.cryptos, crypto{tag: f[0], suite: suite, key: key})
	}
}

// local is our side of a session: what we offered, or what we answer.
type local struct {
	addr    netip.Addr
	port    uint16
	mux     bool
	version int
	id      uint32
	plain   bool // RTP/AVP without keys, only to be refused
	events  bool // offer telephone-event too (RFC 4733)
	codecs  []Codec
	types   map[Codec]uint8 // payload types of an answer; nil: our own
	cryptos []crypto
}

// write renders an SDP body.
func (l local) write() string {
	var b strings.Builder
	profile := "RTP/SAVP"
	if l.plain {
		profile = "RTP/AVP"
	}
	fmt.Fprintf(&b, "v=0\r\no=- %d %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n", l.id, l.version, l.addr, l.addr)
	fmt.Fprintf(&b, "m=audio %d %s", l.port, profile)
	pt := func(c Codec) uint8 {
		if t, ok := l.types[c]; ok {
			return t
		}
		return c.payloadType()
	}
	for _, c := range l.codecs {
		fmt.Fprintf(&b, " %d", pt(c))
	}
	if l.events {
		b.WriteString(" 101")
		if slices.Contains(l.codecs, Opus) {
			b.WriteString(" 102")
		}
	}
	b.WriteString("\r\n")
	for _, c := range l.codecs {
		switch c {
		case Opus:
			fmt.Fprintf(&b, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=20;useinbandfec=0\r\n", pt(c), pt(c))
		case PCMA:
			fmt.Fprintf(&b, "a=rtpmap:%d PCMA/8000\r\n", pt(c))
		}
	}
	if l.events {
		b.WriteString("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n")
		if slices.Contains(l.codecs, Opus) {
			b.WriteString("a=rtpmap:102 telephone-event/48000\r\na=fmtp:102 0-15\r\n")
		}
	}
	for _, c := range l.cryptos {
		fmt.Fprintf(&b, "a=crypto:%s %s inline:%s\r\n", c.tag, c.suite, base64.StdEncoding.EncodeToString(c.key))
	}
	b.WriteString("a=ptime:20\r\na=sendrecv\r\n")
	if l.mux {
		b.WriteString("a=rtcp-mux\r\n")
	} else {
		fmt.Fprintf(&b, "a=rtcp:%d\r\n", l.port+1)
	}
	return b.String()
}

// choose picks the first codec and suite of an offer that are among ours.
func choose(d description, codecs []Codec, suites []Suite) (Codec, crypto, bool) {
	var codec Codec
	for _, c := range d.order {
		if slices.Contains(codecs, c) {
			codec = c
			break
		}
	}
	for _, cr := range d.cryptos {
		if slices.Contains(suites, cr.suite) {
			return codec, cr, codec != "" && d.profile == "RTP/SAVP" && d.port != 0
		}
	}
	return "", crypto{}, false
}
