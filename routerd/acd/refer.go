package acd

import "time"

// A transfer that an agent asks for by REFER (RFC 3515) differs from one that is
// asked for by the API in that the agent stays on the line: until somebody
// answers the caller hears music, and if nobody does the two talk on as before.
// An agent who hangs up meanwhile is free; the caller then goes back to the
// queue, to the place of its ticket. A queue or a chain takes the caller at once.

// Referral is the last transfer that somebody asked for on a leg of the call.
type Referral struct {
	Leg   LegID   `cbor:"1,keyasint"` // whose far end asked; empty: nobody ever did
	Agent AgentID `cbor:"2,keyasint,omitempty"`
	To    Target  `cbor:"3,keyasint,omitzero"`
	// Code is how it went, as a SIP code; 0: it goes on.
	Code int `cbor:"4,keyasint,omitempty"`
	// Left: who asked has hung up and is told nothing more.
	Left bool `cbor:"5,keyasint,omitempty"`
	// Heard is the last refusal of whom it goes to; 0: none.
	Heard  int    `cbor:"6,keyasint,omitempty"`
	Reason string `cbor:"7,keyasint,omitempty"`
	Since  Time   `cbor:"8,keyasint,omitempty"`
}

// Running tells whether the outcome is still open.
func (r *Referral) Running() bool { return r.Leg != "" && r.Code == 0 }

// heard keeps the refusal of whom the call is to go to.
func (r *Referral) heard(code int) {
	if r.Running() {
		r.Heard = code
	}
}

func (r *Referral) digest(d *digest) {
	if *r == (Referral{}) {
		return
	}
	d.text(string(r.Leg), string(r.Agent), r.Reason, string(r.To.Queue), string(r.To.Agent), string(r.To.Chain), r.To.Number)
	d.num(uint64(r.Code), uint64(r.Heard), uint64(r.Since))
	d.flag(r.Left)
}

// SIP codes of refused transfers, for the final NOTIFY (RFC 3515 section 2.4.5).
var referCodes = map[string]int{
	ReasonNotTalking: 480, ReasonTransferring: 491, ReasonNotPermitted: 403, ReasonUnknownTarget: 404,
	ReasonUnknownAgent: 404, ReasonAgentBusy: 486, ReasonAgentUnavailable: 480, ReasonNoTrunks: 503,
	ReasonCardTooBig: 500, ReasonQueueRefuses: 480,
}

// callReferred: the far end of a leg wants the other one to talk to somebody
// else. Result.Code of a refusal is for the far end.
func (m *Machine) callReferred(c *call, b CallReferred) Result {
	refuse := func(reason string) Result {
		r := m.noop(reason)
		if r.Code = referCodes[reason]; r.Code == 0 {
			r.Code = 500
		}
		return r
	}
	l := c.leg(b.Leg)
	switch {
	case l == nil || l.State != LegUp:
		return refuse(ReasonUnknownLeg)
	case c.Referral.Running():
		return refuse(ReasonTransferring)
	case c.State != CallTalking || c.unanswered() || l.ID != c.AgentLeg && (c.Dialler == "" || l.ID != c.Caller):
		return refuse(ReasonNotTalking)
	case c.Root != "" && l.ID == c.Caller:
		return refuse(ReasonNotPermitted) // a consultation ends, or becomes the other's call
	}
	to, ok := m.target(b.To)
	if !ok {
		return refuse(ReasonUnknownTarget)
	}
	if !m.mayTransfer(c, l, to) {
		return refuse(ReasonNotPermitted)
	}
	if reason := m.badTargetOf(l.Agent, to); reason == ReasonRule {
		r := m.noop(reason)
		r.Code = m.refusesNumber(to.Number)
		return r
	} else if reason != "" {
		return refuse(reason)
	}
	if to.Queue != "" {
		if cause, _ := m.barred(m.queues[to.Queue]); cause != "" {
			return refuse(ReasonQueueRefuses)
		}
	}
	by := string(l.Agent)
	if by == "" {
		by = l.Number
	}
	card := []Attr{{CardTransferredBy, by}, {CardTransferReason, b.Reason}}
	if badCard(card) != "" {
		return refuse(ReasonCardTooBig)
	}
	if card = withCard(c.Card, card); len(card) > maxCard {
		return refuse(ReasonCardTooBig)
	}
	c.turn(l)
	c.Card = card
	c.Referral = Referral{Leg: l.ID, Agent: c.Agent, To: to, Reason: b.Reason, Since: m.now}
	m.fact(c.offerFact(FactTransferAsked, l.ID, c.Agent)).
		text("to", to.String()).text("reason", b.Reason).uint("ticket", c.Ticket)
	m.refer(c, to, 0)
	return Result{Applied: true}
}

// refer begins the transfer that was asked for. An agent who is busy is waited for
// so long.
func (m *Machine) refer(c *call, to Target, wait time.Duration) {
	if to.Agent != "" || to.Number != "" {
		c.State, c.Agent, c.AgentLeg, c.Parted = CallLeaving, "", "", m.now
		music := ""
		if q := m.queues[c.Queue]; q != nil {
			music = q.Music
		}
		// Whatever loses the only step ends the attempt, and says why.
		m.hunt(c, &Chain{Music: music, Steps: []ChainStep{{Agent: string(to.Agent), Number: to.Number, Wait: wait, Stop: causes}}})
		return
	}
	m.referred(c)
	if to.Queue != "" {
		m.enter(c, to.Queue)
	} else {
		m.hunt(c, m.chains[to.Chain])
	}
}

