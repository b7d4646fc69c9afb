package e2e

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// customerNumber is who the tasks call, a subscriber of both SBCs.
const customerNumber = "+79160000042"

// One SBC dies: the next call that is placed goes by the other at once, the trunk
// is down within the alarm's 30 s, and from then on no call is tried there. When
// it comes back it is up again (T10).
func TestACallIsPlacedByTheOtherSBCAtOnce(t *testing.T) {
	s := raiseWith(t, endpoint.AgentConfig{Ring: 50 * time.Millisecond}, func(o *lab.Options) {
		o.WrapUp = 100 * time.Millisecond
		o.Tune = func(c *acd.Config) {
			c.Outbound = acd.Outbound{Trunks: []acd.TrunkID{lab.SBCA, lab.SBCB}, From: lab.SalesNumber, RingTimeout: 20 * time.Second}
		}
	})
	rang := make(chan string, 8)
	for i, sbc := range []string{lab.SBCA, lab.SBCB} {
		phone, err := endpoint.NewAgent(t.Context(), endpoint.AgentConfig{
			User: customerNumber, Password: "-", Domain: s.lab.Addr(sbc), Local: netip.AddrFrom4([4]byte{127, 10, 6, byte(10 + i)}),
			Edge: s.addr(sbc, lab.PortSIP), Transport: endpoint.TCP, Ring: 50 * time.Millisecond, Talk: 3 * time.Second, Tone: callerTone, Source: 1,
			OnCall: func(*endpoint.Call) { rang <- sbc },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(phone.Close)
		if err := phone.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// place asks for a call to the customer and tells where the phone rang and when.
	place := func(id string) (sbc string, took time.Duration) {
		t.Helper()
		s.await(20*time.Second, "the operator to be idle", func() bool {
			agents, err := s.api.Agents(t.Context())
			return err == nil && len(agents) == 1 && agents[0].State == "idle" && agents[0].Status == "available"
		})
		began := time.Now()
		if _, err := s.lab.Routerctl(t.Context(), "task", "create", "-id", id, customerNumber, lab.SalesQueue); err != nil {
			t.Fatal(err)
		}
		select {
		case sbc = <-rang:
		case <-time.After(20 * time.Second):
			t.Fatalf("task %s: the customer's phone does not ring", id)
		}
		return sbc, time.Since(began)
	}
	trunks := func() map[string]routeapi.Trunk {
		text, err := s.lab.Routerctl(t.Context(), "-json", "trunks")
		out := map[string]routeapi.Trunk{}
		var list []routeapi.Trunk
		if err == nil && json.Unmarshal(text, &list) == nil {
			for _, v := range list {
				out[v.ID] = v
			}
		}
		return out
	}
	is := func(sbc, state string) func() bool {
		return func() bool { v := trunks()[sbc]; return v.State == state && len(v.Links) == 2 }
	}
	s.await(20*time.Second, "both trunks to be up by both edges", func() bool { return is(lab.SBCA, "up")() && is(lab.SBCB, "up")() })
	if sbc, _ := place("t1"); sbc != lab.SBCA {
		t.Errorf("the first call went by %s, want the first trunk", sbc)
	}
	s.await(20*time.Second, "the first call to be over", func() bool {
		calls, err := s.api.Calls(t.Context())
		return err == nil && len(calls) == 0
	})

	if err := s.lab.Kill(lab.SBCA); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	sbc, took := place("t2")
	t.Logf("with %s just killed the phone rang by %s after %v", lab.SBCA, sbc, took)
	if sbc != lab.SBCB || took > 3*time.Second {
		t.Errorf("rang by %s after %v, want %s within 3 s", sbc, took, lab.SBCB)
	}
	s.await(30*time.Second, "the dead SBC's trunk to be down", is(lab.SBCA, "down"))
	t.Logf("down after %v", time.Since(killed))
	before := s.sum("routerd_trunk_attempts_total", "r1", "r2", "r3")
	sbc, took = place("t3")
	t.Logf("with the trunk known to be down it rang by %s after %v", sbc, took)
	if tries := s.sum("routerd_trunk_attempts_total", "r1", "r2", "r3") - before; sbc != lab.SBCB || tries != 1 {
		t.Errorf("rang by %s after %v attempts, want %s at the first", sbc, tries, lab.SBCB)
	}
	if v := trunks(); v[lab.SBCB].State != "up" || v[lab.SBCB].Used != 1 || v[lab.SBCA].Used != 0 {
		t.Errorf("trunks %+v: the call's channel is %s's", v, lab.SBCB)
	}

	if err := s.lab.Restart(t.Context(), lab.SBCA); err != nil {
		t.Fatal(err)
	}
	s.await(30*time.Second, "the trunk to be up again", is(lab.SBCA, "up"))
}
