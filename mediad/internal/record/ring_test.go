package record

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// The ring against a plain queue: same entries, same order, and it refuses
// only when it is full.
func TestRingIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRing(0)
		var model [][]byte
		next := byte(1)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n := rapid.IntRange(0, 2200).Draw(t, "n")
				free := len(r.bytes) - r.used()
				slot, ok := r.claim(n)
				if !ok {
					// An entry, its header, and padding of less than an entry.
					if free >= 2*(n+2*ringWord) {
						t.Fatalf("refused %d bytes with %d free", n, free)
					}
					return
				}
				for i := range slot.bytes {
					if slot.bytes[i] != 0 {
						t.Fatal("room was not zeroed")
					}
					slot.bytes[i] = next
				}
				r.publish(slot)
				model = append(model, bytes.Repeat([]byte{next}, n))
				next++
			},
			"take": func(t *rapid.T) {
				var got []byte
				ok := r.take(func(b []byte) { got = append([]byte{}, b...) })
				if ok != (len(model) > 0) {
					t.Fatalf("took %v with %d queued", ok, len(model))
				}
				if ok {
					if !bytes.Equal(got, model[0]) {
						t.Fatalf("took %d bytes, want %d", len(got), len(model[0]))
					}
					model = model[1:]
				}
			},
		})
	})
}

// Producers on several threads: nothing is lost, torn or out of a producer's
// order, while the ring is often full.
func TestRingWithManyProducers(t *testing.T) {
	const producers, each = 4, 20000
	r := newRing(0)
	var wait sync.WaitGroup
	for p := range producers {
		wait.Go(func() {
			for i := range each {
				n := 8 + (i*31+p)%900
				slot, ok := r.claim(n)
				for ; !ok; slot, ok = r.claim(n) {
					runtime.Gosched()
				}
				binary.LittleEndian.PutUint32(slot.bytes, uint32(p))
				binary.LittleEndian.PutUint32(slot.bytes[4:], uint32(i))
				for k := 8; k < n; k++ {
					slot.bytes[k] = byte(i)
				}
				r.publish(slot)
			}
		})
	}
	var seen [producers]uint32
	for total := 0; total < producers*each; {
		if !r.take(func(b []byte) {
			p, i := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
			if i != seen[p] || len(b) != 8+int(i*31+p)%900 {
				t.Fatalf("producer %d: entry %d of %d bytes, want entry %d", p, i, len(b), seen[p])
			}
			for _, v := range b[8:] {
				if v != byte(i) {
					t.Fatalf("producer %d: entry %d is torn", p, i)
				}
			}
			seen[p]++
			total++
		}) {
			runtime.Gosched()
		}
	}
	wait.Wait()
	if n := r.used(); n != 0 {
		t.Errorf("%d bytes are still claimed", n)
	}
}

// A producer that stops between claim and publish holds up the consumer, not
// the other producers.
func TestRingWaitsForAnUnfinishedEntry(t *testing.T) {
	r := newRing(0)
	first, _ := r.claim(10)
	second, ok := r.claim(20)
	if !ok {
		t.Fatal("the second claim was refused")
	}
	r.publish(second)
	if r.take(func([]byte) {}) {
		t.Fatal("an entry overtook an unfinished one")
	}
	r.publish(first)
	var sizes []int
	for r.take(func(b []byte) { sizes = append(sizes, len(b)) }) {
	}
	if len(sizes) != 2 || sizes[0] != 10 || sizes[1] != 20 {
		t.Errorf("took %v, want 10 then 20", sizes)
	}
}
