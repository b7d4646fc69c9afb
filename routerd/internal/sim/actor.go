package sim

import (
	"slices"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// actor is node.actor: one call of this router, its legs, and what it does one
// after the other.
type actor struct {
	n    *router
	call acd.CallID
	t    *task
	box  []any
	wake func() // set while it waits for mail

	epoch           uint64
	legs            map[acd.LegID]*sip.Leg
	done            map[acd.EffectID]bool
	rings           map[acd.LegID]ring
	late            []*sip.Leg
	cancelled       map[acd.LegID]bool
	unusable        map[acd.LegID]fact
	released, stale bool
	proved          time.Duration // see node.actor; negative: never
	across          map[acd.LegID]heard
	unsaved         map[acd.LegID]acd.Time // see node.actor
	held            []heldRing
	playing         []acd.Playing
}

type arrival struct {
	msg  sip.Message
	flow sip.Flow
}

type newCall struct {
	invite *sip.Request
	flow   sip.Flow
}

type undelivered struct {
	leg    acd.LegID
	packet sip.Packet
}

// post is node.post.
func (r *router) post(call acd.CallID, msg any) {
	a := r.actors[call]
	if a == nil {
		a = &actor{n: r, call: call, proved: -time.Hour}
		r.actors[call] = a
		a.t = r.spawn(a.run)
	}
	a.put(msg)
}

func (a *actor) put(msg any) {
	a.box = append(a.box, msg)
	if a.wake != nil {
		a.wake()
	}
}

func (a *actor) run(t *task) {
	a.t = t
	a.takeUp()
	for t.alive() {
		for len(a.box) > 0 && t.alive() {
			msg := a.box[0]
			a.box = a.box[1:]
			a.handle(msg)
		}
		if !t.alive() {
			return
		}
		if a.over() && len(a.box) == 0 {
			delete(a.n.actors, a.call)
			return
		}
		if len(a.box) > 0 {
			continue
		}
		woken, alive := t.wait(max(a.untilDeadline(), 1), func(wake func()) { a.wake = wake })
		a.wake = nil
		if alive && !woken {
			a.tickLegs()
		}
	}
}

func (a *actor) takeUp() {
	a.epoch, a.stale = 0, false
	a.legs, a.rings, a.late = map[acd.LegID]*sip.Leg{}, map[acd.LegID]ring{}, nil
	a.done, a.cancelled, a.unusable = map[acd.EffectID]bool{}, map[acd.LegID]bool{}, map[acd.LegID]fact{}
	a.across = map[acd.LegID]heard{}
	a.held = nil
	a.unsaved, a.playing = map[acd.LegID]acd.Time{}, nil
	c, ok := a.n.machine.Call(a.call)
	if !ok || c.Owner != a.n.owner() {
		return
	}
	a.epoch = c.Epoch
	for _, l := range c.Legs {
		if len(l.Record) == 0 {
			continue
		}
		leg := new(sip.Leg)
		if err := leg.UnmarshalBinary(l.Record); err != nil {
			a.n.w.fail(PromiseTerminal, "call %s: record of leg %s: %v", a.call, l.ID, err)
		}
		if l.State == acd.LegOver && !leg.Lingers(a.n.machineTime()) {
			continue
		}
		a.legs[l.ID] = leg
		a.act(l.ID, leg.Resume(a.n.machineTime(), a.n.local(a.call, leg.LocalTag())))
		if !a.t.alive() {
			return
		}
	}
	a.settleRefers()
}

func (a *actor) handle(msg any) {
	if e, ok := msg.(acd.Effect); ok && e.Epoch > a.epoch {
		a.takeUp()
	}
	if a.stale || !a.t.alive() {
		return
	}
	defer a.ringHeld()
	switch m := msg.(type) {
	case arrival:
		a.receive(m)
	case acd.Effect:
		a.order(m)
	case newCall:
		a.arrive(m)
	case heard:
		a.hear(m)
	case audit:
		m.answer(a.unsupported(m.legs))
	case undelivered:
		if leg := a.legs[m.leg]; leg != nil {
			a.act(m.leg, leg.SendFailed(a.n.machineTime(), m.packet))
		}
	}
}

// legIDs are the legs in order.
func (a *actor) legIDs() []acd.LegID {
	ids := make([]acd.LegID, 0, len(a.legs))
	for id := range a.legs { // any order: sorted below
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y acd.LegID) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return slices.Compare([]byte(x), []byte(y))
	})
	return ids
}

func (a *actor) receive(m arrival) {
	for _, id := range a.legIDs() {
		leg := a.legs[id]
		if leg.CallID() != m.msg.CallID() {
			continue
		}
		switch msg := m.msg.(type) {
		case *sip.Request:
			a.act(id, leg.Request(a.n.machineTime(), msg, m.flow))
		case *sip.Response:
			a.act(id, leg.Response(a.n.machineTime(), msg))
		}
		return
	}
	for _, leg := range a.late {
		if res, ok := m.msg.(*sip.Response); ok && leg.CallID() == res.CallID() {
			a.send("", leg.Response(a.n.machineTime(), res).Send)
			return
		}
	}
	a.n.refuseStray(m.msg, m.flow)
}

func (a *actor) tickLegs() {
	defer a.ringHeld()
	now := a.n.machineTime()
	for _, leg := range a.late {
		leg.Tick(now)
	}
	a.late = slices.DeleteFunc(a.late, (*sip.Leg).Done)
	for _, id := range a.legIDs() {
		leg := a.legs[id]
		if leg == nil || !a.t.alive() {
			continue
		}
		if d, ok := leg.Deadline(); ok && d <= now {
			a.act(id, leg.Tick(now))
		}
	}
	a.saveDue()
}

