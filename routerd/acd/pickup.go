package acd

import "slices"

// An agent picks up a call that another's phone rings for, or takes over the
// conversation of one, by INVITE with Replaces naming that phone's dialog (RFC
// 3891). While the new leg is answered, which takes the owner some milliseconds,
// the call goes on as if nothing had been asked: the phone rings, its agent
// talks. The commit of the answer decides, by what is true by then, so of all who
// answer exactly one has the call, and a pick-up that comes to nothing cost
// nobody anything: what rang and was answered meanwhile stays with who answered.

// What the agents of a queue may pick up from each other's phones.
const (
	PickUpRinging = "ringing" // calls that ring
	PickUpAny     = "any"     // conversations as well
)

// callPickedUp takes or refuses a pick-up. Result.Code of a refusal is the SIP code
// (RFC 3891 section 3), Result.Leg of one that is taken the new leg.
func (m *Machine) callPickedUp(c *call, b CallPickedUp) Result {
	if _, ok := m.calls[b.As]; ok {
		return m.noop(ReasonKnownCall)
	}
	if _, ok := m.closed[b.As]; ok {
		r := m.noop(ReasonCallOver)
		r.Code = 487
		return r
	}
	was := c.leg(b.Leg)
	refuse := func(reason string, code, retryAfter int) Result {
		to := ""
		if was != nil {
			to = string(was.Agent)
		}
		return m.refuse(CallArrived{OnCall: OnCall{Call: b.As}, Owner: c.Owner, Edge: b.Edge, From: string(b.Agent), To: to, SIPID: b.SIPID}, reason, code, retryAfter)
	}
	a := m.agents[b.Agent]
	switch {
	case a == nil || a.cfg == nil:
		return refuse(ReasonUnknownAgent, 403, 0)
	case b.Nonce != "" && m.Replayed(a.ID, b.Nonce, b.Count):
		return refuse(ReasonReplayed, 401, 0)
	case was == nil || was.State == LegNew && !was.called():
		return refuse(ReasonUnknownLeg, 481, 0) // an early dialog has to be of an INVITE of ours
	case was.ending() || was.State == LegOver:
		return refuse(ReasonLegOver, 603, 0)
	case !m.mayPickUp(a, c, was):
		return refuse(ReasonNotPermitted, 403, 0)
	case was.State == LegUp && b.EarlyOnly:
		return refuse(ReasonAnswered, 486, 0)
	case was.State == LegUp && c.Referral.Running():
		return refuse(ReasonTransferring, 491, 0)
	case was.State == LegUp && !m.talksOn(c, was):
		return refuse(ReasonNotTalking, 480, 0)
	case a.Consult != "" || a.State.busy() && !m.heldBy(a, c, was):
		return refuse(ReasonAgentBusy, 486, 0)
	case !m.mediaReady():
		return refuse(ReasonNoMedia, 503, retryReady)
	}
	a.useNonce(slices.IndexFunc(a.Nonces, func(u NonceUse) bool { return u.Nonce == b.Nonce }),
		BindingsChanged{Nonce: b.Nonce, Count: b.Count, SIPID: b.SIPID})
	// Far ends name the new leg's dialog by the call that its INVITE alone would be.
	m.closed[b.As] = &Closed{Call: b.As, Owner: c.Owner, Epoch: c.Epoch, Root: m.root(c).ID, Moved: true}
	m.after(closedMemory, timerClosed, string(b.As), "")
	l := m.newLeg(c, Leg{Role: RolePickUp, Agent: a.ID, Replaces: b.Leg, EarlyOnly: was.State != LegUp, Record: b.Record})
	m.fact(c.offerFact(FactPickUpAsked, l.ID, a.ID)).text("from", string(was.Agent)).text("was", string(was.ID)).flag("early_only", b.EarlyOnly).
		text("edge", b.Edge).text("sip_call_id", b.SIPID)
	if !a.State.busy() {
		if a.State == WrapUp {
			m.timers.stop(timerWrapUp, string(a.ID), "")
		}
		a.Call, a.Leg = c.ID, l.ID
		m.setAgentState(a, Reserved)
	}
	m.answerPickUp(c, l)
	return Result{Applied: true, Epoch: c.Epoch, Leg: l.ID}
}

func (m *Machine) answerPickUp(c *call, l *Leg) {
	m.order(c, AnswerCall{Leg: l.ID})
	m.after(answerWatchdog, timerPickUp, string(c.ID), string(l.ID))
}

// mayPickUp tells whether the agent may have what the leg has: its own in any
// case, else by what is permitted to the agent, or in the call's queue to those
// who serve it. Consultations are nobody else's.
func (m *Machine) mayPickUp(a *agent, c *call, was *Leg) bool {
	if was.Agent == "" || was.Role == RolePickUp || was.Role == RoleSupervisor || c.Root != "" {
		return false
	}
	p := &a.cfg.PickUp
	if was.Agent == a.ID || p.Agents || slices.Contains(p.Queues, c.Queue) || slices.Contains(p.Chains, c.Chain) {
		return true
	}
	q := m.queues[c.Queue]
	if q == nil || !slices.ContainsFunc(a.seats, func(s *seat) bool { return s.queue == q }) {
		return false
	}
	return q.PickUp == PickUpAny || q.PickUp == PickUpRinging && was.State != LegUp
}

