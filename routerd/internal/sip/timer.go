package sip

import (
	"bytes"
	"time"
)

// Deadline is when Tick wants to be called next; false if nothing runs.
func (l *Leg) Deadline() (Time, bool) {
	var at Time
	consider := func(t Time) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	r := &l.r
	if tx := r.In; tx != nil && tx.Code >= 200 {
		consider(tx.Next)
		consider(tx.GiveUp)
	}
	if rel := r.Rel; rel != nil && rel.Waits {
		consider(rel.Next)
		consider(rel.GiveUp)
	}
	if tx := r.Out; tx != nil {
		consider(tx.Next)
		consider(tx.GiveUp)
		if !tx.Cancel {
			consider(tx.RingUntil)
		}
	}
	for i := range r.Requests {
		consider(r.Requests[i].Next)
		consider(r.Requests[i].GiveUp)
	}
	if l.informs != nil {
		consider(l.informs.Next)
		consider(l.informs.GiveUp)
	}
	if r.Retry != nil {
		consider(r.Retry.At)
	}
	consider(r.Session.Due)
	consider(r.GoneAt)
	return at, at != 0
}

func due(at, now Time) bool { return at != 0 && at <= now }

// Tick does whatever is due at now.
func (l *Leg) Tick(now Time) Output {
	var o Output
	r := &l.r
	o.add(l.tickServer(now))
	o.add(l.tickReliable(now))
	o.add(l.tickInvite(now))
	o.add(l.tickRequests(now))
	o.add(l.tickInfo(now))
	if r.Retry != nil && due(r.Retry.At, now) {
		again := *r.Retry
		switch {
		case r.Out != nil || r.In != nil || r.Upd != nil || r.Offered != nil:
			r.Retry.At = now.Add(l.t1())
		case again.Update:
			r.Retry = nil
			o.add(l.Update(now, again.SDP))
		default:
			o.add(l.sendReinvite(now, again.SDP, again.Refresh))
		}
	}
	if due(r.Session.Due, now) {
		o.add(l.sessionDue(now))
	}
	if due(r.GoneAt, now) {
		r.GoneAt, r.Seen = 0, nil
		if r.In != nil && r.In.Code >= 300 {
			r.In = nil
		}
	}
	return o
}

// tickServer repeats our final response until its ACK.
func (l *Leg) tickServer(now Time) Output {
	tx := l.r.In
	if tx == nil || tx.Code < 200 {
		return Output{}
	}
	if due(tx.GiveUp, now) {
		l.r.In = nil
		if tx.Code >= 300 || l.r.State != Accepted && l.r.State != Confirmed {
			return Output{}
		}
		// RFC 3261 section 13.3.1.4: nobody acknowledged the 2xx.
		o := l.sendBye(now, "timeout", []Header{Reason(408, "No ACK")})
		l.tell(&o, Ended{Cause: "timeout"})
		return o
	}
	if !due(tx.Next, now) {
		return Output{}
	}
	tx.Interval = min(2*tx.Interval, l.t2())
	tx.Next = now.Add(tx.Interval)
	if tx.Code >= 300 && tx.Flow.Network != "udp" {
		tx.Next = 0 // a refusal over TCP is repeated once at takeover, no more
	}
	return Output{Send: []Packet{tx.packet(l.r.CallID)}}
}

// tickInvite runs timers A, B and D of our INVITE.
func (l *Leg) tickInvite(now Time) Output {
	tx := l.r.Out
	if tx == nil {
		return Output{}
	}
	if due(tx.GiveUp, now) {
		return l.inviteGaveUp(now, 408, "Request Timeout")
	}
	if due(tx.RingUntil, now) && !tx.Cancel && tx.Final == 0 {
		tx.RangOut = true
		return l.Cancel(now, Reason(408, "Rang Too Long"))
	}
	if !due(tx.Next, now) || tx.Data == nil {
		return Output{}
	}
	if !tx.reliable() {
		tx.Interval *= 2
	}
	tx.Next = now.Add(tx.Interval)
	return Output{Send: []Packet{tx.packet()}}
}

// inviteGaveUp ends our INVITE without a response. One of which nothing was
// ever heard may still be on its way: it is kept for as long as an answer might
// come, and whoever rings late is cancelled (RFC 3261 section 9.1 forbids to
// cancel before that).
func (l *Leg) inviteGaveUp(now Time, code int, reason string) Output {
	tx := l.r.Out
	l.r.Out = nil
	var o Output
	switch {
	case tx.Final > 0: // timer D: no repeat of the refusal will come
		return o
	case tx.Initial && tx.Cancel && l.r.Early != nil:
		return l.leaveEarly(now, nil)
	case tx.Initial && tx.RangOut:
		l.fail(now, &o, rangOut)
	case tx.Initial && tx.Cancel:
		l.fail(now, &o, Failed{Code: 487, Reason: "Request Terminated"})
	case tx.Initial:
		l.fail(now, &o, Failed{Code: code, Reason: reason})
	default:
		return l.renegotiationFailed(now, tx, code, nil)
	}
	if !tx.Proceeding {
		tx.Final, tx.Data, tx.Next, tx.GiveUp = code, nil, 0, now.Add(l.timerB())
		l.r.Out = tx
	}
	return o
}

