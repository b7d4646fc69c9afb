package sip

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Local is what a leg knows of the node that runs it.
type Local struct {
	Contact string   `cbor:"1,keyasint"`           // URI of ours for the far end's requests
	SentBy  string   `cbor:"2,keyasint"`           // host:port answers to our requests come to
	Network string   `cbor:"3,keyasint"`           // of our requests: "tcp" or "udp"
	Tag     string   `cbor:"4,keyasint"`           // local tag of a new leg
	Product string   `cbor:"5,keyasint"`           // Server and User-Agent
	Headers []Header `cbor:"6,keyasint,omitempty"` // put on the INVITE and on all answers to it
	// Outbound are the edges, tried in this order when the next hop of a
	// request can't be reached.
	Outbound []Hop `cbor:"7,keyasint,omitempty"`
	// Heard are the sent-by addresses of other nodes that reach this one,
	// because it took their addresses over.
	Heard []string `cbor:"8,keyasint,omitempty"`
	// SessionExpires is the session interval asked for where the far end
	// offers none (RFC 4028); 0 asks for none. MinSE is the shortest accepted.
	SessionExpires time.Duration `cbor:"9,keyasint,omitempty"`
	MinSE          time.Duration `cbor:"10,keyasint,omitempty"`
	// T1 and T2 are RFC 3261's; 0 means 500 ms and 4 s.
	T1 time.Duration `cbor:"11,keyasint,omitempty"`
	T2 time.Duration `cbor:"12,keyasint,omitempty"`
	// B, F and H are RFC 3261's too: how long our INVITE, another request of ours
	// and an answer of ours wait for what must follow; 0 means 64*T1.
	B time.Duration `cbor:"40,keyasint,omitempty"`
	F time.Duration `cbor:"41,keyasint,omitempty"`
	H time.Duration `cbor:"42,keyasint,omitempty"`
	// RingLimit is how long a called leg may ring before it is cancelled; 0: as
	// long as its owner lets it.
	RingLimit time.Duration `cbor:"43,keyasint,omitempty"`
	// Reliable sends provisional answers reliably to who supports that, not
	// only to who requires it (RFC 3262).
	Reliable bool `cbor:"44,keyasint,omitempty"`
}

// State is how far a leg has come.
type State uint8

// States.
const (
	Pending    State = iota + 1 // the INVITE has no final answer
	Accepted                    // server leg: 2xx sent, no ACK yet
	Confirmed                   // both sides know the dialog
	Ending                      // our BYE is out
	Terminated                  // over; only repeats are still answered
)

// String names the state for logs.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Accepted:
		return "accepted"
	case Confirmed:
		return "confirmed"
	case Ending:
		return "ending"
	case Terminated:
		return "terminated"
	}
	return "none"
}

// Output is what a step of a leg asks its owner to do, in this order: commit
// the leg's record together with what the events mean, then send. If the
// commit fails because another node owns the call by now, send nothing.
//
// Save asks for the record to be committed too, but nothing waits for it: who
// goes on from the record before comes to the same packets, or is told again.
// It may go with the call's next commit.
type Output struct {
	Commit bool
	Save   bool
	Send   []Packet
	Events []Event
}

func (o *Output) add(more Output) {
	o.Commit = o.Commit || more.Commit
	o.Save = o.Save || more.Save
	o.Send = append(o.Send, more.Send...)
	o.Events = append(o.Events, more.Events...)
}

// Event is one of the types below.
type Event interface{ isEvent() }

