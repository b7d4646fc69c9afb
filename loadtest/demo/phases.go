package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/routerd/routeapi"
)

// faults is what was killed, and how the tier got over it.
type faults struct {
	router, worker   string
	talking, waiting *call // of the killed router
	media            *call // of the killed worker
	outage           *call // placed while the router was down
	routerTakeover   time.Duration
	workerTakeover   time.Duration
	routerBack       time.Duration
	workerBack       time.Duration
	before, after    routeapi.Cluster // the second after both are back
	reinvites        int
}

// fillTheDesks places six calls: every operator gets one.
func (s *show) fillTheDesks(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	var err error
	if s.faults.before, err = s.tier.Cluster(ctx); err != nil {
		return err
	}
	s.say("placing 6 calls: greeting, queue %q, an operator each", "sales")
	if err := s.placeSome(ctx, len(desks)+1); err != nil {
		return err
	}
	if err := s.await(ctx, 20*time.Second, "six calls talking", func() bool { return all(s.calls, s.talking) }); err != nil {
		return err
	}
	for _, c := range s.calls {
		seen, _ := s.log.Call(c.id())
		s.say("call %d: %s via %s and %s to %s on %s, media on %s, %s", c.n, c.id(), c.order.sbc, seen.Last.Edge, c.operator, seen.Last.Node, seen.Last.Worker, c.order.codec)
	}
	return nil
}

