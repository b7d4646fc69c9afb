package sip

import "time"

// What a new owner makes of transactions that were open when the last one died.
// Answers to that one's requests go to its address and are lost, and a far end's
// request may come a second time, by another edge or another branch.

// Repeats of a request whose answers are lost are spread over this.
const askAgainWithin = 2 * time.Second

// askAgain gives up a change or refresh of the session that a dead node asked
// for and asks anew, under another CSeq: the answer to its own request would be
// waited for in vain, and the call ended for it (RFC 5057). A far end that has
// accepted a re-INVITE is waiting for our ACK, and hangs up without; to one that
// has not, an ACK means nothing.
func (l *Leg) askAgain(now Time) (o Output) {
	r := &l.r
	at := now.Add(l.t1() + l.jitter("ask again", askAgainWithin))
	if tx := r.Out; tx != nil && !tx.Initial && tx.Final == 0 && r.State == Confirmed && !l.hears(tx.SentBy) {
		r.Out = nil
		r.Retry = &retry{At: at, SDP: tx.Offer, Refresh: tx.Refresh}
		r.InviteCSeq = tx.CSeq // should its 200 be repeated to us
		o = Output{Commit: true, Send: []Packet{l.ackPacket(tx.CSeq)}}
	}
	if r.State != Confirmed || !l.asks("UPDATE") {
		return o
	}
	l.dropRequests("UPDATE")
	if r.Offered != nil {
		r.Retry = &retry{At: at, SDP: r.Offered, Update: true}
		r.Offered = nil
	} else if r.Session.Refresh {
		r.Session.again(at)
	}
	return o
}

// asks tells whether a request of ours is open.
func (l *Leg) asks(method string) bool {
	for i := range l.r.Requests {
		if l.r.Requests[i].Method == method {
			return true
		}
	}
	return false
}

// broughtAgain takes a request that has come before by another way: the edge
// took the first router for dead, and lets a refusal through only on the branch
// it tried last.
func (l *Leg) broughtAgain(tx *serverTx, req *Request, flow Flow) (again bool) {
	if tx.Branch == req.Branch() {
		return false
	}
	fresh := l.newServerTx(req, flow)
	tx.Flow, tx.Branch, tx.Vias = fresh.Flow, fresh.Branch, fresh.Vias
	return true
}

// acknowledgedByNext: a far end that sends another re-INVITE has had our 2xx to
// the one before, whose ACK was lost with the node that got it. Not so where
// the ACK bears the answer to our offer.
func (l *Leg) acknowledgedByNext() {
	tx := l.r.In
	if tx == nil || tx.Code < 200 || tx.Code >= 300 || len(tx.Offer) == 0 || l.r.ByeWanted {
		return
	}
	if l.r.State == Accepted {
		l.r.State = Confirmed
	}
	l.r.In = nil
}

// Lingers tells whether a leg that is over still answers what its far end may
// repeat.
func (l *Leg) Lingers(now Time) bool { return l.r.State == Terminated && l.r.GoneAt > now }
