package session

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// presses collects what a worker tells of keys, as a router would: what it has
// had before it leaves out.
type presses struct {
	mu   sync.Mutex
	last uint64
	keys string
	told int
}

func listenTo(e *Engine) (*presses, func()) {
	p := &presses{}
	return p, e.Subscribe(p.take)
}

func (p *presses) take(r mediaapi.Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range r.Digits {
		p.told++
		if d.Serial > p.last {
			fresh := min(int(d.Serial-p.last), len(d.Keys))
			p.keys += d.Keys[len(d.Keys)-fresh:]
			p.last = d.Serial
		}
	}
}

func (p *presses) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys
}

// event is one RFC 4733 packet at a time of the stream, the key's packets
// sharing it.
func (p *phone) event(code byte, at uint32, duration uint16, end bool) {
	p.t.Helper()
	b := []byte{0x80, 101}
	b = binary.BigEndian.AppendUint16(b, uint16(p.seq))
	b = binary.BigEndian.AppendUint32(b, at)
	b = binary.BigEndian.AppendUint32(b, p.ssrc)
	p.seq++
	b = append(b, code, 10)
	if end {
		b[13] |= 0x80
	}
	b = binary.BigEndian.AppendUint16(b, duration)
	out, err := p.tx.Seal(make([]byte, 0, 2048), b)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(p.rtp, out, p.to)
}

// press sends a whole key: three packets while it is down, the last three times.
func (p *phone) press(key byte) {
	p.t.Helper()
	code := byte(strings.IndexByte(keys, key))
	at := p.ts
	for i := range uint16(3) {
		p.event(code, at, 160*(i+1), false)
	}
	for range 3 {
		p.event(code, at, 640, true)
	}
	p.ts += 1600
}

func TestEachKeyCountsOnce(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	told, _ := listenTo(e)
	for _, key := range keys {
		a.press(byte(key))
	}
	a.press('5')
	a.press('5') // the same key again is another event
	until(t, "all keys are told", func() bool { return len(told.all()) >= len(keys)+2 })
	if got := told.all(); got != keys+"55" {
		t.Errorf("told %q", got)
	}
	// The last packets of the last key may still be on their way.
	until(t, "every packet has come", func() bool { return stats(t, e, "c", "1").Packets >= uint64(6*(len(keys)+2)) })
	if s := stats(t, e, "c", "1"); s.Packets != uint64(6*(len(keys)+2)) || s.Misplaced != 0 {
		t.Errorf("%+v", s)
	}
}

// What is told of an event does not hang on any one of its packets, and what is
// no key is none.
func TestOddEvents(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	told, _ := listenTo(e)
	f := func(want string, send func()) {
		t.Helper()
		send()
		a.ts += 1600
		a.press('0') // what is told after it was told by then
		until(t, "the key behind is told", func() bool { return strings.HasSuffix(told.all(), "0") })
		if got := strings.TrimSuffix(told.all(), "0"); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		told.mu.Lock()
		told.keys = ""
		told.mu.Unlock()
		a.ts += 8000
	}
	f("7", func() { a.event(7, a.ts, 640, true) }) // all but the last end packet lost
	f("8", func() { a.event(8, a.ts, 160, false) })
	f("9", func() { // reordered
		a.seq++
		a.event(9, a.ts, 320, false)
		a.seq -= 2
		a.event(9, a.ts, 160, false)
		a.seq++
	})
	f("1", func() { // the packets of an earlier event come late
		a.event(1, a.ts, 160, false)
		a.event(3, a.ts-8000, 640, true)
	})
	f("2", func() { // held for 20 s: segments (RFC 4733 section 2.5.1.3)
		at := a.ts
		for range 3 {
			a.event(2, at, 0xffff, false)
			at += 0xffff
		}
		a.event(2, at, 800, true)
		a.ts = at
	})
	f("", func() { a.event(16, a.ts, 160, true) }) // a flash hook
	f("", func() { a.event(255, a.ts, 160, true) })
	f("", func() {
		a.pt = 101
		a.send("\x05")
		a.pt = 8
	})
	f("44", func() { // another source begins at the same time
		a.event(4, a.ts, 160, false)
		a.ssrc++
		a.event(4, a.ts, 160, false)
	})
}

// The keys of a leg that talks pass, and what they were is told to nobody.
func TestKeysOfATalkingLegPassUntold(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	told, _ := listenTo(e)
	a.press('6')
	for range 6 {
		if h := b.hear(); h.pt != 101 || h.payload[0] != 6 {
			t.Errorf("heard %+v", h)
		}
	}
	until(t, "that there was a key is told", func() bool { return told.all() == "-" })
}

// Legs with events at 8000 and 48000 Hz: time and duration are turned to the other
// rate, for a key that is held too, whose segments become one event.
func TestEventsChangeTheirClockRate(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}, {Name: sdp.Event, Clock: 48000, PT: 101}}
	b.codecs = []sdp.Codec{{Name: sdp.PCMA, Clock: 8000, PT: 8}, {Name: sdp.Event, Clock: 8000, PT: 102}}
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	f := func(from, to *phone, at uint32, duration uint16, end bool, wantAt uint32, want uint16) {
		t.Helper()
		from.event(5, at, duration, end)
		h := to.hear()
		if h.ts != wantAt || h.ssrc != from.ssrc || h.seq != uint16(from.seq-1) || h.payload[0] != 5 || h.payload[1]&0x80 != 0 != end ||
			binary.BigEndian.Uint16([]byte(h.payload)[2:]) != want {
			t.Errorf("%d for %d became %+v, %x; want %d for %d", at, duration, h, h.payload, wantAt, want)
		}
	}
	at := uint32(600000)
	f(a, b, at, 960, false, at/6, 160)
	f(a, b, at, 1920, true, at/6, 320)
	at += 48000
	f(a, b, at, 0xffff, false, at/6, 0xffff/6)
	f(a, b, at+0xffff, 0xffff, false, at/6, 2*0xffff/6)
	f(a, b, at+2*0xffff, 9, false, at/6, (2*0xffff+9)/6)
	f(a, b, at+2*0xffff, 960, true, at/6, (2*0xffff+960)/6)
	f(b, a, 7000, 160, false, 42000, 960)
	f(b, a, 7000, 0xffff, false, 42000, 0xffff)
	f(b, a, 7000+0xffff, 800, true, 42000, 0xffff)
	f(b, a, 1<<31, 160, true, 0, 960) // modulo 2^32, as it was
}

