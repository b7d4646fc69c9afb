package node

import (
	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// heard is keys that a worker found in a leg's RTP events; serial numbers the
// last one over the leg's life.
type heard struct {
	leg    acd.LegID
	serial uint64
	keys   string
}

// keysPressed hands what a worker tells to the actors of this node's calls.
// Every router is told everything; the others leave it.
func (n *Node) keysPressed(r mediaapi.Reply) {
	own := n.owner()
	for _, p := range r.Digits {
		call := acd.CallID(p.CallID)
		var owner acd.Owner
		n.view(func(m *acd.Machine) { owner, _, _ = m.OwnerOf(call) })
		if owner == own && own.Incarnation != 0 {
			n.post(call, heard{acd.LegID(p.Leg), p.Serial, p.Keys})
		}
	}
}

// hear commits a leg's keys once, then lets the worker forget them. Nothing is
// committed of keys that mean nothing, so that a card number read out to an
// agent by keypad reaches no log and no disk.
func (a *actor) hear(m heard) {
	leg := a.legs[m.leg]
	if leg == nil {
		return
	}
	if a.deaf() {
		digitsIgnored.Add(len(m.keys))
	} else {
		a.act(m.leg, leg.Heard(m.serial, m.keys))
	}
	if a.stale {
		return
	}
	address := a.mediaAddress(m.leg)
	req := mediaapi.Request{Command: mediaapi.Digits, CallID: string(a.call), Leg: string(m.leg), Serial: m.serial}
	a.n.async(func() {
		if _, err := a.n.atAddress(a.n.life, address, req); err != nil {
			a.n.log.Warn("a worker can't be told that keys are dealt with", "call_id", a.call, "leg", m.leg, "err", err)
		}
	})
}

// digits makes the command of keys a leg told, unless they mean nothing.
func (a *actor) digits(id acd.LegID, keys string) (fact, bool) {
	if a.deaf() {
		digitsIgnored.Add(len(keys))
		return nil, false
	}
	digitsCollected.Add(len(keys))
	return func(h acd.OnCall) acd.Body { return acd.DigitsCollected{OnCall: h, Leg: id, Digits: keys} }, true
}

// deaf tells whether keys mean nothing to the call now: its parties talk, or it
// is over.
func (a *actor) deaf() (deaf bool) {
	a.n.view(func(m *acd.Machine) {
		c, ok := m.Call(a.call)
		deaf = !ok || c.State == acd.CallTalking || c.State == acd.CallEnding
	})
	return deaf
}
