package sim

import "time"

// event is something that will happen. An event of a host is dropped when that
// life of the host is over, and kept back while the host is paused.
type event struct {
	at   time.Duration // since the beginning of the run
	seq  uint64
	host *host
	life uint32
	do   func()
}

// events is a binary heap: earliest first, ties by number.
type events struct {
	items []event
	seq   uint64
}

func (e *events) before(a, b *event) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (e *events) push(ev event) {
	e.seq++
	ev.seq = e.seq
	e.items = append(e.items, ev)
	i := len(e.items) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&ev, &e.items[parent]) {
			break
		}
		e.items[i] = e.items[parent]
		i = parent
	}
	e.items[i] = ev
}

func (e *events) pop() (event, bool) {
	if len(e.items) == 0 {
		return event{}, false
	}
	top := e.items[0]
	last := e.items[len(e.items)-1]
	e.items[len(e.items)-1] = event{}
	e.items = e.items[:len(e.items)-1]
	n, i := len(e.items), 0
	for n > 0 {
		child := 2*i + 1
		if child >= n {
			break
		}
		if right := child + 1; right < n && e.before(&e.items[right], &e.items[child]) {
			child = right
		}
		if !e.before(&e.items[child], &last) {
			break
		}
		e.items[i] = e.items[child]
		i = child
	}
	if n > 0 {
		e.items[i] = last
	}
	return top, true
}

// host is a process: what it was about to do ends with it, and waits while it
// is stopped.
type host struct {
	w       *World
	name    string
	up      bool
	paused  bool
	life    uint32
	backlog []event // what came due while paused
	tasks   []*task
}

// after does f in d, in this life and not while paused.
func (h *host) after(d time.Duration, f func()) {
	h.w.events.push(event{at: h.w.now + max(d, 0), host: h, life: h.life, do: f})
}

// soon does f after what is under way now.
func (h *host) soon(f func()) { h.after(0, f) }

// start begins a life.
func (h *host) start() {
	h.life++
	h.up, h.paused, h.backlog = true, false, nil
}

// stop ends the life at once, as kill -9 does. It may be called by one of the
// host's own tasks: their ends are unwound by the loop.
func (h *host) stop() {
	if !h.up {
		return
	}
	h.up, h.paused, h.backlog = false, false, nil
	h.life++
	tasks := h.tasks
	h.tasks = nil
	h.w.after(0, func() {
		for _, t := range tasks {
			t.kill()
		}
	})
}

// pause stops the process without its knowledge (SIGSTOP).
func (h *host) pause() {
	if h.up {
		h.paused = true
	}
}

// resume lets the process go on. What came due meanwhile happens now, in the
// order in which it came, or timers and messages as the scheduler likes them.
func (h *host) resume() {
	if !h.up || !h.paused {
		return
	}
	h.paused = false
	late := h.backlog
	h.backlog = nil
	for i, ev := range late {
		h.w.events.push(event{at: h.w.now + time.Duration(i)*20*time.Microsecond, host: h, life: ev.life, do: ev.do})
	}
}
