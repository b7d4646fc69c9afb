package endpoint

import (
	"context"
	"testing"
	"time"
)

// A far end's own keys, by both ways, against a stand-in that takes both.
func TestKeysGoOutByInfoAndByEvents(t *testing.T) {
	t.Parallel()
	_, c, calls := pair(t, AgentConfig{Tone: 1000, Source: 2, Codecs: []Codec{PCMA}, Hear: []int{450}, MuxRTCP: true})
	call, err := c.Call(CallParams{From: "1", To: "ann", Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Tone: 450, Source: 1, MuxRTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	far := <-calls
	<-far.Answered()
	await(t, "talk", func() bool { return far.Result().Media.Marked > 10 && call.Result().Media.Marked > 10 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := call.Press(ctx, "12*#", ByInfo|ByEvents); err != nil {
		t.Fatal(err)
	}
	if r := far.Result(); r.KeysByInfo != "12*#" || r.Media.Keys != "12*#" {
		t.Errorf("the far end got %q by INFO and %q by events", r.KeysByInfo, r.Media.Keys)
	}
	if err := call.Hangup(ctx); err != nil {
		t.Fatal(err)
	}
	<-far.Done()
	if m := far.Result().Media; m.Lost != 0 || m.MarksLost != 0 || m.Rejected != 0 {
		t.Errorf("events cost audio: %+v", m)
	}
	if err := call.Press(ctx, "x", ByInfo); err == nil {
		t.Error("a key that there is not was pressed")
	}
}

func TestAPhoneDeclinesWithTheCodeItIsTold(t *testing.T) {
	t.Parallel()
	_, c, _ := pair(t, AgentConfig{Ring: 20 * time.Millisecond, Refuse: 603})
	call, err := c.Call(CallParams{From: "1", To: "ann", Codecs: []Codec{PCMA}, Suites: []Suite{AES128GCM}, Silent: true})
	if err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	if r := call.Result(); r.Code != 603 || r.Rang.IsZero() {
		t.Errorf("%d %s, rang %v", r.Code, r.Reason, r.Rang)
	}
}
