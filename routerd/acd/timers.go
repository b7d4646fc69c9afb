package acd

import (
	"fmt"
	"strings"
	"time"
)

// TimerKind says what a deadline is for. The numbers are in snapshots:
// append only.
type TimerKind uint8

// Timers. A timer is known by its kind, the id of what it belongs to and, for
// legs, the leg; setting it again moves it.
const (
	timerAnswer       TimerKind = 1  // call: AnswerCall was never reported
	timerPrompt       TimerKind = 2  // call: the greeting's PlayPrompt was never reported
	timerGreeting     TimerKind = 3  // call: the greeting is over
	timerMaxWait      TimerKind = 4  // call: waited as long as its queue allows
	timerRing         TimerKind = 5  // call, leg: the number called did not answer
	timerLeg          TimerKind = 6  // call, leg: the end of an ending leg was never reported
	timerWrapUp       TimerKind = 7  // agent: wrap-up is over
	timerBackOff      TimerKind = 8  // agent: may be offered calls again after a refused one
	timerRegistration TimerKind = 9  // agent: the earliest of its contacts expires
	timerClosed       TimerKind = 10 // call: the id of an ended call may be forgotten
	timerSession      TimerKind = 11 // session: unused for long, its answers may be forgotten
	timerOffer        TimerKind = 12 // call, number of the offer: the agent did not answer
	timerWiden        TimerKind = 13 // call: more agents may be offered it from now on
	timerLoad         TimerKind = 14 // queue: the occupancy of idle agents is counted anew
	timerEmpty        TimerKind = 16 // queue: nobody has served it for as long as calls may wait for that
	timerAnnounce     TimerKind = 17 // call: is told where it stands
	timerDismiss      TimerKind = 18 // call: the last prompt is over, or was never reported
	timerPromise      TimerKind = 19 // call: the promise of a callback is over, or was never reported
	timerRetry        TimerKind = 20 // call: its customer is tried again
	timerExpire       TimerKind = 21 // call: its customer is not tried any more
	timerTask         TimerKind = 22 // task: is due

	timerHunt    TimerKind = 27 // call: the agent it waits for is still busy
	timerPickUp  TimerKind = 90 // call, leg: AnswerCall of a pick-up was never reported
	timerRetired TimerKind = 26 // the whole: what is retired may be needed no more
)

// Bounds on what the machine waits for. They outlast the SIP engine's own
// timers (RFC 3261: 64*T1 = 32 s), so they only fire where a report was lost.
const (
	answerWatchdog = 10 * time.Second
	promptWatchdog = 5 * time.Second
	legWatchdog    = 40 * time.Second
	closedMemory   = 40 * time.Second
	sessionMemory  = time.Hour
)

// Timer is one deadline of the state.
type Timer struct {
	At   Time      `cbor:"1,keyasint"`
	Kind TimerKind `cbor:"2,keyasint"`
	ID   string    `cbor:"3,keyasint"`
	Sub  string    `cbor:"4,keyasint,omitempty"`
}

type timerKey struct {
	kind TimerKind
	id   string
	sub  string
}

// timerEntry is an armed timer. A snapshot may hold the Timer: see own.
type timerEntry struct {
	*Timer
	first Timer  // what Timer points to until a snapshot was taken
	at    Time   // of Timer, without following it
	made  uint64 // timers.snapshots when this Timer was made
	pos   int
}

// compareTimers orders deadlines; the order is total, so it is the same on
// every replica.
func compareTimers(a, b *Timer) int {
	switch {
	case a.At != b.At:
		if a.At < b.At {
			return -1
		}
		return 1
	case a.Kind != b.Kind:
		return int(a.Kind) - int(b.Kind)
	case a.ID != b.ID:
		return strings.Compare(a.ID, b.ID)
	}
	return strings.Compare(a.Sub, b.Sub)
}

// timers is the heap of deadlines and its index.
type timers struct {
	heap  ranked[*timerEntry]
	byKey map[timerKey]*timerEntry
	spare []*timerEntry // to be used again: most are stopped, not fired

	snapshots uint64   // how many were taken
	kinds     [256]int // how many of each: most are stopped where there is none
}

func newTimers() timers {
	return timers{
		heap: ranked[*timerEntry]{
			less: func(a, b *timerEntry) bool {
				return a.at < b.at || a.at == b.at && compareTimers(a.Timer, b.Timer) < 0
			},
			place: func(t *timerEntry, pos int) { t.pos = pos },
		},
		byKey: make(map[timerKey]*timerEntry),
	}
}

func (t *timers) set(at Time, kind TimerKind, id, sub string) {
	key := timerKey{kind, id, sub}
	if e, ok := t.byKey[key]; ok {
		t.own(e)
		e.At, e.at = at, at
		t.heap.fix(e.pos)
		return
	}
	var e *timerEntry
	if n := len(t.spare); n > 0 {
		e, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		e = new(timerEntry)
		e.Timer, e.made = &e.first, t.snapshots
	}
	t.own(e)
	*e.Timer, e.at = Timer{At: at, Kind: kind, ID: id, Sub: sub}, at
	t.byKey[key] = e
	t.kinds[kind]++
	t.heap.push(e)
}

