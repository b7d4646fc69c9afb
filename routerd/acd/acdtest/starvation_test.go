package acdtest

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trunkline/routerd/acd"
)

// TestNobodyStarves: an agent of three queues of any weight and priority, with
// more calls than one can answer, never passes a call over for another unless
// that one has waited its share: wait + priority in steps, times weight, is at
// least as much. So in queues of one weight a call is served before all that come
// later by more than their priorities differ, and no queue waits longer than
// another by more than what their weights and priorities say.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewDriver()
		d.Alone = true
		cfg := acd.Config{Trunks: []acd.Trunk{{ID: "sbc-a"}}}
		agent := acd.Agent{ID: "ann", AutoAvailable: true}
		for i := range 3 {
			q := acd.Queue{
				ID: acd.QueueID(fmt.Sprint("q", i)), RingTimeout: time.Hour,
				Weight:       rapid.SampledFrom([]int{1, 50, 100, 1000}).Draw(t, "weight"),
				PriorityStep: time.Duration(rapid.IntRange(1, 100).Draw(t, "step")) * time.Second,
			}
			cfg.Queues = append(cfg.Queues, q)
			agent.Queues = append(agent.Queues, q.ID)
			for p := -9; p <= 9; p += 6 {
				cfg.Numbers = append(cfg.Numbers, acd.Number{Number: fmt.Sprintf("+%d%d", i+1, p+10), Queue: q.ID, Priority: p})
			}
		}
		cfg.Agents = []acd.Agent{agent}
		propose := func(body acd.Body) (acd.Result, []acd.Effect) {
			r, effects, err := d.Propose(body)
			if err != nil || !r.Applied {
				t.Fatalf("%T: %+v %v", body, r, err)
			}
			return r, effects
		}
		propose(acd.ConfigApplied{Config: cfg})
		r, _ := propose(acd.NodeStarted{Node: "r1"})
		owner := acd.Owner{Node: "r1", Incarnation: r.Incarnation}
		propose(workerStarted("m1", 1))
		effective := func(c acd.Call) int64 {
			for _, q := range cfg.Queues {
				if q.ID == c.Queue {
					return (int64(d.M.Now().Sub(c.Enqueued)) + int64(c.Priority)*int64(q.PriorityStep)) * int64(q.Weight)
				}
			}
			return 0
		}
		offered := func(effects []acd.Effect) {
			for _, e := range effects {
				if _, ok := e.Order.(acd.RingAgent); !ok {
					continue
				}
				c, _ := d.M.Call(e.Call)
				for _, other := range d.M.Calls() {
					if other.State == acd.CallWaiting && len(offersOf(&other)) == 0 && effective(other) > effective(c) {
						t.Fatalf("%s (%d) was offered before %s (%d)", c.ID, effective(c), other.ID, effective(other))
					}
				}
			}
		}
		serve := func() {
			for _, c := range d.M.Calls() {
				for _, l := range offersOf(&c) {
					on := acd.OnCall{Call: c.ID, Epoch: c.Epoch}
					propose(acd.LegAnswered{OnCall: on, Leg: l.ID, Media: acd.Media{Address: "m1.1"}})
					propose(acd.LegEnded{OnCall: on, Leg: acd.CallerLeg, Cause: "bye"})
					_, effects := propose(acd.LegEnded{OnCall: on, Leg: l.ID, Cause: "hangup"})
					offered(effects)
				}
			}
		}
		_, _ = propose(registration("ann", "phone", 1, 24*time.Hour))
		for i := range rapid.IntRange(5, 40).Draw(t, "calls") {
			d.Clock = d.Clock.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "after")) * time.Second)
			id := acd.CallID(fmt.Sprint("c", i))
			to := cfg.Numbers[rapid.IntRange(0, len(cfg.Numbers)-1).Draw(t, "number")].Number
			arrived := acd.CallArrived{OnCall: acd.OnCall{Call: id}, Owner: owner, Trunk: "sbc-a", From: "+7", To: to}
			r, _ := propose(arrived)
			propose(acd.LegAnswered{OnCall: acd.OnCall{Call: id, Epoch: r.Epoch}, Leg: acd.CallerLeg, Media: acd.Media{Address: "m1.1"}})
			if rapid.IntRange(0, 2).Draw(t, "serve") == 0 {
				serve()
			}
		}
		for range 60 {
			d.Clock = d.Clock.Add(time.Second)
			serve()
		}
		if n := d.M.OpenCalls(); n > 0 {
			t.Fatalf("%d calls were never served", n)
		}
	})
}
