package totals

import (
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
		refused: c.Outcome == facts.OutcomeRefused, left: left(c.By, c.Cause), callback: c.Callback, task: c.Task != "",
	})
}

// left tells a caller who went from one whom we let go.
func left(by, cause string) bool { return by == acd.ByCaller || cause == acd.CauseExitKey }

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
	media    bool // an agent answered, and the conversation is not over
	inherits bool // it may have taken the place of a call that is not counted
}

// shift is an agent's present state.
type shift struct {
	span
	offered string       // queue of the last offer
	talks   []acd.CallID // the call that the agent talks in, if any
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
		t.calls[f.Call] = &life{call: call{arrived: f.At}}
	case acd.FactTaskDue:
		t.calls[f.Call] = &life{call: call{arrived: f.At, task: true}}
	case acd.FactCallbackPromised:
		if l, ok := t.calls[f.Call]; ok && !l.task {
			l.callback = true
		}
	case acd.FactCallMerged:
		t.merged(f)
	case acd.FactCallQueued:
		if l, ok := t.calls[f.Call]; ok && l.enqueued == 0 {
			l.enqueued = f.At
		}
	case acd.FactOfferMade, acd.FactOfferReserved:
		t.shift(f).offered = string(f.Queue)
	case acd.FactOfferAccepted:
		t.accepted(f)
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
		l.bridged, l.agent, l.media = f.At, string(f.Agent), true
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

// merged: a caller takes the place of a callback or task that waits.
func (t *Facts) merged(f acd.Fact) {
	into, ok := t.calls[acd.CallID(f.Attr("into"))]
	if !ok || f.Attr("ticket") == "" {
		return
	}
	if from, ok := t.calls[f.Call]; ok {
		into.enqueued = from.enqueued
	} else {
		into.inherits = true
	}
}

// over counts a call whose legs have all ended. Until when somebody waited who
// was not served no earlier fact tells; nor does one within Late until when a
// conversation lasted, or since when a place that was taken over is kept.
func (t *Facts) over(f acd.Fact) {
	l, ok := t.calls[f.Call]
	if !ok {
		return // it arrived before the facts that are counted
	}
	delete(t.calls, f.Call)
	l.left = left(f.Attr("by"), f.Attr("cause"))
	if l.media || l.bridged == 0 {
		l.ended = moment(f, "ended")
	}
	if l.inherits {
		l.enqueued = moment(f, "enqueued")
	}
	l.queue = string(f.Queue)
	t.c.call(l.call)
}

// moment reads a machine time. A text that is no number is 0, which shows.
func moment(f acd.Fact, key string) acd.Time {
	at, _ := strconv.ParseInt(f.Attr(key), 10, 64)
	return acd.Time(at)
}

// Late counts a fact of a call that is still open, from behind the end of the
// time that is counted: what agents do then does not count.
func (t *Facts) Late(f acd.Fact) {
	switch f.Kind {
	case acd.FactCallQueued, acd.FactCallbackPromised, acd.FactOfferAccepted, acd.FactCallEnded:
		if l, ok := t.calls[f.Call]; ok {
			l.inherits = true // whose place it took, another call's facts tell
		}
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