type (
	// Ringing: a called leg progressed (code 101 to 199). SDP is what it can be
	// heard with already.
	Ringing struct {
		Code int
		SDP  []byte
	}
	// Answered: a called leg sent its 2xx. The ACK is in the same Output.
	Answered struct{ SDP []byte }
	// Acknowledged: the caller's ACK of our 2xx came. SDP is set if the INVITE
	// had no offer: it is the answer to ours.
	Acknowledged struct{ SDP []byte }
	// EarlyAnswer: the caller's PRACK brought the answer to the offer in a
	// provisional answer of ours.
	EarlyAnswer struct{ SDP []byte }
	// Failed: a called leg was refused (Code), did not answer at all (408),
	// could not be reached (503) or was cancelled (487).
	Failed struct {
		Code       int
		Reason     string
		RetryAfter int      // seconds, 0 for none
		Contacts   []string // of a 3xx
	}
	// Ended: an answered or arriving leg is over. It comes once. Cause is bye,
	// cancel, hangup (ours), timeout (no ACK, no answer to a refresh) or
	// expired. Code is the answer our BYE got, or our refusal's.
	Ended struct {
		Cause string
		Code  int
	}
	// Reoffer: the far end changes the session; answer with AnswerOffer. A nil
	// SDP asks for an offer of ours, to be given there; Renegotiated brings the
	// answer to it.
	Reoffer struct{ SDP []byte }
	// Renegotiated: our Reinvite was accepted, or the far end answered the
	// offer in our 2xx to its re-INVITE with a changed session.
	Renegotiated struct{ SDP []byte }
	// RenegotiationFailed: our Reinvite was refused; the session is as before.
	RenegotiationFailed struct{ Code int }
	// Digits are keys the far end pressed, in order: of an INFO, already answered
	// in the same Output, or told by Heard. Serial numbers the last one among
	// those that came by INFO, from 1 over the leg's life; 0 for Heard's.
	Digits struct {
		Digits   string
		Serial   uint64
		Duration time.Duration // as an INFO says, 0: not told
	}
	// Informed: the INFO with a key (see Inform) was answered with Code, or not at
	// all (408).
	Informed struct {
		From   string
		Serial uint64
		Code   int
	}
)

func (Ringing) isEvent()             {}
func (Answered) isEvent()            {}
func (Acknowledged) isEvent()        {}
func (EarlyAnswer) isEvent()         {}
func (Failed) isEvent()              {}
func (Ended) isEvent()               {}
func (Reoffer) isEvent()             {}
func (Renegotiated) isEvent()        {}
func (RenegotiationFailed) isEvent() {}
func (Digits) isEvent()              {}
func (Informed) isEvent()            {}

// recordVersion is the format of a marshalled leg.
const recordVersion = 1

// Leg is one INVITE dialog and its transactions. One goroutine may use it at a
// time. The zero Leg is for UnmarshalBinary.
type Leg struct {
	r       record
	informs *infoTx // the INFO that is out
}

