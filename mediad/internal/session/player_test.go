package session

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

func TestPromptPlaysToItsEndAtItsPace(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	r := do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "short"})
	if r.Duration != 100 {
		t.Errorf("duration %d", r.Duration)
	}
	var first, last heard
	for i := range 5 {
		h := a.hear()
		if want := fmt.Sprintf("short PCMA frame %d", i); h.payload != want || h.marker != (i == 0) || h.pt != 8 {
			t.Errorf("%d: heard %+v", i, h)
		}
		if i == 0 {
			first = h
		} else if h.seq != last.seq+1 || h.ts != last.ts+160 || h.ssrc != last.ssrc {
			t.Errorf("%d: %+v after %+v", i, h, last)
		}
		last = h
	}
	if took := last.at.Sub(first.at); took < 60*time.Millisecond {
		t.Errorf("five frames within %v", took)
	}
	until(t, "the prompt is over", func() bool { return stats(t, e, "c", "1").Playing == "" })

	// The next prompt is the same stream, its time advanced by the pause.
	began := time.Now()
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "short"})
	h := a.hear()
	pause := uint32(h.at.Sub(last.at) / time.Millisecond * 8)
	if h.ssrc != last.ssrc || h.seq != last.seq+1 || !h.marker {
		t.Errorf("%+v after %+v", h, last)
	}
	if d := h.ts - last.ts; d < 160 || d > pause+8*uint32(time.Since(began).Milliseconds())+320 {
		t.Errorf("timestamp advanced by %d over a pause of %d", d, pause)
	}
}

func TestLoopGoesOnUntilStopped(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "short", Loop: true})
	for i := range 12 {
		if h := a.hear(); h.payload != fmt.Sprintf("short PCMA frame %d", i%5) {
			t.Errorf("%d: %q", i, h.payload)
		}
	}
	do(t, e, mediaapi.Request{Command: mediaapi.StopMedia, CallID: "c", Leg: "1"})
	sent := stats(t, e, "c", "1").SentPackets
	b := newPhone(t, srtp.AEAD128GCM, true) // time passes: another call plays to its end
	b.dial(e, "d")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "d", Leg: "1", Prompt: "short"})
	until(t, "the other prompt is over", func() bool { return stats(t, e, "d", "1").Playing == "" })
	if now := stats(t, e, "c", "1").SentPackets; now != sent {
		t.Errorf("%d more packets after stop", now-sent)
	}
}

func TestConnectStopsPrompts(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long", Loop: true})
	a.hear()
	connect(t, e, "c")
	if s := stats(t, e, "c", "1"); s.Playing != "" {
		t.Errorf("%+v", s)
	}
	b.send("hello")
	for { // frames may be under way
		if h := a.hear(); h.payload == "hello" {
			break
		}
	}
	// A prompt to a connected leg is heard instead of the other party, until stopped.
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long"})
	b.send("unheard")
	until(t, "it came", func() bool { return stats(t, e, "c", "2").Packets == 2 })
	do(t, e, mediaapi.Request{Command: mediaapi.StopMedia, CallID: "c", Leg: "1"})
	b.send("heard again")
	for {
		h := a.hear()
		if h.payload == "unheard" {
			t.Error("both at once")
		}
		if h.payload == "heard again" {
			break
		}
	}
}

// reportNow makes a leg's next report due.
func reportNow(e *Engine, call string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.calls[call].shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range e.calls[call].legs {
		l.nextRTCP = time.Time{}
	}
}

func TestReportsTellLossAndRoundTrip(t *testing.T) {
	for _, mux := range []bool{true, false} {
		e := newEngine(t, "127.0.0.1")
		a := newPhone(t, srtp.AEAD128GCM, mux)
		a.dial(e, "c")
		first := uint32(a.seq)
		for i := range 20 {
			p := a.sealed("x")
			if i%4 != 3 { // a quarter is lost, the last packet too
				a.write(a.rtp, p, a.to)
			}
		}
		until(t, "all came", func() bool { return stats(t, e, "c", "1").Packets == 15 })
		reportNow(e, "c")
		rr := a.hearReport()
		if rr[1] != rtcpRR || rr[0] != 0x81 || binary.BigEndian.Uint32(rr[8:]) != a.ssrc {
			t.Fatalf("%x", rr)
		}
		// 4 of 19 lost: the 20th is not known of yet.
		if lost, fraction := binary.BigEndian.Uint32(rr[12:])&0xffffff, rr[12]; lost != 4 || fraction != 4*256/19 {
			t.Errorf("lost %d, fraction %d/256", lost, fraction)
		}
		if highest := binary.BigEndian.Uint32(rr[16:]); highest != first+18 {
			t.Errorf("highest %d, want %d", highest, first+18)
		}
		if s := stats(t, e, "c", "1"); s.Lost != 4 {
			t.Errorf("%+v", s)
		}

		do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "long"})
		h := a.hear()
		reportNow(e, "c")
		sr := a.hearReport()
		for sr[1] != rtcpSR {
			sr = a.hearReport()
		}
		if binary.BigEndian.Uint32(sr[4:]) != h.ssrc || binary.BigEndian.Uint32(sr[20:]) == 0 {
			t.Errorf("%x", sr)
		}
		// The phone answers that it got it 30 ms ago, and lost 7.
		back := append([]byte{0x81, rtcpRR, 0, 7}, make([]byte, 28)...)
		putSSRC(back[4:], a.ssrc)
		putSSRC(back[8:], h.ssrc)
		back[15] = 7
		copy(back[24:28], sr[10:14])
		a.sendReport(back)
		until(t, "round trip is known", func() bool { return stats(t, e, "c", "1").RTT > 0 })
		if s := stats(t, e, "c", "1"); s.RemoteLost != 7 || s.RTT > patience.Microseconds() {
			t.Errorf("%+v", s)
		}
	}
}

func TestMalformedReportsAreHarmless(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AESCM128SHA180, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	for _, bad := range [][]byte{
		{0x80, 200, 0, 1, 1, 2, 3, 4},             // SR without sender info
		{0x9f, 201, 0, 1, 1, 2, 3, 4},             // 31 blocks, none there
		{0x80, 201, 0, 9, 1, 2, 3, 4},             // longer than it is
		{0x80, 201, 0, 1, 1, 2, 3, 4, 0x80, 200},  // a stump behind
		{0x80, 201, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // not version 2 behind
	} {
		a.sendReport(bad)
	}
	until(t, "all came", func() bool { return stats(t, e, "c", "1").RTCPReceived == 5 })
	a.send("still here")
	if h := b.hear(); h.payload != "still here" {
		t.Errorf("%+v", h)
	}
}
