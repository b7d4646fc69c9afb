package acd

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// goodConfig uses every field and has no fault.
func goodConfig() Config {
	need := []Skill{{Skill: "german", Level: 3}}
	return Config{
		Trunks:      []Trunk{{ID: "a", Channels: 60}, {ID: "b"}},
		MaxChannels: 100,
		Outbound:    Outbound{Trunks: []TrunkID{"b", "a"}, From: "+100", RingTimeout: time.Minute},
		Skills:      []SkillID{"german", "tariffs"},
		Calendars: []Calendar{{
			ID: "office", Zone: "UTC", Offsets: []Offset{{0, 0}, {5, 3600}},
			Hours:    []Hours{{"mon-fri", "09:00", "18:00"}, {"sat,sun", "22:00", "06:00"}},
			Holidays: []Holiday{{Date: "01-01"}, {"2026-12-31", "09:00", "12:00"}, {"2026-12-31", "13:00", "15:00"}},
		}},
		Chains: []Chain{{ID: "manager", Music: "music", Then: Then{Queue: "q"}, Steps: []ChainStep{
			{Agent: "$manager", Ring: 15 * time.Second, Wait: 5 * time.Second, Stop: []string{"declined"}},
			{Number: "$mobile"}, {Number: "+200"}, {Agent: "ann"},
		}}},
		Numbers: []Number{
			{Number: "+1", Greeting: "hello", Queue: "q", Priority: 3, Needs: need, Card: []Attr{{"city", "Perm"}}, Rules: []Rule{
				{When: When{Open: "office"}, Greeting: "good-day"},
				{When: When{Callers: []string{"+7900", "8"}, Closed: "office"}, Refuse: 480},
				{When: When{Card: "category", Values: []string{"vip"}}, Chain: "manager", Priority: 9},
				{When: When{Queue: "q", Calls: 10, EWT: time.Minute}, Queue: "r", Needs: need},
			}},
			{Number: "+2", Rules: []Rule{{Chain: "manager"}}},
			{Number: "+3", Chain: "manager"},
		},
		Queues: []Queue{
			{
				ID: "q", Music: "music", RingTimeout: time.Second, WrapUp: time.Second, WrapUpMax: time.Minute, MaxWait: time.Hour,
				Needs: need, Rings: []Ring{{After: time.Second, Needs: need}, {After: time.Minute, Any: true, Tier: 1}},
				Sticky: Sticky{Days: 30, Wait: time.Minute}, Weight: 200, PriorityStep: time.Minute, RingMost: 3,
				Calendar: "office", WhenClosed: Then{Prompt: "closed"}, WhenFull: Then{Refuse: 486}, AfterMaxWait: Then{Queue: "r"},
				Empty: "unavailable", WhenEmpty: Then{Callback: true}, LeaveEmpty: time.Minute, MaxLength: 5, MissedLimit: 3,
				Admission: []Admission{{Open: "office", Calls: 5, Then: Then{Queue: "r"}}, {EWT: time.Minute}, {ASA: time.Minute}},
				Announce:  Announcing{First: time.Second, Every: 15 * time.Second, Position: true},
				ExitKey:   "#", Exit: Then{Chain: "manager"},
				Callback: Callback{Key: "1", Over: time.Minute, Offer: "offer", Promise: "promise", Attempts: 3, Retry: time.Minute, Expire: 48 * time.Hour},
			},
			{ID: "r", AfterMaxWait: Then{Queue: "q"}},
		},
		Agents: []Agent{
			{ID: "ann", Queues: []QueueID{"q"}, Skills: need, Seats: []Seat{{Queue: "q", Tier: 1, Position: 2, Priority: 3}, {Queue: "r"}}},
			{ID: "bob", HA1MD5: strings.Repeat("0", 32), HA1SHA256: strings.Repeat("a", 64)},
		},
	}
}

