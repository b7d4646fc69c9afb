package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// FuzzPacket: the keys are the peer's own, so an authentic packet may still hold
// anything. RTP gives a payload within the packet, RTCP is read and changed
// without a byte more or less.
func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3})
	f.Add([]byte{0xb1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 9, 9, 0, 2})
	f.Add(append([]byte{0x81, 200, 0, 12, 0, 0, 0, 1}, make([]byte, 44)...))
	f.Add([]byte{0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0x81, 202, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h rtp.Header
		if _, err := h.Unmarshal(b); err == nil {
			if p := payloadOf(b, &h); len(p) > len(b) {
				t.Errorf("a payload of %d bytes in a packet of %d", len(p), len(b))
			}
		}
		l := newLeg(&call{}, "1")
		whole := l.readReports(b, time.Unix(1, 0))
		changed := bytes.Clone(b)
		if whole {
			remapReports(changed, 7, 9)
		}
		if again := l.readReports(changed, time.Unix(2, 0)); again != whole {
			t.Errorf("well formed: %t, and %t with other SSRCs", whole, again)
		}
	})
}
