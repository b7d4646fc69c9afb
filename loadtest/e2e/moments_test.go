package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/softphone"
	"trunkline/routerd/acd"
)

// A real softphone holds a customer, takes the call back and the customer hangs up;
// at one moment of that the router that owns the call is killed, or stopped until
// others have the call and then woken. Whichever: the call comes to its end with
// one record, the phone rings once, each hold counts once, and the customer's
// dialog sees nothing (T13).
func TestARouterIsLostAtEachMomentOfACall(t *testing.T) {
	s := raise(t, time.Second, func(o *lab.Options) {
		o.Agents = append(o.Agents, lab.Agent{ID: "bob", Name: "Bob", Password: "secret"})
		o.Tune = func(c *acd.Config) {
			c.Numbers[0].Greeting = ""
			c.Queues[0].WrapUp = 0
			for i := range c.Agents {
				switch a := &c.Agents[i]; a.ID {
				case "ann":
					a.Queues = nil
				case "bob":
					a.HA1SHA256 = "" // his phone gives up when it is asked for anything but MD5
				}
			}
		}
	})
	bob := s.bobsPhone(func(c *softphone.Config) { c.Deaf = true }) // this baresip dies of a hold otherwise
	for i, moment := range []string{"as it is held", "while it is held", "as it is taken back", "as the customer hangs up"} {
		for j, how := range []string{"killed", "stopped"} {
			name := fmt.Sprintf("%s %s", how, moment)
			c := s.call([]string{lab.SBCA, lab.SBCB}[(i+j)%2])
			s.await(30*time.Second, "bob to talk", func() bool { return s.agentOf(c) == "bob" })
			v, _ := s.seen(c)
			began := time.Now()
			at := func(now string) {
				if now == moment {
					s.strike(v.Node, how)
				}
			}
			s.established(bob)
			s.command(bob, "hold", "")
			at("as it is held")
			s.await(20*time.Second, name+": the leg to be held", func() bool { return s.count(c, acd.FactLegHeld) == 1 })
			at("while it is held")
			_, _ = bob.Do(t.Context(), "resume", "") // it says "Invalid argument" and does it
			at("as it is taken back")
			s.await(20*time.Second, name+": the leg to be taken back", func() bool { return s.count(c, acd.FactLegResumed) == 1 })
			s.leave(name, c, func() { at("as the customer hangs up") })
			s.awaitClosed(bob, 2*i+j+1)
			s.await(20*time.Second, name+": the call's record", func() bool { return s.count(c, acd.FactCallEnded) == 1 })
			for kind, want := range map[string]int{acd.FactOfferMade: 1, acd.FactLegHeld: 1, acd.FactLegResumed: 1, acd.FactCallEnded: 1, acd.FactLegEnded: 2} {
				if n := s.count(c, kind); n != want {
					t.Errorf("%s: %d times %s, want %d", name, n, kind, want)
				}
			}
			if r := c.Result(); r.Code != 200 || r.Reinvites != 0 || r.ByeCode != 200 {
				t.Errorf("%s: the customer saw %d, %d re-INVITEs, and %d for the BYE", name, r.Code, r.Reinvites, r.ByeCode)
			}
			t.Logf("%s: %v", name, time.Since(began).Round(100*time.Millisecond))
			s.recover(v.Node, how)
		}
	}
}

// leave has the customer hang up; at is done while the BYE is on its way.
func (s *tier) leave(name string, c *endpoint.Call, at func()) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	left := make(chan error, 1)
	go func() { left <- c.Hangup(ctx) }()
	at()
	if err := <-left; err != nil {
		s.Errorf("%s: hang up: %v", name, err)
	}
}

func (s *tier) strike(router, how string) {
	s.Helper()
	do := s.lab.Kill
	if how == "stopped" {
		do = s.lab.Freeze
	}
	if err := do(router); err != nil {
		s.Fatal(err)
	}
}

// recover brings a router back: one that was stopped wakes, finds itself declared
// dead and ends before.
func (s *tier) recover(router, how string) {
	s.Helper()
	if how == "stopped" {
		s.await(20*time.Second, router+" to be declared dead", func() bool { return !s.alive(router) })
		if err := s.lab.Thaw(router); err != nil {
			s.Fatal(err)
		}
		s.await(30*time.Second, router+" to notice and end", func() bool { return !s.lab.Running(router) })
	}
	if err := s.lab.Restart(s.Context(), router); err != nil {
		s.Fatal(err)
	}
	s.await(30*time.Second, router+" to be back", func() bool { return s.alive(router) })
}

func (s *tier) alive(router string) bool {
	c, err := s.api.Cluster(s.Context())
	if err != nil {
		return false
	}
	for _, n := range c.Nodes {
		if n.ID == router {
			return n.Alive
		}
	}
	return false
}

// count is how many facts of a kind the call has, of the leg's kinds those of agents
// and customers together.
func (s *tier) count(c *endpoint.Call, kind string) (n int) {
	facts, err := s.api.CallFacts(s.Context(), c.Result().CallID)
	if err != nil {
		return -1
	}
	seen := []string{}
	for _, f := range facts {
		key := fmt.Sprintf("%d.%d", f.Index, f.N)
		if f.Kind == kind && !slices.Contains(seen, key) {
			seen = append(seen, key)
		}
	}
	return len(seen)
}
