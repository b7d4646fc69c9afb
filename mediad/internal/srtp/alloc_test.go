//go:build !race

// The race detector allocates on its own account.

package srtp

import (
	"encoding/binary"
	"strings"
	"testing"
)

func TestNoAllocationPerPacket(t *testing.T) {
	eachSuite(t, func(t *testing.T, s Suite) {
		_, snd, rcv := pair(t, s)
		plain, wire := packet(7, 0, strings.Repeat("x", 160)), make([]byte, 0, 256)
		seq := 0
		allocs := testing.AllocsPerRun(1000, func() {
			seq++
			binary.BigEndian.PutUint16(plain[2:], uint16(seq))
			out, err := snd.Seal(wire, plain)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := rcv.Open(out); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations per packet", allocs)
		}
	})
}