func TestKeysWithOpusClock(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}, {Name: sdp.Event, Clock: 48000, PT: 101}}
	a.dial(e, "c")
	told, _ := listenTo(e)
	a.press('3')
	until(t, "the key is told", func() bool { return told.all() == "3" })
}

// What nobody has dealt with is told to whoever comes: a router that died
// between hearing and committing loses nothing, and what was dealt with stays
// so.
func TestPendingKeysAreToldAgain(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	first, cancel := listenTo(e)
	a.press('1')
	a.press('2')
	a.press('3')
	until(t, "three keys", func() bool { return first.all() == "123" })
	cancel()
	do(t, e, mediaapi.Request{Command: mediaapi.Digits, CallID: "c", Leg: "1", Serial: 1})
	do(t, e, mediaapi.Request{Command: mediaapi.Digits, CallID: "c", Leg: "1", Serial: 1}) // a repeat
	second, _ := listenTo(e)
	until(t, "the rest is told", func() bool { return second.all() == "23" })
	a.press('4')
	until(t, "the next is told", func() bool { return second.all() == "234" })
	if first.all() != "123" {
		t.Errorf("a cancelled listener was told %q", first.all())
	}
	if reply, _ := e.Do(mediaapi.Request{Command: mediaapi.Digits, CallID: "c", Leg: "1", Serial: 5}); reply.Code != 400 {
		t.Errorf("a serial that was never told: %+v", reply)
	}
	do(t, e, mediaapi.Request{Command: mediaapi.Digits, CallID: "c", Leg: "1", Serial: 4})
	third, _ := listenTo(e)
	a.press('5')
	until(t, "only the next is told", func() bool { return third.all() == "5" })
}

// Nobody deals with keys: the newest are kept.
func TestPendingKeysAreBounded(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	want := ""
	for i := range maxPending + 8 {
		a.press(keys[i%len(keys)])
		want += keys[i%len(keys) : i%len(keys)+1]
	}
	until(t, "all came", func() bool { return stats(t, e, "c", "1").Packets == 6*(maxPending+8) })
	told, _ := listenTo(e)
	until(t, "keys are told", func() bool { return told.all() != "" })
	if got := told.all(); got != want[8:] {
		t.Errorf("told %q, want %q", got, want[8:])
	}
}

// The worker dies while a key is down, after it was told: what is left of the
// event is no new key for its successor, and the numbers go on.
func TestKeysAreNotDoubledAtTheStandby(t *testing.T) {
	p := newPair(t, "127.20.4.30")
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	told, _ := listenTo(p.a)
	x.press('1')
	at := x.ts
	x.event(2, at, 160, false)
	until(t, "two keys", func() bool { return told.all() == "12" })
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	after, _ := listenTo(p.b)
	until(t, "what nobody dealt with is told again", func() bool { return after.all() == "12" })
	x.event(2, at, 320, false)
	for range 3 {
		x.event(2, at, 640, true)
	}
	x.ts += 1600
	x.press('3')
	until(t, "the next key", func() bool { return strings.HasSuffix(after.all(), "3") })
	if after.all() != "123" || after.last != 3 {
		t.Errorf("told %q up to %d", after.all(), after.last)
	}
}

// What was dealt with before the takeover is not told after it.
func TestKeysDealtWithStaySoAtTheStandby(t *testing.T) {
	p := newPair(t, "127.20.4.31")
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	told, _ := listenTo(p.a)
	x.press('1')
	x.press('2')
	until(t, "two keys", func() bool { return told.all() == "12" })
	do(t, p.a, mediaapi.Request{Command: mediaapi.Digits, CallID: "c", Leg: "1", Serial: 1})
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	after, _ := listenTo(p.b)
	x.press('3')
	until(t, "the next key", func() bool { return strings.HasSuffix(after.all(), "3") })
	if after.all() != "23" || after.last != 3 {
		t.Errorf("told %q up to %d", after.all(), after.last)
	}
}

// FuzzHear: whatever packets come, numbers only grow, and what is kept are keys
// and few.
func FuzzHear(f *testing.F) {
	f.Add([]byte{5, 0, 0, 5, 0, 0, 6, 160, 0, 6, 160, 0})
	f.Add([]byte{1, 0xff, 0xff, 1, 0, 1, 16, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &shard{tell: make(chan struct{}, 1)}
		l := newLeg(&call{}, "1")
		at := uint32(0)
		for ; len(b) >= 3; b = b[3:] {
			before := l.digits.Serial
			at += uint32(int32(int16(uint16(b[1])<<8 | uint16(b[2]))))
			s.hear(l, &rtp.Header{SSRC: uint32(b[1] & 1), Timestamp: at}, b[:min(len(b), int(b[0]>>4)+1)], b[2]&1 > 0)
			d := l.digits
			if d.Serial < before || d.Serial > before+1 || len(d.Pending) > maxPending || strings.Trim(d.Pending, keys+passedKey) != "" || uint64(len(d.Pending)) > d.Serial {
				t.Fatalf("%+v after %d", d, before)
			}
		}
	})
}
