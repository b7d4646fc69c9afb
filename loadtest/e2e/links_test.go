package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// Numbers of this test: one whose callers wait, one that leads to a number outside.
const (
	waitingNumber = "+74950000091"
	outsideNumber = "+74950000092"
)

// Calls of SBC A suffer loss, delay and jitter both ways: real workers measure it, the
// alarms are raised, and a number is called over SBC B although A is preferred. Healthy
// calls clear them. Meanwhile the calls of SBC B send no RTCP, which is an alarm of its
// own (T9).
func TestABadLinkIsAlarmedAvoidedAndCleared(t *testing.T) {
	s := raiseWith(t, endpoint.AgentConfig{Ring: 50 * time.Millisecond}, func(o *lab.Options) {
		o.Tune = func(c *acd.Config) {
			c.Outbound = acd.Outbound{Trunks: []acd.TrunkID{lab.SBCA, lab.SBCB}, From: lab.SalesNumber, RingTimeout: 20 * time.Second}
			c.Queues = append(c.Queues, acd.Queue{ID: "nobody", Music: c.Queues[0].Music})
			c.Chains = append(c.Chains, acd.Chain{ID: "outside", Steps: []acd.ChainStep{{Number: customerNumber}}, Then: acd.Then{Queue: "nobody"}})
			c.Numbers = append(c.Numbers, acd.Number{Number: waitingNumber, Queue: "nobody"}, acd.Number{Number: outsideNumber, Chain: "outside"})
		}
	})
	rang := make(chan string, 8)
	for i, sbc := range []string{lab.SBCA, lab.SBCB} {
		phone, err := endpoint.NewAgent(t.Context(), endpoint.AgentConfig{
			User: customerNumber, Password: "-", Domain: s.lab.Addr(sbc), Local: netip.AddrFrom4([4]byte{127, 10, 6, byte(10 + i)}),
			Edge: s.addr(sbc, lab.PortSIP), Transport: endpoint.TCP, Ring: 50 * time.Millisecond, Talk: time.Second, Tone: callerTone, Source: 1,
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
	caller := 0
	call := func(sbc, to string, impair endpoint.Impairment) *endpoint.Call {
		t.Helper()
		caller++
		c, err := s.callers[sbc].Call(endpoint.CallParams{
			From: fmt.Sprintf("+7916000%04d", caller), To: to, Codecs: []endpoint.Codec{endpoint.PCMA}, Suites: []endpoint.Suite{endpoint.AES128GCM},
			Tone: callerTone, Source: 1, Hear: []int{agentTone}, MuxRTCP: true, Impair: impair,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	six := func(sbc string, impair endpoint.Impairment) (calls []*endpoint.Call) {
		t.Helper()
		for range 6 {
			calls = append(calls, call(sbc, waitingNumber, impair))
		}
		return calls
	}
	alarms := func(sbc string) (out []string) {
		text, err := s.lab.Routerctl(t.Context(), "-json", "trunks")
		var list []routeapi.Trunk
		if err != nil || json.Unmarshal(text, &list) != nil {
			return []string{"unknown"}
		}
		for _, v := range list {
			for _, a := range v.Alarms {
				if v.ID == sbc {
					out = append(out, a.Kind+" "+a.Direction)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	await := func(most time.Duration, sbc string, want ...string) {
		t.Helper()
		began := time.Now()
		s.await(most, fmt.Sprintf("%s to have the alarms %q", sbc, want), func() bool { return slices.Equal(alarms(sbc), want) })
		t.Logf("%s has the alarms %q after %v", sbc, want, time.Since(began).Round(time.Second))
	}

	bad := six(lab.SBCA, endpoint.Impairment{Loss: 30, Delay: 280 * time.Millisecond, Jitter: 60 * time.Millisecond})
	await(90*time.Second, lab.SBCA, "delay both", "jitter in", "jitter out", "loss in", "loss out")
	if got := alarms(lab.SBCB); len(got) != 0 {
		t.Errorf("%s has the alarms %q", lab.SBCB, got)
	}
	if n := s.sum(`routerd_link_alarm{trunk="`+lab.SBCA+`",direction="in",kind="loss"}`, "r1"); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	led := call(lab.SBCB, outsideNumber, endpoint.Impairment{})
	select {
	case sbc := <-rang:
		if sbc != lab.SBCB {
			t.Errorf("the number was called over %s, which has alarms", sbc)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the customer's phone does not ring")
	}
	text, err := s.lab.Routerctl(t.Context(), "why", led.Result().CallID)
	if want := "is tried over " + lab.SBCB + " before " + lab.SBCA; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("why says %v\n%s\nand not %q", err, text, want)
	}

	for _, c := range bad {
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
	}
	six(lab.SBCA, endpoint.Impairment{})
	six(lab.SBCB, endpoint.Impairment{NoRTCP: true})
	await(100*time.Second, lab.SBCB, "rtcp in")
	await(100*time.Second, lab.SBCA)
}
