package acd

import (
	"cmp"
	"slices"
)

func (m *Machine) worker(id WorkerID) *Worker {
	i, ok := slices.BinarySearchFunc(m.workers, id, func(w *Worker, id WorkerID) int { return cmp.Compare(w.ID, id) })
	if !ok {
		return nil
	}
	return m.workers[i]
}

func (m *Machine) host(address string) *MediaHost {
	i, ok := slices.BinarySearchFunc(m.media, address, func(h *MediaHost, a string) int { return cmp.Compare(h.Address, a) })
	if !ok {
		return nil
	}
	return m.media[i]
}

// mediaReady tells whether a new call could get media anywhere.
func (m *Machine) mediaReady() bool {
	return slices.ContainsFunc(m.workers, func(w *Worker) bool { return w.Alive && w.Home != "" })
}

// workerStarted begins a worker's life. An earlier life that was not reported
// dead died before it.
func (m *Machine) workerStarted(b WorkerStarted) Result {
	w := m.worker(b.Worker)
	if w == nil {
		w = &Worker{ID: b.Worker}
		at, _ := slices.BinarySearchFunc(m.workers, b.Worker, func(w *Worker, id WorkerID) int { return cmp.Compare(w.ID, id) })
		m.workers = slices.Insert(m.workers, at, w)
	} else if b.Incarnation < w.Incarnation || b.Incarnation == w.Incarnation && !w.Alive {
		return m.noop(ReasonStaleLife)
	} else if b.Incarnation == w.Incarnation {
		return m.noop(ReasonUnchanged)
	}
	var moved []movedAddress
	if w.Alive {
		moved = m.loseWorker(w)
	}
	*w = Worker{
		ID: b.Worker, Incarnation: b.Incarnation, Alive: true,
		Control: b.Control, Replication: b.Replication, Addresses: slices.Clone(b.Addresses),
	}
	m.fact(Fact{Kind: FactWorkerStarted}).text("worker", string(w.ID)).uint("incarnation", w.Incarnation)
	m.arrangeMedia()
	m.resumeMedia(moved)
	return Result{Applied: true}
}

// workerDied ends a worker's life: its standbys take its addresses over.
func (m *Machine) workerDied(b WorkerDied) Result {
	w := m.worker(b.Worker)
	if w == nil || !w.Alive || w.Incarnation != b.Incarnation {
		return m.noop(ReasonStaleLife)
	}
	moved := m.loseWorker(w)
	m.arrangeMedia()
	m.resumeMedia(moved)
	return Result{Applied: true}
}

// movedAddress is a media address that a standby took over.
type movedAddress struct {
	address string
	from    WorkerID
}

// loseWorker gives the addresses of a dead worker to their standbys and returns
// those. An address that carries no call moves as well: one may be on its way.
// Calls on addresses without a standby can't go on.
func (m *Machine) loseWorker(w *Worker) (moved []movedAddress) {
	w.Alive, w.Home = false, ""
	m.fact(Fact{Kind: FactWorkerDied}).text("worker", string(w.ID)).uint("incarnation", w.Incarnation)
	for _, h := range slices.Clone(m.media) {
		if h.Worker != w.ID || m.host(h.Address) != h {
			continue
		}
		standby := m.worker(h.Standby)
		if standby != nil && standby.Alive && standby.Incarnation == h.StandbyIncarnation {
			h.Worker, h.Incarnation, h.Epoch = standby.ID, standby.Incarnation, 0
			moved = append(moved, movedAddress{h.Address, w.ID})
			continue
		}
		m.releaseAddress(h)
		for _, c := range m.callsOn(h.Address) {
			// The sessions are gone, and another may host the address before
			// the call has closed.
			c.Media = slices.DeleteFunc(slices.Clone(c.Media), func(a string) bool { return a == h.Address })
			if l := c.promised(); l != nil && !l.ending() {
				m.hangUp(c, l, CauseMedia, 0) // the promise counts all the same
			} else if c.State != CallEnding && l == nil {
				m.endCall(c, BySystem, CauseMedia, 503)
			}
		}
	}
	return moved
}

