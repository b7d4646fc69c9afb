package acd

// EffectID names an effect for ever: the log index of its command and its
// place among that command's effects. SIP ids of what the effect starts are
// derived from it, so that a repeat is a retransmission.
type EffectID struct {
	Index uint64 `cbor:"1,keyasint"`
	N     uint32 `cbor:"2,keyasint"`
}

// Effect is an order to one owner, or, with an empty Owner, to every node
// (such orders are idempotent). An owner carries it out only if Owner is its
// own life, and reports with a command that bears Epoch.
type Effect struct {
	ID    EffectID
	Call  CallID
	Owner Owner
	Epoch uint64
	Order Order
}

// Order is one of the types below.
type Order interface{ isOrder() }

type (
	// Resume tells a new owner to load the call's records. It precedes, in
	// order, whatever of the call's orders are still to be carried out.
	Resume struct{}
	// AnswerCall: negotiate media, report LegAnswered, send the 200.
	AnswerCall struct{ Leg LegID }
	// PlayPrompt plays to a leg, replacing what plays; report PromptStarted.
	PlayPrompt struct {
		Leg    LegID
		Prompt string
		Loop   bool
	}
	// Announce plays prompts one after the other and then Then, which may be
	// empty; those that are missing are left out. Report PromptStarted with
	// Name and the length of Prompts together.
	Announce struct {
		Leg     LegID
		Name    string
		Prompts []string
		Then    Prompt
	}
	// RingAgent sends an INVITE to one of the agent's devices as the new leg
	// Leg: Contacts are that device's, tried in order.
	RingAgent struct {
		Leg      LegID
		Agent    AgentID
		Contacts []Contact
		From     string // caller number to show
		To       string // dialled number
		Card     []Attr // for the agent's screen
	}
	// Dial sends an INVITE to a number over the first of the trunks that takes
	// it, as the new leg Leg; report as for RingAgent.
	Dial struct {
		Leg    LegID
		Number string    // E.164
		Trunks []TrunkID // in order of preference, those with a free channel
		From   string    // our number, to show
		// Of a caller who is led outside: the caller's number, if it is to be shown
		// instead of From, and the number that was called, which is diverted.
		Caller   string
		Diverted []string // last first
	}
	// TellProgress tells the far end of Leg how what it asked for goes. An INVITE
	// that is not answered gets a provisional answer; after a REFER it is NOTIFY of
	// a SIP code, the last one if that is final (RFC 3515).
	TellProgress struct {
		Leg  LegID
		Code int
	}
	// CancelRing ends a called leg that has not answered; report LegFailed
	// (487), or LegEnded if its answer crossed the CANCEL.
	CancelRing struct{ Leg LegID }
	// SendDigits sends keys to the far end of Leg, each comma among them a pause of
	// 500 ms (T12). It may be given again and sends no key twice.
	SendDigits struct {
		Leg  LegID
		Keys string
	}
	// Bridge connects the media of two answered legs and stops prompts.
	Bridge struct{ A, B LegID }
	// StartRecording records both sides of the call.
	StartRecording struct{}
	// Supervise has Leg hear Peer and whom that talks with, and be heard by Mode.
	Supervise struct {
		Leg, Peer LegID
		Mode      SupervisionMode
	}
	// Hangup ends an answered leg by BYE, or an unanswered caller's leg by
	// Code; report LegEnded.
	Hangup struct {
		Leg   LegID
		Code  int // for a leg not yet answered
		Cause string
	}
	// Release frees the media and the actor of a call that is over, or of one
	// that goes on without its customer: a later Dial begins anew.
	Release struct{ Media []string } // media addresses the call used
	// HostMedia, to every node: the worker with this control address hosts
	// Address from now on, under Epoch (higher wins), with this standby
	// (both empty: none). A worker that holds the address's replica takes the
	// sessions over. In one Apply it comes before the orders of the calls on
	// Address, which are given again when the host changed.
	HostMedia struct {
		Address     string
		Worker      WorkerID
		Incarnation uint64
		Control     string
		Standby     WorkerID
		Replication string // the standby's replication port
		Epoch       uint64
	}
	// Resync, to every node: the life of a router whose state is not the
	// majority's must end, and its copy of the state with it.
	Resync struct {
		Owner  Owner
		Index  uint64 // at which the states differed
		Agreed uint64 // last one at which they are known to have been the same; 0: none
	}
)

func (Resume) isOrder()         {}
func (AnswerCall) isOrder()     {}
func (PlayPrompt) isOrder()     {}
func (RingAgent) isOrder()      {}
func (CancelRing) isOrder()     {}
func (Bridge) isOrder()         {}
func (Supervise) isOrder()      {}
func (StartRecording) isOrder() {}
func (Hangup) isOrder()         {}
func (Release) isOrder()        {}
func (HostMedia) isOrder()      {}
func (Announce) isOrder()       {}
func (Dial) isOrder()           {}
func (TellProgress) isOrder()   {}
func (SendDigits) isOrder()     {}
func (Resync) isOrder()         {}

// Result answers the proposer of one command.
type Result struct {
	Applied     bool      `cbor:"1,keyasint"`           // false: a counted no-op, see Reason
	Reason      string    `cbor:"2,keyasint,omitempty"` // why not; a closed set of words
	Code        int       `cbor:"3,keyasint,omitempty"` // CallArrived, CallReferred, CallPickedUp: refuse with this SIP code
	RetryAfter  int       `cbor:"4,keyasint,omitempty"` // seconds, with Code 503
	Epoch       uint64    `cbor:"5,keyasint,omitempty"` // CallArrived, CallClaimed: the call's epoch
	Incarnation uint64    `cbor:"6,keyasint,omitempty"` // NodeStarted
	Contacts    []Contact `cbor:"7,keyasint,omitempty"` // RegistrationChanged: all bindings now
	Version     uint64    `cbor:"8,keyasint,omitempty"` // ConfigApplied: the configuration's version now in force
	Leg         LegID     `cbor:"9,keyasint,omitempty"` // AgentDialled, CallPickedUp: the leg of the INVITE
}
