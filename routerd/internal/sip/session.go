package sip

import (
	"bytes"
	"encoding/binary"
	"time"
)

// session is the session timer of a dialog (RFC 4028).
type session struct {
	Interval time.Duration `cbor:"1,keyasint,omitempty"` // 0: no timer
	Refresh  bool          `cbor:"2,keyasint,omitempty"` // we refresh
	Due      Time          `cbor:"3,keyasint,omitempty"` // when to refresh, or to hang up; 0: not running
}

// offer is the interval a new INVITE of ours asks for.
func (s session) offer(local Local) time.Duration {
	if s.Interval > 0 {
		return s.Interval
	}
	return local.SessionExpires
}

// refresherParam keeps the roles in a refresh: in our own request we are the uac.
func (s session) refresherParam() string {
	switch {
	case s.Interval == 0:
		return ""
	case s.Refresh:
		return ";refresher=uac"
	}
	return ";refresher=uas"
}

// start arms the timer. The refresher refreshes at half the interval; the
// other side hangs up when nothing came until shortly before its end (RFC
// 4028 section 10).
func (s *session) start(now Time, interval time.Duration, weRefresh bool) {
	s.Interval, s.Refresh = interval, weRefresh
	if weRefresh {
		s.Due = now.Add(interval / 2)
		return
	}
	s.Due = now.Add(interval - min(32*time.Second, interval/3))
}

// sessionAnswer arms the timer for a request of theirs that we answer with 2xx
// and gives the headers for that answer (RFC 4028 section 9).
func (l *Leg) sessionAnswer(now Time, se string, peerTimer bool) []Header {
	interval, refresher, ok := sessionExpires(se)
	if !ok {
		interval, refresher = l.r.Local.SessionExpires, "uac"
		if interval == 0 || !peerTimer {
			l.r.Session = session{}
			return nil
		}
	}
	interval = max(interval, l.r.Local.MinSE)
	weRefresh := refresher == "uas" || !peerTimer
	l.r.Session.start(now, interval, weRefresh)
	role := "uac"
	if weRefresh {
		role = "uas"
	}
	h := []Header{{"Session-Expires", seconds(interval) + ";refresher=" + role}}
	if peerTimer {
		h = append(h, Header{"Require", "timer"})
	}
	return h
}

// sessionFromAnswer arms the timer from a 2xx to a request of ours.
func (l *Leg) sessionFromAnswer(now Time, res *Response) {
	interval, refresher, ok := sessionExpires(res.Get("Session-Expires"))
	if !ok {
		l.r.Session = session{}
		return
	}
	l.r.Session.start(now, interval, refresher != "uas")
}

