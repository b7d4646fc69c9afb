package acd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// While a chain's steps are tried exactly one thing goes on at a time: an offer
// to an agent, a number that is dialled, or waiting for an agent who is busy.
// The chain is copied into the call, so that a configuration that changes
// meanwhile does not pull the steps from under it. The call's ticket is as old
// as the chain: where it falls back to a queue it has its place.

// hunt tries the steps of a chain one after the other until somebody answers.
func (m *Machine) hunt(c *call, chain *Chain) {
	m.stopCallTimers(c)
	if c.Caller != "" {
		m.meet(c)
	}
	m.giveTicket(c)
	c.State, c.Chain, c.Hunt, c.Step = CallHunting, chain.ID, *chain, 0
	m.fact(Fact{Kind: FactCallHunting, Call: c.ID}).
		text("chain", string(c.Chain)).int("steps", len(chain.Steps)).uint("ticket", c.Ticket).
		earlier("enqueued", c.Enqueued, m.now)
	if chain.Music != "" && c.Prompt != (Prompt{Name: chain.Music, Loop: true, Started: true}) {
		m.play(c, chain.Music, true)
	}
	m.tryStep(c, "")
}

// tryStep tries the call's present step and those after it until one takes some
// time. after is why the step before was lost.
func (m *Machine) tryStep(c *call, after CauseClass) {
	for ; c.Step < len(c.Hunt.Steps); c.Step++ {
		step := &c.Hunt.Steps[c.Step]
		ring := cmp.Or(step.Ring, defaultRing)
		agent, known := c.named(step.Agent)
		number, dials := c.named(step.Number)
		w := m.fact(Fact{Kind: FactChainStep, Call: c.ID, Agent: AgentID(agent)}).
			text("chain", string(c.Chain)).int("step", c.Step+1).text("number", number).text("after", string(after))
		switch {
		case known:
			after = m.tryAgent(c, AgentID(agent), ring, step.Wait, w)
		case dials:
			after = m.tryNumber(c, number, ring, w)
		default:
			w.text("does", "skip") // the card does not say whom to call
			continue
		}
		if after == "" {
			return
		}
		if c.stops(after) {
			m.chainOver(c, string(after))
			return
		}
	}
	m.chainOver(c, CauseNobody)
}

// named is what a step names, which may be what the card has under a key. It is
// false if nothing is there.
func (c *call) named(s string) (string, bool) {
	if key, onCard := strings.CutPrefix(s, "$"); onCard {
		s, _ = cardValue(c.Card, key)
	}
	return s, s != ""
}

// stops tells whether the chain ends when its present step is lost so.
func (c *call) stops(class CauseClass) bool {
	if class == ClassLost {
		class = ClassUnavailable
	}
	return slices.Contains(c.Hunt.Steps[c.Step].Stop, string(class))
}

// tryAgent offers the call to the agent, or waits for one who is busy. It
// returns why neither can be done. w is the step's fact.
func (m *Machine) tryAgent(c *call, id AgentID, ring, wait time.Duration, w *factWriter) CauseClass {
	a, class := m.agents[id], ClassUnavailable
	if a != nil {
		class = a.reachable()
	}
	switch {
	case class == "":
		w.text("does", "offer")
		m.offerTo(c, a, ring)
	case class == ClassBusy && wait > 0:
		w.text("does", "wait").seconds("wait", wait)
		m.await(c, a)
		m.after(wait, timerHunt, string(c.ID), "")
		return ""
	default:
		w.text("does", "pass").text("class", string(class))
	}
	return class
}

// tryNumber dials a number. It returns why it can't. w is the step's fact, which
// ends before those of the dialling begin.
func (m *Machine) tryNumber(c *call, number string, ring time.Duration, w *factWriter) CauseClass {
	class := CauseClass("")
	if code := m.refusesNumber(number); code != 0 {
		c.Referral.heard(code)
		class = ClassDeclined
	} else if !m.canDial() {
		class = ClassUnavailable
	}
	if class != "" {
		w.text("does", "pass").text("class", string(class))
		return class
	}
	w.text("does", "dial")
	l := m.dial(c, RoleParty, number)
	l.RingFor = ring
	m.after(ring, timerRing, string(c.ID), string(l.ID))
	return ""
}

// reachable is how an attempt to reach the agent would be lost now, empty if an
// offer can be made. A targeted call is no queue's: a back-off does not keep it
// away.
func (a *agent) reachable() CauseClass {
	switch a.exclusion() {
	case notExcluded, isBackingOff:
		return ""
	case isReserved, isRinging, isInCall, isWrappingUp, isDraining:
		return ClassBusy
	}
	return ClassUnavailable
}

