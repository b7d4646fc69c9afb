package sip

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

// serverTx is an INVITE server transaction (RFC 3261 section 17.2.1), or an
// UPDATE or PRACK whose offer waits for our answer. Every response can be built from it
// again, on any node.
type serverTx struct {
	Method       string   `cbor:"1,keyasint"`
	Initial      bool     `cbor:"2,keyasint,omitempty"`
	Flow         Flow     `cbor:"3,keyasint"`
	Branch       string   `cbor:"4,keyasint"`
	CSeq         uint32   `cbor:"5,keyasint"`
	Vias         []string `cbor:"6,keyasint"`
	RecordRoutes []string `cbor:"7,keyasint,omitempty"`
	From         string   `cbor:"8,keyasint"`
	To           string   `cbor:"9,keyasint"`
	Tag          string   `cbor:"21,keyasint,omitempty"` // of ours, where To has none
	Target       string   `cbor:"10,keyasint,omitempty"`
	Offer        []byte   `cbor:"11,keyasint,omitempty"`
	Timer        bool     `cbor:"12,keyasint,omitempty"` // Supported: timer
	SE           string   `cbor:"13,keyasint,omitempty"` // their Session-Expires
	MinSE        string   `cbor:"22,keyasint,omitempty"`
	FarTag       string   `cbor:"40,keyasint,omitempty"` // whose dialog it is in
	Wish         wish     `cbor:"41,keyasint,omitempty"` // for reliable provisional answers
	Settled      bool     `cbor:"42,keyasint,omitempty"` // one of those answered the offer, or brought ours an answer
	// The last response; Code 0 for none.
	Code    int      `cbor:"14,keyasint,omitempty"`
	Reason  string   `cbor:"15,keyasint,omitempty"`
	Headers []Header `cbor:"16,keyasint,omitempty"`
	Body    []byte   `cbor:"17,keyasint,omitempty"`
	// When a final response is sent again, and when we stop waiting for the ACK.
	Interval time.Duration `cbor:"18,keyasint,omitempty"`
	Next     Time          `cbor:"19,keyasint,omitempty"`
	GiveUp   Time          `cbor:"20,keyasint,omitempty"`
}

func (l *Leg) newServerTx(req *Request, flow Flow) *serverTx {
	seq, _ := req.CSeq()
	rr, _ := req.list("Record-Route")
	ask := timerAskOf(req)
	tx := &serverTx{
		Method: req.Method, Flow: flow, Branch: req.Branch(), CSeq: seq,
		Vias: stampVias(&req.head, flow), RecordRoutes: rr,
		From: req.Get("From"), To: req.Get("To"),
		Target: req.contact(), Offer: bytes.Clone(req.SDP()),
		FarTag: req.FromTag(), Wish: wishOf(req),
		Timer: ask.Timer, SE: ask.SE, MinSE: ask.MinSE,
	}
	if req.ToTag() == "" {
		tx.Tag = l.r.LocalTag
	}
	return tx
}

func (tx *serverTx) ask() timerAsk { return timerAsk{SE: tx.SE, MinSE: tx.MinSE, Timer: tx.Timer} }

// packet is the last response, built anew.
func (tx *serverTx) packet(callID string) Packet {
	var w writer
	w.start("SIP/2.0", strconv.Itoa(tx.Code), tx.Reason)
	for _, v := range tx.Vias {
		w.header("Via", v)
	}
	if tx.Code > 100 && tx.Code < 300 {
		for _, rr := range tx.RecordRoutes {
			w.header("Record-Route", rr)
		}
	}
	w.header("From", tx.From)
	w.header("To", withTag(tx.To, "", tx.Tag, tx.Code))
	w.header("Call-ID", callID)
	w.header("CSeq", strconv.Itoa(int(tx.CSeq))+" "+tx.Method)
	w.headers(tx.Headers)
	p := Packet{Data: w.body(tx.Body)}
	if len(tx.Vias) > 0 {
		p.Conn, p.Hops = replyPath(tx.Vias[0], tx.Flow)
	}
	return p
}