// placeSome places n calls a little apart, as callers come.
func (s *show) placeSome(ctx context.Context, n int) error {
	for range n {
		if _, err := s.place(); err != nil {
			return err
		}
		if err := s.pass(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// letThreeWait places three more: nobody is free, so they wait with tickets.
func (s *show) letThreeWait(ctx context.Context) error {
	first := len(s.calls)
	if err := s.placeSome(ctx, 3); err != nil {
		return err
	}
	waiting := s.calls[first:]
	err := s.await(ctx, 15*time.Second, "three calls waiting", func() bool {
		return all(waiting, func(c *call) bool { return s.state(c) == "waiting" })
	})
	if err != nil {
		return err
	}
	for _, c := range waiting {
		seen, _ := s.log.Call(c.id())
		s.say("call %d: %s waits with ticket %d on %s", c.n, c.id(), seen.Last.Ticket, seen.Last.Node)
	}
	return nil
}

// killARouter kills the owner of a talking and a waiting call, and places a
// call into the outage.
func (s *show) killARouter(ctx context.Context) error {
	f := &s.faults
	if err := s.chooseRouter(); err != nil {
		return err
	}
	f.talking.fault = "router " + f.router + " killed while talking"
	f.waiting.fault = "router " + f.router + " killed while waiting"
	s.say("kill -9 %s: it owns call %d, talking, and call %d, waiting", f.router, f.talking.n, f.waiting.n)
	killed := time.Now()
	if err := s.lab.Kill(f.router); err != nil {
		return fmt.Errorf("kill %s: %w", f.router, err)
	}
	var err error
	if f.outage, err = s.place(); err != nil {
		return err
	}
	f.outage.fault = "placed while " + f.router + " was down"
	moved := func(c *call) bool {
		open, at := s.log.Open()
		return at.After(killed) && slices.ContainsFunc(open, func(o routeapi.Call) bool {
			return o.ID == c.id() && o.Node != f.router
		})
	}
	if err := s.await(ctx, 10*time.Second, "survivors to own the dead router's calls", func() bool {
		return moved(f.talking) && moved(f.waiting)
	}); err != nil {
		return err
	}
	f.routerTakeover = time.Since(killed)
	s.say("survivors own its calls after %d ms", f.routerTakeover.Milliseconds())
	// Long enough for a call that lost its router to show it.
	if err := s.pass(ctx, 2*time.Second); err != nil {
		return err
	}
	s.say("starting %s again", f.router)
	began := time.Now()
	if err := s.lab.Restart(ctx, f.router); err != nil {
		return fmt.Errorf("restart %s: %w", f.router, err)
	}
	f.routerBack = time.Since(began)
	s.say("%s is back after %.1f s", f.router, f.routerBack.Seconds())
	return nil
}

// chooseRouter finds an owner of both a waiting and a talking call of our own
// far ends. Nine calls over three routers always hold such a pair, unless the
// edges put all waiting calls where no other call is.
func (s *show) chooseRouter() error {
	open, _ := s.log.Open()
	owner := map[string]string{}
	for _, o := range open {
		owner[o.ID] = o.Node
	}
	for _, w := range s.calls {
		if s.state(w) != "waiting" {
			continue
		}
		for _, t := range s.calls {
			if t.leg != nil && s.state(t) == "talking" && owner[t.id()] == owner[w.id()] {
				s.faults.router, s.faults.talking, s.faults.waiting = owner[w.id()], t, w
				return nil
			}
		}
	}
	return fmt.Errorf("no router owns both a talking and a waiting call: %s", s.openCalls())
}

// endTheFirst hangs the first six up, from both sides in turn, and sees the
// waiting ones served.
func (s *show) endTheFirst(ctx context.Context) error {
	first, rest := s.calls[:len(desks)+1], s.calls[len(desks)+1:]
	s.say("the first six hang up; those waiting are served")
	if err := s.hangUp(ctx, first); err != nil {
		return err
	}
	return s.await(ctx, 20*time.Second, "the waiting calls to be served", func() bool { return all(rest, s.talking) })
}

// hangUp ends calls by BYE: the caller's for odd numbers and for the
// softphone's calls, the operator's for even ones.
func (s *show) hangUp(ctx context.Context, calls []*call) error {
	for _, c := range calls {
		side := c.far
		if c.n%2 == 0 && c.leg != nil {
			side = c.leg
		}
		// A BYE that fails is a finding about its call, not the demo's end.
		if err := side.Hangup(ctx); err != nil {
			s.say("call %d: %v", c.n, err)
		}
	}
	for _, c := range calls {
		sides := []*endpoint.Call{c.far}
		if c.leg != nil {
			sides = append(sides, c.leg)
		}
		for _, side := range sides {
			if err := s.await(ctx, 10*time.Second, fmt.Sprintf("the end of call %d at both sides", c.n), func() bool { return closed(side.Done()) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// killAWorker kills the media worker of a call that talks.
func (s *show) killAWorker(ctx context.Context) error {
	if err := s.pass(ctx, 1500*time.Millisecond); err != nil {
		return err
	}
	f := &s.faults
	for _, c := range s.calls[len(desks)+1:] {
		if c != f.waiting && c.leg != nil {
			f.media = c
			break
		}
	}
	if f.media == nil {
		return fmt.Errorf("no call to lose its worker: %s", s.openCalls())
	}
	seen, _ := s.log.Call(f.media.id())
	f.worker = seen.Last.Worker
	for _, c := range s.calls[len(desks)+1:] {
		if seen, _ := s.log.Call(c.id()); seen.Last.Worker == f.worker {
			c.fault = join(c.fault, "worker "+f.worker+" killed while talking")
		}
	}
	s.say("kill -9 %s: it carries call %d", f.worker, f.media.n)
	killed := time.Now()
	if err := s.lab.Kill(f.worker); err != nil {
		return fmt.Errorf("kill %s: %w", f.worker, err)
	}
	if err := s.await(ctx, 10*time.Second, "the standby to host the dead worker's calls", func() bool {
		seen, _ := s.log.Call(f.media.id())
		return seen.Last.Worker != f.worker && seen.Last.Worker != ""
	}); err != nil {
		return err
	}
	f.workerTakeover = time.Since(killed)
	s.say("the tier says so after %d ms; the far ends measure the gap", f.workerTakeover.Milliseconds())
	if err := s.pass(ctx, 2*time.Second); err != nil {
		return err
	}
	s.say("starting %s again", f.worker)
	began := time.Now()
	if err := s.lab.Restart(ctx, f.worker); err != nil {
		return fmt.Errorf("restart %s: %w", f.worker, err)
	}
	f.workerBack = time.Since(began)
	s.say("%s is back after %.1f s", f.worker, f.workerBack.Seconds())
	return nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// endTheRest hangs up what still talks.
func (s *show) endTheRest(ctx context.Context) error {
	s.say("the last four hang up")
	if err := s.hangUp(ctx, s.calls[len(desks)+1:]); err != nil {
		return err
	}
	for _, c := range s.calls {
		c.result = c.far.Result()
		s.faults.reinvites += c.result.Reinvites
		if c.leg != nil {
			c.legResult = c.leg.Result()
			s.faults.reinvites += c.legResult.Reinvites
		}
	}
	return s.await(ctx, 10*time.Second, "the tier to close every call", func() bool {
		open, err := s.tier.Calls(ctx)
		return err == nil && len(open) == 0
	})
}

// showRejoined waits until the cluster counts both restarted parts again.
func (s *show) showRejoined(ctx context.Context) error {
	f := &s.faults
	var err error
	return s.await(ctx, 10*time.Second, "the restarted router and worker in the cluster", func() bool {
		f.after, err = s.tier.Cluster(ctx)
		return err == nil && rejoinedNode(f.before, f.after, f.router) && rejoinedWorker(f.before, f.after, f.worker)
	})
}

func rejoinedNode(before, after routeapi.Cluster, id string) bool {
	was, now := find(before.Nodes, func(n routeapi.Node) bool { return n.ID == id }), find(after.Nodes, func(n routeapi.Node) bool { return n.ID == id })
	return now.Alive && now.Voter && now.Incarnation > was.Incarnation
}

func rejoinedWorker(before, after routeapi.Cluster, id string) bool {
	was, now := find(before.Workers, func(w routeapi.Worker) bool { return w.ID == id }), find(after.Workers, func(w routeapi.Worker) bool { return w.ID == id })
	return now.Alive && now.Incarnation > was.Incarnation
}

func find[T any](list []T, match func(T) bool) T {
	var none T
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i]
	}
	return none
}
