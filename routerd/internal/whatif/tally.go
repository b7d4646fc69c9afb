package whatif

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// Options say how things are counted and drawn.
type Options struct {
	Seed  uint64
	Short time.Duration // abandoned sooner doesn't count against the service level
	// Within replaces the queues' own service level threshold; 0: it doesn't.
	Within time.Duration
}

// defaultWithin is a queue's threshold where the configuration says nothing.
const defaultWithin = 20 * time.Second

// Formula says what the service level is, so that nobody compares two kinds.
func (o Options) Formula() string {
	text := "answered within the threshold / (answered + abandoned)"
	if o.Short > 0 {
		text = "answered within the threshold / (answered + abandoned - abandoned within " + o.Short.String() + ")"
	}
	if o.Within > 0 {
		return text + ", threshold " + o.Within.String()
	}
	return text + ", threshold: each queue's service_level"
}

// Report is what became of the calls.
type Report struct {
	Queues []Figures `json:"queues"` // by id, those that had calls
	Total  Figures   `json:"total"`
	// Refused calls never got an answer: a trunk was full, a rule said so.
	Refused int `json:"refused"`
}

// Figures are a queue's, or everything's.
type Figures struct {
	Queue     string `json:"queue,omitempty"`
	Queued    int    `json:"queued"`
	Answered  int    `json:"answered"`
	Within    int    `json:"answered_within"` // the threshold
	Abandoned int    `json:"abandoned"`
	Short     int    `json:"abandoned_short"`
	Other     int    `json:"other"` // diverted, refused or ended by a rule, or still open at the end
	MaxQueue  int    `json:"max_queue"`

	waits    time.Duration // of answered
	busy     time.Duration // talk and wrap-up of its agents
	signedOn time.Duration // available, or busy
}

// ServiceLevel is the share by the formula of Options, 1 where no call counts.
func (f Figures) ServiceLevel() float64 { return share(f.Within, f.Answered+f.Abandoned-f.Short, 1) }

// ASA is the mean wait of answered calls.
func (f Figures) ASA() time.Duration {
	if f.Answered == 0 {
		return 0
	}
	return f.waits / time.Duration(f.Answered)
}

// Abandonment is abandoned of queued.
func (f Figures) Abandonment() float64 { return share(f.Abandoned, f.Queued, 0) }

// Occupancy is (talk + wrap-up) / (talk + wrap-up + available) of the agents
// who serve the queue, whatever they served.
func (f Figures) Occupancy() float64 { return share(int(f.busy), int(f.signedOn), 0) }

func share(part, all int, none float64) float64 {
	if all <= 0 {
		return none
	}
	return float64(part) / float64(all)
}

// tally counts a history as it goes by.
type tally struct {
	o       Options
	from    acd.Time
	within  map[acd.QueueID]time.Duration
	queues  map[acd.QueueID]*Figures
	calls   map[acd.CallID]*counted
	agents  map[acd.AgentID]*watched
	serves  map[acd.AgentID][]acd.QueueID
	refused int
}

// counted is a call that arrived within the stretch: where it was queued first.
type counted struct {
	queue acd.QueueID
	at    acd.Time
	done  bool // answered, abandoned
}

// watched is an agent's time.
type watched struct {
	status         acd.AgentStatus
	state          acd.AgentState
	since          acd.Time
	busy, signedOn time.Duration
	wrapUp         time.Duration // the last one
}

func newTally(o Options, c acd.Config, from acd.Time) *tally {
	t := &tally{
		o: o, from: from, within: map[acd.QueueID]time.Duration{}, queues: map[acd.QueueID]*Figures{}, calls: map[acd.CallID]*counted{},
		agents: map[acd.AgentID]*watched{}, serves: map[acd.AgentID][]acd.QueueID{},
	}
	t.config(c)
	return t
}

// config notes thresholds and who serves what; an agent keeps what was served
// before.
func (t *tally) config(c acd.Config) {
	for _, q := range c.Queues {
		t.within[q.ID] = q.ServiceLevel
	}
	for _, a := range c.Agents {
		list := slices.Clone(a.Queues)
		for _, s := range a.Seats {
			if !slices.Contains(list, s.Queue) {
				list = append(list, s.Queue)
			}
		}
		t.serves[a.ID] = list
	}
}

func (t *tally) threshold(q acd.QueueID) time.Duration {
	switch d := t.within[q]; {
	case t.o.Within > 0:
		return t.o.Within
	case d > 0:
		return d
	}
	return defaultWithin
}

