package acd

import (
	"slices"
	"time"
)

// Agents dial from their phones: other agents, queues, numbers; what is permitted.
// Such a call is like any other, but its caller is an agent: the caller's leg is
// held by that agent. It is answered when whom it is for answers; where it is for
// a queue, at once.
//
// An agent who talks already consults: the call stands beside the one that agent
// talks in, its root. The two, a family, have one owner, one epoch and one count
// of legs, so that a leg's id is unique in both and its media live in one place.
// That is what makes joining them simple (see joined): a leg changes the call it
// belongs to, and nothing else about it. A root whose legs are all over is closed
// when the last call beside it is.

// root is the call beside which c stands, or c.
func (m *Machine) root(c *call) *call {
	if r := m.calls[c.Root]; r != nil {
		return r
	}
	return c
}

// within is the call of c's family that has the leg, or c.
func (m *Machine) within(c *call, id LegID) *call {
	if c.leg(id) != nil {
		return c
	}
	for _, beside := range c.Beside {
		if b := m.calls[beside]; b.leg(id) != nil {
			return m.own(b)
		}
	}
	return c
}

// agentDialled takes or refuses a call from an agent's phone.
func (m *Machine) agentDialled(b AgentDialled) Result {
	if c, ok := m.calls[b.Call]; ok {
		r := m.noop(ReasonKnownCall)
		r.Epoch = c.Epoch
		return r
	}
	if _, ok := m.closed[b.Call]; ok {
		r := m.noop(ReasonCallOver)
		r.Code = 487
		return r
	}
	refuse := func(reason string, code, retryAfter int) Result {
		return m.refuse(CallArrived{OnCall: b.OnCall, Owner: b.Owner, Edge: b.Edge, From: string(b.Agent), To: b.To, SIPID: b.SIPID}, reason, code, retryAfter)
	}
	a := m.agents[b.Agent]
	switch {
	case !m.lives(b.Owner):
		return refuse(ReasonStaleLife, 503, retryReady)
	case a == nil || a.cfg == nil:
		return refuse(ReasonUnknownAgent, 403, 0)
	case !m.mediaReady():
		return refuse(ReasonNoMedia, 503, retryReady)
	case b.Nonce != "" && m.Replayed(a.ID, b.Nonce, b.Count):
		return refuse(ReasonReplayed, 401, 0)
	}
	to, ok := m.target(b.To)
	if !ok {
		return refuse(ReasonUnknownTarget, 404, 0)
	}
	beside, reason := m.consults(a)
	switch {
	case reason != "":
		return refuse(reason, 486, 0)
	case beside == nil && b.Beside != "", beside != nil && (beside.ID != b.Beside || beside.Owner != b.Owner):
		return refuse(ReasonUnexpected, 503, retryReady) // the phone's next attempt finds where it belongs
	case !a.cfg.Dial.permits(to) && (beside == nil || !m.mayTransfer(beside, beside.leg(a.Leg), to)):
		return refuse(ReasonNotPermitted, 403, 0)
	}
	if code := m.refusesNumber(to.Number); to.Number != "" && code != 0 {
		return refuse(ReasonRule, code, 0)
	}
	if reason := m.badTargetOf(a.ID, to); reason != "" {
		return refuse(reason, referCodes[reason], 0)
	}
	if to.Queue != "" {
		if cause, _ := m.barred(m.queues[to.Queue]); cause != "" {
			return refuse(ReasonQueueRefuses, 480, 0)
		}
	}
	return m.place(a, beside, to, b)
}

// consults is the call beside which the agent's next one would stand, nil for
// none, or why the agent can't dial now.
func (m *Machine) consults(a *agent) (*call, string) {
	switch {
	case a.Consult != "" || a.State == Reserved || a.State == Ringing:
		return nil, ReasonAgentBusy
	case a.State != InCall:
		return nil, ""
	}
	c := m.calls[a.Call]
	if c.State != CallTalking || c.Root != "" {
		return nil, ReasonAgentBusy
	}
	if l := c.leg(a.Leg); l == nil || l.State != LegUp || l.Role == RoleSupervisor {
		return nil, ReasonAgentBusy
	}
	return c, ""
}

