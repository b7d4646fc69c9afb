package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// drainTime is long enough for what is in a socket to be read.
const drainTime = 20 * time.Millisecond

// used is one (SSRC, packet index) under one leg's key.
type used struct {
	ssrc  uint32
	index uint64
}

// Whenever a worker dies and its standby goes on, even with marks that are
// stale, and plays and relays in any order: no (key, SSRC, index) ever covers
// two different plaintexts.
func TestNoKeyStreamIsUsedTwice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 12 {
		p := newPair(t, fmt.Sprintf("127.20.4.%d", 30+round))
		x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
		x.dial(p.a, "c")
		y.ring(p.a, "c", "2")
		seen := map[used]string{}
		own := map[uint32]int{} // prompt streams: which life of the worker made them
		e, life := p.a, 0
		hear := func(n int) {
			t.Helper()
			for range n {
				h := x.hear()
				k := used{h.ssrc, h.index}
				if was, ok := seen[k]; ok && was != h.payload {
					t.Fatalf("index %+v covers %q and %q", k, was, h.payload)
				}
				seen[k] = h.payload
				if h.ssrc == y.ssrc {
					continue
				}
				if was, ok := own[h.ssrc]; ok && was != life {
					t.Fatalf("stream %x of life %d in life %d", h.ssrc, was, life)
				}
				own[h.ssrc] = life
			}
		}
		for step := range 6 {
			switch rnd.IntN(3) {
			case 0:
				do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long", Loop: true})
				hear(1 + rnd.IntN(4))
			case 1:
				connect(t, e, "c")
				for i := range 1 + rnd.IntN(4) {
					y.send(fmt.Sprint("said ", step, i))
					hear(1)
				}
			case 2:
				if e == p.a && rnd.IntN(2) == 0 {
					p.marked(t, e)
				}
				if e == p.a {
					p.a.Close()
					life++
					// What was under way belongs to the first life.
					for {
						b, ok := x.read(x.rtp, drainTime)
						if !ok {
							break
						}
						if h, ok := x.open(b); ok {
							seen[used{h.ssrc, h.index}] = h.payload
							if h.ssrc != y.ssrc {
								own[h.ssrc] = 0
							}
						}
					}
					p.host(t, p.b, 2, "")
					e = p.b
				}
			}
		}
	}
}
