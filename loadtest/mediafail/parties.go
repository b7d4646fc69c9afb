package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/watch"
	"trunkline/routerd/acd"
)

// workers are three, so that one that is broken leaves a host and a standby.
const workers = 3

// suites are those of the far ends in turn; an operator has another than the
// caller, so that nothing is forwarded as it came.
var suites = []endpoint.Suite{endpoint.AES128SHA80, endpoint.AES128GCM, endpoint.AES128SHA32, endpoint.AES256GCM}

// call is a caller and, if it talks, the operator.
type call struct {
	caller, operator *endpoint.Call
}

// legs are the far ends of a call.
func (c *call) legs() []*endpoint.Call {
	if c.operator == nil {
		return []*endpoint.Call{c.caller}
	}
	return []*endpoint.Call{c.caller, c.operator}
}

// desks are the operators' phones, and the callers.
type desks struct {
	callers []*endpoint.Caller
	phones  []*endpoint.Agent

	mu    sync.Mutex
	calls []*endpoint.Call // that rang at a phone
}

func (d *desks) close() {
	if d == nil {
		return
	}
	for _, c := range d.callers {
		c.Close()
	}
	for _, a := range d.phones {
		a.Close()
	}
}

// rang lists the phones' calls.
func (d *desks) rang() []*endpoint.Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*endpoint.Call(nil), d.calls...)
}

func operator(i int) string { return fmt.Sprintf("op%d", i) }

const password = "a phone's"

// start raises the tier.
func (p *proof) start(ctx context.Context, folder string) error {
	dir, err := filepath.Abs(filepath.Join(folder, target))
	if err != nil {
		return err
	}
	o := lab.Options{Dir: dir, Workers: workers, Channels: p.calls + p.waiting, Progress: p, Tune: func(c *acd.Config) {
		c.Numbers[0].Greeting = ""
		c.Queues[0].MaxWait = time.Hour
	}}
	for i := range p.calls {
		o.Agents = append(o.Agents, lab.Agent{ID: operator(i), Name: operator(i), Password: password})
	}
	p.say("starting two SBCs, two edges, three routers and %d media workers", workers)
	if p.lab, err = lab.Start(ctx, o); err != nil {
		return fmt.Errorf("start the tier: %w", err)
	}
	p.desks = &desks{}
	operator, err := p.lab.PKI().Client(lab.CertOperator)
	if err != nil {
		return errors.Join(fmt.Errorf("read the operator's certificate: %w", err), p.lab.Stop())
	}
	var routers []string
	for _, r := range []string{"r1", "r2", "r3"} {
		routers = append(routers, p.lab.API(r))
	}
	p.tier = watch.NewTier(routers, operator)
	return nil
}

func (p *proof) addr(name string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(p.lab.Addr(name)), port)
}

// places is how many addresses the phones are at. An edge trusts one once a
// phone has registered from it, and takes a crowd of strangers for a flood.
const places = 16

