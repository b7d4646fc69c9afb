package endpoint

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// SwarmConfig is many phones that only signal: they register, answer, and are
// hung up on.
type SwarmConfig struct {
	Agents    []SwarmAgent
	Domain    string
	Locals    []netip.Addr     // source addresses, used in turn
	Edges     []netip.AddrPort // registrars' edges, used in turn
	Transport Transport        // UDP or TCP
	Flows     int              // sockets the phones share; 8 if 0
	Ring      time.Duration    // from INVITE to 200
	Talk      time.Duration    // from 200 to our BYE; 0: the other side hangs up
	// TalkOnlyTo limits Talk to callers whose number begins so.
	TalkOnlyTo string
	Expires    time.Duration
	MediaPort  uint16 // the port the SDP names, where nobody listens; 9 if 0
}

// SwarmAgent is one account.
type SwarmAgent struct{ User, Password string }

// SwarmCall is one call as a phone of the swarm saw it.
type SwarmCall struct {
	CallID   string // Trunkline's id
	Agent    string
	Invited  time.Time
	Answered time.Time
	Ended    time.Time
	Code     int
}

// Swarm is the phones in one process. They share few sockets, as phones
// behind one office address do.
type Swarm struct {
	stacks []*stack
	phones []*Agent

	mu    sync.Mutex
	calls []SwarmCall
	open  int
	peak  int
}

// NewSwarm opens the sockets. Nothing is registered yet.
func NewSwarm(ctx context.Context, cfg SwarmConfig) (*Swarm, error) {
	if cfg.Flows == 0 {
		cfg.Flows = 8
	}
	s := &Swarm{}
	for i := range min(cfg.Flows, len(cfg.Agents)) {
		local := netip.AddrPortFrom(cfg.Locals[i%len(cfg.Locals)], 0)
		st, err := newStack(ctx, cfg.Transport, local, cfg.Edges[i%len(cfg.Edges)], nil)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("open the swarm: %w", err)
		}
		s.stacks = append(s.stacks, st)
	}
	for i, a := range cfg.Agents {
		user := a.User
		s.phones = append(s.phones, newAgentOn(s.stacks[i%len(s.stacks)], AgentConfig{
			User: user, Password: a.Password, Domain: cfg.Domain, Edge: cfg.Edges[i%len(s.stacks)%len(cfg.Edges)],
			Transport: cfg.Transport, Ring: cfg.Ring, Expires: cfg.Expires, Silent: true, SilentPort: cfg.MediaPort,
			Talk: cfg.Talk, TalkOnlyTo: cfg.TalkOnlyTo,
			OnCall: func(*Call) { s.opened() },
			OnEnd:  func(c *Call) { s.ended(user, c.Result()) },
		}))
	}
	return s, nil
}

// Register registers every phone. The first of each socket goes alone: an
// edge trusts an address once a phone has registered from it, and takes a
// crowd of strangers for a flood.
func (s *Swarm) Register(ctx context.Context, atOnce int) error {
	for _, p := range s.phones[:len(s.stacks)] {
		if err := p.Register(ctx); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	slots := make(chan struct{}, max(1, atOnce))
	for _, p := range s.phones[len(s.stacks):] {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := p.Register(ctx); err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

func (s *Swarm) opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.peak = max(s.peak, s.open)
}

func (s *Swarm) ended(user string, r CallResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.calls = append(s.calls, SwarmCall{CallID: r.CallID, Agent: user, Invited: r.Invited, Answered: r.Answered, Ended: r.Ended, Code: r.Code})
}

// Calls is every call that is over.
func (s *Swarm) Calls() []SwarmCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Load is how many phones are in a call, and the most that ever were.
func (s *Swarm) Load() (open, peak int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.peak
}

// Close drops the sockets; bindings expire by themselves.
func (s *Swarm) Close() {
	for _, p := range s.phones {
		p.Close()
	}
	for _, st := range s.stacks {
		st.close()
	}
}
