package sip

import (
	"bytes"
	"slices"
)

// An INVITE of ours may be forked: each phone that answers provisionally makes
// an early dialog with a tag of its own (RFC 3261 section 12.1.2), with its own
// description, CSeq and order of reliable answers. The first 2xx picks one; the
// others are forgotten, and who answers later is hung up.

// early is the far side of an early dialog.
type early struct {
	Tag    string   `cbor:"1,keyasint"`
	Addr   string   `cbor:"2,keyasint"`
	Target string   `cbor:"3,keyasint"`
	Routes []string `cbor:"4,keyasint,omitempty"`
	// RSeq is that of the last reliable answer, 0 for none yet.
	RSeq uint32 `cbor:"5,keyasint,omitempty"`
	// SDP is its last description; Settled says it came reliably, so that it is
	// the answer to our offer and no later one counts (RFC 3262 section 5).
	SDP     []byte `cbor:"6,keyasint,omitempty"`
	Settled bool   `cbor:"7,keyasint,omitempty"`
	Updates bool   `cbor:"8,keyasint,omitempty"` // allows UPDATE
	CSeq    int64  `cbor:"9,keyasint,omitempty"` // of its last request
}

// maxForks bounds the early dialogs of one INVITE beside the first.
const maxForks = 8

// earlyOf is the early dialog with this tag, or nil.
func (l *Leg) earlyOf(tag string) *early {
	if e := l.r.Early; e != nil && e.Tag == tag {
		return e
	}
	for i := range l.r.Forks {
		if l.r.Forks[i].Tag == tag {
			return &l.r.Forks[i]
		}
	}
	return nil
}

// enterEarly finds or makes the early dialog of a provisional answer. nil: it
// makes none, or one too many.
func (l *Leg) enterEarly(res *Response) *early {
	tag, target := res.ToTag(), res.contact()
	if tag == "" {
		return nil
	}
	e := l.earlyOf(tag)
	if e == nil {
		if target == "" || len(l.r.Forks) >= maxForks {
			return nil
		}
		rr, _ := res.list("Record-Route")
		slices.Reverse(rr)
		fresh := early{Tag: tag, Addr: res.Get("To"), Target: target, Routes: rr}
		if l.r.Early == nil {
			l.r.Early = &fresh
			e = l.r.Early
		} else {
			l.r.Forks = append(l.r.Forks, fresh)
			e = &l.r.Forks[len(l.r.Forks)-1]
		}
	}
	if target != "" {
		e.Target = target
	}
	if res.has("Allow") {
		e.Updates = res.hasOption("Allow", "UPDATE")
	}
	if sdp := res.SDP(); len(sdp) > 0 && !e.Settled {
		e.SDP = bytes.Clone(sdp)
	}
	return e
}

// within is the leg as it would be in this early dialog: what requests in it
// are built from.
func (l *Leg) within(e *early) *Leg {
	in := &Leg{r: l.r}
	in.r.RemoteTag, in.r.RemoteAddr, in.r.Target, in.r.Routes = e.Tag, e.Addr, e.Target, e.Routes
	return in
}

// earlySDP is the description a 2xx stands for that bears none, or one that
// comes too late: the one its early dialog gave.
func (l *Leg) earlySDP(res *Response) []byte {
	e := l.earlyOf(res.ToTag())
	if e != nil && (e.Settled || len(res.SDP()) == 0) {
		return e.SDP
	}
	return res.SDP()
}

// earlyRequest handles a request of a called far end that has not answered.
func (l *Leg) earlyRequest(now Time, e *early, req *Request, flow Flow) Output {
	seq, _ := req.CSeq()
	if tx := l.r.Upd; tx != nil && tx.CSeq == seq && tx.Method == req.Method && tx.FarTag == e.Tag {
		return Output{} // not answered yet
	}
	if int64(seq) < e.CSeq {
		return l.refuse(req, flow, ServerError)
	}
	repeat := int64(seq) == e.CSeq
	e.CSeq = int64(seq)
	switch {
	case req.Method == "UPDATE" && repeat && len(req.SDP()) > 0:
		for _, s := range l.r.Seen {
			if s.CSeq == seq && s.Method == req.Method {
				return Output{Send: []Packet{Respond(req, flow, l.r.LocalTag, Refusal{s.Code, ReasonPhrase(s.Code), s.Headers}, s.Body)}}
			}
		}
		return l.refuse(req, flow, ServerError)
	case req.Method == "UPDATE":
		if c := req.contact(); c != "" {
			e.Target = c
		}
		return l.update(now, req, flow, e.Settled)
	case req.Method == "OPTIONS":
		return l.refuse(req, flow, Refusal{200, "OK", optionsHeaders()})
	case req.Method == "INFO":
		return l.info(req, flow)
	case req.Method == "INVITE": // RFC 3261 section 14.2: ours has no final answer
		return l.refuse(req, flow, requestPending)
	}
	return l.refuse(req, flow, NoSuchDialog)
}
