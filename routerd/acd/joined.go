package acd

import (
	"slices"
	"time"
)

// joinWait is how long a caller who is handed to somebody whose phone rings for
// the agent waits until that phone can be rung for the caller.
const joinWait = 5 * time.Second

// callsJoined: an agent with two calls wants the others to talk to each other, by
// REFER with Replaces on one of the agent's legs, naming the other (RFC 3891).
func (m *Machine) callsJoined(c *call, b CallsJoined) Result {
	refuse := func(reason string) Result {
		r := m.noop(reason)
		if r.Code = referCodes[reason]; r.Code == 0 {
			r.Code = 481
		}
		return r
	}
	kept, beside := m.within(m.root(c), b.Leg), m.within(m.root(c), b.With)
	asked, named := kept.leg(b.Leg), beside.leg(b.With)
	if asked == nil || named == nil || kept == beside || asked.State != LegUp || asked.Agent == "" || asked.Agent != named.Agent {
		return refuse(ReasonUnknownLeg)
	}
	if kept.Root != "" {
		kept, beside = beside, kept
	}
	a := m.agents[asked.Agent]
	mine := kept.leg(a.Leg)
	switch {
	case kept.Referral.Running() || beside.Referral.Running():
		return refuse(ReasonTransferring)
	case beside.Root != kept.ID || beside.Dialler != a.ID || a.Consult != beside.ID || a.Call != kept.ID || mine == nil || kept.State != CallTalking || kept.unanswered():
		return refuse(ReasonNotTalking)
	}
	to, ok := m.target(beside.To)
	switch {
	case !ok:
		return refuse(ReasonUnknownTarget)
	case !m.mayTransfer(kept, mine, to):
		return refuse(ReasonNotPermitted)
	}
	card := []Attr{{CardTransferredBy, string(a.ID)}, {CardTransferReason, b.Reason}}
	if card = withCard(kept.Card, card); len(card) > maxCard || badCard(card) != "" {
		return refuse(ReasonCardTooBig)
	}
	kept.turn(mine)
	kept.Card = card
	kept.Referral = Referral{Leg: b.Leg, Agent: a.ID, To: to, Reason: b.Reason, Since: m.now}
	m.fact(kept.offerFact(FactTransferAsked, mine.ID, a.ID)).
		text("to", to.String()).text("reason", b.Reason).uint("ticket", kept.Ticket).text("with", string(beside.ID))
	if beside.State == CallTalking && !beside.unanswered() {
		m.merge(kept, beside, a)
		return Result{Applied: true}
	}
	m.handOver(kept, beside, to)
	return Result{Applied: true}
}

// merge gives the far leg of the call beside to the kept one; the agent between
// them is let go, and the call beside is over.
func (m *Machine) merge(kept, beside *call, a *agent) {
	far := beside.AgentLeg
	m.tellJoined(kept, a)
	a.Consult = ""
	mine := kept.leg(a.Leg)
	m.letGo(kept, a.ID)
	m.hangUp(kept, mine, CauseTransferred, 0)
	at := slices.IndexFunc(beside.Legs, func(l Leg) bool { return l.ID == far })
	moved := beside.Legs[at]
	beside.Legs = slices.Delete(beside.Legs, at, at+1)
	if moved.Role == RoleAgent {
		kept.Offers++
		moved.Offer = kept.Offers
	}
	kept.Legs = append(kept.Legs, moved)
	kept.AgentLeg, kept.Agent = moved.ID, moved.Agent
	kept.Prompt, kept.WrapUp, kept.WrapUpMax = Prompt{}, 0, 0
	if next := m.agents[moved.Agent]; next != nil && moved.Agent != "" {
		next.Call, next.Leg = kept.ID, moved.ID
		kept.WrapUp, kept.WrapUpMax = next.wrapUp(m.queues[kept.Queue])
		if kept.Dialler == "" {
			m.spoke(kept, next.ID)
		}
	}
	m.fact(kept.offerFact(FactCallJoined, moved.ID, moved.Agent)).
		text("with", string(beside.ID)).text("by", string(a.ID)).text("number", moved.Number)
	beside.AgentLeg = ""
	m.endCall(beside, ByAgent, CauseJoined, 0)
	if m.useMedia(kept, moved.Media.Address) {
		m.connect(kept)
	} else {
		m.endCall(kept, BySystem, CauseMedia, 0)
	}
}

// tellJoined settles what the agent asked for, while its legs are still there.
func (m *Machine) tellJoined(kept *call, a *agent) {
	r := &kept.Referral
	r.Code = 200
	l := kept.leg(a.Leg)
	m.fact(kept.offerFact(FactCallTransferred, l.ID, a.ID)).
		text("to", r.To.String()).text("reason", r.Reason).seconds("talk", between(l.Answered, m.now)).uint("ticket", kept.Ticket)
	kept.Transfers++
	kept.Parted, kept.Moves = m.now, 0
	m.order(kept, TellProgress{Leg: r.Leg, Code: 200})
}

// handOver: whom the agent has dialled has not answered yet. The call beside is
// given up and the transfer goes on as if it had been asked for without it.
func (m *Machine) handOver(kept, beside *call, to Target) {
	m.endCall(beside, ByAgent, CauseJoined, 0)
	if kept.leg(kept.Referral.Leg) == nil { // it was asked for on the leg that is given up
		kept.Referral.Leg = m.agents[kept.Referral.Agent].Leg
	}
	wait := time.Duration(0)
	if to.Agent != "" {
		wait = joinWait // its phone has to be silent first
	}
	m.refer(kept, to, wait)
}
