package acd

import (
	"slices"
	"time"
)

// defaultDial is how long a number rings where the configuration doesn't say.
const defaultDial = 30 * time.Second

// dial calls a number over the outbound trunks, those first that have a free
// channel, as a new leg of the role. It returns nil if none has one.
func (m *Machine) dial(c *call, role Role, number string) *Leg {
	if !m.canDial() {
		return nil
	}
	trunks := m.inTurn(m.free())
	ring := m.config.Outbound.RingTimeout
	if ring == 0 {
		ring = defaultDial
	}
	c.forgetLegs()
	l := m.newLeg(c, Leg{Role: role, Number: number, Trunk: trunks[0], RingFor: ring})
	if role == RoleParty {
		l.Send = m.digitsFor(c, number)
	}
	m.takeRate(m.trunks[l.Trunk])
	m.avoided(c, l, trunks)
	m.dialLeg(c, l, trunks)
	return l
}

// canDial tells whether dial would find a channel.
func (m *Machine) canDial() bool {
	if m.config.MaxChannels > 0 && m.channelsUsed() >= m.config.MaxChannels {
		return false
	}
	return len(m.free()) > 0
}

// dialLeg takes the channel of the first trunk and gives the order.
func (m *Machine) dialLeg(c *call, l *Leg, trunks []TrunkID) {
	m.useChannel(l.Trunk)
	o := Dial{Leg: l.ID, Number: l.Number, Trunks: trunks, From: m.config.Outbound.From}
	if l.Role == RoleParty && c.Number == "" { // a caller is led outside
		o.Diverted = []string{c.To}
		if first, ok := cardValue(c.Card, cardDiverting); ok {
			o.Diverted = append(o.Diverted, first)
		}
		if m.config.Outbound.ShowCaller {
			o.Caller = c.From
		}
	}
	l.Ring = m.order(c, o)
	m.after(l.RingFor, timerRing, string(c.ID), string(l.ID))
}

// renewDials dials again, under the call's new owner, what is being dialled.
func (m *Machine) renewDials(c *call) {
	for i := range len(c.Legs) {
		l := &c.Legs[i]
		if l.Number == "" || l.State != LegNew && l.State != LegRinging {
			continue
		}
		again := Leg{Role: l.Role, Number: l.Number, Trunk: l.Trunk, RingFor: l.RingFor, Send: l.Send}
		m.freeChannel(l.Trunk)
		l.Trunk = "" // its channel is the new leg's
		m.cancelRing(c, l, CauseTakeover)
		was := l.ID
		l = m.newLeg(c, again)
		if l.Role == RoleCaller {
			m.fact(Fact{Kind: FactCustomerDialled, Call: c.ID, Leg: l.ID, Agent: c.Agent, Queue: c.Queue}).
				text("number", c.Number).int("attempt", c.Attempts).text("was", string(was))
		}
		m.dialLeg(c, l, slices.Clone([]TrunkID{l.Trunk}))
	}
}

// dialTimedOut: the number did not answer.
func (m *Machine) dialTimedOut(c *call, id LegID) {
	l := c.leg(id)
	if l.Role == RoleSupervisor {
		m.supervisionOver(c, CauseRingTimeout)
		return
	}
	m.cancelRing(c, l, CauseRingTimeout)
	m.dialLost(c, *l)
}

// dialAnswered: who was called answered.
func (m *Machine) dialAnswered(c *call, l *Leg, media Media) Result {
	if l.Role == RoleParty {
		m.partyAnswered(c, l, media)
		return Result{Applied: true}
	}
	m.stopLegTimers(c, l)
	l.State, l.Media, l.Answered = LegUp, media, m.now
	m.useMedia(c, media.Address)
	m.customerAnswered(c, l)
	return Result{Applied: true}
}

// dialLost: a number that was dialled did not answer, or a party's leg is over.
func (m *Machine) dialLost(c *call, l Leg) {
	if l.Role == RoleCaller {
		m.customerLost(c, l.class())
		return
	}
	m.partyLost(c, l)
}
