package e2e

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// The customer of these tests, and the number shown when we call.
const (
	customerNumber = "+74951230042"
	shownNumber    = lab.SalesNumber
	customerTone   = 1700
	promiseHz      = 900
)

// customer is the customer's phone, a subscriber of both SBCs.
type customer struct {
	s      *tier
	phones []*endpoint.Agent

	mu    sync.Mutex
	calls []*endpoint.Call
}

// subscribe registers the customer's phone with both SBCs; it answers after
// ring.
func (s *tier) subscribe(ring time.Duration, change ...func(*endpoint.AgentConfig)) *customer {
	s.Helper()
	c := &customer{s: s}
	for i, sbc := range []string{lab.SBCA, lab.SBCB} {
		cfg := endpoint.AgentConfig{
			User: customerNumber, Domain: s.lab.Addr(sbc), Local: netip.AddrFrom4([4]byte{127, 10, 8, byte(i + 1)}), Edge: s.addr(sbc, lab.PortSIP),
			Transport: endpoint.UDP, Ring: ring, Codecs: []endpoint.Codec{endpoint.PCMA}, Tone: customerTone, Source: 3, Hear: []int{agentTone},
			OnCall: func(call *endpoint.Call) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.calls = append(c.calls, call)
			},
		}
		for _, f := range change {
			f(&cfg)
		}
		phone, err := endpoint.NewAgent(s.Context(), cfg)
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(phone.Close)
		if err := phone.Register(s.Context()); err != nil {
			s.Fatal(err)
		}
		c.phones = append(c.phones, phone)
	}
	return c
}

// rang is how often the customer was called, and the last call.
func (c *customer) rang() (int, *endpoint.Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) == 0 {
		return 0, nil
	}
	return len(c.calls), c.calls[len(c.calls)-1]
}

// rings waits for the customer's n-th call.
func (c *customer) rings(within time.Duration, n int) *endpoint.Call {
	c.s.Helper()
	c.s.await(within, "the customer's phone to ring", func() bool { got, _ := c.rang(); return got >= n })
	_, call := c.rang()
	return call
}

// bothTalk fails unless customer and agent hear each other, every packet.
func (s *tier) bothTalk(cu, agent *endpoint.Call) {
	s.Helper()
	for _, side := range []*endpoint.Call{cu, agent} {
		select {
		case <-side.Answered():
		case <-side.Done():
			s.Fatalf("a side of the call is over before it talks: %+v", side.Result())
		case <-time.After(20 * time.Second):
			s.Fatalf("a side of the call is not answered: %+v", side.Result())
		}
	}
	s.await(20*time.Second, "a second of marked audio both ways", func() bool {
		return cu.Result().Media.Marked > 50 && agent.Result().Media.Marked > 50
	})
	for _, side := range []struct {
		name   string
		m      endpoint.MediaResult
		source uint16
	}{{"customer", cu.Result().Media, 2}, {"agent", agent.Result().Media, 3}} {
		if side.m.Source != side.source || side.m.MarksLost != 0 || side.m.Rejected != 0 {
			s.Errorf("the %s hears source %d, %d marks lost, %d packets rejected", side.name, side.m.Source, side.m.MarksLost, side.m.Rejected)
		}
	}
}

// placed is the open call that was placed, or whose caller was let go.
func (s *tier) ticketOf(number string) (id string, ticket uint64) {
	calls, err := s.api.Calls(s.Context())
	if err != nil {
		return "", 0
	}
	for _, v := range calls {
		if v.Ticket != 0 && v.From == masked(number) {
			return v.ID, v.Ticket
		}
	}
	return "", 0
}

func masked(number string) string {
	b := []byte(number)
	for i := range len(b) - 4 {
		b[i] = '*'
	}
	return string(b)
}

// outbound is the routing of these tests: both trunks, sbc-a first, and
// callbacks by the key 1.
func outbound(prompts string) func(*lab.Options) {
	return func(o *lab.Options) {
		o.Prompts = prompts
		o.Tune = func(c *acd.Config) {
			c.Numbers[0].Greeting = ""
			c.Outbound = acd.Outbound{Trunks: []acd.TrunkID{lab.SBCA, lab.SBCB}, From: shownNumber}
			q := &c.Queues[0]
			q.Callback = acd.Callback{Key: "1", Promise: "promise", Attempts: 5, Retry: 2 * time.Second}
		}
	}
}

func callbackPrompts(t *testing.T) string {
	return tonePrompts(t, map[string]prompt{"music": {musicHz, 2 * time.Second}, "promise": {promiseHz, time.Second}})
}

// promised is a caller who waited, took the callback by the key and was let go
// after the promise; it returns the call and its ticket.
func (s *tier) promised(by endpoint.Keypad) (id string, ticket uint64) {
	s.Helper()
	c, err := s.callers[lab.SBCA].Call(endpoint.CallParams{
		From: customerNumber, To: lab.SalesNumber, Codecs: []endpoint.Codec{endpoint.PCMA}, Suites: []endpoint.Suite{endpoint.AES128GCM},
		Tone: callerTone, Source: 1, Hear: []int{musicHz, promiseHz},
	})
	if err != nil {
		s.Fatal(err)
	}
	<-c.Answered()
	c.BeginTalk()
	s.await(20*time.Second, "the music", func() bool { return c.Result().Media.Heard[musicHz] > 5 })
	v, ok := s.seen(c)
	if !ok || v.Ticket == 0 {
		s.Fatalf("the caller has no ticket: %+v", v)
	}
	s.press(c, "1", by)
	s.await(20*time.Second, "the promise", func() bool { return c.Result().Media.Heard[promiseHz] > 2 })
	s.await(20*time.Second, "the caller to be let go", func() bool { return done(c) })
	return v.ID, v.Ticket
}

