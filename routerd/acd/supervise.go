package acd

import (
	"cmp"
	"slices"
)

// A supervisor is an agent who may listen in on others (N9): a third leg of a
// talking call, of which it has one at most. The phone is rung like that of an
// offer, and the supervisor is busy for as long as it lasts. Supervision belongs
// to the conversation of one agent: when that agent lets the call go, by a
// transfer too, it is over. Who takes the call over becomes its agent, and the one
// before is let go.

// SupervisionMode says who hears a supervisor.
type SupervisionMode string

// Modes.
const (
	ModeListen  SupervisionMode = "listen"  // nobody
	ModeWhisper SupervisionMode = "whisper" // the agent
	ModeJoin    SupervisionMode = "join"    // both
	ModeNone    SupervisionMode = "none"    // of CallSupervised: it ends
	ModeTake    SupervisionMode = "take"    // of CallSupervised: the supervisor takes the call over
)

// Supervision is what a supervisor does in a talking call.
type Supervision struct {
	Agent AgentID         `cbor:"1,keyasint"` // the supervisor; empty: there is none
	Leg   LegID           `cbor:"2,keyasint"`
	Of    AgentID         `cbor:"3,keyasint"` // whose conversation it is
	Peer  LegID           `cbor:"4,keyasint"` // that agent's leg
	Mode  SupervisionMode `cbor:"5,keyasint"`
}

func (s *Supervision) digest(d *digest) {
	if s.Agent != "" {
		d.text("supervision", string(s.Agent), string(s.Leg), string(s.Of), string(s.Peer), string(s.Mode))
	}
}

// callSupervised begins, changes or ends what a supervisor does in the call.
func (m *Machine) callSupervised(c *call, b CallSupervised) Result {
	a, s := m.agents[b.Supervisor], &c.Supervision
	if a == nil || a.cfg == nil {
		return m.noop(ReasonUnknownAgent)
	}
	mine := s.Agent == a.ID
	switch b.Mode {
	case ModeNone, ModeTake:
		if !mine {
			return m.noop(ReasonNotSupervising)
		}
		if b.Mode == ModeTake {
			return m.takeOver(c, a)
		}
		m.supervisionOver(c, CauseSupervisor)
		return Result{Applied: true}
	case ModeListen, ModeWhisper, ModeJoin:
	default:
		return m.noop(ReasonBadMode)
	}
	switch {
	case !a.maySupervise(c):
		return m.noop(ReasonNotPermitted)
	case mine && s.Mode == b.Mode:
		return m.noop(ReasonUnchanged)
	case mine:
		was := s.Mode
		s.Mode = b.Mode
		if c.leg(s.Leg).State == LegUp {
			m.fact(c.superviseFact(FactCallSupervised)).text("of", string(s.Of)).text("mode", string(s.Mode)).text("was", string(was))
			m.supervise(c)
		}
		return Result{Applied: true}
	case s.Agent != "":
		return m.noop(ReasonSupervised)
	}
	of, peer := m.conversing(c)
	switch {
	case of == nil:
		return m.noop(ReasonNotTalking)
	case a.State != Idle || a.Draining > 0:
		return m.noop(ReasonAgentBusy)
	case len(a.Contacts) == 0:
		return m.noop(ReasonAgentUnavailable)
	}
	m.beginSupervision(c, a, Supervision{Agent: a.ID, Of: of.ID, Peer: peer, Mode: b.Mode})
	return Result{Applied: true}
}

// maySupervise tells whether the agent is a supervisor of the call.
func (a *agent) maySupervise(c *call) bool {
	p := &a.cfg.Supervise
	return p.Agents || slices.Contains(p.Queues, c.Queue)
}

// conversing is the agent who talks in the call, and on which leg; nil if it is
// nobody, or somebody who consults about another.
func (m *Machine) conversing(c *call) (*agent, LegID) {
	if c.State != CallTalking || c.unanswered() || c.Root != "" {
		return nil, ""
	}
	for _, id := range []LegID{c.AgentLeg, c.Caller} {
		l := c.leg(id)
		if l == nil || l.State != LegUp || l.Agent == "" {
			continue
		}
		if a := m.agents[l.Agent]; a != nil && a.Call == c.ID && a.Leg == id {
			return a, id
		}
	}
	return nil, ""
}

