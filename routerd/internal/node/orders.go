package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// order carries out one of the machine's orders and reports what came of it.
func (a *actor) order(e acd.Effect) {
	if e.Epoch < a.epoch || a.done[e.ID] {
		return
	}
	a.epoch = e.Epoch
	a.done[e.ID] = true
	a.released = false // a callback lets its media go and comes back for more
	switch o := e.Order.(type) {
	case acd.Resume: // the actor took the records up when it started
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
	case acd.SendDigits:
		a.sendDigits(o)
	case acd.TellProgress:
		a.tell(o)
	case acd.Bridge:
		a.media(mediaapi.Request{Command: mediaapi.Connect, Leg: string(o.A), Peer: string(o.B)})
		a.shareCodec(o.A, o.B)
	case acd.Supervise:
		a.media(mediaapi.Request{Command: mediaapi.Supervise, Leg: string(o.Leg), Peer: string(o.Peer), Mode: string(o.Mode)})
	case acd.StartRecording:
		a.startRecording()
	case acd.Hangup:
		a.hangup(o)
	case acd.Release:
		a.release(o)
	default:
		a.n.halt(fmt.Errorf("order %T of log index %d is not known: run one routerd version", o, e.ID.Index))
	}
}

// answer takes the caller's call: media first, then the committed 200.
func (a *actor) answer(o acd.AnswerCall) {
	leg := a.legs[o.Leg]
	if leg == nil {
		a.report(o.Leg, failed(o.Leg, 500, "no record of the INVITE"))
		return
	}
	address, ok := a.address()
	if !ok { // the call's first leg
		address, ok = a.n.pickAddress()
	}
	if !ok {
		a.refuse(o.Leg, 503, "no media worker", 5)
		return
	}
	if len(leg.RemoteSDP()) == 0 {
		a.answerWithOffer(o.Leg, leg, address)
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegAccept, Leg: string(o.Leg), SDP: string(leg.RemoteSDP()), Codecs: a.allowedOn(o.Leg), Link: a.linkOf(o.Leg)})
	if err != nil {
		a.refuse(o.Leg, sipCode(err), err.Error(), 0)
		return
	}
	before, err := leg.MarshalBinary()
	if err != nil {
		a.n.halt(fmt.Errorf("a leg's record can't be written: %w", err))
	}
	out := leg.Accept(a.n.machineTime(), []byte(rep.SDP))
	media := acd.Media{Address: address, Codec: rep.Codec, Suite: rep.Suite}
	res, ours := a.commit(o.Leg, func(h acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: h, Leg: o.Leg, Media: media} })
	switch {
	case !ours:
	case !res.Applied:
		// The call ended meanwhile; the Hangup on its way meets a leg that was
		// never answered.
		if err := leg.UnmarshalBinary(before); err != nil {
			a.n.halt(fmt.Errorf("a leg's own record can't be read: %w", err))
		}
	default:
		a.send(o.Leg, out.Send)
		if !a.invited.IsZero() && o.Leg == acd.CallerLeg {
			setup.UpdateDuration(a.invited)
		}
	}
}

// refuse ends the caller's unanswered leg with a SIP code.
func (a *actor) refuse(id acd.LegID, code int, reason string, retryAfter int) {
	leg := a.legs[id]
	out := leg.Reject(a.n.machineTime(), code, "", refusalHeaders(code, retryAfter)...)
	a.n.log.Info("call refused", "call_id", a.call, "code", code, "err", reason)
	if a.report(id, failed(id, code, reason)) {
		a.send(id, out.Send)
	}
}

func (a *actor) play(o acd.PlayPrompt) {
	address, ok := a.address()
	if !ok {
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.PlayMedia, Leg: string(o.Leg), Prompt: o.Prompt, Loop: o.Loop})
	if err != nil {
		a.n.log.Warn("prompt can't be played: the call goes on without", "call_id", a.call, "prompt", o.Prompt, "err", err)
	}
	if err == nil && o.Loop && !a.greeting() {
		a.playing = append(a.playing, acd.Playing{Leg: o.Leg, Prompt: o.Prompt})
		a.saveSoon(o.Leg)
		return
	}
	started := acd.PromptStarted{Leg: o.Leg, Prompt: o.Prompt, Failed: err != nil}
	if !o.Loop {
		started.Duration = time.Duration(rep.Duration) * time.Millisecond
	}
	a.report(o.Leg, func(h acd.OnCall) acd.Body { started.OnCall = h; return started })
}

// greeting tells whether the call goes on when its prompt has begun or ended.
func (a *actor) greeting() (yes bool) {
	a.n.view(func(m *acd.Machine) {
		c, ok := m.Call(a.call)
		yes = ok && c.State == acd.CallGreeting
	})
	return yes
}

