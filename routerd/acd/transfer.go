package acd

import (
	"time"
)

// returnPatience is how long a caller who could not be transferred waits for the
// agent who did it, where there is no queue to go back to.
const returnPatience = time.Minute

// Keys of the card that tell the far agent who gives the call away, and why (I7).
const (
	CardTransferredBy  = "transferred_by"
	CardTransferReason = "transfer_reason"
)

// callTransferred: the agent gives the call away and is free of it at once. The
// call keeps its ticket, so that it does not stand at the back of any line. If
// an agent or a number does not answer, the caller returns: to the agent who
// gave the call away, if idle, else to the queue it came from.
func (m *Machine) callTransferred(c *call, b CallTransferred) Result {
	if c.State != CallTalking || c.unanswered() || c.Agent == "" || c.Agent != b.Agent {
		return m.noop(ReasonNotTalking)
	}
	if reason := m.badTarget(c, b.To); reason != "" {
		return m.noop(reason)
	}
	card := []Attr{{CardTransferredBy, string(b.Agent)}, {CardTransferReason, b.Reason}}
	if reason := badCard(card); reason != "" {
		return m.noop(reason)
	}
	if card = withCard(c.Card, card); len(card) > maxCard {
		return m.noop(ReasonCardTooBig)
	}
	c.Card = card
	back := Then{Queue: c.Queue}
	m.giveAway(c, b)
	switch {
	case b.To.Queue != "":
		m.enter(c, b.To.Queue)
	case b.To.Chain != "":
		m.hunt(c, m.chains[b.To.Chain])
	default:
		again := ChainStep{Agent: string(b.Agent)}
		music := ""
		if q := m.queues[back.Queue]; q != nil {
			music = q.Music
		} else {
			again.Wait = returnPatience
		}
		m.hunt(c, &Chain{
			Music: music, Then: back,
			Steps: []ChainStep{{Agent: string(b.To.Agent), Number: b.To.Number}, again},
		})
	}
	return Result{Applied: true}
}

// badTarget tells why the call can't be transferred there, or "": better a
// refusal while the agent still talks than a caller who is sent back.
func (m *Machine) badTarget(c *call, to Target) string { return m.badTargetOf(c.Agent, to) }

// badTargetOf is badTarget for what the agent, if it is one, asks for.
func (m *Machine) badTargetOf(by AgentID, to Target) string {
	set := 0
	for _, s := range []string{string(to.Queue), string(to.Agent), string(to.Chain), to.Number} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return ReasonBadTarget
	}
	switch {
	case to.Queue != "":
		if q := m.queues[to.Queue]; q == nil || q.retired {
			return ReasonUnknownQueue
		}
	case to.Chain != "":
		if m.chains[to.Chain] == nil {
			return ReasonUnknownChain
		}
	case to.Number != "":
		if !isE164(to.Number) {
			return ReasonBadTarget
		}
		if m.refusesNumber(to.Number) != 0 {
			return ReasonRule
		}
		if len(m.config.Outbound.Trunks) == 0 {
			return ReasonNoTrunks
		}
	default:
		a := m.agents[to.Agent]
		if a == nil || a.Deleted || a.ID == by {
			return ReasonUnknownAgent
		}
		switch a.reachable() {
		case ClassBusy:
			return ReasonAgentBusy
		case ClassUnavailable:
			return ReasonAgentUnavailable
		}
	}
	return ""
}

// giveAway hangs the agent's leg up and leaves the call with its customer alone.
func (m *Machine) giveAway(c *call, b CallTransferred) {
	l, a := c.leg(c.AgentLeg), m.agents[c.Agent]
	m.fact(c.offerFact(FactCallTransferred, l.ID, a.ID)).
		text("to", b.To.String()).text("reason", b.Reason).seconds("talk", between(l.Answered, m.now)).uint("ticket", c.Ticket)
	c.State, c.Agent, c.AgentLeg = CallLeaving, "", ""
	c.Transfers++
	c.Parted, c.Moves = m.now, 0
	m.letGo(c, a.ID)
	m.hangUp(c, l, CauseTransferred, 0)
}
