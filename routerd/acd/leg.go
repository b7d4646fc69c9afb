package acd

import "slices"

// CauseClass says in one word why somebody who was called did not answer.
type CauseClass string

// Cause classes.
const (
	ClassBusy        CauseClass = "busy"
	ClassDeclined    CauseClass = "declined"
	ClassNoAnswer    CauseClass = "no-answer"
	ClassUnavailable CauseClass = "unavailable" // there is no phone, or it can't take a call
	ClassLost        CauseClass = "lost"        // by us: an audit found no dialog
)

// causeClass tells the class of a called leg's failure from its SIP code (0:
// none) and cause.
func causeClass(code int, cause string) CauseClass {
	switch {
	case cause == CauseNoDialog:
		return ClassLost
	case code == 486 || code == 600:
		return ClassBusy
	case code == 403 || code > 600:
		return ClassDeclined
	case cause == CauseRingTimeout || code == 408 || code == 480 && cause != CauseNoPhone:
		return ClassNoAnswer
	}
	return ClassUnavailable
}

// weight orders the classes by how much they say about who was called.
func (c CauseClass) weight() int {
	switch c {
	case ClassDeclined:
		return 3
	case ClassBusy:
		return 2
	case ClassNoAnswer:
		return 1
	}
	return 0
}

func (l *Leg) class() CauseClass { return causeClass(l.Code, l.Cause) }

// called tells a leg we began: only such a one can ring and be cancelled.
func (l *Leg) called() bool {
	return l.Role == RoleAgent || l.Role == RoleSupervisor || l.Number != ""
}

// maxDevices bounds the devices of one agent that ring at once.
const maxDevices = 5

// nextDevice takes the flows of the first binding's device (RFC 5626) from
// the bindings: those of its instance, or it alone where it names none.
func nextDevice(contacts []Contact) (device, rest []Contact) {
	if len(contacts) <= 1 {
		return contacts, nil
	}
	first := contacts[0]
	other := func(ct Contact) bool { return ct.Instance == "" || ct.Instance != first.Instance }
	if !slices.ContainsFunc(contacts[1:], other) {
		return contacts, nil
	}
	device = append(device, first)
	for _, ct := range contacts[1:] {
		if other(ct) {
			rest = append(rest, ct)
		} else {
			device = append(device, ct)
		}
	}
	return device, rest
}

// countDevices is how many devices an offer rings.
func countDevices(contacts []Contact) int {
	n := 0
	for i, ct := range contacts {
		if ct.Instance == "" || !slices.ContainsFunc(contacts[:i], func(other Contact) bool { return other.Instance == ct.Instance }) {
			n++
		}
	}
	return min(n, maxDevices)
}

// nextLeg is the id newLeg will give.
func (m *Machine) nextLeg(c *call) LegID { return LegID(itoa(int(m.root(c).LastLeg) + 1)) }

// newLeg adds a leg that is called from now on. The pointer is good until the
// next one is added.
func (m *Machine) newLeg(c *call, l Leg) *Leg {
	r := m.root(c)
	if r != c {
		m.own(r)
	}
	l.ID, l.State, l.Started = m.nextLeg(c), LegNew, m.now
	r.LastLeg++
	c.Legs = append(c.Legs, l)
	return &c.Legs[len(c.Legs)-1]
}

// forgetLegs drops the legs of lost offers: a call that is offered for hours
// must not grow. Those of a live offer are kept, see deviceOver, and the one on
// which a transfer was asked for that goes on, see referred.
func (c *call) forgetLegs() {
	c.Legs = slices.DeleteFunc(c.Legs, func(l Leg) bool {
		if l.Role == RoleCaller || l.State != LegOver || c.Referral.Running() && l.ID == c.Referral.Leg {
			return false
		}
		live := c.nextOffer(l.Offer - 1)
		return live == nil || live.Offer != l.Offer
	})
}

