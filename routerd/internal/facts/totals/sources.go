package totals

import (
	"cmp"
	"slices"
	"strconv"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

// Records counts from call records and agents' spans.
type Records struct{ c *counter }

// FromRecords begins a count from records, which may come in any order.
func FromRecords(s Settings) *Records { return &Records{newCounter(s)} }

// Call counts a call.
func (r *Records) Call(c *facts.CallRecord) {
	r.c.call(call{
		arrived: c.Arrived, enqueued: c.Enqueued, bridged: c.Bridged, ended: c.Ended, queue: c.Queue, agent: c.Agent,
		refused: c.Outcome == facts.OutcomeRefused, merged: c.Outcome == facts.OutcomeCalledIn, byCaller: c.By == acd.ByCaller,
	})
}

// Span counts a stretch of an agent's time.
func (r *Records) Span(a *facts.Span) {
	r.c.time(span{agent: a.Agent, status: a.Status, state: a.State, queue: a.Queue, from: a.From, to: a.To})
}

// Table is what was counted.
func (r *Records) Table() Table { return r.c.table() }

// Facts counts from the raw history. It keeps in memory the calls that are not
// over and the agents.
type Facts struct {
	c      *counter
	calls  map[acd.CallID]*life
	agents map[acd.AgentID]*shift
}

// life is what the facts have told of a call so far.
type life struct {
	call
	caller acd.LegID // who ends the call when it is over; "": nobody is on the line
	media  bool      // somebody answered, and it is not known when that was over
}

// shift is an agent's present state.
type shift struct {
	span
	offered string       // queue of the last offer
	talks   []acd.CallID // the call whose conversation is over when the agent's is, if any
}

// FromFacts begins a count from facts, which come in order. Their agents are in
// the states that begin tells, which may be none if the history is whole.
func FromFacts(s Settings, begin []facts.Span) *Facts {
	f := &Facts{c: newCounter(s), calls: map[acd.CallID]*life{}, agents: map[acd.AgentID]*shift{}}
	for _, a := range begin {
		f.agents[acd.AgentID(a.Agent)] = &shift{
			span: span{agent: a.Agent, status: a.Status, state: a.State, queue: a.Queue, from: a.From}, offered: a.Queue,
		}
	}
	return f
}

// Fact counts the next fact.
func (t *Facts) Fact(f acd.Fact) {
	switch f.Kind {
	case acd.FactCallRefused:
		t.c.call(call{arrived: f.At, refused: true, queue: string(f.Queue)})
	case acd.FactCallArrived:
		t.calls[f.Call] = &life{call: call{arrived: f.At}, caller: cmp.Or(f.Leg, acd.CallerLeg)}
		switch {
		case f.Agent == "":
		case f.Attr("beside") == "":
			t.shift(f).offered = ""
		default:
			// Who hangs up on the customer talks on beside: the state tells nothing.
			t.shift(f).talks = nil
		}
	case acd.FactTaskDue:
		t.calls[f.Call] = &life{call: call{arrived: f.At}}
	case acd.FactCallQueued, acd.FactCallHunting:
		if l, ok := t.calls[f.Call]; ok {
			l.enqueued = ticketed(f)
		}
	case acd.FactCallbackPromised:
		if l, ok := t.calls[f.Call]; ok {
			l.caller = "" // whose leg ends now, and not the call
		}
	case acd.FactCustomerAnswered:
		if l, ok := t.calls[f.Call]; ok {
			l.caller = f.Leg
		}
	case acd.FactCallMerged:
		if l, ok := t.calls[f.Call]; ok {
			l.merged = l.bridged == 0
		}
	case acd.FactOfferMade, acd.FactOfferReserved:
		t.shift(f).offered = string(f.Queue)
	case acd.FactPickUpAsked:
		if a := t.shift(f); a.from != 0 { // who picks up may never have been heard of
			a.offered = string(f.Queue)
		}
	case acd.FactOfferAccepted:
		t.accepted(f)
	case acd.FactPartyAnswered:
		if l, ok := t.calls[f.Call]; ok {
			l.answered(f.At, "")
		}
	case acd.FactTransferAsked:
		// The agent may hang up before it is settled, and the caller stays.
		t.parts(f)
	case acd.FactTransferFailed:
		t.transferFailed(f)
	case acd.FactCallPickedUp:
		// Who only changes phones accepts no offer.
		if l, ok := t.calls[f.Call]; ok && f.Attr("state") == "talking" && f.Attr("from") == string(f.Agent) {
			l.agent = string(f.Agent)
		}
	case acd.FactCallTakenOver:
		t.takenOver(f)
	case acd.FactCallTransferred:
		t.transferred(f)
	case acd.FactCallJoined:
		t.joined(f)
	case acd.FactLegEnded:
		// A caller who hangs up ends the call at once.
		if l, ok := t.calls[f.Call]; ok && l.ended == 0 && l.caller != "" && l.caller == f.Leg {
			l.ended = f.At
		}
	case acd.FactCallEnded:
		t.over(f)
	case acd.FactAgentStatus:
		a := t.shift(f)
		t.pass(a, f.At)
		a.status = f.Attr("status")
		if a.state == "" {
			a.state = string(acd.Idle)
		}
	case acd.FactAgentState:
		t.stateChanged(f)
	case acd.FactAgentDeleted:
		t.pass(t.shift(f), f.At)
		delete(t.agents, f.Agent)
	}
}

// ticketed is when the call's ticket was given: now, unless the fact says that it
// has an older one, its own or that of a callback whose place it took.
func ticketed(f acd.Fact) acd.Time {
	if at, err := strconv.ParseInt(f.Attr("enqueued"), 10, 64); err == nil {
		return acd.Time(at)
	}
	return f.At
}

func (t *Facts) shift(f acd.Fact) *shift {
	a, ok := t.agents[f.Agent]
	if !ok {
		a = &shift{span: span{agent: string(f.Agent)}}
		t.agents[f.Agent] = a
	}
	return a
}

// pass counts an agent's time up to at. What was before an agent's first fact is
// not known.
func (t *Facts) pass(a *shift, at acd.Time) {
	if a.from != 0 {
		a.to = at
		t.c.time(a.span)
	}
	a.from = at
}

func (t *Facts) accepted(f acd.Fact) {
	t.shift(f).offered = string(f.Queue)
	if l, ok := t.calls[f.Call]; ok {
		l.answered(f.At, string(f.Agent))
		a := t.shift(f)
		a.talks = append(a.talks[:0], f.Call)
	}
}

// answered begins a conversation. The first one ends the wait, the last one's
// agent is who served the call.
func (l *life) answered(at acd.Time, agent string) {
	if l.bridged == 0 {
		l.bridged = at
	}
	l.agent, l.media = agent, true
}

// transferred: the agent leaves a conversation that goes on with somebody else,
// or so the caller hopes.
func (t *Facts) transferred(f acd.Fact) {
	t.parts(f)
	if l, ok := t.calls[f.Call]; ok {
		l.agent = ""
	}
}

// parts: from here on the agent may leave the call without ending it.
func (t *Facts) parts(f acd.Fact) {
	a := t.shift(f)
	a.talks = slices.DeleteFunc(a.talks, func(id acd.CallID) bool { return id == f.Call })
}

// takenOver: a supervisor talks on in the agent's place.
func (t *Facts) takenOver(f acd.Fact) {
	t.parts(acd.Fact{Call: f.Call, Agent: acd.AgentID(f.Attr("from"))})
	if l, ok := t.calls[f.Call]; ok {
		l.answered(f.At, string(f.Agent))
		a := t.shift(f)
		a.talks = append(a.talks[:0], f.Call)
	}
}

// transferFailed: the conversation with whoever asked goes on, or was the last if
// the call ends with it. Who has hung up meanwhile has given the call away.
func (t *Facts) transferFailed(f acd.Fact) {
	l, ok := t.calls[f.Call]
	if !ok {
		return
	}
	l.agent = string(f.Agent)
	if f.Attr("left") != "" && f.Attr("class") != "ended" {
		l.agent = ""
	}
}

// joined: whom a consultation had reached goes on in the customer's call.
func (t *Facts) joined(f acd.Fact) {
	if l, ok := t.calls[acd.CallID(f.Attr("with"))]; ok {
		l.ended, l.media = f.At, false
	}
	if l, ok := t.calls[f.Call]; ok {
		l.answered(f.At, string(f.Agent))
	}
	if f.Agent != "" {
		a := t.shift(f)
		a.talks = append(a.talks[:0], f.Call)
	}
}

// stateChanged also tells when a conversation was over: its agent leaves it.
func (t *Facts) stateChanged(f acd.Fact) {
	a := t.shift(f)
	t.pass(a, f.At)
	if f.Attr("was") == string(acd.InCall) {
		for _, id := range a.talks {
			if l, ok := t.calls[id]; ok && l.media {
				l.ended, l.media = f.At, false
			}
		}
		a.talks = a.talks[:0]
	}
	a.state, a.queue = f.Attr("state"), a.offered
	if a.state == string(acd.Idle) {
		a.queue = ""
	}
}

// over counts a call whose legs have all ended. When a wait was over that we
// ended, no earlier fact tells; nor does one within Late when a conversation was.
func (t *Facts) over(f acd.Fact) {
	l, ok := t.calls[f.Call]
	if !ok {
		return // it arrived before the facts that are counted
	}
	delete(t.calls, f.Call)
	l.byCaller = f.Attr("by") == acd.ByCaller
	if l.media || l.bridged == 0 && !l.byCaller {
		// A text that is no number leaves the call without an end, which shows.
		at, _ := strconv.ParseInt(f.Attr("ended"), 10, 64)
		l.ended = acd.Time(at)
	}
	l.queue = string(f.Queue)
	t.c.call(l.call)
}

// Late counts a fact of a call that is still open, from behind the end of the
// time that is counted: what agents do then does not count.
func (t *Facts) Late(f acd.Fact) {
	switch f.Kind {
	case acd.FactCallQueued, acd.FactCallHunting, acd.FactOfferAccepted, acd.FactPartyAnswered, acd.FactCallTransferred, acd.FactCallJoined,
		acd.FactTransferFailed, acd.FactCallPickedUp, acd.FactCallTakenOver, acd.FactCallbackPromised, acd.FactCustomerAnswered, acd.FactCallMerged, acd.FactLegEnded, acd.FactCallEnded:
		t.Fact(f)
	}
}

// Open returns the calls that are not over, to look for their end elsewhere.
func (t *Facts) Open() []acd.CallID {
	var ids []acd.CallID
	for id := range t.calls {
		ids = append(ids, id)
	}
	return ids
}

// Table counts the agents' present states up to the end and returns all that was
// counted.
func (t *Facts) Table() Table {
	for _, a := range t.agents {
		t.pass(a, max(a.from, t.c.s.To))
	}
	return t.c.table()
}
