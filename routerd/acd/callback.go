package acd

import (
	"fmt"
	"slices"
	"time"
)

// Of callbacks and tasks, where nothing else is said.
const (
	defaultAttempts = 3
	defaultRetry    = 5 * time.Minute
	defaultExpire   = 24 * time.Hour
	// channelRetry is when a customer is called for whom no channel was free. It
	// is no attempt.
	channelRetry = 10 * time.Second
)

// A callback is a call that goes on without its customer (N6): its ticket stays
// in line, and when it comes to the head an agent is reserved, the customer is
// called and the two are connected. While the promise is played the call keeps
// its place but is not offered; who hangs up meanwhile keeps it as well. A
// customer who can't be reached costs no agent any time, and is called again
// later from the same place. The longest wait of the queue does not end a
// callback, its own end does.

// callbacks tells whether the call's customer could be called back.
func (m *Machine) callbacks(c *call, q *queue) bool {
	return q.Callback.Key != "" && c.Number == "" && len(m.config.Outbound.Trunks) > 0
}

// offerCallback notes that the callback is offered to the caller from now on,
// and returns the prompt that says so. It is where the wait is as long as the
// queue says; where it isn't known it is as long as that only if nothing is
// said.
func (m *Machine) offerCallback(c *call, q *queue, p50 time.Duration, known bool) (prompt string) {
	if !m.callbacks(c, q) || !isE164(c.From) || q.Callback.Over > 0 && (!known || p50 < q.Callback.Over) {
		return ""
	}
	if !c.Offered {
		c.Offered = true
		m.fact(Fact{Kind: FactCallbackOffered, Call: c.ID, Queue: q.ID}).seconds("p50", p50)
	}
	return q.Callback.Offer
}

// callbackRequested: by whoever talks to the caller; the key is in digits.go.
func (m *Machine) callbackRequested(c *call, b CallbackRequested) Result {
	number := b.Number
	if number == "" {
		number = c.From
	}
	switch {
	case c.State != CallWaiting || c.Caller == "":
		return m.noop(ReasonUnexpected)
	case !m.callbacks(c, m.queues[c.Queue]):
		return m.noop(ReasonNoCallbacks)
	case !isE164(number):
		return m.noop(ReasonBadNumber)
	}
	m.promise(c, number)
	return Result{Applied: true}
}

// promise lets the caller go and keeps the call's place in line. A call that is
// in no queue joins that of its Queue, whose conditions are not asked.
func (m *Machine) promise(c *call, number string) {
	leg := c.Caller
	c.Caller, c.Callback, c.Number, c.Until = "", true, number, 0
	if c.State == CallWaiting {
		m.timers.stop(timerMaxWait, string(c.ID), "")
		m.timers.stop(timerAnnounce, string(c.ID), "")
	} else {
		m.enqueue(c)
	}
	m.unreserve(c, CauseCallback)
	m.cancelOffers(c, CauseCallback)
	q := m.queues[c.Queue]
	q.withdraw(c)
	expire := q.Callback.Expire
	if expire == 0 {
		expire = defaultExpire
	}
	c.Expire = m.now.Add(expire)
	m.timers.set(c.Expire, timerExpire, string(c.ID), "")
	m.expect(c)
	m.fact(Fact{Kind: FactCallbackPromised, Call: c.ID, Queue: q.ID}).
		text("number", number).uint("ticket", c.Ticket).seconds("wait", between(c.Enqueued, m.now))
	c.Prompt = Prompt{}
	if q.Callback.Promise == "" {
		m.hangUp(c, c.leg(leg), CauseCallback, 0)
		return
	}
	c.Prompt = Prompt{Name: q.Callback.Promise}
	m.order(c, PlayPrompt{Leg: leg, Prompt: c.Prompt.Name})
	m.after(promptWatchdog, timerPromise, string(c.ID), "")
}

// promised is the leg of a caller who is still to hear the promise, or is being
// let go; nil: there is none.
func (c *call) promised() *Leg {
	if c.Caller != "" || !c.Callback {
		return nil
	}
	i := slices.IndexFunc(c.Legs, func(l Leg) bool { return l.Role == RoleCaller && l.Number == "" && l.State != LegOver })
	if i < 0 {
		return nil
	}
	return &c.Legs[i]
}

