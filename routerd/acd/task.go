package acd

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// Bounds on tasks.
const (
	maxTasks        = 100_000 // that are not over
	maxTaskID       = 128     // bytes
	maxTaskAttempts = 20
	overTasksKept   = 100_000        // ids of those that are over, so that a repeat creates none ...
	overTaskMemory  = 24 * time.Hour // ... for so long
	ownerRetry      = 5 * time.Second
)

// OverTask is the id of a task that is over.
type OverTask struct {
	ID TaskID `cbor:"1,keyasint"`
	At Time   `cbor:"2,keyasint"`
}

// taskCreated takes an order to call a customer (N10).
func (m *Machine) taskCreated(b TaskCreated) Result {
	if _, ok := m.tasks[b.ID]; ok {
		return m.noop(ReasonUnchanged)
	}
	if _, ok := m.overTasks[b.ID]; ok {
		return m.noop(ReasonTaskOver)
	}
	due, expire := max(b.Due, m.now), b.Expire
	if expire == 0 {
		expire = due.Add(defaultExpire)
	}
	switch {
	case m.config == nil:
		return m.noop(ReasonNotConfigured)
	case b.ID == "" || len(b.ID) > maxTaskID:
		return m.noop(ReasonBadTask)
	case !isE164(b.Number):
		return m.noop(ReasonBadNumber)
	case !slices.ContainsFunc(m.config.Queues, func(q Queue) bool { return q.ID == b.Queue }):
		return m.noop(ReasonUnknownQueue)
	case len(m.config.Outbound.Trunks) == 0:
		return m.noop(ReasonNoTrunks)
	case expire <= due || b.Priority < -maxPriority || b.Priority > maxPriority ||
		b.Attempts < 0 || b.Attempts > maxTaskAttempts || b.Retry < 0 || b.Retry > 24*time.Hour:
		return m.noop(ReasonBadTask)
	case len(m.tasks) >= maxTasks:
		return m.noop(ReasonTooManyTasks)
	}
	if reason := badCard(b.Card); reason != "" {
		return m.noop(reason)
	}
	card := withCard(nil, b.Card)
	if len(card) > maxCard {
		return m.noop(ReasonCardTooBig)
	}
	t := &Task{
		ID: b.ID, State: TaskScheduled, Number: b.Number, Queue: b.Queue, Due: due, Expire: expire,
		Priority: b.Priority, Attempts: b.Attempts, Retry: b.Retry, Card: card,
	}
	m.tasks[t.ID] = t
	cu := m.customerAt(t.Number)
	at, _ := slices.BinarySearch(cu.tasks, t.ID)
	cu.tasks = slices.Insert(cu.tasks, at, t.ID)
	m.fact(Fact{Kind: FactTaskCreated, Queue: t.Queue}).text("task", string(t.ID)).text("number", t.Number).
		stamp("due", t.Due).stamp("expire", t.Expire).int("priority", t.Priority)
	m.after(due.Sub(m.now), timerTask, string(t.ID), "")
	return Result{Applied: true}
}

// taskCancelled ends a task that has not connected anybody.
func (m *Machine) taskCancelled(b TaskCancelled) Result {
	t, ok := m.tasks[b.ID]
	if !ok {
		return m.noop(ReasonUnknownTask)
	}
	m.taskOver(t, CauseCancelled, t.Call).text("reason", b.Reason)
	if c, ok := m.calls[t.Call]; ok {
		m.endCall(m.own(c), BySystem, CauseCancelled, 0)
	}
	return Result{Applied: true}
}

// taskDue turns the task into a call that waits in its queue without a customer,
// of the live router with the fewest calls.
func (m *Machine) taskDue(t *Task) {
	q := m.queues[t.Queue]
	owner := m.leastLoaded()
	switch {
	case q == nil:
		m.taskOver(t, CauseNoQueue, "")
		return
	case m.now >= t.Expire:
		m.taskOver(t, CauseExpired, "")
		return
	case owner == nil:
		m.after(ownerRetry, timerTask, string(t.ID), "")
		return
	}
	m.tickets++
	c := &call{pos: -1, made: m.snapshots, Call: &Call{
		ID: CallID("task-" + strconv.FormatUint(m.tickets, 10)), Owner: Owner{owner.ID, owner.Incarnation}, Epoch: m.index,
		State: CallArriving, Outbound: true, Number: t.Number, From: t.Number, To: m.config.Outbound.From,
		Arrived: m.now, Queue: t.Queue, Ticket: m.tickets, Enqueued: m.now,
		Priority: t.Priority, Card: t.Card, Task: t.ID, Expire: t.Expire,
	}}
	m.calls[c.ID] = c
	m.owned[owner.ID]++
	m.notDue(t)
	t.State, t.Call = TaskCalling, c.ID
	m.fact(Fact{Kind: FactTaskDue, Call: c.ID, Queue: t.Queue, Node: owner.ID}).text("task", string(t.ID))
	m.timers.set(max(c.Expire, m.now+1), timerExpire, string(c.ID), "")
	m.expect(c)
	m.enqueue(c)
}

// notDue takes the task off what its customer is found by.
func (m *Machine) notDue(t *Task) {
	cu := m.customers[t.Number]
	if cu == nil {
		return
	}
	if at, ok := slices.BinarySearch(cu.tasks, t.ID); ok {
		cu.tasks = slices.Delete(cu.tasks, at, at+1)
	}
	m.forgetCustomer(t.Number, cu)
}

// taskOver forgets the task but for its id, and returns the fact that says so. in
// is the call that ended it, its own or the customer's.
func (m *Machine) taskOver(t *Task, outcome string, in CallID) *factWriter {
	attempts := 0
	if c := m.calls[t.Call]; c != nil {
		attempts = c.Attempts
	}
	if t.State == TaskScheduled {
		m.timers.stop(timerTask, string(t.ID), "")
		m.notDue(t)
	}
	delete(m.tasks, t.ID)
	m.overTasks[t.ID] = m.now
	m.overList = append(m.overList, OverTask{t.ID, m.now})
	for len(m.overList) > 0 && (len(m.overList) > overTasksKept || m.overList[0].At.Add(overTaskMemory) < m.now) {
		delete(m.overTasks, m.overList[0].ID)
		m.overList = m.overList[1:]
	}
	return m.fact(Fact{Kind: FactTaskOver, Call: in, Queue: t.Queue}).
		text("task", string(t.ID)).text("outcome", outcome).int("attempts", attempts)
}

// taskEnds tells the task of a call that ends, or has connected its customer
// with an agent, what came of it.
func (m *Machine) taskEnds(c *call, outcome string) {
	if t, ok := m.tasks[c.Task]; ok && c.Task != "" {
		m.taskOver(t, outcome, c.ID)
	}
}

// leastLoaded is the live router that owns the fewest calls; nil: none lives.
func (m *Machine) leastLoaded() *Node {
	var least *Node
	for _, n := range m.nodes {
		if n.Alive && (least == nil || m.owned[n.ID] < m.owned[least.ID]) {
			least = n
		}
	}
	return least
}

// Tasks returns the tasks that are not over, by id.
func (m *Machine) Tasks() []Task {
	out := make([]Task, 0, len(m.tasks))
	for _, t := range m.tasks { // any order: sorted below
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Task) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Task returns a task that is not over.
func (m *Machine) Task(id TaskID) (Task, bool) {
	t, ok := m.tasks[id]
	if !ok {
		return Task{}, false
	}
	return *t, true
}
