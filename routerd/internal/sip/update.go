package sip

import (
	"bytes"
	"strconv"
	"time"
)

// UPDATE (RFC 3311) changes a session, or only refreshes it and the target,
// before the INVITE is answered and after. A request of theirs whose offer
// waits for our answer stands in record.Upd, an offer of ours in record.Offered.

// update answers an UPDATE of theirs, or has its offer answered. settled says
// that the first offer has its answer, so that another may follow.
func (l *Leg) update(now Time, req *Request, flow Flow, settled bool) Output {
	offer := req.SDP()
	if len(offer) == 0 {
		return l.refreshedByUpdate(now, req, flow)
	}
	r := &l.r
	switch {
	case r.Upd != nil || r.In != nil && !r.In.Initial && r.In.Code < 300,
		r.State == Pending && r.Server && !settled && len(r.In.Offer) > 0:
		return Output{Send: []Packet{l.answer(req, flow, l.tryLater(), nil)}} // theirs is not answered yet
	case r.Offered != nil || r.Out != nil && r.Out.Final == 0 && !(r.Out.Initial && settled),
		!settled, r.State == Accepted:
		return Output{Send: []Packet{l.answer(req, flow, requestPending, nil)}} // ours is not
	}
	r.Upd = l.newServerTx(req, flow)
	if bytes.Equal(offer, r.RemoteSDP) {
		return l.AnswerOffer(now, 200, r.LocalSDP)
	}
	return Output{Events: []Event{Reoffer{SDP: bytes.Clone(offer)}}}
}

// offerOfTheirs is the request whose offer waits for AnswerOffer, or nil.
func (l *Leg) offerOfTheirs() *serverTx {
	if l.r.Upd != nil {
		return l.r.Upd
	}
	if tx := l.r.In; tx != nil && !tx.Initial && tx.Code < 200 {
		return tx
	}
	return nil
}

// tryLater is a 500 that says when (RFC 3311 section 5.2).
func (l *Leg) tryLater() Refusal {
	ref := ServerError
	ref.Headers = []Header{{"Retry-After", strconv.Itoa(int(l.jitter("retry-after", 10*time.Second) / time.Second))}}
	return ref
}

// Update offers a changed session by UPDATE: Renegotiated or
// RenegotiationFailed follows. The far end must allow UPDATE, and no other
// offer be open; before the INVITE is answered, its own offer must have been
// answered reliably.
func (l *Leg) Update(now Time, sdp []byte) Output {
	r := &l.r
	h := []Header{{"Contact", "<" + r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported}, {"Content-Type", "application/sdp"}}
	allowed, in := r.Updates, (*early)(nil)
	switch {
	case r.Offered != nil || r.Upd != nil || len(sdp) == 0:
		allowed = false
	case r.State == Confirmed:
		allowed = allowed && r.Out == nil && r.In == nil
		h = append(h, r.Session.headers(r.Local)...)
	case r.State == Pending && r.Server:
		allowed = allowed && r.In != nil && r.In.Settled
	case r.State == Pending && r.Early != nil && len(r.Forks) == 0:
		in = r.Early
		allowed = in.Updates && in.Settled && r.Out != nil && !r.Out.Cancel
	default:
		allowed = false
	}
	if !allowed {
		return Output{Events: []Event{RenegotiationFailed{Code: 491}}}
	}
	r.Offered = bytes.Clone(sdp)
	if in != nil {
		return l.sendEarly(now, in, "UPDATE", h, sdp)
	}
	return l.sendRequest(now, "UPDATE", h, sdp)
}

// updated acts on the answer to an UPDATE of ours that bore an offer.
func (l *Leg) updated(now Time, code int, res *Response) Output {
	offer := l.r.Offered
	l.r.Offered = nil
	switch {
	case code < 300 && res != nil && len(res.SDP()) > 0:
		if c := res.contact(); c != "" {
			l.r.Target = c
		}
		if l.r.State == Confirmed {
			l.sessionFromAnswer(now, res)
		}
		l.r.LocalSDP, l.r.RemoteSDP = offer, bytes.Clone(res.SDP())
		if e := l.earlyOf(res.ToTag()); e != nil {
			e.SDP = l.r.RemoteSDP
		}
		return Output{Commit: true, Events: []Event{Renegotiated{SDP: bytes.Clone(res.SDP())}}}
	case code == 491 && l.r.State == Confirmed:
		l.r.Retry = &retry{At: now.Add(l.glare()), SDP: offer, Update: true}
		return Output{}
	case res != nil && code == 500 && l.r.State == Confirmed && res.retryAfter() > 0 && res.retryAfter() <= longestRetry:
		l.r.Retry = &retry{At: now.Add(time.Duration(res.retryAfter()) * time.Second), SDP: offer, Update: true}
		return Output{}
	case dialogGone(code) && l.r.State == Confirmed:
		return l.lost(now, code)
	case code == 405 || code == 501:
		l.r.Updates = false
		if l.r.State == Confirmed {
			return l.Reinvite(now, offer)
		}
	case l.r.State == Confirmed && l.raise(res):
		return l.Update(now, offer)
	}
	return Output{Events: []Event{RenegotiationFailed{Code: code}}}
}

// answerUpdate answers the UPDATE, or PRACK, whose offer waits.
func (l *Leg) answerUpdate(now Time, code int, sdp []byte, headers []Header) Output {
	tx := l.r.Upd
	if code < 200 {
		return Output{}
	}
	l.r.Upd = nil
	headers = append([]Header{}, headers...)
	if code >= 300 {
		sdp = nil
	} else {
		l.r.LocalSDP, l.r.RemoteSDP = bytes.Clone(sdp), tx.Offer
		l.digitsRenegotiated()
		if e := l.earlyOf(tx.FarTag); e != nil {
			e.SDP = tx.Offer
		}
		if tx.Target != "" && tx.FarTag == l.r.RemoteTag {
			l.r.Target = tx.Target
		}
		if l.r.State == Confirmed && tx.Method == "UPDATE" {
			headers = append(headers, l.sessionAnswer(now, tx.ask())...)
		}
	}
	l.fill(tx, code, "", headers, bytes.Clone(sdp))
	l.remember(seen{CSeq: tx.CSeq, Method: tx.Method, Code: tx.Code, Headers: tx.Headers, Body: tx.Body})
	return Output{Commit: true, Send: []Packet{tx.packet(l.r.CallID)}}
}
