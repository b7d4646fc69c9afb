package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"trunkline/routerd/routeapi"
)

// Log keeps what was seen of every call while it was open.
type Log struct {
	tier *Tier

	mu    sync.Mutex
	calls map[string]*Seen
	open  []routeapi.Call
	at    time.Time // of the last reading
	stop  context.CancelFunc
	done  chan struct{}
}

// Seen is one call's readings.
type Seen struct {
	Last    routeapi.Call
	Nodes   []string // owners, in order, without repeats in a row
	Workers []string // who hosted its media
	States  []string
	Tickets []uint64 // distinct tickets, in order: one if it was never queued anew
}

// Follow reads the open calls every interval until Stop.
func Follow(tier *Tier, interval time.Duration) *Log {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Log{tier: tier, calls: map[string]*Seen{}, stop: cancel, done: make(chan struct{})}
	go l.run(ctx, interval)
	return l
}

// Stop ends the reading.
func (l *Log) Stop() {
	l.stop()
	<-l.done
}

func (l *Log) run(ctx context.Context, interval time.Duration) {
	defer close(l.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if calls, err := l.tier.Calls(ctx); err == nil {
			l.read(calls, time.Now())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Log) read(calls []routeapi.Call, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.at = calls, at
	for _, c := range calls {
		s := l.calls[c.ID]
		if s == nil {
			s = &Seen{}
			l.calls[c.ID] = s
		}
		s.Last = c
		s.Nodes = follow(s.Nodes, c.Node)
		s.Workers = follow(s.Workers, c.Worker)
		s.States = follow(s.States, c.State)
		if c.Ticket != 0 {
			s.Tickets = follow(s.Tickets, c.Ticket)
		}
	}
}

// follow appends v when it differs from the last and says something.
func follow[T comparable](list []T, v T) []T {
	var none T
	if v == none || len(list) > 0 && list[len(list)-1] == v {
		return list
	}
	return append(list, v)
}

// Call is what was seen of a call so far; ok is false for one never seen.
func (l *Log) Call(id string) (s Seen, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.calls[id]
	if p == nil {
		return Seen{}, false
	}
	s = *p
	s.Nodes, s.Workers = slices.Clone(s.Nodes), slices.Clone(s.Workers)
	s.States, s.Tickets = slices.Clone(s.States), slices.Clone(s.Tickets)
	return s, true
}

// FirstOwners counts the calls each router owned first.
func (l *Log) FirstOwners() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, s := range l.calls {
		if len(s.Nodes) > 0 {
			out[s.Nodes[0]]++
		}
	}
	return out
}

// Open is the latest reading and when it was made.
func (l *Log) Open() ([]routeapi.Call, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open), l.at
}
