package session

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/mediaapi"
)

// digits are the keys a leg's peer has pressed, found in its RFC 4733 events,
// and what tells one event from the next. They are copied to the standby before
// anybody is told, so that a successor goes on with the same numbers and takes
// the last packets of an event for what they are. They never reach a disk.
type digits struct {
	Serial  uint64 `json:"serial,omitempty"`  // of the last key, from 1
	Pending string `json:"pending,omitempty"` // the last ones, not dealt with yet

	Begun  bool   `json:"begun,omitempty"` // the fields below hold
	SSRC   uint32 `json:"ssrc,omitempty"`
	Origin uint32 `json:"origin,omitempty"` // RTP time of the last event
	Start  uint32 `json:"start,omitempty"`  // of its last segment
	Code   uint8  `json:"code,omitempty"`

	// Muted: its keys come by another way, told by routers; its events mean nothing.
	// Informed is the serial of the last such key that was to go across.
	Muted    bool   `json:"muted,omitempty"`
	Informed uint64 `json:"informed,omitempty"`
}

// keys in the order of their event codes (RFC 4733 section 3.2). What is above,
// a flash hook and tones of lines, is no key.
const keys = "0123456789*#ABCD"

// maxPending bounds keys that nobody deals with; the oldest go.
const maxPending = 32

// passedKey stands among those that wait for a key that passed to the connected
// leg: nobody else is to know which it was.
const passedKey = "-"

// longestEvent is as far as an event's duration can be told. A longer one goes
// on in segments, each that far after the one before (RFC 4733 section 2.5.1.3).
const longestEvent = 0xffff

// hear takes one authentic event packet. An event's packets share its RTP time
// (the last comes three times): the first of them to come is the key. passes
// tells whether it goes to the connected leg as it is. Under shard.mu.
func (s *shard) hear(l *leg, h *rtp.Header, payload []byte, passes bool) {
	if len(payload) < 4 || int(payload[0]) >= len(keys) {
		return
	}
	d := &l.digits
	if d.Muted {
		return
	}
	code := payload[0]
	if d.Begun && d.SSRC == h.SSRC {
		since := int32(h.Timestamp - d.Start)
		if since <= 0 {
			return // the same event, or late packets of one before
		}
		if since == longestEvent && code == d.Code {
			d.Start = h.Timestamp
			s.press(l) // for the standby
			return
		}
	}
	d.Begun, d.SSRC, d.Origin, d.Start, d.Code = true, h.SSRC, h.Timestamp, h.Timestamp, code
	s.count.digits++
	if passes {
		s.pend(l, passedKey)
	} else {
		s.pend(l, keys[code:code+1])
	}
}

// pend adds a key to those that routers are to deal with: under shard.mu.
func (s *shard) pend(l *leg, key string) {
	d := &l.digits
	d.Serial++
	if len(d.Pending) == maxPending {
		d.Pending = d.Pending[1:]
		s.count.digitsDropped++
	}
	d.Pending += key
	s.press(l)
}

// rates are the clock rates, in Hz, of events that come and go.
type rates struct{ from, to int }

// rescale turns an event packet's time and duration to another clock rate. What
// comes out depends on the packet and its event alone, so that a successor makes
// the same of it. Segments of a key that is held become one event again, told to
// last no longer than an event can.
func (d *digits) rescale(r rates, h *rtp.Header, plain, payload []byte) {
	if len(payload) < 4 {
		return
	}
	origin := h.Timestamp
	if d.Begun && d.SSRC == h.SSRC && d.Start == h.Timestamp {
		origin = d.Origin
	}
	lasted := uint64(h.Timestamp-origin) + uint64(binary.BigEndian.Uint16(payload[2:]))
	lasted = lasted * uint64(r.to) / uint64(r.from)
	binary.BigEndian.PutUint16(payload[2:], uint16(min(lasted, longestEvent)))
	binary.BigEndian.PutUint32(plain[4:], uint32(uint64(origin)*uint64(r.to)/uint64(r.from)))
}

// press has a leg's keys told: under shard.mu.
func (s *shard) press(l *leg) {
	s.pressed = append(s.pressed, l)
	select {
	case s.tell <- struct{}{}:
	default:
	}
}