// A waiting caller takes a callback by the key, is let go, and is called when
// the ticket, the same one, is at the head of the line and an agent is free
// (N6): key by INFO, and by RTP events with the first trunk dead.
func TestACallbackKeepsItsTicketAndTakesTheTrunkThatLives(t *testing.T) {
	s := raise(t, 300*time.Millisecond, outbound(callbackPrompts(t)))
	cu := s.subscribe(500 * time.Millisecond)
	for i, by := range []endpoint.Keypad{endpoint.ByInfo, endpoint.ByEvents} {
		if err := s.api.SetStatus(t.Context(), "ann", string(acd.OnBreak)); err != nil {
			t.Fatal(err)
		}
		id, ticket := s.promised(by)
		if got, now := s.ticketOf(customerNumber); got != id || now != ticket {
			t.Fatalf("the promised call is %q with ticket %d, was %q with %d", got, now, id, ticket)
		}
		if i == 1 {
			if err := s.lab.Kill(lab.SBCA); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.api.SetStatus(t.Context(), "ann", string(acd.Available)); err != nil {
			t.Fatal(err)
		}
		call := cu.rings(20*time.Second, i+1)
		if got, now := s.ticketOf(customerNumber); got != id || now != ticket {
			t.Errorf("called back as call %q with ticket %d, was %q with %d", got, now, id, ticket)
		}
		s.await(20*time.Second, "the agent's phone to ring", func() bool { n, _ := s.legsSoFar(); return n >= i+1 })
		_, leg := s.legsSoFar()
		s.bothTalk(call, leg)
		s.end([]*endpoint.Call{leg, call}[i], call) // the agent hangs up, then the customer
	}
}

// An outbound task reserves an agent, dials the customer, rings the agent when
// the customer answers, and both talk (N10); with the first trunk dead it goes
// over the second, and a customer who is busy is called again.
func TestAnOutboundTaskReservesAnAgentAndDials(t *testing.T) {
	s := raise(t, 300*time.Millisecond, outbound(callbackPrompts(t)))
	cu := s.subscribe(time.Second)
	task := func(id string) {
		t.Helper()
		if err := s.api.CreateTask(t.Context(), routeapi.NewTask{ID: id, Number: customerNumber, Queue: lab.SalesQueue, Retry: 2}); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		agents, err := s.api.Agents(t.Context())
		if err != nil || len(agents) == 0 {
			return ""
		}
		return agents[0].State
	}
	for i, id := range []string{"task-1", "task-2"} {
		s.await(20*time.Second, "the agent to be idle", func() bool { return state() == string(acd.Idle) })
		if i == 1 {
			if err := s.lab.Kill(lab.SBCA); err != nil {
				t.Fatal(err)
			}
		}
		task(id)
		task(id) // a repeat of who did not hear the answer
		call := cu.rings(20*time.Second, i+1)
		if n, _ := s.legsSoFar(); n != i {
			t.Errorf("the agent's phone rang before the customer answered")
		}
		if got := state(); got != string(acd.Reserved) {
			t.Errorf("while the customer's phone rings the agent is %s, want reserved", got)
		}
		s.await(20*time.Second, "the agent's phone to ring", func() bool { n, _ := s.legsSoFar(); return n > i })
		_, leg := s.legsSoFar()
		s.bothTalk(call, leg)
		s.end([]*endpoint.Call{leg, call}[i], call)
	}
	if n, _ := cu.rang(); n != 2 {
		t.Errorf("two tasks called the customer %d times", n)
	}
}

// The router that calls the customer dies while the phone rings: the phone is
// called anew by the call's next owner, and nobody rings at the old call any
// more.
func TestARingingCustomerOutlivesTheRouter(t *testing.T) {
	s := raise(t, 300*time.Millisecond, outbound(callbackPrompts(t)))
	cu := s.subscribe(3 * time.Second)
	if err := s.api.SetStatus(t.Context(), "ann", string(acd.OnBreak)); err != nil {
		t.Fatal(err)
	}
	id, ticket := s.promised(endpoint.ByEvents)
	if err := s.api.SetStatus(t.Context(), "ann", string(acd.Available)); err != nil {
		t.Fatal(err)
	}
	first := cu.rings(20*time.Second, 1)
	owner := ""
	s.await(10*time.Second, "the owner of the call", func() bool {
		calls, err := s.api.Calls(t.Context())
		for _, v := range calls {
			if err == nil && v.ID == id {
				owner = v.Node
			}
		}
		return owner != ""
	})
	if err := s.lab.Kill(owner); err != nil {
		t.Fatal(err)
	}
	second := cu.rings(30*time.Second, 2)
	s.await(20*time.Second, "the first call to be cancelled", func() bool { return done(first) })
	if code := first.Result().Code; code != 487 {
		t.Errorf("the dead router's call ended with %d, want 487", code)
	}
	if got, now := s.ticketOf(customerNumber); got != id || now != ticket {
		t.Errorf("called again as call %q with ticket %d, was %q with %d", got, now, id, ticket)
	}
	s.await(20*time.Second, "the agent's phone to ring", func() bool { n, _ := s.legsSoFar(); return n >= 1 })
	_, leg := s.legsSoFar()
	s.bothTalk(second, leg)
	s.end(second, second)
}
