package sim

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

const answerIn = 2 * time.Second

type ring struct {
	id    acd.EffectID
	order acd.RingAgent
	sdp   string
	next  int
}

// order is node.order.
func (a *actor) order(e acd.Effect) {
	if e.Epoch < a.epoch || a.done[e.ID] {
		return
	}
	a.epoch = e.Epoch
	a.done[e.ID] = true
	switch o := e.Order.(type) {
	case acd.Resume:
	case acd.AnswerCall:
		a.answer(o)
	case acd.PlayPrompt:
		a.play(o)
	case acd.RingAgent:
		a.ring(e.ID, o)
	case acd.CancelRing:
		a.cancel(o)
	case acd.Bridge, acd.StartRecording:
		if address, ok := a.address(); ok {
			a.ask(address)
		}
	case acd.Hangup:
		a.hangup(o)
	case acd.Release:
		a.released = true
		for _, address := range o.Media {
			a.ask(address)
		}
	default:
		a.n.w.fail(PromiseReplica, "order %T is not known to the simulator", o)
	}
}

func (a *actor) answer(o acd.AnswerCall) {
	leg := a.legs[o.Leg]
	if leg == nil {
		a.report(o.Leg, failed(o.Leg, 500, "no record of the INVITE"))
		return
	}
	address, ok := a.n.pickAddress()
	if !ok {
		a.refuse(o.Leg, 503, "no media worker")
		return
	}
	if code := a.ask(address); code != 0 {
		if a.t.alive() {
			a.refuse(o.Leg, code, "media")
		}
		return
	}
	before, err := leg.MarshalBinary()
	if err != nil {
		a.n.w.fail(PromiseTerminal, "call %s: %v", a.call, err)
	}
	out := leg.Accept(a.n.machineTime(), []byte(sdpOf(address)))
	media := acd.Media{Address: address, Codec: "PCMA", Suite: "AES_CM_128_HMAC_SHA1_80"}
	res, ours := a.commit(o.Leg, func(h acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: h, Leg: o.Leg, Media: media} })
	switch {
	case !ours:
	case !res.Applied:
		if err := leg.UnmarshalBinary(before); err != nil {
			a.n.w.fail(PromiseTerminal, "call %s: %v", a.call, err)
		}
	default:
		a.send(o.Leg, out.Send)
	}
}

func (a *actor) refuse(id acd.LegID, code int, reason string) {
	out := a.legs[id].Reject(a.n.machineTime(), code, "")
	if a.report(id, failed(id, code, reason)) {
		a.send(id, out.Send)
	}
}

func (a *actor) play(o acd.PlayPrompt) {
	address, ok := a.address()
	if !ok {
		return
	}
	code := a.ask(address)
	if !a.t.alive() {
		return
	}
	started := acd.PromptStarted{Leg: o.Leg, Prompt: o.Prompt, Failed: code != 0}
	if !o.Loop && code == 0 {
		started.Duration = promptLength(o.Prompt)
	}
	a.report(o.Leg, func(h acd.OnCall) acd.Body { started.OnCall = h; return started })
}

func (a *actor) ring(id acd.EffectID, o acd.RingAgent) {
	address, ok := a.address()
	if !ok || len(o.Contacts) == 0 {
		a.report(o.Leg, failed(o.Leg, 480, "no contact"))
		return
	}
	if code := a.ask(address); code != 0 {
		if a.t.alive() {
			a.report(o.Leg, failed(o.Leg, code, "media"))
		}
		return
	}
	a.rings[o.Leg] = ring{id: id, order: o, sdp: sdpOf(address)}
	a.ringNext(o.Leg)
}