// register brings the far ends up.
func (p *proof) register(ctx context.Context) error {
	for i, sbc := range []string{lab.SBCA, lab.SBCB} {
		c, err := endpoint.NewCaller(ctx, endpoint.CallerConfig{
			Local: netip.AddrFrom4([4]byte{127, 10, 6, byte(i + 1)}), SBC: p.addr(sbc, lab.PortSIP), Transport: endpoint.TCP,
		})
		if err != nil {
			return err
		}
		p.desks.callers = append(p.desks.callers, c)
	}
	for i := range p.calls {
		a, err := endpoint.NewAgent(ctx, endpoint.AgentConfig{
			User: operator(i), Password: password, Domain: lab.ClusterHost, Transport: endpoint.UDP,
			Local: netip.AddrFrom4([4]byte{127, 10, 5, byte(1 + i%places)}), Edge: p.addr([]string{lab.Edge1, lab.Edge2}[i%2], lab.PortAgents),
			Suites: suites[(i+1)%len(suites) : (i+1)%len(suites)+1], Codecs: []endpoint.Codec{endpoint.PCMA},
			Tone: 1300, Source: uint16(1000 + i), Ring: 200 * time.Millisecond, MuxRTCP: i%2 == 0, Expires: 30 * time.Minute,
			OnCall: func(c *endpoint.Call) {
				p.desks.mu.Lock()
				defer p.desks.mu.Unlock()
				p.desks.calls = append(p.desks.calls, c)
			},
		})
		if err != nil {
			return err
		}
		p.desks.phones = append(p.desks.phones, a)
	}
	p.say("registering %d phones", p.calls)
	faults := make([]error, p.calls)
	for i := range min(places, p.calls) {
		faults[i] = p.enrol(ctx, i)
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, places)
	for i := places; i < p.calls; i++ {
		slots <- struct{}{}
		all.Go(func() {
			faults[i] = p.enrol(ctx, i)
			<-slots
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

// enrol registers one phone. Where there is no leader for a moment it is refused,
// and comes again.
func (p *proof) enrol(ctx context.Context, i int) (err error) {
	for range 10 {
		if err = p.desks.phones[i].Register(ctx); err == nil {
			return nil
		}
		if pass(ctx, 500*time.Millisecond) != nil {
			break
		}
	}
	return fmt.Errorf("register %s: %w", operator(i), err)
}

// placeEvery paces new calls; placing bounds how long it may take until all are
// answered. One that is refused is placed anew: not that is measured.
const (
	placeEvery = 60 * time.Millisecond
	placing    = 90 * time.Second
)

// place has every operator talk, and the callers beyond wait.
func (p *proof) place(ctx context.Context) error {
	p.say("placing %d calls", p.calls+p.waiting)
	ctx, cancel := context.WithTimeout(ctx, placing)
	defer cancel()
	for p.match() < p.calls {
		if err := p.placeUpTo(ctx, p.calls); err != nil {
			return fmt.Errorf("%d of %d operators talk: %w", p.match(), p.calls, err)
		}
	}
	heard := func() bool {
		for _, c := range p.placed {
			if c.caller.Result().Media.Received == 0 {
				return false
			}
		}
		return len(p.placed) == p.calls+p.waiting
	}
	for !heard() { // those who are to wait come when nobody is free
		if err := p.placeUpTo(ctx, p.calls+p.waiting); err != nil {
			return fmt.Errorf("some callers hear nothing: %w", err)
		}
	}
	return nil
}

// placeUpTo places one call, unless there are so many, and forgets those refused.
func (p *proof) placeUpTo(ctx context.Context, most int) error {
	p.placed = slices.DeleteFunc(p.placed, func(c *call) bool {
		code := c.caller.Result().Code
		if code >= 300 {
			p.say("a call was refused with %d", code)
		}
		return code >= 300
	})
	if len(p.placed) < most {
		i := p.made
		p.made++
		c, err := p.desks.callers[i%2].Call(endpoint.CallParams{
			From: fmt.Sprintf("+7495%07d", i), To: lab.SalesNumber, Codecs: []endpoint.Codec{endpoint.PCMA},
			Suites: suites[i%len(suites) : i%len(suites)+1], Tone: 800, Source: uint16(1 + i), MuxRTCP: i%3 == 0,
		})
		if err != nil {
			return err
		}
		p.placed = append(p.placed, &call{caller: c})
	}
	return pass(ctx, placeEvery)
}

// match finds the operator of each call, and returns how many have one.
func (p *proof) match() int {
	by := map[string]*endpoint.Call{}
	for _, leg := range p.desks.rang() {
		if r := leg.Result(); r.Code == 200 {
			by[r.CallID] = leg
		}
	}
	n := 0
	for _, c := range p.placed {
		if c.operator = by[c.caller.Result().CallID]; c.operator != nil {
			n++
		}
	}
	return n
}
