package sim

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// order is node.order.
func (a *actor) order(e acd.Effect) {
	if e.Epoch < a.epoch || a.done[e.ID] {
		return
	}
	a.epoch = e.Epoch
	a.done[e.ID] = true
	if a.passes("order"); !a.t.alive() {
		return
	}
	a.released = false // a callback lets its media go and comes back for more
	switch o := e.Order.(type) {
	case acd.Resume:
	case acd.AnswerCall:
		a.answer(o)
	case acd.PlayPrompt:
		a.play(o)
	case acd.Announce:
		a.announce(o)
	case acd.RingAgent:
		a.ring(e.ID, o)
	case acd.Dial:
		a.dial(e.ID, o)
	case acd.CancelRing:
		a.cancel(o)
	case acd.Bridge, acd.Supervise, acd.StartRecording:
		if address, ok := a.address(); ok {
			a.ask(address)
		}
	case acd.SendDigits:
		if address, ok := a.address(); ok {
			a.ask(address)
		}
	case acd.TellProgress:
		a.tell(o)
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
	if c, ok := a.n.machine.Call(a.call); code == 0 && o.Loop && !(ok && c.State == acd.CallGreeting) {
		a.playing = append(a.playing, acd.Playing{Leg: o.Leg, Prompt: o.Prompt})
		a.saveSoon(o.Leg)
		return
	}
	started := acd.PromptStarted{Leg: o.Leg, Prompt: o.Prompt, Failed: code != 0}
	if !o.Loop && code == 0 {
		started.Duration = promptLength(o.Prompt)
	}
	a.report(o.Leg, func(h acd.OnCall) acd.Body { started.OnCall = h; return started })
}

func (a *actor) announce(o acd.Announce) {
	address, ok := a.address()
	if !ok {
		return
	}
	code := a.ask(address)
	if !a.t.alive() {
		return
	}
	started := acd.PromptStarted{Leg: o.Leg, Prompt: o.Name, Failed: code != 0}
	for _, p := range o.Prompts {
		started.Duration += promptLength(p)
	}
	a.report(o.Leg, func(h acd.OnCall) acd.Body { started.OnCall = h; return started })
}

func (a *actor) cancel(o acd.CancelRing) {
	leg := a.legs[o.Leg]
	if leg == nil {
		a.dropHeld(func(h heldRing) bool { return h.order.Leg == o.Leg })
		a.report(o.Leg, failed(o.Leg, 487, "never sent"))
		return
	}
	a.cancelled[o.Leg] = true
	if leg.State() == sip.Confirmed {
		a.act(o.Leg, leg.Bye(a.n.machineTime()))
		return
	}
	if !a.adopt(o.Leg, leg) {
		a.act(o.Leg, leg.Cancel(a.n.machineTime()))
	}
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
