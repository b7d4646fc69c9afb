package session

import (
	"testing"
	"time"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// supervised is a call of two with a supervisor beside them; each has a tone.
type supervised struct {
	t       *testing.T
	e       *Engine
	parties [3]*phone // caller "1", agent "2", supervisor "3"
}

var tones = [3]int{500, 900, 1300}

func newSupervised(t *testing.T, codecs ...[]sdp.Codec) *supervised {
	t.Helper()
	s := &supervised{t: t, e: newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })}
	for i := range s.parties {
		s.parties[i] = newPhone(t, srtp.AEAD128GCM, true)
		s.parties[i].codecs = codecs[i]
	}
	s.parties[0].dial(s.e, "c")
	s.parties[1].ring(s.e, "c", "2")
	s.parties[2].ring(s.e, "c", "3")
	connect(t, s.e, "c")
	return s
}

func (s *supervised) mode(mode, of string) {
	s.t.Helper()
	do(s.t, s.e, mediaapi.Request{Command: mediaapi.Supervise, CallID: "c", Leg: "3", Peer: of, Mode: mode})
}

// all has everybody speak for so many packets, and returns what each one heard.
func (s *supervised) all(packets int, while func()) (heard [3]listening) {
	done := make(chan struct{})
	for i, p := range s.parties {
		go speaker{phone: p, hz: tones[i]}.speak(packets)
	}
	for i, p := range s.parties {
		go func() {
			heard[i] = p.listen8k(300*time.Millisecond, time.Duration(packets)*frameTime+200*time.Millisecond)
			done <- struct{}{}
		}()
	}
	if while != nil {
		while()
	}
	for range s.parties {
		<-done
	}
	return heard
}

// hear has everybody speak and checks who hears whom: for each party, the tones of
// the parties named, and no other.
func (s *supervised) hear(what string, want ...string) {
	s.t.Helper()
	heard := s.all(60, nil)
	for i, l := range heard {
		if want[i] == "" {
			if l.packets > 0 && loudest(l.pcm) > 0 {
				s.t.Errorf("%s: party %d hears something", what, i+1)
			}
			continue
		}
		if l.packets < 50 || l.lost > 0 {
			s.t.Errorf("%s: party %d got %d packets, %d lost", what, i+1, l.packets, l.lost)
			continue
		}
		body := l.pcm[160*10 : 160*45]
		for j, hz := range tones {
			share, expected := share(body, hz), 0.0
			for _, k := range want[i] {
				if int(k-'1') == j {
					expected = 1 / float64(len(want[i]))
				}
			}
			if share < expected-0.3 || share > expected+0.3 || expected == 0 && share > 0.02 {
				s.t.Errorf("%s: %.2f of what party %d hears is party %d's tone, want %.2f", what, share, i+1, j+1, expected)
			}
		}
	}
}

func loudest(pcm []int16) (most int16) {
	for _, v := range pcm {
		most = max(most, v, -v)
	}
	if most <= 16 { // G.711's silence
		return 0
	}
	return most
}

// A supervisor listens, whispers to either, joins, lets go and takes over, and at
// each moment everybody hears exactly whom they should (N9).
func TestEachPartyHearsWhomItShould(t *testing.T) {
	for name, codecs := range map[string][][]sdp.Codec{
		"PCMA": {pcmaOnly, pcmaOnly, pcmaOnly}, "mixed": {pcmuOnly, opusOnly, pcmaOnly}, "Opus": {opusOnly, opusOnly, opusOnly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSupervised(t, codecs...)
			s.hear("before", "2", "1", "")
			s.mode(mediaapi.Listen, "1")
			s.hear("listen", "2", "1", "12")
			s.mode(mediaapi.Whisper, "2")
			s.hear("whisper to the agent", "2", "13", "12")
			s.mode(mediaapi.Whisper, "1")
			s.hear("whisper to the caller", "23", "1", "12")
			s.mode(mediaapi.Join, "2")
			s.hear("join", "23", "13", "12")
			s.mode(mediaapi.Listen, "2")
			s.hear("listen again", "2", "1", "12")
			s.mode(mediaapi.Unsupervised, "")
			s.hear("alone again", "2", "1", "")
			s.mode(mediaapi.Join, "2")
			do(t, s.e, mediaapi.Request{Command: mediaapi.Connect, CallID: "c", Leg: "1", Peer: "3"})
			s.hear("taken over", "3", "", "1")
			sh := s.e.calls["c"].shard
			sh.mu.Lock()
			defer sh.mu.Unlock()
			for _, l := range sh.legs {
				if l.mixed.voice != nil || l.mixed.ears != nil || l.supervision.Mode != "" {
					t.Errorf("leg %s is still in a mix", l.id)
				}
			}
		})
	}
}

