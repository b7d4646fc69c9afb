package session

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// sleep keeps an engine's packet threads from running until wake is called.
func sleep(e *Engine) (wake func()) {
	for _, s := range e.shards {
		s.mu.Lock()
	}
	return func() {
		for _, s := range e.shards {
			s.mu.Unlock()
		}
	}
}

// overslept waits until a thread that sleeps now has slept too long.
func overslept(t *testing.T) {
	t.Helper()
	began := time.Now()
	until(t, "the pause is over", func() bool { return time.Since(began) > pauseLimit+20*time.Millisecond })
}

func silent(t *testing.T, p *phone) {
	t.Helper()
	if b, ok := p.read(p.rtp, drainTime); ok {
		h, _ := p.open(b)
		t.Errorf("heard %+v of a worker that should be silent", h)
	}
}

// A worker that slept sends nothing of what it held until its standby has said
// that it may; then it goes on.
func TestASleeperAsksBeforeItSpeaks(t *testing.T) {
	p := newPair(t, "127.20.4.80")
	x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	y.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	y.send("before")
	x.hear()
	wake := sleep(p.a)
	y.send("stale")
	overslept(t)
	wake()
	silent(t, x)
	until(t, "the threads speak again", func() bool {
		y.send("after")
		b, ok := x.read(x.rtp, drainTime)
		if !ok {
			return false
		}
		h, _ := x.open(b)
		if h.payload != "after" {
			t.Fatalf("heard %+v", h)
		}
		return true
	})
	muted := uint64(0)
	for _, s := range p.a.shards {
		s.mu.Lock()
		muted += s.count.muted
		s.mu.Unlock()
	}
	if muted == 0 {
		t.Error("nothing was held back")
	}
}

// What was protected already and waited to leave with others is not sent after a
// sleep either.
func TestASleeperDropsWhatWasReadyToLeave(t *testing.T) {
	p := newPair(t, "127.20.4.84")
	x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	y.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	y.send("before")
	x.hear()
	s := p.a.shardOf("c")
	s.mu.Lock() // the thread stays out
	box := s.outboxes[netip.MustParseAddr(p.addr)]
	if box == nil {
		s.mu.Unlock()
		t.Skip("NOT RUN: packets leave one by one here, raw sockets need CAP_NET_RAW")
	}
	y.send("stale")
	from := s.legs[1] // the answerer's
	until(t, "the packet is in the outbox", func() bool { s.receive(from.tokens[0], time.Now()); return box.Len() > 0 })
	overslept(t)
	s.flush()
	muted := s.count.muted
	s.mu.Unlock()
	if silent(t, x); muted == 0 {
		t.Error("nothing was held back")
	}
}

// A worker that was taken over from while it slept sends nothing at all, neither
// what it had received nor what it should have played.
func TestASleeperThatWasTakenOverFromIsSilent(t *testing.T) {
	p := newPair(t, "127.20.4.81")
	x, y, z := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	y.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	z.dial(p.a, "d")
	do(t, p.a, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "d", Leg: "1", Prompt: "long", Loop: true})
	old := z.hear().ssrc
	y.send("before")
	x.hear()
	p.marked(t, p.a)
	wake := sleep(p.a)
	y.send("stale")
	overslept(t)
	p.host(t, p.b, 2, "")
	for z.hear().ssrc == old { // what was under way when the sleep began
		continue
	}
	y.send("at b")
	if h := x.hear(); h.payload != "at b" {
		t.Fatalf("heard %+v", h)
	}
	wake()
	until(t, "a lets the address go", func() bool { return len(p.a.Hosted()) == 0 })
	silent(t, x)
	for range 10 {
		if h := z.hear(); h.ssrc == old {
			t.Fatalf("heard %+v of a stream that is over", h)
		}
	}
}

// A worker that stands alone has nobody to ask: what it held goes out.
func TestALoneSleeperGoesOn(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	x, y := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	x.dial(e, "c")
	y.ring(e, "c", "2")
	connect(t, e, "c")
	wake := sleep(e)
	y.send("held")
	overslept(t)
	wake()
	if h := x.hear(); h.payload != "held" {
		t.Fatalf("heard %+v", h)
	}
}

// The standby tells routers of a host that says nothing any more.
func TestASilentHostIsTold(t *testing.T) {
	p := newPair(t, "127.20.4.82")
	var told atomic.Pointer[mediaapi.Silent]
	cancel := p.b.Subscribe(func(r mediaapi.Reply) {
		for _, s := range r.Silent {
			told.Store(&s)
		}
	})
	defer cancel()
	p.a.mu.Lock() // as for a take-over of many calls
	if reply, _ := p.a.Do(mediaapi.Request{Command: mediaapi.Ping}); reply.Result != mediaapi.ResultPong {
		t.Errorf("ping while commands wait: %+v", reply)
	}
	began := time.Now()
	until(t, "a silence would be told", func() bool { return time.Since(began) > 4*silentLimit })
	if told.Load() != nil {
		t.Error("a worker that is busy is told to be silent")
	}
	p.a.linksMu.Lock() // it neither marks nor beats
	until(t, "b tells of a", func() bool { return told.Load() != nil })
	p.a.linksMu.Unlock()
	p.a.mu.Unlock()
	if got, want := *told.Load(), (mediaapi.Silent{Worker: "a", Incarnation: 1}); got != want {
		t.Errorf("told of %+v, want %+v", got, want)
	}
}

// A life that was declared over ends with all it holds, once, and another begins.
func TestALifeDeclaredOverBeginsAnew(t *testing.T) {
	p := newPair(t, "127.20.4.83", func(c *Config) { c.Relive = func() (uint64, error) { return 7, nil } })
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	if reply, _ := p.a.Do(mediaapi.Request{Command: mediaapi.BeginAnew, Incarnation: 9}); reply.Code != 409 {
		t.Errorf("another life's end: %+v", reply)
	}
	do(t, p.a, mediaapi.Request{Command: mediaapi.BeginAnew, Incarnation: 1})
	if legs, _ := p.a.Load(); legs != 0 || len(p.a.Hosted()) != 0 {
		t.Errorf("kept %d legs and %v", legs, p.a.Hosted())
	}
	if reply, _ := p.a.Do(mediaapi.Request{Command: mediaapi.BeginAnew, Incarnation: 1}); reply.Code != 409 {
		t.Errorf("the same end again: %+v", reply)
	}
	p.host(t, p.b, 2, "a")
	until(t, "b hears the phone", func() bool { x.send("x"); return stats(t, p.b, "c", "1").Packets > 0 })
	until(t, "a stands by for b", func() bool { n, full := p.stores[0].Held(p.addr); return full && n == 1 })
	p.host(t, p.a, 3, "")
	until(t, "a hears the phone", func() bool { x.send("x"); return stats(t, p.a, "c", "1").Packets > 0 })
}
