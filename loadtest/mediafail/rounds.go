package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"trunkline/loadtest/endpoint"
)

// fault is something that happens to a worker.
type fault struct {
	name  string
	times int
	// most is the bound on the gap at a far end, p99; promised by docs/design.md.
	most time.Duration
	do   func(worker string) error
	// undo brings the worker back; nil: it has to be started again.
	undo func(worker string) error
}

func (p *proof) faults() []fault {
	return []fault{
		{name: "nothing", times: 1, most: idleGap, do: func(string) error { return nil }, undo: func(string) error { return nil }},
		{name: "kill -9", times: p.kills, most: crashGap, do: p.lab.Kill},
		{name: "SIGSTOP", times: p.hangs, most: hangGap, do: p.lab.Freeze, undo: p.lab.Thaw},
		{name: "power loss", times: p.cuts, most: hangGap, do: p.powerLoss, undo: nil},
		{name: "SIGTERM", times: p.drains, most: drainGap, do: func(w string) error { return p.lab.Retire(w, drainLimit) }},
	}
}

// Bounds on the gap at a far end, p99. Packets come 20 ms apart.
const (
	idleGap  = 60 * time.Millisecond // what this machine adds by itself; beyond it the run is INVALID
	crashGap = 200 * time.Millisecond
	hangGap  = 700 * time.Millisecond
	drainGap = 60 * time.Millisecond // one packet time beyond the usual, and the machine's own
)

// drainLimit is how long a worker without a call may take to end.
const drainLimit = 10 * time.Second

// powerLoss takes a worker away without a word: its connections do not break.
func (p *proof) powerLoss(worker string) error {
	if err := p.lab.Cut(worker); err != nil {
		return err
	}
	return p.lab.Kill(worker)
}

const (
	// frame is between two packets of a far end.
	frame = 20 * time.Millisecond
	// nearWrap is how many packets at most lie between a fault and the wrap of a
	// far end's sequence number.
	nearWrap = 50
	// leadIn is from the leap towards the wrap to the fault: the standby is to
	// have heard of the leap, as no real stream makes any.
	leadIn = 1300 * time.Millisecond
	// aftermath is how long far ends are listened to once the address has moved.
	aftermath = time.Second
	// readyWait bounds how long the tier may take to be whole again.
	readyWait = 30 * time.Second
)

// breakWorkers does everything in turn, each time to the worker with most calls.
func (p *proof) breakWorkers(ctx context.Context) error {
	for _, f := range p.faults() {
		for range f.times {
			if err := p.breakOne(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return nil
}

// breakOne is one fault and what the far ends saw of it.
func (p *proof) breakOne(ctx context.Context, f fault) error {
	lacks := ""
	if err := p.await(ctx, readyWait, "three workers, each address with a standby that has all", func() bool {
		lacks = p.lacks(ctx)
		return lacks == ""
	}); err != nil {
		return fmt.Errorf("%w: %s", err, lacks)
	}
	victim, on, err := p.busiest(ctx)
	if err != nil {
		return err
	}
	r := &round{Fault: f.name, Worker: victim}
	var struck, others []*endpoint.Call
	for _, c := range p.placed {
		if !on[c.caller.Result().CallID] {
			others = append(others, c.legs()...)
			continue
		}
		r.Calls++
		struck = append(struck, c.legs()...)
		if r.Calls%2 == 0 {
			for _, leg := range c.legs() {
				leg.LeapToWrap(int(leadIn/frame) + rand.IntN(2*nearWrap+1) - nearWrap)
			}
		}
	}
	if err := pass(ctx, leadIn); err != nil {
		return err
	}
	gaps(struck)
	gaps(others)
	before := total(p.placed)
	began := time.Now()
	if err := f.do(victim); err != nil {
		return err
	}
	if f.name != "nothing" {
		if err := p.await(ctx, readyWait, victim+" to carry no call", func() bool {
			who, _, err := p.hosts(ctx)
			return err == nil && who[victim] == 0
		}); err != nil {
			return err
		}
	}
	r.Moved = ms(time.Since(began))
	if err := pass(ctx, aftermath); err != nil {
		return err
	}
	r.struck, r.others = gaps(struck), gaps(others)
	if err := p.recover(ctx, f, victim); err != nil {
		return err
	}
	p.judgeRound(f, r, before, total(p.placed))
	return nil
}

// recover brings the worker back, and listens for what one that wakes sends.
func (p *proof) recover(ctx context.Context, f fault, victim string) error {
	if f.name == "power loss" {
		if err := p.lab.Mend(victim); err != nil {
			return err
		}
	}
	if f.undo == nil {
		return p.lab.Restart(ctx, victim)
	}
	if err := f.undo(victim); err != nil {
		return err
	}
	return pass(ctx, aftermath)
}

// lacks tells what the tier lacks: a worker, or an address its standby. A whole one
// lacks nothing.
func (p *proof) lacks(ctx context.Context) string {
	c, err := p.tier.Cluster(ctx)
	if err != nil {
		return err.Error()
	}
	alive := map[string]bool{}
	for _, w := range c.Workers {
		if w.Alive {
			alive[w.ID] = true
		}
	}
	home := map[string]bool{}
	for _, h := range c.Media {
		home[h.Worker] = true
		if !alive[h.Worker] || !alive[h.Standby] {
			return fmt.Sprintf("%s is at %s with standby %q", h.Address, h.Worker, h.Standby)
		}
	}
	if len(alive) < workers || len(home) < workers {
		return fmt.Sprintf("%d workers live and %d have an address", len(alive), len(home))
	}
	return p.unprotected(ctx)
}

// hosts counts the calls that each worker carries, and lists those of each.
func (p *proof) hosts(ctx context.Context) (count map[string]int, of map[string]map[string]bool, err error) {
	open, err := p.tier.Calls(ctx)
	if err != nil {
		return nil, nil, err
	}
	count, of = map[string]int{}, map[string]map[string]bool{}
	for _, c := range open {
		if of[c.Worker] == nil {
			of[c.Worker] = map[string]bool{}
		}
		count[c.Worker]++
		of[c.Worker][c.ID] = true
	}
	return count, of, nil
}

// busiest is the worker with most calls, and which they are.
func (p *proof) busiest(ctx context.Context) (worker string, on map[string]bool, err error) {
	count, of, err := p.hosts(ctx)
	if err != nil {
		return "", nil, err
	}
	for w, n := range count {
		if n > count[worker] || n == count[worker] && w < worker {
			worker = w
		}
	}
	if worker == "" {
		return "", nil, fmt.Errorf("no worker carries a call")
	}
	return worker, of[worker], nil
}

// gaps is the longest silence of each far end since it was asked last.
func gaps(legs []*endpoint.Call) []time.Duration {
	all := make([]time.Duration, len(legs))
	for i, l := range legs {
		all[i] = l.Gap()
	}
	return all
}