// record is everything a leg is.
type record struct {
	Version    int        `cbor:"1,keyasint"`
	Server     bool       `cbor:"2,keyasint,omitempty"` // the INVITE came to us
	State      State      `cbor:"3,keyasint"`
	Local      Local      `cbor:"4,keyasint"`
	CallID     string     `cbor:"5,keyasint"`
	LocalTag   string     `cbor:"6,keyasint"`
	RemoteTag  string     `cbor:"7,keyasint,omitempty"`
	LocalAddr  string     `cbor:"8,keyasint"` // From of our requests, tag included
	RemoteAddr string     `cbor:"9,keyasint"` // To of our requests, tag included
	Target     string     `cbor:"10,keyasint,omitempty"`
	Routes     []string   `cbor:"11,keyasint,omitempty"` // in the order of our Route headers
	LocalCSeq  uint32     `cbor:"12,keyasint,omitempty"` // last one used
	RemoteCSeq int64      `cbor:"13,keyasint"`           // last one seen, -1 for none
	LocalSDP   []byte     `cbor:"14,keyasint,omitempty"`
	RemoteSDP  []byte     `cbor:"15,keyasint,omitempty"`
	Updates    bool       `cbor:"16,keyasint,omitempty"` // the far end allows UPDATE
	Session    session    `cbor:"17,keyasint"`
	In         *serverTx  `cbor:"18,keyasint,omitempty"` // their INVITE
	Out        *inviteTx  `cbor:"19,keyasint,omitempty"` // our INVITE
	Requests   []clientTx `cbor:"20,keyasint,omitempty"` // our other requests
	Seen       []seen     `cbor:"21,keyasint,omitempty"` // last answers given
	EndCause   string     `cbor:"22,keyasint,omitempty"` // why our BYE was sent
	Told       bool       `cbor:"23,keyasint,omitempty"` // Ended or Failed was reported
	GoneAt     Time       `cbor:"24,keyasint,omitempty"` // when a terminated leg stops answering repeats
	ByeWanted  bool       `cbor:"25,keyasint,omitempty"` // hang up as soon as the ACK is there
	InviteCSeq uint32     `cbor:"26,keyasint,omitempty"` // of our last accepted INVITE, for repeated 2xx
	Retry      *retry     `cbor:"27,keyasint,omitempty"` // re-INVITE put off by glare
	DigitsBy   digitsBy   `cbor:"28,keyasint,omitempty"` // how the far end's digits come
	Heard      uint64     `cbor:"29,keyasint,omitempty"` // serial of the last RTP event taken
	Early      *early     `cbor:"30,keyasint,omitempty"` // the early dialog of our INVITE
	Informing  *informing `cbor:"70,keyasint,omitempty"` // the key of ours that is out
	PlainInfo  bool       `cbor:"71,keyasint,omitempty"` // the far end wants application/dtmf
	NoInfo     int        `cbor:"72,keyasint,omitempty"` // the far end refuses INFO with this
	ByInfo     uint64     `cbor:"73,keyasint,omitempty"` // how many of the far end's keys came by INFO
	Asked      []Header   `cbor:"40,keyasint,omitempty"` // headers of our INVITE until it is answered
	Rel        *reliable  `cbor:"41,keyasint,omitempty"` // our reliable answers
	Forks      []early    `cbor:"42,keyasint,omitempty"` // further early dialogs of our INVITE
	Upd        *serverTx  `cbor:"43,keyasint,omitempty"` // their UPDATE or PRACK with an offer
	Hops       int        `cbor:"44,keyasint,omitempty"` // Max-Forwards: of their INVITE, or for ours
	FarReason  string     `cbor:"45,keyasint,omitempty"` // why their BYE, CANCEL or refusal came
	ByeHeaders []Header   `cbor:"47,keyasint,omitempty"` // of the BYE that waits for the ACK
	Reoffered  bool       `cbor:"48,keyasint,omitempty"` // we have offered a change once
	Offered    []byte     `cbor:"46,keyasint,omitempty"` // in an UPDATE of ours

	Refer     *referSub `cbor:"50,keyasint,omitempty"` // the transfer the far end asked for and hears of
	Referrals uint32    `cbor:"51,keyasint,omitempty"` // how many it asked for
	RuleKeys  uint64    `cbor:"52,keyasint,omitempty"` // how many keys of a rule went by INFO, see NextRuleKey
	Ringing   *inviteTx `cbor:"90,keyasint,omitempty"` // our INVITE while its far end is asked, see Adopt
}

// retry is a re-INVITE to send again after a 491 (RFC 3261 section 14.1).
type retry struct {
	At      Time   `cbor:"1,keyasint"`
	SDP     []byte `cbor:"2,keyasint"`
	Refresh bool   `cbor:"3,keyasint,omitempty"`
	Update  bool   `cbor:"4,keyasint,omitempty"` // by UPDATE
}

// seen is an answer given in the dialog, for repeats of its request.
type seen struct {
	CSeq    uint32   `cbor:"1,keyasint"`
	Method  string   `cbor:"2,keyasint"`
	Code    int      `cbor:"3,keyasint"`
	Headers []Header `cbor:"4,keyasint,omitempty"`
	Body    []byte   `cbor:"5,keyasint,omitempty"`
}

// maxSeen bounds the answers kept. A repeat older than that is answered 500.
const maxSeen = 4

// MarshalBinary gives the leg's record.
func (l *Leg) MarshalBinary() ([]byte, error) {
	b, err := cbor.Marshal(&l.r)
	if err != nil {
		return nil, fmt.Errorf("marshal leg: %w", err)
	}
	return b, nil
}