// talksOn tells a leg on which an agent talks.
func (m *Machine) talksOn(c *call, l *Leg) bool {
	if c.State != CallTalking || c.unanswered() || l.State != LegUp {
		return false
	}
	return l.ID == c.AgentLeg || c.Dialler != "" && l.ID == c.Caller
}

// heldBy tells an agent whom this call holds already, so that it can be had on
// another phone: whom it rings for, or who talks on the very leg.
func (m *Machine) heldBy(a *agent, c *call, was *Leg) bool {
	if a.Call != c.ID {
		return false
	}
	l := c.leg(a.Leg)
	return l != nil && (l.offered() || a.Leg == was.ID && m.talksOn(c, was))
}

// pickUpAnswered: the 200 of a pick-up is ready to go out. What it names decides.
func (m *Machine) pickUpAnswered(c *call, l *Leg, media Media) Result {
	m.stopLegTimers(c, l)
	a, was := m.agents[l.Agent], c.leg(l.Replaces)
	free := a.Leg == l.ID // nothing but this leg holds the agent
	switch {
	case was != nil && c.rings(was) && (free || m.heldBy(a, c, was)):
		m.pickedUp(c, l, was, "ringing")
		m.takeOffer(c, l, free)
		m.accept(c, l, media)
	case was != nil && m.talksOn(c, was) && !l.EarlyOnly && !c.Referral.Running() && free:
		m.pickedUp(c, l, was, "talking")
		m.relieve(c, l, was)
		m.accept(c, l, media)
		c.WrapUp, c.WrapUpMax = a.wrapUp(m.queues[c.Queue])
	case was != nil && m.talksOn(c, was) && !l.EarlyOnly && !c.Referral.Running() && a.Leg == was.ID:
		m.pickedUp(c, l, was, "talking")
		m.changePhones(c, l, was, media)
	default:
		l.Media = media
		m.useMedia(c, media.Address)
		m.pickUpLost(c, l)
		m.hangUp(c, l, CauseElsewhere, 603)
		return m.noop(ReasonUnexpected)
	}
	return Result{Applied: true}
}

// rings tells whether the offer that the leg belongs to is live. After a takeover
// that may be by another leg.
func (c *call) rings(l *Leg) bool {
	live := c.nextOffer(l.Offer - 1)
	return l.Offer > 0 && live != nil && live.Offer == l.Offer
}

func (m *Machine) pickedUp(c *call, l, was *Leg, state string) {
	m.fact(c.offerFact(FactCallPickedUp, l.ID, l.Agent)).
		text("from", string(was.Agent)).text("was", string(was.ID)).text("state", state)
}

// takeOffer makes the leg one of an offer: of the agent's own, if it rings for the
// agent anyway, else of a new one.
func (m *Machine) takeOffer(c *call, l *Leg, free bool) {
	l.Role = RoleAgent
	if !free {
		l.Offer = c.leg(m.agents[l.Agent].Leg).Offer
		return
	}
	c.Offers++
	l.Offer = c.Offers
	m.fact(c.offerFact(FactOfferMade, l.ID, l.Agent)).int("offer", l.Offer).text("stage", stagePickUp)
}

// relieve lets the agent go who talks, as a transfer would.
func (m *Machine) relieve(c *call, l, was *Leg) {
	c.turn(was)
	m.fact(c.offerFact(FactCallTransferred, was.ID, was.Agent)).
		text("to", Target{Agent: l.Agent}.String()).text("reason", CausePickedUp).seconds("talk", between(was.Answered, m.now)).uint("ticket", c.Ticket)
	c.State, c.Agent, c.AgentLeg = CallLeaving, "", ""
	c.Transfers++
	c.Parted, c.Moves = m.now, 0
	m.letGo(c, was.Agent)
	m.hangUp(c, was, CausePickedUp, 0)
	m.takeOffer(c, l, true)
}

// changePhones goes on with the same agent on another phone.
func (m *Machine) changePhones(c *call, l, was *Leg, media Media) {
	c.turn(was)
	l.Role, l.Offer, l.State, l.Media, l.Answered = RoleAgent, was.Offer, LegUp, media, m.now
	m.agents[l.Agent].Leg = l.ID
	c.talks(l.Agent, l.ID, m.now)
	m.hangUp(c, was, CausePickedUp, 0)
	if !m.useMedia(c, media.Address) {
		m.endCall(c, BySystem, CauseMedia, 0)
		return
	}
	m.connect(c)
}

// pickUpLost frees the agent of a pick-up that comes to nothing.
func (m *Machine) pickUpLost(c *call, l *Leg) {
	m.timers.stop(timerPickUp, string(c.ID), string(l.ID))
	if a := m.agents[l.Agent]; a != nil && a.Call == c.ID && a.Leg == l.ID {
		m.part(a)
		m.setAgentState(a, Idle)
	}
}

// pickUpTimedOut: its answer was never reported.
func (m *Machine) pickUpTimedOut(c *call, id LegID) {
	l := c.leg(id)
	m.pickUpLost(c, l)
	m.hangUp(c, l, CauseAnswerTimeout, 503)
}