// NewServerLeg starts a leg for a validated INVITE outside any dialog. The
// Output is the 100, to be sent at once.
func NewServerLeg(now Time, local Local, req *Request, flow Flow) (*Leg, Output) {
	l := &Leg{}
	seq, _ := req.CSeq()
	l.r = record{
		Version: recordVersion, Server: true, State: Pending, Local: local,
		CallID: req.CallID(), LocalTag: local.Tag, RemoteTag: req.FromTag(),
		LocalAddr: withTag(req.Get("To"), "", local.Tag, 200), RemoteAddr: req.Get("From"),
		Target: req.contact(), RemoteCSeq: int64(seq), RemoteSDP: bytes.Clone(req.SDP()), Hops: req.hopsLeft(),
		Updates: req.hasOption("Allow", "UPDATE"),
	}
	tx := l.newServerTx(req, flow)
	tx.Initial = true
	l.r.In = tx
	l.r.Routes = tx.RecordRoutes
	return l, Output{Send: []Packet{l.respond(now, 100, "", nil, nil)}}
}

// respond sets and builds the next response of the pending INVITE.
func (l *Leg) respond(now Time, code int, reason string, headers []Header, body []byte) Packet {
	tx := l.r.In
	l.fill(tx, code, reason, headers, body)
	p := tx.packet(l.r.CallID)
	if code >= 200 {
		// Finals are repeated: 2xx over any transport until the ACK (section
		// 13.3.1.4), others over UDP only (timer G), where TCP just waits (timer H).
		tx.Interval = l.t1()
		tx.GiveUp = now.Add(l.timerH())
		tx.Next = 0
		if code < 300 || tx.Flow.Network == "udp" {
			tx.Next = now.Add(tx.Interval)
		}
	}
	return p
}

// fill sets a transaction's last response.
func (l *Leg) fill(tx *serverTx, code int, reason string, headers []Header, body []byte) {
	if reason == "" {
		reason = ReasonPhrase(code)
	}
	tx.Code, tx.Reason, tx.Body = code, reason, body
	tx.Headers = nil
	if code > 100 && code < 300 {
		tx.Headers = append(tx.Headers, Header{"Contact", "<" + l.r.Local.Contact + ">"}, Header{"Allow", Allow}, Header{"Supported", Supported})
	}
	if l.r.Local.Product != "" {
		tx.Headers = append(tx.Headers, Header{"Server", l.r.Local.Product})
	}
	tx.Headers = append(tx.Headers, l.r.Local.Headers...)
	tx.Headers = append(tx.Headers, headers...)
	if len(body) > 0 {
		tx.Headers = append(tx.Headers, Header{"Content-Type", "application/sdp"})
	}
}

// pendingIn is the initial INVITE while it has no final response.
func (l *Leg) pendingIn() *serverTx {
	if tx := l.r.In; tx != nil && tx.Initial && tx.Code < 200 && l.r.State == Pending {
		return tx
	}
	return nil
}

// Progress sends a provisional response (101 to 199) to the caller.
func (l *Leg) Progress(now Time, code int, sdp []byte, headers ...Header) Output {
	tx := l.pendingIn()
	if tx == nil || code <= 100 || code >= 200 {
		return Output{}
	}
	first := tx.Code <= 100
	if len(sdp) > 0 {
		l.r.LocalSDP = bytes.Clone(sdp)
	}
	if l.reliably(tx) {
		return l.progressReliably(now, code, sdp, headers)
	}
	return Output{Commit: first || len(sdp) > 0, Send: []Packet{l.respond(now, code, "", headers, bytes.Clone(sdp))}}
}

// Accept sends the 200, with our answer or, where the INVITE bore none, our
// offer. On a leg that is not pending it does nothing.
func (l *Leg) Accept(now Time, sdp []byte, headers ...Header) Output {
	tx := l.pendingIn()
	if tx == nil {
		return Output{}
	}
	if rel := l.r.Rel; rel != nil && rel.Waits {
		if rel.Bears { // RFC 3262 section 5: not before the PRACK
			rel.Then = &putOff{200, bytes.Clone(sdp), headers}
			return Output{Commit: true}
		}
		rel.Waits, rel.Next, rel.GiveUp, rel.Then = false, 0, 0, nil
	}
	if tx.Settled {
		sdp = nil // what was agreed early stands, and might be taken for a new offer here
	} else {
		l.r.LocalSDP = bytes.Clone(sdp)
	}
	l.r.State = Accepted
	headers = append(slices.Clone(headers), l.sessionAnswer(now, tx.ask())...)
	return Output{Commit: true, Send: []Packet{l.respond(now, 200, "", headers, bytes.Clone(sdp))}}
}