func (a *actor) ringNext(id acd.LegID) bool {
	r, ok := a.rings[id]
	if !ok || r.next >= len(r.order.Contacts) {
		return false
	}
	contact := r.order.Contacts[r.next]
	callID := fmt.Sprintf("%s-%d.%d.%d-%s@%s", id, r.id.Index, r.id.N, r.next, a.call, clusterHost)
	r.next++
	a.rings[id] = r
	invite := func() (*sip.Leg, sip.Output) {
		return sip.NewClientLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(callID)), sip.ClientParams{
			CallID: callID, Branch: sip.NewBranch(callID), URI: contact.URI, Routes: contact.Path,
			From: fmt.Sprintf("<sip:%s@%s>", r.order.From, clusterHost), To: fmt.Sprintf("<sip:%s@%s>", r.order.Agent, clusterHost),
			SDP: []byte(r.sdp), AnswerIn: answerIn,
		})
	}
	if before := a.legs[id]; before != nil {
		a.late = append(a.late, before)
	}
	a.legs[id], _ = invite()
	if a.report(id, updated) {
		leg, out := invite()
		a.legs[id] = leg
		a.act(id, out)
	}
	return true
}

func (a *actor) cancel(o acd.CancelRing) {
	leg := a.legs[o.Leg]
	if leg == nil {
		a.report(o.Leg, failed(o.Leg, 487, "never sent"))
		return
	}
	a.cancelled[o.Leg] = true
	a.act(o.Leg, leg.Cancel(a.n.machineTime()))
}

func (a *actor) hangup(o acd.Hangup) {
	leg := a.legs[o.Leg]
	switch {
	case leg == nil:
		a.report(o.Leg, ended(o.Leg, o.Cause))
	case leg.Server() && leg.State() == sip.Pending && o.Code != 0:
		a.act(o.Leg, leg.Reject(a.n.machineTime(), o.Code, ""))
	default:
		a.act(o.Leg, leg.Bye(a.n.machineTime()))
	}
}

// address is node.address.
func (a *actor) address() (string, bool) {
	c, ok := a.n.machine.Call(a.call)
	if !ok || len(c.Media) == 0 {
		return "", false
	}
	return c.Media[len(c.Media)-1], true
}

func failed(leg acd.LegID, code int, reason string) fact {
	return func(h acd.OnCall) acd.Body { return acd.LegFailed{OnCall: h, Leg: leg, Code: code, Reason: reason} }
}

func ended(leg acd.LegID, cause string) fact {
	return func(h acd.OnCall) acd.Body { return acd.LegEnded{OnCall: h, Leg: leg, Cause: cause} }
}

// facts is node's actor.facts.
func (a *actor) facts(id acd.LegID, events []sip.Event) (out []fact) {
	for _, e := range events {
		switch e := e.(type) {
		case sip.Ringing:
			out = append(out, func(h acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: h, Leg: id, Code: e.Code} })
		case sip.Answered:
			out = append(out, a.answered(id, e))
		case sip.Failed:
			if tryNext(e.Code) && !a.cancelled[id] && a.ringNext(id) {
				return nil
			}
			delete(a.rings, id)
			out = append(out, failed(id, e.Code, e.Reason))
		case sip.Ended:
			delete(a.rings, id)
			out = append(out, ended(id, e.Cause))
		}
	}
	return out
}

func tryNext(code int) bool { return code == 408 || code == 430 || code == 503 }

func (a *actor) answered(id acd.LegID, e sip.Answered) fact {
	delete(a.rings, id)
	address, _ := a.address()
	code := a.ask(address)
	if code == 0 && string(e.SDP) == uselessSDP {
		code = 488
	}
	if code != 0 {
		a.unusable[id] = true
		return failed(id, code, "media")
	}
	media := acd.Media{Address: address, Codec: "PCMA", Suite: "AES_CM_128_HMAC_SHA1_80"}
	return func(h acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: h, Leg: id, Media: media} }
}

// follow is node.follow.
func (a *actor) follow(id acd.LegID, e sip.Event) {
	if a.stale || !a.t.alive() {
		return
	}
	leg := a.legs[id]
	switch e := e.(type) {
	case sip.Answered:
		if a.unusable[id] {
			a.act(id, leg.Bye(a.n.machineTime()))
		}
	case sip.Reoffer:
		address, ok := a.address()
		if !ok {
			a.act(id, leg.AnswerOffer(a.n.machineTime(), 488, nil))
			return
		}
		if code := a.ask(address); code != 0 {
			if a.t.alive() {
				a.act(id, leg.AnswerOffer(a.n.machineTime(), code, nil))
			}
			return
		}
		_ = e
		a.act(id, leg.AnswerOffer(a.n.machineTime(), 200, []byte(sdpOf(address))))
	}
}
