// Package totals computes what a contact centre counts, by interval: offered,
// answered and abandoned calls, service level, handling times, and what the
// agents' time went to. It does so in two ways, from the raw facts (FromFacts)
// and from the records derived from them (FromRecords), and both give the same
// for every interval: a report can be checked against the history.
//
// # Rules
//
// A call belongs to the interval in which it arrived, whenever it was answered
// and however long it lasted; only calls that are over count. An agent's time is
// split at the boundaries and belongs to the intervals in which it passed.
// Durations are sums of nanoseconds; nothing is rounded before it is shown.
package totals

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"trunkline/routerd/acd"
)

// Settings say which part of the history is counted, and how.
type Settings struct {
	Interval Interval
	Zone     *time.Location
	// Calls that arrived, and agents' time, at or after From and before To. An
	// agent's present state counts up to To, so To must not lie in the future.
	From, To  acd.Time
	Threshold time.Duration // of the service level
	Short     time.Duration // who gives up sooner did not really wait
}

// Defaults of Settings.
const (
	DefaultThreshold = 20 * time.Second
	DefaultShort     = 5 * time.Second
)

// Queue is what became of the calls that arrived for one queue in one interval.
// The empty queue is that of calls which had none: refused ones.
type Queue struct {
	Start acd.Time // of the interval
	Queue string

	Refused  uint64 // not taken: trunk full, unknown number, no router ready
	Arrived  uint64 // taken, and tasks that came due; the sum of Early, Merged and Offered
	Early    uint64 // over before they were in the line or with an agent
	Merged   uint64 // callbacks and tasks whose customers called: counted as that call
	Offered  uint64 // the sum of the next three
	Answered uint64
	// Abandoned by the caller while waiting, and dropped by us: waited too long,
	// media lost.
	Abandoned, Dropped uint64

	AnsweredInTime  uint64 // within the threshold
	AbandonedInTime uint64
	AbandonedShort  uint64        // within Settings.Short
	Wait            time.Duration // of the answered, together
	LongestWait     time.Duration // of all offered
	AbandonedWait   time.Duration
	Talk            time.Duration
	Ringing, WrapUp time.Duration // the agents' for this queue, by when it passed
	InCall          time.Duration
}

// Agent is what one agent's time in one interval went to.
type Agent struct {
	Start acd.Time // of the interval
	Agent string

	Handled   uint64        // calls that arrived in it and in which the agent talked last
	Talk      time.Duration // of those calls, whoever talked and whenever
	Available time.Duration // and free: waiting for a call
	Ringing   time.Duration // reserved or ringing
	InCall    time.Duration
	WrapUp    time.Duration
	OnBreak   time.Duration // and not in a call or its wrap-up
	Training  time.Duration
}

// Occupancy is the share of the time that calls took, of that and of what was
// free for them; 0 if there was none.
func (a *Agent) Occupancy() float64 {
	busy := a.InCall + a.WrapUp
	if busy+a.Available == 0 {
		return 0
	}
	return float64(busy) / float64(busy+a.Available)
}

// Table is the result: rows by start and then name; a row is there only if
// something in it is not 0.
type Table struct {
	Queues []Queue
	Agents []Agent
}

// Formula is how the service level is computed. In all of them the calls that
// we dropped count as abandoned for good: it would flatter us to leave them out.
type Formula string

// The five in use. In time means within the threshold.
const (
	// ShortExcluded is answered in time / (answered + abandoned + dropped -
	// abandoned shortly).
	ShortExcluded Formula = "short-excluded"
	// AnsweredOnly is answered in time / answered.
	AnsweredOnly Formula = "answered-only"
	// AllOffered is answered in time / (answered + abandoned + dropped).
	AllOffered Formula = "all-offered"
	// AbandonedGood is (answered in time + abandoned in time) / (answered +
	// abandoned + dropped).
	AbandonedGood Formula = "abandoned-good"
	// LateAbandoned is answered in time / (answered + abandoned too late + dropped).
	LateAbandoned Formula = "late-abandoned"
)

// Formulas lists them, the default first.
var Formulas = []Formula{ShortExcluded, AnsweredOnly, AllOffered, AbandonedGood, LateAbandoned}

// ParseFormula reads the name of a formula.
func ParseFormula(s string) (Formula, error) {
	if f := Formula(s); slices.Contains(Formulas, f) {
		return f, nil
	}
	return "", fmt.Errorf("formula %q: want one of %v", s, Formulas)
}

// ServiceLevel is the share of good calls as a fraction; of 0 there is none.
func (q *Queue) ServiceLevel(f Formula) (good, of uint64) {
	switch good, of = q.AnsweredInTime, q.Offered; f {
	case ShortExcluded:
		of -= q.AbandonedShort
	case AnsweredOnly:
		of = q.Answered
	case AbandonedGood:
		good += q.AbandonedInTime
	case LateAbandoned:
		of -= q.AbandonedInTime
	}
	return good, of
}

// ASA is the average speed of answer; 0 if nothing was answered.
func (q *Queue) ASA() time.Duration { return per(q.Wait, q.Answered) }

// AHT is the average handling time: talk and wrap-up, per answered call. Hold is
// within talk.
func (q *Queue) AHT() time.Duration { return per(q.Talk+q.WrapUp, q.Answered) }

func per(d time.Duration, n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	return d / time.Duration(n)
}

