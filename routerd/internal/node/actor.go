package node

import (
	"fmt"
	"slices"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// actor runs one call this node owns: both its legs, in one goroutine, so that
// what comes from either far end, from the log and from timers is handled one
// after the other. It commits before it sends; a command that comes back stale
// means the call has another owner, and the actor ends without a word.
type actor struct {
	n    *Node
	call acd.CallID
	box  *mailbox

	// The rest belongs to the actor's goroutine.
	epoch uint64
	legs  map[acd.LegID]*sip.Leg
	done  map[acd.EffectID]bool // orders already carried out, so that a repeat is harmless
	rings map[acd.LegID]ring    // called legs not answered yet
	late  []*sip.Leg            // given up for another contact, but might still be answered
	// cancelled legs are not tried at another contact; unusable ones answered
	// with media that can't be used and are hung up.
	cancelled map[acd.LegID]bool
	unusable  map[acd.LegID]fact     // how such a leg failed, told when its BYE is through
	across    map[acd.LegID]heard    // keys that are to go to the connected leg as INFO
	unsaved   map[acd.LegID]acd.Time // legs whose record is to be committed, and by when
	playing   []acd.Playing          // music that is to be told with them
	invited   time.Time              // when the INVITE came to this process, else zero
	proved    time.Time              // when the log was last asked for something that showed the call to be ours
	again     map[acd.LegID]int      // offers made anew, see renegotiated
	why       string                 // the Reason of the leg that ended last, if it bore one
	held      []heldRing             // orders to ring that wait, see adopt
	released  bool
	ruled     map[acd.LegID]string // keys that a rule sends by INFO, until all are out
	stale     bool
}

// arrival is a message from a far end.
type arrival struct {
	msg  sip.Message
	flow sip.Flow
}

// undelivered is a packet of ours that reached none of its hops.
type undelivered struct {
	leg    acd.LegID
	packet sip.Packet
	err    error
}

// actorOf returns the call's actor, started if need be.
func (n *Node) actorOf(call acd.CallID) *actor {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.actors[call]; a != nil {
		return a
	}
	a := &actor{n: n, call: call, box: newMailbox()}
	n.actors[call] = a
	n.running.Add(1)
	go a.run()
	return a
}

// post hands a message to the call's actor, if need be a new one.
func (n *Node) post(call acd.CallID, msg any) {
	for !n.actorOf(call).box.put(msg) {
		// The actor was just ending: its place is free in a moment.
	}
}

func (a *actor) run() {
	defer a.n.running.Done()
	a.takeUp()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	idle := false
	for {
		for {
			l, ok := a.box.next()
			if !ok {
				break
			}
			if idle { // else it waited for this call's own affairs
				a.n.load.waited(time.Since(l.at))
			}
			idle = false
			a.handle(l.msg)
		}
		if a.over() && a.leave() {
			return
		}
		timer.Reset(a.untilDeadline())
		select {
		case <-a.box.wake:
			idle = true
		case <-timer.C:
			a.tickLegs()
		case <-a.n.life.Done():
			return
		}
	}
}

// takeUp begins with the call as the log has it: its legs go on where their
// records stand. What this actor remembers of an earlier ownership is dropped,
// for another node may have changed everything since.
func (a *actor) takeUp() {
	a.epoch, a.stale = 0, false
	a.legs, a.rings, a.late = map[acd.LegID]*sip.Leg{}, map[acd.LegID]ring{}, nil
	a.done, a.cancelled, a.unusable = map[acd.EffectID]bool{}, map[acd.LegID]bool{}, map[acd.LegID]fact{}
	a.again = map[acd.LegID]int{}
	a.across = map[acd.LegID]heard{}
	a.held = nil
	a.unsaved, a.playing = map[acd.LegID]acd.Time{}, nil
	var records []acd.LegRecord
	over := map[acd.LegID]bool{} // kept only while its BYE may be repeated
	a.n.view(func(m *acd.Machine) {
		for _, c := range m.Family(a.call) {
			if c.Owner != a.n.owner() {
				return
			}
			a.epoch = c.Epoch
			for _, l := range c.Legs {
				if len(l.Record) > 0 {
					records = append(records, acd.LegRecord{Leg: l.ID, Record: l.Record})
					over[l.ID] = l.State == acd.LegOver
				}
			}
		}
	})
	for _, r := range records {
		leg := new(sip.Leg)
		if err := leg.UnmarshalBinary(r.Record); over[r.Leg] && (err != nil || !leg.Lingers(a.n.machineTime())) {
			continue
		} else if err != nil {
			a.n.log.Error("a leg's record can't be read: the leg is given up", "call_id", a.call, "leg", r.Leg, "err", err)
			a.report(r.Leg, ended(r.Leg, "record"))
			continue
		}
		a.legs[r.Leg] = leg
		a.act(r.Leg, leg.Resume(a.n.machineTime(), a.n.local(a.call, leg.LocalTag())))
	}
	a.settleRefers()
	if len(records) > 0 {
		a.n.workers.remind() // of keys that the last owner may not have dealt with
	}
}

// ringing is an order to ring an agent, and when its log entry came in.
type ringing struct {
	acd.Effect
	entered time.Time
}

func (a *actor) handle(msg any) {
	if r, ok := msg.(ringing); ok {
		offerOrdered.UpdateDuration(r.entered)
		msg = r.Effect
	}
	// A higher epoch grants the call to this node once more.
	if e, ok := msg.(acd.Effect); ok && e.Epoch > a.epoch {
		a.takeUp()
	}
	if a.stale {
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
	case agentInvite:
		a.dialOut(m)
	case ruleKeyDue:
		a.sendRuleKey(m)
	case heard:
		a.hear(m)
	case audit:
		m.missing <- a.unsupported(m.legs)
	case undelivered:
		a.n.log.Warn("could not send", "call_id", a.call, "leg", m.leg, "err", m.err)
		if leg := a.legs[m.leg]; leg != nil {
			a.act(m.leg, leg.SendFailed(a.n.machineTime(), m.packet))
		}
	}
}

// receive gives a far end's message to the leg whose dialog it belongs to.
func (a *actor) receive(m arrival) {
	for id, leg := range a.legs {
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
			a.send("", leg.Response(a.n.machineTime(), res).Send) // CANCEL, or ACK and BYE
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
	for id, leg := range a.legs {
		if d, ok := leg.Deadline(); ok && d <= now {
			a.act(id, leg.Tick(now))
		}
	}
	a.saveDue()
}

// over tells whether nothing can happen to the call any more.
func (a *actor) over() bool {
	if a.stale {
		return true
	}
	if !a.released || len(a.late) > 0 {
		return false
	}
	for _, leg := range a.legs {
		if !leg.Done() {
			return false
		}
	}
	return true
}

// leave ends the actor unless a message came in meanwhile.
func (a *actor) leave() bool {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if !a.box.closeIfEmpty() {
		return false
	}
	delete(a.n.actors, a.call)
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
	for _, leg := range a.legs {
		consider(leg)
	}
	for _, leg := range a.late {
		consider(leg)
	}
	for _, due := range a.unsaved {
		wait = min(wait, max(time.Duration(due-now), 0))
	}
	return wait
}

func (a *actor) head() acd.OnCall { return acd.OnCall{Call: a.call, Epoch: a.epoch} }

// fact makes a command about the call; the head carries epoch and records.
type fact func(head acd.OnCall) acd.Body

func updated(h acd.OnCall) acd.Body { return acd.LegUpdated{OnCall: h} }

// act carries out what a leg asked for: commit its record with the facts its
// events tell, then send. Nothing is sent that could not be committed.
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

// saveWithin is how long a record that nothing waits for may stay uncommitted.
const saveWithin = 200 * time.Millisecond

func (a *actor) saveSoon(id acd.LegID) {
	if _, ok := a.unsaved[id]; !ok {
		a.unsaved[id] = a.n.machineTime().Add(saveWithin)
	}
}

// saveDue commits what went with nothing else in time.
func (a *actor) saveDue() {
	for id, due := range a.unsaved {
		if due <= a.n.machineTime() && !a.report(id, updated) {
			return
		}
	}
}

// report commits one fact and tells whether the call is still ours.
func (a *actor) report(id acd.LegID, f fact) bool {
	_, ok := a.commit(id, f)
	return ok
}

// fence is how long an answer of the log proves that a call is still ours, from
// the moment it was asked for. It is less than the time in which others notice
// that a router is silent.
const fence = 400 * time.Millisecond

// commit commits one fact together with the record of the leg it is about, and
// returns the machine's answer. It returns false if the call is not ours any
// more.
func (a *actor) commit(id acd.LegID, f fact) (acd.Result, bool) {
	head := a.head()
	head.Playing, a.playing = a.playing, nil
	head.Records = a.recordOf(head.Records, id)
	for other := range a.unsaved {
		if other != id {
			head.Records = a.recordOf(head.Records, other)
		}
	}
	clear(a.unsaved)
	res, ours := a.propose(f(head))
	if ours {
		_, ours = a.ours()
	}
	return res, ours
}

// recordOf adds the record of a leg, if there is such a leg.
func (a *actor) recordOf(list []acd.LegRecord, id acd.LegID) []acd.LegRecord {
	leg := a.legs[id]
	if leg == nil {
		return list
	}
	rec, err := leg.MarshalBinary()
	if err != nil {
		a.n.halt(fmt.Errorf("a leg's record can't be written: %w", err))
	}
	return append(list, acd.LegRecord{Leg: id, Record: rec})
}

// ours tells whether the call is still this node's, and the moment at which that
// was looked at. What the log said longer ago than fence shows only that it was
// ours then: this process may have been stopped, or cut off, and others may have
// taken the call since. So the log is asked again.
func (a *actor) ours() (at time.Time, ours bool) {
	for range 3 { // a log that is always slow must not stop calls
		if at = time.Now(); a.stale || at.Sub(a.proved) <= fence {
			return at, !a.stale
		}
		a.propose(acd.LegUpdated{OnCall: a.head()})
	}
	return time.Now(), !a.stale
}

// propose commits a command about the call and tells whether the call is ours by
// its answer.
func (a *actor) propose(body acd.Body) (res acd.Result, ours bool) {
	began := time.Now()
	res, index, err := a.n.proposer.propose(a.n.life, body)
	if err != nil { // only when this life ends
		a.stale = true
		return res, false
	}
	// An unknown call was taken over and is over, unless it was closed here.
	gone := res.Reason == acd.ReasonStaleEpoch || res.Reason == acd.ReasonUnknownCall && !a.released && !a.closedUnder(index)
	if !res.Applied && gone {
		a.n.log.Info("call has another owner now", "call_id", a.call)
		a.stale = true
		return res, false
	}
	a.proved = began
	return res, true
}

// closedUnder tells whether the call, unknown to the machine at index, was closed
// under this actor's own epoch. Its Release is on the way then; what else was
// ordered before comes to nothing, and far ends may still repeat their BYE.
func (a *actor) closedUnder(index uint64) (ours bool) {
	if !a.n.waitApplied(a.n.life.Done(), index) {
		return false
	}
	a.n.view(func(m *acd.Machine) {
		c, ok := m.Closed(a.call)
		ours = ok && c.Owner == a.n.owner() && c.Epoch == a.epoch
	})
	return ours
}

// send sends what the log let this node say, repeats and refusals too: a router
// that was stopped and wakes is silent until the log says that the call is still
// its own. A packet that is held up after that is dropped by the transport.
func (a *actor) send(id acd.LegID, packets []sip.Packet) {
	if len(packets) == 0 {
		return
	}
	at, ours := a.ours()
	if !ours {
		return
	}
	for _, p := range packets {
		p.Since = at
		a.n.sendPacket(p, func(err error) { a.box.put(undelivered{id, p, err}) })
	}
}
