package sim

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// customer is a phone outside that the routers call over a trunk: of a callback
// or an outbound task.
type customer struct {
	far    *farEnd
	number string
}

// customerNumber is the number of the nth customer; the first are the callers'.
func customerNumber(n int) string { return fmt.Sprintf("+7900%04d", n) }

// newCustomer seats a customer's phone behind the SBCs.
func newCustomer(w *World, n int) *customer {
	k := &customer{number: customerNumber(n)}
	k.far = w.newFarEnd(fmt.Sprintf("k%d", n), fmt.Sprintf("10.5.%d.%d", n/250, n%250+1))
	k.far.invited = k.rings
	k.far.told = func(d *dialog, e sip.Event) {
		if e, ok := e.(sip.Ended); ok {
			w.note(k.far.name, "over", e.Cause, string(d.ring.call), 0)
		}
	}
	w.customers[k.number] = k
	return k
}

func (k *customer) rings(d *dialog, req *sip.Request) {
	w := k.far.w
	call, leg, _ := legOf(req.CallID())
	d.ring = &ringing{call: call, leg: leg, since: w.now}
	w.called[d.id] = d
	for _, id := range k.far.order {
		if o := k.far.dialogs[id]; o != nil && o != d && !o.over && !o.ring.closing && o.ring.call == call && o.ring.leg != leg {
			w.fail(PromiseOneCall, "customer %s is called for %s as leg %s and again as leg %s", k.number, call, o.ring.leg, leg)
		}
	}
	k.far.after(w.between(20*time.Millisecond, 300*time.Millisecond), func() {
		if !d.over {
			k.far.act(d, d.leg.Progress(k.far.time(), 180, nil))
		}
	})
	in := w.between(300*time.Millisecond, 3*time.Second)
	switch dice := w.rng.IntN(100); {
	case dice < 65:
		k.far.after(in, func() { k.answer(d, sdpOf("10.5.5.5")) })
	case dice < 80:
		code := pick(w, []int{486, 603, 480, 404})
		k.far.after(in, func() {
			if !d.over && d.leg.State() == sip.Pending {
				k.far.act(d, d.leg.Reject(k.far.time(), code, ""))
			}
		})
	case dice < 85:
		k.far.after(in, func() { k.answer(d, uselessSDP) })
	default: // nobody is at home
	}
}

func (k *customer) answer(d *dialog, sdp string) {
	if d.over || d.leg.State() != sip.Pending {
		return
	}
	w := k.far.w
	w.note(k.far.name, "answers", string(d.ring.call), string(d.ring.leg), 0)
	k.far.act(d, d.leg.Accept(k.far.time(), []byte(sdp)))
	k.far.after(w.talk(3*time.Second, 20*time.Second), func() { k.hangUp(d) })
}

// talk is how long somebody talks who answered now: not long after the day's end.
func (w *World) talk(lo, hi time.Duration) time.Duration {
	d := w.between(lo, hi)
	if w.now >= closeAt {
		d = min(d, 3*time.Second)
	}
	return d
}

func (k *customer) hangUp(d *dialog) {
	if !d.over {
		d.ring.closing = true
		k.far.act(d, d.leg.Bye(k.far.time()))
	}
}

// orderTasks has the outbound tasks of the day created through the API, each
// until it is acknowledged, and those that are not over cancelled at its end.
func (w *World) orderTasks() {
	for i := range w.plan.tasks {
		number := customerNumber(w.rng.IntN(w.plan.calls + 10))
		b := acd.TaskCreated{
			ID: acd.TaskID(fmt.Sprintf("t%d", i+1)), Number: number, Queue: pick(w, w.plan.config.Queues).ID,
			Attempts: 1 + w.rng.IntN(2), Retry: w.between(time.Second, 4*time.Second), Priority: w.rng.IntN(2),
		}
		due := w.between(callsBegin, callsEnd)
		b.Expire = acd.Time(epoch + int64(due) + int64(w.between(8*time.Second, 25*time.Second)))
		w.events.push(event{at: max(due-w.between(0, 3*time.Second), callsBegin), do: func() {
			b.Due = acd.Time(epoch + int64(due))
			w.insist(b)
		}})
		w.events.push(event{at: closeAt, do: func() { w.insist(acd.TaskCancelled{ID: b.ID, Reason: "closed"}) }})
	}
}

// insist asks one router after the other until the command is acknowledged.
func (w *World) insist(body acd.Body) {
	done := false
	var try func(n int)
	try = func(n int) {
		if done || n == 8 {
			return
		}
		w.ask(pick(w, w.edges), func(r *router, t *task) bool {
			_, _, ok := r.propose(t, 4*time.Second, body)
			done = done || ok
			return ok
		})
		w.after(5*time.Second, func() { try(n + 1) })
	}
	try(0)
}