// Reject refuses the caller's INVITE with a final code. The event is for the
// owner of a call already taken; a call refused on arrival has none.
func (l *Leg) Reject(now Time, code int, reason string, headers ...Header) Output {
	if l.pendingIn() == nil || code < 300 {
		return Output{}
	}
	o := Output{Send: []Packet{l.respond(now, code, reason, headers, nil)}}
	l.terminate(now)
	l.tell(&o, Ended{Cause: "hangup", Code: code})
	return o
}

// inviteAgain handles an INVITE without To tag that belongs to this leg: a
// retransmission, or the same INVITE by another way.
func (l *Leg) inviteAgain(now Time, req *Request, flow Flow) Output {
	seq, _ := req.CSeq()
	tx := l.r.In
	if tx == nil || !tx.Initial || seq != tx.CSeq {
		return Output{Send: []Packet{Respond(req, flow, l.r.LocalTag, mergedRequest, nil)}}
	}
	if req.Branch() == tx.Branch {
		return Output{Send: []Packet{tx.packet(l.r.CallID)}}
	}
	o := Output{Commit: true}
	if tx.Code < 200 {
		old := *tx
		old.Code, old.Reason, old.Headers, old.Body = mergedRequest.Code, mergedRequest.Reason, nil, nil
		o.Send = append(o.Send, old.packet(l.r.CallID))
	}
	again := l.newServerTx(req, flow)
	tx.Flow, tx.Branch, tx.Vias, tx.RecordRoutes, tx.From = again.Flow, again.Branch, again.Vias, again.RecordRoutes, again.From
	l.r.Routes = again.RecordRoutes
	l.r.Target = again.Target
	o.Send = append(o.Send, tx.packet(l.r.CallID))
	return o
}

// cancel handles CANCEL (RFC 3261 section 9.2). Only the branch counts.
func (l *Leg) cancel(now Time, req *Request, flow Flow) Output {
	tx := l.r.In
	if tx == nil || tx.Method != "INVITE" || tx.Branch != req.Branch() {
		return Output{Send: []Packet{Respond(req, flow, l.r.LocalTag, NoSuchDialog, nil)}}
	}
	o := Output{Send: []Packet{Respond(req, flow, l.r.LocalTag, Refusal{Code: 200, Reason: "OK"}, nil)}}
	if tx.Code >= 200 {
		return o // the answer crossed the CANCEL, which then has no effect
	}
	l.r.FarReason = reasonOfFar(&req.head)
	o.Commit = true
	o.Send = append(o.Send, l.respond(now, 487, "", nil, nil))
	if tx.Initial {
		l.terminate(now)
		l.tell(&o, Ended{Cause: "cancel", Code: 487})
	}
	return o
}

// ack handles ACK, which is never answered.
func (l *Leg) ack(now Time, req *Request) Output {
	tx := l.r.In
	seq, _ := req.CSeq()
	if tx == nil || tx.Method != "INVITE" || tx.CSeq != seq || tx.Code < 200 {
		return Output{}
	}
	l.r.In = nil
	if tx.Code >= 300 {
		return Output{}
	}
	// A router that does not know of the ACK repeats its answer and gets another.
	o := Output{Save: true}
	answer := req.SDP()
	if len(tx.Offer) > 0 || tx.Settled {
		answer = nil // the offer was in the INVITE, or answered by PRACK
	}
	if len(answer) > 0 {
		l.r.RemoteSDP = bytes.Clone(answer)
		o.Commit = true
	}
	switch {
	case tx.Initial && l.r.State == Accepted && len(l.r.RemoteSDP) == 0 && len(l.r.LocalSDP) > 0:
		// Our offer has no answer, so there is no session (RFC 3261 section 13.2.2.4).
		l.r.State = Confirmed
		o.add(l.sendBye(now, "no-session", []Header{Reason(488, "ACK Without Answer")}))
		return o
	case tx.Initial && l.r.State == Accepted:
		l.r.State = Confirmed
		o.Events = append(o.Events, Acknowledged{SDP: bytes.Clone(answer)})
	case len(answer) > 0 && l.r.State == Confirmed: // of a re-INVITE without offer
		o.Events = append(o.Events, Renegotiated{SDP: bytes.Clone(answer)})
	}
	if l.r.ByeWanted && l.r.State == Confirmed {
		o.add(l.sendBye(now, "hangup", l.r.ByeHeaders))
	}
	return o
}
