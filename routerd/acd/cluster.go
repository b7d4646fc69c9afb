package acd

import (
	"cmp"
	"slices"
)

func (m *Machine) node(id NodeID) *Node {
	i, ok := slices.BinarySearchFunc(m.nodes, id, func(n *Node, id NodeID) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return nil
	}
	return m.nodes[i]
}

// lives tells whether o is the current life of a live node.
func (m *Machine) lives(o Owner) bool {
	n := m.node(o.Node)
	return n != nil && n.Alive && n.Incarnation == o.Incarnation
}

// nodeStarted begins a life. What its earlier lives owned, and whatever no live
// node owns, moves to the other live nodes, or to the new life if it is alone:
// a node that has just started knows nothing of those calls and has the
// longest way to go.
func (m *Machine) nodeStarted(b NodeStarted) Result {
	version := max(b.Version, 1)
	if version < m.version {
		return m.noop(ReasonOldVersion)
	}
	n := m.node(b.Node)
	if n == nil {
		n = &Node{ID: b.Node}
		at, _ := slices.BinarySearchFunc(m.nodes, b.Node, func(n *Node, id NodeID) int { return cmp.Compare(n.ID, id) })
		m.nodes = slices.Insert(m.nodes, at, n)
	}
	n.Alive = false
	heirs := m.liveNodes()
	*n = Node{
		ID: b.Node, Incarnation: m.index, Alive: true, SIP: b.SIP, Peer: b.Peer,
		Version: version, Agreed: n.Agreed, // its disk is the same
	}
	if len(heirs) == 0 {
		heirs = []*Node{n}
	}
	m.fact(Fact{Kind: FactNodeStarted, Node: n.ID}).uint("incarnation", n.Incarnation).text("sip", n.SIP)
	m.spread(heirs, CauseRestarted)
	return Result{Applied: true, Incarnation: n.Incarnation}
}

// nodeDied ends a life and gives its calls to the survivors. Without any they
// keep their owner until a node starts.
func (m *Machine) nodeDied(b NodeDied) Result {
	if !m.lives(b.Owner) {
		return m.noop(ReasonStaleLife)
	}
	n := m.node(b.Node)
	n.Alive, n.Died = false, m.now
	m.fact(Fact{Kind: FactNodeDied, Node: b.Node}).uint("incarnation", b.Incarnation)
	m.spread(m.liveNodes(), CauseNodeDied)
	return Result{Applied: true}
}

func (m *Machine) liveNodes() []*Node {
	var live []*Node
	for _, n := range m.nodes {
		if n.Alive {
			live = append(live, n)
		}
	}
	return live
}