// tickRequests runs timers E and F.
func (l *Leg) tickRequests(now Time) Output {
	var o Output
	for i := 0; i < len(l.r.Requests); i++ {
		c := &l.r.Requests[i]
		if due(c.GiveUp, now) {
			method := c.Method
			l.r.Requests = append(l.r.Requests[:i], l.r.Requests[i+1:]...)
			if len(l.r.Requests) == 0 {
				l.r.Requests = nil
			}
			o.add(l.finished(now, method, 408, nil))
			return o
		}
		if due(c.Next, now) {
			c.Interval = min(2*c.Interval, l.t2())
			c.Next = now.Add(c.Interval)
			o.Send = append(o.Send, Packet{Data: c.Data, Hops: c.Hops})
		}
	}
	return o
}

// SendFailed tells the leg that a packet of its could not be delivered to any
// of its hops.
func (l *Leg) SendFailed(now Time, p Packet) Output {
	if tx := l.r.Out; tx != nil && tx.Data != nil && bytes.Equal(tx.Data, p.Data) {
		return l.inviteGaveUp(now, 503, "Next Hop Unreachable")
	}
	for i, c := range l.r.Requests {
		if bytes.Equal(c.Data, p.Data) {
			if c.Method == "CANCEL" || c.Method == "BYE" && l.r.State == Pending {
				// The phone rings on: its timer tries again, until it gives up.
				return Output{}
			}
			l.r.Requests = append(l.r.Requests[:i], l.r.Requests[i+1:]...)
			if len(l.r.Requests) == 0 {
				l.r.Requests = nil
			}
			return l.finished(now, c.Method, 503, nil)
		}
	}
	return Output{} // a response: the far end asks again
}

// resumeGrace, in T1, is how long an unanswered BYE of a dead node is waited
// for: its answer may have gone to the dead node, so the usual 32 s would be in
// vain. A CANCEL that BYE can stand in for is given as long.
const resumeGrace = 16

// Resume continues a leg read from its record, on a new owner or after a
// restart. A stable leg sends nothing. A final response without ACK and a
// request without answer are sent again, byte for byte. Our own INVITE is not
// sent again: its edge has it, and Cancel works at once.
func (l *Leg) Resume(now Time, local Local) Output {
	r := &l.r
	was := r.Local.SentBy
	r.Local = local
	var o Output
	if !l.hears(was) {
		o = l.askAgain(now)
	}
	if tx := r.In; tx != nil && tx.Code >= 200 {
		tx.Interval = l.t1()
		tx.Next = now
		tx.GiveUp = max(tx.GiveUp, now.Add(l.timerH()))
	}
	if rel := r.Rel; rel != nil && rel.Waits {
		rel.Interval, rel.Next = l.t1(), now
		rel.GiveUp = max(rel.GiveUp, now.Add(l.timerH()))
	}
	if tx := r.Out; tx != nil && tx.Final == 0 {
		tx.Proceeding, tx.Data, tx.Next = true, nil, 0
		if !tx.Cancel && tx.Initial {
			tx.GiveUp = 0
		}
	}
	for i := range r.Requests {
		c := &r.Requests[i]
		c.Interval, c.Next = l.repeatAfter(c.Hops), now
		c.GiveUp = now.Add(resumeGrace * l.t1())
	}
	if s := &r.Session; s.Due != 0 {
		// A refresh sent to the dead node may be repeated to us: give it time.
		// Spread, so that thousands of calls do not refresh in one second.
		spread := l.jitter("resume", 10*time.Second)
		if s.Refresh {
			s.Due = max(s.Due, now.Add(spread))
		} else {
			s.Due = max(s.Due, now.Add(32*time.Second+spread))
		}
		if s.Ends != 0 { // an interval that ended while nobody ran the call is given a last try
			s.Ends = max(s.Ends, s.Due.Add(l.timerF()+s.grace()))
		}
	}
	if tx := l.offerOfTheirs(); tx != nil { // nobody has answered it yet
		o.Events = append(o.Events, Reoffer{SDP: bytes.Clone(tx.Offer)})
	}
	if tx := r.Out; tx != nil && tx.Initial && tx.Cancel && tx.Final == 0 && (!l.cancelling() || !l.hears(tx.SentBy)) {
		o.add(l.sendCancel(now))
	}
	o.add(l.tickServer(now))
	o.add(l.tickReliable(now))
	o.add(l.tickRequests(now))
	return o
}
