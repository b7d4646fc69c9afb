package node

import (
	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// facts turns what a leg tells into commands, in order.
func (a *actor) facts(id acd.LegID, events []sip.Event) (out []fact) {
	for _, e := range events {
		switch e := e.(type) {
		case sip.Ringing:
			if r, ok := a.rings[id]; ok {
				r.rang = true
				a.rings[id] = r
			}
			trunk := a.trunkOf(id)
			out = append(out, func(h acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: h, Leg: id, Code: e.Code, Trunk: trunk} })
		case sip.Answered:
			out = append(out, a.answered(id, e))
		case sip.Acknowledged:
			if f := a.acknowledged(id, e); f != nil {
				out = append(out, f)
			}
		case sip.Failed:
			a.earlyMediaOver(id)
			if a.redirected(id, e) || a.anotherWay(id, e.Code) {
				return nil // under the same leg
			}
			a.endedBecause(id)
			delete(a.rings, id)
			a.forgetMedia(id)
			a.keysEnded(id)
			out = append(out, failed(id, e.Code, e.Reason))
		case sip.Ended:
			a.endedBecause(id)
			delete(a.rings, id)
			a.forgetMedia(id)
			a.keysEnded(id)
			if f := a.unusable[id]; f != nil {
				out = append(out, f)
			} else {
				out = append(out, ended(id, e.Cause))
			}
		case sip.Digits:
			if f, ok := a.digits(id, e); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

// answered applies the far end's SDP before the answer is committed and
// acknowledged, so that media flows from the first packet on. A leg whose answer
// can't be used is acknowledged and hung up; only then is it told to have failed,
// since until its BYE arrived an agent's phone is in a call.
func (a *actor) answered(id acd.LegID, e sip.Answered) fact {
	trunk := a.trunkOf(id)
	delete(a.rings, id)
	address, link := a.mediaAddress(id), string(trunk)
	if link == "" { // the last owner dialled
		link = a.linkOf(id)
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegAnswer, Leg: string(id), SDP: string(e.SDP), Link: link})
	if err != nil {
		a.n.log.Warn("a called party's answer can't be used", "call_id", a.call, "leg", id, "err", err)
		a.unusable[id] = failed(id, sipCode(err), err.Error())
		return updated
	}
	media := acd.Media{Address: address, Codec: rep.Codec, Suite: rep.Suite}
	unheard := a.cancelled[id] // else its answer would have been hung up
	return func(h acd.OnCall) acd.Body {
		return acd.LegAnswered{OnCall: h, Leg: id, Media: media, Trunk: trunk, Unheard: unheard}
	}
}

// follow does what an event calls for once it is committed and the leg's
// packets are out.
func (a *actor) follow(id acd.LegID, e sip.Event) {
	if a.stale {
		return
	}
	leg := a.legs[id]
	switch e := e.(type) {
	case sip.Ringing:
		a.earlyMedia(id, e)
	case sip.Answered:
		if a.unusable[id] == nil && a.cancelled[id] {
			agent := a.agentOn(id)
			a.dropHeld(func(h heldRing) bool { return h.order.Agent == agent })
		}
		if a.unusable[id] != nil { // acknowledged, and ended
			a.act(id, leg.Bye(a.n.machineTime(), noSession()))
		}
	case sip.Acknowledged:
		if a.unusable[id] != nil {
			a.act(id, leg.Bye(a.n.machineTime(), noSession()))
		}
	case sip.Informed:
		a.informed(id, e)
	case sip.Reoffer:
		a.reoffer(id, leg, e.SDP)
	case sip.Referred:
		a.refer(id, leg, e)
	case sip.Renegotiated:
		a.renegotiated(id, leg, e.SDP)
	}
}