// beginSupervision rings the supervisor. Of several devices the one that
// registered last is tried first; the next ones where it can't be reached.
func (m *Machine) beginSupervision(c *call, a *agent, s Supervision) {
	c.forgetLegs()
	s.Leg = m.nextLeg(c)
	c.Supervision = s
	at, _ := slices.BinarySearch(m.supervised, c.ID)
	m.supervised = slices.Insert(m.supervised, at, c.ID)
	m.fact(c.superviseFact(FactSupervisionAsked)).text("of", string(s.Of)).text("mode", string(s.Mode))
	a.Call = c.ID
	m.setAgentState(a, Reserved)
	m.ringSupervisor(c, a)
}

// ringSupervisor orders the new leg that Supervision names.
func (m *Machine) ringSupervisor(c *call, a *agent) {
	l := m.newLeg(c, Leg{Role: RoleSupervisor, Agent: a.ID, Contacts: slices.Clone(a.Contacts), RingFor: defaultRing})
	a.Leg = l.ID
	l.Ring = m.order(c, RingAgent{Leg: l.ID, Agent: a.ID, Contacts: l.Contacts, From: string(c.Supervision.Of), To: c.To, Card: c.Card})
	m.after(l.RingFor, timerRing, string(c.ID), string(l.ID))
}

// supervisorAnswered: the supervisor's phone was picked up.
func (m *Machine) supervisorAnswered(c *call, l *Leg, media Media) Result {
	m.stopLegTimers(c, l)
	l.State, l.Media, l.Answered, l.Contacts = LegUp, media, m.now, nil
	m.setAgentState(m.agents[l.Agent], InCall)
	if !m.useMedia(c, media.Address) {
		m.supervisionOver(c, CauseMedia)
		return Result{Applied: true}
	}
	s := &c.Supervision
	m.fact(c.superviseFact(FactCallSupervised)).text("of", string(s.Of)).text("mode", string(s.Mode)).seconds("rang", between(l.Started, m.now))
	m.helpOver(m.agents[s.Of], CauseSupervised)
	m.supervise(c)
	return Result{Applied: true}
}

// supervise gives the order of a supervisor who is there; it may be repeated.
func (m *Machine) supervise(c *call) {
	s := &c.Supervision
	if l := c.leg(s.Leg); s.Agent != "" && l.State == LegUp {
		m.order(c, Supervise{Leg: s.Leg, Peer: s.Peer, Mode: s.Mode})
	}
}

// supervisionOver ends what a supervisor does in the call, if there is one, and
// frees the supervisor. The call goes on, or ends by itself.
func (m *Machine) supervisionOver(c *call, cause string) {
	s := c.Supervision
	if s.Agent == "" {
		return
	}
	l, a := c.leg(s.Leg), m.agents[s.Agent]
	m.fact(c.superviseFact(FactSupervisionOver)).text("of", string(s.Of)).text("cause", cause).seconds("lasted", between(l.Answered, m.now))
	m.unsupervised(c)
	m.endLeg(c, l, cause, 0)
	m.part(a)
	m.setAgentState(a, Idle)
}

// unsupervised forgets the supervision.
func (m *Machine) unsupervised(c *call) {
	c.Supervision = Supervision{}
	if at, ok := slices.BinarySearch(m.supervised, c.ID); ok {
		m.supervised = slices.Delete(m.supervised, at, at+1)
	}
}

