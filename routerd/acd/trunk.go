package acd

import (
	"cmp"
	"slices"
	"time"
)

// LinkState is how the way to a trunk by one edge is.
type LinkState string

// Link states.
const (
	LinkUp      LinkState = "up"
	LinkSuspect LinkState = "suspect" // did not answer lately
	LinkDown    LinkState = "down"
)

// maxLinks bounds the edges of one trunk.
const maxLinks = 16

// Link is the way to a trunk by one edge.
type Link struct {
	Edge  string    `cbor:"1,keyasint"` // host:port at which routers reach it
	State LinkState `cbor:"2,keyasint"`
	Since Time      `cbor:"3,keyasint"`
	Cause string    `cbor:"4,keyasint,omitempty"` // of a state that is not up
}

// Way is what is known of the way over a trunk beyond the configuration.
type Way struct {
	Trunk  TrunkID `cbor:"1,keyasint"`
	Next   Time    `cbor:"2,keyasint,omitempty"` // of its rate, see rateWait
	Credit int     `cbor:"3,keyasint,omitempty"` // of its turn, see inTurn
	Links  []Link  `cbor:"4,keyasint,omitempty"` // by edge

	Alarms []LinkAlarm `cbor:"5,keyasint,omitempty"` // raised, by kind and direction
}

func (w *Way) blank() bool {
	return w.Next == 0 && w.Credit == 0 && len(w.Links) == 0 && len(w.Alarms) == 0
}

func (w *Way) digest(d *digest) {
	d.text(string(w.Trunk))
	d.num(uint64(w.Next), uint64(w.Credit))
	d.list(len(w.Links), func(i int) {
		l := &w.Links[i]
		d.text(l.Edge, string(l.State), l.Cause)
		d.num(uint64(l.Since))
	})
	if len(w.Alarms) > 0 {
		d.list(len(w.Alarms), func(i int) { w.Alarms[i].digest(d) })
	}
}

// way is what is known of a trunk, to be changed.
func (m *Machine) way(id TrunkID) *Way {
	w := m.ways[id]
	if w == nil {
		w = &Way{Trunk: id}
		m.ways[id] = w
	}
	return w
}

// keepWays forgets trunks that are configured no longer. Turns begin anew, for
// the weights may be others.
func (m *Machine) keepWays() {
	for id, w := range m.ways { // any order: each for itself
		w.Credit = 0
		if m.trunks[id] == nil {
			delete(m.ways, id)
		}
	}
}

// trunkState is that of its best link; one nobody has asked about counts as up.
func (m *Machine) trunkState(id TrunkID) LinkState {
	w := m.ways[id]
	if w == nil || len(w.Links) == 0 {
		return LinkUp
	}
	best := LinkDown
	for _, l := range w.Links {
		if l.State == LinkUp || l.State == LinkSuspect && best == LinkDown {
			best = l.State
		}
	}
	return best
}

// trunkStateChanged: an edge reaches a trunk's SBC, or does not any more.
func (m *Machine) trunkStateChanged(b TrunkStateChanged) Result {
	if m.trunks[b.Trunk] == nil {
		return m.noop(ReasonUnknownTrunk)
	}
	w := m.way(b.Trunk)
	at, known := slices.BinarySearchFunc(w.Links, b.Edge, func(l Link, edge string) int { return cmp.Compare(l.Edge, edge) })
	was := Link{State: LinkUp, Since: m.now}
	if known {
		was = w.Links[at]
	}
	switch b.State {
	case LinkUp, LinkSuspect, LinkDown:
		if b.Edge == "" || !known && len(w.Links) >= maxLinks {
			return m.noop(ReasonBadLink)
		}
	case "":
		if !known {
			return m.noop(ReasonUnchanged)
		}
		w.Links = slices.Delete(w.Links, at, at+1)
		return Result{Applied: true}
	default:
		return m.noop(ReasonBadLink)
	}
	if known && was.State == b.State {
		return m.noop(ReasonUnchanged)
	}
	before := m.trunkState(b.Trunk)
	if !known {
		w.Links = slices.Insert(w.Links, at, Link{Edge: b.Edge})
	}
	w.Links[at] = Link{Edge: b.Edge, State: b.State, Since: m.now, Cause: b.Cause}
	if was.State != b.State { // that a link is up from the start is no news
		m.fact(Fact{Kind: FactTrunkState}).text("trunk", string(b.Trunk)).text("edge", b.Edge).
			text("state", string(b.State)).text("was", string(was.State)).seconds("lasted", m.now.Sub(was.Since)).text("cause", b.Cause).
			text("trunk_state", string(m.trunkState(b.Trunk))).text("trunk_was", string(before))
	}
	return Result{Applied: true}
}

// interval is the time between two calls at the trunk's rate, and burst how many
// may come at once after a pause.
func (t *Trunk) interval() (interval time.Duration, burst int) {
	return time.Second / time.Duration(t.Rate), cmp.Or(t.Burst, t.Rate)
}

