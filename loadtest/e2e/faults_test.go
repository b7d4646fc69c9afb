package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/watch"
	"trunkline/routerd/routeapi"
)

// tier is a running lab with one caller at each SBC and one operator.
type tier struct {
	*testing.T
	lab     *lab.Lab
	api     *watch.Tier
	callers map[string]*endpoint.Caller
	phone   *endpoint.Agent

	mu   sync.Mutex
	legs []*endpoint.Call // INVITEs the operator's phone got, in order
}

const (
	callerTone = 800
	agentTone  = 1300
)

// raise starts a tier whose operator lets the phone ring for so long.
func raise(t *testing.T, ring time.Duration, change ...func(*lab.Options)) *tier {
	t.Helper()
	return raiseWith(t, endpoint.AgentConfig{Ring: ring}, change...)
}

// raiseWith starts a tier whose operator's phone is as given.
func raiseWith(t *testing.T, phone endpoint.AgentConfig, change ...func(*lab.Options)) *tier {
	t.Helper()
	dir := t.TempDir()
	tools, err := lab.SetUp(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	account := lab.Agent{ID: "ann", Name: "Ann", Password: "secret"}
	o := lab.Options{Dir: dir, Bin: build(t, dir), Toolchain: tools, Agents: []lab.Agent{account}, Env: []string{"GORACE=halt_on_error=1"}}
	for _, f := range change {
		f(&o)
	}
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := &tier{T: t, lab: l, callers: map[string]*endpoint.Caller{}}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range l.Names() {
				t.Logf("%s ends with:\n%s", n, l.Tail(n, 15))
			}
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	conf, err := l.PKI().Client(lab.CertOperator)
	if err != nil {
		t.Fatal(err)
	}
	var bases []string
	for _, r := range []string{"r1", "r2", "r3"} {
		bases = append(bases, l.API(r))
	}
	s.api = watch.NewTier(bases, conf)
	for i, sbc := range []string{lab.SBCA, lab.SBCB} {
		s.callers[sbc], err = endpoint.NewCaller(t.Context(), endpoint.CallerConfig{
			Local: netip.AddrFrom4([4]byte{127, 10, 6, byte(i + 1)}), SBC: s.addr(sbc, lab.PortSIP), Transport: endpoint.TCP,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.callers[sbc].Close)
	}
	phone.User, phone.Password, phone.Domain = account.ID, account.Password, lab.ClusterHost
	phone.Local, phone.Edge = netip.AddrFrom4([4]byte{127, 10, 5, 1}), s.addr(lab.Edge1, lab.PortAgents)
	if phone.Transport == "" {
		phone.Transport = endpoint.UDP
	}
	phone.Tone, phone.Source, phone.Hear = agentTone, 2, []int{callerTone}
	phone.OnCall = func(c *endpoint.Call) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.legs = append(s.legs, c)
	}
	s.phone, err = endpoint.NewAgent(t.Context(), phone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.phone.Close)
	// A router without a leader for a moment refuses, and a phone comes again.
	s.await(30*time.Second, "the operator's phone to be registered", func() bool { return s.phone.Register(t.Context()) == nil })
	return s
}

func (s *tier) addr(name string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(s.lab.Addr(name)), port)
}

func (s *tier) call(sbc string) *endpoint.Call {
	s.Helper()
	c, err := s.callers[sbc].Call(endpoint.CallParams{
		From: "+74951230001", To: lab.SalesNumber, Codecs: []endpoint.Codec{endpoint.PCMA}, Suites: []endpoint.Suite{endpoint.AES128GCM},
		Tone: callerTone, Source: 1, Hear: []int{agentTone},
	})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// await polls until cond holds; what names it in the failure.
func (s *tier) await(within time.Duration, what string, cond func() bool) {
	s.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			calls, err := s.api.Calls(s.Context())
			s.Fatalf("waited %v in vain for %s; open calls: %+v, %v", within, what, calls, err)
		}
	}
}

// seen is the open call as the routers tell it.
func (s *tier) seen(c *endpoint.Call) (routeapi.Call, bool) {
	calls, err := s.api.Calls(s.Context())
	if err != nil {
		return routeapi.Call{}, false
	}
	for _, v := range calls {
		if v.ID == c.Result().CallID {
			return v, true
		}
	}
	return routeapi.Call{}, false
}

