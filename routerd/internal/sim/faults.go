package sim

import (
	"time"

	"trunkline/routerd/acd"
)

// profile is which faults a run has and how often.
type profile struct {
	name   string
	faults []fault
	every  [2]time.Duration // from one to the next
	most   int
}

// fault breaks something and mends it later by itself.
type fault struct {
	name string
	do   func(w *World)
}

var (
	killOne     = fault{"kill", (*World).killRouter}
	powerLoss   = fault{"power", (*World).losePower}
	pauseOne    = fault{"pause", (*World).pauseRouter}
	isolate     = fault{"isolate", (*World).isolateRouter}
	oneWay      = fault{"one-way", (*World).cutOneWay}
	flakyNet    = fault{"flaky", (*World).spoilNetwork}
	slowDisk    = fault{"slow-disk", (*World).slowDisk}
	fullDisk    = fault{"full-disk", (*World).fillDisk}
	jumpClock   = fault{"clock", (*World).jumpClock}
	suspectOne  = fault{"suspect", (*World).suspect}
	drainOne    = fault{"drain", (*World).drainRouter}
	killWorker  = fault{"worker", (*World).killWorker}
	killEdge    = fault{"edge", (*World).killEdge}
	breakStream = fault{"stream", (*World).breakStream}
	cutEdge     = fault{"edge-cut", (*World).cutEdge}
	cutWorkers  = fault{"media-cut", (*World).cutWorkers}
	reconfigure = fault{"config", (*World).reconfigure}
)

func pickProfile(w *World) profile {
	some := [2]time.Duration{3 * time.Second, 9 * time.Second}
	often := [2]time.Duration{300 * time.Millisecond, 4 * time.Second}
	all := []profile{
		{"calm", nil, some, 0},
		{"kill", []fault{killOne}, some, 3},
		{"kill", []fault{killOne, powerLoss}, some, 5},
		{"pause", []fault{pauseOne}, some, 5},
		{"partition", []fault{isolate, oneWay, flakyNet}, some, 6},
		{"disk", []fault{slowDisk, fullDisk, killOne}, some, 6},
		{"clock", []fault{jumpClock, killOne}, some, 8},
		{"doubt", []fault{suspectOne, drainOne, pauseOne}, some, 6},
		{"edge", []fault{killEdge, breakStream, cutEdge, killOne}, some, 6},
		{"media", []fault{killWorker, killOne, cutWorkers}, some, 6},
		{"config", []fault{reconfigure, killOne, pauseOne}, some, 8},
		{"chaos", []fault{killOne, pauseOne, isolate, oneWay, flakyNet, slowDisk, fullDisk, jumpClock, suspectOne, drainOne, killWorker, killEdge, breakStream, cutEdge, cutWorkers, reconfigure}, often, 40},
		{"chaos", []fault{killOne, pauseOne, isolate, flakyNet, jumpClock, suspectOne, breakStream}, often, 40},
		{"chaos", []fault{killOne, pauseOne, powerLoss, oneWay, slowDisk}, often, 40},
	}
	return all[w.rng.IntN(len(all))]
}

// breakThings schedules the faults of the profile.
func (w *World) breakThings() {
	p := w.plan.profile
	at := faultsBegin
	for range p.most {
		at += w.between(p.every[0], p.every[1])
		if at >= healAt-2*time.Second {
			return
		}
		f := pick(w, p.faults)
		w.events.push(event{at: at, do: func() {
			if !w.healed {
				w.note("--", f.name, "", "", 0)
				f.do(w)
			}
		}})
	}
}

// mend undoes a fault later, unless everything was healed meanwhile.
func (w *World) mend(lo, hi time.Duration, f func()) {
	w.after(w.between(lo, hi), func() {
		if !w.healed {
			f()
		}
	})
}

func (w *World) killRouter() {
	r := pick(w, w.routers)
	r.crash("killed")
	w.mend(300*time.Millisecond, 6*time.Second, r.boot)
}

