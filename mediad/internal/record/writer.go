package record

import (
	"crypto/cipher"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

const (
	pollEvery  = 50 * time.Millisecond // between two looks at the ring: waking costs more than what there is to do
	retryAfter = time.Second           // before another segment is tried on a faulty disk
	flushBytes = 128 << 10             // a write is at most about this large, and stays in a processor's cache until then
)

// writer owns the segment being written. Only its goroutine touches it.
type writer struct {
	log      *Log
	segment  *segment
	broken   []string // segments given up after an error, to be rescued
	retry    time.Time
	lastSync time.Time
	fault    error // what the disk said last; no segment is tried before retry
	failed   error // what kept packets from the disk since the last Sync
}

func newWriter(l *Log) *writer { return &writer{log: l, lastSync: time.Now()} }

func (w *writer) run() {
	defer close(w.log.done)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.log.quit:
			return
		case f := <-w.log.requests:
			f(w)
		case <-tick.C:
			w.drain()
			if time.Since(w.lastSync) >= w.log.cfg.SyncEvery {
				w.sync() // a failure is counted and logged there
			}
			if w.segment != nil && time.Since(w.segment.begun) >= w.log.cfg.SegmentAge {
				w.seal() // likewise
			}
		}
	}
}

// drain moves what is in the ring to the segment's files.
func (w *writer) drain() {
	used := w.log.ring.used()
	queueBytes.Store(int64(used))
	// No more than what was there at the start, so that fsync has its turn.
	end := w.log.ring.head.Load() + uint64(used)
	for w.passMarks(); w.log.ring.head.Load() < end && w.log.ring.take(w.write); w.passMarks() {
	}
	w.flush()
}

// passMarks does the marks before which everything is written.
func (w *writer) passMarks() {
	if w.log.ring.head.Load() < w.log.next.Load() {
		return
	}
	for _, m := range w.passed() {
		switch m.kind {
		case markPause, markResume:
			w.note(m.mark, m.label)
		default:
			if w.segment != nil {
				delete(w.segment.calls, m.call)
			}
		}
	}
}

// passedMark is a mark with the label its call had then.
type passedMark struct {
	mark
	label string
}

// passed takes those marks off the list and ends the calls that stop.
func (w *writer) passed() (done []passedMark) {
	l := w.log
	head := l.ring.head.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for ; n < len(l.marks) && l.marks[n].tail <= head; n++ {
		m := l.marks[n]
		done = append(done, passedMark{m, l.active[m.call]})
		switch m.kind {
		case markStop:
			delete(l.active, m.call)
			callsActive.Add(-1)
		case markLabel:
			l.active[m.call] = m.to
		}
	}
	l.setMarks(slices.Delete(l.marks, 0, n))
	return done
}

// label is that of a call being recorded.
func (w *writer) label(call string) (label string, active bool) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	label, active = w.log.active[call]
	return label, active
}

// write encrypts one entry of the ring into the segment.
func (w *writer) write(entry []byte) {
	n := 2 + int(entry[0]) + int(entry[1])<<8
	call, plain := entry[2:n], entry[n:]
	if w.segment != nil {
		if c := w.segment.calls[string(call)]; c != nil {
			w.segment.add(c, plain)
			w.afterAdd()
			return
		}
	}
	name := string(call)
	label, active := w.label(name)
	if !active {
		w.log.counts.drop(dropNotStarted, 1)
		return
	}
	w.writeFirst(name, label, plain)
}

// writeFirst writes the first packet of a call in a segment.
func (w *writer) writeFirst(call, label string, plain []byte) {
	if !w.ready() {
		w.log.counts.drop(dropDisk, 1)
		return
	}
	c, err := w.segment.admit(call, label)
	if err != nil {
		w.log.counts.drop(dropDisk, 1)
		w.fail(err)
		return
	}
	w.segment.add(c, plain)
	w.afterAdd()
}

// note writes a note into the call's recording. It is lost where the disk
// refuses, as packets are: the gap is then told as lost.
func (w *writer) note(m mark, label string) {
	number := byte(notePaused)
	if m.kind == markResume {
		number = noteResumed
	}
	plain := make([]byte, packetHead)
	putPacket(plain, &Packet{}, number, m.at)
	if w.segment != nil {
		if c := w.segment.calls[m.call]; c != nil {
			w.segment.add(c, plain)
			w.afterAdd()
			return
		}
	}
	w.writeFirst(m.call, label, plain)
}

