package acd

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (v *validator) queue(q *Queue, path string) {
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"ring_timeout", q.RingTimeout}, {"wrap_up", q.WrapUp}, {"max_wait", q.MaxWait}, {"reject_delay", q.RejectDelay},
		{"busy_delay", q.BusyDelay}, {"wrap_up_max", q.WrapUpMax}, {"tier_delay", q.TierDelay}, {"least_window", q.Window},
		{"priority_step", q.PriorityStep}, {"leave_empty", q.LeaveEmpty}, {"service_level", q.ServiceLevel},
	} {
		v.day(d.d, path+"."+d.name)
	}
	v.within(q.MaxLength, 0, 1<<20, path+".max_length")
	v.within(q.MissedLimit, 0, 1<<20, path+".missed_limit")
	v.within(q.RingMost, 0, 50, path+".ring_most")
	v.within(q.Weight, 0, maxWeight, path+".weight")
	if q.Window > 0 && q.Window < leastWindow {
		v.fault(path+".least_window", "is less than %d min", int(leastWindow/time.Minute))
	}
	if q.WrapUpMax > 0 && q.WrapUpMax < q.WrapUp {
		v.fault(path+".wrap_up_max", "is less than wrap_up")
	}
	if _, ok := strategyOf(q.Strategy); !ok {
		v.fault(path+".strategy", "no strategy %q", q.Strategy)
	}
	v.needs(q.Needs, path+".needs")
	v.rings(q.Rings, path+".rings")
	v.within(q.Sticky.Days, 0, maxSticky, path+".sticky.days")
	v.day(q.Sticky.Wait, path+".sticky.wait")
	if q.Sticky.Wait > 0 && q.Sticky.Days == 0 {
		v.fault(path+".sticky.days", "is 0, so nobody is waited for")
	}
	refer(v, v.calendars, "calendar", q.Calendar, path+".calendar")
	v.deny(q.WhenClosed != Then{} && q.Calendar == "", path+".when_closed", "the queue has no calendar and is always open")
	v.empty(q, path)
	for i := range q.Admission {
		v.admission(q, &q.Admission[i], fmt.Sprintf("%s.admission[%d]", path, i))
	}
	v.announce(q, path+".announce")
	v.keys(q, path)
	v.callback(q, path+".callback")
	v.permit(&q.Transfer, path+".transfer")
	v.deny(q.PickUp != "" && q.PickUp != PickUpRinging && q.PickUp != PickUpAny, path+".pick_up", "neither ringing nor any")
	for name, t := range q.thens() {
		v.then(t, q, path+"."+name)
	}
	v.deny(q.AfterMaxWait.Queue == q.ID && q.ID != "", path+".after_max_wait.queue", "is the queue itself")
	v.deny(q.Exit.Queue == q.ID && q.ID != "", path+".exit.queue", "is the queue itself")
}

// thens gives the queue's places that say where a call goes, by their path.
func (q *Queue) thens() func(yield func(string, *Then) bool) {
	return func(yield func(string, *Then) bool) {
		_ = yield("when_closed", &q.WhenClosed) && yield("when_full", &q.WhenFull) &&
			yield("after_max_wait", &q.AfterMaxWait) && yield("when_empty", &q.WhenEmpty) && yield("exit", &q.Exit)
	}
}

// deny is a fault of something that is said and can't have an effect.
func (v *validator) deny(is bool, path, why string) {
	if is {
		v.fault(path, "%s", why)
	}
}

func (v *validator) rings(rings []Ring, path string) {
	for i, r := range rings {
		at := fmt.Sprintf("%s[%d]", path, i)
		v.day(r.After, at+".after")
		if i > 0 && r.After <= rings[i-1].After {
			v.fault(at+".after", "is not after the ring before")
		}
		v.needs(r.Needs, at+".needs")
		v.within(r.Tier, 0, maxTier, at+".tier")
		v.deny(r.Any && len(r.Needs) > 0, at+".any", "nothing is needed, but needs are given")
	}
}

// Values of Queue.Empty.
const (
	emptyNever       = "never"
	emptyLoggedOut   = "logged-out"
	emptyUnavailable = "unavailable"
)

func (v *validator) empty(q *Queue, path string) {
	switch q.Empty {
	case emptyLoggedOut, emptyUnavailable:
		return
	case "", emptyNever:
	default:
		v.fault(path+".empty", "%q is none of never, logged-out, unavailable", q.Empty)
		return
	}
	v.deny(q.WhenEmpty != Then{}, path+".when_empty", "empty is never")
	v.deny(q.LeaveEmpty != 0, path+".leave_empty", "empty is never")
}

func (v *validator) admission(q *Queue, a *Admission, path string) {
	v.during(a.Open, a.Closed, path)
	v.within(a.Calls, 0, 1<<20, path+".calls")
	v.day(a.EWT, path+".ewt")
	v.day(a.ASA, path+".asa")
	v.deny(a.Calls == 0 && a.EWT == 0 && a.ASA == 0, path, "has no limit: calls, ewt or asa")
	v.then(&a.Then, q, path+".then")
}

