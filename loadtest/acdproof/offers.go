package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"trunkline/loadtest/check"
	"trunkline/routerd/acd"
)

var strategies = []string{acd.LongestIdle, acd.RoundRobin, acd.Linear, acd.LeastBusy, acd.Skills, acd.RingAll}

// offers measures, for each strategy and size, what the one command costs that
// causes an offer: a call that joins a queue of idle agents, and an agent who
// becomes free while calls wait.
func (p *proof) offers() error {
	fmt.Fprintf(p.out, "\nan offer: the median, ns, of the command that causes it\n\n")
	head := []string{"strategy", "what"}
	for _, agents := range p.size.agentSteps {
		for _, calls := range p.size.callSteps {
			head = append(head, fmt.Sprintf("%d/%d", agents, calls))
		}
	}
	head = append(head, "max/min")
	t := check.NewTable(head...)
	var standard []time.Duration
	for _, strategy := range strategies {
		for _, what := range []string{"call joins", "agent is free"} {
			row := []string{strategy, what}
			var medians []time.Duration
			for _, agents := range p.size.agentSteps {
				for _, calls := range p.size.callSteps {
					var all []time.Duration
					if what == "call joins" {
						all = joins(strategy, agents, calls, p.size.samples)
					} else {
						all = frees(strategy, agents, calls, p.size.samples)
						standard = append(standard, all...)
					}
					median := check.Percentile(all, 50)
					medians = append(medians, median)
					row = append(row, fmt.Sprint(median.Nanoseconds()))
					p.report.Row(map[string]any{"what": "offer: " + what, "strategy": strategy, "agents": agents, "waiting": calls, "median_ns": median.Nanoseconds()})
				}
			}
			ratio := float64(slices.Max(medians)) / float64(slices.Min(medians))
			t.Row(append(row, fmt.Sprintf("%.1f", ratio))...)
			p.report.AtMost(fmt.Sprintf("offer by %s, %s: dearest to cheapest size", strategy, what), ratio, "", mostRatio)
		}
	}
	t.Print(p.out)
	fmt.Fprintln(p.out, "columns: agents/waiting calls")
	p.report.AtMost("agent free to RingAgent in the machine, p99 of all sizes", check.Millis(check.Percentile(standard, 99)), "ms", mostFreeRing)
	return nil
}

// staff is the agents of the measured queue: their skills, positions and tiers
// differ.
func staff(n int, q acd.QueueID) []acd.Agent {
	var agents []acd.Agent
	for i := range n {
		agents = append(agents, acd.Agent{
			ID: agentID(i), Seats: []acd.Seat{{Queue: q, Position: i % 97}},
			Skills: []acd.Skill{{Skill: "billing", Level: 1 + i%10}, {Skill: "german", Level: 1 + i%3}},
		})
	}
	return agents
}

func measured(strategy string) acd.Queue {
	return acd.Queue{
		ID: "work", Music: "music", Strategy: strategy, RingMost: 1, RingTimeout: 24 * time.Hour,
		Needs: []acd.Skill{{Skill: "billing"}},
	}
}

// joins: all agents are idle; calls wait where nobody is.
func joins(strategy string, agents, calls, samples int) []time.Duration {
	queues := []acd.Queue{measured(strategy), {ID: "parked", Music: "music"}}
	c := newCentre(queues, staff(agents, "work"))
	for i := range agents {
		c.available(agentID(i))
	}
	park(c, calls, 1)
	return sample(samples, func(n int) time.Duration {
		id := acd.CallID(fmt.Sprintf("new-%09d", n))
		c.arrive(id, 0)
		began := threadTime()
		effects := c.queued(id)
		took := threadTime() - began
		mustRing(effects)
		c.must(acd.LegEnded{OnCall: c.on(id), Leg: acd.CallerLeg, Cause: "bye"})
		c.must(acd.LegFailed{OnCall: c.on(id), Leg: c.rung[id].Leg, Code: 487})
		delete(c.rung, id)
		return took
	})
}

// frees: all agents talk; calls wait for them.
func frees(strategy string, agents, calls, samples int) []time.Duration {
	c := newCentre([]acd.Queue{measured(strategy)}, staff(agents, "work"))
	var talking []acd.CallID
	for i := range agents {
		id := acd.CallID(fmt.Sprintf("call-%08d", i))
		c.arrive(id, 0)
		c.queued(id)
		c.available(agentID(i))
		c.talk(id)
		talking = append(talking, id)
	}
	park(c, calls, 0)
	return sample(samples, func(n int) time.Duration {
		done := talking[n%len(talking)]
		c.end(done)
		agent := c.rung[done].Agent
		began := threadTime()
		effects := c.free(done)
		took := threadTime() - began
		mustRing(effects)
		next := c.talks[agent]
		c.talk(next)
		talking[n%len(talking)] = next
		id := acd.CallID(fmt.Sprintf("new-%09d", n))
		c.arrive(id, 0)
		c.queued(id)
		return took
	})
}

func park(c *centre, calls, queue int) {
	for i := range calls {
		id := acd.CallID(fmt.Sprintf("wait-%08d", i))
		c.arrive(id, queue)
		c.queued(id)
	}
}

// sample takes measurements on a thread of its own, after as many that only
// warm up.
func sample(n int, once func(n int) time.Duration) []time.Duration {
	runtime.GC()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all []time.Duration
	for i := range 2 * n {
		if took := once(i); i >= n {
			all = append(all, took)
		}
	}
	return all
}

func mustRing(effects []acd.Effect) {
	for _, e := range effects {
		if _, ok := e.Order.(acd.RingAgent); ok {
			return
		}
	}
	panic("acdproof: nothing was offered")
}