// TestEachFaultIsFound: one fault at a time in a good configuration, by the path
// of what is wrong.
func TestEachFaultIsFound(t *testing.T) {
	if err := goodConfig().Validate(); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	f := func(path string, spoil func(c *Config)) {
		t.Helper()
		c := goodConfig()
		spoil(&c)
		err := c.Validate()
		if err == nil {
			t.Errorf("%s: no fault is found", path)
			return
		}
		var paths []string
		for _, line := range strings.Split(err.Error(), "\n") {
			at, _, _ := strings.Cut(line, ": ")
			paths = append(paths, at)
		}
		if !slices.Contains(paths, path) || len(paths) > 1 {
			t.Errorf("want a fault of %s, got\n%v", path, err)
		}
	}
	f("outbound.trunks[1]", func(c *Config) { c.Outbound.Trunks[1] = "x" })
	f("outbound.trunks[1]", func(c *Config) { c.Outbound.Trunks[1] = "b" })
	f("outbound.from", func(c *Config) { c.Outbound.From = "" })
	f("outbound.from", func(c *Config) { c.Outbound.From = "100" })
	f("outbound.ring_timeout", func(c *Config) { c.Outbound.RingTimeout = -1 })
	f("skills[1]", func(c *Config) { c.Skills[1] = "german" })
	f("skills[2]", func(c *Config) { c.Skills = append(c.Skills, "") })
	f("calendars[0].zone", func(c *Config) { c.Calendars[0].Offsets = nil })
	f("calendars[0].zone", func(c *Config) { c.Calendars[0].Offsets[1].From = 0 })
	f("calendars[0].hours[0].days", func(c *Config) { c.Calendars[0].Hours[0].Days = "mo-fr" })
	f("calendars[0].hours[0].from", func(c *Config) { c.Calendars[0].Hours[0].From = "24:00" })
	f("calendars[0].hours[1].to", func(c *Config) { c.Calendars[0].Hours[1].To = "6:00" })
	f("calendars[0].holidays[0].date", func(c *Config) { c.Calendars[0].Holidays[0].Date = "2026-02-30" })
	f("calendars[0].holidays[2].date", func(c *Config) { c.Calendars[0].Holidays[2] = Holiday{Date: "2026-12-31"} })
	f("calendars[0].holidays[1].to", func(c *Config) { c.Calendars[0].Holidays[1].To = "" })
	f("chains[0].steps", func(c *Config) { c.Chains[0].Steps = nil })
	f("chains[0].steps[3]", func(c *Config) { c.Chains[0].Steps[3].Agent = "" })
	f("chains[0].steps[3]", func(c *Config) { c.Chains[0].Steps[3].Number = "+1" })
	f("chains[0].steps[3].agent", func(c *Config) { c.Chains[0].Steps[3].Agent = "x" })
	f("chains[0].steps[0]", func(c *Config) { c.Chains[0].Steps[0].Agent = "$" })
	f("chains[0].steps[2].number", func(c *Config) { c.Chains[0].Steps[2].Number = "200" })
	f("chains[0].steps[1].wait", func(c *Config) { c.Chains[0].Steps[1].Wait = 1 })
	f("chains[0].steps[0].ring", func(c *Config) { c.Chains[0].Steps[0].Ring = 25 * time.Hour })
	f("chains[0].steps[0].stop[0]", func(c *Config) { c.Chains[0].Steps[0].Stop[0] = "tired" })
	f("chains[0].then.callback", func(c *Config) { c.Chains[0].Then = Then{Callback: true} })
	f("numbers[0].chain", func(c *Config) { c.Numbers[0].Chain = "manager" })
	f("numbers[0].queue", func(c *Config) { c.Numbers[0].Queue = "x" })
	f("numbers[0].queue", func(c *Config) { c.Numbers[0].Queue = "" })
	f("numbers[1].queue", func(c *Config) { c.Numbers[1].Rules[0].When.Open = "office" })
	f("numbers[2].chain", func(c *Config) { c.Numbers[2].Chain = "x" })
	f("numbers[2].number", func(c *Config) { c.Numbers[2].Number = "+1234567890123456" })
	f("numbers[0].priority", func(c *Config) { c.Numbers[0].Priority = 10 })
	f("numbers[0].needs[0].skill", func(c *Config) { c.Numbers[0].Needs = []Skill{{Skill: "x"}} })
	f("numbers[0].needs[0].level", func(c *Config) { c.Numbers[0].Needs = []Skill{{"german", 11}} })
	f("numbers[0].needs[1].skill", func(c *Config) { c.Numbers[0].Needs = []Skill{{"german", 1}, {"german", 2}} })
	f("numbers[0].card[0].key", func(c *Config) { c.Numbers[0].Card[0].Key = "" })
	f("numbers[0].card[1].key", func(c *Config) { c.Numbers[0].Card = []Attr{{"a", "1"}, {"a", "2"}} })
	f("numbers[0].card[0]", func(c *Config) { c.Numbers[0].Card[0].Value = strings.Repeat("x", 257) })
	f("numbers[0].rules[0]", func(c *Config) { c.Numbers[0].Rules[0].Greeting = "" })
	f("numbers[0].rules[0].when.open", func(c *Config) { c.Numbers[0].Rules[0].When.Open = "x" })
	f("numbers[0].rules[0].when.closed", func(c *Config) { c.Numbers[0].Rules[0].When.Closed = "office" })
	f("numbers[0].rules[1].when.callers[1]", func(c *Config) { c.Numbers[0].Rules[1].When.Callers[1] = "8-800" })
	f("numbers[0].rules[1].when.card", func(c *Config) { c.Numbers[0].Rules[1].When.Card = "a" })
	f("numbers[0].rules[1].refuse", func(c *Config) { c.Numbers[0].Rules[1].Refuse = 302 })
	f("numbers[0].rules[1].refuse", func(c *Config) { c.Numbers[0].Rules[1].Greeting = "go-away" })
	f("numbers[0].rules[2].when.values", func(c *Config) { c.Numbers[0].Rules[2].When.Card = "" })
	f("numbers[0].rules[2].chain", func(c *Config) { c.Numbers[0].Rules[2].Queue = "q" })
	f("numbers[0].rules[3].when.queue", func(c *Config) { c.Numbers[0].Rules[3].When.Queue = "" })
	f("numbers[0].rules[3].when.queue", func(c *Config) { c.Numbers[0].Rules[3].When = When{Queue: "q"} })
	f("numbers[0].rules[3].when.calls", func(c *Config) { c.Numbers[0].Rules[3].When.Calls = -1 })
	f("numbers[0].rules[3].queue", func(c *Config) { c.Numbers[0].Rules[3].Queue = "x" })
	f("queues[0].wrap_up_max", func(c *Config) { c.Queues[0].WrapUpMax = 1 })
	f("queues[0].ring_most", func(c *Config) { c.Queues[0].RingMost = 51 })
	f("queues[0].weight", func(c *Config) { c.Queues[0].Weight = -1 })
	f("queues[0].needs[0].skill", func(c *Config) { c.Queues[0].Needs = []Skill{{Skill: "x"}} })
	f("queues[0].rings[1].after", func(c *Config) { c.Queues[0].Rings[1].After = time.Second })
	f("queues[0].rings[1].any", func(c *Config) {
		c.Queues[0].Rings[0].Any = true
		c.Queues[0].Rings[1].Needs = c.Queues[0].Needs
		c.Queues[0].Rings[0].Needs = nil
	})
	f("queues[0].rings[0].tier", func(c *Config) { c.Queues[0].Rings[0].Tier = -1 })
	f("queues[0].sticky.days", func(c *Config) { c.Queues[0].Sticky.Days = 0 })
	f("queues[0].calendar", func(c *Config) { c.Queues[0].Calendar = "x" })
	f("queues[0].when_closed", func(c *Config) { c.Queues[0].Calendar = "" })
	f("queues[0].when_closed", func(c *Config) { c.Queues[0].WhenClosed.Refuse = 486 })
	f("queues[0].when_full.refuse", func(c *Config) { c.Queues[0].WhenFull.Refuse = 200 })
	f("queues[0].after_max_wait.queue", func(c *Config) { c.Queues[0].AfterMaxWait.Queue = "x" })
	f("queues[0].after_max_wait.queue", func(c *Config) { c.Queues[0].AfterMaxWait.Queue = "q" })
	f("queues[0].empty", func(c *Config) { c.Queues[0].Empty = "sometimes" })
	f("queues[1].when_empty", func(c *Config) { c.Queues[1].WhenEmpty = Then{Prompt: "x"} })
	f("queues[1].leave_empty", func(c *Config) { c.Queues[1].LeaveEmpty = time.Second })
	f("queues[0].admission[1]", func(c *Config) { c.Queues[0].Admission[1].EWT = 0 })
	f("queues[0].admission[0].open", func(c *Config) { c.Queues[0].Admission[0].Open = "x" })
	f("queues[0].admission[0].then.chain", func(c *Config) { c.Queues[0].Admission[0].Then = Then{Chain: "x"} })
	f("queues[0].announce.every", func(c *Config) { c.Queues[0].Announce.Every = 14 * time.Second })
	f("queues[0].announce.every", func(c *Config) { c.Queues[0].Announce.Every = 0 })
	f("queues[1].announce.every", func(c *Config) { c.Queues[1].Announce.Every = time.Minute })
	f("queues[0].exit_key", func(c *Config) { c.Queues[0].ExitKey = "A" })
	f("queues[0].exit", func(c *Config) { c.Queues[0].ExitKey = "" })
	f("queues[0].exit.chain", func(c *Config) { c.Queues[0].Exit.Chain = "x" })
	f("queues[0].callback.key", func(c *Config) { c.Queues[0].Callback.Key = "#" })
	f("queues[0].callback.key", func(c *Config) { c.Queues[0].Callback.Key = "12" })
	f("queues[0].callback.attempts", func(c *Config) { c.Queues[0].Callback.Attempts = 21 })
	f("queues[0].callback.expire", func(c *Config) { c.Queues[0].Callback.Expire = 8 * 24 * time.Hour })
	f("queues[1].callback.key", func(c *Config) { c.Queues[1].Callback.Offer = "offer" })
	f("queues[1].when_full.callback", func(c *Config) { c.Queues[1].WhenFull.Callback = true })
	f("agents[0].queues[0]", func(c *Config) { c.Agents[0].Queues[0] = "x" })
	f("agents[0].skills[0].skill", func(c *Config) { c.Agents[0].Skills = []Skill{{Skill: "x"}} })
	f("agents[0].seats[1].queue", func(c *Config) { c.Agents[0].Seats[1].Queue = "q" })
	f("agents[0].seats[0].tier", func(c *Config) { c.Agents[0].Seats[0].Tier = -1 })
	f("agents[0].seats[0].position", func(c *Config) { c.Agents[0].Seats[0].Position = -1 })
	f("agents[0].seats[0].priority", func(c *Config) { c.Agents[0].Seats[0].Priority = 10 })

	// What leads back to where it came from without anybody having to wait.
	f("queues[1].when_full", func(c *Config) { c.Queues[1].WhenFull = Then{Queue: "q"} })
	f("queues[1].when_full", func(c *Config) { c.Queues[0].Admission = nil; c.Queues[1].WhenFull = Then{Queue: "r"} })
	f("chains[0].then", func(c *Config) { c.Queues[0].WhenFull = Then{Chain: "manager"} })
	f("chains[0].then.chain", func(c *Config) { c.Chains[0].Then = Then{Chain: "nobody"} })
}
