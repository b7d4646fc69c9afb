package acd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// centre is a queue with agents who answer after 3 s and calls that come and
// last by chance: what estimates are held against.
type centre struct {
	m      *Machine
	r      *rand.Rand
	index  uint64
	clock  Time
	owner  Owner
	events []centreEvent
	calls  int
	rung   map[EffectID]bool
	talk   func() time.Duration
}

type centreEvent struct {
	at Time
	do func()
}

func newCentre(t *testing.T, seed uint64, agents int, talk func(r *rand.Rand) time.Duration) *centre {
	t.Helper()
	c := &centre{m: New(), r: rand.New(rand.NewPCG(seed, 0)), clock: Time(1e18), rung: make(map[EffectID]bool)}
	c.talk = func() time.Duration { return talk(c.r) }
	cfg := Config{
		Trunks: []Trunk{{ID: "sbc"}}, Numbers: []Number{{Number: "+1", Queue: "q"}},
		Queues: []Queue{{ID: "q", Music: "music", WrapUp: 10 * time.Second}},
	}
	for i := range agents {
		cfg.Agents = append(cfg.Agents, Agent{ID: AgentID(fmt.Sprintf("a%03d", i)), Queues: []QueueID{"q"}, AutoAvailable: true})
	}
	c.apply(ConfigApplied{Config: cfg})
	c.owner = Owner{"r1", c.apply(NodeStarted{Node: "r1"}).Incarnation}
	c.apply(WorkerStarted{Worker: "m", Incarnation: 1, Addresses: []string{"m"}})
	for _, a := range cfg.Agents {
		c.apply(RegistrationChanged{Agent: a.ID, Contact: Contact{URI: "sip:" + string(a.ID), SIPID: "r"}, Expires: 1000 * time.Hour})
	}
	return c
}

func (c *centre) apply(body Body) Result {
	c.index++
	r, effects := c.m.Apply(c.index, Command{Stamp: c.clock, Body: body})
	for _, e := range slices.Clone(effects) {
		switch o := e.Order.(type) {
		case RingAgent:
			c.after(3*time.Second, func() {
				c.apply(LegAnswered{OnCall: OnCall{Call: e.Call, Epoch: e.Epoch}, Leg: o.Leg, Media: Media{Address: "m"}})
				c.after(c.talk(), func() {
					c.apply(LegEnded{OnCall: OnCall{Call: e.Call, Epoch: e.Epoch}, Leg: CallerLeg, Cause: "bye"})
				})
			})
		case Hangup:
			c.after(20*time.Millisecond, func() {
				c.apply(LegEnded{OnCall: OnCall{Call: e.Call, Epoch: e.Epoch}, Leg: o.Leg, Cause: "hangup"})
			})
		}
	}
	return r
}

func (c *centre) after(d time.Duration, do func()) {
	at := c.clock.Add(d)
	i, _ := slices.BinarySearchFunc(c.events, at+1, func(e centreEvent, at Time) int { return int(e.at.Sub(at)) })
	c.events = slices.Insert(c.events, i, centreEvent{at, do})
}

// run lets calls come, on average one every pace, for a time.
func (c *centre) run(d, pace time.Duration) {
	until := c.clock.Add(d)
	var arrive func()
	arrive = func() {
		if c.clock >= until {
			return
		}
		c.calls++
		id := CallID(fmt.Sprintf("c%06d", c.calls))
		r := c.apply(CallArrived{OnCall: OnCall{Call: id}, Owner: c.owner, Trunk: "sbc", To: "+1"})
		c.apply(LegAnswered{OnCall: OnCall{Call: id, Epoch: r.Epoch}, Leg: CallerLeg, Media: Media{Address: "m"}})
		c.after(time.Duration(c.r.ExpFloat64()*float64(pace)), arrive)
	}
	c.after(0, arrive)
	for len(c.events) > 0 {
		at, armed := c.m.NextDeadline()
		e := c.events[0]
		if armed && at < e.at {
			c.clock = at
			c.apply(Ticked{})
			continue
		}
		c.events = c.events[1:]
		c.clock = max(c.clock, e.at)
		e.do()
	}
}

// TestEstimatesAreCalibrated: in centres of all sizes, with conversations of all
// shapes, about half of the calls that had to wait are answered within the median
// they were foretold and about nine in ten within the 90th percentile.
func TestEstimatesAreCalibrated(t *testing.T) {
	const mean = float64(3 * time.Minute)
	shapes := map[string]func(r *rand.Rand) time.Duration{
		"exponential": func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * mean) },
		"even":        func(r *rand.Rand) time.Duration { return time.Duration((0.5 + r.Float64()) * mean) },
		"two kinds": func(r *rand.Rand) time.Duration { // short ones and long ones
			if r.IntN(4) == 0 {
				return time.Duration((2 + r.Float64()) * mean)
			}
			return time.Duration((0.2 + 0.4*r.Float64()) * mean)
		},
	}
	for name, talk := range shapes {
		for _, agents := range []int{1, 5, 40} {
			const seed = 7
			c := newCentre(t, seed, agents, talk)
			// As much work as the agents can do, so that queues build up and go.
			c.run(time.Duration(12*60/min(agents, 10))*time.Hour/10, time.Duration(mean/float64(agents)*1.05))
			w := c.m.Waits()[0]
			p50, p90 := 100*w.WithinP50/w.Foretold, 100*w.WithinP90/w.Foretold
			t.Logf("%s, %d agents: %d foretold, %d %% within p50, %d %% within p90, off by %s", name, agents, w.Foretold, p50, p90, w.Error)
			if w.Foretold < 200 || p50 < 40 || p50 > 65 || p90 < 83 || p90 > 99 {
				t.Errorf("%s, %d agents, seed %d: not calibrated", name, agents, seed)
			}
		}
	}
}
