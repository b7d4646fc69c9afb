package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// talkingPair is two phones in a call, connected.
func talkingPair(t *testing.T, e *Engine) (a, b *phone) {
	t.Helper()
	a, b = newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	return a, b
}

// keypad reads what a phone receives as a far end would: a key is an event with a
// time of its own, and its packets must agree.
type keypad struct {
	t     *testing.T
	keys  string
	ends  []int // end packets of each key
	times map[uint32]int
	seen  map[used]string
	audio int
	last  heard
}

func newKeypad(t *testing.T) *keypad {
	return &keypad{t: t, times: map[uint32]int{}, seen: map[used]string{}}
}

// take reads one packet; false if none comes within the wait. What the phone has
// had already is dropped, as it drops it.
func (k *keypad) take(p *phone, wait time.Duration) bool {
	k.t.Helper()
	b, ok := p.read(p.rtp, wait)
	if !ok {
		return false
	}
	if isRTCP(b) {
		return true
	}
	plain, h, index, err := p.rx.Open(b)
	if errors.Is(err, srtp.ErrReplayed) {
		return true
	}
	if err != nil {
		k.t.Fatal(err)
	}
	payload := string(plain[12:])
	if was, ok := k.seen[used{h.SSRC, index}]; ok && was != payload {
		k.t.Fatalf("an index covers %q and %q", was, payload)
	}
	k.seen[used{h.SSRC, index}] = payload
	k.last = heard{h.SequenceNumber, h.Timestamp, h.SSRC, h.PayloadType, h.Marker, payload, time.Now(), index, nil}
	if h.PayloadType != 101 {
		k.audio++
		return true
	}
	code, end := payload[0], payload[1]&0x80 != 0
	i, known := k.times[h.Timestamp]
	if !known {
		i = len(k.keys)
		k.times[h.Timestamp] = i
		k.keys += keys[code : code+1]
		k.ends = append(k.ends, 0)
	}
	if k.keys[i] != keys[code] {
		k.t.Errorf("one event is %c and %c", k.keys[i], keys[code])
	}
	if end {
		k.ends[i]++
	}
	return true
}

// wait reads until the keys are there, the last one ended three times.
func (k *keypad) wait(p *phone, want string) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); k.keys != want || k.ends[len(want)-1] < endPackets; {
		if !k.take(p, time.Until(deadline)) {
			k.t.Fatalf("heard %q with ends %v, want %q", k.keys, k.ends, want)
		}
	}
}

// A key is one marker, durations that grow by 20 ms, three last packets, and no
// audio between them (RFC 4733 sections 2.1, 2.3 and 2.5.1).
func TestKeysAreSentAsEvents(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := talkingPair(t, e)
	a.send("before")
	b.hear()
	reply := do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "2", Keys: "1#", Duration: 100, Volume: -12})
	if reply.Duration != 400 {
		t.Errorf("told to take %d ms", reply.Duration)
	}
	var events []heard
	for len(events) < 14 {
		if len(events) > 0 && len(events) < 14 {
			a.send("held") // while events are under way
		}
		h := b.hear()
		if h.pt != 101 {
			t.Fatalf("audio %+v among events", h)
		}
		events = append(events, h)
	}
	for i, h := range events {
		step, key := i%7+1, i/7
		want := []byte{[]byte{1, 11}[key], 12, 0, 0}
		if step >= 5 {
			want[1] |= 0x80
		}
		binary.BigEndian.PutUint16(want[2:], uint16(min(step, 5)*160))
		if h.payload != string(want) || h.marker != (step == 1) || h.ts != events[0].ts+uint32(key*1600) ||
			h.seq != events[0].seq+uint16(i) || h.ssrc != events[0].ssrc || h.ssrc == a.ssrc {
			t.Errorf("packet %d: %+v, payload %x, want %x", i, h, h.payload, want)
		}
		if i > 0 && i != 7 && h.at.Sub(events[i-1].at) > 200*time.Millisecond {
			t.Errorf("packet %d came %v behind the one before", i, h.at.Sub(events[i-1].at))
		}
	}
	if gap := events[7].at.Sub(events[0].at); gap < 170*time.Millisecond {
		t.Errorf("the second key began %v behind the first", gap)
	}
	until(t, "audio passes again", func() bool {
		a.send("after")
		p, ok := b.read(b.rtp, drainTime)
		if !ok {
			return false
		}
		h, ok := b.open(p)
		return ok && h.payload == "after" && h.ssrc == a.ssrc
	})
}

