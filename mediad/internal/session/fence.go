package session

import (
	"time"

	"trunkline/mediad/internal/standby"
	"trunkline/mediad/mediaapi"
)

// A worker that hangs is taken over from, and wakes with packets in its sockets
// and frames due. It must send none of them: the successor sends. So a thread that
// finds that it has slept keeps silent until the standby of each address says that
// the epoch still is. What it receives meanwhile it records, for nobody else has.

const (
	// pauseLimit is how long a thread may be away. It wakes by itself each
	// tidyTime, and nobody is declared dead for a shorter silence than silentLimit
	// and what the routers' question takes on top.
	pauseLimit = 250 * time.Millisecond
	// confirmPatience is how long a standby is waited for. One that is gone has
	// taken over nothing.
	confirmPatience = 300 * time.Millisecond

	// silentLimit is how long a host may be silent before the routers are told;
	// it says something each marksEvery / 2.
	silentLimit = 150 * time.Millisecond
	watchEvery  = marksEvery / 2
)

// speaks tells whether a packet may be sent: under shard.mu, for each packet,
// since a thread can be stopped between any two.
func (s *shard) speaks() bool {
	if !s.mute && s.guarded && time.Since(s.alive) > pauseLimit {
		s.mute = true
		select {
		case s.woken <- struct{}{}:
		default:
		}
	}
	if s.mute {
		s.count.muted++
	}
	return !s.mute
}

// guard tells the shards whether anybody may take over from us, and whom to give
// signs of life: under Engine.mu, after any link has come or gone.
func (e *Engine) guard() {
	var links []*standby.Link
	for _, h := range e.hosts {
		if h.link != nil {
			links = append(links, h.link)
		}
	}
	guarded := len(links) > 0
	e.linksMu.Lock()
	e.links = links
	e.linksMu.Unlock()
	for _, s := range e.shards {
		s.mu.Lock()
		s.guarded = guarded
		s.mu.Unlock()
	}
}

// confirmEpochs lets shards that slept speak again once no standby objects, until
// the engine stops. Calls of an address that was taken over are gone by then.
func (e *Engine) confirmEpochs() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.woken:
		}
		began := time.Now()
		if !e.confirm(began.Add(confirmPatience)) {
			return
		}
		e.log.Warn("packet threads had slept, and were silent until the standbys confirmed", "took", time.Since(began))
		for _, s := range e.shards {
			s.mu.Lock()
			if s.mute {
				s.mute, s.alive = false, time.Now()
			}
			s.mu.Unlock()
			s.poller.Wake()
		}
	}
}

// confirm asks every standby, again where the connection broke, until each has
// answered or the time is over; false if the engine stops.
func (e *Engine) confirm(until time.Time) bool {
	const again = 5 * time.Millisecond
	for {
		asked := e.askStandbys()
		timer := time.NewTimer(time.Until(until))
		for _, answer := range asked {
			select {
			case <-answer:
			case <-timer.C:
				return true
			case <-e.stop:
				timer.Stop()
				return false
			}
		}
		timer.Stop()
		if e.linked() || time.Now().After(until) {
			return true
		}
		select {
		case <-time.After(again):
		case <-e.stop:
			return false
		}
	}
}

func (e *Engine) askStandbys() (asked []<-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hosts {
		if h.link == nil {
			continue
		}
		if answer := h.link.Ask(); answer != nil {
			asked = append(asked, answer)
		}
	}
	return asked
}

// linked tells whether every address that has a standby is in touch with it.
func (e *Engine) linked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hosts {
		if h.link != nil && !h.link.Synced() {
			return false
		}
	}
	return true
}

// unlinked tells whether an address has no standby.
func (e *Engine) unlinked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.hosts {
		if h.link == nil {
			return true
		}
	}
	return false
}

// watchHosts tells the routers of workers that this one stands by for and hears
// nothing of. One that was held up itself believes its ears only after a while.
func (e *Engine) watchHosts() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last, steady := time.Now(), 0
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(last) > 2*watchEvery {
			steady = 0
		}
		last = now
		if steady++; steady <= int(silentLimit/watchEvery) || e.cfg.Replicas == nil {
			continue
		}
		lives := e.cfg.Replicas.Silent(silentLimit)
		if len(lives) == 0 {
			continue
		}
		steady = 0 // the routers need some time to ask
		reply := mediaapi.Reply{Result: mediaapi.ResultOK}
		for _, l := range lives {
			reply.Silent = append(reply.Silent, mediaapi.Silent{Worker: l.Worker, Incarnation: l.Incarnation})
		}
		e.mu.Lock()
		for sub := range e.subscribers {
			sub.tell(reply)
		}
		e.mu.Unlock()
	}
}

// beginAnew ends this life: it was declared over, and whatever it holds is
// somebody else's or nobody's.
func (e *Engine) beginAnew(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	switch {
	case e.cfg.Relive == nil:
		return mediaapi.Reply{}, nil, refuse(501, "this worker stands alone")
	case r.Incarnation != e.cfg.Incarnation:
		return mediaapi.Reply{}, nil, refuse(409, "incarnation %d is not this life's, which is %d", r.Incarnation, e.cfg.Incarnation)
	}
	for _, h := range e.hosts { // any order: each its own
		e.letGo(h)
	}
	next, err := e.cfg.Relive()
	if err != nil {
		return mediaapi.Reply{}, nil, refuse(500, "no new life: %v", err)
	}
	e.log.Warn("this life was declared over: another begins", "incarnation", next)
	e.cfg.Incarnation = next
	e.guard()
	return mediaapi.Reply{Worker: e.cfg.Worker}, nil, nil
}
