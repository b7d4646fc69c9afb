package acd

import (
	"maps"
	"slices"
	"strings"
)

// maxMoves bounds how often rules may move a call from one queue or chain to
// another, whatever the configuration: after that, where a rule would move it
// once more, the call ends.
const maxMoves = 10

// route is where a number sends a call.
type route struct {
	queue    QueueID
	chain    ChainID
	priority int
	needs    []Skill
}

// greet asks the number's rules about a call that arrives: for a greeting, and
// for the SIP code to refuse it with (T12). A rule that refuses has no say once
// one before it lets the call in by naming where it goes.
func (m *Machine) greet(n *Number, from string, card []Attr) (greeting string, code int) {
	letIn := false
	for i := range n.Rules {
		r := &n.Rules[i]
		if !m.holds(&r.When, from, card) {
			continue
		}
		if r.Refuse != 0 && !letIn {
			return "", r.Refuse
		}
		if greeting == "" {
			greeting = r.Greeting
		}
		letIn = letIn || r.Queue != "" || r.Chain != ""
	}
	if greeting == "" {
		greeting = n.Greeting
	}
	return greeting, 0
}

// routeOf asks the number's rules where a call goes and with what. Of each of
// them the first rule that holds and says something of it decides, else the
// number itself.
func (m *Machine) routeOf(n *Number, from string, card []Attr) route {
	var r route
	for i := range n.Rules {
		rule := &n.Rules[i]
		if rule.Refuse != 0 || !m.holds(&rule.When, from, card) {
			continue
		}
		if r.queue == "" && r.chain == "" {
			r.queue, r.chain = rule.Queue, rule.Chain
		}
		if r.priority == 0 {
			r.priority = rule.Priority
		}
		if len(r.needs) == 0 {
			r.needs = rule.Needs
		}
	}
	if r.queue == "" && r.chain == "" {
		r.queue, r.chain = n.Queue, n.Chain
	}
	if r.priority == 0 {
		r.priority = n.Priority
	}
	if len(r.needs) == 0 {
		r.needs = n.Needs
	}
	return r
}

// holds tells whether all that is asked holds at this moment.
func (m *Machine) holds(w *When, from string, card []Attr) bool {
	if !m.during(w.Open, w.Closed) {
		return false
	}
	if len(w.Callers) > 0 && !slices.ContainsFunc(w.Callers, func(p string) bool { return strings.HasPrefix(from, p) }) {
		return false
	}
	if w.Card != "" {
		value, ok := cardValue(card, w.Card)
		if !ok || len(w.Values) > 0 && !slices.Contains(w.Values, value) {
			return false
		}
	}
	if w.Queue == "" {
		return true
	}
	q, ok := m.queues[w.Queue]
	if !ok || q.length < w.Calls {
		return false
	}
	if w.EWT == 0 {
		return true
	}
	p50, _, known := q.more(m.now)
	return known && p50 >= w.EWT
}

// during tells whether one calendar is open and the other closed; an empty name
// asks nothing.
func (m *Machine) during(open, closed CalendarID) bool {
	return (open == "" || m.calendars[open].open(m.now)) && (closed == "" || !m.calendars[closed].open(m.now))
}

// route sends an answered and greeted call where its number's rules say now,
// with all that was learned since it arrived. If the number is configured no
// longer, it goes where it was bound for.
func (m *Machine) route(c *call) {
	m.stopCallTimers(c)
	if n, ok := m.numbers[c.To]; ok {
		r := m.routeOf(n, c.From, c.Card)
		c.Queue, c.Chain, c.Priority, c.Needs = r.queue, r.chain, r.priority, r.needs
	}
	c.State = CallLeaving
	if chain := m.chains[c.Chain]; chain != nil {
		m.hunt(c, chain)
		return
	}
	m.enter(c, c.Queue)
}

// enter brings the call into a queue, if that takes one more. A caller for whom a
// callback or task waits there has a place already and takes that.
func (m *Machine) enter(c *call, id QueueID) {
	q := m.queues[id]
	c.Queue, c.Chain = id, ""
	cause, then := m.barred(q)
	if cause == "" || m.expects(c, q) {
		m.enqueue(c)
		return
	}
	m.divert(c, then, cause)
}

// barred tells why a queue takes no more calls, and where one goes instead.
func (m *Machine) barred(q *queue) (cause string, then *Then) {
	switch {
	case q.Calendar != "" && !m.calendars[q.Calendar].open(m.now):
		return CauseClosed, &q.WhenClosed
	case q.empty():
		return CauseJoinEmpty, &q.WhenEmpty
	case q.MaxLength > 0 && q.length >= q.MaxLength:
		return CauseQueueFull, &q.WhenFull
	}
	for i := range q.Admission {
		if a := &q.Admission[i]; m.during(a.Open, a.Closed) && m.passed(q, a) {
			return CauseNotAdmitted, &a.Then
		}
	}
	return "", nil
}

