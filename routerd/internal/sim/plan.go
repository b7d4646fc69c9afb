package sim

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
)

// plan is what a seed makes of the site before anything happens.
type plan struct {
	nodes, workers int
	config         acd.Config
	ringTimeout    time.Duration // of the first queue
	calls, tasks   int
	profile        profile
}

// Times of a run.
const (
	shiftBegins = 1500 * time.Millisecond // phones register
	callsBegin  = 3 * time.Second
	callsEnd    = 45 * time.Second
	faultsBegin = 4 * time.Second
	healAt      = 48 * time.Second
	closeAt     = healAt + 5*time.Second // callers hang up, agents stop answering
	drainedBy   = closeAt + 5*time.Second
	// callbackExpires is after what time a callback is given up: so much later
	// must those be over that were promised last.
	callbackExpires = 12 * time.Second
)

func newPlan(w *World) plan {
	p := plan{nodes: 3, workers: 2 + w.rng.IntN(2), calls: 30 + w.rng.IntN(31), profile: pickProfile(w)}
	if w.chance(150) {
		p.nodes = 5
	}
	p.ringTimeout = w.between(3*time.Second, 7*time.Second).Truncate(100 * time.Millisecond)
	c := &p.config
	c.Skills = []acd.SkillID{"sales", "repair"}
	for i := range 1 + w.rng.IntN(2) {
		c.Trunks = append(c.Trunks, acd.Trunk{ID: acd.TrunkID(fmt.Sprintf("sbc%d", i+1)), Channels: []int{0, 20, 40}[w.rng.IntN(3)]})
	}
	if w.chance(400) {
		c.Outbound = acd.Outbound{Trunks: []acd.TrunkID{c.Trunks[0].ID}, From: "+100", RingTimeout: 5 * time.Second}
		p.tasks = w.rng.IntN(7)
	}
	for i := range 1 + w.rng.IntN(3) {
		q := acd.Queue{
			ID: acd.QueueID(fmt.Sprintf("q%d", i+1)), Music: "music", RingTimeout: p.ringTimeout,
			WrapUp:      pick(w, []time.Duration{0, 0, 500 * time.Millisecond, 2 * time.Second}),
			MaxWait:     pick(w, []time.Duration{0, 8 * time.Second, 15 * time.Second, 25 * time.Second}),
			MaxLength:   pick(w, []int{0, 0, 12}),
			MissedLimit: pick(w, []int{0, 0, 3}),
			RejectDelay: pick(w, []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}),
		}
		if w.chance(200) {
			q.Music = ""
		}
		if i > 0 && w.chance(300) {
			q.RingTimeout = 5 * time.Second
		}
		w.season(c, &q, i)
		c.Queues = append(c.Queues, q)
		greeting := ""
		if w.chance(600) {
			greeting = pick(w, []string{"hello-400ms", "hello-1500ms"})
		}
		c.Numbers = append(c.Numbers, acd.Number{Number: fmt.Sprintf("+10%d", i+1), Greeting: greeting, Queue: q.ID, Priority: w.rng.IntN(3) * w.rng.IntN(2)})
	}
	for i := range 3 + w.rng.IntN(7) {
		a := acd.Agent{ID: acd.AgentID(fmt.Sprintf("a%d", i+1)), Name: "Agent", HA1MD5: "0123456789abcdef0123456789abcdef", AutoAvailable: w.chance(500)}
		for j := range c.Queues {
			switch {
			case j != i%len(c.Queues) && !w.chance(400):
			case w.chance(250):
				a.Seats = append(a.Seats, acd.Seat{Queue: c.Queues[j].ID, Tier: w.rng.IntN(2), Position: w.rng.IntN(4), Priority: w.rng.IntN(2)})
			default:
				a.Queues = append(a.Queues, c.Queues[j].ID)
			}
		}
		for _, skill := range c.Skills {
			if w.chance(500) {
				a.Skills = append(a.Skills, acd.Skill{Skill: skill, Level: 1 + w.rng.IntN(4)})
			}
		}
		c.Agents = append(c.Agents, a)
	}
	if err := c.Validate(); err != nil {
		panic(fmt.Sprintf("sim: seed %d plans a configuration that is refused: %v", w.seed, err))
	}
	return p
}

// season gives a queue some of what a queue may have. The first queue is where
// calls of the others overflow to.
func (w *World) season(c *acd.Config, q *acd.Queue, i int) {
	q.Strategy = pick(w, []string{"", acd.LongestIdle, acd.RoundRobin, acd.Linear, acd.LeastBusy, acd.Skills, acd.RingAll})
	if q.Strategy == acd.RingAll {
		q.RingMost = 2 + w.rng.IntN(2)
	}
	if w.chance(250) {
		q.Needs = []acd.Skill{{Skill: pick(w, c.Skills), Level: 1 + w.rng.IntN(3)}}
		q.Rings = []acd.Ring{{After: w.between(time.Second, 4*time.Second), Any: true, Tier: 1}}
	}
	if w.chance(250) {
		q.TierDelay = w.between(time.Second, 3*time.Second)
	}
	if w.chance(200) {
		q.Sticky = acd.Sticky{Days: 1, Wait: 2 * time.Second}
	}
	if w.chance(250) {
		q.Weight, q.PriorityStep = 50+w.rng.IntN(150), 10*time.Second
	}
	if w.chance(300) {
		q.Announce = acd.Announcing{First: time.Second, Every: 15 * time.Second, Position: true, Wait: w.chance(500)}
	}
	if w.chance(300) {
		q.ExitKey = "0"
		if w.chance(500) {
			q.Exit = acd.Then{Prompt: "goodbye-800ms"}
		}
	}
	if w.chance(150) {
		q.Empty = "logged-out"
	}
	if len(c.Outbound.Trunks) > 0 && w.chance(700) {
		q.Callback = acd.Callback{Key: "1", Attempts: 1 + w.rng.IntN(2), Retry: 2 * time.Second, Expire: callbackExpires}
		if w.chance(600) {
			q.Callback.Promise = "promise-700ms"
		}
		if q.Announce.Every > 0 {
			q.Callback.Offer = "callback-600ms"
		}
	}
	if i == 0 {
		return
	}
	overflow := acd.Then{Queue: "q1"}
	if w.chance(400) {
		q.AfterMaxWait = overflow
	}
	if w.chance(400) {
		q.WhenFull = overflow
	}
	if q.ExitKey != "" && w.chance(500) {
		q.Exit = overflow
	}
	if q.Empty != "" {
		q.WhenEmpty = overflow
	}
	if w.chance(200) {
		q.Admission = []acd.Admission{{Calls: 4 + w.rng.IntN(4), Then: overflow}}
	}
}