func (w *World) losePower() {
	for _, r := range w.routers {
		r.crash("power")
		w.mend(300*time.Millisecond, 4*time.Second, r.boot)
	}
}

func (w *World) pauseRouter() {
	r := pick(w, w.routers)
	w.note(r.name, "pauses", "", "", 0)
	r.pause()
	w.mend(50*time.Millisecond, 8*time.Second, r.wake)
}

func (r *router) wake() {
	if r.paused {
		r.w.note(r.name, "wakes", "", "", uint64(len(r.backlog)))
		r.x.unsure = true
		r.resume()
	}
}

// isolateRouter parts a router from the others, and perhaps from edges and
// workers.
func (w *World) isolateRouter() {
	r := pick(w, w.routers)
	var away []string
	for _, o := range w.routers {
		if o != r {
			away = append(away, o.name)
		}
	}
	if w.chance(600) {
		for _, e := range w.edges {
			away = append(away, e.name)
		}
		for _, m := range w.workers {
			away = append(away, m.name)
		}
	}
	w.note(r.name, "isolated", "", "", uint64(len(away)))
	for _, o := range away {
		w.net.part(r.name, o)
		w.net.part(o, r.name)
	}
	w.mend(200*time.Millisecond, 8*time.Second, func() {
		w.note(r.name, "joined", "", "", 0)
		for _, o := range away {
			w.net.join(r.name, o)
			w.net.join(o, r.name)
		}
	})
}

func (w *World) cutOneWay() {
	a, b := pick(w, w.routers), pick(w, w.routers)
	if a == b {
		return
	}
	w.note(a.name, "unheard-by", b.name, "", 0)
	w.net.part(a.name, b.name)
	w.mend(200*time.Millisecond, 8*time.Second, func() { w.net.join(a.name, b.name) })
}

func (w *World) spoilNetwork() {
	w.net.loss, w.net.repeat = w.rng.IntN(250), w.rng.IntN(200)
	w.net.slowest = pick(w, []time.Duration{3 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond})
	w.mend(time.Second, 6*time.Second, w.calmNetwork)
}

func (w *World) calmNetwork() { w.net.loss, w.net.repeat, w.net.slowest = 0, 0, 3*time.Millisecond }

func (w *World) slowDisk() {
	r := pick(w, w.routers)
	r.disk.slow = pick(w, []time.Duration{20 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond})
	w.note(r.name, "slow-disk", r.disk.slow.String(), "", 0)
	w.mend(time.Second, 5*time.Second, func() { r.disk.slow = 0 })
}

func (w *World) fillDisk() {
	r := pick(w, w.routers)
	w.note(r.name, "full-disk", "", "", 0)
	r.disk.full = true
	w.mend(500*time.Millisecond, 5*time.Second, func() { r.disk.full = false })
}

func (w *World) jumpClock() {
	r := pick(w, w.routers)
	by := pick(w, []time.Duration{time.Hour, -time.Hour, 10 * time.Minute, -24 * time.Hour, 3 * time.Second})
	w.note(r.name, "clock-jumps", by.String(), "", 0)
	r.clocks.wrong += int64(by)
}

// suspect lets one router believe another gone.
func (w *World) suspect() {
	r, names := pick(w, w.routers), w.members()
	name := pick(w, names)
	if name == r.name || !r.up {
		return
	}
	w.note(r.name, "doubts", name, "", 0)
	r.gossip.wrong[name] = w.now + w.between(time.Second, 3*time.Second)
}

func (w *World) drainRouter() {
	r := pick(w, w.routers)
	if !r.up || r.paused || r.incarnation == 0 || r.draining {
		return
	}
	r.spawn(r.drain)
}

func (w *World) killWorker() {
	m := pick(w, w.workers)
	m.crash()
	w.mend(300*time.Millisecond, 5*time.Second, m.boot)
}