// referred: the transfer has succeeded; who asked for it is let go. It comes
// before the conversation that follows.
func (m *Machine) referred(c *call) {
	r := &c.Referral
	if !r.Running() {
		return
	}
	r.Code = 200
	l := c.leg(r.Leg)
	m.fact(c.offerFact(FactCallTransferred, l.ID, r.Agent)).
		text("to", r.To.String()).text("reason", r.Reason).seconds("talk", between(l.Answered, r.Since)).uint("ticket", c.Ticket)
	c.Transfers++
	c.Parted, c.Moves = r.Since, 0
	if c.State != CallHunting { // a queue's or chain's: at once
		c.State, c.Agent, c.AgentLeg = CallLeaving, "", ""
	}
	if r.Left {
		return
	}
	m.order(c, TellProgress{Leg: l.ID, Code: 200})
	m.letGo(c, r.Agent)
	m.hangUp(c, l, CauseTransferred, 0)
}

// referralLost: nobody answered. The caller talks on with who asked, or goes
// back to where it came from.
func (m *Machine) referralLost(c *call, class CauseClass) {
	r := &c.Referral
	m.stopCallTimers(c)
	c.Hunt, c.Step = Chain{}, 0
	r.Code = r.failure(class)
	m.fact(c.offerFact(FactTransferFailed, r.Leg, r.Agent)).
		text("to", r.To.String()).text("class", string(class)).int("code", r.Code).flag("left", r.Left)
	if !r.Left {
		m.order(c, TellProgress{Leg: r.Leg, Code: r.Code})
		c.talks(r.Agent, r.Leg, m.now)
		m.connect(c)
		return
	}
	c.State = CallLeaving
	if m.queues[c.Queue] == nil && r.Agent != "" {
		m.hunt(c, &Chain{Steps: []ChainStep{{Agent: string(r.Agent), Wait: returnPatience}}})
		return
	}
	m.divert(c, &Then{Queue: c.Queue}, string(class))
}

// failure is the SIP code of a transfer that was lost: the far end's own where
// it gave one.
func (r *Referral) failure(class CauseClass) int {
	switch {
	case r.Heard >= 400:
		return r.Heard
	case class == ClassBusy:
		return 486
	case class == ClassDeclined:
		return 603
	case class == ClassNoAnswer:
		return 408
	case class == ClassLost:
		return 500
	case r.To.Number != "":
		return 503
	}
	return 480
}

// referrerGone: who asked for a transfer that goes on has hung up.
func (m *Machine) referrerGone(c *call) {
	c.Referral.Left = true
	m.letGo(c, c.Referral.Agent)
}

// referralEnds: the call ends while a transfer goes on.
func (m *Machine) referralEnds(c *call) {
	r := &c.Referral
	if !r.Running() {
		return
	}
	r.Code, c.Agent = 487, r.Agent
	m.fact(c.offerFact(FactTransferFailed, r.Leg, r.Agent)).
		text("to", r.To.String()).text("class", "ended").int("code", r.Code).flag("left", r.Left)
	if !r.Left {
		m.order(c, TellProgress{Leg: r.Leg, Code: r.Code})
	}
}

// tellRinging passes on that who is called rings.
func (m *Machine) tellRinging(c *call) {
	switch r := &c.Referral; {
	case r.Running() && !r.Left:
		m.order(c, TellProgress{Leg: r.Leg, Code: 180})
	case c.unanswered():
		m.order(c, TellProgress{Leg: c.Caller, Code: 180})
	}
}

// target is what a name in a Refer-To or a dialled number means: an agent, a
// queue, a number of ours, or a number outside.
func (m *Machine) target(name string) (Target, bool) {
	if a := m.agents[AgentID(name)]; a != nil && !a.Deleted {
		return Target{Agent: a.ID}, true
	}
	if q := m.queues[QueueID(name)]; q != nil && !q.retired {
		return Target{Queue: q.ID}, true
	}
	if n := m.numbers[name]; n != nil {
		r := m.routeOf(n, "", nil)
		return Target{Queue: r.queue, Chain: r.chain}, r.queue != "" || r.chain != ""
	}
	if isE164(name) {
		return Target{Number: name}, true
	}
	return Target{}, false
}

// mayTransfer tells whether who talks on the leg may transfer there: by what is
// permitted to the agent or in the call's queue, or, for somebody outside, by the
// trunk.
func (m *Machine) mayTransfer(c *call, l *Leg, to Target) bool {
	if l.Role == RoleParty {
		t := m.trunks[l.Trunk]
		return t != nil && t.Refer && to.Number == ""
	}
	if a := m.agents[l.Agent]; a != nil && a.cfg != nil && a.cfg.Transfer.permits(to) {
		return true
	}
	q := m.queues[c.Queue]
	return q != nil && q.Transfer.permits(to)
}

// String is the target as facts name it.
func (t Target) String() string {
	switch {
	case t.Queue != "":
		return "queue:" + string(t.Queue)
	case t.Agent != "":
		return "agent:" + string(t.Agent)
	case t.Chain != "":
		return "chain:" + string(t.Chain)
	}
	return "number:" + t.Number
}
