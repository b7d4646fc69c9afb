package sim

import (
	"iter"
	"time"
)

// task is code of a host that waits in the middle, as a goroutine does in
// production. It is a coroutine: only the event loop runs it, to its next wait.
type task struct {
	h      *host
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	waits  uint64 // number of the present wait: what wakes an earlier one is late
	parked bool
	over   bool
}

// spawn starts a task of the host's present life.
func (h *host) spawn(f func(t *task)) *task {
	t := &task{h: h}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		f(t)
	})
	h.tasks = append(h.tasks, t)
	h.soon(t.run)
	return t
}

// run lets the task go on until it waits or ends.
func (t *task) run() {
	if t.over {
		return
	}
	t.parked = false
	if _, more := t.next(); !more {
		t.end()
	}
}

func (t *task) end() {
	t.over = true
	for i, other := range t.h.tasks {
		if other == t {
			last := len(t.h.tasks) - 1
			t.h.tasks[i] = t.h.tasks[last]
			t.h.tasks[last] = nil
			t.h.tasks = t.h.tasks[:last]
			return
		}
	}
}

// kill unwinds the task: its wait returns false, and it must do nothing more.
func (t *task) kill() {
	if !t.over {
		t.over = true
		t.stop()
	}
}

// alive tells whether the life the task belongs to goes on.
func (t *task) alive() bool { return !t.over && t.h.up }

// wait parks the task until wake, given to arm, is called, or until timeout if
// that is positive. woken is false after the timeout; alive is false if the
// life is over, and the task must return.
func (t *task) wait(timeout time.Duration, arm func(wake func())) (woken, alive bool) {
	if !t.alive() {
		return false, false
	}
	t.waits++
	mine := t.waits
	rouse := func(by bool) func() {
		return func() {
			if t.waits != mine || !t.parked || t.over {
				return
			}
			t.waits++ // the other one is late now
			woken = by
			t.h.soon(t.run)
		}
	}
	t.parked = true
	if timeout > 0 {
		t.h.after(timeout, rouse(false))
	}
	if arm != nil {
		arm(rouse(true))
	}
	if !t.yield(struct{}{}) {
		t.over = true
	}
	return woken, t.alive()
}

// sleep waits for d; false means the life is over.
func (t *task) sleep(d time.Duration) bool {
	_, alive := t.wait(max(d, 1), nil)
	return alive
}
