package sip

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// inviteTx is an INVITE client transaction (RFC 3261 section 17.1.1).
type inviteTx struct {
	Initial    bool          `cbor:"1,keyasint,omitempty"`
	Branch     string        `cbor:"2,keyasint"`
	SentBy     string        `cbor:"3,keyasint"`
	Via        string        `cbor:"4,keyasint"`
	URI        string        `cbor:"5,keyasint"` // Request-URI and Routes as sent: CANCEL and ACK repeat them
	Routes     []string      `cbor:"6,keyasint,omitempty"`
	CSeq       uint32        `cbor:"7,keyasint"`
	Data       []byte        `cbor:"8,keyasint,omitempty"` // until anything is answered
	Hops       []Hop         `cbor:"9,keyasint"`
	Proceeding bool          `cbor:"10,keyasint,omitempty"` // a provisional answer came
	Rang       bool          `cbor:"11,keyasint,omitempty"` // one above 100
	Cancel     bool          `cbor:"12,keyasint,omitempty"` // we want it cancelled
	Final      int           `cbor:"13,keyasint,omitempty"` // refused with this; ACKed again if repeated
	Offer      []byte        `cbor:"14,keyasint,omitempty"` // of a re-INVITE
	Refresh    bool          `cbor:"15,keyasint,omitempty"` // re-INVITE that only refreshes the session
	Interval   time.Duration `cbor:"16,keyasint,omitempty"`
	Next       Time          `cbor:"17,keyasint,omitempty"`
	GiveUp     Time          `cbor:"18,keyasint,omitempty"`
	RingUntil  Time          `cbor:"40,keyasint,omitempty"` // then it is cancelled
	CancelWith []Header      `cbor:"42,keyasint,omitempty"` // headers of the CANCEL
	RangOut    bool          `cbor:"41,keyasint,omitempty"` // and was
}

// ClientParams describe an INVITE of ours. All ids come from outside, derived
// from the order that caused it, so that carrying the order out twice gives
// the same bytes.
type ClientParams struct {
	CallID  string
	Branch  string
	CSeq    uint32   // 0 means 1
	URI     string   // Request-URI: the agent's contact
	Routes  []string // the contact's Path, top first
	From    string   // name-addr without tag, e.g. `"Ann" <sip:+4912@trunkline>`
	To      string
	SDP     []byte
	Headers []Header
	// Hops are tried in order until one takes the INVITE. None: the first
	// route or the URI, then Local.Outbound.
	Hops []Hop
	// MaxForwards is what the INVITE may still pass; 0 means 70.
	MaxForwards int
	// AnswerIn is how long to wait for any answer, even a 100, before the leg
	// fails with 408; 0 means 64*T1. A hung edge shows by this.
	AnswerIn time.Duration
}

// NewClientLeg starts a leg by sending an INVITE.
func NewClientLeg(now Time, local Local, p ClientParams) (*Leg, Output) {
	if p.CSeq == 0 {
		p.CSeq = 1
	}
	l := &Leg{r: record{
		Version: recordVersion, State: Pending, Local: local,
		CallID: p.CallID, LocalTag: local.Tag,
		LocalAddr: withTag(p.From, "", local.Tag, 200), RemoteAddr: p.To,
		Target: p.URI, LocalCSeq: p.CSeq, RemoteCSeq: -1, LocalSDP: bytes.Clone(p.SDP), Hops: p.MaxForwards,
	}}
	for _, r := range p.Routes {
		if !strings.Contains(r, "<") {
			r = "<" + r + ">"
		}
		l.r.Routes = append(l.r.Routes, r)
	}
	headers := append([]Header{}, local.Headers...)
	headers = append(headers, p.Headers...)
	l.r.Asked = headers
	tx := l.newInvite(now, p.Branch, headers, p.SDP)
	tx.Initial = true
	if len(p.Hops) > 0 {
		tx.Hops = p.Hops
	}
	if p.AnswerIn > 0 {
		tx.GiveUp = now.Add(p.AnswerIn)
	}
	return l, Output{Send: []Packet{tx.packet()}}
}

