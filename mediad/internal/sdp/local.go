package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Local is our side of one audio stream.
type Local struct {
	Session   uint64 // o= session id
	Version   uint64 // o= version, one more for each change
	RTP       netip.AddrPort
	Mux       bool
	Direction Direction
	Codecs    []Codec // by preference, telephone-event last
	Proto     string  // "": RTP/SAVP
	Cryptos   []Crypto
	DTLS      *DTLS
	ICE       *ICE // with DTLS
	Mid       string
}

// Offer writes an offer of one audio stream.
func (l Local) Offer() string {
	var b strings.Builder
	l.head(&b)
	// If the peer does not multiplex, its RTCP goes beside RTP.
	l.audio(&b, l.RTP.Port()+1)
	return b.String()
}

// Answer writes the answer to a peer's offer: its audio is taken, every other
// medium is rejected in its place (RFC 3264 section 6).
func (l Local) Answer(offer *Media) string {
	var b strings.Builder
	l.head(&b)
	for i, s := range offer.sections {
		if i == offer.audio {
			rtcp := l.RTP.Port() + 1
			if l.Mux {
				rtcp = l.RTP.Port()
			}
			l.audio(&b, rtcp)
			continue
		}
		fmt.Fprintf(&b, "m=%s 0 %s %s\r\n", s.kind, s.proto, s.formats)
	}
	return b.String()
}

func (l Local) head(b *strings.Builder) {
	family := "IP4"
	if l.RTP.Addr().Is6() {
		family = "IP6"
	}
	fmt.Fprintf(b, "v=0\r\no=- %d %d IN %s %s\r\ns=-\r\nc=IN %[3]s %[4]s\r\nt=0 0\r\n",
		l.Session, l.Version, family, l.RTP.Addr())
	if l.ICE != nil {
		b.WriteString("a=ice-lite\r\n")
	}
	if l.Mid != "" {
		b.WriteString("a=group:BUNDLE " + l.Mid + "\r\n")
	}
}

func (l Local) audio(b *strings.Builder, rtcp uint16) {
	proto := l.Proto
	if proto == "" {
		proto = "RTP/SAVP"
	}
	fmt.Fprintf(b, "m=audio %d %s", l.RTP.Port(), proto)
	for _, c := range l.Codecs {
		b.WriteString(" " + strconv.Itoa(int(c.PT)))
	}
	b.WriteString("\r\n")
	for _, c := range l.Codecs {
		fmt.Fprintf(b, "a=rtpmap:%d %s/%d", c.PT, c.Name, c.Clock)
		if c.Name == Opus {
			b.WriteString("/2") // always, whatever is sent (RFC 7587 section 7)
		}
		b.WriteString("\r\n")
		switch c.Name {
		case Opus:
			fmt.Fprintf(b, "a=fmtp:%d useinbandfec=1\r\n", c.PT)
		case Event:
			fmt.Fprintf(b, "a=fmtp:%d 0-15\r\n", c.PT)
		}
	}
	b.WriteString("a=ptime:20\r\na=" + string(l.Direction) + "\r\n")
	fmt.Fprintf(b, "a=rtcp:%d\r\n", rtcp)
	if l.Mux {
		b.WriteString("a=rtcp-mux\r\n")
	}
	for _, c := range l.Cryptos {
		b.WriteString(c.line())
	}
	if l.DTLS != nil {
		l.dtls(b)
	}
}
