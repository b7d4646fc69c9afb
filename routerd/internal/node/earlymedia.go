package node

import (
	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// earlyMedia lets the customer hear what the far end of a dialled number sends
// before it answers: a ringing tone of its country, or why it can't be reached.
// It is the configuration's choice (early_media); otherwise the music plays on.
func (a *actor) earlyMedia(id acd.LegID, e sip.Ringing) {
	caller, ok := a.listensTo(id)
	if !ok || len(e.SDP) == 0 {
		return
	}
	address := a.mediaAddress(id)
	if _, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegAnswer, Leg: string(id), SDP: string(e.SDP)}); err != nil {
		a.n.log.Warn("early media can't be used: the music goes on", "call_id", a.call, "leg", id, "err", err)
		return
	}
	a.media(mediaapi.Request{Command: mediaapi.Connect, Leg: string(caller), Peer: string(id)})
}

// earlyMediaOver has the music go on when a number that could be heard was not
// reached. What the record tells is enough: the last owner may have connected
// it.
func (a *actor) earlyMediaOver(id acd.LegID) {
	leg := a.legs[id]
	if leg == nil || leg.Server() || len(leg.RemoteSDP()) == 0 {
		return
	}
	caller, ok := a.listensTo(id)
	if !ok {
		return
	}
	var music string
	a.n.view(func(m *acd.Machine) {
		if c, found := m.Call(a.call); found && c.Prompt.Loop {
			music = c.Prompt.Name
		}
	})
	if music == "" {
		a.media(mediaapi.Request{Command: mediaapi.StopMedia, Leg: string(caller)})
		return
	}
	a.media(mediaapi.Request{Command: mediaapi.PlayMedia, Leg: string(caller), Prompt: music, Loop: true})
}

// listensTo is the customer's leg that may hear a dialled leg before it is
// answered; ok is false where nobody may.
func (a *actor) listensTo(id acd.LegID) (caller acd.LegID, ok bool) {
	if !a.n.conf.SIP.Dialogs.EarlyMedia {
		return "", false
	}
	a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(a.call)
		dialled, up := false, false
		for _, l := range c.Legs {
			dialled = dialled || l.ID == id && l.Number != "" && l.State != acd.LegUp
			up = up || l.ID == c.Caller && l.ID != id && l.State == acd.LegUp
		}
		caller, ok = c.Caller, dialled && up && c.State == acd.CallHunting
	})
	return caller, ok
}
