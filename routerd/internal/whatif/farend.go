package whatif

import (
	"maps"
	"slices"
	"time"

	"trunkline/routerd/acd"
)

// carryOut answers an order as the far end of it would. rung are the calls of
// which a device has its outcome already: one agent decides once.
func (s *simulation) carryOut(e acd.Effect, rung map[acd.CallID]bool) {
	id := e.Call
	c := s.calls[id]
	switch o := e.Order.(type) {
	case acd.AnswerCall:
		var d time.Duration
		if c != nil {
			d = c.Answer
		}
		s.report(d, id, func(on acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: media} })
	case acd.PlayPrompt:
		if o.Loop {
			return // nothing depends on it
		}
		d, known := s.day.Prompts[o.Prompt]
		if !known {
			d = promptLasts
		}
		s.report(0, id, func(on acd.OnCall) acd.Body {
			return acd.PromptStarted{OnCall: on, Leg: o.Leg, Prompt: o.Prompt, Duration: d}
		})
	case acd.Announce:
		s.report(0, id, func(on acd.OnCall) acd.Body {
			return acd.PromptStarted{OnCall: on, Leg: o.Leg, Prompt: o.Name, Duration: time.Duration(len(o.Prompts)) * time.Second}
		})
	case acd.RingAgent:
		s.ring(c, id, o, rung)
	case acd.Dial:
		s.report(dialledIn, id, func(on acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: media} })
	case acd.CancelRing:
		s.report(hangupTakes, id, func(on acd.OnCall) acd.Body { return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: 487} })
	case acd.Hangup:
		s.report(hangupTakes, id, func(on acd.OnCall) acd.Body { return acd.LegEnded{OnCall: on, Leg: o.Leg, Cause: "hangup"} })
	case acd.Bridge:
		s.talk(c, id, o)
	}
}

var media = acd.Media{Address: address, Codec: "PCMA", Suite: "AEAD_AES_256_GCM"}

// report puts a command about a call on its way, if the call is open by then.
func (s *simulation) report(d time.Duration, id acd.CallID, body func(acd.OnCall) acd.Body) {
	s.after(d, func() error {
		on, ok := s.on(id)
		if !ok {
			return nil
		}
		return s.apply(body(on))
	})
}

func (s *simulation) ring(c *caller, id acd.CallID, o acd.RingAgent, rung map[acd.CallID]bool) {
	what := s.outcomeOf(o.Agent, c, id)
	s.report(ringsAfter, id, func(on acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: on, Leg: o.Leg, Code: 180} })
	first := !rung[id+"/"+acd.CallID(o.Agent)]
	rung[id+"/"+acd.CallID(o.Agent)] = true
	switch {
	case what.Code == 0: // rings until the machine has enough
	case what.Code != 200: // on every device
		s.report(max(what.After, ringsAfter), id, func(on acd.OnCall) acd.Body { return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: what.Code} })
	case first:
		s.report(max(what.After, ringsAfter), id, func(on acd.OnCall) acd.Body { return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: media} })
	}
}

// talk lets the two talk and hang up.
func (s *simulation) talk(c *caller, id acd.CallID, o acd.Bridge) {
	length, cut := usualTalk, time.Duration(0)
	if c != nil {
		if c.talking {
			return // connected anew, as after a transfer: the end is on its way
		}
		c.talking = true
		length, cut = c.talk, c.wrapUp
	}
	s.after(length, func() error {
		call, ok := s.m.Call(id)
		if !ok || call.Ended != 0 {
			return nil
		}
		agent := call.Agent
		if err := s.apply(acd.LegEnded{OnCall: acd.OnCall{Call: id, Epoch: call.Epoch}, Leg: o.A, Cause: "bye"}); err != nil {
			return err
		}
		if cut > 0 {
			s.after(cut, func() error { return s.endWrapUp(agent) })
		}
		return nil
	})
}

// endWrapUp is an agent who is through with it early.
func (s *simulation) endWrapUp(id acd.AgentID) error {
	if a, ok := s.m.Agent(id); !ok || a.State != acd.WrapUp {
		return nil
	}
	return s.apply(acd.WrapUpSet{Agent: id})
}

// everybody is what all agents did with offers.
func (d *Day) everybody() []Outcome {
	if d.all == nil {
		for _, id := range slices.Sorted(maps.Keys(d.Offers)) {
			d.all = append(d.all, d.Offers[id]...)
		}
	}
	return d.all
}
