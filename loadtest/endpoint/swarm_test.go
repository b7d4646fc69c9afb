package endpoint

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestTheSwarmRegistersAndAnswersOnSharedSockets(t *testing.T) {
	r := newRegistrar(t, 60, "SHA-256", "MD5")
	cfg := SwarmConfig{Domain: "trunkline.internal", Locals: []netip.Addr{loopback}, Edges: []netip.AddrPort{r.addr()}, Transport: UDP, Flows: 3, Ring: 10 * time.Millisecond}
	for i := range 40 {
		cfg.Agents = append(cfg.Agents, SwarmAgent{User: fmt.Sprintf("a%02d", i), Password: "secret"})
	}
	s, err := NewSwarm(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Register(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	registered := len(r.accepted)
	r.mu.Unlock()
	if registered != 40 || len(s.stacks) != 3 {
		t.Fatalf("%d of 40 registered over %d sockets, want 3", registered, len(s.stacks))
	}
	// One call to each phone, all at once, through the socket it shares.
	var calls []*Call
	for i, a := range cfg.Agents {
		c, err := NewCaller(t.Context(), CallerConfig{Local: loopback, SBC: s.stacks[i%3].flow.local, Transport: UDP})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		call, err := c.Call(CallParams{From: "1", To: a.User, Codecs: []Codec{PCMA}, Suites: []Suite{AES128SHA80}, Silent: true})
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	for i, call := range calls {
		<-call.Answered()
		if r := call.Result(); r.Code != 200 {
			t.Fatalf("call %d: %d %s", i, r.Code, r.Reason)
		}
	}
	if open, peak := s.Load(); open != 40 || peak != 40 {
		t.Errorf("%d phones in a call, %d at most; want 40", open, peak)
	}
	for _, call := range calls {
		if err := call.Hangup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "every phone free again", func() bool { open, _ := s.Load(); return open == 0 })
	for _, c := range s.Calls() {
		if c.Code != 200 || c.Answered.Before(c.Invited) || c.Ended.Before(c.Answered) {
			t.Errorf("call %+v", c)
		}
	}
}