func (t *tally) figures(q acd.QueueID) *Figures {
	f := t.queues[q]
	if f == nil {
		f = &Figures{Queue: string(q)}
		t.queues[q] = f
	}
	return f
}

// agent begins an agent's time.
func (t *tally) agent(id acd.AgentID, status acd.AgentStatus, state acd.AgentState, at acd.Time) {
	t.agents[id] = &watched{status: status, state: state, since: at}
}

func (t *tally) status(id acd.AgentID) acd.AgentStatus {
	if a := t.agents[id]; a != nil {
		return a.status
	}
	return acd.LoggedOut
}

func (t *tally) lastWrapUp(id acd.AgentID) time.Duration { return t.agents[id].wrapUp }

func (t *tally) fact(f acd.Fact) {
	switch f.Kind {
	case acd.FactCallArrived:
		t.calls[f.Call] = &counted{}
	case acd.FactCallRefused:
		t.refused++
	case acd.FactCallQueued:
		t.queued(f)
	case acd.FactCallBridged:
		t.bridged(f)
	case acd.FactCallEnded:
		t.ended(f)
	case acd.FactAgentStatus:
		t.turn(f, acd.AgentStatus(f.Attr("status")), "")
	case acd.FactAgentState:
		t.turn(f, "", acd.AgentState(f.Attr("state")))
	}
}

func (t *tally) queued(f acd.Fact) {
	fig := t.figures(f.Queue)
	if n, err := strconv.Atoi(f.Attr("waiting")); err == nil {
		fig.MaxQueue = max(fig.MaxQueue, n)
	}
	if c := t.calls[f.Call]; c != nil && c.queue == "" {
		c.queue, c.at = f.Queue, f.At
		fig.Queued++
	}
}

func (t *tally) bridged(f acd.Fact) {
	c := t.calls[f.Call]
	if c == nil || c.queue == "" || c.done {
		return
	}
	c.done = true
	fig, wait := t.figures(c.queue), f.At.Sub(c.at)
	fig.Answered++
	fig.waits += wait
	if wait <= t.threshold(c.queue) {
		fig.Within++
	}
}

func (t *tally) ended(f acd.Fact) {
	c := t.calls[f.Call]
	if c == nil {
		return
	}
	delete(t.calls, f.Call)
	if c.queue == "" || c.done || f.Attr("by") != acd.ByCaller {
		return // Other: counted from the rest
	}
	fig := t.figures(c.queue)
	fig.Abandoned++
	if endedAt(f).Sub(c.at) <= t.o.Short {
		fig.Short++
	}
}

// turn closes the books of an agent's time up to a change.
func (t *tally) turn(f acd.Fact, status acd.AgentStatus, state acd.AgentState) {
	a := t.agents[f.Agent]
	if a == nil {
		a = &watched{status: acd.LoggedOut, state: acd.Idle, since: f.At}
		t.agents[f.Agent] = a
	}
	a.add(f.At)
	if status != "" {
		a.status = status
	}
	if state != "" {
		a.state = state
	}
}

func (a *watched) add(to acd.Time) {
	d := to.Sub(a.since)
	a.since = to
	switch {
	case a.state == acd.InCall || a.state == acd.WrapUp:
		a.busy += d
		a.signedOn += d
	case a.status == acd.Available:
		a.signedOn += d
	}
	if a.state == acd.WrapUp {
		a.wrapUp = d
	}
}

// report closes the books.
func (t *tally) report(to acd.Time) *Report {
	r := &Report{Refused: t.refused}
	all := Figures{}
	for _, id := range slices.Sorted(maps.Keys(t.agents)) {
		a := t.agents[id]
		a.add(to)
		all.busy += a.busy
		all.signedOn += a.signedOn
		for _, q := range t.serves[id] {
			f := t.figures(q)
			f.busy += a.busy
			f.signedOn += a.signedOn
		}
	}
	for _, q := range slices.Sorted(maps.Keys(t.queues)) {
		f := t.queues[q]
		if f.Queued == 0 {
			continue
		}
		f.Other = f.Queued - f.Answered - f.Abandoned
		r.Queues = append(r.Queues, *f)
		all.Queued += f.Queued
		all.Answered += f.Answered
		all.Within += f.Within
		all.Abandoned += f.Abandoned
		all.Short += f.Short
		all.Other += f.Other
		all.MaxQueue = max(all.MaxQueue, f.MaxQueue)
		all.waits += f.waits
	}
	r.Total = all
	return r
}
