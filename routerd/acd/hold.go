package acd

import "time"

// A party that puts its leg on hold hears nothing until it takes it back; who
// it talks with hears music meanwhile. Both may hold at once.

// legHeld: the far end of a leg does not want to hear us for a while.
func (m *Machine) legHeld(c *call, b LegHeld) Result {
	l := c.leg(b.Leg)
	switch {
	case l == nil:
		return m.noop(ReasonUnknownLeg)
	case l.State != LegUp:
		return m.noop(ReasonUnexpected)
	case l.Held != 0:
		return m.noop(ReasonUnchanged)
	}
	l.Held = m.now
	l.Holds++
	c.Holds++
	m.fact(Fact{Kind: FactLegHeld, Call: c.ID, Leg: l.ID, Agent: l.Agent, Queue: c.Queue}).text("role", string(l.Role))
	if peer := c.across(l); peer != nil {
		m.playHold(c, l, peer)
	}
	return Result{Applied: true}
}

// legResumed: it wants to hear us again. The conversation goes on at once,
// unless the other party holds too.
func (m *Machine) legResumed(c *call, b LegResumed) Result {
	l := c.leg(b.Leg)
	switch {
	case l == nil:
		return m.noop(ReasonUnknownLeg)
	case l.State != LegUp:
		return m.noop(ReasonUnexpected)
	case l.Held == 0:
		return m.noop(ReasonUnchanged)
	}
	held := m.holdOver(c, l)
	m.fact(Fact{Kind: FactLegResumed, Call: c.ID, Leg: l.ID, Agent: l.Agent, Queue: c.Queue}).
		text("role", string(l.Role)).seconds("held", held)
	if peer := c.across(l); peer != nil && peer.Held == 0 {
		m.order(c, Bridge{A: c.Caller, B: c.AgentLeg})
	}
	return Result{Applied: true}
}

// holdOver ends a leg's hold, by itself or with the leg, and tells how long it
// was.
func (m *Machine) holdOver(c *call, l *Leg) time.Duration {
	if l.Held == 0 {
		return 0
	}
	held := between(l.Held, m.now)
	l.HeldFor += held
	c.HeldFor += held
	l.Held, l.HoldMusic, l.HoldHeard = 0, "", false
	return held
}

// across is the leg that talks with l, or nil.
func (c *call) across(l *Leg) *Leg {
	if c.State != CallTalking {
		return nil
	}
	switch l.ID {
	case c.Caller:
		return c.leg(c.AgentLeg)
	case c.AgentLeg:
		return c.leg(c.Caller)
	}
	return nil
}

// playHold lets peer hear music while l holds, if there is any.
func (m *Machine) playHold(c *call, l, peer *Leg) {
	l.HoldMusic, l.HoldHeard = m.holdMusic(c), false
	if l.HoldMusic != "" {
		m.order(c, PlayPrompt{Leg: peer.ID, Prompt: l.HoldMusic, Loop: true})
	}
}

// holdMusic is what is heard during hold: the tree's, else the queue's.
func (m *Machine) holdMusic(c *call) string {
	if m.config != nil && m.config.HoldMusic != "" {
		return m.config.HoldMusic
	}
	if q := m.queues[c.Queue]; q != nil {
		return q.Music
	}
	return ""
}

// holdStarted takes the report that peer hears it.
func (c *call) holdStarted(b PromptStarted) bool {
	peer := c.leg(b.Leg)
	if peer == nil {
		return false
	}
	l := c.across(peer)
	if l == nil || l.Held == 0 || l.HoldMusic == "" || l.HoldMusic != b.Prompt || l.HoldHeard {
		return false
	}
	l.HoldHeard = true
	return true
}

// bridge orders the two who talk together, and, after that, the music of who
// is held. What plays already is left alone: bridging anew would stop it.
func (m *Machine) bridge(c *call) {
	a, b := c.leg(c.Caller), c.leg(c.AgentLeg)
	playing, silent := false, false
	for _, l := range []*Leg{a, b} {
		if l != nil && l.Held != 0 {
			playing = playing || l.HoldHeard
			silent = silent || l.HoldMusic == "" || !l.HoldHeard
		}
	}
	if playing && !silent {
		return
	}
	m.order(c, Bridge{A: c.Caller, B: c.AgentLeg})
	if a != nil && b != nil {
		if a.Held != 0 {
			m.playHold(c, a, b)
		}
		if b.Held != 0 {
			m.playHold(c, b, a)
		}
	}
}