// spread gives the calls that no live node owns to the heirs, always the next
// one to the heir with the fewest. It also repeats the Release of calls that
// closed a moment ago, which their owner may not have carried out.
func (m *Machine) spread(heirs []*Node, cause string) {
	if len(heirs) == 0 {
		return
	}
	load := make([]int, len(heirs))
	var orphans []*call
	for _, c := range m.calls { // any order: counted, and sorted below
		if c.Root != "" && m.calls[c.Root] != nil {
			continue // moves with its root
		}
		if !m.lives(c.Owner) {
			orphans = append(orphans, c)
		} else if i := slices.IndexFunc(heirs, func(n *Node) bool { return n.ID == c.Owner.Node }); i >= 0 {
			load[i]++
		}
	}
	slices.SortFunc(orphans, func(a, b *call) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range orphans {
		least := 0
		for i := range heirs {
			if load[i] < load[least] {
				least = i
			}
		}
		load[least]++
		m.moveCall(c, heirs[least], cause)
	}
	var released []*Closed
	for _, c := range m.closed { // any order: sorted below
		if !m.lives(c.Owner) && c.Root == "" {
			released = append(released, c)
		}
	}
	slices.SortFunc(released, func(a, b *Closed) int { return cmp.Compare(a.Call, b.Call) })
	for i, c := range released {
		n := heirs[i%len(heirs)]
		moved := *c // a snapshot may hold it
		c = &moved
		c.Owner, c.Epoch = Owner{n.ID, n.Incarnation}, m.index
		m.closed[c.Call] = c
		m.effects = append(m.effects, Effect{
			ID: m.nextEffect(), Call: c.Call, Owner: c.Owner, Epoch: c.Epoch,
			Order: Release{Media: slices.Clone(c.Media)},
		})
	}
}

// callClaimed moves a call whose owner the claimer can't reach. Two claims of
// one epoch can't both succeed.
func (m *Machine) callClaimed(c *call, b CallClaimed) Result {
	if !m.lives(b.Owner) {
		r := m.noop(ReasonStaleLife)
		r.Epoch = c.Epoch
		return r
	}
	c = m.own(m.root(c))
	if c.Owner == b.Owner {
		r := m.noop(ReasonUnchanged)
		r.Epoch = c.Epoch
		return r
	}
	m.moveCall(c, m.node(b.Owner.Node), CauseClaimed)
	return Result{Applied: true, Epoch: c.Epoch}
}

// moveCall gives the call to another owner under a higher epoch and orders
// again what the old owner may not have carried out.
func (m *Machine) moveCall(c *call, to *Node, cause string) {
	m.grant(c, to, cause)
	for _, id := range c.Beside {
		m.grant(m.calls[id], to, cause)
	}
	m.order(c, Resume{})
	m.outstanding(c)
	for _, id := range slices.Clone(c.Beside) {
		if b := m.calls[id]; b != nil {
			m.outstanding(b)
		}
	}
}

// grant makes the node the owner of one call.
func (m *Machine) grant(c *call, to *Node, cause string) {
	m.own(c)
	from := c.Owner
	c.Owner, c.Epoch = Owner{to.ID, to.Incarnation}, m.index
	if m.owned[from.Node]--; m.owned[from.Node] == 0 {
		delete(m.owned, from.Node)
	}
	m.owned[to.ID]++
	m.fact(Fact{Kind: FactCallMoved, Call: c.ID, Node: to.ID}).
		owner("from", from).owner("to", c.Owner).uint("epoch", c.Epoch).text("cause", cause)
}

// outstanding orders again whatever of the call's orders has not been reported
// or can't be. Stable things stay as they are: music that plays goes on, a
// greeting that plays is timed here, a conversation needs no signalling.
func (m *Machine) outstanding(c *call) {
	for i := range c.Legs {
		l := &c.Legs[i]
		switch l.State {
		case LegCancelling:
			m.order(c, CancelRing{Leg: l.ID})
		case LegEnding:
			m.order(c, Hangup{Leg: l.ID, Code: l.Code, Cause: l.Cause})
		default:
			if l.Role == RolePickUp && l.State == LegNew {
				m.answerPickUp(c, l)
			}
			continue
		}
		m.after(legWatchdog, timerLeg, string(c.ID), string(l.ID))
	}
	switch c.State {
	case CallArriving:
		m.answer(c)
	case CallGreeting:
		if !c.Prompt.Started {
			m.play(c, c.Prompt.Name, c.Prompt.Loop)
			m.after(promptWatchdog, timerPrompt, string(c.ID), "")
		}
	case CallHunting:
		if c.Prompt.Loop && !c.Prompt.Started {
			m.play(c, c.Prompt.Name, true)
		}
	case CallWaiting:
		if l := c.promised(); l != nil && l.State == LegUp && !c.Prompt.Started {
			m.order(c, PlayPrompt{Leg: l.ID, Prompt: c.Prompt.Name})
		}
		if c.Prompt.Loop && !c.Prompt.Started {
			m.play(c, c.Prompt.Name, c.Prompt.Loop)
		}
	case CallLeaving:
		if !c.Prompt.Started {
			m.play(c, c.Prompt.Name, false)
		}
	case CallTalking:
		m.connect(c)
	}
	m.renewOffers(c)
	m.renewDials(c)
	m.renewSupervision(c)
}
