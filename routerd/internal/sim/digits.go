package sim

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// heard is keys that a worker found in a leg's RTP events, see node; taken is the
// worker's ear for what is dealt with.
type heard struct {
	leg    acd.LegID
	serial uint64
	keys   string
	peer   acd.LegID
	taken  func(serial uint64)
}

// hear is node's actor.hear.
func (a *actor) hear(m heard) {
	leg := a.legs[m.leg]
	if leg == nil {
		return
	}
	switch {
	case a.talks() && m.peer != "":
		a.across[m.leg] = m
		a.informNext(m.leg)
		return
	case !a.deaf():
		a.act(m.leg, leg.Heard(m.serial, m.keys))
	}
	a.forget(m, m.serial)
}

func (a *actor) forget(m heard, serial uint64) {
	if !a.stale && a.t.alive() && m.taken != nil {
		m.taken(serial)
	}
}

// informNext is node's, without keys that the worker passed.
func (a *actor) informNext(id acd.LegID) {
	m, waiting := a.across[id]
	leg := a.legs[id]
	if !waiting || leg == nil {
		return
	}
	first := m.serial - uint64(len(m.keys)) + 1
	for next := max(leg.HeardUpTo()+1, first); next <= m.serial; next++ {
		if peer := a.legs[m.peer]; peer != nil {
			a.act(m.peer, peer.Inform(a.n.machineTime(), sip.Key{From: string(id), Serial: next, Sign: m.keys[next-first]}))
			return
		}
		leg.Took(next)
	}
	delete(a.across, id)
	a.forget(m, m.serial)
}

// informed is node's.
func (a *actor) informed(peer acd.LegID, e sip.Informed) {
	from := acd.LegID(e.From)
	m := a.across[from]
	if leg := a.legs[from]; leg != nil {
		a.act(from, leg.Took(e.Serial))
		a.forget(m, e.Serial)
	}
	if a.stale || !a.t.alive() {
		return
	}
	a.informNext(from)
	for _, id := range a.legIDs() {
		if m, ok := a.across[id]; ok && id != from && m.peer == peer {
			a.informNext(id)
		}
	}
}

// keysEnded is node's.
func (a *actor) keysEnded(id acd.LegID) {
	for _, from := range a.legIDs() {
		m, ok := a.across[from]
		if !ok || from != id && m.peer != id {
			continue
		}
		delete(a.across, from)
		if leg := a.legs[from]; leg != nil && from != id {
			leg.Took(m.serial)
			a.forget(m, m.serial)
		}
	}
}

// talks tells whether two parties do.
func (a *actor) talks() bool {
	c, ok := a.n.machine.Call(a.call)
	return ok && c.State == acd.CallTalking
}
