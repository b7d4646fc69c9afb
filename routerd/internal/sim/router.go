package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
	"trunkline/routerd/internal/sip"
)

// clusterHost is the host part of what the routers call themselves.
const clusterHost = "sim.trunkline"

// router is one routerd: its disk and clocks stay, the rest is of one life.
type router struct {
	host
	id     int
	node   acd.NodeID
	addr   string // SIP host:port
	clocks clocks
	disk   disk

	x        *raft
	machine  *acd.Machine
	session  string
	lives    int
	next     uint64 // of the proposer, see node.proposer
	open     map[uint64]bool
	floor    uint64
	awaited  map[uint64]func(forwardAnswer) // proposals sent to a leader
	requests uint64

	incarnation  uint64 // 0 until this life's NodeStarted is applied
	draining     bool
	applied      uint64
	appliedStamp acd.Time
	appliedAt    int64 // of the monotonic clock
	appliedMoved []func()
	ticking      func() // wakes the tick task

	actors   map[acd.CallID]*actor
	reported map[acd.WorkerID]uint64
	gossip   gossip
}

func newRouter(w *World, id int) *router {
	r := &router{id: id, node: acd.NodeID("r" + strconv.Itoa(id+1)), addr: fmt.Sprintf("10.0.0.%d:5062", id+1)}
	r.host = host{w: w, name: string(r.node)}
	r.clocks = clocks{w: w, drift: w.rng.Int64N(201) - 100}
	r.disk = disk{r: r}
	r.disk.platter.voted = -1
	return r
}

// boot begins a life with what is on the disk.
func (r *router) boot() {
	if r.up {
		return
	}
	r.start()
	r.lives++
	// A node is not started before its clock is right (After=time-sync.target):
	// it may lead before it hears another's stamp.
	r.clocks.wrong = r.w.rng.Int64N(int64(200*time.Millisecond)) - int64(100*time.Millisecond)
	r.session = r.name + "/" + strconv.Itoa(r.lives)
	r.next, r.floor, r.open = 1, 1, map[uint64]bool{}
	r.awaited, r.requests = map[uint64]func(forwardAnswer){}, 0
	r.incarnation, r.draining, r.ticking = 0, false, nil
	r.machine = acd.New()
	r.applied, r.appliedStamp, r.appliedAt, r.appliedMoved = 0, 0, 0, nil
	r.actors, r.reported = map[acd.CallID]*actor{}, map[acd.WorkerID]uint64{}
	r.gossip = newGossip(r)
	r.x = newRaft(r, &r.disk.platter)
	r.w.note(r.name, "boots", "", "", r.x.lastIndex())
	if s := r.x.snap; s != nil {
		r.restore(s)
	}
	r.x.armElection()
	r.spawn(r.begin)
	r.spawn(r.reconcile)
	r.spawn(r.tick)
	r.spawn(r.auditDialogs)
	r.gossip.look(r)
}

// crash is a machine that loses power, or a process that ends with what it was
// writing: connections break and what was under way on them is lost.
func (r *router) crash(why string) {
	if r.up {
		r.die(why)
		r.w.net.hostGone(r.name)
	}
}

// die is kill -9: the kernel still delivers what the process had written.
func (r *router) die(why string) {
	r.w.note(r.name, "dies", why, "", 0)
	r.stop()
	r.disk.crash()
}

// halt is node.halt: the process ends itself, the supervisor starts a new life.
func (r *router) halt(why string) {
	if !r.up {
		return
	}
	r.crash("halt: " + why)
	r.w.after(r.w.between(200*time.Millisecond, 2*time.Second), r.boot)
}

// hear takes a message of another router.
func (r *router) hear(m any) {
	switch m := m.(type) {
	case forwarded:
		r.forwarded(m)
	case forwardAnswer:
		if f := r.awaited[m.id]; f != nil && m.session == r.session {
			delete(r.awaited, m.id)
			f(m)
		}
	default:
		r.x.receive(m)
	}
}

// apply is fsm.Apply.
func (r *router) apply(index uint64, stamp int64, e *entry) []byte {
	cmd, err := acdwire.DecodeCommand(e.data)
	if err != nil {
		r.w.fail(PromiseReplica, "entry %d: %v", index, err)
	}
	cmd.Stamp = acd.Time(stamp)
	res, effects := r.machine.Apply(index, cmd)
	r.applied, r.appliedStamp, r.appliedAt = index, r.machine.Now(), r.clocks.mono()
	r.w.judge.applied(r, index, cmd, res, effects)
	r.watchSelf(cmd, res)
	if !r.up {
		return nil
	}
	r.spread(effects)
	moved := r.appliedMoved
	r.appliedMoved = nil
	for _, f := range moved {
		f()
	}
	if f := r.ticking; f != nil && r.x.lead.self {
		f()
	}
	if _, ok := r.x.asked[index]; !ok {
		return nil
	}
	reply, err := acdwire.EncodeResult(res)
	if err != nil {
		r.w.fail(PromiseReplica, "result of %d: %v", index, err)
	}
	return reply
}

