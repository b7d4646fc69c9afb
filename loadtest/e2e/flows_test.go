package e2e

import (
	"net/netip"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
)

// A phone that holds a flow by each edge is one device: it rings once, and when
// the edge of the flow that is tried first dies the next calls ring by the other
// at once, without the phone registering anew (RFC 5626, T13).
func TestAPhoneIsRungByItsOtherFlowAtOnce(t *testing.T) {
	const device = "urn:uuid:00000000-0000-1000-8000-000A95A0E128"
	s := raiseWith(t, endpoint.AgentConfig{Ring: 50 * time.Millisecond, Instance: device, RegID: 1, Transport: endpoint.TCP}, func(o *lab.Options) {
		o.WrapUp = 100 * time.Millisecond
		o.Tune = func(c *acd.Config) { c.Numbers[0].Greeting = "" }
	})
	rang := make(chan *endpoint.Call, 8)
	second, err := endpoint.NewAgent(t.Context(), endpoint.AgentConfig{
		User: "ann", Password: "secret", Domain: lab.ClusterHost, Local: netip.AddrFrom4([4]byte{127, 10, 5, 2}), Edge: s.addr(lab.Edge2, lab.PortAgents),
		Transport: endpoint.TCP, Instance: device, RegID: 2, Ring: 50 * time.Millisecond, Tone: agentTone, Source: 2, Hear: []int{callerTone},
		OnCall: func(c *endpoint.Call) { rang <- c },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	s.await(30*time.Second, "the second flow to be registered", func() bool { return second.Register(t.Context()) == nil })
	// The flow registered last is tried first.
	s.await(30*time.Second, "the first flow to be registered again", func() bool { return s.phone.Register(t.Context()) == nil })
	s.await(10*time.Second, "both flows to be known", func() bool {
		agents, err := s.api.Agents(t.Context())
		return err == nil && len(agents) == 1 && len(agents[0].Contacts) == 2
	})

	c := s.call(lab.SBCB)
	s.await(30*time.Second, "the call to be answered", s.inState(c, "talking"))
	if n, _ := s.legsSoFar(); n != 1 || len(rang) != 0 {
		t.Errorf("rang %d times by the first flow and %d by the second, want once by the first", n, len(rang))
	}
	_, leg := s.legsSoFar()
	s.end(leg, c)

	if err := s.lab.Kill(lab.Edge1); err != nil {
		t.Fatal(err)
	}
	for i, what := range []string{"just killed", "known to be dead"} {
		if i == 1 {
			s.await(10*time.Second, "the operator to be idle", func() bool {
				agents, err := s.api.Agents(t.Context())
				return err == nil && agents[0].State == "idle"
			})
			heard := time.Now()
			s.await(10*time.Second, "the edge to have been silent for long enough", func() bool { return time.Since(heard) > 3*time.Second })
		}
		began := time.Now()
		c := s.call(lab.SBCB)
		var leg *endpoint.Call
		select {
		case leg = <-rang:
		case <-time.After(20 * time.Second):
			t.Fatalf("edge-1 %s: the phone does not ring by its second flow", what)
		}
		took := time.Since(began)
		t.Logf("edge-1 %s: from the call to the ringing %v", what, took)
		if took > 3*time.Second {
			t.Errorf("edge-1 %s: rings after %v", what, took)
		}
		s.await(30*time.Second, "the call to be answered", s.inState(c, "talking"))
		s.end(leg, c)
	}
}