func (s *tier) inState(c *endpoint.Call, state string, legs ...string) func() bool {
	return func() bool {
		v, ok := s.seen(c)
		if !ok || v.State != state || len(legs) > len(v.Legs) {
			return false
		}
		for i, want := range legs {
			if v.Legs[i].State != want {
				return false
			}
		}
		return true
	}
}

// legsSoFar is how often the operator's phone was called, and the last call.
func (s *tier) legsSoFar() (int, *endpoint.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.legs) == 0 {
		return 0, nil
	}
	return len(s.legs), s.legs[len(s.legs)-1]
}

// bothHear fails unless each side hears the other's tone from now on.
func (s *tier) bothHear(caller, agent *endpoint.Call) {
	s.Helper()
	for _, side := range []*endpoint.Call{caller, agent} {
		select {
		case <-side.Answered():
		case <-side.Done():
			s.Fatalf("a side of the call is over before it talks: %+v", side.Result())
		}
		side.BeginTalk()
	}
	before := [2]int{caller.Result().Media.Received, agent.Result().Media.Received}
	s.await(10*time.Second, "a second of audio both ways", func() bool {
		return caller.Result().Media.Received > before[0]+50 && agent.Result().Media.Received > before[1]+50
	})
	for _, side := range []struct {
		name string
		m    endpoint.MediaResult
		tone int
	}{{"caller", caller.Result().Media, agentTone}, {"agent", agent.Result().Media, callerTone}} {
		if share := side.m.HeardShare(side.tone); share < 0.5 {
			s.Errorf("the %s hears the other's tone in %.0f %% of the talk", side.name, 100*share)
		}
	}
}

// end hangs up and checks that the tier forgets the call in good order.
func (s *tier) end(side, caller *endpoint.Call) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	if err := side.Hangup(ctx); err != nil {
		s.Errorf("hang up: %v", err)
	}
	if code := side.Result().ByeCode; code != 200 {
		s.Errorf("BYE was answered with %d", code)
	}
	s.await(10*time.Second, "the caller's side to end", func() bool { return done(caller) })
	s.await(10*time.Second, "the tier to forget the call", func() bool {
		calls, err := s.api.Calls(s.Context())
		return err == nil && len(calls) == 0
	})
}

func done(c *endpoint.Call) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// The router that rings an agent dies: the caller keeps the place and the
// music, the agent rings again and both talk (T13, ringing calls).
func TestARingingCallOutlivesItsRouter(t *testing.T) {
	s := raise(t, 1500*time.Millisecond)
	c := s.call(lab.SBCA)
	s.await(20*time.Second, "the agent's phone to ring", s.inState(c, "waiting", "up", "ringing"))
	v, _ := s.seen(c)
	ticket := v.Ticket
	if err := s.lab.Kill(v.Node); err != nil {
		t.Fatal(err)
	}
	s.await(30*time.Second, "the agent to answer", s.inState(c, "talking"))
	if v, _ := s.seen(c); v.Ticket != ticket {
		t.Errorf("ticket %d became %d", ticket, v.Ticket)
	}
	_, leg := s.legsSoFar()
	s.bothHear(c, leg)
	s.end(c, c)
	if r := c.Result(); r.Code != 200 || r.Reinvites != 0 {
		t.Errorf("the caller saw %d and %d re-INVITEs, want 200 and none", r.Code, r.Reinvites)
	}
}

// The edge that carries a talking call dies: nobody hears it, and the
// operator's BYE reaches the caller through the other edge (T10, T13).
func TestATalkingCallOutlivesItsEdge(t *testing.T) {
	s := raise(t, 100*time.Millisecond)
	var c *endpoint.Call
	for i := range 6 { // until one comes by the edge the phone is not on
		c = s.call([]string{lab.SBCA, lab.SBCB}[i%2])
		s.await(30*time.Second, "the call to be answered", s.inState(c, "talking"))
		if v, _ := s.seen(c); v.Edge == lab.Edge2 {
			break
		}
		s.end(c, c)
		c = nil
	}
	if c == nil {
		t.Fatal("no call came by edge-2")
	}
	_, leg := s.legsSoFar()
	if err := s.lab.Kill(lab.Edge2); err != nil {
		t.Fatal(err)
	}
	s.bothHear(c, leg)
	if lost := c.Result().Media.Lost + leg.Result().Media.Lost; lost != 0 {
		t.Errorf("%d packets lost with an edge, which carries none", lost)
	}
	s.end(leg, c)
	fresh := s.call(lab.SBCB)
	s.await(30*time.Second, "a new call by the other edge", s.inState(fresh, "talking"))
	s.end(fresh, fresh)
}