func (r *router) watchSelf(cmd acd.Command, res acd.Result) {
	switch b := cmd.Body.(type) {
	case acd.NodeStarted:
		switch {
		case b.Node != r.node:
		case cmd.Session == r.session:
			r.incarnation = res.Incarnation
		case r.incarnation != 0:
			r.halt("another process runs as this router")
		}
	case acd.NodeDied:
		if r.incarnation != 0 && b.Owner == r.owner() && !r.draining {
			r.halt("declared dead")
		}
	}
}

// image is a snapshot's bytes.
func (r *router) image() []byte {
	var buf bytes.Buffer
	if err := acdwire.EncodeState(&buf, r.machine.Snapshot()); err != nil {
		r.w.fail(PromiseReplica, "snapshot: %v", err)
	}
	return buf.Bytes()
}

// restore is fsm.Restore.
func (r *router) restore(s *saved) {
	state, err := acdwire.DecodeState(bytes.NewReader(s.data))
	if err != nil {
		r.w.fail(PromiseReplica, "read snapshot %d: %v", s.index, err)
	}
	m, err := acd.Restore(state)
	if err != nil {
		r.w.fail(PromiseReplica, "restore snapshot %d: %v", s.index, err)
	}
	if r.incarnation != 0 {
		r.halt("fell behind the log")
		return
	}
	r.machine = m
	r.applied, r.appliedStamp, r.appliedAt = m.Index(), m.Now(), r.clocks.mono()
	r.w.judge.restored(r)
}

func (r *router) machineTime() acd.Time {
	if r.appliedStamp == 0 {
		return acd.Time(r.clocks.wall())
	}
	return r.appliedStamp.Add(time.Duration(r.clocks.mono() - r.appliedAt))
}

func (r *router) owner() acd.Owner { return acd.Owner{Node: r.node, Incarnation: r.incarnation} }

// waitApplied is node.waitApplied.
func (r *router) waitApplied(t *task, index uint64) bool {
	for r.applied < index {
		_, alive := t.wait(0, func(wake func()) { r.appliedMoved = append(r.appliedMoved, wake) })
		if !alive {
			return false
		}
	}
	return true
}

// ready is node.Ready.
func (r *router) ready() bool {
	if r.incarnation == 0 || r.draining || r.x.lead.id < 0 {
		return false
	}
	for _, w := range r.machine.Workers() {
		if w.Alive {
			return true
		}
	}
	return false
}

// begin is node.begin: this life is made known, then the first configuration.
func (r *router) begin(t *task) {
	_, index, ok := r.propose(t, 0, acd.NodeStarted{Node: r.node, SIP: r.addr, Peer: r.name})
	if !ok || !r.waitApplied(t, index) {
		return
	}
	r.propose(t, 0, acd.ConfigApplied{Config: r.w.plan.config, IfNone: true})
}

// drain is node.drain: a stop in good order, then a new life later.
func (r *router) drain(t *task) {
	r.draining = true
	r.w.note(r.name, "drains", "", "", 0)
	until := r.w.now + 5*time.Second
	for {
		left := 0
		for _, c := range r.machine.Calls() {
			if c.Owner == r.owner() {
				left++
			}
		}
		if left == 0 || r.w.now > until {
			break
		}
		if !t.sleep(20 * time.Millisecond) {
			return
		}
	}
	r.propose(t, 5*time.Second, acd.NodeDied{Owner: r.owner()})
	r.w.after(0, func() { r.crash("drained") })
	r.w.after(r.w.between(time.Second, 3*time.Second), r.boot)
}

// local is node.local.
func (r *router) local(call acd.CallID, tag string) sip.Local {
	l := sip.Local{
		Contact: fmt.Sprintf("sip:%s@%s;transport=tcp;n=%s", call, r.addr, r.node),
		SentBy:  r.addr, Network: "tcp", Tag: tag, Product: "Trunkline",
		Headers: []sip.Header{{Name: "X-Trunkline-Call", Value: string(call)}},
		// As short as it may be: a run is short.
		SessionExpires: 90 * time.Second, MinSE: 90 * time.Second,
	}
	for i := range r.w.edges {
		e := r.w.edges[(i+r.id)%len(r.w.edges)]
		l.Outbound = append(l.Outbound, sip.Hop{Network: "tcp", Addr: e.addr})
	}
	return l
}
