package acd

import (
	"cmp"
	"slices"
)

// customer is what is to be done about one number: it is found when that number
// calls. Both lists are in order.
type customer struct {
	calls []CallID // callbacks and due tasks that have not reached it
	tasks []TaskID // that are not due
}

// expect notes that the call is to reach its customer.
func (m *Machine) expect(c *call) {
	cu := m.customerAt(c.Number)
	at, _ := slices.BinarySearch(cu.calls, c.ID)
	cu.calls = slices.Insert(cu.calls, at, c.ID)
}

// expectNoMore: the call has reached its customer, or does not try any more.
func (m *Machine) expectNoMore(c *call) {
	m.timers.stop(timerExpire, string(c.ID), "")
	if cu := m.customers[c.Number]; cu != nil {
		if at, ok := slices.BinarySearch(cu.calls, c.ID); ok {
			cu.calls = slices.Delete(cu.calls, at, at+1)
		}
		m.forgetCustomer(c.Number, cu)
	}
}

func (m *Machine) customerAt(number string) *customer {
	cu := m.customers[number]
	if cu == nil {
		cu = new(customer)
		m.customers[number] = cu
	}
	return cu
}

func (m *Machine) forgetCustomer(number string, cu *customer) {
	if len(cu.calls) == 0 && len(cu.tasks) == 0 {
		delete(m.customers, number)
	}
}

// expects tells whether the caller has a place in the queue already: a callback
// or task that waits there.
func (m *Machine) expects(c *call, q *queue) bool {
	cu := m.customers[c.From]
	return cu != nil && c.met(m) && slices.ContainsFunc(cu.calls, func(id CallID) bool {
		other := m.calls[id]
		return other.State == CallWaiting && other.Queue == q.ID
	})
}

// met tells a call in which the customer called us: what was to be done about
// that number is done with it.
func (c *call) met(m *Machine) bool { return c.Number == "" && c.From != "" }

// meet ends what was to be done about the number of a caller who is in line now,
// or talks: the caller takes the earliest of the places kept for it.
func (m *Machine) meet(c *call) {
	if !c.met(m) {
		return
	}
	cu := m.customers[c.From]
	if cu == nil {
		return
	}
	for _, id := range slices.Clone(cu.calls) {
		other := m.own(m.calls[id])
		m.withdraw(other, CauseCalledIn)
		w := m.fact(Fact{Kind: FactCallMerged, Call: other.ID, Queue: other.Queue}).text("into", string(c.ID))
		if c.State != CallTalking && (c.Ticket == 0 || other.Ticket < c.Ticket) {
			w.uint("ticket", other.Ticket)
			c.Ticket, c.Enqueued, other.Ticket = other.Ticket, other.Enqueued, 0
		}
		m.endCall(other, ByCaller, CauseCalledIn, 0)
	}
	for _, id := range slices.Clone(cu.tasks) {
		m.taskOver(m.tasks[id], CauseCalledIn, c.ID)
	}
}

// restoreCustomers rebuilds the index from calls and tasks.
func (m *Machine) restoreCustomers() {
	m.customers = make(map[string]*customer)
	for _, c := range m.calls { // any order: sorted below
		if c.expecting() {
			cu := m.customerAt(c.Number)
			cu.calls = append(cu.calls, c.ID)
		}
	}
	for _, t := range m.tasks { // any order: sorted below
		if t.State == TaskScheduled {
			cu := m.customerAt(t.Number)
			cu.tasks = append(cu.tasks, t.ID)
		}
	}
	for _, cu := range m.customers { // any order: each for itself
		slices.SortFunc(cu.calls, func(a, b CallID) int { return cmp.Compare(a, b) })
		slices.SortFunc(cu.tasks, func(a, b TaskID) int { return cmp.Compare(a, b) })
	}
}

// expecting tells a call that is to reach its customer and has not yet.
func (c *call) expecting() bool {
	return c.Number != "" && c.Caller == "" && (c.State == CallWaiting || c.State == CallRetrying)
}
