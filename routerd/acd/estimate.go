package acd

import (
	"maps"
	"slices"
	"time"
)

// How a wait is foretold. Calls leave the head of a busy queue one after the
// other; each such interval, multiplied by the agents who served the queue
// meanwhile, is the work that one call took, whatever the number of agents was
// then or is now. A call with p-1 before it waits for p such works: their mean
// and their spread give the median and the 90th percentile. Works are measured
// only while calls stand in line, so what the callers' arrival decides does not
// count, and those of the last hour only; with few of them, or without agents,
// nothing is said rather than something wrong.
const (
	worksKept   = 32 // of the last calls
	worksNeeded = 8
	waitsKept   = 20 // of the last answered calls, for the average speed of answer
	waitsNeeded = 4
	keptFor     = time.Hour
	asaKeptFor  = 15 * time.Minute
)

// Estimate is what a queue's waits are foretold from, and how right that was.
type Estimate struct {
	Queue QueueID `cbor:"1,keyasint"`
	// Of the interval under way: since Busy calls stand in line, 0: none do.
	// Work is what was done up to Counted.
	Busy    Time     `cbor:"2,keyasint"`
	Work    int64    `cbor:"3,keyasint"` // agents x microseconds
	Counted Time     `cbor:"4,keyasint"`
	Works   []Sample `cbor:"5,keyasint"` // agents x microseconds, oldest first
	Waits   []Sample `cbor:"6,keyasint"` // nanoseconds, oldest first
	// Of the calls that were answered and had an estimate when they joined.
	Foretold  uint64        `cbor:"7,keyasint"`
	WithinP50 uint64        `cbor:"8,keyasint"`
	WithinP90 uint64        `cbor:"9,keyasint"`
	Error     time.Duration `cbor:"10,keyasint"` // sum of what they were off the median, both ways
}

// Sample is one measured value.
type Sample struct {
	At    Time  `cbor:"1,keyasint"`
	Value int64 `cbor:"2,keyasint"`
}

// push adds a sample and forgets the oldest of more than most.
func push(list []Sample, s Sample, most int) []Sample {
	if len(list) == most {
		copy(list, list[1:])
		list[most-1] = s
		return list
	}
	return append(list, s)
}

// since leaves out samples that are too old.
func since(list []Sample, at Time) []Sample {
	for len(list) > 0 && list[0].At < at {
		list = list[1:]
	}
	return list
}

// account adds the work of the interval under way. It comes before every change
// of how many agents serve the queue.
func (q *queue) account(now Time) {
	if e := q.estimate; e.Busy != 0 {
		e.Work += int64(now.Sub(e.Counted)/time.Microsecond) * int64(q.staffed())
		e.Counted = now
	}
}

// staffed is how many agents serve the queue: talking, wrapping up or idle, but
// there.
func (q *queue) staffed() int {
	return len(q.seats) - q.out[isLoggedOut] - q.out[isOnBreak] - q.out[isInTraining] - q.out[hasNoPhone]
}

// busy begins an interval when calls stand in line for whom no phone rings.
func (q *queue) busy(now Time) {
	if e := q.estimate; e.Busy == 0 && q.unserved() {
		e.Busy, e.Counted, e.Work = now, now, 0
	}
}

// accountQueues does that for all queues, before a configuration is applied.
func (m *Machine) accountQueues() {
	for _, q := range m.queues { // any order: each for itself
		q.account(m.now)
	}
}

// estimateOf gives the queue the estimate that is remembered of it, or a new
// one.
func (m *Machine) estimateOf(q *queue) {
	e, ok := m.estimates[q.ID]
	if !ok {
		e = &Estimate{Queue: q.ID}
		m.estimates[q.ID] = e
	}
	q.estimate = e
}

// answered measures the queue by a call of it that an agent has just answered,
// and the estimate by the call. The call is still in line.
func (q *queue) answered(c *call, now Time) {
	e := q.estimate
	if e.Busy != 0 {
		q.account(now)
		if e.Work > 0 {
			e.Works = push(e.Works, Sample{now, e.Work}, worksKept)
		}
		e.Busy = 0
		q.busy(now)
	}
	if c.Number != "" {
		return // a customer who did not wait on the line
	}
	waited := between(c.Joined, now)
	e.Waits = push(e.Waits, Sample{now, int64(waited)}, waitsKept)
	if c.GuessP90 == 0 {
		return
	}
	e.Foretold++
	if waited <= c.GuessP50 {
		e.WithinP50++
	}
	if waited <= c.GuessP90 {
		e.WithinP90++
	}
	e.Error += max(waited-c.GuessP50, c.GuessP50-waited)
}

// quiet ends an interval that no answer ended: nobody stands in line any more.
func (q *queue) quiet() {
	if q.length == 0 {
		q.estimate.Busy = 0
	}
}