// stepLost goes on with the step after the one that was lost, unless the chain
// is to end for this cause.
func (m *Machine) stepLost(c *call, class CauseClass) {
	if c.stops(class) {
		m.chainOver(c, string(class))
		return
	}
	c.Step++
	m.tryStep(c, class)
}

// chainOver sends a caller whom nobody answered on.
func (m *Machine) chainOver(c *call, cause string) {
	switch {
	case c.Referral.Running():
		m.referralLost(c, CauseClass(cause))
		return
	case c.unanswered():
		m.endCall(c, BySystem, cause, dialCode(CauseClass(cause)))
		return
	}
	m.stopCallTimers(c)
	then := c.Hunt.Then
	c.State, c.Hunt, c.Step = CallLeaving, Chain{}, 0
	m.divert(c, &then, cause)
}

// offerToLost: the agent of a targeted offer did not take the call.
func (m *Machine) offerToLost(c *call, a *agent, class CauseClass) {
	m.stepLost(c, class)
}

// partyLost: somebody outside who was called for the customer did not answer.
func (m *Machine) partyLost(c *call, l Leg) {
	c.Referral.heard(l.Code)
	m.stepLost(c, l.class())
}

// partyAnswered: somebody outside answered, the two are connected. No agent has
// anything to do with it.
func (m *Machine) partyAnswered(c *call, l *Leg, media Media) {
	m.stopCallTimers(c)
	m.stopLegTimers(c, l)
	l.State, l.Media, l.Answered = LegUp, media, m.now
	waited := c.waited(m.now)
	m.referred(c)
	c.talks("", l.ID, m.now)
	m.meet(c)
	c.WrapUp, c.WrapUpMax = 0, 0
	m.fact(Fact{Kind: FactPartyAnswered, Call: c.ID, Leg: l.ID}).
		text("number", l.Number).seconds("rang", between(l.Started, m.now)).seconds("wait", waited).media(media)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.connect(c)
	m.fact(Fact{Kind: FactCallBridged, Call: c.ID, Leg: l.ID}).seconds("wait", waited)
}

// talks begins a conversation, which stops what plays. The first one is when the
// call was answered, whoever it is given to later.
func (c *call) talks(agent AgentID, leg LegID, now Time) {
	c.State, c.Agent, c.AgentLeg, c.Hunt, c.Step, c.Prompt = CallTalking, agent, leg, Chain{}, 0, Prompt{}
	if c.Bridged == 0 {
		c.Bridged = now
	}
}

// waited is how long the caller has waited for somebody to talk to: since the
// ticket, or since the last conversation was over.
func (c *call) waited(now Time) time.Duration { return between(max(c.Enqueued, c.Parted), now) }

// await makes the call wait for an agent who is busy. Of several calls the one
// with the oldest ticket gets the agent.
func (m *Machine) await(c *call, a *agent) {
	c.Awaits = a.ID
	a.hunted(c)
}

func (a *agent) hunted(c *call) {
	at, _ := slices.BinarySearchFunc(a.hunters, c.Ticket, func(x *call, ticket uint64) int { return cmp.Compare(x.Ticket, ticket) })
	a.hunters = slices.Insert(a.hunters, at, c)
}

// awaitOver ends the wait for a busy agent, if there is one.
func (m *Machine) awaitOver(c *call) {
	if c.Awaits == "" {
		return
	}
	if a := m.agents[c.Awaits]; a != nil {
		a.hunters = slices.DeleteFunc(a.hunters, func(x *call) bool { return x == c })
	}
	c.Awaits = ""
	m.timers.stop(timerHunt, string(c.ID), "")
}

// awaitedTooLong: the agent is still busy.
func (m *Machine) awaitedTooLong(c *call) {
	m.awaitOver(c)
	m.stepLost(c, ClassBusy)
}

// serveHunters gives agents whose state changed to the calls that wait for just
// them, before any queue gets them.
func (m *Machine) serveHunters() {
	for i := 0; i < len(m.wanted); i++ { // serving one may add others
		a := m.wanted[i]
		for len(a.hunters) > 0 {
			class := a.reachable()
			if class == ClassBusy {
				break
			}
			c := m.own(a.hunters[0])
			m.awaitOver(c)
			if class != "" {
				m.stepLost(c, class)
				continue
			}
			m.offerTo(c, a, cmp.Or(c.Hunt.Steps[c.Step].Ring, defaultRing))
		}
	}
	m.wanted = m.wanted[:0]
}
