package node

import (
	"slices"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// answerWithOffer takes a call whose INVITE has no description: the offer is
// ours, in the 200, and the ACK brings the answer (RFC 3261 section 13.2.1).
// Only then is there a session, so only then is the machine told.
func (a *actor) answerWithOffer(id acd.LegID, leg *sip.Leg, address string) {
	if leg.State() != sip.Pending { // the last owner sent the 200
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(id), Codecs: a.allowedOn(id), Link: a.linkOf(id)})
	if err != nil {
		a.refuse(id, sipCode(err), err.Error(), 0)
		return
	}
	a.act(id, leg.Accept(a.n.machineTime(), []byte(rep.SDP)))
}

// acknowledged applies the answer that the ACK of our 200 brought. One that
// can't be used ends the call with the reason.
func (a *actor) acknowledged(id acd.LegID, e sip.Acknowledged) fact {
	switch {
	case a.legs[id].State() != sip.Confirmed: // given up meanwhile
		return updated
	case len(e.SDP) == 0: // answered before
		return nil
	}
	address := a.mediaAddress(id)
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegAnswer, Leg: string(id), SDP: string(e.SDP)})
	if err != nil {
		a.n.log.Warn("a caller's answer can't be used", "call_id", a.call, "leg", id, "err", err)
		a.unusable[id] = failed(id, sipCode(err), err.Error())
		return updated
	}
	media := acd.Media{Address: address, Codec: rep.Codec, Suite: rep.Suite}
	return func(h acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: h, Leg: id, Media: media} }
}

// noSession is why an answered leg is hung up at once.
func noSession() sip.Header { return sip.Reason(488, "Not Acceptable Here") }

// reoffer answers a far end's new offer (RFC 3261 section 14, RFC 3311), or
// makes ours where it asks for one. What it says of hold goes with the answer.
func (a *actor) reoffer(id acd.LegID, leg *sip.Leg, sdp []byte) {
	address := a.mediaAddress(id)
	if address == "" {
		a.act(id, leg.AnswerOffer(a.n.machineTime(), 488, nil))
		return
	}
	req := mediaapi.Request{Command: mediaapi.LegAccept, Leg: string(id), SDP: string(sdp), Codecs: a.allowedOn(id)}
	if len(sdp) == 0 {
		req = mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(id), Codecs: a.allowedOn(id), Renew: true}
	}
	rep, err := a.ask(address, req)
	if err != nil {
		a.act(id, leg.AnswerOffer(a.n.machineTime(), sipCode(err), nil, refusalHeaders(sipCode(err), 0)...))
		return
	}
	out := leg.AnswerOffer(a.n.machineTime(), 200, []byte(rep.SDP))
	f := updated
	if len(sdp) > 0 {
		f = a.holds(id, rep.Direction)
	}
	if a.report(id, f) {
		a.send(id, out.Send)
	}
}

// renegotiated applies the far end's answer to an offer of ours. The worker may
// have taken the offer back for one of the far end's that came between, and our
// offer was made again all the same: then another is made, so that both sides
// mean the same session.
func (a *actor) renegotiated(id acd.LegID, leg *sip.Leg, sdp []byte) {
	rep, err := a.ask(a.mediaAddress(id), mediaapi.Request{Command: mediaapi.LegAnswer, Leg: string(id), SDP: string(sdp)})
	switch {
	case err == nil:
		delete(a.again, id)
		if f, changed := a.heldOrNot(id, rep.Direction); changed {
			a.report(id, f)
		}
	case a.again[id] < maxOffersAgain:
		a.again[id]++
		if rep, err = a.ask(a.mediaAddress(id), mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(id), Renew: true, Codecs: a.allowedOn(id)}); err == nil {
			a.act(id, leg.Reinvite(a.n.machineTime(), []byte(rep.SDP)))
			return
		}
		fallthrough
	default:
		a.n.log.Warn("a far end's new answer can't be used: the session may be mute", "call_id", a.call, "leg", id, "err", err)
	}
}

// maxOffersAgain bounds the offers made because an answer could not be used.
const maxOffersAgain = 2

// holds is the fact of an answered offer: the leg is held or resumed by it, or
// only its record changes.
func (a *actor) holds(id acd.LegID, direction string) fact {
	f, changed := a.heldOrNot(id, direction)
	if !changed {
		return updated
	}
	return f
}

// heldOrNot compares our direction on a leg with what the machine holds of it:
// a far end that does not want to hear us has put us on hold, whether it says
// sendonly, inactive or 0.0.0.0.
func (a *actor) heldOrNot(id acd.LegID, direction string) (f fact, changed bool) {
	held := direction == "recvonly" || direction == "inactive"
	a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(a.call)
		i := slices.IndexFunc(c.Legs, func(l acd.Leg) bool { return l.ID == id })
		changed = i >= 0 && c.Legs[i].State == acd.LegUp && direction != "" && held != (c.Legs[i].Held != 0)
	})
	if held {
		return func(h acd.OnCall) acd.Body { return acd.LegHeld{OnCall: h, Leg: id} }, changed
	}
	return func(h acd.OnCall) acd.Body { return acd.LegResumed{OnCall: h, Leg: id} }, changed
}

// codecs are those taken, by preference.
func (n *Node) codecs() []string { return n.conf.SIP.Dialogs.Complete().Codecs }