// Add adds another row's figures, to sum over queues or intervals.
func (q *Queue) Add(o Queue) {
	q.Refused += o.Refused
	q.Arrived += o.Arrived
	q.Early += o.Early
	q.Merged += o.Merged
	q.Offered += o.Offered
	q.Answered += o.Answered
	q.Abandoned += o.Abandoned
	q.Dropped += o.Dropped
	q.AnsweredInTime += o.AnsweredInTime
	q.AbandonedInTime += o.AbandonedInTime
	q.AbandonedShort += o.AbandonedShort
	q.Wait += o.Wait
	q.LongestWait = max(q.LongestWait, o.LongestWait)
	q.AbandonedWait += o.AbandonedWait
	q.Talk += o.Talk
	q.Ringing += o.Ringing
	q.WrapUp += o.WrapUp
	q.InCall += o.InCall
}

// counter gathers the rows of a table.
type counter struct {
	s      Settings
	queues map[key]*Queue
	agents map[key]*Agent
	// The interval that was looked up last: most rows come in order.
	start, next time.Time
}

type key struct {
	start acd.Time
	name  string
}

func newCounter(s Settings) *counter {
	return &counter{s: s, queues: map[key]*Queue{}, agents: map[key]*Agent{}}
}

// interval returns the bounds of the interval that holds at.
func (c *counter) interval(at acd.Time) (start, next acd.Time) {
	t := time.Unix(0, int64(at)).In(c.s.Zone)
	if c.start.IsZero() || t.Before(c.start) || !t.Before(c.next) {
		c.start = c.s.Interval.Start(t)
		c.next = c.s.Interval.Next(c.start)
	}
	return acd.Time(c.start.UnixNano()), acd.Time(c.next.UnixNano())
}

func (c *counter) queue(at acd.Time, name string) *Queue {
	start, _ := c.interval(at)
	q, ok := c.queues[key{start, name}]
	if !ok {
		q = &Queue{Start: start, Queue: name}
		c.queues[key{start, name}] = q
	}
	return q
}

func (c *counter) agent(at acd.Time, name string) *Agent {
	start, _ := c.interval(at)
	a, ok := c.agents[key{start, name}]
	if !ok {
		a = &Agent{Start: start, Agent: name}
		c.agents[key{start, name}] = a
	}
	return a
}

// call is what is counted of a call that is over.
type call struct {
	arrived, enqueued, bridged, ended acd.Time // 0: never
	refused, merged, byCaller         bool
	queue, agent                      string
}

func (c *counter) call(v call) {
	if v.arrived < c.s.From || v.arrived >= c.s.To {
		return
	}
	q := c.queue(v.arrived, v.queue)
	if v.refused {
		q.Refused++
		return
	}
	q.Arrived++
	if v.enqueued == 0 && v.bridged == 0 {
		q.Early++
		return
	}
	if v.merged {
		q.Merged++
		return
	}
	q.Offered++
	until := v.ended
	if v.bridged != 0 {
		until = v.bridged
	}
	wait := between(v.enqueued, until)
	q.LongestWait = max(q.LongestWait, wait)
	switch {
	case v.bridged != 0:
		talk := between(v.bridged, v.ended)
		q.Answered++
		q.Wait += wait
		q.Talk += talk
		if wait <= c.s.Threshold {
			q.AnsweredInTime++
		}
		if v.agent != "" { // else somebody outside talked last
			a := c.agent(v.arrived, v.agent)
			a.Handled++
			a.Talk += talk
		}
	case v.byCaller:
		q.Abandoned++
		q.AbandonedWait += wait
		if wait <= c.s.Threshold {
			q.AbandonedInTime++
		}
		if wait < c.s.Short {
			q.AbandonedShort++
		}
	default:
		q.Dropped++
	}
}

// span is a stretch of an agent's time.
type span struct {
	agent, status, state, queue string
	from, to                    acd.Time
}

// time adds a span to the intervals through which it passes.
func (c *counter) time(v span) {
	from, to := max(v.from, c.s.From), min(v.to, c.s.To)
	for from < to {
		_, next := c.interval(from)
		end := min(next, to)
		c.share(v, from, end.Sub(from))
		from = end
	}
}

// share adds time within one interval. A state that belongs to a call counts as
// that whatever the status: an agent who asked for a break still talks.
func (c *counter) share(v span, at acd.Time, d time.Duration) {
	switch acd.AgentState(v.state) {
	case acd.Reserved, acd.Ringing:
		c.agent(at, v.agent).Ringing += d
		c.queue(at, v.queue).Ringing += d
		return
	case acd.InCall:
		c.agent(at, v.agent).InCall += d
		c.queue(at, v.queue).InCall += d
		return
	case acd.WrapUp:
		c.agent(at, v.agent).WrapUp += d
		c.queue(at, v.queue).WrapUp += d
		return
	}
	switch acd.AgentStatus(v.status) {
	case acd.Available:
		c.agent(at, v.agent).Available += d
	case acd.OnBreak:
		c.agent(at, v.agent).OnBreak += d
	case acd.Training:
		c.agent(at, v.agent).Training += d
	}
}

func (c *counter) table() Table {
	t := Table{Queues: make([]Queue, 0, len(c.queues)), Agents: make([]Agent, 0, len(c.agents))}
	for _, q := range c.queues {
		t.Queues = append(t.Queues, *q)
	}
	for _, a := range c.agents {
		t.Agents = append(t.Agents, *a)
	}
	slices.SortFunc(t.Queues, func(a, b Queue) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Queue, b.Queue))
	})
	slices.SortFunc(t.Agents, func(a, b Agent) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Agent, b.Agent))
	})
	return t
}

func between(from, to acd.Time) time.Duration {
	if from == 0 || to < from {
		return 0
	}
	return to.Sub(from)
}