// promiseOver: the promise was heard, or can't be.
func (m *Machine) promiseOver(c *call) {
	m.hangUp(c, c.promised(), CauseCallback, 0)
}

// callerGone: a caller who was promised a callback is off the line, and the
// ticket goes on alone. Media is not needed until the customer is called.
func (m *Machine) callerGone(c *call) {
	if c.State != CallWaiting {
		return
	}
	m.timers.stop(timerPromise, string(c.ID), "")
	m.freeMedia(c)
	c.Prompt = Prompt{}
	m.requeue(c)
}

// freeMedia lets go of the media of a call that goes on without.
func (m *Machine) freeMedia(c *call) {
	if len(c.Media) == 0 {
		return
	}
	m.order(c, Release{Media: slices.Clone(c.Media)})
	m.leaveMedia(c)
	c.Media = nil
}

// dialCustomer calls the customer of a call that waits without one; an agent is
// reserved.
func (m *Machine) dialCustomer(c *call) {
	agent := c.Agent
	l := m.dial(c, RoleCaller, c.Number)
	if l == nil {
		panic(fmt.Sprintf("acd: index %d: call %s: an agent is reserved and no channel is free", m.index, c.ID))
	}
	c.Attempts++
	m.fact(Fact{Kind: FactCustomerDialled, Call: c.ID, Leg: l.ID, Agent: agent, Queue: c.Queue}).
		text("number", c.Number).int("attempt", c.Attempts)
}

// noChannel: the call's turn has come and its customer can't be dialled. No agent
// is held up by that.
func (m *Machine) noChannel(c *call) {
	m.fact(Fact{Kind: FactCustomerMissed, Call: c.ID, Queue: c.Queue}).
		text("cause", CauseNoChannel).int("attempt", c.Attempts)
	m.retry(c, min(m.rateRest(), channelRetry))
}

// customerAnswered connects the customer with the agent who was reserved. If
// that one is gone the call waits like any other, at its place.
func (m *Machine) customerAnswered(c *call, l *Leg) {
	c.Caller = l.ID
	if c.Answered == 0 {
		c.Answered = m.now
	}
	m.fact(Fact{Kind: FactCustomerAnswered, Call: c.ID, Leg: l.ID, Queue: c.Queue, Node: c.Owner.Node}).
		int("attempt", c.Attempts).media(l.Media)
	m.expectNoMore(c)
	if m.host(l.Media.Address) == nil {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.attend(c, m.queues[c.Queue], 0, false)
	if m.reserved(c) != nil {
		m.ringReserved(c)
	}
	m.requeue(c) // where all ring, others join
}

// customerLost: the customer could not be reached, and is tried again unless
// that was the last time.
func (m *Machine) customerLost(c *call, class CauseClass) {
	m.fact(Fact{Kind: FactCustomerMissed, Call: c.ID, Queue: c.Queue}).
		text("cause", string(class)).int("attempt", c.Attempts)
	m.unreserve(c, string(class))
	most, wait := m.patience(c)
	switch {
	case c.Attempts >= most:
		m.endCall(c, BySystem, CauseUnreached, 0)
	case m.now >= c.Expire:
		m.endCall(c, BySystem, CauseExpired, 0)
	default:
		m.retry(c, wait)
	}
}

// patience is how often and after what pause the customer is called.
func (m *Machine) patience(c *call) (attempts int, retry time.Duration) {
	if t, ok := m.tasks[c.Task]; ok {
		attempts, retry = t.Attempts, t.Retry
	} else if q := m.queues[c.Queue]; q != nil {
		attempts, retry = q.Callback.Attempts, q.Callback.Retry
	}
	if attempts == 0 {
		attempts = defaultAttempts
	}
	if retry == 0 {
		retry = defaultRetry
	}
	return attempts, retry
}

// retry takes the call out of the line until its next attempt; it comes back to
// its ticket's place.
func (m *Machine) retry(c *call, after time.Duration) {
	m.stopCallTimers(c)
	m.leaveQueue(c)
	m.freeMedia(c)
	c.State, c.Prompt = CallRetrying, Prompt{}
	m.after(after, timerRetry, string(c.ID), "")
}

// expired: the time of the callback or task is over. What is being tried is
// tried to its end.
func (m *Machine) expired(c *call) {
	if m.reserved(c) != nil { // its customer is being called
		return
	}
	m.endCall(c, BySystem, CauseExpired, 0)
}