// place begins the agent's call.
func (m *Machine) place(a *agent, beside *call, to Target, b AgentDialled) Result {
	c := &call{pos: -1, made: m.snapshots, Call: &Call{
		ID: b.Call, Owner: b.Owner, Epoch: m.index, State: CallArriving, Edge: b.Edge, From: string(a.ID), To: b.To, SIPID: b.SIPID,
		Queue: to.Queue, Chain: to.Chain, Arrived: m.now, Dialler: a.ID,
	}}
	if beside != nil {
		m.own(beside)
		c.Root, c.Epoch, c.Card = beside.ID, beside.Epoch, beside.Card
		beside.Beside = append(slices.Clone(beside.Beside), c.ID)
	}
	a.useNonce(slices.IndexFunc(a.Nonces, func(u NonceUse) bool { return u.Nonce == b.Nonce }),
		BindingsChanged{Nonce: b.Nonce, Count: b.Count, SIPID: b.SIPID})
	m.calls[c.ID] = c
	m.owned[c.Owner.Node]++
	l := m.newLeg(c, Leg{Role: RoleCaller, Agent: a.ID, Record: b.Record})
	c.Caller = l.ID
	w := m.fact(Fact{Kind: FactCallArrived, Call: c.ID, Leg: l.ID, Node: c.Owner.Node, Agent: a.ID}).
		text("edge", c.Edge).text("from", c.From).text("to", c.To).text("sip_call_id", c.SIPID)
	if beside == nil {
		if a.State == WrapUp {
			m.timers.stop(timerWrapUp, string(a.ID), "")
		}
		a.Call, a.Leg = c.ID, l.ID
		m.setAgentState(a, InCall)
	} else {
		w.text("beside", string(beside.ID))
		a.Consult = c.ID
		for _, address := range beside.Media[max(0, len(beside.Media)-1):] {
			m.useMedia(c, address)
		}
	}
	r := Result{Applied: true, Epoch: c.Epoch, Leg: l.ID}
	if to.Agent == "" && to.Number == "" {
		m.answer(c)
		return r
	}
	c.State = CallLeaving
	m.hunt(c, &Chain{Steps: []ChainStep{{Agent: string(to.Agent), Number: to.Number, Stop: causes}}})
	return r
}

// unanswered tells a call whose agent still hears it ring.
func (c *call) unanswered() bool {
	if c.Dialler == "" {
		return false
	}
	l := c.leg(c.Caller)
	return l != nil && l.State == LegNew
}

// diallerAnswered: who the call was for had answered, and now the agent's own leg
// is up.
func (m *Machine) diallerAnswered(c *call, l *Leg, media Media) Result {
	m.timers.stop(timerAnswer, string(c.ID), "")
	l.State, l.Media, l.Answered = LegUp, media, m.now
	c.Answered = m.now
	m.fact(Fact{Kind: FactCallAnswered, Call: c.ID, Leg: l.ID, Node: c.Owner.Node}).media(media)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return Result{Applied: true}
	}
	m.connect(c)
	return Result{Applied: true}
}

// turn makes whom the agent dialled the customer of the call, who can be
// transferred: the agent's leg is on the other side then.
func (c *call) turn(mine *Leg) {
	if c.Dialler == "" || mine.ID != c.Caller {
		return
	}
	c.Caller, c.AgentLeg, c.Agent = c.AgentLeg, mine.ID, mine.Agent
	c.WrapUp, c.WrapUpMax = 0, 0
}

// dialCode is what an agent's phone hears of a call that came to nothing.
func dialCode(class CauseClass) int {
	switch class {
	case ClassBusy:
		return 486
	case ClassDeclined:
		return 603
	case ClassLost:
		return 500
	}
	return 480
}

// freeAgents frees the agents who talk in a call that ends, in the order of their
// legs. An agent whose consultation outlives the call goes on in that.
func (m *Machine) freeAgents(c *call) {
	for i := range c.Legs {
		l := &c.Legs[i]
		a := m.agents[l.Agent]
		switch {
		case a == nil || l.Agent == "":
		case l.Role == RolePickUp:
			m.pickUpLost(c, l)
		case a.Consult == c.ID && l.ID == c.Caller:
			a.Consult = ""
		case a.State == InCall && a.Call == c.ID && a.Leg == l.ID:
			m.letGo(c, a.ID)
		}
	}
}

// letGo frees an agent of the call: for the consultation that goes on, else for
// wrap-up and the next call.
func (m *Machine) letGo(c *call, id AgentID) {
	a := m.agents[id]
	if a == nil {
		return
	}
	dialled := c.Dialler == id && a.Leg == c.Caller
	m.part(a)
	if b := m.calls[a.Consult]; b != nil {
		m.own(b)
		a.Call, a.Leg, a.Consult, b.Owes = b.ID, b.Caller, "", !dialled
		return
	}
	if dialled {
		// The wrap-up is that of the call beside which this one was, if any.
		var most time.Duration
		if c.Owes {
			most, _ = a.wrapUp(nil)
		}
		m.wrapUpAfter(a, most, most)
		return
	}
	m.talkOver(a, c)
}

// besideOver forgets a call that stood beside another, and that one too if it only
// waited for this.
func (m *Machine) besideOver(c *call) {
	r := m.calls[c.Root]
	if r == nil {
		return
	}
	m.own(r)
	r.Beside = slices.DeleteFunc(slices.Clone(r.Beside), func(id CallID) bool { return id == c.ID })
	if len(r.Beside) == 0 {
		r.Beside = nil
		m.closeIfOver(r)
	}
}
