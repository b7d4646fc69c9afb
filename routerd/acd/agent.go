package acd

import "time"

// agent is an agent, its configuration and its places in queues.
type agent struct {
	AgentInfo
	cfg   *Agent // nil once deleted
	seats []*seat
	// hunters are the calls that wait for just this agent, by ticket.
	hunters []*call
	out     exclusion // as counted in its queues

	measured bool // serves a least-busy queue
}

// exclusion is why an agent can't be offered a call.
type exclusion uint8

const (
	notExcluded exclusion = iota
	isLoggedOut
	isOnBreak
	isInTraining
	isReserved
	isRinging
	isInCall
	isWrappingUp
	isDraining
	hasNoPhone
	isBackingOff
	exclusions // how many there are
)

// exclusionNames are the words of the why-record.
var exclusionNames = [exclusions]string{
	"", "logged-out", "on-break", "training", "reserved", "ringing", "in-call",
	"wrap-up", "cancelling", "no-phone", "back-off",
}

func (a *agent) exclusion() exclusion {
	switch a.Status {
	case LoggedOut:
		return isLoggedOut
	case OnBreak:
		return isOnBreak
	case Training:
		return isInTraining
	}
	switch a.State {
	case Reserved:
		return isReserved
	case Ringing:
		return isRinging
	case InCall:
		return isInCall
	case WrapUp:
		return isWrappingUp
	}
	switch {
	case a.Draining > 0:
		return isDraining
	case len(a.Contacts) == 0:
		return hasNoPhone
	case a.BackOff != 0:
		return isBackingOff
	}
	return notExcluded
}

// away tells an agent for whom no call is kept.
func (a *agent) away() bool {
	return a.Deleted || a.Status != Available || len(a.Contacts) == 0
}

// agentReady brings the queues up to date after anything changed that an
// agent's eligibility depends on. An eligible agent's rank must not change.
func (m *Machine) agentReady(a *agent) {
	if a.away() {
		m.release(a)
	}
	was, now := a.out, a.exclusion()
	if was == now {
		return
	}
	if now == notExcluded {
		m.countLoad(a)
	}
	a.out = now
	if len(a.hunters) > 0 {
		m.wanted = append(m.wanted, a)
	}
	for _, s := range a.seats {
		s.queue.account(m.now)
		q := s.queue
		q.out[was]--
		q.out[now]++
		for _, e := range s.entries {
			if was == notExcluded {
				e.class.idle.remove(e)
			}
			if now == notExcluded {
				e.class.idle.add(e)
				m.touch(e.class)
			}
		}
		if now == notExcluded && s.load != nil {
			m.recountAt(q)
		}
		if s.queue.LeaveEmpty > 0 {
			m.watchEmpty(s.queue)
		}
	}
}

func (m *Machine) setAgentState(a *agent, s AgentState) {
	if a.State == s {
		return
	}
	m.countLoad(a)
	if a.State == InCall && s != InCall {
		m.helpOver(a, CauseCallOver)
	}
	if a.State.busy() && !s.busy() {
		m.pendingStatus(a)
	}
	m.fact(Fact{Kind: FactAgentState, Call: a.Call, Agent: a.ID}).text("state", string(s)).text("was", string(a.State))
	a.State, a.Since = s, m.now
	if s != WrapUp {
		a.WrapUpEnds = 0
	}
	m.agentReady(a)
}

// busy tells whether the agent is under offer or talking.
func (s AgentState) busy() bool { return s == Reserved || s == Ringing || s == InCall }

// part takes the agent off its call. The state is the caller's to set.
func (m *Machine) part(a *agent) {
	a.Call, a.Leg = "", ""
}

// talkOver sends the agent into wrap-up. Leg ends still to be reported keep
// offers away but not the wrap-up from running.
func (m *Machine) talkOver(a *agent, c *call) { m.wrapUpAfter(a, c.WrapUp, c.WrapUpMax) }

func (m *Machine) wrapUpAfter(a *agent, wrapUp, most time.Duration) {
	a.IdleSince = m.now
	if wrapUp == 0 || a.Deleted {
		m.setAgentState(a, Idle)
		return
	}
	m.setAgentState(a, WrapUp)
	a.WrapUpEnds = m.now.Add(max(wrapUp, most))
	m.after(wrapUp, timerWrapUp, string(a.ID), "")
}

// wrapUp is how long the agent may wrap up after a call of the queue, and up to
// which that can be extended. Outside any queue the agent's first one counts.
func (a *agent) wrapUp(q *queue) (wrapUp, most time.Duration) {
	if q == nil && len(a.seats) > 0 {
		q = a.seats[0].queue
	}
	if q == nil {
		return 0, 0
	}
	return q.WrapUp, q.WrapUpMax
}

func (m *Machine) backOffOver(a *agent) {
	a.BackOff = 0
	m.agentReady(a)
}
