package acd

import "time"

// auditGrace is how long after its start a leg is not audited: its owner may
// have looked before it made the dialog.
const auditGrace = 2 * time.Second

// dialogsAudited ends the legs for which their owner has no dialog: whatever
// lost it, the agent on such a leg would stay held for ever.
func (m *Machine) dialogsAudited(b DialogsAudited) Result {
	if !m.lives(b.Owner) {
		return m.noop(ReasonStaleLife)
	}
	ended := false
	for _, ref := range b.Missing {
		c, ok := m.calls[ref.Call]
		switch {
		case !ok:
			m.noops[ReasonUnknownCall]++
			continue
		case c.Epoch != ref.Epoch || c.Owner != b.Owner:
			m.noops[ReasonStaleEpoch]++
			continue
		}
		l := c.leg(ref.Leg)
		if l == nil || l.State == LegOver || l.Started.Add(auditGrace) > m.now {
			m.noops[ReasonUnknownLeg]++
			continue
		}
		m.own(c)
		m.correct(c, c.leg(ref.Leg))
		ended = true
	}
	if !ended {
		return m.noop(ReasonNoDialogs)
	}
	return Result{Applied: true}
}

// correct takes a leg for over that no dialog supports.
func (m *Machine) correct(c *call, l *Leg) {
	if l.Role == RoleAgent || l.Role == RoleSupervisor {
		state := string(m.agents[l.Agent].State)
		if l.ending() {
			state = exclusionNames[isDraining]
		}
		m.fact(Fact{Kind: FactAgentCorrected, Call: c.ID, Leg: l.ID, Agent: l.Agent}).
			text("state", state).text("leg_state", string(l.State)).text("cause", CauseNoDialog)
	}
	m.legOver(c, l.ID, CauseNoDialog, 0)
}