// newInvite builds the INVITE with the dialog's current LocalCSeq.
func (l *Leg) newInvite(now Time, branch string, headers []Header, sdp []byte) *inviteTx {
	h := []Header{{"Contact", "<" + l.r.Local.Contact + ">"}, {"Allow", Allow}, {"Supported", Supported}}
	h = append(h, l.r.Session.headers(l.r.Local)...)
	h = append(h, headers...)
	if len(sdp) > 0 {
		h = append(h, Header{"Content-Type", "application/sdp"})
	}
	req := l.dialogRequest("INVITE", l.r.LocalCSeq, branch, h, sdp)
	tx := &inviteTx{
		Branch: branch, SentBy: l.r.Local.SentBy, Via: req.via, URI: req.uri, Routes: req.routes,
		CSeq: l.r.LocalCSeq, Data: req.data, Hops: req.hops,
		Interval: l.repeatAfter(req.hops), GiveUp: now.Add(l.timerB()),
	}
	tx.Next = now.Add(tx.Interval)
	l.r.Out = tx
	return tx
}

func (tx *inviteTx) packet() Packet { return Packet{Data: tx.Data, Hops: tx.Hops} }

func (tx *inviteTx) reliable() bool { return len(tx.Hops) > 0 && tx.Hops[0].Network != "udp" }

// inviteResponse handles a response to one of our INVITEs.
func (l *Leg) inviteResponse(now Time, res *Response) Output {
	tx := l.r.Out
	if tx == nil || res.Branch() != tx.Branch || res.cseq != tx.CSeq {
		return l.strayInviteResponse(res)
	}
	if tx.Final > 0 {
		switch {
		case res.Code >= 300:
			return Output{Send: []Packet{l.ackRefusal(tx, res)}}
		case res.Code < 200 && !tx.Proceeding: // after we gave it up
			return Output{Send: []Packet{l.inviteCompanion(tx, "CANCEL", l.r.RemoteAddr, tx.CancelWith...)}}
		}
		return l.strayInviteResponse(res)
	}
	tx.Data, tx.Next = nil, 0
	switch {
	case res.Code < 200:
		return l.provisional(now, tx, res)
	case res.Code < 300:
		l.r.Out = nil
		if tx.Initial {
			return l.accepted(now, tx, res)
		}
		return l.renegotiated(now, tx, res)
	}
	o := Output{Send: []Packet{l.ackRefusal(tx, res)}}
	if tx.Initial {
		l.r.FarReason = reasonOfFar(&res.head)
	}
	tx.Final, tx.GiveUp = res.Code, now.Add(l.timerB())
	if tx.reliable() {
		l.r.Out = nil
	}
	switch {
	case !tx.Initial:
		o.add(l.renegotiationFailed(now, tx, res.Code, res))
	case !tx.Cancel && l.raise(res):
		o.add(l.inviteAnew(now, tx))
	case tx.RangOut:
		l.fail(now, &o, rangOut)
	default:
		l.fail(now, &o, failureOf(res))
	}
	return o
}

// rangOut is how a leg fails that nobody answered within Local.RingLimit.
var rangOut = Failed{Code: 408, Reason: "Rang Too Long"}

// inviteAnew makes the initial INVITE again after a refusal that said how, as
// a new transaction of the same call (RFC 3261 section 8.1.3.5).
func (l *Leg) inviteAnew(now Time, old *inviteTx) Output {
	l.r.LocalCSeq++
	l.r.Early, l.r.Forks = nil, nil
	l.dropRequests("PRACK")
	tx := l.newInvite(now, l.branch("INVITE", l.r.LocalCSeq), l.r.Asked, l.r.LocalSDP)
	tx.Initial, tx.Hops = true, old.Hops
	return Output{Commit: true, Send: []Packet{tx.packet()}}
}

func failureOf(res *Response) Failed {
	f := Failed{Code: res.Code, Reason: res.Reason, RetryAfter: res.retryAfter()}
	if res.Code < 400 {
		f.Contacts = res.targets()
	}
	return f
}

// fail ends a called leg that was never answered.
func (l *Leg) fail(now Time, o *Output, f Failed) {
	l.terminate(now)
	l.r.Asked, l.r.Forks = nil, nil
	l.dropRequests("CANCEL")
	l.dropRequests("PRACK")
	l.dropRequests("UPDATE")
	l.tell(o, f)
}

