package sip

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reliable provisional answers (RFC 3262), as the one who sends them (server
// leg) and as the one who acknowledges them by PRACK (client leg).

// option100rel is their option tag.
const option100rel = "100rel"

// wish is whether a caller can acknowledge provisional answers.
type wish uint8

const (
	wishNot     wish = iota
	wishCan          // Supported: 100rel
	wishRequire      // Require: 100rel
)

func wishOf(req *Request) wish {
	switch {
	case req.hasOption("Require", option100rel):
		return wishRequire
	case req.hasOption("Supported", option100rel):
		return wishCan
	}
	return wishNot
}

// reliable is what became of our reliable answers to the caller's INVITE. The
// answer itself is the transaction's last response.
type reliable struct {
	RSeq uint32 `cbor:"1,keyasint"` // of the last one
	// Waits: its PRACK has not come. Bears: it bears a description.
	Waits    bool          `cbor:"2,keyasint,omitempty"`
	Bears    bool          `cbor:"3,keyasint,omitempty"`
	Interval time.Duration `cbor:"4,keyasint,omitempty"`
	Next     Time          `cbor:"5,keyasint,omitempty"`
	GiveUp   Time          `cbor:"6,keyasint,omitempty"`
	// Then is what is to be sent when the PRACK is there: the newest progress,
	// or the 200, which must not overtake a description (section 5).
	Then *putOff `cbor:"7,keyasint,omitempty"`
}

// putOff is an answer that waits for a PRACK.
type putOff struct {
	Code    int      `cbor:"1,keyasint"`
	SDP     []byte   `cbor:"2,keyasint,omitempty"`
	Headers []Header `cbor:"3,keyasint,omitempty"`
}

// reliably tells whether a provisional answer to this INVITE is sent reliably.
func (l *Leg) reliably(tx *serverTx) bool {
	return tx.Wish == wishRequire || tx.Wish == wishCan && l.r.Local.Reliable
}

// progressReliably sends a provisional answer that wants a PRACK, or keeps it
// until the one before has its own (section 3).
func (l *Leg) progressReliably(now Time, code int, sdp []byte, headers []Header) Output {
	if l.r.Rel == nil {
		l.r.Rel = &reliable{RSeq: l.firstRSeq()}
	}
	rel := l.r.Rel
	if rel.Waits {
		if rel.Then == nil || rel.Then.Code < 200 {
			rel.Then = &putOff{code, bytes.Clone(sdp), headers}
		}
		return Output{Commit: true}
	}
	rel.RSeq++
	rel.Waits, rel.Bears = true, len(sdp) > 0
	rel.Interval = l.t1()
	rel.Next, rel.GiveUp = now.Add(rel.Interval), now.Add(l.timerH())
	headers = append(slices.Clone(headers), Header{"Require", option100rel}, Header{"RSeq", strconv.FormatUint(uint64(rel.RSeq), 10)})
	return Output{Commit: true, Send: []Packet{l.respond(now, code, "", headers, bytes.Clone(sdp))}}
}

// firstRSeq is where the numbers begin: a few bits that differ from call to
// call, below 2^31 for ever.
func (l *Leg) firstRSeq() uint32 {
	return 1 + uint32(l.jitter("rseq", 1000*time.Second)/(10*time.Millisecond))
}

// tickReliable repeats a provisional answer until its PRACK, and refuses the
// call of who sends none.
func (l *Leg) tickReliable(now Time) Output {
	rel := l.r.Rel
	if rel == nil || !rel.Waits || l.pendingIn() == nil {
		return Output{}
	}
	if due(rel.GiveUp, now) {
		o := Output{Commit: true, Send: []Packet{l.respond(now, 504, "", nil, nil)}}
		l.terminate(now)
		l.tell(&o, Ended{Cause: "timeout", Code: 504})
		return o
	}
	if !due(rel.Next, now) {
		return Output{}
	}
	rel.Interval *= 2 // without bound (section 3)
	rel.Next = now.Add(rel.Interval)
	return Output{Send: []Packet{l.r.In.packet(l.r.CallID)}}
}

// prack handles a PRACK of the caller.
func (l *Leg) prack(now Time, req *Request, flow Flow) Output {
	rel, tx := l.r.Rel, l.r.In
	rseq, cseq, ok := rack(req.Get("RAck"))
	switch {
	case !ok:
		return Output{Send: []Packet{l.answer(req, flow, Refusal{Code: 400, Reason: "Malformed RAck"}, nil)}}
	case rel == nil || rseq != rel.RSeq || tx != nil && tx.Initial && cseq != tx.CSeq:
		return Output{Send: []Packet{l.answer(req, flow, NoSuchDialog, nil)}}
	case !rel.Waits: // a second one, after the 200 perhaps
		return Output{Commit: true, Send: []Packet{l.answer(req, flow, Refusal{Code: 200, Reason: "OK"}, nil)}}
	}
	sdp := req.SDP()
	ours := rel.Bears && len(tx.Offer) == 0 && !tx.Settled // our offer is open
	if ours && len(sdp) == 0 {
		return Output{Send: []Packet{l.answer(req, flow, Refusal{Code: 400, Reason: "PRACK Without Answer"}, nil)}}
	}
	rel.Waits, rel.Next, rel.GiveUp = false, 0, 0
	tx.Settled = tx.Settled || rel.Bears
	o := Output{Commit: true}
	switch {
	case ours:
		l.r.RemoteSDP = bytes.Clone(sdp)
		o.Events = append(o.Events, EarlyAnswer{SDP: bytes.Clone(sdp)})
	case len(sdp) > 0 && tx.Settled: // a new offer, to be answered in the 200
		l.r.Upd = l.newServerTx(req, flow)
		o.Events = append(o.Events, Reoffer{SDP: bytes.Clone(sdp)})
	case len(sdp) > 0:
		ref := ServerError
		o.Send = append(o.Send, l.answer(req, flow, ref, nil))
		o.add(l.sendPutOff(now))
		return o
	}
	if l.r.Upd == nil {
		o.Send = append(o.Send, l.answer(req, flow, Refusal{Code: 200, Reason: "OK"}, nil))
	}
	o.add(l.sendPutOff(now))
	return o
}

// sendPutOff sends what waited for the PRACK.
func (l *Leg) sendPutOff(now Time) Output {
	then := l.r.Rel.Then
	l.r.Rel.Then = nil
	switch {
	case then == nil:
		return Output{}
	case then.Code >= 200:
		return l.Accept(now, then.SDP, then.Headers...)
	}
	return l.Progress(now, then.Code, then.SDP, then.Headers...)
}

// rack reads "rseq cseq INVITE" (section 7.2).
func rack(v string) (rseq, cseq uint32, ok bool) {
	f := strings.Fields(v)
	if len(f) != 3 || f[2] != "INVITE" {
		return 0, 0, false
	}
	r, err1 := strconv.ParseUint(f[0], 10, 32)
	c, err2 := strconv.ParseUint(f[1], 10, 31)
	return uint32(r), uint32(c), err1 == nil && err2 == nil && r > 0
}

// acknowledgeEarly answers a reliable provisional answer by PRACK, in order and
// once (section 4). ok is false where the answer must be ignored: a repeat, or
// one that overtook another.
func (l *Leg) acknowledgeEarly(now Time, e *early, res *Response) (o Output, ok bool) {
	if !res.hasOption("Require", option100rel) {
		return o, true
	}
	n, err := strconv.ParseUint(strings.TrimSpace(res.Get("RSeq")), 10, 32)
	if err != nil || n == 0 || e == nil {
		return o, true // not what it says it is: taken as any other
	}
	rseq := uint32(n)
	if e.RSeq != 0 && rseq != e.RSeq+1 {
		return o, false
	}
	e.RSeq = rseq
	if len(res.SDP()) > 0 {
		e.Settled = true
	}
	h := []Header{{"RAck", res.Get("RSeq") + " " + strconv.Itoa(int(res.cseq)) + " INVITE"}}
	return l.sendEarly(now, e, "PRACK", h, nil), true
}

// sendEarly starts a client transaction in an early dialog.
func (l *Leg) sendEarly(now Time, e *early, method string, headers []Header, body []byte) Output {
	l.r.LocalCSeq++
	in := l.within(e)
	branch := in.branch(method, l.r.LocalCSeq)
	b := in.dialogRequest(method, l.r.LocalCSeq, branch, headers, body)
	p := Packet{Data: b.data, Hops: b.hops}
	l.r.Requests = append(l.r.Requests, l.newClientTx(now, method, branch, l.r.LocalCSeq, p))
	return Output{Commit: true, Send: []Packet{p}}
}