// passed tells whether the queue is over one of the limits (N4). What can't be
// estimated passes none, and nor does a speed of answer once nobody waits: else
// a queue that turned everybody away would never hear that it is fast again.
func (m *Machine) passed(q *queue, a *Admission) bool {
	if a.Calls > 0 && q.length >= a.Calls {
		return true
	}
	if a.EWT > 0 {
		if p50, _, known := q.more(m.now); known && p50 >= a.EWT {
			return true
		}
	}
	if a.ASA > 0 && q.length > 0 {
		if asa, known := q.speed(m.now); known && asa >= a.ASA {
			return true
		}
	}
	return false
}

// divert sends a call that can't stay where it was, or did not get in, where
// the rule says. It is in no queue; its ticket goes along.
func (m *Machine) divert(c *call, t *Then, cause string) {
	moves := c.Moves < maxMoves
	callback := t.Callback && m.callbacks(c, m.queues[c.Queue]) && isE164(c.From)
	w := m.fact(Fact{Kind: FactCallDiverted, Call: c.ID, Queue: c.Queue}).text("cause", cause)
	switch {
	case t.Queue != "" && moves:
		w.text("to", "queue:"+string(t.Queue))
	case t.Chain != "" && moves:
		w.text("to", "chain:"+string(t.Chain))
	case t.Prompt != "":
		w.text("to", "prompt:"+t.Prompt)
	case callback:
		w.text("to", "callback")
	default:
		w.text("to", "end")
	}
	w.uint("ticket", c.Ticket).seconds("wait", between(c.Joined, m.now))
	switch {
	case t.Queue != "" && moves:
		c.Moves++
		m.enter(c, t.Queue)
	case t.Chain != "" && moves:
		c.Moves++
		m.hunt(c, m.chains[t.Chain])
	case t.Prompt != "":
		m.dismiss(c, t.Prompt, cause)
	case callback:
		m.promise(c, c.From)
	default:
		m.endCall(c, BySystem, cause, t.Refuse)
	}
}

// withdraw takes a waiting call out of its queue and ends what is offered of
// it, so that it can go elsewhere.
func (m *Machine) withdraw(c *call, cause string) {
	m.stopCallTimers(c)
	m.leaveQueue(c)
	c.State = CallLeaving
	m.unreserve(c, cause)
	m.cancelOffers(c, cause)
}

// dismiss plays a last prompt and then ends the call. What becomes of it is
// settled now.
func (m *Machine) dismiss(c *call, prompt, cause string) {
	c.By, c.Cause, c.Ended = BySystem, cause, m.now
	m.play(c, prompt, false)
	m.after(promptWatchdog, timerDismiss, string(c.ID), "")
}

// waitedTooLong: the call has waited as long as its queue allowed when it came.
func (m *Machine) waitedTooLong(c *call) {
	m.withdraw(c, CauseMaxWait)
	m.divert(c, &m.queues[c.Queue].AfterMaxWait, CauseMaxWait)
}

// empty tells whether nobody serves the queue, in its own sense of that.
func (q *queue) empty() bool {
	switch q.Empty {
	case emptyLoggedOut:
		return q.out[isLoggedOut] == len(q.seats)
	case emptyUnavailable:
		return q.staffed() == 0
	}
	return false
}

// watchEmpty times how long calls wait in a queue that nobody serves any more.
// It comes after every change of who does.
func (m *Machine) watchEmpty(q *queue) {
	switch empty := q.LeaveEmpty > 0 && q.empty(); {
	case empty && !m.timers.armed(timerEmpty, string(q.ID), ""):
		m.after(q.LeaveEmpty, timerEmpty, string(q.ID), "")
	case !empty:
		m.timers.stop(timerEmpty, string(q.ID), "")
	}
}

// leftEmpty sends away who waits in a queue that has been empty of agents for
// as long as it allows. Whose phone rings at an agent stays for now: the queue is
// looked at again.
func (m *Machine) leftEmpty(q *queue) {
	var gone []*call
	q.line.each(func(c *call) {
		if c.Caller != "" && c.nextOffer(0) == nil {
			gone = append(gone, c)
		}
	})
	for _, c := range gone {
		m.own(c)
		m.withdraw(c, CauseLeaveEmpty)
		m.divert(c, &q.WhenEmpty, CauseLeaveEmpty)
	}
	m.watchEmpty(q)
}

// watchQueues brings what belongs to queues in line with a configuration that
// was just applied: nothing may be left of those that are gone.
func (m *Machine) watchQueues() {
	for _, id := range slices.Sorted(maps.Keys(m.estimates)) {
		if q, ok := m.queues[id]; ok {
			m.watchEmpty(q)
			continue
		}
		m.timers.stop(timerEmpty, string(id), "")
		delete(m.estimates, id)
	}
}
