package sim

import (
	"time"

	"trunkline/routerd/acd"
)

// gossip is what one router believes of who is there. A member that can't be
// reached in either direction, by any third, is gone after a time; and now and
// then one is believed gone who is not.
type gossip struct {
	seen    map[string]time.Duration // when the member was last reached
	ever    map[string]bool          // node.everSeen
	wrong   map[string]time.Duration // believed gone until then, wrongly
	patient map[string]time.Duration // how long until a member counts as gone
	shown   map[string]bool          // what it came to at the last look
	began   time.Duration
	looked  time.Duration
}

const newcomerGrace = 5 * time.Second

func newGossip(r *router) gossip {
	g := gossip{
		seen: map[string]time.Duration{}, ever: map[string]bool{}, wrong: map[string]time.Duration{},
		patient: map[string]time.Duration{}, shown: map[string]bool{}, began: r.w.now,
	}
	for _, name := range r.w.members() {
		g.patient[name] = r.w.between(600*time.Millisecond, 1100*time.Millisecond)
	}
	return g
}

// members are the names of all routers and workers, in order.
func (w *World) members() []string {
	var out []string
	for _, r := range w.routers {
		out = append(out, r.name)
	}
	for _, m := range w.workers {
		out = append(out, m.name)
	}
	return out
}

// look probes the members every 100 ms.
func (g *gossip) look(r *router) {
	asleep := r.w.now - g.looked - 100*time.Millisecond
	g.looked = r.w.now
	for _, name := range r.w.members() {
		if r.w.now < g.wrong[name] {
			g.shown[name] = false
			continue
		}
		at, ok := g.seen[name]
		switch {
		case r.w.net.reaches(r.name, name):
			g.seen[name], ok = r.w.now, true
		case ok && asleep > 0:
			g.seen[name] = at + asleep // this node slept, not the member
		}
		g.shown[name] = ok && r.w.now-g.seen[name] < g.patient[name]
	}
	r.after(100*time.Millisecond, func() { g.look(r) })
}

// has tells whether gossip shows the member.
func (g *gossip) has(name string) bool { return g.shown[name] }

// reconcile is node.reconcile: the leader makes facts of what gossip sees.
func (r *router) reconcile(t *task) {
	for t.sleep(100 * time.Millisecond) {
		if !r.x.lead.self {
			continue
		}
		for _, name := range r.w.members() {
			if r.gossip.has(name) {
				r.gossip.ever[name] = true
			}
		}
		r.reconcileRouters(t)
		r.reconcileWorkers(t)
	}
}

func (r *router) absent(name string) bool {
	if r.gossip.has(name) {
		return false
	}
	return r.gossip.ever[name] || r.w.now-r.gossip.began > newcomerGrace
}

func (r *router) reconcileRouters(t *task) {
	var dead []acd.Owner
	alive := 0
	for _, n := range r.machine.Nodes() {
		if !n.Alive {
			continue
		}
		alive++
		if n.ID != r.node && r.absent(string(n.ID)) {
			dead = append(dead, acd.Owner{Node: n.ID, Incarnation: n.Incarnation})
		}
	}
	if len(dead)*2 > alive {
		return
	}
	for _, o := range dead {
		if !t.alive() {
			return
		}
		r.w.note(r.name, "buries", string(o.Node), "", o.Incarnation)
		r.propose(t, 5*time.Second, acd.NodeDied{Owner: o})
	}
}

func (r *router) reconcileWorkers(t *task) {
	known := map[acd.WorkerID]acd.Worker{}
	for _, w := range r.machine.Workers() {
		known[w.ID] = w
	}
	for _, m := range r.w.workers {
		if !t.alive() {
			return
		}
		if !r.gossip.has(m.name) {
			continue
		}
		if w, ok := known[m.id]; ok && m.incarnation <= w.Incarnation {
			continue
		}
		r.propose(t, 5*time.Second, acd.WorkerStarted{Worker: m.id, Incarnation: m.incarnation, Control: m.name, Replication: m.name, Addresses: m.addresses})
	}
	var lost []acd.Worker
	alive := 0
	for _, m := range r.w.workers {
		if w, ok := known[m.id]; ok && w.Alive {
			alive++
			if r.absent(m.name) {
				lost = append(lost, w)
			}
		}
	}
	if alive > 1 && len(lost)*2 > alive {
		return
	}
	for _, w := range lost {
		r.workerDied(w.ID, w.Incarnation)
	}
}

// workerDied is node.workerDied: told once for each life.
func (r *router) workerDied(id acd.WorkerID, incarnation uint64) {
	if !r.up || r.reported[id] == incarnation {
		return
	}
	r.reported[id] = incarnation
	r.w.note(r.name, "buries", string(id), "", incarnation)
	r.spawn(func(t *task) {
		r.propose(t, 5*time.Second, acd.WorkerDied{Worker: id, Incarnation: incarnation})
	})
}

// leads wakes the tick task of a new leader.
func (r *router) leads() {
	if r.ticking != nil {
		r.ticking()
	}
}

// tick is node.tick: the leader lets due timers fire.
func (r *router) tick(t *task) {
	for {
		wait := 50 * time.Millisecond
		if r.x.lead.self {
			if due, some := r.machine.NextDeadline(); some {
				wait = max(due.Sub(r.machineTime()), 0)
				if wait == 0 {
					r.propose(t, 5*time.Second, acd.Ticked{})
					wait = 2 * time.Millisecond
				}
			}
		}
		_, alive := t.wait(max(min(wait, 50*time.Millisecond), 1), func(wake func()) { r.ticking = wake })
		r.ticking = nil
		if !alive {
			return
		}
	}
}