// during checks the two calendars of a condition.
func (v *validator) during(open, closed CalendarID, path string) {
	refer(v, v.calendars, "calendar", open, path+".open")
	refer(v, v.calendars, "calendar", closed, path+".closed")
	v.deny(open != "" && open == closed, path+".closed", "the same calendar is never open and closed")
}

func (v *validator) announce(q *Queue, path string) {
	a := &q.Announce
	v.day(a.First, path+".first")
	v.day(a.Every, path+".every")
	if a.Every > 0 && a.Every < minAnnounce {
		v.fault(path+".every", "is less than 15 s")
	}
	says := a.Position || a.Wait
	v.deny(a.Every == 0 && (says || a.First != 0), path+".every", "is 0, so nothing is announced")
	v.deny(a.Every > 0 && !says && q.Callback.Offer == "", path+".every", "there is nothing to announce: no position, wait or callback.offer")
}

func (v *validator) keys(q *Queue, path string) {
	isKey := func(s string) bool { return s == "" || len(s) == 1 && strings.Contains("0123456789*#", s) }
	if !isKey(q.ExitKey) {
		v.fault(path+".exit_key", "%q is none of 0-9 * #", q.ExitKey)
	}
	if !isKey(q.Callback.Key) {
		v.fault(path+".callback.key", "%q is none of 0-9 * #", q.Callback.Key)
	}
	v.deny(q.ExitKey == "" && q.Exit != Then{}, path+".exit", "there is no exit_key")
	if q.ExitKey != "" && q.ExitKey == q.Callback.Key {
		v.fault(path+".callback.key", "is the exit_key as well")
	}
}

func (v *validator) callback(q *Queue, path string) {
	b := &q.Callback
	v.day(b.Over, path+".over")
	v.day(b.Retry, path+".retry")
	v.between(b.Expire, maxExpire, path+".expire")
	v.within(b.Attempts, 0, 20, path+".attempts")
	switch {
	case b.Key == "":
		v.deny(*b != Callback{}, path+".key", "is empty, so there are no callbacks")
	case len(v.c.Outbound.Trunks) == 0:
		v.fault(path+".key", "outbound.trunks is empty: nobody can be called back")
	}
}

// then checks where a call goes; q is the queue it comes from, nil for a chain.
func (v *validator) then(t *Then, q *Queue, path string) {
	var said []string
	for _, f := range []struct {
		name string
		is   bool
	}{{"queue", t.Queue != ""}, {"chain", t.Chain != ""}, {"prompt", t.Prompt != ""}, {"refuse", t.Refuse != 0}, {"callback", t.Callback}} {
		if f.is {
			said = append(said, f.name)
		}
	}
	if len(said) > 1 {
		v.fault(path, "%s are all given: at most one", strings.Join(said, ", "))
	}
	refer(v, v.queues, "queue", t.Queue, path+".queue")
	refer(v, v.chains, "chain", t.Chain, path+".chain")
	v.code(t.Refuse, path+".refuse")
	v.deny(t.Callback && (q == nil || q.Callback.Key == ""), path+".callback", "there are no callbacks here: callback.key is empty")
}

func (v *validator) code(code int, path string) {
	if code != 0 && (code < 400 || code > 699) {
		v.fault(path, "%d is not between 400 and 699", code)
	}
}

// circles finds ways on which a call that no queue takes would come back to
// where it was: by a queue that is closed, full, empty or does not admit, and by
// a chain nobody of which answers. What takes time, as a longest wait, is none:
// such moves are counted, see maxMoves.
func (v *validator) circles() {
	const unseen, open, done = 0, 1, 2
	state := make(map[string]int)
	var way []string
	var visit func(name string)
	step := func(t *Then, path string) {
		next := ""
		switch {
		case t.Queue != "":
			next = "queue " + string(t.Queue)
		case t.Chain != "":
			next = "chain " + string(t.Chain)
		default:
			return
		}
		if state[next] == open {
			at := slices.Index(way, next)
			v.fault(path, "leads in a circle: %s", strings.Join(append(slices.Clone(way[at:]), next), ", "))
			return
		}
		visit(next)
	}
	visit = func(name string) {
		if state[name] != unseen {
			return
		}
		state[name] = open
		way = append(way, name)
		kind, id, _ := strings.Cut(name, " ")
		if i, ok := v.queues[QueueID(id)]; ok && kind == "queue" {
			q, path := &v.c.Queues[i], fmt.Sprintf("queues[%d]", i)
			step(&q.WhenClosed, path+".when_closed")
			step(&q.WhenFull, path+".when_full")
			step(&q.WhenEmpty, path+".when_empty")
			for j := range q.Admission {
				step(&q.Admission[j].Then, fmt.Sprintf("%s.admission[%d].then", path, j))
			}
		}
		if i, ok := v.chains[ChainID(id)]; ok && kind == "chain" {
			step(&v.c.Chains[i].Then, fmt.Sprintf("chains[%d].then", i))
		}
		way = way[:len(way)-1]
		state[name] = done
	}
	for _, q := range v.c.Queues {
		visit("queue " + string(q.ID))
	}
	for _, c := range v.c.Chains {
		visit("chain " + string(c.ID))
	}
}
