package endpoint

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// await polls a condition; what it waits for happens in other goroutines and sockets.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("no %s in 10 s", what)
		}
	}
}

// pair is a phone and a caller that reach each other without anything between.
func pair(t *testing.T, cfg AgentConfig) (*Agent, *Caller, <-chan *Call) {
	t.Helper()
	calls := make(chan *Call, 8)
	cfg.User, cfg.Local, cfg.Transport = "ann", loopback, UDP
	cfg.OnCall = func(c *Call) { calls <- c }
	agent, err := NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(agent.Close)
	caller, err := NewCaller(t.Context(), CallerConfig{Local: loopback, SBC: agent.Address(), Transport: UDP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	return agent, caller, calls
}

func talkFor(t *testing.T, p CallParams, packets int) (caller, agent CallResult) {
	t.Helper()
	_, c, calls := pair(t, AgentConfig{Ring: 20 * time.Millisecond, Tone: 1000, Source: 2, Hear: []int{p.Tone, 1000}, MuxRTCP: true})
	p.From, p.To, p.Source, p.Hear = "+4912345", "ann", 1, []int{1000, p.Tone}
	call, err := c.Call(p)
	if err != nil {
		t.Fatal(err)
	}
	<-call.Answered()
	if r := call.Result(); r.Code != 200 {
		t.Fatalf("answered %d %s", r.Code, r.Reason)
	}
	far := <-calls
	await(t, "talk", func() bool {
		return far.Result().Media.Marked >= packets && call.Result().Media.Marked >= packets
	})
	if err := call.Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	<-far.Done()
	return call.Result(), far.Result()
}

func TestTwoFarEndsHearEachOtherEncrypted(t *testing.T) {
	t.Parallel()
	f := func(codec Codec, suite Suite, mux bool) {
		t.Helper()
		a, b := talkFor(t, CallParams{Codecs: []Codec{codec}, Suites: []Suite{suite}, Tone: 450, MuxRTCP: mux}, 75)
		for _, r := range []CallResult{a, b} {
			m := r.Media
			if r.Codec != string(codec) || r.Suite != string(suite) {
				t.Errorf("%s %s: negotiated %s %s", codec, suite, r.Codec, r.Suite)
			}
			if m.Lost != 0 || m.MarksLost != 0 || m.Rejected != 0 || m.SSRCs != 1 {
				t.Errorf("%s %s: %+v, want nothing lost or rejected", codec, suite, m)
			}
			if m.RTCPSent == 0 || m.RTCPReceived == 0 {
				t.Errorf("%s %s mux=%v: RTCP sent %d received %d", codec, suite, mux, m.RTCPSent, m.RTCPReceived)
			}
		}
		if s := a.Media.HeardShare(1000); s < 0.9 {
			t.Errorf("%s %s: the caller hears the agent in %.2f of the talk", codec, suite, s)
		}
		if s := b.Media.HeardShare(450); s < 0.9 {
			t.Errorf("%s %s: the agent hears the caller in %.2f of the talk", codec, suite, s)
		}
		if a.Media.HeardShare(450) > 0.1 {
			t.Errorf("%s %s: the caller hears itself", codec, suite)
		}
		if a.EndedBy != "us" || b.EndedBy != "peer" || a.ByeCode != 200 {
			t.Errorf("ended by %s (%d) and %s", a.EndedBy, a.ByeCode, b.EndedBy)
		}
	}
	f(PCMA, AES128SHA80, true)
	f(PCMA, AES128GCM, false)
	f(Opus, AES128SHA80, false)
	f(Opus, AES128GCM, true)
	f(PCMA, AES256GCM, true)
}

func TestDroppedPacketsAreCountedAndTheGapMeasured(t *testing.T) {
	t.Parallel()
	drop := func(n uint32) bool { return n == 12 || n >= 30 && n < 40 }
	_, b := talkFor(t, CallParams{Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Tone: 450, MuxRTCP: true, Drop: drop}, 60)
	if b.Media.Lost != 11 || b.Media.MarksLost != 11 {
		t.Errorf("lost %d by sequence and %d by mark, want 11 each", b.Media.Lost, b.Media.MarksLost)
	}
	// Ten packets missing: 220 ms between their neighbours.
	if g := b.Media.LongestGap; g < 210*time.Millisecond || g > 300*time.Millisecond {
		t.Errorf("longest gap %v, want about 220ms", g)
	}
}

func TestAnUnbrokenTalkHasNoGap(t *testing.T) {
	t.Parallel()
	a, _ := talkFor(t, CallParams{Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Tone: 450, MuxRTCP: true}, 60)
	if g := a.Media.LongestGap; g > 100*time.Millisecond {
		t.Errorf("longest gap %v in an unbroken talk (own pacing late by %v)", g, a.Media.SendLate)
	}
}

func TestSilenceBeforeTheEndIsAGap(t *testing.T) {
	t.Parallel()
	// The far end stops sending after its 25th packet and hangs up 300 ms later.
	calls := make(chan *Call, 1)
	_, c, far := pair(t, AgentConfig{Tone: 1000, Source: 2, Hear: []int{450}, MuxRTCP: true})
	call, err := c.Call(CallParams{From: "1", To: "ann", Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Tone: 450, Source: 1, MuxRTCP: true,
		Drop: func(n uint32) bool { return n >= 25 }})
	if err != nil {
		t.Fatal(err)
	}
	calls <- <-far
	f := <-calls
	await(t, "the sender to go on unheard", func() bool { return call.Result().Media.Sent >= 45 })
	if err := call.Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-f.Done()
	if g := f.Result().Media.LongestGap; g < 350*time.Millisecond {
		t.Errorf("longest gap %v, want the 400 ms of silence before the BYE", g)
	}
}

func TestAPlainOfferIsRefused(t *testing.T) {
	_, c, _ := pair(t, AgentConfig{Tone: 1000})
	call, err := c.Call(CallParams{From: "1", To: "ann", Codecs: []Codec{PCMA}, Plain: true, Tone: 450})
	if err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	if r := call.Result(); r.Code != 488 {
		t.Errorf("got %d %s, want 488", r.Code, r.Reason)
	}
}

func TestABusyPhoneRefusesASecondCall(t *testing.T) {
	_, c, calls := pair(t, AgentConfig{NoAnswer: true})
	p := CallParams{From: "1", To: "ann", Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Silent: true}
	first, err := c.Call(p)
	if err != nil {
		t.Fatal(err)
	}
	far := <-calls
	second, err := c.Call(p)
	if err != nil {
		t.Fatal(err)
	}
	<-second.Done()
	if r := second.Result(); r.Code != 486 {
		t.Errorf("second call got %d, want 486", r.Code)
	}
	if err := first.Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	<-far.Done()
	if r := first.Result(); r.Code != 487 || r.Rang.IsZero() {
		t.Errorf("cancelled call got %d, rang %v; want 487 after ringing", r.Code, r.Rang)
	}
}

func TestTheAgentHangsUp(t *testing.T) {
	_, c, calls := pair(t, AgentConfig{Tone: 1000, Source: 2})
	call, err := c.Call(CallParams{From: "1", To: "ann", Codecs: []Codec{Opus}, Suites: []Suite{AES128GCM}, Tone: 450, Source: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-call.Answered()
	far := <-calls
	<-far.Answered()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := far.Hangup(ctx); err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	if r := call.Result(); r.EndedBy != "peer" {
		t.Errorf("ended by %q, want peer", r.EndedBy)
	}
}

func TestSplitList(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := strings.Join(splitList(in), "|"); got != want {
			t.Errorf("splitList(%q) = %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("<sip:a;lr>", "<sip:a;lr>")
	f("<sip:a;lr>, <sip:b,c;lr>", "<sip:a;lr>|<sip:b,c;lr>")
	f(`"x, y" <sip:a>,<sip:b>`, `"x, y" <sip:a>|<sip:b>`)
}
