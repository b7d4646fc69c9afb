package e2e

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/softphone"
	"trunkline/routerd/acd"
)

// softphoneAt is where bob's baresip is.
var softphoneAt = netip.AddrFrom4([4]byte{127, 10, 5, 9})

// bobsPhone starts bob's baresip through the second edge and has it register.
func (s *tier) bobsPhone(change ...func(*softphone.Config)) *softphone.Phone {
	s.Helper()
	dir := filepath.Join(s.lab.Dir(), "run", "baresip")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	out, err := os.Create(filepath.Join(s.lab.Dir(), "log", "baresip.log"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { out.Close() })
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	conf := softphone.Config{
		Dir: dir, User: "bob", Password: "secret", Domain: lab.ClusterHost, Local: softphoneAt,
		Edge: s.addr(lab.Edge2, lab.PortAgents), Transport: "tcp", Tone: agentTone + 400,
		Command: s.lab.Toolchain().Command, Log: out,
	}
	for _, f := range change {
		f(&conf)
	}
	phone, err := softphone.Start(ctx, conf)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), 5*time.Second)
		defer cancel()
		_ = phone.Stop(ctx) // the tier is going down anyway
		if s.Failed() {
			if text, err := os.ReadFile(out.Name()); err == nil {
				s.Logf("baresip said:\n%s", text[max(0, len(text)-4000):])
			}
		}
	})
	if err := phone.AwaitRegistered(ctx); err != nil {
		s.Fatal(err)
	}
	return phone
}

// command has the phone do something, as its user would.
func (s *tier) command(p *softphone.Phone, command, params string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	if out, err := p.Do(ctx, command, params); err != nil {
		s.Fatalf("baresip %s %s: %v (%s)", command, params, err, out)
	}
}

// established waits for the ACK to be at the phone: the log knows of the answer
// before, and baresip transfers nothing until then.
func (s *tier) established(p *softphone.Phone) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.Await(ctx, func(e softphone.Event) bool { return e.Type == "CALL_ESTABLISHED" }); err != nil {
		s.Fatalf("the phone's call is not established: %v", err)
	}
}

// agentOf is who talks with the caller, as the routers tell it.
func (s *tier) agentOf(c *endpoint.Call) string {
	v, ok := s.seen(c)
	if !ok || v.State != "talking" {
		return ""
	}
	return v.Agent
}

// Bob's baresip takes the customer's call and gives it to ann: blind, by REFER, with
// the death of the router that owns the call while her phone rings. Of the next call he
// asks her first, by a call of his own beside it (T7, T13). This baresip can't send
// Replaces: that the two are joined by it the router's own tests show.
func TestASoftphoneTransfers(t *testing.T) {
	s := raise(t, 3*time.Second, func(o *lab.Options) {
		o.Agents = append(o.Agents, lab.Agent{ID: "bob", Name: "Bob", Password: "secret"})
		o.Tune = func(c *acd.Config) {
			c.Numbers[0].Greeting = ""
			c.Queues[0].Transfer = acd.Permit{Agents: true}
			c.Queues[0].WrapUp = 0
			for i := range c.Agents {
				switch a := &c.Agents[i]; a.ID {
				case "ann":
					a.Queues = nil // she gets what bob gives her
				case "bob":
					a.HA1SHA256 = "" // his phone gives up when it is asked for anything but MD5
				}
			}
		}
	})
	bob := s.bobsPhone()
	to := "sip:ann@" + lab.ClusterHost

	blind := s.call(lab.SBCA)
	s.await(30*time.Second, "bob to talk", func() bool { return s.agentOf(blind) == "bob" })
	s.established(bob)
	s.command(bob, "transfer", to)
	s.await(20*time.Second, "ann's phone to ring", func() bool { n, _ := s.legsSoFar(); return n > 0 })
	v, _ := s.seen(blind)
	if err := s.lab.Kill(v.Node); err != nil {
		t.Fatal(err)
	}
	s.await(40*time.Second, "ann to talk", func() bool { return s.agentOf(blind) == "ann" })
	_, ann := s.legsSoFar()
	s.bothHear(blind, ann)
	s.awaitClosed(bob, 1)
	s.end(blind, blind)

	asked := s.call(lab.SBCB)
	s.await(30*time.Second, "bob to talk again", func() bool { return s.agentOf(asked) == "bob" })
	s.command(bob, "dial", to)
	s.await(30*time.Second, "bob to talk with ann", func() bool { return s.consults("ann") })
	_, ann = s.legsSoFar()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := ann.Hangup(ctx); err != nil { // this baresip dies of hanging up one of two calls
		t.Fatal(err)
	}
	s.await(30*time.Second, "the consultation to be over", func() bool { return !s.consults("ann") })
	if got := s.agentOf(asked); got != "bob" {
		t.Errorf("the customer talks with %q after it", got)
	}
	s.end(asked, asked)
}

// consults tells whether an agent talks in a call that an agent dialled.
func (s *tier) consults(agent string) bool {
	calls, err := s.api.Calls(s.Context())
	if err != nil {
		return false
	}
	for _, c := range calls {
		if c.Agent == agent && c.State == "talking" && c.From == "bob" {
			return true
		}
	}
	return false
}

// awaitClosed waits until the phone has said so often that a call is over.
func (s *tier) awaitClosed(p *softphone.Phone, n int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	seen := 0
	if _, err := p.Await(ctx, func(e softphone.Event) bool {
		if strings.HasPrefix(e.Type, "CALL_CLOSED") {
			seen++
		}
		return seen >= n
	}); err != nil {
		s.Fatalf("the softphone's call is not over: %v", err)
	}
}