// arrangeMedia gives every live worker without one a home address, chooses
// standbys, and tells all nodes what changed. An entry whose Epoch is 0 has a
// new host.
func (m *Machine) arrangeMedia() {
	m.mediaFreed = false
	for _, w := range m.workers {
		if w.Alive && w.Home == "" {
			m.giveHome(w)
		}
	}
	for _, h := range slices.Clone(m.media) {
		if h.Calls == 0 && m.worker(h.Worker).Home != h.Address && m.spare(h.Address) {
			m.releaseAddress(h)
		}
	}
	for _, h := range m.media {
		var standby Worker
		if s := m.nextWorker(h.Worker); s != nil {
			standby = *s
		}
		if h.Epoch != 0 && h.Standby == standby.ID && h.StandbyIncarnation == standby.Incarnation {
			continue
		}
		h.Standby, h.StandbyIncarnation, h.Epoch = standby.ID, standby.Incarnation, m.index
		m.fact(Fact{Kind: FactMediaHosted}).
			text("address", h.Address).text("worker", string(h.Worker)).text("standby", string(h.Standby)).uint("epoch", h.Epoch)
		w := m.worker(h.Worker)
		m.orderAll(HostMedia{
			Address: h.Address, Worker: w.ID, Incarnation: w.Incarnation, Control: w.Control,
			Standby: standby.ID, Replication: standby.Replication, Epoch: h.Epoch,
		})
	}
}

// giveHome makes the worker host the first of its own addresses that no other
// worker carries calls on.
func (m *Machine) giveHome(w *Worker) {
	for _, address := range w.Addresses {
		h := m.host(address)
		if h == nil {
			at, _ := slices.BinarySearchFunc(m.media, address, func(h *MediaHost, a string) int { return cmp.Compare(h.Address, a) })
			h = &MediaHost{Address: address}
			m.media = slices.Insert(m.media, at, h)
		} else if h.Calls > 0 || m.worker(h.Worker).Home == address {
			continue
		}
		h.Worker, h.Incarnation, h.Epoch = w.ID, w.Incarnation, 0
		w.Home = address
		return
	}
}

// spare tells whether the worker whose own the address is lives and has
// another home. Until then a call made on it just before that worker died may
// still be reported.
func (m *Machine) spare(address string) bool {
	return slices.ContainsFunc(m.workers, func(w *Worker) bool {
		return w.Alive && w.Home != "" && slices.Contains(w.Addresses, address)
	})
}

// nextWorker is the next live worker after id in the ring of ids.
func (m *Machine) nextWorker(id WorkerID) *Worker {
	var first *Worker
	for _, w := range m.workers {
		if !w.Alive || w.ID == id {
			continue
		}
		if w.ID > id {
			return w
		}
		if first == nil {
			first = w
		}
	}
	return first
}

// releaseAddress takes the address out of the table: nobody hosts it.
func (m *Machine) releaseAddress(h *MediaHost) {
	at := slices.Index(m.media, h)
	m.media = slices.Delete(m.media, at, at+1)
	m.fact(Fact{Kind: FactMediaReleased}).text("address", h.Address).text("worker", string(h.Worker))
}

// resumeMedia repeats the orders that make media flow for the calls on
// addresses that moved: the standby has their sessions, but an order may have
// been lost between its reply and its replication.
func (m *Machine) resumeMedia(moved []movedAddress) {
	for _, mv := range moved {
		h := m.host(mv.address)
		if h == nil {
			continue // its last call ended meanwhile
		}
		for _, c := range m.callsOn(mv.address) {
			m.fact(Fact{Kind: FactCallMediaMoved, Call: c.ID}).
				text("address", mv.address).text("from", string(mv.from)).text("to", string(h.Worker))
			switch c.State {
			case CallWaiting, CallHunting:
				if c.Prompt.Loop {
					m.play(c, c.Prompt.Name, true)
				}
			case CallTalking:
				m.connect(c)
			}
		}
	}
}

// callsOn returns the open calls that use the address, by id.
func (m *Machine) callsOn(address string) []*call {
	var on []*call
	for _, c := range m.calls { // any order: sorted below
		if slices.Contains(c.Media, address) {
			on = append(on, m.own(c))
		}
	}
	slices.SortFunc(on, func(a, b *call) int { return cmp.Compare(a.ID, b.ID) })
	return on
}

// useMedia notes that the call's media lives at the address. It returns false
// if no worker hosts it any more: there is no media then.
func (m *Machine) useMedia(c *call, address string) bool {
	h := m.host(address)
	if h == nil {
		return false
	}
	if !slices.Contains(c.Media, address) {
		c.Media = append(c.Media, address)
		h.Calls++
	}
	return true
}

// leaveMedia lets go of the closed call's addresses. One that was taken over
// and carries no call any more is free again, for its home worker above all.
func (m *Machine) leaveMedia(c *call) {
	for _, address := range c.Media {
		h := m.host(address)
		if h == nil {
			continue
		}
		h.Calls--
		if w := m.worker(h.Worker); h.Calls == 0 && w.Home != address {
			m.releaseAddress(h)
			m.mediaFreed = true
		}
	}
}
