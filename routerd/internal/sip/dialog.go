package sip

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clientTx is a client transaction of ours other than INVITE (RFC 3261
// section 17.1.2).
type clientTx struct {
	Method   string        `cbor:"1,keyasint"`
	Branch   string        `cbor:"2,keyasint"`
	CSeq     uint32        `cbor:"3,keyasint"`
	Data     []byte        `cbor:"4,keyasint"`
	Hops     []Hop         `cbor:"5,keyasint"`
	Interval time.Duration `cbor:"6,keyasint"`
	Next     Time          `cbor:"7,keyasint"`
	GiveUp   Time          `cbor:"8,keyasint"`
}

func (l *Leg) newClientTx(now Time, method, branch string, cseq uint32, p Packet) clientTx {
	every := l.repeatAfter(p.Hops)
	return clientTx{Method: method, Branch: branch, CSeq: cseq, Data: p.Data, Hops: p.Hops,
		Interval: every, Next: now.Add(every), GiveUp: now.Add(l.timerF())}
}

// repeatAfter is when a request without answer is first sent again: T1 over
// UDP, T2 over TCP (see the package comment).
func (l *Leg) repeatAfter(hops []Hop) time.Duration {
	if len(hops) > 0 && hops[0].Network == "udp" {
		return l.t1()
	}
	return l.t2()
}

func (l *Leg) dropRequests(method string) {
	kept := l.r.Requests[:0]
	for _, c := range l.r.Requests {
		if c.Method != method {
			kept = append(kept, c)
		}
	}
	l.r.Requests = kept
	if len(kept) == 0 {
		l.r.Requests = nil
	}
}

// dropBranch ends one client transaction. A CANCEL has its INVITE's branch.
func (l *Leg) dropBranch(branch string) {
	l.r.Requests = slices.DeleteFunc(l.r.Requests, func(c clientTx) bool { return c.Branch == branch })
	if len(l.r.Requests) == 0 {
		l.r.Requests = nil
	}
}

// branch derives the branch of a request in the dialog. CSeq numbers are never
// used twice, so branches are not either.
func (l *Leg) branch(method string, cseq uint32) string {
	return NewBranch(l.r.CallID, l.r.LocalTag, l.r.RemoteTag, method, strconv.Itoa(int(cseq)))
}

// builtRequest is a request with what its CANCEL or ACK repeats.
type builtRequest struct {
	data   []byte
	hops   []Hop
	via    string
	uri    string
	routes []string
}

// dialogRequest builds a request from the dialog (RFC 3261 section 12.2.1.1),
// or the INVITE that is to make it.
func (l *Leg) dialogRequest(method string, cseq uint32, branch string, headers []Header, body []byte) builtRequest {
	r := &l.r
	b := builtRequest{uri: r.Target, routes: r.Routes}
	next := r.Target
	if len(r.Routes) > 0 {
		first, err := parseNameAddr(r.Routes[0])
		if err == nil {
			next = first.URI
			if !isLoose(r.Routes[0]) {
				b.uri = first.URI
				b.routes = append(append([]string{}, r.Routes[1:]...), "<"+r.Target+">")
			}
		}
	}
	if h, ok := hopOf(next, r.Local.Network); ok {
		b.hops = append(b.hops, h)
	}
	for _, h := range r.Local.Outbound {
		if len(b.hops) == 0 || b.hops[0] != h {
			b.hops = append(b.hops, h)
		}
	}
	network := r.Local.Network
	if len(b.hops) > 0 {
		network = b.hops[0].Network
	}
	b.via = "SIP/2.0/" + strings.ToUpper(network) + " " + r.Local.SentBy + ";branch=" + branch
	if network == "udp" {
		b.via += ";rport"
	}
	var w writer
	w.start(method, b.uri, "SIP/2.0")
	w.header("Via", b.via)
	w.header("Max-Forwards", l.forwards(method))
	for _, route := range b.routes {
		w.header("Route", route)
	}
	w.header("From", r.LocalAddr)
	w.header("To", r.RemoteAddr)
	w.header("Call-ID", r.CallID)
	w.header("CSeq", strconv.Itoa(int(cseq))+" "+method)
	if r.Local.Product != "" {
		w.header("User-Agent", r.Local.Product)
	}
	w.headers(headers)
	b.data = w.body(body)
	return b
}

// sendRequest starts a client transaction with the next CSeq.
func (l *Leg) sendRequest(now Time, method string, headers []Header, body []byte) Output {
	l.r.LocalCSeq++
	branch := l.branch(method, l.r.LocalCSeq)
	b := l.dialogRequest(method, l.r.LocalCSeq, branch, headers, body)
	p := Packet{Data: b.data, Hops: b.hops}
	l.r.Requests = append(l.r.Requests, l.newClientTx(now, method, branch, l.r.LocalCSeq, p))
	return Output{Commit: true, Send: []Packet{p}}
}

// Bye ends the leg: BYE on an answered one, CANCEL on a called one that rings,
// 480 to a caller not answered. Before the ACK of our 2xx it waits for it, as
// RFC 3261 section 15 wants. Equal records and headers make equal requests.
func (l *Leg) Bye(now Time, headers ...Header) Output {
	switch l.r.State {
	case Pending:
		if l.r.Server {
			return l.Reject(now, 480, "", headers...)
		}
		return l.Cancel(now, headers...)
	case Accepted:
		l.r.ByeWanted, l.r.ByeHeaders = true, headers
	case Confirmed:
		// Its owner's successor is ordered to hang up too, and makes the same BYE.
		plain := l.r.In == nil && l.r.Upd == nil && len(l.r.Requests) == 0
		o := l.sendBye(now, "hangup", headers)
		o.Commit, o.Save = !plain, true
		return o
	}
	return Output{}
}

// sendBye sends BYE. Ended follows when it is answered or given up.
func (l *Leg) sendBye(now Time, cause string, headers []Header) Output {
	var o Output
	if tx := l.r.In; tx != nil && tx.Code < 200 {
		o.Send = append(o.Send, l.respond(now, 487, "", nil, nil))
	}
	l.r.Upd, l.r.Offered = nil, nil
	l.r.State, l.r.EndCause = Ending, cause
	l.r.Session.Due, l.r.Retry, l.r.ByeWanted = 0, nil, false
	l.informs = nil
	l.dropRequests("UPDATE")
	o.add(l.sendRequest(now, "BYE", headers, nil))
	return o
}

// Response handles a response to a request of ours. One that fits nothing is
// ignored.
func (l *Leg) Response(now Time, res *Response) Output {
	if res.CallID() != l.r.CallID || res.FromTag() != l.r.LocalTag {
		return Output{}
	}
	if res.cseqMethod == "INVITE" {
		return l.inviteResponse(now, res)
	}
	if tx := l.informs; tx != nil && tx.Branch == res.Branch() && tx.CSeq == res.cseq && res.cseqMethod == "INFO" {
		if res.Code < 200 {
			return Output{}
		}
		return l.informed(now, res.Code, res)
	}
	for _, c := range l.r.Requests {
		if c.Branch != res.Branch() || c.Method != res.cseqMethod || c.CSeq != res.cseq {
			continue
		}
		if res.Code < 200 {
			return Output{}
		}
		l.dropBranch(c.Branch)
		return l.finished(now, c.Method, res.Code, res)
	}
	return Output{}
}

// finished acts on the end of a client transaction; code is 408 if it timed
// out and 503 if it could not be sent, res is nil then.
func (l *Leg) finished(now Time, method string, code int, res *Response) Output {
	var o Output
	switch method {
	case "BYE":
		if l.r.State == Pending { // see leaveEarly
			l.fail(now, &o, cancelledBlind)
			return o
		}
		l.terminate(now)
		l.tell(&o, Ended{Cause: l.r.EndCause, Code: code})
	case "CANCEL":
		switch tx := l.r.Out; {
		case tx == nil:
		case code >= 300 && l.r.Early != nil:
			// Nobody hears it, or the edge that carried the INVITE has forgotten it
			// (481): the phone rings on.
			return l.leaveEarly(now, nil)
		case code < 300 && tx.GiveUp != 0:
			// The INVITE's own answer follows at once, or was lost on its way.
			tx.GiveUp = min(tx.GiveUp, now.Add(l.t2()))
		}
		if code >= 300 && res == nil && l.r.Out != nil {
			l.r.Out = nil
			l.fail(now, &o, Failed{Code: 487, Reason: "CANCEL Not Delivered"})
		}
	case "UPDATE":
		if l.r.Offered != nil {
			return l.updated(now, code, res)
		}
		return l.refreshed(now, code, res)
	case "NOTIFY":
		l.notified(code)
	}
	return o // a PRACK: the INVITE's own answer decides
}

// Request handles a request for this leg: any in its dialog, a repeated
// initial INVITE, CANCEL, ACK.
func (l *Leg) Request(now Time, req *Request, flow Flow) Output {
	r := &l.r
	if req.CallID() != r.CallID {
		return l.refuse(req, flow, NoSuchDialog)
	}
	switch {
	case req.Method == "CANCEL":
		return l.cancel(now, req, flow)
	case req.Method == "INVITE" && req.ToTag() == "" && r.Server && req.FromTag() == r.RemoteTag:
		return l.inviteAgain(now, req, flow)
	case req.ToTag() == r.LocalTag && !r.Server && r.State == Pending && req.Method != "ACK" && l.earlyOf(req.FromTag()) != nil:
		return l.earlyRequest(now, l.earlyOf(req.FromTag()), req, flow)
	case req.ToTag() != r.LocalTag || req.FromTag() != r.RemoteTag:
		return l.refuse(req, flow, NoSuchDialog)
	case req.Method == "ACK":
		return l.ack(now, req)
	}
	seq, _ := req.CSeq()
	if tx := r.In; tx != nil && tx.CSeq == seq && tx.Method == req.Method {
		return Output{Commit: l.broughtAgain(tx, req, flow), Send: []Packet{tx.packet(r.CallID)}}
	}
	if tx := r.Upd; tx != nil && tx.CSeq == seq && tx.Method == req.Method {
		return Output{Commit: l.broughtAgain(tx, req, flow)} // not answered yet
	}
	for _, s := range r.Seen {
		if s.CSeq == seq && s.Method == req.Method {
			ref := Refusal{s.Code, ReasonPhrase(s.Code), s.Headers}
			return Output{Send: []Packet{Respond(req, flow, r.LocalTag, ref, s.Body)}}
		}
	}
	if int64(seq) <= r.RemoteCSeq {
		return l.refuse(req, flow, ServerError)
	}
	if r.State == Terminated || r.State == Ending && req.Method != "BYE" {
		return l.refuse(req, flow, NoSuchDialog)
	}
	r.RemoteCSeq = int64(seq)
	return l.inDialog(now, req, flow)
}

// refuse answers without remembering; an ACK gets nothing.
func (l *Leg) refuse(req *Request, flow Flow, ref Refusal) Output {
	if req.Method == "ACK" {
		return Output{}
	}
	return Output{Send: []Packet{Respond(req, flow, l.r.LocalTag, ref, nil)}}
}

// answer answers and remembers.
func (l *Leg) answer(req *Request, flow Flow, ref Refusal, body []byte) Packet {
	seq, _ := req.CSeq()
	l.remember(seen{CSeq: seq, Method: req.Method, Code: ref.Code, Headers: ref.Headers, Body: body})
	return Respond(req, flow, l.r.LocalTag, ref, body)
}

func (l *Leg) inDialog(now Time, req *Request, flow Flow) Output {
	switch req.Method {
	case "BYE":
		return l.bye(now, req, flow)
	case "INVITE":
		return l.reoffer(now, req, flow)
	case "UPDATE":
		if c := req.contact(); c != "" && l.r.State == Pending {
			l.r.Target = c
		}
		return l.update(now, req, flow, l.r.State != Pending || l.r.In == nil || l.r.In.Settled)
	case "PRACK":
		return l.prack(now, req, flow)
	case "INFO":
		return l.info(req, flow)
	case "REFER":
		return l.refer(req, flow)
	case "OPTIONS":
		return Output{Send: []Packet{l.answer(req, flow, Refusal{200, "OK", optionsHeaders()}, nil)}}
	}
	return Output{Send: []Packet{l.answer(req, flow, notInThisDialog, nil)}}
}

func optionsHeaders() []Header {
	return []Header{{"Allow", Allow}, {"Accept", Accept}, {"Supported", Supported}}
}

// bye handles the far end's BYE, whatever else is going on.
func (l *Leg) bye(now Time, req *Request, flow Flow) Output {
	o := Output{Commit: true, Send: []Packet{l.answer(req, flow, Refusal{Code: 200, Reason: "OK"}, nil)}}
	if tx := l.r.In; tx != nil {
		switch {
		case tx.Code < 200:
			o.Send = append(o.Send, l.respond(now, 487, "", nil, nil)) // RFC 3261 section 15.1.2
		case tx.Code < 300:
			l.r.In = nil
		}
	}
	l.dropRequests("UPDATE")
	l.r.FarReason = reasonOfFar(&req.head)
	l.terminate(now)
	l.tell(&o, Ended{Cause: "bye", Code: 200})
	return o
}

// reoffer handles re-INVITE (RFC 3261 section 14.2).
func (l *Leg) reoffer(now Time, req *Request, flow Flow) Output {
	r := &l.r
	offer := req.SDP()
	l.acknowledgedByNext()
	switch {
	case r.Out != nil && r.Out.Final == 0, r.Offered != nil, r.State == Accepted:
		return Output{Send: []Packet{l.answer(req, flow, requestPending, nil)}}
	case r.In != nil && r.In.Code < 300, r.Upd != nil:
		return Output{Send: []Packet{l.answer(req, flow, l.tryLater(), nil)}}
	case r.State != Confirmed:
		return Output{Send: []Packet{l.answer(req, flow, NoSuchDialog, nil)}}
	}
	r.In = l.newServerTx(req, flow)
	if bytes.Equal(offer, r.RemoteSDP) && len(offer) > 0 {
		return l.AnswerOffer(now, 200, r.LocalSDP) // the session stays, only its timer starts anew
	}
	// An edge that was told 100 waits for minutes: who comes after us must know.
	return Output{Commit: true, Events: []Event{Reoffer{SDP: bytes.Clone(offer)}}, Send: []Packet{l.respond(now, 100, "", nil, nil)}}
}

// AnswerOffer answers a Reoffer: 200 with our answer, or a refusal such as 488
// that leaves the session as it was.
func (l *Leg) AnswerOffer(now Time, code int, sdp []byte, headers ...Header) Output {
	if l.r.Upd != nil {
		return l.answerUpdate(now, code, sdp, headers)
	}
	tx := l.r.In
	if tx == nil || tx.Initial || tx.Code >= 200 || code < 200 {
		return Output{}
	}
	o := Output{Commit: true}
	if code >= 300 {
		sdp = nil
	} else {
		l.r.LocalSDP = bytes.Clone(sdp)
		if len(tx.Offer) > 0 {
			l.r.RemoteSDP = tx.Offer
			l.digitsRenegotiated()
		}
		if tx.Target != "" {
			l.r.Target = tx.Target
		}
		headers = append(append([]Header{}, headers...), l.sessionAnswer(now, tx.ask())...)
	}
	o.Send = append(o.Send, l.respond(now, code, "", headers, bytes.Clone(sdp)))
	return o
}