// A router that hangs and wakes after its calls moved does no harm: it finds
// itself declared dead and ends; the call goes on elsewhere (T13, fencing).
func TestAPausedRouterDoesNoHarm(t *testing.T) {
	s := raise(t, 100*time.Millisecond)
	c := s.call(lab.SBCA)
	s.await(30*time.Second, "the call to be answered", s.inState(c, "talking"))
	v, _ := s.seen(c)
	if err := s.lab.Freeze(v.Node); err != nil {
		t.Fatal(err)
	}
	s.await(30*time.Second, "another router to own the call", func() bool {
		now, ok := s.seen(c)
		return ok && now.Node != v.Node && now.Epoch > v.Epoch
	})
	if err := s.lab.Thaw(v.Node); err != nil {
		t.Fatal(err)
	}
	s.await(30*time.Second, fmt.Sprintf("%s to notice and end", v.Node), func() bool { return !s.lab.Running(v.Node) })
	_, leg := s.legsSoFar()
	s.bothHear(c, leg)
	if n, _ := s.legsSoFar(); n != 1 {
		t.Errorf("the agent was called %d times, want once", n)
	}
	s.end(leg, c)
}

// A media worker that hangs is taken over from within a second; when it wakes it sends
// nothing, and is a worker again. One that is told to end hands over without a gap
// (T13, fencing).
func TestAHungWorkerDoesNoHarm(t *testing.T) {
	s := raise(t, 100*time.Millisecond)
	c := s.call(lab.SBCA)
	s.await(30*time.Second, "the call to be answered", s.inState(c, "talking"))
	_, leg := s.legsSoFar()
	s.bothHear(c, leg)
	sides := []*endpoint.Call{c, leg}
	v, _ := s.seen(c)
	lives := s.workers()
	if err := s.lab.Freeze(v.Worker); err != nil {
		t.Fatal(err)
	}
	for _, side := range sides {
		side.Gap()
	}
	s.await(30*time.Second, "another worker to carry the call", func() bool {
		now, ok := s.seen(c)
		return ok && now.Worker != v.Worker
	})
	s.bothHear(c, leg)
	for _, side := range sides {
		if gap := side.Gap(); gap > 3*time.Second { // slower under the race detector; make bench-media-failover has the bound
			t.Errorf("a gap of %v when the worker hung", gap)
		}
	}
	if err := s.lab.Thaw(v.Worker); err != nil {
		t.Fatal(err)
	}
	s.await(30*time.Second, v.Worker+" to begin another life", func() bool {
		now := s.workers()
		return now[v.Worker] > lives[v.Worker] && len(now) == len(lives)
	})
	s.bothHear(c, leg)
	for _, side := range sides {
		if m := side.Result().Media; m.Late+m.Returned+m.Rejected != 0 {
			t.Errorf("a far end heard packets of who should be silent: %d late, %d of an old stream, %d refused", m.Late, m.Returned, m.Rejected)
		}
	}
	now, _ := s.seen(c)
	if err := s.lab.Retire(now.Worker, 10*time.Second); err != nil {
		t.Error(err)
	}
	s.bothHear(c, leg)
	if lost := c.Result().Media.MarksLost; lost > 250 { // of the hang alone
		t.Errorf("%d packets lost", lost)
	}
	if r := c.Result(); r.Reinvites != 0 {
		t.Errorf("%d re-INVITEs", r.Reinvites)
	}
	s.end(leg, c)
}

// workers are the live ones, each with its incarnation.
func (s *tier) workers() map[string]uint64 {
	s.Helper()
	lives := map[string]uint64{}
	s.await(10*time.Second, "the cluster's state", func() bool {
		c, err := s.api.Cluster(s.Context())
		for _, w := range c.Workers {
			if w.Alive {
				lives[w.ID] = w.Incarnation
			}
		}
		return err == nil
	})
	return lives
}