// rateWait is how long until the trunk may have one more call; 0: it may now.
// The bucket of tokens is kept as the time at which it would be full again
// (ITU-T I.371 annex A, the virtual scheduling form).
func (m *Machine) rateWait(t *Trunk) time.Duration {
	if t.Rate == 0 {
		return 0
	}
	interval, burst := t.interval()
	w := m.ways[t.ID]
	if w == nil {
		return 0
	}
	return max(w.Next.Sub(m.now)-time.Duration(burst-1)*interval, 0)
}

// rateRest is how long until a trunk that has a free channel may have one more
// call; without such a trunk it is long.
func (m *Machine) rateRest() time.Duration {
	rest := time.Hour
	for _, id := range m.config.Outbound.Trunks {
		if t := m.trunks[id]; t != nil && t.Rate > 0 && (t.Channels == 0 || m.channels[id] < t.Channels) {
			rest = min(rest, max(m.rateWait(t), time.Second))
		}
	}
	return rest
}

// takeRate counts a call, also one that was let in for another reason.
func (m *Machine) takeRate(t *Trunk) {
	if t.Rate == 0 {
		return
	}
	interval, _ := t.interval()
	w := m.way(t.ID)
	w.Next = max(w.Next, m.now).Add(interval)
}

// seconds rounds up, for Retry-After.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// free are the trunks a number can be called over now, as they are configured.
// Those that are down are left out while there is another.
func (m *Machine) free() []TrunkID {
	var good, down []TrunkID
	for _, id := range m.config.Outbound.Trunks {
		t := m.trunks[id]
		switch {
		case t == nil || t.Channels > 0 && m.channels[id] >= t.Channels || m.rateWait(t) > 0:
		case m.trunkState(id) == LinkDown:
			down = append(down, id)
		default:
			good = append(good, id)
		}
	}
	if len(good) == 0 {
		return down // who asks may be wrong, and there is nothing to lose
	}
	return good
}

// inTurn puts trunks in the order in which they are tried: those whose speech is
// good first, then by priority, and the first of those that share the lowest by
// its turn. Turns go round smoothly: each trunk gains its weight, the richest has
// its turn and pays for all. A trunk that is suspect comes after those of its
// priority that are not.
func (m *Machine) inTurn(ids []TrunkID) []TrunkID {
	slices.SortStableFunc(ids, func(a, b TrunkID) int {
		return cmp.Or(cmp.Compare(m.alarmed(a), m.alarmed(b)), cmp.Compare(m.trunks[a].Priority, m.trunks[b].Priority),
			cmp.Compare(m.trunkRank(a), m.trunkRank(b)), cmp.Compare(m.trunks[b].Weight, m.trunks[a].Weight))
	})
	total, first := 0, -1
	for i, id := range ids {
		t := m.trunks[id]
		if m.alarmed(id) != m.alarmed(ids[0]) || t.Priority != m.trunks[ids[0]].Priority || m.trunkRank(id) != m.trunkRank(ids[0]) || t.Weight == 0 {
			break
		}
		w := m.way(id)
		w.Credit += t.Weight
		total += t.Weight
		if first < 0 || w.Credit > m.ways[ids[first]].Credit {
			first = i
		}
	}
	if first >= 0 {
		turn := ids[first]
		m.ways[turn].Credit -= total
		copy(ids[1:first+1], ids[:first])
		ids[0] = turn
	}
	return ids
}

func (m *Machine) trunkRank(id TrunkID) int {
	if m.trunkState(id) == LinkSuspect {
		return 1
	}
	return 0
}

// carried moves a dialled leg's channel to the trunk that took it.
func (m *Machine) carried(l *Leg, trunk TrunkID) {
	if trunk == "" || l.Trunk == "" || l.Trunk == trunk || l.Number == "" {
		return
	}
	m.freeChannel(l.Trunk)
	m.useChannel(trunk)
	l.Trunk = trunk
}

// Serves tells whether calls over the trunk to this number, as its SBC writes it,
// are served always.
func (m *Machine) Serves(trunk TrunkID, to string) (always bool) {
	t := m.trunks[trunk]
	if t == nil {
		return false
	}
	n := m.numbers[t.Inward(to)]
	return n != nil && n.Always
}

// Trunk returns a configured trunk.
func (m *Machine) Trunk(id TrunkID) (Trunk, bool) {
	t := m.trunks[id]
	if t == nil {
		return Trunk{}, false
	}
	return *t, true
}

// LinkState is how the way to a trunk by an edge is; up where nobody has asked.
func (m *Machine) LinkState(trunk TrunkID, edge string) LinkState {
	if w := m.ways[trunk]; w != nil {
		for _, l := range w.Links {
			if l.Edge == edge {
				return l.State
			}
		}
	}
	return LinkUp
}