// legProgressed: a called phone rings.
func (m *Machine) legProgressed(c *call, b LegProgressed) Result {
	l := c.leg(b.Leg)
	if l == nil {
		return m.noop(ReasonUnknownLeg)
	}
	switch {
	case l.State == LegRinging:
		return m.noop(ReasonUnchanged)
	case l.State != LegNew || !l.called():
		return m.noop(ReasonUnexpected)
	}
	l.State = LegRinging
	if l.Role == RoleSupervisor {
		m.setAgentState(m.agents[l.Agent], Ringing)
		return Result{Applied: true}
	}
	m.carried(l, b.Trunk)
	m.tellRinging(c)
	if l.Role != RoleAgent {
		return Result{Applied: true}
	}
	m.setAgentState(m.agents[l.Agent], Ringing)
	m.fact(c.offerFact(FactOfferRinging, l.ID, l.Agent)).int("code", b.Code)
	return Result{Applied: true}
}

// legAnswered: of the caller's leg, of the leg under offer, or of a leg whose
// CANCEL crossed the answer. The last is hung up and never bridged.
func (m *Machine) legAnswered(c *call, b LegAnswered) Result {
	l := c.leg(b.Leg)
	switch {
	case l == nil:
		return m.noop(ReasonUnknownLeg)
	case l.State == LegUp:
		return m.noop(ReasonUnchanged)
	case b.Unheard && c.unheard(l):
		m.answeredUnheard(c, l, b.Media)
		return Result{Applied: true}
	case l.State == LegCancelling:
		m.carried(l, b.Trunk)
		l.Media, l.Answered = b.Media, m.now
		m.useMedia(c, b.Media.Address)
		m.fact(Fact{Kind: FactOfferCrossed, Call: c.ID, Leg: l.ID, Agent: l.Agent})
		m.hangUp(c, l, CauseCrossed, 0)
		return Result{Applied: true}
	case l.State != LegNew && l.State != LegRinging:
		return m.noop(ReasonUnexpected)
	case l.Role == RolePickUp:
		return m.pickUpAnswered(c, l, b.Media)
	case l.Role == RoleSupervisor:
		return m.supervisorAnswered(c, l, b.Media)
	case l.Number != "":
		m.carried(l, b.Trunk)
		return m.dialAnswered(c, l, b.Media)
	case l.Role == RoleCaller && c.Dialler != "" && c.State == CallTalking:
		return m.diallerAnswered(c, l, b.Media)
	case l.Role == RoleCaller:
		return m.callerAnswered(c, l, b.Media)
	}
	m.accept(c, l, b.Media)
	return Result{Applied: true}
}

// unheard tells a leg that goes on as another only because its router died.
func (c *call) unheard(l *Leg) bool {
	return l.State == LegCancelling && l.Cause == CauseTakeover && l.Role == RoleAgent && c.rings(l)
}

// answeredUnheard: its phone had been answered, so it need not ring again.
func (m *Machine) answeredUnheard(c *call, l *Leg, media Media) {
	m.stopLegTimers(c, l)
	m.agents[l.Agent].Draining--
	l.State = LegRinging
	m.accept(c, l, media)
}

// legOver: a leg failed or ended. code is the SIP code of a failure.
func (m *Machine) legOver(c *call, id LegID, cause string, code int) Result {
	l := c.leg(id)
	if l == nil {
		return m.noop(ReasonUnknownLeg)
	}
	if l.State == LegOver {
		return m.noop(ReasonUnexpected)
	}
	if cause == "" {
		cause = CauseFailed
	}
	under := *l
	m.legDone(c, l, cause, code)
	switch {
	case c.State == CallEnding:
		m.closeIfOver(c)
	case id == c.Caller:
		m.endCall(c, endedBy(ByCaller, cause, code), cause, 0)
	case under.Role == RoleCaller && under.Number == "" && (under.Agent == "" || c.Caller == ""):
		// An agent's who dialled can be on the other side by now, see turn.
		m.callerGone(c)
	case under.ending():
		// The call goes on.
	case under.Role == RolePickUp:
		m.pickUpLost(c, l)
	case under.Role == RoleSupervisor:
		m.supervisionOver(c, cause)
	case c.Referral.Running() && id == c.Referral.Leg && !c.Referral.Left:
		m.referrerGone(c)
	case id == c.AgentLeg:
		by := ByAgent
		if under.Role == RoleParty {
			by = ByParty
		}
		m.endCall(c, endedBy(by, cause, code), cause, 0)
	case under.offered():
		m.deviceOver(c, *l)
	default:
		m.dialLost(c, *l)
	}
	return Result{Applied: true}
}

