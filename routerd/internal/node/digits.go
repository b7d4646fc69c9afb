package node

import (
	"context"
	"errors"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// What far ends press means one of two things. A waiting caller's keys are
// collected: committed, and the machine's affair. Those of somebody who talks go
// across to the other party and are committed nowhere. Where both have RTP events
// the worker passes them and nobody is asked; INFO goes to the worker, which makes
// events of it, or, for a far end without them, hands it back as keys it heard;
// and what the worker hears and can't pass goes out as INFO.

// heard is keys that a worker found in a leg's RTP events; serial numbers the
// last one over the leg's life, peer is the leg it is connected with.
type heard struct {
	leg    acd.LegID
	serial uint64
	keys   string
	peer   acd.LegID
}

// passedKey stands for a key that the worker passed on as it was.
const passedKey = '-'

// keysPressed hands what a worker tells to the actors of this node's calls.
// Every router is told everything; the others leave it.
func (n *Node) keysPressed(r mediaapi.Reply) {
	own := n.owner()
	for _, p := range r.Digits {
		call := acd.CallID(p.CallID)
		var owner acd.Owner
		n.view(func(m *acd.Machine) { owner, _, _ = m.OwnerOf(call) })
		if owner == own && own.Incarnation != 0 {
			n.post(call, heard{acd.LegID(p.Leg), p.Serial, p.Keys, acd.LegID(p.Peer)})
		}
	}
}

// hear commits a leg's keys once, or takes them across, and lets the worker forget
// them.
func (a *actor) hear(m heard) {
	leg := a.legs[m.leg]
	if leg == nil {
		return
	}
	state := a.callState()
	switch {
	case state == acd.CallTalking && m.peer != "":
		a.across[m.leg] = m
		a.informNext(m.leg)
		return
	case deaf(state):
		digitsIgnored.Add(len(m.keys))
	default:
		a.act(m.leg, leg.Heard(m.serial, m.keys))
	}
	a.forget(m.leg, m.serial)
}

// forget lets the worker forget a leg's keys up to a serial.
func (a *actor) forget(leg acd.LegID, serial uint64) {
	if a.stale {
		return
	}
	address := a.mediaAddress(leg)
	req := mediaapi.Request{Command: mediaapi.Digits, CallID: string(a.call), Leg: string(leg), Serial: serial}
	a.n.async(func() {
		if _, err := a.n.atAddress(a.n.life, address, req); err != nil {
			a.n.log.Warn("a worker can't be told that keys are dealt with", "call_id", a.call, "leg", leg, "err", err)
		}
	})
}

// informNext sends the next of a leg's keys that are to go across as INFO; the
// worker keeps them until the far end has answered, so that another owner goes on
// with them.
func (a *actor) informNext(id acd.LegID) {
	m, waiting := a.across[id]
	leg := a.legs[id]
	if !waiting || leg == nil {
		return
	}
	first := m.serial - uint64(len(m.keys)) + 1
	for next := max(leg.HeardUpTo()+1, first); next <= m.serial; next++ {
		key := m.keys[next-first]
		if peer := a.legs[m.peer]; key != passedKey && peer != nil {
			a.act(m.peer, peer.Inform(a.n.machineTime(), sip.Key{From: string(id), Serial: next, Sign: key}))
			return // Informed goes on
		}
		leg.Took(next)
	}
	delete(a.across, id)
	a.forget(id, m.serial)
}

// informed goes on with the keys of the leg whose key was answered, and then with
// those that waited for it.
func (a *actor) informed(peer acd.LegID, e sip.Informed) {
	digitsInformed.Inc()
	if e.Code >= 300 {
		digitsUninformed.Inc()
	}
	if e.From == sip.RuleKeys {
		a.ruleKeySent(peer, e.Serial)
		return
	}
	from := acd.LegID(e.From)
	if leg := a.legs[from]; leg != nil {
		a.act(from, leg.Took(e.Serial))
		a.forget(from, e.Serial)
	}
	if a.stale {
		return
	}
	a.informNext(from)
	for id, m := range a.across {
		if id != from && m.peer == peer {
			a.informNext(id)
		}
	}
}

// keysAcross gives keys that came by INFO to the worker, which knows what the
// connected leg takes.
func (a *actor) keysAcross(id acd.LegID, e sip.Digits) {
	req := mediaapi.Request{Command: mediaapi.PlayDTMF, Peer: string(id), Keys: e.Digits, Serial: e.Serial, Duration: e.Duration.Milliseconds()}
	_, err := a.ask(a.mediaAddress(id), req)
	var refused *mediaapi.Error
	switch {
	case err == nil:
		digitsAcross.Add(len(e.Digits))
	case errors.As(err, &refused) && refused.Code == 491: // connected with nobody at this moment
		digitsIgnored.Add(len(e.Digits))
	default:
		digitsUninformed.Add(len(e.Digits))
		if !errors.Is(err, context.Canceled) {
			a.n.log.Warn("keys can't go across", "call_id", a.call, "leg", id, "err", err)
		}
	}
}

// keysEnded gives up what was to go across to a leg that is over, or came from it.
func (a *actor) keysEnded(id acd.LegID) {
	for from, m := range a.across {
		if from != id && m.peer != id {
			continue
		}
		delete(a.across, from)
		if leg := a.legs[from]; leg != nil && from != id {
			leg.Took(m.serial)
			a.forget(from, m.serial)
		}
	}
}

// digits makes the command of keys a leg told, unless they go across or mean
// nothing.
func (a *actor) digits(id acd.LegID, e sip.Digits) (fact, bool) {
	switch state := a.callState(); {
	case state == acd.CallTalking && e.Serial > 0:
		a.keysAcross(id, e)
		return nil, false
	case deaf(state):
		digitsIgnored.Add(len(e.Digits))
		return nil, false
	}
	digitsCollected.Add(len(e.Digits))
	return func(h acd.OnCall) acd.Body { return acd.DigitsCollected{OnCall: h, Leg: id, Digits: e.Digits} }, true
}

// callState is CallEnding for a call that is gone.
func (a *actor) callState() (state acd.CallState) {
	state = acd.CallEnding
	a.n.view(func(m *acd.Machine) {
		if c, ok := m.Call(a.call); ok {
			state = c.State
		}
	})
	return state
}

// deaf tells whether keys mean nothing to a call: its parties talk, or it is
// over.
func deaf(state acd.CallState) bool { return state == acd.CallTalking || state == acd.CallEnding }