func (a *actor) over() bool {
	if a.stale {
		return true
	}
	if !a.released || len(a.late) > 0 {
		return false
	}
	for _, leg := range a.legs { // any order: a question
		if !leg.Done() {
			return false
		}
	}
	return true
}

func (a *actor) untilDeadline() time.Duration {
	wait := time.Hour
	now := a.n.machineTime()
	consider := func(leg *sip.Leg) {
		if d, ok := leg.Deadline(); ok {
			wait = min(wait, max(time.Duration(d-now), 0))
		}
	}
	for _, leg := range a.legs { // any order: a minimum
		consider(leg)
	}
	for _, leg := range a.late {
		consider(leg)
	}
	for _, due := range a.unsaved { // any order: a minimum
		wait = min(wait, max(time.Duration(due-now), 0))
	}
	return wait
}

func (a *actor) head() acd.OnCall { return acd.OnCall{Call: a.call, Epoch: a.epoch} }

type fact func(head acd.OnCall) acd.Body

func updated(h acd.OnCall) acd.Body { return acd.LegUpdated{OnCall: h} }

// act is node.act: commit, then send.
func (a *actor) act(id acd.LegID, out sip.Output) {
	facts := a.facts(id, out.Events)
	if len(facts) == 0 && out.Commit {
		facts = append(facts, updated)
	}
	for _, f := range facts {
		if !a.report(id, f) {
			return
		}
	}
	if len(facts) == 0 && out.Save {
		a.saveSoon(id)
	}
	a.send(id, out.Send)
	for _, e := range out.Events {
		a.follow(id, e)
	}
}

// saveWithin is node's.
const saveWithin = 200 * time.Millisecond

func (a *actor) saveSoon(id acd.LegID) {
	if _, ok := a.unsaved[id]; !ok {
		a.unsaved[id] = a.n.machineTime().Add(saveWithin)
	}
}

func (a *actor) saveDue() {
	for _, id := range a.legIDs() {
		if due, ok := a.unsaved[id]; ok && due <= a.n.machineTime() && !a.report(id, updated) {
			return
		}
	}
}

func (a *actor) report(id acd.LegID, f fact) bool {
	_, ok := a.commit(id, f)
	return ok
}

// commitFence is node's fence.
const commitFence = 400 * time.Millisecond

func (a *actor) commit(id acd.LegID, f fact) (acd.Result, bool) {
	head := a.head()
	head.Playing, a.playing = a.playing, nil
	head.Records = a.recordOf(head.Records, id)
	for _, other := range a.legIDs() {
		if _, ok := a.unsaved[other]; ok && other != id {
			head.Records = a.recordOf(head.Records, other)
		}
	}
	clear(a.unsaved)
	res, ours := a.propose(f(head))
	return res, ours && a.ours()
}

func (a *actor) recordOf(list []acd.LegRecord, id acd.LegID) []acd.LegRecord {
	leg := a.legs[id]
	if leg == nil {
		return list
	}
	rec, err := leg.MarshalBinary()
	if err != nil {
		a.n.w.fail(PromiseTerminal, "call %s: record of leg %s: %v", a.call, id, err)
	}
	return append(list, acd.LegRecord{Leg: id, Record: rec})
}

// ours is node.ours.
func (a *actor) ours() bool {
	for range 3 {
		if a.stale || !a.t.alive() || a.n.w.now-a.proved <= commitFence {
			break
		}
		a.propose(acd.LegUpdated{OnCall: a.head()})
	}
	return !a.stale && a.t.alive()
}

func (a *actor) propose(body acd.Body) (res acd.Result, ours bool) {
	began := a.n.w.now
	a.passes("commit")
	res, index, ok := a.n.propose(a.t, 0, body)
	if ok {
		a.passes("committed")
	}
	if !ok || !a.t.alive() {
		a.stale = true
		return res, false
	}
	gone := res.Reason == acd.ReasonStaleEpoch || res.Reason == acd.ReasonUnknownCall && !a.released && !a.closedUnder(index)
	if !res.Applied && gone {
		a.stale = true
		return res, false
	}
	a.proved = began
	return res, true
}

// passes tells the world that the actor is at a point where its process may be
// killed or stopped: before a commit or after, before a packet or after, or
// before an order is carried out.
func (a *actor) passes(point string) {
	if f := a.n.w.atPoint; f != nil && a.t.alive() {
		f(a, point)
	}
}

// closedUnder is node's.
func (a *actor) closedUnder(index uint64) bool {
	if !a.n.waitApplied(a.t, index) {
		return false
	}
	c, ok := a.n.machine.Closed(a.call)
	return ok && c.Owner == a.n.owner() && c.Epoch == a.epoch
}

func (a *actor) send(id acd.LegID, packets []sip.Packet) {
	if len(packets) == 0 {
		return
	}
	a.passes("send")
	if !a.ours() {
		return
	}
	at := a.n.w.now
	for i, p := range packets {
		if i > 0 {
			a.passes("send")
		}
		switch {
		case !a.t.alive():
			return
		case a.n.w.now-at > packetLife: // the transport drops it
			a.n.soon(func() { a.put(undelivered{id, p}) })
			continue
		}
		a.n.w.judge.sends(a.n, a.call, p.Data)
		a.n.w.net.fromRouter(a.n, p, func() { a.put(undelivered{id, p}) })
		a.passes("sent")
	}
}