func (l *Leg) provisional(now Time, tx *inviteTx, res *Response) Output {
	var o Output
	tx.Proceeding = true
	switch {
	case !tx.Initial && l.r.Ringing != nil: // soon is all that helps
	case !tx.Initial:
		tx.GiveUp = now.Add(l.timerB())
	case !tx.Cancel:
		tx.GiveUp = 0 // how long it may ring is the caller's affair
		if limit := l.r.Local.RingLimit; limit > 0 && tx.RingUntil == 0 {
			tx.RingUntil = now.Add(limit)
		}
	}
	if tx.Cancel && !l.cancelling() {
		o.add(l.sendCancel(now))
	}
	if res.Code <= 100 || !tx.Initial {
		return o
	}
	e := l.enterEarly(res)
	ack, fresh := l.acknowledgeEarly(now, e, res)
	if !fresh {
		return o
	}
	o.add(ack)
	sdp := res.SDP()
	if e != nil && e.Settled {
		sdp = e.SDP
	}
	o.Commit = o.Commit || !tx.Rang || len(sdp) > 0 && !bytes.Equal(sdp, l.r.RemoteSDP)
	tx.Rang = true
	if len(sdp) > 0 {
		l.r.RemoteSDP = bytes.Clone(sdp)
	}
	o.Events = append(o.Events, Ringing{Code: res.Code, SDP: bytes.Clone(sdp)})
	return o
}

// accepted makes the dialog of the first 2xx.
func (l *Leg) accepted(now Time, tx *inviteTx, res *Response) Output {
	sdp := bytes.Clone(l.earlySDP(res))
	if e := l.earlyOf(res.ToTag()); e != nil {
		l.r.RemoteCSeq = max(l.r.RemoteCSeq, e.CSeq)
	}
	l.enterDialog(res)
	l.r.Early, l.r.Forks, l.r.Asked = nil, nil, nil
	l.r.InviteCSeq = tx.CSeq
	l.r.RemoteSDP = sdp
	l.sessionFromAnswer(now, res)
	l.dropRequests("CANCEL")
	o := Output{Commit: true, Send: []Packet{l.ackPacket(tx.CSeq)}}
	l.r.State = Confirmed
	if tx.Cancel {
		// The answer crossed our CANCEL: take the call and end it.
		o.add(l.sendBye(now, "cancel", tx.CancelWith))
		return o
	}
	o.Events = append(o.Events, Answered{SDP: bytes.Clone(sdp)})
	return o
}

// enterDialog takes the dialog's far side from a 2xx (RFC 3261 section 12.1.2).
func (l *Leg) enterDialog(res *Response) {
	l.r.RemoteTag = res.ToTag()
	l.r.RemoteAddr = res.Get("To")
	rr, _ := res.list("Record-Route")
	slices.Reverse(rr)
	l.r.Routes = rr
	if c := res.contact(); c != "" {
		l.r.Target = c
	}
	l.r.Updates = res.hasOption("Allow", "UPDATE")
}

// strayInviteResponse handles what belongs to no open INVITE: a repeated 2xx
// is acknowledged again, one of another fork is acknowledged and hung up
// (RFC 3261 section 13.2.2.4).
func (l *Leg) strayInviteResponse(res *Response) Output {
	if res.Code < 200 || res.Code >= 300 || l.r.Server && l.r.InviteCSeq == 0 {
		return Output{}
	}
	if l.r.RemoteTag != "" && res.ToTag() == l.r.RemoteTag {
		if res.cseq != l.r.InviteCSeq {
			return Output{}
		}
		return Output{Send: []Packet{l.ackPacket(res.cseq)}}
	}
	fork := &Leg{r: l.r}
	fork.enterDialog(res)
	bye := fork.dialogRequest("BYE", res.cseq+1, fork.branch("BYE", res.cseq+1), nil, nil)
	return Output{Send: []Packet{fork.ackPacket(res.cseq), {Data: bye.data, Hops: bye.hops}}}
}

// ackPacket is the ACK of a 2xx. It is built from the dialog alone, so that
// every repeat is the same on every node.
func (l *Leg) ackPacket(cseq uint32) Packet {
	req := l.dialogRequest("ACK", cseq, l.branch("ACK", cseq), nil, nil)
	return Packet{Data: req.data, Hops: req.hops}
}

// ackRefusal is the ACK of a non-2xx: same branch, URI and routes as the
// INVITE (RFC 3261 section 17.1.1.3).
func (l *Leg) ackRefusal(tx *inviteTx, res *Response) Packet {
	return l.inviteCompanion(tx, "ACK", res.Get("To"))
}