func (w *writer) afterAdd() {
	switch {
	case w.segment.size >= w.log.cfg.SegmentBytes:
		w.seal() // a failure is counted and logged there
	case len(w.segment.pending) >= flushBytes:
		w.flush()
	}
}

// ready makes a segment if there is none and the disk deserves another try.
func (w *writer) ready() bool {
	if w.segment != nil {
		return true
	}
	now := time.Now()
	if now.Before(w.retry) {
		w.failed = w.fault
		return false
	}
	s, err := newSegment(w.log.dir, w.log.master, w.log.cfg.files, w.log.baseNS+int64(now.Sub(w.log.base)))
	if err != nil {
		w.broke(err)
		w.log.cfg.Logger.Error("recording is interrupted: no new segment", "err", err)
		return false
	}
	w.segment = s
	segmentsOpened.Inc()
	w.rescueBroken()
	return true
}

// rescueBroken seals segments an error had us give up, now that the disk works.
func (w *writer) rescueBroken() {
	for _, base := range w.broken {
		if err := w.log.rescue(base); err != nil {
			w.log.cfg.Logger.Error("segment stays unsealed until the next start", "segment", filepath.Base(base), "err", err)
		}
	}
	w.broken = nil
}

// flush hands pending bytes to the operating system, keys before records.
func (w *writer) flush() {
	s := w.segment
	if s == nil || len(s.pending) == 0 {
		return
	}
	packets, n := s.pendingPackets, len(s.pending)
	if err := s.flush(); err != nil {
		w.fail(err)
		return
	}
	w.log.counts.packets.Add(uint64(packets))
	w.log.counts.bytes.Add(uint64(n))
	packetsWritten.Add(packets)
	bytesWritten.Add(n)
}

// sync drains the ring and waits until its contents are on disk.
func (w *writer) sync() error {
	w.drain()
	w.lastSync = time.Now()
	s := w.segment
	if s == nil || !s.dirty {
		return nil
	}
	if err := s.sync(); err != nil {
		w.fail(err)
		return err
	}
	fsyncSeconds.UpdateDuration(w.lastSync)
	w.lastSync = time.Now()
	return nil
}

// seal finishes the segment; the next packet starts another one.
func (w *writer) seal() error {
	w.flush()
	s := w.segment
	if s == nil {
		return nil
	}
	if err := s.seal(); err != nil {
		w.fail(err)
		return err
	}
	w.segment = nil
	w.log.counts.sealed.Add(1)
	segmentsSealed.Inc()
	w.log.tellSealed()
	return nil
}

// fail gives the segment up: after a failed write nobody knows what is on the
// disk, and writing other bytes at the same offset would use a nonce twice.
func (w *writer) fail(err error) {
	s := w.segment
	w.segment = nil
	w.broke(err)
	w.broken = append(w.broken, s.base)
	s.close()
	w.log.counts.drop(dropDisk, s.pendingPackets)
	w.log.cfg.Logger.Error("recording is interrupted: segment given up", "segment", filepath.Base(s.base), "err", err)
}

func (w *writer) broke(err error) {
	w.fault, w.failed = err, err
	w.retry = time.Now().Add(retryAfter)
	diskErrors.Inc()
}

// forget makes the open segment write no more of a call.
func (w *writer) forget(call string) error {
	if w.segment == nil || w.segment.calls[call] == nil {
		return nil
	}
	delete(w.segment.calls, call)
	return w.sync()
}

// segmentCall is a call in the segment being written.
type segmentCall struct {
	callIndex
	data cipher.AEAD
}

func (s *segment) admit(call, label string) (*segmentCall, error) {
	number := uint32(len(s.order) + 1)
	slot, data, err := s.keys.newSlot(call, label, number)
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	c := &segmentCall{callIndex: callIndex{slot: number}, data: data}
	s.order = append(s.order, &c.callIndex)
	s.calls[call] = c
	s.pendingKeys = append(s.pendingKeys, slot...)
	return c, nil
}
