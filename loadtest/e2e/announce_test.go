package e2e

import (
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
)

// Tones of the prompts below.
const (
	musicHz    = 1100
	positionHz = 500
	number1Hz  = 700
	byeHz      = 1500
)

// A waiting caller is told the place in line over the music, again after the
// worker's death, and leaves by the exit key, by INFO as by RTP events (N5). A
// prompt that nobody recorded is left out and stops nothing.
func TestAWaitingCallerIsToldThePlaceAndLeavesByTheKey(t *testing.T) {
	prompts := tonePrompts(t, map[string]prompt{
		"music": {musicHz, 2 * time.Second}, "position": {positionHz, 800 * time.Millisecond},
		"number-1": {number1Hz, 800 * time.Millisecond}, "bye": {byeHz, time.Second},
	})
	s := raise(t, 10*time.Minute, func(o *lab.Options) {
		o.Prompts = prompts
		o.Tune = func(c *acd.Config) {
			c.Numbers[0].Greeting = ""
			q := &c.Queues[0]
			q.Announce = acd.Announcing{First: 2 * time.Second, Every: 15 * time.Second, Position: true}
			q.ExitKey, q.Exit = "0", acd.Then{Prompt: "bye"}
		}
	})
	hear := func(from string) *endpoint.Call {
		c, err := s.callers[lab.SBCA].Call(endpoint.CallParams{
			From: from, To: lab.SalesNumber, Codecs: []endpoint.Codec{endpoint.PCMA}, Suites: []endpoint.Suite{endpoint.AES128GCM},
			Tone: callerTone, Source: 1, Hear: []int{musicHz, positionHz, number1Hz, byeHz},
		})
		if err != nil {
			t.Fatal(err)
		}
		<-c.Answered()
		c.BeginTalk()
		return c
	}
	heard := func(c *endpoint.Call, hz, blocks int) func() bool {
		return func() bool { return c.Result().Media.Heard[hz] >= blocks }
	}
	first := hear("+74951230001")
	s.await(20*time.Second, "the music", heard(first, musicHz, 5))
	s.await(20*time.Second, "the place in line", heard(first, positionHz, 3))
	s.await(20*time.Second, "its number", heard(first, number1Hz, 3))
	before := first.Result().Media.Heard[musicHz]
	s.await(20*time.Second, "the music behind it", heard(first, musicHz, before+5))
	if m := first.Result().Media; m.Lost != 0 || m.LongestGap > 200*time.Millisecond {
		t.Errorf("lost %d, longest gap %v over an announcement", m.Lost, m.LongestGap)
	}

	second := hear("+74951230002") // whose number-2 nobody recorded
	s.await(20*time.Second, "the place in line of the second", heard(second, positionHz, 3))
	s.await(20*time.Second, "the missing prompt to be counted", func() bool { return s.sum("mediad_prompts_missing_total", "m1", "m2") > 0 })
	before = second.Result().Media.Heard[musicHz]
	s.await(20*time.Second, "the music of the second to go on", heard(second, musicHz, before+5))

	v, _ := s.seen(first)
	if err := s.lab.Kill(v.Worker); err != nil {
		t.Fatal(err)
	}
	place := first.Result().Media.Heard[positionHz]
	s.await(40*time.Second, "the next announcement, at the standby", heard(first, positionHz, place+3))

	for _, c := range []struct {
		call *endpoint.Call
		by   endpoint.Keypad
	}{{first, endpoint.ByInfo}, {second, endpoint.ByEvents}} {
		s.press(c.call, "90", c.by) // 9 means nothing
		s.await(20*time.Second, "the prompt behind the key", heard(c.call, byeHz, 3))
		s.await(20*time.Second, "the call to be ended by the tier", func() bool { return done(c.call) })
		if r := c.call.Result(); r.EndedBy != "peer" {
			t.Errorf("ended by %q, want the tier", r.EndedBy)
		}
	}
}
