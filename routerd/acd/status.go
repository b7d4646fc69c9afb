package acd

import "time"

// agentStatusSet changes the agent's status, at once where the agent is free.
// During an offer or a call the change waits until the agent is free of it: a
// logout does not touch the call, it keeps the next one away. Asking for the
// status in force takes a waiting change back.
func (m *Machine) agentStatusSet(b AgentStatusSet) Result {
	a, ok := m.agents[b.Agent]
	if !ok || a.Deleted {
		return m.noop(ReasonUnknownAgent)
	}
	switch b.Status {
	case LoggedOut, Available, OnBreak, Training:
	default:
		return m.noop(ReasonBadStatus)
	}
	if !m.askStatus(a, b.Status, b.Reason) {
		return m.noop(ReasonUnchanged)
	}
	return Result{Applied: true}
}

// askStatus sets the status, or notes it until the agent is free. It returns
// false if that changes nothing.
func (m *Machine) askStatus(a *agent, s AgentStatus, reason string) bool {
	switch {
	case a.Pending != "" && s == a.Status:
		m.fact(Fact{Kind: FactAgentPending, Call: a.Call, Agent: a.ID}).
			text("status", string(s)).text("was", string(a.Pending)).flag("cancelled", true)
		a.Pending, a.PendingReason = "", ""
		return true
	case a.Pending == s && a.PendingReason == reason, a.Pending == "" && a.Status == s && a.Reason == reason:
		return false
	case !a.State.busy() || a.Status == s: // of the same status, another reason
		m.setStatus(a, s, reason)
		return true
	}
	m.fact(Fact{Kind: FactAgentPending, Call: a.Call, Agent: a.ID}).
		text("status", string(s)).text("was", string(a.Pending)).text("reason", reason)
	a.Pending, a.PendingReason = s, reason
	return true
}

// pendingStatus lets the status take effect that was asked for during the call
// the agent is just free of. A wrap-up runs under it.
func (m *Machine) pendingStatus(a *agent) {
	if a.Pending == "" {
		return
	}
	s, reason := a.Pending, a.PendingReason
	a.Pending, a.PendingReason = "", ""
	if a.Status != s || a.Reason != reason {
		m.setStatus(a, s, reason)
	}
}

// setStatus changes the status now.
func (m *Machine) setStatus(a *agent, s AgentStatus, reason string) {
	m.fact(Fact{Kind: FactAgentStatus, Agent: a.ID}).
		text("status", string(s)).text("was", string(a.Status)).text("reason", reason)
	if s != a.Status {
		m.countLoad(a)
	}
	became := s == Available && a.Status != Available
	a.Status, a.Reason = s, reason
	if became {
		a.Missed, a.IdleSince, a.BackOff = 0, m.now, 0
		m.timers.stop(timerBackOff, string(a.ID), "")
	}
	m.agentReady(a)
}

// wrapUpSet moves the end of a wrap-up, not beyond what the queue of its call
// allowed when the agent answered.
func (m *Machine) wrapUpSet(b WrapUpSet) Result {
	a, ok := m.agents[b.Agent]
	switch {
	case !ok || a.Deleted:
		return m.noop(ReasonUnknownAgent)
	case a.State != WrapUp:
		return m.noop(ReasonNotWrappingUp)
	case b.Remaining < 0:
		return m.noop(ReasonBadDuration)
	}
	// Compared as durations: an absurd one must not overflow the time.
	now, most := m.timers.left(m.now, timerWrapUp, string(a.ID), ""), a.WrapUpEnds.Sub(m.now)
	remaining := min(b.Remaining, most)
	switch {
	case b.Remaining == now:
		return m.noop(ReasonUnchanged)
	case remaining == now:
		return m.noop(ReasonWrapUpMost)
	}
	m.fact(Fact{Kind: FactAgentWrapUp, Agent: a.ID}).
		seconds("remaining", remaining).seconds("was", now).flag("bounded", remaining < b.Remaining)
	if remaining > 0 {
		m.after(remaining, timerWrapUp, string(a.ID), "")
		return Result{Applied: true}
	}
	m.timers.stop(timerWrapUp, string(a.ID), "")
	m.setAgentState(a, Idle)
	return Result{Applied: true}
}

// left is how long an armed timer has to go, 0 if it is not armed.
func (t *timers) left(now Time, kind TimerKind, id, sub string) time.Duration {
	e, ok := t.byKey[timerKey{kind, id, sub}]
	if !ok {
		return 0
	}
	return e.At.Sub(now)
}
