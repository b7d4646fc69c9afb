package facts

import (
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// CallRecord is the detail record of one call: of call.ended, or of
// call.refused for a call that was not taken. Times are machine times with
// nanoseconds, 0: never.
type CallRecord struct {
	Index   uint64 // of the fact it follows from
	N       uint32
	Call    string
	Outcome string // that of call.ended, or refused
	By      string // who ended it: caller, agent, system
	Cause   string
	Code    int // SIP code of a refusal
	Trunk   string
	Edge    string
	From    string // caller's number, unmasked
	To      string // dialled number
	SIPID   string // Call-ID of the caller's leg
	Queue   string
	Agent   string // who served it
	Node    string // its last owner
	Ticket  uint64
	Offers  int

	Arrived, Answered, Enqueued, Bridged, Ended acd.Time

	Codec, Suite, Media string
}

// Wait is the time from entering the queue to an agent's answer, or to the end.
func (r *CallRecord) Wait() time.Duration {
	if r.Bridged != 0 {
		return between(r.Enqueued, r.Bridged)
	}
	return between(r.Enqueued, r.Ended)
}

// Talk is the time of the conversation.
func (r *CallRecord) Talk() time.Duration { return between(r.Bridged, r.Ended) }

// LegRecord is the detail record of one leg, of leg.ended.
type LegRecord struct {
	Index uint64
	N     uint32
	Call  string
	Leg   string
	Role  string // caller, agent
	Agent string
	Cause string
	Code  int // SIP code of a failure

	Started, Answered, Ended acd.Time

	Codec, Suite, Media string
}

// Span is a stretch of time in which an agent's status and state were the same.
type Span struct {
	Index  uint64 // of the fact that ended it
	N      uint32
	Agent  string
	From   acd.Time
	To     acd.Time
	Status string // the agent's choice
	Reason string // of the status
	State  string // what the system saw
	Call   string // the call of the state
	Queue  string // of the agent's last offer: who the state is for, unless idle

	offered string // queue of the agent's last offer
}

func between(from, to acd.Time) time.Duration {
	if from == 0 || to < from {
		return 0
	}
	return to.Sub(from)
}

// records are what one fact adds to the tables.
type records struct {
	call *CallRecord
	leg  *LegRecord
	span *Span
}

// spans holds the agents' present spans: the only thing a record depends on
// beside its own fact.
type spans map[string]Span

// deriver derives the records of a batch. Until keep the spans are as they were.
type deriver struct {
	spans     spans
	changed   map[string]*Span // nil: the agent is no more
	malformed int              // attributes that are no numbers
}

func (s *spans) derive() *deriver {
	if *s == nil {
		*s = spans{}
	}
	return &deriver{spans: *s, changed: map[string]*Span{}}
}

// keep makes the batch's spans the present ones.
func (d *deriver) keep() {
	for agent, s := range d.changed {
		if s == nil {
			delete(d.spans, agent)
		} else {
			d.spans[agent] = *s
		}
	}
}

func (d *deriver) of(f acd.Fact) records {
	switch f.Kind {
	case acd.FactCallEnded:
		return records{call: d.endedCall(f)}
	case acd.FactCallRefused:
		return records{call: d.refusedCall(f)}
	case acd.FactLegEnded:
		return records{leg: d.endedLeg(f)}
	case acd.FactAgentStatus, acd.FactAgentState, acd.FactAgentDeleted:
		return records{span: d.endedSpan(f)}
	case acd.FactOfferMade, acd.FactOfferReserved, acd.FactOfferAccepted, acd.FactPickUpAsked:
		d.offered(f)
	case acd.FactCallArrived:
		if f.Agent != "" && f.Attr("beside") == "" { // what an agent dials is for no queue
			d.offered(f)
		}
	}
	return records{}
}

func (d *deriver) endedCall(f acd.Fact) *CallRecord {
	return &CallRecord{
		Index: f.Index, N: f.N, Call: string(f.Call), Outcome: f.Attr("outcome"), By: f.Attr("by"), Cause: f.Attr("cause"),
		Code:  int(d.number(f, "code")),
		Trunk: f.Attr("trunk"), Edge: f.Attr("edge"), From: f.Attr("from"), To: f.Attr("to"), SIPID: f.Attr("sip_call_id"),
		Queue: string(f.Queue), Agent: string(f.Agent), Node: string(f.Node),
		Ticket: uint64(d.number(f, "ticket")), Offers: int(d.number(f, "offers")),
		Arrived: acd.Time(d.number(f, "arrived")), Answered: acd.Time(d.number(f, "answered")), Enqueued: acd.Time(d.number(f, "enqueued")),
		Bridged: acd.Time(d.number(f, "bridged")), Ended: acd.Time(d.number(f, "ended")),
		Codec: f.Attr("codec"), Suite: f.Attr("suite"), Media: f.Attr("media"),
	}
}

func (d *deriver) refusedCall(f acd.Fact) *CallRecord {
	return &CallRecord{
		Index: f.Index, N: f.N, Call: string(f.Call), Outcome: OutcomeRefused, By: acd.BySystem, Cause: f.Attr("reason"),
		Code:  int(d.number(f, "code")),
		Trunk: f.Attr("trunk"), Edge: f.Attr("edge"), From: f.Attr("from"), To: f.Attr("to"), SIPID: f.Attr("sip_call_id"),
		Queue: string(f.Queue), Node: string(f.Node), Arrived: f.At, Ended: f.At,
	}
}

// Outcomes of calls.
const (
	OutcomeServed    = "served"
	OutcomeAbandoned = "abandoned"
	OutcomeDropped   = "dropped"
	OutcomeRefused   = "refused"
	OutcomeCalledIn  = "called-in" // a callback or task whose customer called: it goes on as that call
)

func (d *deriver) endedLeg(f acd.Fact) *LegRecord {
	return &LegRecord{
		Index: f.Index, N: f.N, Call: string(f.Call), Leg: string(f.Leg), Role: f.Attr("role"), Agent: string(f.Agent),
		Cause: f.Attr("cause"), Code: int(d.number(f, "code")),
		Started: acd.Time(d.number(f, "started")), Answered: acd.Time(d.number(f, "answered")), Ended: f.At,
		Codec: f.Attr("codec"), Suite: f.Attr("suite"), Media: f.Attr("media"),
	}
}

// offered notes for which queue the agent works next.
func (d *deriver) offered(f acd.Fact) {
	if s, ok := d.present(string(f.Agent)); ok && s.offered != string(f.Queue) {
		s.offered = string(f.Queue)
		d.changed[s.Agent] = &s
	}
}

// endedSpan closes the agent's present span and begins the next. Of an agent
// whose first fact this is, what was before is not known and not recorded.
func (d *deriver) endedSpan(f acd.Fact) *Span {
	agent := string(f.Agent)
	was, known := d.present(agent)
	next := was
	next.Agent, next.From = agent, f.At
	switch f.Kind {
	case acd.FactAgentStatus:
		next.Status, next.Reason = f.Attr("status"), f.Attr("reason")
		if !known {
			next.State = string(acd.Idle)
		}
	case acd.FactAgentState:
		next.State, next.Call, next.Queue = f.Attr("state"), string(f.Call), was.offered
		if next.State == string(acd.Idle) {
			next.Queue = ""
		}
	}
	d.changed[agent] = &next
	if f.Kind == acd.FactAgentDeleted {
		d.changed[agent] = nil
	}
	if !known || was.From == f.At {
		return nil // several facts of one moment are one change
	}
	was.Index, was.N, was.To = f.Index, f.N, f.At
	return &was
}

func (d *deriver) present(agent string) (Span, bool) {
	if s, ok := d.changed[agent]; ok {
		if s == nil {
			return Span{}, false
		}
		return *s, true
	}
	s, ok := d.spans[agent]
	return s, ok
}

// number reads an attribute; one that is absent is 0. The machine writes
// numbers only, so another text is counted as what it is: a fault of ours.
func (d *deriver) number(f acd.Fact, key string) int64 {
	s := f.Attr(key)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.malformed++
	}
	return v
}