// Asked for again, keys that were taken are left out; more are appended behind
// them, in order.
func TestKeysAreTakenOnce(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	_, b := talkingPair(t, e)
	play := func(keys string, serial uint64) {
		t.Helper()
		do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "2", Keys: keys, Duration: 100, Serial: serial})
	}
	play("12", 2)
	play("12", 2)
	play("1", 1)
	play("12,34", 4)
	play("4,5", 5)
	play("5", 5)
	play("6", 0)
	play("67", 7)
	k := newKeypad(t)
	k.wait(b, "1234567")
	if !slices.Equal(k.ends, []int{3, 3, 3, 3, 3, 3, 3}) {
		t.Errorf("ends %v", k.ends)
	}
	until(t, "nothing is left to do", func() bool {
		s := e.calls["c"].shard
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.players == 0
	})
}

// A prompt stands still for a key and goes on behind it, in its own stream.
func TestAPromptPausesForAKey(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "second"})
	first := a.hear()
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "1", Code: "7", Duration: 100})
	next, events, last := 1, 0, first
	for next < 50 {
		h := a.hear()
		if h.pt == 101 {
			events++
			continue
		}
		if want := fmt.Sprintf("second PCMA frame %d", next); h.payload != want {
			t.Fatalf("heard %q, want %q", h.payload, want)
		}
		if events == 7 && last.at.Before(h.at) && h.marker && h.ts-last.ts < 5*160 {
			t.Errorf("the prompt's time went on by %d over the key", h.ts-last.ts)
		}
		if events > 0 && events < 7 {
			t.Fatalf("a frame after %d packets of the key", events)
		}
		next, last = next+1, h
	}
	if events != 7 {
		t.Errorf("%d event packets", events)
	}
}

// rtpengine's callers name the participant that presses; the other one hears it.
func TestRtpenginesPlayDTMF(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	far := do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: "c", FromTag: "caller", SDP: a.offer()})
	near := do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "c", FromTag: "caller", ToTag: "callee", SDP: b.answerTo(far.SDP)})
	a.use(near.SDP)
	_, _, r, err := mediaapi.ParseRequest([]byte("1 d7:command9:play DTMF7:call-id1:c8:from-tag6:caller4:codei10e8:durationi100ee"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, e, r)
	newKeypad(t).wait(b, "*")
}

func TestBadKeysAreRefused(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, _ := talkingPair(t, e)
	f := func(code int64, reason string, r mediaapi.Request) {
		t.Helper()
		r.Command, r.CallID = mediaapi.PlayDTMF, "c"
		reply, _ := e.Do(r)
		if reply.Code != code || !strings.Contains(reply.Reason, reason) {
			t.Errorf("%+v: %d %s, want %d %s", r, reply.Code, reply.Reason, code, reason)
		}
	}
	f(400, "either code or keys", mediaapi.Request{Leg: "2"})
	f(400, "either code or keys", mediaapi.Request{Leg: "2", Code: "1", Keys: "1"})
	f(400, "code is neither", mediaapi.Request{Leg: "2", Code: "16"})
	f(400, "code is neither", mediaapi.Request{Leg: "2", Code: "-1"})
	f(400, "code is neither", mediaapi.Request{Leg: "2", Code: ","})
	f(400, "keys hold something else", mediaapi.Request{Leg: "2", Keys: "12x"})
	f(400, "keys are 65", mediaapi.Request{Leg: "2", Keys: strings.Repeat("1", 65)})
	f(481, "unknown leg", mediaapi.Request{Leg: "3", Keys: "1"})
	f(481, "unknown leg", mediaapi.Request{Peer: "3", Keys: "1"})
	f(400, "either leg or peer", mediaapi.Request{Leg: "2", Peer: "1", Keys: "1"})
	f(481, "unknown leg", mediaapi.Request{FromTag: "x", Keys: "1"})
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "2", Keys: strings.Repeat("1", 60)})
	f(503, "more than 64", mediaapi.Request{Leg: "2", Keys: "12345"})
	a.codecs = a.codecs[:1]
	a.version++
	do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: a.offer()})
	f(488, mediaapi.ReasonNoEvents, mediaapi.Request{Leg: "1", Keys: "1"})
}

// A gateway that tells keys by INFO and by events is heard once, whichever comes
// first.
func TestKeysThatComeBothWaysGoOutOnce(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := talkingPair(t, e)
	told, _ := listenTo(e)
	play := func(keys string, serial uint64) {
		t.Helper()
		do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Peer: "1", Keys: keys, Duration: 100, Serial: serial})
	}
	play("1", 1)
	a.press('1')
	k := newKeypad(t)
	k.wait(b, "1")
	a.press('2')
	play("2", 2)
	k.wait(b, "12")
	b.press('9')
	until(t, "the other side's key is told", func() bool { return told.all() != "" })
	if told.all() != "-" || stats(t, e, "c", "1").Packets != 12 {
		t.Errorf("told %q", told.all())
	}
	play("3", 2) // a repeat, whatever it says
	// The other direction: events came first.
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Peer: "2", Keys: "9", Serial: 1})
	other := newKeypad(t)
	other.wait(a, "9")
	for other.take(a, 300*time.Millisecond) {
	}
	if other.keys != "9" || k.keys != "12" {
		t.Errorf("heard %q and %q", other.keys, k.keys)
	}
}

