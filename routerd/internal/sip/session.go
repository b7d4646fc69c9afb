package sip

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// session is the session timer of a dialog (RFC 4028).
type session struct {
	Interval time.Duration `cbor:"1,keyasint,omitempty"` // 0: no timer
	Refresh  bool          `cbor:"2,keyasint,omitempty"` // we refresh
	Due      Time          `cbor:"3,keyasint,omitempty"` // when to refresh, or to hang up; 0: not running
	Ends     Time          `cbor:"4,keyasint,omitempty"` // when it is over if nobody refreshes; 0: see Due
	Least    time.Duration `cbor:"5,keyasint,omitempty"` // the Min-SE of a 422
	Raised   int           `cbor:"6,keyasint,omitempty"` // 422s since the last 2xx
}

// maxRaised bounds how often one request is made again for a 422, longestSE
// what a far end may have us ask for.
const (
	maxRaised = 3
	longestSE = 24 * time.Hour
)

// offer is the interval a new INVITE of ours asks for.
func (s session) offer(local Local) time.Duration {
	if s.Interval > 0 {
		return max(s.Interval, s.Least)
	}
	if local.SessionExpires == 0 {
		return 0
	}
	return max(local.SessionExpires, s.Least)
}

// headers are those of a request of ours that begins or refreshes a session.
func (s session) headers(local Local) (h []Header) {
	se := s.offer(local)
	if se == 0 {
		return nil
	}
	h = append(h, Header{"Session-Expires", seconds(se) + s.refresherParam()})
	if least := max(local.MinSE, s.Least); least > 0 {
		h = append(h, Header{"Min-SE", seconds(least)})
	}
	return h
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

// grace is how long before its end a session that nobody refreshed is given up
// (RFC 4028 section 10).
func (s session) grace() time.Duration { return min(32*time.Second, s.Interval/3) }

// lastCall is when it is given up.
func (s session) lastCall() Time { return s.Ends.Add(-s.grace()) }

// start arms the timer. The refresher refreshes at half the interval; the
// other side hangs up when nothing came until shortly before its end.
func (s *session) start(now Time, interval time.Duration, weRefresh bool) {
	s.Interval, s.Refresh, s.Raised = interval, weRefresh, 0
	s.Ends = now.Add(interval)
	s.Due = s.lastCall()
	if weRefresh {
		s.Due = now.Add(interval / 2)
	}
}

// again puts the next attempt of a refresh off, but not past the last call.
func (s *session) again(at Time) { s.Due = min(at, s.lastCall()) }

// raise takes the Min-SE of a 422 to a request of ours and tells whether to
// make it again (RFC 4028 section 7.3).
func (l *Leg) raise(res *Response) bool {
	s := &l.r.Session
	if res == nil || res.Code != 422 || s.Raised >= maxRaised {
		return false
	}
	least, _, ok := sessionExpires(res.Get("Min-SE"))
	if !ok || least <= s.offer(l.r.Local) || least > longestSE {
		return false
	}
	s.Least = least
	s.Raised++
	return true
}

// timerAsk is what a request of theirs says of the session timer.
type timerAsk struct {
	SE, MinSE string
	Timer     bool // Supported: timer
}

func timerAskOf(req *Request) timerAsk {
	return timerAsk{SE: req.Get("Session-Expires"), MinSE: req.Get("Min-SE"),
		Timer: req.hasOption("Supported", "timer") || req.hasOption("Require", "timer")}
}

// sessionAnswer arms the timer for a request of theirs that we answer with 2xx
// and gives the headers for that answer (RFC 4028 section 9). The interval may
// be shortened to ours, down to their Min-SE; who knows no timer is refreshed
// by us, and finds out so that its death ends the call.
func (l *Leg) sessionAnswer(now Time, ask timerAsk) []Header {
	own := l.r.Local.SessionExpires
	interval, refresher, ok := sessionExpires(ask.SE)
	if !ok {
		interval, refresher = own, "uac"
	}
	if interval == 0 {
		l.r.Session = session{}
		return nil
	}
	if own > 0 {
		interval = min(interval, own)
	}
	least, _, _ := sessionExpires(ask.MinSE)
	interval = max(interval, l.r.Local.MinSE, min(least, longestSE))
	weRefresh := refresher == "uas" || !ask.Timer
	l.r.Session.start(now, interval, weRefresh)
	role := "uac"
	if weRefresh {
		role = "uas"
	}
	h := []Header{{"Session-Expires", seconds(interval) + ";refresher=" + role}}
	if ask.Timer {
		h = append(h, Header{"Require", "timer"})
	}
	return h
}

// sessionFromAnswer arms the timer from a 2xx to a request of ours. A far end
// that has none is refreshed by us all the same (RFC 4028 section 7.2).
func (l *Leg) sessionFromAnswer(now Time, res *Response) {
	interval, refresher, ok := sessionExpires(res.Get("Session-Expires"))
	if !ok {
		interval, refresher = l.r.Session.offer(l.r.Local), "uac"
	}
	if interval == 0 {
		l.r.Session = session{}
		return
	}
	l.r.Session.start(now, interval, refresher != "uas")
}

// refreshedByUpdate answers an UPDATE without offer.
func (l *Leg) refreshedByUpdate(now Time, req *Request, flow Flow) Output {
	h := []Header{{"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported}}
	if l.r.State == Confirmed {
		h = append(h, l.sessionAnswer(now, timerAskOf(req))...)
	}
	if c := req.contact(); c != "" && req.FromTag() == l.r.RemoteTag {
		l.r.Target = c
	}
	return Output{Commit: true, Send: []Packet{l.answer(req, flow, Refusal{200, "OK", h}, nil)}}
}

// expired is why a session that nobody refreshed ends.
var expired = Reason(408, "Session Timer Expired")

// sessionDue refreshes the session or hangs up.
func (l *Leg) sessionDue(now Time) Output {
	s := &l.r.Session
	if !s.Refresh || s.Ends != 0 && now >= s.lastCall() {
		o := l.sendBye(now, "expired", []Header{expired})
		l.tell(&o, Ended{Cause: "expired"})
		return o
	}
	if s.Ends == 0 { // of a record that has none
		s.Ends = now.Add(s.Interval / 2)
	}
	if l.r.Out != nil || l.r.In != nil || l.r.Upd != nil || l.r.Offered != nil {
		s.again(now.Add(l.t2()))
		return Output{}
	}
	// If this refresh fails, another attempt is made at half of what is left.
	s.again(now.Add(s.Interval / 4))
	if !l.r.Updates {
		return l.sendReinvite(now, l.r.LocalSDP, true)
	}
	return l.sendRefresh(now)
}

// sendRefresh sends an UPDATE without offer (RFC 4028 section 7.4).
func (l *Leg) sendRefresh(now Time) Output {
	h := []Header{{"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported}}
	h = append(h, l.r.Session.headers(l.r.Local)...)
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
	case dialogGone(code):
		return l.lost(now, code)
	case l.raise(res):
		return l.sendRefresh(now)
	case code == 405 || code == 501:
		l.r.Updates = false
		l.r.Session.again(now.Add(l.t1()))
	case code == 491:
		l.r.Session.again(now.Add(l.glare()))
	case res != nil && res.retryAfter() > 0:
		l.r.Session.again(now.Add(time.Duration(res.retryAfter()) * time.Second))
	}
	return o
}

// dialogGone tells whether a failure of a request within a dialog means that
// the call is over (RFC 5057 section 5.1).
func dialogGone(code int) bool {
	return slices.Contains([]int{404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 502, 604}, code)
}

// lost ends a call whose far end, or the way to it, is no more. Where it told
// so there is nothing to BYE.
func (l *Leg) lost(now Time, code int) Output {
	o := Output{Commit: true}
	if code == 481 {
		l.terminate(now)
	} else {
		o = l.sendBye(now, "timeout", []Header{Reason(code, ReasonPhrase(code))})
	}
	l.tell(&o, Ended{Cause: "timeout", Code: code})
	return o
}

// Reinvite offers a changed session to the far end: Renegotiated or
// RenegotiationFailed follows. It does nothing unless the leg is confirmed
// and no other offer is open.
func (l *Leg) Reinvite(now Time, sdp []byte) Output {
	if l.r.State != Confirmed || l.r.Out != nil || l.r.In != nil || l.r.Upd != nil || l.r.Offered != nil {
		return Output{Events: []Event{RenegotiationFailed{Code: 491}}}
	}
	l.r.Reoffered = true
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
	if l.r.Ringing != nil {
		return l.adopted(now, tx, res)
	}
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

// renegotiationFailed acts on a re-INVITE of ours that was refused (res) or
// not answered at all (nil).
func (l *Leg) renegotiationFailed(now Time, tx *inviteTx, code int, res *Response) Output {
	var o Output
	put := func(wait time.Duration) { l.r.Retry = &retry{At: now.Add(wait), SDP: tx.Offer, Refresh: tx.Refresh} }
	switch {
	case l.r.Ringing != nil:
		return l.notAdopted(now)
	case l.r.State != Confirmed:
	case code == 491:
		put(l.glare())
	case dialogGone(code):
		return l.lost(now, code)
	case l.raise(res):
		o = l.sendReinvite(now, tx.Offer, tx.Refresh)
	case code == 500 && res != nil && res.retryAfter() > 0 && res.retryAfter() <= longestRetry:
		put(time.Duration(res.retryAfter()) * time.Second)
	case !tx.Refresh:
		o.Events = append(o.Events, RenegotiationFailed{Code: code})
	}
	return o
}

// longestRetry, in seconds, is the longest Retry-After of a renegotiation that
// is waited for: RFC 3261 section 14.2 has far ends say at most 10.
const longestRetry = 32

// glare is how long to wait after a 491: the owner of the Call-ID 2.1 to 4 s,
// the other side up to 2 s (RFC 3261 section 14.1).
func (l *Leg) glare() time.Duration {
	if l.r.Server {
		return l.jitter("glare", 2*time.Second)
	}
	return 2100*time.Millisecond + l.jitter("glare", 1900*time.Millisecond)
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
