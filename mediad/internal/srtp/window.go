package srtp

import "github.com/pion/transport/v5/replaydetector"

// streams are the SSRCs of one key and direction: a handful, so a slice beats
// a map.
type streams struct{ list []*stream }

type stream struct {
	ssrc  uint32
	first uint64 // senders: nothing below is sent
	index uint64 // highest so far
	sent  window // senders: what went out

	received *window // receivers of SRTCP
}

func (s *streams) find(ssrc uint32) *stream {
	for _, st := range s.list {
		if st.ssrc == ssrc {
			return st
		}
	}
	return nil
}

func (s *streams) add(ssrc uint32) *stream {
	if len(s.list) >= maxStreams {
		return nil
	}
	st := &stream{ssrc: ssrc, sent: window{max: 1<<48 - 1}}
	s.list = append(s.list, st)
	return st
}

func (s *streams) marks(m []Mark) []Mark {
	for _, st := range s.list {
		m = append(m, Mark{SSRC: st.ssrc, Index: st.index})
	}
	return m
}

// extend returns the packet index nearest to the highest one that has this
// sequence number (RFC 3711 section 3.3.1, appendix A); not ok if that would
// lie before index 0.
func extend(highest uint64, seq uint16) (index uint64, ok bool) {
	d := int64(int16(seq - uint16(highest)))
	if d < 0 && uint64(-d) > highest {
		return 0, false
	}
	return uint64(int64(highest) + d), true
}

// window is a replay window over the last replayWindow indices. It differs
// from pion's in having a floor, below which nothing is taken, and in being
// the sender's guard as well.
type window struct {
	floor  uint64
	max    uint64
	newest uint64
	seen   [replayWindow / 64]uint64
	any    bool

	rejected *bool // receivers: set when CheckSeq says no
}

func (w *window) check(i uint64) bool {
	if i < w.floor || i > w.max {
		return false
	}
	if !w.any || i > w.newest {
		return true
	}
	return w.newest-i < replayWindow && w.seen[i/64%uint64(len(w.seen))]&(1<<(i%64)) == 0
}

func (w *window) accept(i uint64) {
	if !w.any || i >= w.newest+replayWindow {
		clear(w.seen[:])
	} else {
		for j := w.newest + 1; j <= i; j++ {
			w.seen[j/64%uint64(len(w.seen))] &^= 1 << (j % 64)
		}
	}
	w.seen[i/64%uint64(len(w.seen))] |= 1 << (i % 64)
	if !w.any || i > w.newest {
		w.newest = i
	}
	w.any = true
}

// Check is replaydetector.ReplayDetector; pion calls CheckSeq instead.
func (w *window) Check(i uint64) (func() bool, bool) {
	return func() bool { w.accept(i); return true }, w.check(i)
}

// CheckSeq is replaydetector.CheckAccepter.
func (w *window) CheckSeq(i uint64) replaydetector.Token {
	if w.check(i) {
		return replaydetector.Passed(i)
	}
	if w.rejected != nil {
		*w.rejected = true
	}
	return replaydetector.Rejected(i)
}

// Accept is replaydetector.CheckAccepter.
func (w *window) Accept(t replaydetector.Token) bool {
	if !t.Passed() {
		return false
	}
	w.accept(t.Seq())
	return w.newest == t.Seq()
}
