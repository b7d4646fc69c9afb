package srtp

import (
	"bytes"
	"testing"
)

// FuzzOpen: nothing that was not sealed opens, whatever its headers say, and
// what can be sealed opens again.
func FuzzOpen(f *testing.F) {
	f.Add(packet(1, 2, "speech"))
	f.Add(report(1))
	f.Add([]byte{0x9f, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff})
	f.Add([]byte{0xbf, 201, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range Suites() {
			_, snd, rcv := pair(t, s)
			if _, _, _, err := rcv.Open(bytes.Clone(b)); err == nil {
				t.Errorf("%v: opened RTP that nobody sealed", s)
			}
			if _, err := rcv.OpenRTCP(bytes.Clone(b)); err == nil {
				t.Errorf("%v: opened RTCP that nobody sealed", s)
			}
			if sealed, err := snd.Seal(nil, bytes.Clone(b)); err == nil {
				if plain, _, _, err := rcv.Open(sealed); err != nil || !bytes.Equal(plain, b) {
					t.Errorf("%v: sealed RTP opens to %x: %v", s, plain, err)
				}
			}
			if sealed, err := snd.SealRTCP(nil, bytes.Clone(b)); err == nil {
				if plain, err := rcv.OpenRTCP(sealed); err != nil || !bytes.Equal(plain, b) {
					t.Errorf("%v: sealed RTCP opens to %x: %v", s, plain, err)
				}
			}
		}
	})
}
