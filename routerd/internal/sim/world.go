package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// World is one site under one seed.
type World struct {
	seed   uint64
	rng    *rand.Rand
	now    time.Duration
	events events
	trace  trace
	plan   plan
	judge  *judge
	net    *network

	routers   []*router
	edges     []*edge
	callers   []*caller
	agents    []*seatedAgent
	workers   []*worker
	fars      map[string]*farEnd
	customers map[string]*customer
	called    map[string]*dialog // dialogs the routers began, by Call-ID
	healed    bool
	favourite string                       // the router that edges give new calls to; "": any
	atPoint   func(a *actor, point string) // see actor.passes; nil: nobody looks
}

// Failure is a broken promise.
type Failure struct {
	Seed    uint64
	Promise string // one of Promises
	Detail  string
	At      time.Duration
	Trace   []string // the last events
}

func (f *Failure) Error() string {
	return fmt.Sprintf("seed %d at %v: %s: %s", f.Seed, f.At, f.Promise, f.Detail)
}

// broken ends a run: it is raised by whoever sees a promise broken.
type broken struct{ promise, detail string }

// fail reports a broken promise and ends the run.
func (w *World) fail(promise, format string, args ...any) {
	panic(broken{promise, fmt.Sprintf(format, args...)})
}

// after does f in d, whatever happens to hosts.
func (w *World) after(d time.Duration, f func()) {
	w.events.push(event{at: w.now + max(d, 0), do: f})
}

// step does the next event; false if there is none before until.
func (w *World) step(until time.Duration) bool {
	if len(w.events.items) == 0 || w.events.items[0].at > until {
		w.now = until
		return false
	}
	ev, _ := w.events.pop()
	w.now = ev.at
	if h := ev.host; h != nil {
		switch {
		case ev.life != h.life || !h.up:
			return true
		case h.paused:
			h.backlog = append(h.backlog, ev)
			return true
		}
	}
	ev.do()
	return true
}

// chance is true in p of 1000 cases.
func (w *World) chance(p int) bool { return w.rng.IntN(1000) < p }

// between is a random duration of [lo, hi).
func (w *World) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

func pick[T any](w *World, from []T) T { return from[w.rng.IntN(len(from))] }
