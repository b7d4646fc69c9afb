package sdp

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"
)

// Setup is who begins the DTLS handshake (RFC 4145 section 4).
type Setup string

// The roles: the active one is the DTLS client.
const (
	Active  Setup = "active"
	Passive Setup = "passive"
	ActPass Setup = "actpass" // in offers: whichever the other likes
)

// DTLS is what a description says of its certificate and role (RFC 5763,
// RFC 8122).
type DTLS struct {
	Setup       Setup  `json:"setup"`
	Fingerprint []byte `json:"fingerprint"` // SHA-256 of the certificate
}

// ICE is a description's credentials for connectivity checks (RFC 8839
// section 5.4).
type ICE struct {
	Ufrag string `json:"ufrag"`
	Pwd   string `json:"pwd"`
}

// Bounds of RFC 8839 section 5.4.
const (
	leastUfrag, leastPwd, mostICE = 4, 22, 256
)

// dtls reads certificate, role and, if there are any, ICE's credentials. What
// the media section does not say the session may.
func (m *Media) dtls(desc *sdp.SessionDescription, md *sdp.MediaDescription) error {
	attribute := func(name string) string {
		if v, ok := md.Attribute(name); ok {
			return v
		}
		v, _ := desc.Attribute(name)
		return v
	}
	if _, ok := md.Attribute("rtcp-mux"); !ok {
		return fmt.Errorf("%w: DTLS without rtcp-mux", ErrUnusable) // or RTCP would need a handshake of its own
	}
	d := &DTLS{Setup: Setup(strings.ToLower(attribute("setup")))}
	switch d.Setup {
	case Active, Passive, ActPass:
	case "":
		d.Setup = Active // RFC 4145 section 4.1
	default:
		return fmt.Errorf("%w: a=setup:%s", ErrUnusable, d.Setup)
	}
	for _, list := range [][]sdp.Attribute{md.Attributes, desc.Attributes} {
		for _, a := range list {
			if a.Key == "fingerprint" && d.Fingerprint == nil {
				d.Fingerprint = parseFingerprint(a.Value)
			}
		}
	}
	if d.Fingerprint == nil {
		return fmt.Errorf("%w: no SHA-256 fingerprint", ErrUnusable)
	}
	m.DTLS, m.Mid = d, attribute("mid")
	if strings.ContainsAny(m.Mid, " \t") || len(m.Mid) > 64 {
		m.Mid = ""
	}
	ice := ICE{Ufrag: attribute("ice-ufrag"), Pwd: attribute("ice-pwd")}
	switch {
	case ice == ICE{}:
		return nil
	case len(ice.Ufrag) < leastUfrag || len(ice.Ufrag) > mostICE || len(ice.Pwd) < leastPwd || len(ice.Pwd) > mostICE:
		return fmt.Errorf("%w: length of ice-ufrag or ice-pwd", ErrUnusable)
	}
	m.ICE = &ice
	return nil
}

// parseFingerprint reads `sha-256 AB:CD:...`; nil for another hash: SHA-1 and
// MD5 are no proof of anything any more.
func parseFingerprint(v string) []byte {
	hash, value, ok := strings.Cut(v, " ")
	if !ok || !strings.EqualFold(hash, "sha-256") {
		return nil
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(value), ":", ""))
	if err != nil || len(sum) != 32 {
		return nil
	}
	return sum
}

// dtls writes certificate, role and ICE. We are the lite side (RFC 8445 section
// 2.5): one candidate, which is where we are.
func (l Local) dtls(b *strings.Builder) {
	b.WriteString("a=fingerprint:sha-256 ")
	for i, c := range l.DTLS.Fingerprint {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(b, "%02X", c)
	}
	b.WriteString("\r\na=setup:" + string(l.DTLS.Setup) + "\r\n")
	if l.Mid != "" {
		b.WriteString("a=mid:" + l.Mid + "\r\n")
	}
	if l.ICE == nil {
		return
	}
	const hostPriority = 126<<24 | 65535<<8 | 255 // RFC 8445 section 5.1.2.1
	fmt.Fprintf(b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", l.ICE.Ufrag, l.ICE.Pwd)
	fmt.Fprintf(b, "a=candidate:1 1 udp %d %s %d typ host\r\na=end-of-candidates\r\n", hostPriority, l.RTP.Addr(), l.RTP.Port())
}
