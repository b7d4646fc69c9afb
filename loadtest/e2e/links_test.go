package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// waitingNumber is one whose callers wait, for nobody serves its queue.
const waitingNumber = "+74950000091"

// Calls of SBC A suffer loss, delay and jitter both ways: real workers measure it and
// five alarms are raised, of that trunk alone (T9).
func TestABadLinkIsAlarmed(t *testing.T) {
	s := raiseWith(t, endpoint.AgentConfig{Ring: 50 * time.Millisecond}, func(o *lab.Options) {
		o.Tune = func(c *acd.Config) {
			c.Queues = append(c.Queues, acd.Queue{ID: "nobody", Music: c.Queues[0].Music})
			c.Numbers = append(c.Numbers, acd.Number{Number: waitingNumber, Queue: "nobody"})
		}
	})
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
	six := func(sbc string, impair endpoint.Impairment) {
		t.Helper()
		for range 6 {
			call(sbc, waitingNumber, impair)
		}
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

	six(lab.SBCA, endpoint.Impairment{Loss: 30, Delay: 280 * time.Millisecond, Jitter: 60 * time.Millisecond})
	await(90*time.Second, lab.SBCA, "delay both", "jitter in", "jitter out", "loss in", "loss out")
	if got := alarms(lab.SBCB); len(got) != 0 {
		t.Errorf("%s has the alarms %q", lab.SBCB, got)
	}
	if n := s.sum(`routerd_link_alarm{trunk="`+lab.SBCA+`",direction="in",kind="loss"}`, "r1"); n != 1 {
		t.Errorf("the metric says %v", n)
	}
}