// takeOver makes the supervisor the call's agent. The two are connected before the
// agent's leg is hung up, so that the customer hears no gap.
func (m *Machine) takeOver(c *call, a *agent) Result {
	s := c.Supervision
	of, peer := m.conversing(c)
	switch l := c.leg(s.Leg); {
	case l.State != LegUp:
		return m.noop(ReasonUnexpected)
	case of == nil || peer != s.Peer:
		return m.noop(ReasonNotTalking)
	case c.Referral.Running():
		return m.noop(ReasonTransferring)
	}
	mine := c.leg(peer)
	c.turn(mine)
	m.fact(c.superviseFact(FactCallTakenOver)).text("from", string(of.ID)).seconds("talk", between(mine.Answered, m.now))
	m.unsupervised(c)
	m.letGo(c, of.ID)
	l := c.leg(s.Leg)
	c.Offers++
	l.Role, l.Offer = RoleAgent, c.Offers
	c.Agent, c.AgentLeg = a.ID, l.ID
	c.WrapUp, c.WrapUpMax = a.wrapUp(m.queues[c.Queue])
	if c.Dialler == "" {
		m.spoke(c, a.ID)
	}
	m.connect(c)
	m.hangUp(c, c.leg(peer), CauseTakenOver, 0)
	return Result{Applied: true}
}

// renewSupervision rings a supervisor anew, under the call's new owner, who had not
// answered yet.
func (m *Machine) renewSupervision(c *call) {
	s := &c.Supervision
	if s.Agent == "" {
		return
	}
	l, a := c.leg(s.Leg), m.agents[s.Agent]
	if l.State == LegUp {
		return
	}
	if len(a.Contacts) == 0 {
		m.supervisionOver(c, CauseNoPhone)
		return
	}
	m.cancelRing(c, l, CauseTakeover)
	s.Leg = m.nextLeg(c)
	m.setAgentState(a, Reserved)
	m.ringSupervisor(c, a)
}

// endSupervisions ends those whose agent has let the call go, whichever way that
// came about, and follows agents who go on with another phone.
func (m *Machine) endSupervisions() {
	for i := len(m.supervised) - 1; i >= 0; i-- {
		c := m.calls[m.supervised[i]]
		of, peer := m.conversing(c)
		switch s := &c.Supervision; {
		case peer == s.Peer:
		case of != nil && of.ID == s.Of: // on another phone now
			m.own(c).Supervision.Peer = peer
			m.supervise(c)
		default:
			m.supervisionOver(m.own(c), CauseAgentGone)
		}
	}
}

// restoreSupervised finds the supervised calls of a snapshot.
func (m *Machine) restoreSupervised() {
	for id, c := range m.calls { // any order: sorted below
		if c.Supervision.Agent != "" {
			m.supervised = append(m.supervised, id)
		}
	}
	slices.SortFunc(m.supervised, cmp.Compare)
}

func (c *call) superviseFact(kind string) Fact {
	return c.offerFact(kind, c.Supervision.Leg, c.Supervision.Agent)
}

// Help is what an agent asks for, by a button: every supervisor sees it. It is over
// when the agent takes it back, a supervisor is on the line, or the call is over.

// helpAsked: an agent asks for help, or does not need it any more.
func (m *Machine) helpAsked(b HelpAsked) Result {
	a := m.agents[b.Agent]
	switch {
	case a == nil || a.Deleted:
		return m.noop(ReasonUnknownAgent)
	case len(b.Reason) > maxCardText:
		return m.noop(ReasonTooLong)
	case (a.Help != 0) == b.On && (!b.On || a.HelpReason == b.Reason):
		return m.noop(ReasonUnchanged)
	case !b.On:
		m.helpOver(a, CauseTakenBack)
		return Result{Applied: true}
	}
	if a.Help == 0 {
		a.Help = m.now
	}
	a.HelpReason = b.Reason
	m.fact(Fact{Kind: FactAgentHelp, Call: a.Call, Agent: a.ID}).text("asked", "true").text("reason", b.Reason)
	return Result{Applied: true}
}

// helpOver takes back what the agent asked for, if anything.
func (m *Machine) helpOver(a *agent, cause string) {
	if a == nil || a.Help == 0 {
		return
	}
	m.fact(Fact{Kind: FactAgentHelp, Call: a.Call, Agent: a.ID}).text("asked", "false").text("cause", cause).seconds("after", m.now.Sub(a.Help))
	a.Help, a.HelpReason = 0, ""
}
