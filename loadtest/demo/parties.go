package demo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/softphone"
	"trunkline/routerd/routeapi"
)

// operator is a desk with our own far end as its phone.
type operator struct {
	desk  desk
	phone *endpoint.Agent

	mu    sync.Mutex
	calls []*endpoint.Call
}

// of finds the operator's leg of a call.
func (o *operator) of(callID string) *endpoint.Call {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.calls {
		if r := c.Result(); r.CallID == callID && !r.Answered.IsZero() {
			return c
		}
	}
	return nil
}

func (o *operator) close(ctx context.Context) {
	_ = o.phone.Unregister(ctx) // the tier is going down anyway
	o.phone.Close()
}

// call is one of the ten.
type call struct {
	n     int
	order order
	far   *endpoint.Call
	fault string // what was done to the tier during it

	operator string         // who talks to it
	leg      *endpoint.Call // the operator's side; nil for the softphone

	offered routeapi.Fact // first offer.made

	result, legResult endpoint.CallResult // final
}

func (c *call) id() string { return c.far.Result().CallID }

// softphone says that the operator has the real softphone.
func (c *call) softphone() bool { return c.operator == softphoneUser }

func (s *show) addr(name string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(s.lab.Addr(name)), port)
}

// register brings callers and operators up, and the operators' phones through
// both edges into the tier's registrar.
func (s *show) register(ctx context.Context) error {
	for i, sbc := range sbcs {
		t := []endpoint.Transport{endpoint.UDP, endpoint.TCP}[i]
		c, err := endpoint.NewCaller(ctx, endpoint.CallerConfig{Local: callerAddr(i), SBC: s.addr(sbc, lab.PortSIP), Transport: t})
		if err != nil {
			return err
		}
		s.callers[sbc] = c
	}
	// A phone checks the edge's certificate and has none of its own.
	conf, err := s.lab.PKI().Client("")
	if err != nil {
		return fmt.Errorf("read the edges' authority: %w", err)
	}
	for i, d := range desks {
		o := &operator{desk: d}
		port := uint16(lab.PortAgents)
		tlsConf := conf.Clone()
		if d.transport == endpoint.TLS {
			port = lab.PortAgentsTLS
			tlsConf.ServerName = d.edge + ".edge." + lab.ClusterHost
		}
		o.phone, err = endpoint.NewAgent(ctx, endpoint.AgentConfig{
			User: d.user, Password: password, Domain: lab.ClusterHost,
			Local: deskAddr(i), Edge: s.addr(d.edge, port), Transport: d.transport, TLS: tlsConf,
			Algorithm: d.algorithm, Expires: time.Minute, Ring: 300 * time.Millisecond,
			Suites: []endpoint.Suite{d.suite}, Tone: d.tone, Source: uint16(100 + i), Hear: allTones(), MuxRTCP: d.mux,
			OnCall: func(c *endpoint.Call) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.calls = append(o.calls, c)
			},
		})
		if err != nil {
			return err
		}
		s.operators = append(s.operators, o)
		if err := o.phone.Register(ctx); err != nil {
			return err
		}
	}
	if err := s.startSoftphone(ctx); err != nil {
		return err
	}
	s.say("%d operators registered through both edges, one of them with baresip", len(desks)+1)
	return nil
}

func (s *show) startSoftphone(ctx context.Context) error {
	dir := filepath.Join(s.lab.Dir(), "run", "baresip")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make baresip's folder: %w", err)
	}
	out, err := os.Create(filepath.Join(s.lab.Dir(), "log", "baresip.log"))
	if err != nil {
		return fmt.Errorf("open baresip's log: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s.phone, err = softphone.Start(ctx, softphone.Config{
		Dir: dir, User: softphoneUser, Password: password, Domain: lab.ClusterHost, Local: softphoneAddr,
		Edge: s.addr(lab.Edge2, lab.PortAgents), Transport: "tcp", Tone: softphoneTone,
		Command: s.lab.Toolchain().Command, Log: out,
	})
	if err != nil {
		return err
	}
	return s.phone.AwaitRegistered(ctx)
}

// open makes every operator available.
func (s *show) open(ctx context.Context) error {
	for _, o := range s.operators {
		if err := s.tier.SetStatus(ctx, o.desk.user, "available"); err != nil {
			return err
		}
	}
	return s.tier.SetStatus(ctx, softphoneUser, "available")
}

// place sends the next call of the plan.
func (s *show) place() (*call, error) {
	n := len(s.calls) + 1
	o := orders()[n-1]
	codecs := []endpoint.Codec{o.codec}
	if o.codec == endpoint.Opus {
		codecs = append(codecs, endpoint.PCMA) // Opus is preferred (T3), not alone
	}
	far, err := s.callers[o.sbc].Call(endpoint.CallParams{
		From: callerNumber(n), To: lab.SalesNumber, Codecs: codecs, Suites: []endpoint.Suite{o.suite},
		Tone: callerTone(n), Source: uint16(n), Hear: allTones(), MuxRTCP: o.mux,
	})
	if err != nil {
		return nil, err
	}
	c := &call{n: n, order: o, far: far}
	s.calls = append(s.calls, c)
	return c, nil
}

// state is what the tier says of a call now; "" when it is not open.
func (s *show) state(c *call) string {
	open, _ := s.log.Open()
	for _, o := range open {
		if o.ID == c.id() {
			return o.State
		}
	}
	return ""
}

// talking finds the operator's side of a call that the tier says is talking,
// and whether both far ends hear each other.
func (s *show) talking(c *call) bool {
	if s.state(c) != "talking" {
		return false
	}
	seen, _ := s.log.Call(c.id())
	c.operator = seen.Last.Agent
	if c.softphone() {
		c.far.BeginTalk()
		return true
	}
	for _, o := range s.operators {
		if o.desk.user == c.operator {
			c.leg = o.of(c.id())
		}
	}
	return c.leg != nil && c.far.Result().Media.Marked > 0 && c.leg.Result().Media.Marked > 0
}

func all(calls []*call, cond func(*call) bool) bool {
	ok := true
	for _, c := range calls {
		ok = cond(c) && ok
	}
	return ok
}