// killEdge ends an edge: connections and transactions are lost.
func (w *World) killEdge() {
	e := pick(w, w.edges)
	if !e.up {
		return
	}
	e.crash()
	for _, a := range w.agents {
		for _, p := range a.phones {
			p.far.flows[e.name] = false
		}
	}
	w.mend(300*time.Millisecond, 3*time.Second, func() { w.bootEdge(e) })
}

func (w *World) bootEdge(e *edge) {
	if e.up {
		return
	}
	w.note(e.name, "boots", "", "", 0)
	e.boot()
	for _, a := range w.agents {
		for _, p := range a.phones {
			for i, mine := range p.far.edges {
				if mine == e {
					p.far.after(w.between(50*time.Millisecond, time.Second), func() { p.registerBy(e, i+1) })
				}
			}
		}
	}
}

func (w *World) breakStream() {
	r, e := pick(w, w.routers), pick(w, w.edges)
	w.note(r.name, "stream-breaks", e.name, "", 0)
	w.net.reset(r.name, e.name)
}

func (w *World) cutEdge() {
	r, e := pick(w, w.routers), pick(w, w.edges)
	w.note(r.name, "cut-from", e.name, "", 0)
	w.net.part(r.name, e.name)
	w.net.part(e.name, r.name)
	w.mend(200*time.Millisecond, 6*time.Second, func() {
		w.net.join(r.name, e.name)
		w.net.join(e.name, r.name)
	})
}

// cutWorkers parts a router from the workers' network.
func (w *World) cutWorkers() {
	r := pick(w, w.routers)
	w.note(r.name, "cut-from", "workers", "", 0)
	for _, m := range w.workers {
		w.net.part(r.name, m.name)
		w.net.part(m.name, r.name)
	}
	w.mend(200*time.Millisecond, 4*time.Second, func() {
		for _, m := range w.workers {
			w.net.join(r.name, m.name)
			w.net.join(m.name, r.name)
		}
	})
}

// reconfigure applies another tree: an agent less, or all of them again, and
// other times of a queue.
func (w *World) reconfigure() {
	c := w.plan.config
	if w.chance(600) {
		gone := w.rng.IntN(len(c.Agents))
		c.Agents = append(append([]acd.Agent(nil), c.Agents[:gone]...), c.Agents[gone+1:]...)
		w.note("--", "deletes", string(w.plan.config.Agents[gone].ID), "", 0)
	}
	c.Queues = append([]acd.Queue(nil), c.Queues...)
	q := pick(w, []int{0, len(c.Queues) - 1})
	c.Queues[q].RingTimeout = w.between(3*time.Second, 7*time.Second).Truncate(100 * time.Millisecond)
	c.Queues[q].MaxLength = pick(w, []int{0, 12})
	w.ask(pick(w, w.edges), func(r *router, t *task) bool {
		_, _, ok := r.propose(t, 5*time.Second, acd.ConfigApplied{Config: c})
		return ok
	})
}

// heal ends all faults.
func (w *World) heal() {
	w.healed = true
	w.note("--", "heal", "", "", 0)
	clear(w.net.cut)
	w.calmNetwork()
	for _, r := range w.routers {
		r.disk.slow, r.disk.full = 0, false
		clear(r.gossip.wrong)
		r.wake()
		r.boot()
	}
	for _, m := range w.workers {
		m.boot()
	}
	for _, e := range w.edges {
		w.bootEdge(e)
	}
}

// tendWorkers lets a worker that was wrongly declared dead begin a new life, as
// its supervisor does once it is told that its epoch is over.
func (w *World) tendWorkers() {
	var ahead *router
	for _, r := range w.routers {
		if r.up && !r.paused && (ahead == nil || r.applied > ahead.applied) {
			ahead = r
		}
	}
	if ahead != nil {
		for _, known := range ahead.machine.Workers() {
			if m := w.worker(known.ID); m.up && !known.Alive && known.Incarnation == m.incarnation {
				m.crash()
				m.boot()
			}
		}
	}
	w.after(500*time.Millisecond, w.tendWorkers)
}
