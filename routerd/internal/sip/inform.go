package sip

import (
	"fmt"
	"strings"
	"time"
)

// Keys for a far end that takes no RTP events go to it as INFO requests, each
// after the answer to the one before: two at once might overtake each other.
//
// A key may be a digit of a card, so no record holds one, and no log. What it
// holds is which key is out, by the number it has at the leg it was pressed on,
// and under which CSeq. A new owner is told the keys again by who has them and
// sends the same bytes, which the far end takes for a repeat.

// Key is one key pressed at another leg's far end.
type Key struct {
	From     string // that leg, as the owner of both names it
	Serial   uint64 // from 1, over that leg's life
	Sign     byte   // 0 to 9, *, #, A to D
	Duration time.Duration
}

// keyDuration is told of keys whose own is not known: the first packet of an
// event does not say how long it will last.
const keyDuration = 160 * time.Millisecond

// informing is the INFO that is out, as the record has it.
type informing struct {
	From   string `cbor:"1,keyasint"`
	Serial uint64 `cbor:"2,keyasint"`
	CSeq   uint32 `cbor:"3,keyasint"`
	SentBy string `cbor:"4,keyasint"` // of the node that sent it first
}

// infoTx is its transaction, which no record holds.
type infoTx struct {
	clientTx
	key   Key
	again bool // sent by a dead node first
}

// Inform sends a key to the far end. Informed follows, maybe at once; while
// another key is out nothing is done. Repeats of the key that is out are harmless.
func (l *Leg) Inform(now Time, k Key) Output {
	r := &l.r
	switch {
	case l.informs != nil:
		return Output{}
	case r.State != Confirmed && r.State != Accepted:
		return Output{Events: []Event{Informed{From: k.From, Serial: k.Serial, Code: 481}}}
	case r.NoInfo > 0:
		return Output{Events: []Event{Informed{From: k.From, Serial: k.Serial, Code: r.NoInfo}}}
	}
	again := r.Informing != nil && r.Informing.From == k.From && r.Informing.Serial == k.Serial
	if !again {
		r.LocalCSeq++
		r.Informing = &informing{From: k.From, Serial: k.Serial, CSeq: r.LocalCSeq, SentBy: r.Local.SentBy}
	}
	tx := l.newInfo(now, k)
	if again {
		tx.again, tx.GiveUp = true, now.Add(infoGrace*l.t1())
	}
	l.informs = tx
	return Output{Commit: !again, Send: []Packet{{Data: tx.Data, Hops: tx.Hops}}}
}

// infoGrace, in T1, is how long the answer to a dead node's INFO is waited for:
// it went to that node, if the far end had the INFO.
const infoGrace = 4

// newInfo builds the INFO that the record says is out.
func (l *Leg) newInfo(now Time, k Key) *infoTx {
	i := l.r.Informing
	kind, body := dtmfRelay, ""
	d := k.Duration
	if d <= 0 {
		d = keyDuration
	}
	if l.r.PlainInfo {
		kind, body = dtmf, string(k.Sign)
	} else {
		body = fmt.Sprintf("Signal=%c\r\nDuration=%d\r\n", k.Sign, d.Milliseconds())
	}
	own := l.r.Local.SentBy
	l.r.Local.SentBy = i.SentBy // answers to the first node's may find us all the same
	branch := l.branch("INFO", i.CSeq)
	b := l.dialogRequest("INFO", i.CSeq, branch, []Header{{"Content-Type", kind}}, []byte(body))
	l.r.Local.SentBy = own
	return &infoTx{clientTx: l.newClientTx(now, "INFO", branch, i.CSeq, Packet{Data: b.data, Hops: b.hops}), key: k}
}

// informed takes the end of the INFO that is out; res is nil if nothing came.
func (l *Leg) informed(now Time, code int, res *Response) Output {
	k, again := l.informs.key, l.informs.again
	l.informs, l.r.Informing = nil, nil
	var o Output
	switch {
	case again && res == nil: // the answer went to the dead node: no sign of a far end without INFO
	case code == 415 && res != nil && !l.r.PlainInfo && takesPlainInfo(res):
		l.r.PlainInfo = true
		return l.Inform(now, k)
	case code == 405 || code == 408 || code == 415 || code == 501:
		l.r.NoInfo = code // the next keys need not wait as long
	case code == 481:
		// RFC 5057: the far end has no such dialog.
		l.terminate(now)
		o.Commit = true
		l.tell(&o, Ended{Cause: "timeout", Code: code})
	}
	o.Events = append(o.Events, Informed{From: k.From, Serial: k.Serial, Code: code})
	return o
}

// takesPlainInfo reads the Accept of a 415.
func takesPlainInfo(res *Response) bool {
	types, _ := res.list("Accept")
	for _, t := range types {
		if strings.EqualFold(mediaType(t), dtmf) {
			return true
		}
	}
	return false
}

// tickInfo repeats the INFO that is out, or gives it up.
func (l *Leg) tickInfo(now Time) Output {
	tx := l.informs
	switch {
	case tx == nil:
	case due(tx.GiveUp, now):
		return l.informed(now, 408, nil)
	case due(tx.Next, now):
		tx.Interval = min(2*tx.Interval, l.t2())
		tx.Next = now.Add(tx.Interval)
		return Output{Send: []Packet{{Data: tx.Data, Hops: tx.Hops}}}
	}
	return Output{}
}

// Took notes that the far end's keys up to a serial are dealt with, other than by
// Heard.
func (l *Leg) Took(serial uint64) Output {
	if serial <= l.r.Heard {
		return Output{}
	}
	l.r.Heard = serial
	return Output{Commit: true}
}
