package record

import (
	"sync/atomic"
	"unsafe"
)

// ring is a bounded queue of byte strings with many producers and one
// consumer. Producers claim room by one compare-and-swap and never wait for
// each other or for the consumer; a full ring refuses. An entry is a word of
// header and its bytes, contiguous and aligned to words; where the end of the
// buffer is too near, a padding entry fills it.
//
// The header of an entry is zero until its bytes are written. The consumer
// zeroes what it has read before it gives the room back, so that every word
// beyond tail is always zero.
type ring struct {
	words []uint64
	bytes []byte // the same memory
	_     [64]byte
	tail  atomic.Uint64 // bytes claimed since the start
	_     [56]byte
	head  atomic.Uint64 // bytes given back since the start
	_     [56]byte
}

const (
	ringWord = 8
	// The header's low half is the length in bytes, the high half one of these.
	ringData    = uint64(1) << 32
	ringPadding = uint64(2) << 32
)

func newRing(size int) *ring {
	n := 16384 // several of the largest entries, however they fall
	for n < size {
		n *= 2
	}
	r := &ring{words: make([]uint64, n/ringWord)}
	r.bytes = unsafe.Slice((*byte)(unsafe.Pointer(&r.words[0])), n)
	for i := 0; i < len(r.words); i += 4096 / ringWord {
		r.words[i] = 0 // the page is there from now on: no packet pays for it
	}
	return r
}

// ringSlot is room claimed by a producer.
type ringSlot struct {
	at    uint64 // offset of the header in the buffer
	bytes []byte
}

// claim reserves n bytes. The caller fills them and must call publish.
func (r *ring) claim(n int) (ringSlot, bool) {
	size := uint64(len(r.bytes))
	need := uint64(ringWord + (n+ringWord-1)/ringWord*ringWord)
	for {
		// head first: it only grows, so a stale one errs on the full side.
		head, tail := r.head.Load(), r.tail.Load()
		at, padding := tail&(size-1), uint64(0)
		if size-at < need {
			padding = size - at
		}
		if tail+padding+need-head > size {
			return ringSlot{}, false
		}
		if !r.tail.CompareAndSwap(tail, tail+padding+need) {
			continue
		}
		if padding > 0 {
			atomic.StoreUint64(&r.words[at/ringWord], ringPadding|(padding-ringWord))
			at = 0
		}
		return ringSlot{at: at, bytes: r.bytes[at+ringWord : at+ringWord+uint64(n)]}, true
	}
}

// publish hands a filled slot to the consumer.
func (r *ring) publish(s ringSlot) {
	atomic.StoreUint64(&r.words[s.at/ringWord], ringData|uint64(len(s.bytes)))
}

// take passes the next entry to use and gives its room back afterwards. It
// returns false if there is none, or if its producer is still writing it.
func (r *ring) take(use func([]byte)) bool {
	for {
		head := r.head.Load()
		at := head & uint64(len(r.bytes)-1)
		header := atomic.LoadUint64(&r.words[at/ringWord])
		if header == 0 {
			return false
		}
		n := header & 0xFFFFFFFF
		words := 1 + (n+ringWord-1)/ringWord
		if header&ringData != 0 {
			use(r.bytes[at+ringWord : at+ringWord+n])
		}
		clear(r.words[at/ringWord : at/ringWord+words])
		r.head.Store(head + words*ringWord)
		if header&ringData != 0 {
			return true
		}
	}
}

// used is the number of bytes claimed and not yet given back.
func (r *ring) used() int {
	head := r.head.Load()
	return int(r.tail.Load() - head)
}
