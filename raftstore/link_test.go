package raftstore

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// TestAskEndsWithWhatEndsIt: each way in which waiting for an answer ends, by
// itself.
func TestAskEndsWithWhatEndsIt(t *testing.T) {
	type ends struct {
		answer, hangUp func()
		overtake       chan struct{}
		silence        chan time.Time
		cancel         func()
	}
	f := func(name string, end func(ends), want error) {
		t.Helper()
		here, there := net.Pipe()
		l := &link{ready: make(chan struct{}), down: make(chan struct{}), out: make(chan []byte), pending: map[uint64]chan frame{}}
		close(l.ready)
		go func() {
			defer here.Close()
			defer l.sever()
			writeFrames(here, l.out, l.down)
		}()
		read := make(chan struct{})
		go func() {
			defer close(read)
			defer l.sever()
			l.read(here)
		}()
		ctx, cancel := context.WithCancel(t.Context())
		e := ends{
			hangUp: func() { there.Close() }, cancel: cancel,
			overtake: make(chan struct{}), silence: make(chan time.Time, 1),
		}
		asked := make(chan frame, 1)
		e.answer = func() {
			q := <-asked
			there.Write(frame{kind: frameAnswer, id: q.id, status: statusApplied, index: 9, body: q.body}.appendTo(nil))
		}
		go func() {
			q, err := readFrame(newFrameReader(there))
			if err == nil {
				asked <- q
			}
			end(e)
		}()
		got, err := l.ask(limits{ctx: ctx, overtake: e.overtake, silence: e.silence}, framePropose, []byte("x"))
		if !errors.Is(err, want) || want == nil && (got.index != 9 || string(got.body) != "x") {
			t.Errorf("%s: answer %+v, error %v, want %v", name, got, err, want)
		}
		if len(l.pending) != 0 {
			t.Errorf("%s: the question is still pending", name)
		}
		cancel()
		there.Close()
		<-read
	}
	f("answer", func(e ends) { e.answer() }, nil)
	f("broken connection", func(e ends) { e.hangUp() }, errLinkBroken)
	f("new leader", func(e ends) { close(e.overtake) }, errOvertaken)
	f("silence", func(e ends) { e.silence <- time.Time{} }, errSilent)
	f("context", func(e ends) { e.cancel() }, context.Canceled)
}
