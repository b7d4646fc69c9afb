package session

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// Prompts of a sequence follow each other without a gap, then the music loops.
func TestPromptsPlayOneAfterTheOther(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	r := do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompts: []string{"short", "three", "short"}, Then: "three"})
	if want := int64(13 * 20); r.Duration != want || len(r.Skipped) != 0 {
		t.Errorf("%d ms, skipped %q, want %d ms", r.Duration, r.Skipped, want)
	}
	var want []string
	for _, c := range []struct {
		name string
		n    int
	}{{"short", 5}, {"three", 3}, {"short", 5}, {"three", 3}, {"three", 3}, {"three", 3}} {
		for i := range c.n {
			want = append(want, fmt.Sprintf("%s PCMA frame %d", c.name, i))
		}
	}
	var last heard
	for i, text := range want {
		h := a.hear()
		if h.payload != text || h.marker != (i == 0) {
			t.Errorf("%d: %q marker=%v, want %q", i, h.payload, h.marker, text)
		}
		if i > 0 && (h.seq != last.seq+1 || h.ts != last.ts+160 || h.ssrc != last.ssrc) {
			t.Errorf("%d: a gap between %+v and %+v", i, last, h)
		}
		last = h
	}
	if s := stats(t, e, "c", "1"); s.Playing != "three" {
		t.Errorf("playing %q", s.Playing)
	}
}

func TestASequenceEndsWithoutMusic(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompts: []string{"three", "three"}})
	until(t, "it is over", func() bool { return stats(t, e, "c", "1").Playing == "" })
	if s := stats(t, e, "c", "1"); s.SentPackets != 6 {
		t.Errorf("%d packets", s.SentPackets)
	}
}

// A prompt that there is not is left out, counted and told; the rest plays. Not
// one there: what plays goes on.
func TestMissingPromptsStopNothing(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a := newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	r := do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompts: []string{"nil-1", "three", "nil-2"}, Then: "long"})
	if r.Duration != 60 || !reflect.DeepEqual(r.Skipped, []string{"nil-1", "nil-2"}) {
		t.Errorf("%+v", r)
	}
	for i := range 5 {
		want := fmt.Sprintf("three PCMA frame %d", i)
		if i >= 3 {
			want = fmt.Sprintf("long PCMA frame %d", i-3)
		}
		if h := a.hear(); h.payload != want {
			t.Errorf("%d: %q, want %q", i, h.payload, want)
		}
	}
	r = do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompts: []string{"nil-1"}, Then: "nil-2"})
	if r.Duration != 0 || len(r.Skipped) != 2 {
		t.Errorf("%+v", r)
	}
	if s := stats(t, e, "c", "1"); s.Playing != "long" {
		t.Errorf("playing %q", s.Playing)
	}
	e.mu.Lock()
	missing := e.missing
	e.mu.Unlock()
	if missing != 4 {
		t.Errorf("%d counted as missing", missing)
	}
	for name, r := range map[string]mediaapi.Request{
		"neither":  {},
		"both":     {Prompt: "short", Prompts: []string{"short"}},
		"too many": {Prompts: make([]string, maxPrompts+1)},
	} {
		r.Command, r.CallID, r.Leg = mediaapi.PlayMedia, "c", "1"
		if reply, _ := e.Do(r); reply.Code != 400 {
			t.Errorf("%s: %+v", name, reply)
		}
	}
}

// The worker dies in the middle of a sequence: its successor goes on there, and
// comes to the music.
func TestASequenceGoesOnAtTheStandby(t *testing.T) {
	p := newPair(t, "127.20.4.32")
	x := newPhone(t, srtp.AEAD128GCM, true)
	x.dial(p.a, "c")
	do(t, p.a, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompts: []string{"three", "second", "three"}, Then: "long"})
	before := x.hear()
	for range 10 {
		before = x.hear()
	}
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	for after := x.hear(); ; after = x.hear() {
		if after.ssrc == before.ssrc {
			before = after
			continue // was under way
		}
		var was, is int
		fmt.Sscanf(before.payload, "second PCMA frame %d", &was)
		fmt.Sscanf(after.payload, "second PCMA frame %d", &is)
		if is == 0 || is < was-20 || is > was+20 {
			t.Errorf("went on with %+v after %+v", after, before)
		}
		break
	}
	until(t, "the music", func() bool { return stats(t, p.b, "c", "1").Playing == "long" })
}

func TestSeekFindsThePlace(t *testing.T) {
	p := &player{clips: []clip{{"a", make([][]byte, 3)}, {"b", make([][]byte, 5)}, {"c", make([][]byte, 2)}}, loop: true}
	for want := range 10 {
		p.seek(want)
		if got := p.position(); got != want {
			t.Errorf("sought %d, at %d", want, got)
		}
	}
	for i := range 30 { // a loop counts anew each time
		p.seek(8 + i%2)
		p.next()
		if want := 8 + (i+1)%2; p.position() != want {
			t.Errorf("at %d, want %d", p.position(), want)
		}
	}
	if d := p.duration(); d != 200*time.Millisecond {
		t.Error(d)
	}
}
