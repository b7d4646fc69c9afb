package sdp

import (
	"encoding/base64"
	"strconv"
	"strings"

	"trunkline/mediad/internal/srtp"
)

// parseCrypto reads `tag suite inline:key|lifetime|mki:length [session
// parameters]` (RFC 4568 section 9.1). A line that asks for what we do not do
// is not ok: another may do.
func parseCrypto(v string) (Crypto, bool) {
	f := strings.Fields(v)
	if len(f) < 3 || len(f[0]) > 9 {
		return Crypto{}, false
	}
	tag, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return Crypto{}, false
	}
	c := Crypto{Tag: int(tag), Suite: srtp.Suite(f[1])}
	inline, ok := strings.CutPrefix(f[2], "inline:")
	if !ok || !c.Suite.Known() || strings.Contains(inline, ";") { // more than one master key
		return Crypto{}, false
	}
	parts := strings.Split(inline, "|")
	for _, p := range parts[1:] {
		if strings.Contains(p, ":") { // an MKI; a lifetime has no colon
			return Crypto{}, false
		}
	}
	for _, p := range f[3:] {
		// WSH is a hint and KDR=0 the default; the rest changes the packets.
		if !strings.HasPrefix(p, "WSH=") && p != "KDR=0" {
			return Crypto{}, false
		}
	}
	// Padding is required, yet left out by some.
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	if err != nil || len(key) != c.Suite.KeyBytes() {
		return Crypto{}, false
	}
	c.Key = key
	return c, true
}

func (c Crypto) line() string {
	return "a=crypto:" + strconv.Itoa(c.Tag) + " " + string(c.Suite) + " inline:" + c.Key.Inline() + "\r\n"
}