// digitsTaken notes what a router has dealt with.
func (e *Engine) digitsTaken(r *mediaapi.Request) (mediaapi.Reply, *call, error) {
	l, err := e.findLeg(r.CallID, r.Leg)
	if err != nil {
		return mediaapi.Reply{}, nil, err
	}
	s := l.call.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &l.digits
	switch {
	case r.Serial > d.Serial:
		return mediaapi.Reply{}, nil, refuse(400, "serial is beyond the last key's")
	case d.Serial-r.Serial >= uint64(len(d.Pending)):
		return mediaapi.Reply{}, nil, nil // a repeat
	}
	d.Pending = d.Pending[uint64(len(d.Pending))-(d.Serial-r.Serial):]
	return mediaapi.Reply{}, l.call, nil
}

// Subscribe has every key told that is pressed from now on, after those nobody
// has dealt with. tell is called by one goroutine at a time and must not block.
func (e *Engine) Subscribe(tell func(mediaapi.Reply)) (cancel func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sub := &subscription{tell: tell, fresh: true}
	e.subscribers[sub] = true
	select {
	case e.pressed <- struct{}{}:
	default:
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subscribers, sub)
	}
}

// subscription is one listener to keys. fresh: it has been told none yet.
type subscription struct {
	tell  func(mediaapi.Reply)
	fresh bool
}

// standbyPatience is how long keys wait for the standby to have them.
const standbyPatience = 100 * time.Millisecond

// tellDigits tells the subscribers of keys until the engine stops.
func (e *Engine) tellDigits() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.pressed:
		}
		e.mu.Lock()
		legs, held := e.gatherPressed()
		e.mu.Unlock()
		if !e.awaitAll(held) {
			return
		}
		e.mu.Lock()
		e.tellSubscribers(legs)
		e.mu.Unlock()
	}
}

// gatherPressed is the legs with new keys, and what to wait for until their
// standbys have them: under Engine.mu.
func (e *Engine) gatherPressed() (legs []*leg, held []<-chan struct{}) {
	for _, s := range e.shards {
		s.mu.Lock()
		legs = append(legs, s.pressed...)
		clear(s.pressed)
		s.pressed = s.pressed[:0]
		s.mu.Unlock()
	}
	done := map[*call]bool{}
	for _, l := range legs {
		if c := l.call; !done[c] && e.calls[c.id] == c {
			done[c] = true
			if wait := e.replicate(c); wait != nil {
				held = append(held, wait)
			}
		}
	}
	return legs, held
}

// awaitAll waits for standbys, not for long; false if the engine stops.
func (e *Engine) awaitAll(held []<-chan struct{}) bool {
	timer := time.NewTimer(standbyPatience)
	defer timer.Stop()
	for _, wait := range held {
		select {
		case <-wait:
		case <-timer.C:
			return true
		case <-e.stop:
			return false
		}
	}
	return true
}

// tellSubscribers tells new keys to all, and all pending ones to whoever is
// fresh: under Engine.mu.
func (e *Engine) tellSubscribers(legs []*leg) {
	news := e.pendingOf(legs)
	var all mediaapi.Reply
	for sub := range e.subscribers {
		reply := news
		if sub.fresh {
			if all.Result == "" {
				all = e.pendingOf(e.allLegs())
			}
			reply, sub.fresh = all, false
		}
		if len(reply.Digits) > 0 {
			sub.tell(reply)
		}
	}
}

func (e *Engine) allLegs() (legs []*leg) {
	for _, c := range e.calls {
		legs = append(legs, c.legs...)
	}
	return legs
}

// pendingOf is what legs have pending, each once.
func (e *Engine) pendingOf(legs []*leg) mediaapi.Reply {
	reply := mediaapi.Reply{Result: mediaapi.ResultOK}
	told := map[*leg]bool{}
	for _, l := range legs {
		if told[l] || l.call.leg(l.id) != l {
			continue
		}
		told[l] = true
		l.call.shard.mu.Lock()
		if d := &l.digits; d.Pending != "" {
			p := mediaapi.Pressed{CallID: l.call.id, Leg: l.id, Serial: d.Serial, Keys: d.Pending}
			if l.peer != nil {
				p.Peer = l.peer.id
			}
			reply.Digits = append(reply.Digits, p)
		}
		l.call.shard.mu.Unlock()
	}
	return reply
}
