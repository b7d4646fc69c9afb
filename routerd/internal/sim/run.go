package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// Outcome is what one seed came to.
type Outcome struct {
	Seed    uint64
	Profile string
	Digest  uint64 // of the trace
	Lines   int    // of the trace
	Entries int    // committed
	Calls   int    // taken
	Refused int
	Offers  int
	Moved   int // takeovers
	Hashed  int
	Checked int
	Rebased int            // leaders whose idea of cluster time hung on wall clocks, see history.pace
	Causes  map[string]int // how calls ended
	Failure *Failure       // nil: every promise held
}

// Run runs one seed. Every line of its trace goes to out, if that is not nil.
func Run(seed uint64, out io.Writer) (o Outcome) {
	w := newWorld(seed)
	w.trace.out = out
	w.plan = newPlan(w)
	defer func() {
		v := recover()
		h := w.judge.history
		o = Outcome{
			Seed: seed, Profile: w.plan.profile.name, Digest: w.trace.sum, Lines: w.trace.n, Entries: len(w.judge.log), Calls: len(h.calls),
			Refused: h.refused, Offers: h.offers, Moved: h.moved, Hashed: w.judge.hashed, Checked: w.judge.checks, Rebased: h.rebased, Causes: h.causes,
		}
		if v != nil {
			o.Failure = w.failure(v)
		}
		w.end()
	}()
	w.build()
	until := drainedBy
	if len(w.plan.config.Outbound.Trunks) > 0 {
		until += callbackExpires
	}
	for w.step(until) {
	}
	w.judge.drained()
	return o
}

func newWorld(seed uint64) *World {
	w := &World{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x7472756e6b)), fars: map[string]*farEnd{}, customers: map[string]*customer{}, called: map[string]*dialog{}}
	w.net = newNetwork(w)
	w.judge = newJudge(w)
	return w
}

func (w *World) failure(v any) *Failure {
	f := &Failure{Seed: w.seed, At: w.now, Trace: w.trace.last()}
	if b, ok := v.(broken); ok {
		f.Promise, f.Detail = b.promise, b.detail
		return f
	}
	f.Promise, f.Detail = PromiseCrash, fmt.Sprintf("%v\n%s", v, debug.Stack())
	return f
}

// end unwinds what tasks are left.
func (w *World) end() {
	for _, r := range w.routers {
		r.up = false
		for _, t := range r.tasks {
			if !t.over {
				t.over = true
				t.stop()
			}
		}
	}
}

// build makes the site and schedules what will happen.
func (w *World) build() {
	w.site()
	for i := range w.plan.config.Agents {
		phones := 1
		if w.chance(300) {
			phones = 2
		}
		a := newAgent(w, i, phones)
		w.agents = append(w.agents, a)
		w.after(shiftBegins+w.between(0, time.Second), a.beginShift)
	}
	for i := range w.plan.calls {
		at := w.between(callsBegin, callsEnd)
		if w.chance(300) {
			at = (at / (10 * time.Second)) * 10 * time.Second // bursts
			at = max(at, callsBegin) + w.between(0, 500*time.Millisecond)
		}
		c := newCaller(w, i, pick(w, w.plan.config.Numbers).Number, string(pick(w, w.plan.config.Trunks).ID))
		w.callers = append(w.callers, c)
		patience := w.between(2*time.Second, 40*time.Second)
		w.events.push(event{at: at, do: func() { c.dial(patience) }})
	}
	for i := range w.plan.calls + 10 {
		newCustomer(w, i)
	}
	w.orderTasks()
	w.breakThings()
	w.events.push(event{at: healAt, do: w.heal})
	w.events.push(event{at: closeAt, do: w.close})
}

// site boots routers, workers and edges.
func (w *World) site() {
	for i := range w.plan.nodes {
		w.routers = append(w.routers, newRouter(w, i))
	}
	for i := range w.plan.workers {
		w.workers = append(w.workers, newWorker(w, i))
	}
	for i := range 2 {
		w.edges = append(w.edges, newEdge(w, i))
	}
	for _, r := range w.routers {
		r.boot()
	}
	w.after(500*time.Millisecond, w.tendWorkers)
}

func (a *seatedAgent) beginShift() {
	for _, p := range a.phones {
		p.register(a.w.between(15*time.Second, 25*time.Second))
	}
	a.w.after(a.w.between(200*time.Millisecond, time.Second), func() { a.setStatus(acd.Available) })
	a.idleAround()
}

// idleAround lets the agent take breaks.
func (a *seatedAgent) idleAround() {
	a.w.after(a.w.between(8*time.Second, 40*time.Second), func() {
		if a.w.now > closeAt {
			return
		}
		a.setStatus(pick(a.w, []acd.AgentStatus{acd.OnBreak, acd.Training, acd.LoggedOut}))
		a.w.after(a.w.between(time.Second, 5*time.Second), func() { a.setStatus(acd.Available) })
		a.idleAround()
	})
}

// close ends the day: callers who still wait or talk hang up.
func (w *World) close() {
	w.note("--", "close", "", "", 0)
	w.judge.healthy()
	for _, c := range w.callers {
		if c.live() {
			c.hangUp()
		}
	}
	for i := range w.plan.calls + 10 {
		k := w.customers[customerNumber(i)]
		for _, id := range append([]string(nil), k.far.order...) {
			if d := k.far.dialogs[id]; d != nil && d.leg.State() != sip.Pending {
				k.hangUp(d)
			}
		}
	}
}