// inviteCompanion builds the ACK or CANCEL that belongs to an INVITE of ours.
func (l *Leg) inviteCompanion(tx *inviteTx, method, to string, headers ...Header) Packet {
	var w writer
	w.start(method, tx.URI, "SIP/2.0")
	w.header("Via", tx.Via)
	w.header("Max-Forwards", "70")
	for _, r := range tx.Routes {
		w.header("Route", r)
	}
	w.header("From", l.r.LocalAddr)
	w.header("To", to)
	w.header("Call-ID", l.r.CallID)
	w.header("CSeq", strconv.Itoa(int(tx.CSeq))+" "+method)
	if l.r.Local.Product != "" {
		w.header("User-Agent", l.r.Local.Product)
	}
	w.headers(headers)
	return Packet{Data: w.body(nil), Hops: tx.Hops}
}

// Cancel gives a ringing leg up. The outcome is Failed (487, or whatever
// refusal crossed it), or Ended{cancel} if the answer crossed it.
func (l *Leg) Cancel(now Time, headers ...Header) Output {
	tx := l.r.Out
	if tx == nil || !tx.Initial || tx.Final > 0 || tx.Cancel || l.r.State != Pending {
		return Output{}
	}
	tx.Cancel, tx.CancelWith = true, headers
	if !tx.Proceeding {
		return Output{} // RFC 3261 section 9.1: not before a provisional answer
	}
	return l.sendCancel(now)
}

func (l *Leg) cancelling() bool {
	return slices.ContainsFunc(l.r.Requests, func(c clientTx) bool { return c.Method == "CANCEL" })
}

func (l *Leg) sendCancel(now Time) Output {
	tx := l.r.Out
	p := l.inviteCompanion(tx, "CANCEL", l.r.RemoteAddr, tx.CancelWith...)
	if !l.hears(tx.SentBy) {
		// A dead node's INVITE: its answers, and those to this CANCEL, go to an
		// address that is not ours, so waiting for them would be in vain.
		if l.r.Early != nil {
			return l.leaveEarly(now, []Packet{p})
		}
		// The record goes first all the same: whoever comes after us if we die now
		// sends the CANCEL again.
		l.dropRequests("CANCEL")
		cancel := l.newClientTx(now, "CANCEL", tx.Branch, tx.CSeq, p)
		cancel.GiveUp = now.Add(2 * l.t1())
		tx.GiveUp = cancel.GiveUp // should its answer find us after all
		l.r.Requests = append(l.r.Requests, cancel)
		return Output{Commit: true, Send: []Packet{p}}
	}
	o := Output{Send: []Packet{p}}
	cancel := l.newClientTx(now, "CANCEL", tx.Branch, tx.CSeq, p)
	if l.r.Early != nil {
		cancel.GiveUp = now.Add(resumeGrace * l.t1()) // there is another way
	}
	l.r.Requests = append(l.r.Requests, cancel)
	tx.GiveUp = now.Add(l.timerF())
	return o
}

// leaveEarly ends a ringing leg by BYE within the early dialog (RFC 3261 section
// 15), which any edge can bring to the phone and whose answer comes to this
// node. It also ends a call that the phone has answered without our hearing it.
func (l *Leg) leaveEarly(now Time, send []Packet) Output {
	l.r.Out = nil
	l.dropRequests("CANCEL")
	l.dropRequests("PRACK")
	o := Output{Send: send}
	for i := range l.r.Forks { // once: the first one's BYE is the one that is waited for
		in := l.within(&l.r.Forks[i])
		bye := in.dialogRequest("BYE", l.r.LocalCSeq+1, in.branch("BYE", l.r.LocalCSeq+1), nil, nil)
		o.Send = append(o.Send, Packet{Data: bye.data, Hops: bye.hops})
	}
	e := l.r.Early
	l.r.RemoteTag, l.r.RemoteAddr, l.r.Target, l.r.Routes = e.Tag, e.Addr, e.Target, e.Routes
	bye := l.sendRequest(now, "BYE", nil, nil)
	l.r.Requests[len(l.r.Requests)-1].GiveUp = now.Add(resumeGrace * l.t1())
	o.add(bye)
	return o
}

// cancelledBlind is how a leg fails whose INVITE's own end nobody will tell us.
var cancelledBlind = Failed{Code: 487, Reason: "Cancelled After Takeover"}

func (l *Leg) hears(sentBy string) bool {
	return sentBy == l.r.Local.SentBy || slices.Contains(l.r.Local.Heard, sentBy)
}
