package e2e

import (
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
)

// burst is pressed without waiting for anything but the answers to INFO.
const burst = "1234567890*#"

// Keys of talking parties reach the other one in order and once, whatever either
// has: a caller with RTP events, an operator whose phone knows only INFO, and the
// other way round; with the death of the router, and of the worker, under way
// (T6, T13). The caller speaks G.711 and the operator Opus: they hear each other
// all the same (T3).
func TestKeysOfTalkingPartiesGoAcross(t *testing.T) {
	s := raiseWith(t, endpoint.AgentConfig{Ring: 50 * time.Millisecond, NoEvents: true, Codecs: []endpoint.Codec{endpoint.Opus}})
	caller := s.call(lab.SBCA)
	s.await(20*time.Second, "both to talk", s.inState(caller, "talking", "up", "up"))
	_, agent := s.legsSoFar()
	if a, b := caller.Result().Codec, agent.Result().Codec; a != "PCMA" || b != "opus" {
		t.Fatalf("the caller has %s and the operator %s", a, b)
	}
	s.bothHear(caller, agent)

	s.press(caller, burst, endpoint.ByEvents)
	want := burst
	s.await(20*time.Second, "events as INFO", func() bool { return agent.Result().KeysByInfo == want })
	s.press(agent, burst, endpoint.ByInfo)
	back := burst
	s.await(20*time.Second, "INFO as events", func() bool { return caller.Result().Media.Keys == back })

	// The owner dies within a burst, both ways.
	v, _ := s.seen(caller)
	s.press(caller, "159", endpoint.ByEvents)
	if err := s.lab.Kill(v.Node); err != nil {
		t.Fatal(err)
	}
	s.press(caller, "753", endpoint.ByEvents)
	want += "159753"
	s.await(30*time.Second, "the keys of a burst in which the router died", func() bool { return agent.Result().KeysByInfo == want })
	s.press(agent, "42", endpoint.ByInfo)
	back += "42"
	s.await(20*time.Second, "INFO by the next owner as events", func() bool { return caller.Result().Media.Keys == back })

	// The worker dies while it sends.
	v, _ = s.seen(caller)
	s.press(agent, "2468", endpoint.ByInfo)
	if err := s.lab.Kill(v.Worker); err != nil {
		t.Fatal(err)
	}
	s.press(agent, "0*", endpoint.ByInfo)
	back += "24680*"
	s.await(30*time.Second, "a burst in which the worker died", func() bool { return caller.Result().Media.Keys == back })
	s.press(caller, "86", endpoint.ByEvents)
	want += "86"
	s.await(20*time.Second, "events at the standby as INFO", func() bool { return agent.Result().KeysByInfo == want })
	s.bothHear(caller, agent)
	if r, a := caller.Result(), agent.Result(); r.Media.Keys != back || a.KeysByInfo != want || r.KeysByInfo != "" || a.Media.Keys != "" {
		t.Errorf("the caller got %q and %q, the operator %q and %q", r.Media.Keys, r.KeysByInfo, a.Media.Keys, a.KeysByInfo)
	}
	if got := s.collected(); got != 0 {
		t.Errorf("%d keys of talking parties reached the log", got)
	}
	s.end(caller, caller)
}