// wait foretells how long a call at a position of the line waits, 1 for the
// head: the median and the 90th percentile. It returns false where there is
// nothing to tell it from.
func (q *queue) wait(position int, now Time) (p50, p90 time.Duration, ok bool) {
	e, agents := q.estimate, int64(q.staffed())
	works := since(e.Works, now.Add(-keptFor))
	if agents <= 0 || len(works) < worksNeeded {
		return 0, 0, false
	}
	var sum int64
	for _, w := range works {
		sum += w.Value
	}
	n := int64(len(works))
	// An interval that takes longer than usual counts before it is over: else
	// a queue that has come to a halt would be praised for its past.
	running := int64(0)
	if e.Busy != 0 {
		running = e.Work + int64(now.Sub(e.Counted)/time.Microsecond)*agents
	}
	if running > sum/n {
		sum, n = sum+running, n+1
	} else {
		running = 0
	}
	mean := sum / n
	var off int64
	for _, w := range works {
		off += max(w.Value-mean, mean-w.Value)
	}
	if running > 0 {
		off += running - mean
	}
	each, spread := max(mean/agents, 1), off/n/agents // microseconds
	p := int64(position)
	// Works are skewed, many short and few long: the median of a sum lies below
	// its mean, by a third of one where they are exponential. There the standard
	// deviation is 1.36 mean absolute deviations, and 1.28 of it make the 90th
	// percentile. A sum of p works has p times the variance of one, and that the
	// mean is known from n of them only adds p*p/n times.
	skew := spread * (spread * 1000 / each) / 1000 * 616 / 1000
	low := max(p*each-min(skew, each/2), 0)
	high := max(p*each+spread*174*root((p+p*p/n)*10_000)/10_000, low)
	return time.Duration(low) * time.Microsecond, time.Duration(high) * time.Microsecond, true
}

// root is the integer square root.
func root(n int64) int64 {
	if n < 2 {
		return n
	}
	x := n
	for y := (x + 1) / 2; y < x; y = (x + n/x) / 2 {
		x = y
	}
	return x
}

// more foretells the wait of one more call.
func (q *queue) more(now Time) (p50, p90 time.Duration, ok bool) {
	if q.standing == 0 && q.out[notExcluded] > 0 {
		return 0, 0, true
	}
	return q.wait(q.length+1, now)
}

// speed is the average speed of answer of the last answered calls.
func (q *queue) speed(now Time) (time.Duration, bool) {
	waits := since(q.estimate.Waits, now.Add(-asaKeptFor))
	if len(waits) < waitsNeeded {
		return 0, false
	}
	var sum int64
	for _, w := range waits {
		sum += w.Value
	}
	return time.Duration(sum / int64(len(waits))), true
}

// WaitInfo is what a queue would say to one more caller at this moment, and how
// right what it said was so far.
type WaitInfo struct {
	Queue    QueueID
	P50, P90 time.Duration // of one more call's wait
	Known    bool          // else nothing can be said
	ASA      time.Duration // of the last answered calls; 0: none in the last 15 minutes
	// Since the queue was configured, of the answered calls that had an
	// estimate when they joined:
	Foretold  uint64
	WithinP50 uint64        // answered within the median foretold: half of them, if that was right
	WithinP90 uint64        // likewise: nine in ten
	Error     time.Duration // mean absolute difference from the median foretold
}

// Waits returns the estimates of all queues.
func (m *Machine) Waits() []WaitInfo {
	out := make([]WaitInfo, 0, len(m.queues))
	for _, id := range slices.Sorted(maps.Keys(m.queues)) {
		q := m.queues[id]
		e := q.estimate
		w := WaitInfo{Queue: id, Foretold: e.Foretold, WithinP50: e.WithinP50, WithinP90: e.WithinP90}
		w.P50, w.P90, w.Known = q.more(m.now)
		w.ASA, _ = q.speed(m.now)
		if e.Foretold > 0 {
			w.Error = e.Error / time.Duration(e.Foretold)
		}
		out = append(out, w)
	}
	return out
}

// Position returns a waiting call's place in its line, 1 for the head, and what
// is left of its wait by the estimate; known is false where that can't be told.
func (m *Machine) Position(id CallID) (position int, p50, p90 time.Duration, known bool) {
	c, ok := m.calls[id]
	if !ok || c.State != CallWaiting {
		return 0, 0, 0, false
	}
	q := m.queues[c.Queue]
	position = q.line.position(c)
	p50, p90, known = q.wait(position, m.now)
	return position, p50, p90, known
}

func (e *Estimate) digest(d *digest) {
	d.text(string(e.Queue))
	d.num(uint64(e.Busy), uint64(e.Work), uint64(e.Counted), e.Foretold, e.WithinP50, e.WithinP90, uint64(e.Error))
	for _, list := range [][]Sample{e.Works, e.Waits} {
		d.list(len(list), func(i int) { d.num(uint64(list[i].At), uint64(list[i].Value)) })
	}
}
