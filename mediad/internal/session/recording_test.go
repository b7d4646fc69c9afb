package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// heard is what the recorder has got, and forgets it.
func (r *tape) heard() (payloads, told []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.packets {
		payloads = append(payloads, string(p.Payload))
	}
	told, r.packets, r.told = r.told, nil, nil
	return payloads, told
}

func (r *tape) want(t *testing.T, told []string, payloads ...string) {
	t.Helper()
	gotPayloads, gotTold := r.heard()
	if !slices.Equal(gotPayloads, payloads) || !slices.Equal(gotTold, told) {
		t.Errorf("recorder has %q and was told %q, want %q and %q", gotPayloads, gotTold, payloads, told)
	}
}

// A card number is spoken while the recording is paused: the parties hear each
// other, the recorder gets nothing. A router that repeats its orders does not
// end the pause.
func TestNothingIsRecordedInAPause(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = rec })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	say := func(text string) {
		t.Helper()
		a.send(text)
		if h := b.hear(); h.payload != text {
			t.Fatalf("heard %q, want %q", h.payload, text)
		}
	}
	start := mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Label: "sales", Flags: []string{mediaapi.FlagKeepPause}}
	do(t, e, start)
	say("before")
	rec.want(t, []string{"start sales"}, "before")
	for _, pause := range []mediaapi.Request{
		{Command: mediaapi.PauseRecording, CallID: "c"},
		{Command: mediaapi.StopRecording, CallID: "c", Flags: []string{mediaapi.FlagPause}},
	} {
		do(t, e, pause)
		do(t, e, pause) // a repeat
		say("4111 1111")
		do(t, e, start)
		say("1111 1111")
		if legs := do(t, e, mediaapi.Request{Command: mediaapi.Query, CallID: "c"}).Legs; !legs[0].Recording || !legs[0].Paused {
			t.Errorf("%+v", legs[0])
		}
		rec.want(t, []string{"start sales", "pause"})
		do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
		say("after")
		rec.want(t, []string{"start sales", "resume"}, "after")
	}
	do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Label: "billing"})
	rec.want(t, []string{"start billing"})
	do(t, e, mediaapi.Request{Command: mediaapi.StopRecording, CallID: "c"})
	say("no more")
	rec.want(t, nil)
}

// A pause that is asked for before the recording starts holds when it does.
func TestAPauseHoldsBeforeTheStart(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = rec })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	do(t, e, mediaapi.Request{Command: mediaapi.PauseRecording, CallID: "c"})
	do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Flags: []string{mediaapi.FlagKeepPause}})
	a.send("4111")
	b.hear()
	rec.want(t, []string{"start ", "pause"})
}

// Whoever ends a pause does not thereby begin a recording.
func TestAResumptionBeginsNothing(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = rec })
	newPhone(t, srtp.AEAD128GCM, true).dial(e, "c")
	resume := mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Flags: []string{mediaapi.FlagResume}}
	do(t, e, mediaapi.Request{Command: mediaapi.PauseRecording, CallID: "c"})
	do(t, e, resume)
	rec.want(t, nil)
	do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
	do(t, e, mediaapi.Request{Command: mediaapi.PauseRecording, CallID: "c"})
	do(t, e, resume)
	rec.want(t, []string{"start ", "start ", "pause", "start ", "resume"})
}

// An Opus packet may carry the frame before it once more: the first after a
// pause is not kept, of either side.
func TestOpusGivesNothingOfThePauseAway(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = rec })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	opus := []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}}
	a.codecs, b.codecs, a.pt, b.pt = opus, opus, 96, 96
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	for _, command := range []string{mediaapi.StartRecording, mediaapi.PauseRecording, mediaapi.StartRecording} {
		do(t, e, mediaapi.Request{Command: command, CallID: "c"})
	}
	rec.heard()
	for i := range 2 {
		a.send(fmt.Sprint("a", i))
		b.hear()
		b.send(fmt.Sprint("b", i))
		a.hear()
	}
	rec.want(t, nil, "a1", "b1")
}

// The worker dies in the pause: its successor records nothing either, and notes
// in its own log that it is paused.
func TestAPauseOutlivesTheWorker(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	p := newPair(t, "127.20.4.231", func(c *Config) { c.Recorder = rec })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(p.a, "c")
	b.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	do(t, p.a, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Label: "sales"})
	do(t, p.a, mediaapi.Request{Command: mediaapi.PauseRecording, CallID: "c"})
	a.send("x")
	b.hear()
	rec.heard()
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	a.send("4111")
	b.hear()
	rec.want(t, []string{"start sales", "pause"})
	do(t, p.b, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
	a.send("after")
	b.hear()
	rec.want(t, []string{"start sales", "resume"}, "after")
}

func TestALabelTooLongIsRefused(t *testing.T) {
	log, err := record.Open(t.TempDir(), make([]byte, 32), record.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close(context.Background()) })
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = log })
	newPhone(t, srtp.AEAD128GCM, true).dial(e, "c")
	reply, _ := e.Do(mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c", Label: strings.Repeat("x", 65)})
	if reply.Code != 400 || !strings.Contains(reply.Reason, "label is too long (65 bytes, at most 64)") {
		t.Errorf("%+v", reply)
	}
}