// own makes the entry's Timer the heap's alone: one that a snapshot holds is
// copied before it changes.
func (t *timers) own(e *timerEntry) {
	if e.Timer != nil && e.made == t.snapshots {
		return
	}
	timer := new(Timer)
	if e.Timer != nil {
		*timer = *e.Timer
	}
	e.Timer, e.made = timer, t.snapshots
}

func (t *timers) stop(kind TimerKind, id, sub string) {
	if t.kinds[kind] == 0 {
		return
	}
	key := timerKey{kind, id, sub}
	if e, ok := t.byKey[key]; ok {
		t.drop(key, e)
	}
}

func (t *timers) drop(key timerKey, e *timerEntry) {
	delete(t.byKey, key)
	t.kinds[key.kind]--
	t.heap.remove(e.pos)
	if e.made == t.snapshots {
		*e.Timer = Timer{} // lets go of the texts
	} else {
		e.Timer = nil
	}
	t.spare = append(t.spare, e)
}

func (t *timers) armed(kind TimerKind, id, sub string) bool {
	_, ok := t.byKey[timerKey{kind, id, sub}]
	return ok
}

// due removes and returns the earliest timer at or before now.
func (t *timers) due(now Time) (Timer, bool) {
	if t.heap.len() == 0 || t.heap.items[0].at > now {
		return Timer{}, false
	}
	e := t.heap.items[0]
	timer := *e.Timer
	t.drop(timerKey{timer.Kind, timer.ID, timer.Sub}, e)
	return timer, true
}

// after arms a timer d from now. A deadline is always in the future, so no
// chain of timers can keep one Apply busy for ever.
func (m *Machine) after(d time.Duration, kind TimerKind, id, sub string) {
	m.timers.set(m.now.Add(max(d, 1)), kind, id, sub)
}

// NextDeadline returns when the earliest timer is due.
func (m *Machine) NextDeadline() (Time, bool) {
	if m.timers.heap.len() == 0 {
		return 0, false
	}
	return m.timers.heap.items[0].at, true
}

// fire carries out one due timer. Timers are stopped with what they belong to,
// so a timer without its subject is a broken invariant.
func (m *Machine) fire(t Timer) {
	switch t.Kind {
	case timerAnswer:
		m.endCall(m.timedCall(t), BySystem, CauseAnswerTimeout, 503)
	case timerPrompt, timerGreeting:
		m.route(m.timedCall(t))
	case timerMaxWait:
		m.waitedTooLong(m.timedCall(t))
	case timerEmpty:
		m.leftEmpty(m.timedQueue(t))
	case timerAnnounce:
		m.announce(m.timedCall(t))
	case timerPromise:
		m.promiseOver(m.timedCall(t))
	case timerRetry:
		m.enqueue(m.timedCall(t))
	case timerExpire:
		m.expired(m.timedCall(t))
	case timerTask:
		m.taskDue(m.timedTask(t))
	case timerDismiss:
		c := m.timedCall(t)
		m.endCall(c, c.By, c.Cause, 0)
	case timerRing:
		m.dialTimedOut(m.timedCall(t), LegID(t.Sub))
	case timerOffer:
		m.offerTimedOut(m.timedCall(t), t.Sub)
	case timerWiden:
		m.widened(m.timedCall(t))
	case timerLoad:
		m.recountLoads(QueueID(t.ID))
	case timerLeg:
		m.legLost(m.timedCall(t), LegID(t.Sub))
	case timerWrapUp:
		m.setAgentState(m.timedAgent(t), Idle)
	case timerBackOff:
		m.backOffOver(m.timedAgent(t))
	case timerRegistration:
		m.registrationsExpired(m.timedAgent(t))
	case timerClosed:
		m.forgetClosed(CallID(t.ID))
	case timerPickUp:
		m.pickUpTimedOut(m.timedCall(t), LegID(t.Sub))
	case timerHunt:
		m.awaitedTooLong(m.timedCall(t))
	case timerRetired:
		m.retiredChecked()
	case timerSession:
		m.sessionUnused(t.ID)
	default:
		panic(fmt.Sprintf("acd: index %d: timer of unknown kind %d", m.index, t.Kind))
	}
}

func (m *Machine) timedCall(t Timer) *call {
	c, ok := m.calls[CallID(t.ID)]
	if !ok {
		panic(fmt.Sprintf("acd: index %d: timer %d of call %s, which is not open", m.index, t.Kind, t.ID))
	}
	return m.own(c)
}

func (m *Machine) timedQueue(t Timer) *queue {
	q, ok := m.queues[QueueID(t.ID)]
	if !ok {
		panic(fmt.Sprintf("acd: index %d: timer %d of unknown queue %s", m.index, t.Kind, t.ID))
	}
	return q
}

func (m *Machine) timedTask(t Timer) *Task {
	task, ok := m.tasks[TaskID(t.ID)]
	if !ok {
		panic(fmt.Sprintf("acd: index %d: timer of unknown task %s", m.index, t.ID))
	}
	return task
}

func (m *Machine) timedAgent(t Timer) *agent {
	a, ok := m.agents[AgentID(t.ID)]
	if !ok {
		panic(fmt.Sprintf("acd: index %d: timer %d of unknown agent %s", m.index, t.Kind, t.ID))
	}
	return a
}