// Keys told by INFO for a leg whose far end takes no events come to the routers,
// who make INFO of them: in order with those told by events, once each.
func TestKeysForALegWithoutEventsAreTold(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	b.codecs = pcma[:1]
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	told, _ := listenTo(e)
	a.press('1')
	until(t, "an event that can't pass is told", func() bool { return told.all() == "1" })
	// The other side has no events: its INFO goes out as events.
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Peer: "2", Keys: "45", Duration: 100, Serial: 2})
	newKeypad(t).wait(a, "45")
	// And where neither takes them, INFO comes back as what is to be INFO again.
	a.codecs = pcma[:1]
	a.version++
	do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: a.offer()})
	other := &presses{}
	defer e.Subscribe(func(r mediaapi.Reply) {
		for _, d := range r.Digits {
			if d.Leg == "2" {
				if d.Peer != "1" {
					t.Errorf("told of %+v", d)
				}
				other.take(mediaapi.Reply{Digits: []mediaapi.Pressed{d}})
			}
		}
	})()
	for range 2 {
		do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Peer: "2", Keys: "678", Serial: 5})
	}
	until(t, "keys are told", func() bool { return other.all() == "678" })
	if other.last != 3 {
		t.Errorf("the last of them is number %d", other.last)
	}
}

// The worker dies at any moment of a burst: its successor finishes it. No key is
// doubled or lost, and every packet that went out twice is the same.
func TestABurstGoesOnAtTheStandby(t *testing.T) {
	const burst = "0123456789*#,5"
	for round, packets := range []int{0, 1, 4, 7, 20, 60} {
		p := newPair(t, fmt.Sprintf("127.20.4.%d", 60+round))
		x := newPhone(t, srtp.AEAD128GCM, true)
		x.dial(p.a, "c")
		r := mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "1", Keys: burst, Duration: 100, Serial: 13}
		do(t, p.a, r)
		k := newKeypad(t)
		for range packets {
			k.take(x, patience)
		}
		if round%2 == 0 {
			p.marked(t, p.a)
		}
		p.a.Close()
		for k.take(x, drainTime) { // what was under way
		}
		p.host(t, p.b, 2, "")
		do(t, p.b, r) // the router does not know whether it was taken
		k.wait(x, strings.Replace(burst, ",", "", 1))
		for i, n := range k.ends {
			if n != endPackets {
				t.Errorf("after %d packets: key %d ended %d times", packets, i, n)
			}
		}
		for k.take(x, drainTime*10) {
		}
		if k.keys != strings.Replace(burst, ",", "", 1) {
			t.Errorf("after %d packets: %q", packets, k.keys)
		}
	}
}

// Keys wait for the standby, so that a worker that dies at once has not begun what
// its successor does not know of.
func TestKeysWaitForTheStandby(t *testing.T) {
	st := stroke{Steps: 5}
	now := time.Now()
	if st.may(now) {
		t.Error("began before the standby was told")
	}
	had := make(chan struct{})
	st.told, st.had, st.since = true, had, now
	if st.may(now.Add(standbyPatience - 1)) {
		t.Error("began before the standby had it")
	}
	if !st.may(now.Add(standbyPatience)) {
		t.Error("a standby that does not answer is waited for without end")
	}
	close(had)
	if !st.may(now) {
		t.Error("does not begin though the standby has it")
	}
}

// The peer changes its mind in a burst: another clock rate, another key, then no
// events at all.
func TestABurstSurvivesRenegotiation(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}, {Name: sdp.Event, Clock: 48000, PT: 101}}
	a.dial(e, "c")
	again := func() {
		t.Helper()
		a.version++
		a.use(do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: a.offer()}).SDP)
	}
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "1", Keys: "123", Duration: 100})
	k := newKeypad(t)
	for k.keys != "1" {
		k.take(a, patience)
	}
	if d := binary.BigEndian.Uint16([]byte(k.last.payload)[2:]); d != 960 {
		t.Errorf("duration %d at 48 kHz", d)
	}
	a.codecs = pcma
	again()
	for k.keys != "123" {
		if !k.take(a, patience) {
			t.Fatalf("heard %q", k.keys)
		}
	}
	k.wait(a, "123")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "1", Keys: "4567", Duration: 100})
	for k.keys != "1234" {
		k.take(a, patience)
	}
	a.codecs = a.codecs[:1]
	again()
	for k.take(a, 5*drainTime) {
	}
	if k.keys != "1234" {
		t.Errorf("heard %q", k.keys)
	}
	s := e.calls["c"].shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count.digitsUnsent != 3 || s.players != 0 || s.legs[0].keying.held {
		t.Errorf("%d keys are counted unsent, %d legs on the wheel", s.count.digitsUnsent, s.players)
	}
}