// endedBy tells a party that hung up from a leg that was lost.
func endedBy(party, cause string, code int) string {
	switch cause {
	case "timeout", "expired", "no-session", CauseMedia, CauseLost, CauseNoDialog:
		return BySystem
	}
	if code != 0 {
		return BySystem
	}
	return party
}

// legLost takes a leg for over whose end was ordered but never reported.
func (m *Machine) legLost(c *call, id LegID) {
	m.legOver(c, id, CauseLost, 0)
}

// legDone makes a leg over and frees what it held.
func (m *Machine) legDone(c *call, l *Leg, cause string, code int) {
	drained := l.Agent != "" && l.ending()
	if !l.ending() || cause == CauseLost || cause == CauseNoDialog {
		l.Cause, l.Code = cause, code // else it keeps the cause for which it was ended
	}
	m.stopLegTimers(c, l)
	m.holdOver(c, l)
	l.State, l.Contacts = LegOver, nil
	m.freeChannel(l.Trunk)
	w := m.fact(Fact{Kind: FactLegEnded, Call: c.ID, Leg: l.ID, Agent: l.Agent}).
		text("role", string(l.Role)).text("cause", l.Cause)
	if l.Code != 0 {
		w.int("code", l.Code)
	}
	if l.Number != "" {
		w.text("trunk", string(l.Trunk)).text("number", l.Number)
	}
	if l.Holds > 0 {
		w.int("holds", l.Holds).seconds("held", l.HeldFor)
	}
	w.stamp("started", l.Started).stamp("answered", l.Answered).media(l.Media)
	if drained {
		a := m.agents[l.Agent]
		a.Draining--
		m.agentReady(a)
	}
}

func (l *Leg) ending() bool { return l.State == LegCancelling || l.State == LegEnding }

// endLeg orders the end of a leg in whatever state it is.
func (m *Machine) endLeg(c *call, l *Leg, cause string, code int) {
	switch {
	case l.State == LegOver || l.ending():
	case l.called() && l.State != LegUp:
		m.cancelRing(c, l, cause)
	case l.State == LegUp:
		m.hangUp(c, l, cause, 0)
	case l.Role == RolePickUp:
		m.hangUp(c, l, cause, 603) // RFC 3891 section 3: what it names is over
	default:
		m.hangUp(c, l, cause, code)
	}
}

// cancelRing ends a called leg. Until its end is reported the agent is offered
// no other call: the phone may still be ringing, or have just been answered.
func (m *Machine) cancelRing(c *call, l *Leg, cause string) {
	m.drain(l)
	m.stopLegTimers(c, l)
	l.State, l.Cause = LegCancelling, cause
	m.order(c, CancelRing{Leg: l.ID})
	m.after(legWatchdog, timerLeg, string(c.ID), string(l.ID))
}

func (m *Machine) hangUp(c *call, l *Leg, cause string, code int) {
	m.drain(l)
	l.State, l.Cause, l.Code, l.Contacts = LegEnding, cause, code, nil
	m.order(c, Hangup{Leg: l.ID, Code: code, Cause: cause})
	m.after(legWatchdog, timerLeg, string(c.ID), string(l.ID))
}

// stopLegTimers stops what times the leg's present state. It comes before every
// change of state but the one to ringing, which goes on with the same timer. An
// offer's timer is stopped with the offer.
func (m *Machine) stopLegTimers(c *call, l *Leg) {
	switch {
	case l.ending():
		m.timers.stop(timerLeg, string(c.ID), string(l.ID))
	case l.Role == RolePickUp:
		m.timers.stop(timerPickUp, string(c.ID), string(l.ID))
	case (l.Number != "" || l.Role == RoleSupervisor) && l.State != LegUp:
		m.timers.stop(timerRing, string(c.ID), string(l.ID))
	}
}

// drain counts an agent's leg whose end is ordered, once.
func (m *Machine) drain(l *Leg) {
	if l.Agent != "" && !l.ending() {
		a := m.agents[l.Agent]
		a.Draining++
		m.agentReady(a)
	}
}