// For those who talk a supervisor comes and goes without a hole: while one listens
// their packets are what they were, and when one joins, leaves or takes over they
// wait for none longer than the hold of a jitter buffer.
func TestASupervisorCausesNoGap(t *testing.T) {
	s := newSupervised(t, pcmaOnly, pcmaOnly, pcmaOnly)
	step := func(d time.Duration, mode string) func() {
		return func() {
			timer := time.NewTimer(d)
			defer timer.Stop()
			<-timer.C
			if mode == "connect" {
				do(t, s.e, mediaapi.Request{Command: mediaapi.Connect, CallID: "c", Leg: "1", Peer: "3"})
				return
			}
			s.mode(mode, "2")
		}
	}
	f := func(mode string, sides []int, streams int) {
		t.Helper()
		heard := s.all(80, step(600*time.Millisecond, mode))
		for _, i := range sides {
			l := heard[i]
			if len(l.ssrcs) > streams || l.lost > 0 {
				t.Errorf("%s: party %d hears %d streams, %d packets lost", mode, i+1, len(l.ssrcs), l.lost)
			}
			if l.packets < 70 || l.packets > 95 { // a mix goes on in silence
				t.Errorf("%s: party %d got %d packets of 80", mode, i+1, l.packets)
			}
			if gap := longestSilence(l.pcm); gap > 100*time.Millisecond {
				t.Errorf("%s: party %d hears silence for %v", mode, i+1, gap)
			}
		}
	}
	f(mediaapi.Listen, []int{0, 1}, 1)
	f(mediaapi.Join, []int{0, 1}, 2)
	f(mediaapi.Listen, []int{0, 1}, 2)
	f(mediaapi.Join, []int{0, 1}, 2)
	f("connect", []int{0}, 2)
}

// longestSilence is the longest run of quiet samples at 8 kHz between loud ones.
func longestSilence(pcm []int16) time.Duration {
	most, last := 0, -1
	for i, v := range pcm {
		if v > 300 || v < -300 {
			if last >= 0 {
				most = max(most, i-last)
			}
			last = i
		}
	}
	return time.Duration(most) * time.Second / 8000
}

func TestSupervisorsAreRefusedWithTheCodeThatFits(t *testing.T) {
	s := newSupervised(t, pcmaOnly, pcmaOnly, pcmaOnly)
	f := func(code int64, leg, peer, mode string) {
		t.Helper()
		reply, _ := s.e.Do(mediaapi.Request{Command: mediaapi.Supervise, CallID: "c", Leg: leg, Peer: peer, Mode: mode})
		if reply.Code != code {
			t.Errorf("%s of %s, %q: %d %s, want %d", leg, peer, mode, reply.Code, reply.Reason, code)
		}
	}
	f(400, "3", "1", "shout")
	f(400, "3", "3", mediaapi.Listen)
	f(481, "3", "9", mediaapi.Listen)
	f(481, "9", "1", mediaapi.Listen)
	f(491, "1", "2", mediaapi.Listen)
	f(0, "3", "1", mediaapi.Listen)
	f(0, "3", "", mediaapi.Unsupervised)
	do(t, s.e, mediaapi.Request{Command: mediaapi.Delete, CallID: "c", Leg: "1"})
	f(491, "3", "2", mediaapi.Listen)
}

// The agent hangs up under a supervisor who listens: the mix ends, and with the
// supervisor's leg everything.
func TestAMixEndsWithItsPair(t *testing.T) {
	s := newSupervised(t, pcmaOnly, pcmaOnly, pcmaOnly)
	s.mode(mediaapi.Join, "1")
	s.hear("join", "23", "13", "12")
	do(t, s.e, mediaapi.Request{Command: mediaapi.Delete, CallID: "c", Leg: "2"})
	sh := s.e.calls["c"].shard
	sh.mu.Lock()
	if sh.players != 0 || s.e.calls["c"].lead != nil || sh.legs[0].mixed.begun {
		t.Errorf("%d legs on the wheel", sh.players)
	}
	sh.mu.Unlock()
	s.e.mu.Lock()
	l := s.e.calls["c"].leg("3")
	s.e.mu.Unlock()
	if l.supervision.Mode != "" {
		t.Error("still supervises")
	}
}

// The worker dies under a supervisor: the standby mixes on, in streams of its own.
func TestAMixGoesOnAtTheStandby(t *testing.T) {
	p := newPair(t, "127.20.4.80")
	s := &supervised{t: t, e: p.a}
	for i := range s.parties {
		s.parties[i] = newPhone(t, srtp.AEAD128GCM, true)
		s.parties[i].codecs = pcmaOnly
	}
	s.parties[0].dial(p.a, "c")
	s.parties[1].ring(p.a, "c", "2")
	s.parties[2].ring(p.a, "c", "3")
	connect(t, p.a, "c")
	s.mode(mediaapi.Whisper, "2")
	s.hear("before", "2", "13", "12")
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	s.e = p.b
	s.hear("at the standby", "2", "13", "12")
	if m := stats(t, p.b, "c", "3").Mode; m != mediaapi.Whisper {
		t.Errorf("the supervisor's mode is %q", m)
	}
}