// announce plays prompts in a row and goes on with the music behind them. A
// prompt that the worker does not have is left out; the worker counts it.
func (a *actor) announce(o acd.Announce) {
	address, ok := a.address()
	if !ok {
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.PlayMedia, Leg: string(o.Leg), Prompts: o.Prompts, Then: o.Then.Name})
	if err != nil {
		a.n.log.Warn("announcement can't be played: the call goes on without", "call_id", a.call, "prompt", o.Name, "err", err)
	}
	started := acd.PromptStarted{Leg: o.Leg, Prompt: o.Name, Duration: time.Duration(rep.Duration) * time.Millisecond, Failed: err != nil}
	a.report(o.Leg, func(h acd.OnCall) acd.Body { started.OnCall = h; return started })
}

func (a *actor) cancel(o acd.CancelRing) {
	leg := a.legs[o.Leg]
	if leg == nil { // its INVITE was never committed, so never sent
		a.dropHeld(func(h heldRing) bool { return h.order.Leg == o.Leg })
		a.report(o.Leg, failed(o.Leg, 487, "never sent"))
		return
	}
	a.cancelled[o.Leg] = true
	if leg.State() == sip.Confirmed { // answered with what could not be used
		a.act(o.Leg, leg.Bye(a.n.machineTime(), a.reasons(o.Leg)...))
		return
	}
	if !a.adopt(o.Leg, leg) {
		a.act(o.Leg, leg.Cancel(a.n.machineTime(), a.reasons(o.Leg)...))
	}
}

func (a *actor) hangup(o acd.Hangup) {
	leg := a.legs[o.Leg]
	switch {
	case leg == nil:
		a.report(o.Leg, ended(o.Leg, o.Cause))
	case leg.Server() && leg.State() == sip.Pending && o.Code != 0:
		a.act(o.Leg, leg.Reject(a.n.machineTime(), o.Code, "", a.reasons(o.Leg)...))
	default:
		a.act(o.Leg, leg.Bye(a.n.machineTime(), a.reasons(o.Leg)...))
	}
}

// release frees the media. The actor stays until its transactions are done.
func (a *actor) release(o acd.Release) {
	a.released = true
	for _, address := range o.Media {
		if _, err := a.ask(address, mediaapi.Request{Command: mediaapi.Delete}); err != nil {
			a.n.log.Warn("media of an ended call is not freed", "call_id", a.call, "addr", address, "err", err)
		}
	}
}

// media gives an order about the call's media that has nothing to report.
func (a *actor) media(req mediaapi.Request) {
	address, ok := a.address()
	if !ok {
		return
	}
	if _, err := a.ask(address, req); err != nil {
		a.n.log.Error("media order failed: the far ends may not hear each other", "call_id", a.call, "command", req.Command, "err", err)
	}
}

// startRecording names the call's queue, by which its recording is kept. Repeated
// after a takeover it must not end a pause: card data may be spoken just then.
func (a *actor) startRecording() {
	req := mediaapi.Request{Command: mediaapi.StartRecording, Flags: []string{mediaapi.FlagKeepPause}}
	a.n.view(func(m *acd.Machine) {
		if c, found := m.Call(a.call); found {
			req.Label = string(c.Queue[:min(len(c.Queue), mediaapi.MaxLabel)])
		}
	})
	a.media(req)
}

func (a *actor) ask(address string, req mediaapi.Request) (mediaapi.Reply, error) {
	req.CallID = string(a.call)
	return a.n.atAddress(a.n.life, address, req)
}

// address is the media address the call lives on since its caller was answered.
func (a *actor) address() (address string, ok bool) {
	a.n.view(func(m *acd.Machine) {
		if c, found := m.Call(a.call); found && len(c.Media) > 0 {
			address, ok = c.Media[len(c.Media)-1], true
		}
	})
	return address, ok
}

// codecsFor puts the caller's codec first, so that nothing need be transcoded.
func (a *actor) codecsFor() []string {
	codecs := slices.Clone(a.n.codecs())
	a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(a.call)
		for _, l := range c.Legs {
			if i := slices.Index(codecs, l.Media.Codec); l.ID == c.Caller && i > 0 {
				codecs = append([]string{l.Media.Codec}, slices.Delete(codecs, i, i+1)...)
			}
		}
	})
	return codecs
}

// refusalHeaders say when to try again, or what was missing.
func refusalHeaders(code, retryAfter int) []sip.Header {
	switch {
	case code == 488:
		return sip.NotAcceptable.Headers
	case retryAfter > 0:
		return sip.Unavailable(retryAfter).Headers
	}
	return nil
}

// sipCode is the answer to the far end that fits a media failure.
func sipCode(err error) int {
	var refused *mediaapi.Error
	if errors.As(err, &refused) && refused.Code != 0 {
		return refused.Code
	}
	if errors.Is(err, context.Canceled) {
		return 500
	}
	return 503
}

func failed(leg acd.LegID, code int, reason string) fact {
	return func(h acd.OnCall) acd.Body { return acd.LegFailed{OnCall: h, Leg: leg, Code: code, Reason: reason} }
}

func ended(leg acd.LegID, cause string) fact {
	return func(h acd.OnCall) acd.Body { return acd.LegEnded{OnCall: h, Leg: leg, Cause: cause} }
}
