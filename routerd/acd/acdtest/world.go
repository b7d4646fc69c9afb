package acdtest

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
)

// Names in the random world.
var (
	simNodes   = []acd.NodeID{"r1", "r2", "r3"}
	simWorkers = []acd.WorkerID{"m1", "m2"}
	simAgents  = []acd.AgentID{"ann", "bob", "cat", "dan", "eve", "fay"}
	simQueues  = []acd.QueueID{"sales", "support", "vip"}
	simSkills  = []acd.SkillID{"billing", "german"}

	simStrategies = []string{acd.LongestIdle, acd.RoundRobin, acd.Linear, acd.LeastBusy, acd.Skills, acd.RingAll}
)

// world draws a routing tree: three queues, two numbers for each, six agents.
func world(dice Dice) acd.Config {
	cfg := acd.Config{
		Trunks: []acd.Trunk{
			{ID: "sbc-a", Channels: 8, Weight: dice.Int(3, "trunk weight"), Rate: 2 * dice.Int(2, "trunk rate")},
			{ID: "sbc-b", Channels: 8, Weight: dice.Int(3, "trunk weight"), Priority: dice.Int(2, "trunk priority")},
		},
		MaxChannels: 12,
		Outbound:    acd.Outbound{Trunks: []acd.TrunkID{"sbc-b", "sbc-a"}, From: "+100", RingTimeout: 12 * time.Second},
		Skills:      simSkills,
		Calendars: []acd.Calendar{{
			ID: "odd", Zone: "UTC", Offsets: []acd.Offset{{}},
			Hours: []acd.Hours{{Days: "tue,thu,sat", From: "22:20", To: "22:10"}},
		}},
	}
	seconds := func(most int, what string) time.Duration { return time.Duration(dice.Int(most+1, what)) * time.Second }
	maybe := func(n int, what string) bool { return dice.Int(n, what) == 0 }
	needs := func(what string) []acd.Skill {
		var out []acd.Skill
		for _, id := range simSkills {
			if maybe(4, what) {
				out = append(out, acd.Skill{Skill: id, Level: dice.Int(4, "level")})
			}
		}
		return out
	}
	for i, id := range simQueues {
		q := acd.Queue{
			ID: id, Music: "music", RingTimeout: 15 * time.Second, WrapUp: seconds(5, "wrap-up"), WrapUpMax: 5*time.Second + seconds(15, "wrap-up most"), MaxWait: 2 * time.Minute,
			MaxLength: 6, MissedLimit: dice.Int(4, "missed"), RejectDelay: seconds(4, "reject"), BusyDelay: seconds(4, "busy"),
			Strategy: simStrategies[dice.Int(len(simStrategies), "strategy")], RingMost: 2,
			Weight: []int{0, 50, 300}[dice.Int(3, "weight")], PriorityStep: seconds(30, "step"), Needs: needs("queue needs"),
		}
		q.PickUp = []string{"", acd.PickUpRinging, acd.PickUpAny}[dice.Int(3, "pick up")]
		if maybe(2, "tiers") {
			q.TierDelay = seconds(10, "tier delay")
		}
		for at := seconds(8, "ring"); maybe(2, "another ring") && at > 0; at += 1 + seconds(8, "ring") {
			r := acd.Ring{After: at, Tier: dice.Int(3, "ring tier"), Any: maybe(3, "any")}
			if !r.Any {
				r.Needs = needs("ring needs")
			}
			q.Rings = append(q.Rings, r)
		}
		if maybe(2, "sticky") {
			q.Sticky = acd.Sticky{Days: 1, Wait: seconds(10, "sticky wait")}
		}
		if q.Strategy == acd.LeastBusy {
			q.Window = 12 * time.Minute
		}
		cfg.Queues = append(cfg.Queues, q)
		cfg.Numbers = append(cfg.Numbers,
			acd.Number{Number: fmt.Sprintf("+%d00", i+1), Greeting: "hello", Queue: id},
			acd.Number{Number: fmt.Sprintf("+%d01", i+1), Queue: id, Priority: dice.Int(5, "priority") - 2, Needs: needs("number needs")})
	}
	waitingRules(&cfg.Queues[0], &cfg.Queues[1])
	cfg.Numbers[0].Card = []acd.Attr{{Key: "city", Value: "Perm"}}
	cfg.Numbers[0].Rules = []acd.Rule{
		{When: acd.When{Open: "odd"}, Greeting: "odd-day"},
		{When: acd.When{Card: "vip"}, Queue: "support", Priority: 1},
		{When: acd.When{Queue: "support", EWT: time.Minute}, Refuse: 480},
	}
	for i, id := range simAgents {
		a := acd.Agent{ID: id, AutoAvailable: i > 0, Supervise: acd.Permit{Agents: i%3 != 0}}
		for _, q := range simQueues {
			switch dice.Int(4, "seat") {
			case 0:
			case 1:
				a.Queues = append(a.Queues, q)
			default:
				a.Seats = append(a.Seats, acd.Seat{Queue: q, Tier: dice.Int(3, "tier"), Position: dice.Int(3, "position"), Priority: max(dice.Int(5, "seat priority")-3, 0)})
			}
		}
		for _, skill := range simSkills {
			if maybe(2, "skill") {
				a.Skills = append(a.Skills, acd.Skill{Skill: skill, Level: dice.Int(5, "level")})
			}
		}
		cfg.Agents = append(cfg.Agents, a)
	}
	chains(&cfg)
	return cfg
}