// records decodes records. Header text from the far end may be any bytes, in
// practice Latin-1 display names, and a call must not be lost over them.
var records = func() cbor.DecMode {
	m, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		panic("sip: CBOR options: " + err.Error())
	}
	return m
}()

// UnmarshalBinary makes l the leg of a record. A new owner calls Resume next.
func (l *Leg) UnmarshalBinary(b []byte) error {
	var r record
	if err := records.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("unmarshal leg: %w", err)
	}
	if r.Version != recordVersion {
		return fmt.Errorf("unmarshal leg: unknown record version %d", r.Version)
	}
	l.r = r
	return nil
}

// State is how far the leg has come.
func (l *Leg) State() State { return l.r.State }

// Server reports whether the INVITE came to us.
func (l *Leg) Server() bool { return l.r.Server }

// CallID names the dialog, with LocalTag and RemoteTag.
func (l *Leg) CallID() string { return l.r.CallID }

// LocalTag is ours.
func (l *Leg) LocalTag() string { return l.r.LocalTag }

// RemoteTag is the far end's, empty until a called leg answers.
func (l *Leg) RemoteTag() string { return l.r.RemoteTag }

// LocalSDP is the last description we gave and that was not refused.
func (l *Leg) LocalSDP() []byte { return l.r.LocalSDP }

// RemoteSDP is the far end's last accepted description.
func (l *Leg) RemoteSDP() []byte { return l.r.RemoteSDP }

// FarReason is the Reason header of the BYE, CANCEL or refusal that ended the
// leg, if it bore one (RFC 3326).
func (l *Leg) FarReason() string { return l.r.FarReason }

// MaxForwards is that of the caller's INVITE, of which a call of ours on its
// behalf takes one off (RFC 3261 section 16.6).
func (l *Leg) MaxForwards() int { return l.r.Hops }

// Reoffered reports whether Reinvite was ever called on the leg, here or by an
// earlier owner.
func (l *Leg) Reoffered() bool { return l.r.Reoffered }

// Done reports that the leg neither waits for anything nor needs to answer
// repeats any more: it can be forgotten.
func (l *Leg) Done() bool {
	r := &l.r
	return r.State == Terminated && r.GoneAt == 0 && r.In == nil && r.Out == nil && len(r.Requests) == 0
}

func (l *Leg) t1() time.Duration {
	if l.r.Local.T1 > 0 {
		return l.r.Local.T1
	}
	return 500 * time.Millisecond
}

func (l *Leg) t2() time.Duration {
	if l.r.Local.T2 > 0 {
		return l.r.Local.T2
	}
	return 4 * time.Second
}

// timerB, timerF and timerH are RFC 3261's; a leg that is over answers repeats
// for timer F (J there).
func (l *Leg) timerB() time.Duration { return l.timer(l.r.Local.B) }
func (l *Leg) timerF() time.Duration { return l.timer(l.r.Local.F) }
func (l *Leg) timerH() time.Duration { return l.timer(l.r.Local.H) }

func (l *Leg) timer(set time.Duration) time.Duration {
	if set > 0 {
		return set
	}
	return 64 * l.t1()
}

// tell reports the end of the leg, once.
func (l *Leg) tell(o *Output, e Event) {
	if !l.r.Told {
		l.r.Told = true
		o.Events = append(o.Events, e)
	}
}

// terminate ends the leg; repeats are answered for another timer F.
func (l *Leg) terminate(now Time) {
	l.r.State = Terminated
	l.r.Session.Due = 0
	l.r.Retry = nil
	l.r.ByeWanted = false
	l.r.Rel, l.r.Upd, l.r.Offered, l.r.Ringing = nil, nil, nil, nil
	l.r.GoneAt = now.Add(l.timerF())
	l.informs = nil
}

// remember keeps an answer for repeats of its request.
func (l *Leg) remember(s seen) {
	l.r.Seen = append(l.r.Seen, s)
	if n := len(l.r.Seen); n > maxSeen {
		l.r.Seen = append([]seen(nil), l.r.Seen[n-maxSeen:]...)
	}
}