// refreshedByUpdate answers an UPDATE without offer.
func (l *Leg) refreshedByUpdate(now Time, req *Request, flow Flow) Output {
	h := []Header{{"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported}}
	peerTimer := req.hasOption("Supported", "timer") || req.hasOption("Require", "timer")
	if l.r.State == Confirmed {
		h = append(h, l.sessionAnswer(now, req.Get("Session-Expires"), peerTimer)...)
	}
	if c := req.contact(); c != "" {
		l.r.Target = c
	}
	return Output{Commit: true, Send: []Packet{l.answer(req, flow, Refusal{200, "OK", h}, nil)}}
}

// sessionDue refreshes the session or hangs up.
func (l *Leg) sessionDue(now Time) Output {
	s := &l.r.Session
	if !s.Refresh {
		o := l.sendBye(now, "expired", nil)
		l.tell(&o, Ended{Cause: "expired"})
		return o
	}
	// If this refresh fails, another attempt is made at half of what is left.
	s.Due = now.Add(s.Interval / 4)
	if l.r.Out != nil || l.r.In != nil {
		s.Due = now.Add(l.t2())
		return Output{}
	}
	if !l.r.Updates {
		return l.sendReinvite(now, l.r.LocalSDP, true)
	}
	h := []Header{{"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported},
		{"Session-Expires", seconds(s.Interval) + ";refresher=uac"}}
	l.dropRequests("UPDATE")
	return l.sendRequest(now, "UPDATE", h, nil)
}

// refreshed acts on the answer to our refreshing UPDATE.
func (l *Leg) refreshed(now Time, code int, res *Response) Output {
	var o Output
	switch {
	case code < 300 && res != nil:
		if c := res.contact(); c != "" {
			l.r.Target = c
		}
		l.sessionFromAnswer(now, res)
		o.Commit = true
	case code == 481:
		// RFC 5057: the far end has no such dialog, so there is nothing to BYE.
		l.terminate(now)
		l.tell(&o, Ended{Cause: "timeout", Code: code})
	case code == 408:
		o = l.sendBye(now, "timeout", nil)
		l.tell(&o, Ended{Cause: "timeout", Code: code})
	case code == 405 || code == 501:
		l.r.Updates = false
		l.r.Session.Due = now.Add(l.t1())
	}
	return o
}

// Reinvite offers a changed session to the far end: Renegotiated or
// RenegotiationFailed follows. It does nothing unless the leg is confirmed
// and no other offer is open.
func (l *Leg) Reinvite(now Time, sdp []byte) Output {
	if l.r.State != Confirmed || l.r.Out != nil || l.r.In != nil {
		return Output{Events: []Event{RenegotiationFailed{Code: 491}}}
	}
	return l.sendReinvite(now, sdp, false)
}

func (l *Leg) sendReinvite(now Time, sdp []byte, refresh bool) Output {
	l.r.LocalCSeq++
	l.r.Retry = nil
	tx := l.newInvite(now, l.branch("INVITE", l.r.LocalCSeq), nil, sdp)
	tx.Offer, tx.Refresh = bytes.Clone(sdp), refresh
	return Output{Commit: true, Send: []Packet{tx.packet()}}
}

// renegotiated takes the 2xx of our re-INVITE.
func (l *Leg) renegotiated(now Time, tx *inviteTx, res *Response) Output {
	if c := res.contact(); c != "" {
		l.r.Target = c
	}
	l.r.InviteCSeq = tx.CSeq
	o := Output{Commit: true, Send: []Packet{l.ackPacket(tx.CSeq)}}
	if l.r.State != Confirmed {
		return o
	}
	l.sessionFromAnswer(now, res)
	l.r.LocalSDP = tx.Offer
	changed := !bytes.Equal(l.r.RemoteSDP, res.SDP())
	l.r.RemoteSDP = bytes.Clone(res.SDP())
	if !tx.Refresh || changed {
		o.Events = append(o.Events, Renegotiated{SDP: bytes.Clone(res.SDP())})
	}
	return o
}

// renegotiationFailed acts on a refused re-INVITE of ours.
func (l *Leg) renegotiationFailed(now Time, tx *inviteTx, code int) Output {
	var o Output
	switch {
	case l.r.State != Confirmed:
	case code == 491:
		// The owner of the Call-ID waits 2.1 to 4 s, the other side up to 2 s
		// (RFC 3261 section 14.1).
		wait := l.jitter("glare", 2*time.Second)
		if !l.r.Server {
			wait = 2100*time.Millisecond + l.jitter("glare", 1900*time.Millisecond)
		}
		l.r.Retry = &retry{At: now.Add(wait), SDP: tx.Offer, Refresh: tx.Refresh}
	case code == 481:
		l.terminate(now)
		l.tell(&o, Ended{Cause: "timeout", Code: code})
		o.Commit = true
	case code == 408:
		o = l.sendBye(now, "timeout", nil)
		l.tell(&o, Ended{Cause: "timeout", Code: code})
	case !tx.Refresh:
		o.Events = append(o.Events, RenegotiationFailed{Code: code})
	}
	return o
}

// jitter spreads times over a cluster's calls without randomness: it depends
// on the leg and on how many requests it has sent.
func (l *Leg) jitter(purpose string, span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	var seq [4]byte
	binary.BigEndian.PutUint32(seq[:], l.r.LocalCSeq)
	d := digestOf(purpose, l.r.CallID, l.r.LocalTag, string(seq[:]))
	var n uint64
	for i := range 12 {
		n = n*31 + uint64(d[i])
	}
	return time.Duration(n % uint64(span)).Truncate(10 * time.Millisecond)
}
