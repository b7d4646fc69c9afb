package acd

import "time"

// Time is machine time in nanoseconds. It starts near the Unix time of the
// cluster's first command and never goes back.
type Time int64

// Add returns t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Names of things. All are opaque to the machine but compared and ordered as bytes.
type (
	CallID   string
	LegID    string // unique within its call; the caller's leg is CallerLeg
	AgentID  string
	QueueID  string
	TrunkID  string
	NodeID   string // a routerd
	WorkerID string // a mediad

	SkillID    string
	CalendarID string
	ChainID    string
	TaskID     string // from its creator, so that a repeat is the same task
)

// CallerLeg is the leg a call arrived on.
const CallerLeg LegID = "1"

// Owner is one life of a routerd. Incarnation is the log index of the
// NodeStarted that began it: a restarted node is another owner.
type Owner struct {
	Node        NodeID `cbor:"1,keyasint"`
	Incarnation uint64 `cbor:"2,keyasint"`
}

// Command is what the log carries: one fact from the edge of the system.
//
// Session and Seq make a repeated proposal harmless: the machine answers a
// (Session, Seq) it has applied from its cache. Floor is the lowest Seq of the
// session whose answer the proposer still waits for; lower ones are forgotten.
type Command struct {
	Stamp   Time   // the leader's machine clock, see Machine.Apply
	Session string // the proposing process, unique per start
	Seq     uint64
	Floor   uint64
	Body    Body
}

// Body is one of the command types below. Each has a number in acdwire that is
// never reused.
type Body interface{ isCommand() }

// OnCall heads every command about a call. A command whose Epoch is not the
// call's current one changes nothing and is counted. Records replace the
// stored records of the named legs in the same step as the command itself.
// Playing is what began to play without an end since the last command: nothing
// waits to know of it, so it needs none of its own.
type OnCall struct {
	Call    CallID      `cbor:"1,keyasint"`
	Epoch   uint64      `cbor:"2,keyasint"`
	Records []LegRecord `cbor:"3,keyasint,omitempty"`
	Playing []Playing   `cbor:"30,keyasint,omitempty"` // the commands' own fields begin at 4
}

// Playing is a PlayPrompt that loops, carried out.
type Playing struct {
	Leg    LegID  `cbor:"1,keyasint"`
	Prompt string `cbor:"2,keyasint"`
}

// LegRecord is the SIP engine's serialised dialog and transactions of one leg.
type LegRecord struct {
	Leg    LegID  `cbor:"1,keyasint"`
	Record []byte `cbor:"2,keyasint"`
}

// Cluster facts.
type (
	// ConfigApplied replaces the routing configuration.
	ConfigApplied struct {
		Config Config `cbor:"1,keyasint"`
		// IfNone applies only while no configuration was ever applied.
		IfNone bool `cbor:"2,keyasint,omitempty"`
		// Source is the text the tree was read from, compressed by the proposer
		// and opaque to the machine; By and Comment say who applied it and why.
		Source  []byte `cbor:"3,keyasint,omitempty"`
		By      string `cbor:"4,keyasint,omitempty"`
		Comment string `cbor:"5,keyasint,omitempty"`
		// Base is the version it was made from; unless 0, another one now in
		// force refuses it.
		Base uint64 `cbor:"6,keyasint,omitempty"`
	}
	// Activated lets the machine behave as of Version from here on. A node that
	// does not know that version halts.
	Activated struct {
		Version uint32 `cbor:"1,keyasint"`
	}
	// HashReported says which state a router has after Index. A router whose
	// state is not the majority's is told to start over (Resync).
	HashReported struct {
		Owner Owner  `cbor:"1,keyasint"`
		Index uint64 `cbor:"2,keyasint"`
		Hash  []byte `cbor:"3,keyasint"` // of State.Hash, 32 bytes
	}
	// FactsConfirmed: the router's own file holds all facts up to Index.
	FactsConfirmed struct {
		Node  NodeID `cbor:"1,keyasint"`
		Index uint64 `cbor:"2,keyasint"`
	}
	// SinkConfirmed: the external sink holds all facts up to Index.
	SinkConfirmed struct {
		Sink  string `cbor:"1,keyasint"`
		Index uint64 `cbor:"2,keyasint"`
	}
	// NodeStarted says a routerd began a life. Calls of its earlier lives move
	// to survivors (or to the new life when there is no other node).
	// Result.Incarnation is the new life's.
	NodeStarted struct {
		Node NodeID `cbor:"1,keyasint"`
		SIP  string `cbor:"2,keyasint"` // host:port other parts reach its SIP at
		Peer string `cbor:"3,keyasint"` // host:port of its API for the other routers
		// Version is the highest version of behaviour it knows (MaxVersion of
		// its build); 0, as before there was the field, means 1.
		Version uint32 `cbor:"4,keyasint,omitempty"`
	}
	// NodeDied says one life of a routerd ended. A later life is not touched.
	NodeDied struct{ Owner }
	// WorkerStarted says a mediad began a life. Addresses are the virtual media
	// addresses it may host, in order of preference.
	WorkerStarted struct {
		Worker      WorkerID `cbor:"1,keyasint"`
		Incarnation uint64   `cbor:"2,keyasint"` // from the worker, grows with each start
		Control     string   `cbor:"3,keyasint"` // host:port of its TLS control port
		Replication string   `cbor:"4,keyasint"` // host:port its standby link listens on
		Addresses   []string `cbor:"5,keyasint"`
	}
	// WorkerDied says one life of a mediad ended: its media addresses move to
	// their standbys.
	WorkerDied struct {
		Worker      WorkerID `cbor:"1,keyasint"`
		Incarnation uint64   `cbor:"2,keyasint"`
	}
	// Ticked carries nothing but its stamp: it lets due timers fire.
	Ticked struct{}
)

// Call facts.
type (
	// CallArrived is a new INVITE on a trunk. Call is derived from Call-ID and
	// From-tag, so a repeat through another router is the same call. The
	// answer is in Result: Code is 0 when the call is taken (an AnswerCall
	// effect follows), otherwise the SIP code to refuse with.
	CallArrived struct {
		OnCall
		Owner Owner   `cbor:"4,keyasint"`
		Trunk TrunkID `cbor:"5,keyasint"`
		Edge  string  `cbor:"6,keyasint"`
		From  string  `cbor:"7,keyasint"` // caller number
		To    string  `cbor:"8,keyasint"` // dialled number
		SIPID string  `cbor:"9,keyasint"` // SIP Call-ID of the caller's leg, for the CDR
		// Diverting is the number first called, if the call was diverted before it
		// came here, and Diversion why (RFC 5806, RFC 7044).
		Diverting string `cbor:"60,keyasint,omitempty"`
		Diversion string `cbor:"61,keyasint,omitempty"`
	}
	// CallClaimed moves a call to Owner because its current owner can't be
	// reached. Epoch is the one the claimer saw; Result.Epoch is the new one.
	CallClaimed struct {
		OnCall
		Owner Owner `cbor:"4,keyasint"`
	}
	// LegProgressed is a provisional answer of a called leg: 180 or 183.
	LegProgressed struct {
		OnCall
		Leg  LegID `cbor:"4,keyasint"`
		Code int   `cbor:"5,keyasint"`
		// Trunk is the one that carries a dialled leg; empty: that of the leg.
		Trunk TrunkID `cbor:"60,keyasint,omitempty"`
	}
	// LegAnswered: the caller's leg gets its 200 (sent after this commits), or
	// a called leg sent one (acknowledged after this commits). If the Result of
	// a caller's is not Applied the 200 must not go out: the call is over.
	LegAnswered struct {
		OnCall
		Leg   LegID `cbor:"4,keyasint"`
		Media Media `cbor:"5,keyasint"`
		// Trunk is the one that took a dialled leg; empty: that of the leg.
		Trunk TrunkID `cbor:"60,keyasint,omitempty"`
		// Unheard: it was found by who took the call over that the leg, which was to
		// be cancelled for that, had been answered before.
		Unheard bool `cbor:"90,keyasint,omitempty"`
	}
	// LegFailed: a called leg was refused, timed out or was cancelled, or the
	// caller's leg could not be answered. Code is the SIP code (408 for none).
	LegFailed struct {
		OnCall
		Leg    LegID  `cbor:"4,keyasint"`
		Code   int    `cbor:"5,keyasint"`
		Reason string `cbor:"6,keyasint,omitempty"`
	}
	// LegEnded: an answered or arriving leg is over.
	LegEnded struct {
		OnCall
		Leg   LegID  `cbor:"4,keyasint"`
		Cause string `cbor:"5,keyasint"` // bye, cancel, hangup (ours), timeout, expired, media
	}
	// LegUpdated only replaces records: ACK, target refresh, session refresh.
	LegUpdated struct{ OnCall }
	// LegHeld: the far end of an answered leg put it on hold (sendonly, inactive
	// or 0.0.0.0). LegResumed: it took it back. Both go with the answer to the
	// offer that said so.
	LegHeld struct {
		OnCall
		Leg LegID `cbor:"4,keyasint"`
	}
	LegResumed struct {
		OnCall
		Leg LegID `cbor:"4,keyasint"`
	}
	// PromptStarted reports a PlayPrompt carried out. Duration is 0 for an
	// endless prompt. Failed lets the call go on without it.
	PromptStarted struct {
		OnCall
		Leg      LegID         `cbor:"4,keyasint"`
		Prompt   string        `cbor:"5,keyasint"`
		Duration time.Duration `cbor:"6,keyasint"`
		Failed   bool          `cbor:"7,keyasint,omitempty"`
	}
	// DigitsCollected: a party dialled, by SIP INFO or RFC 4733; in order, each
	// digit once.
	DigitsCollected struct {
		OnCall
		Leg    LegID  `cbor:"4,keyasint"`
		Digits string `cbor:"5,keyasint"` // of 0-9 * # A-D
	}
	// CallTagged puts what another system knows onto the call's card: keys that
	// are there already are replaced, an empty value removes one.
	CallTagged struct {
		OnCall
		Card []Attr `cbor:"4,keyasint"`
	}
	// CallTransferred: the agent gives the call away. It keeps its ticket.
	CallTransferred struct {
		OnCall
		Agent  AgentID `cbor:"4,keyasint"`           // who talks now
		To     Target  `cbor:"5,keyasint"`           // exactly one of its fields
		Reason string  `cbor:"6,keyasint,omitempty"` // who calls and why (I7), for the far agent's card
	}
	// AgentDialled is an INVITE from an agent's phone. Call is derived as a caller's
	// is. Beside is the open call that the agent talks in, empty for none: the new
	// one belongs to the same owner. The answer is in Result: Code 0, and the leg's
	// id in Leg, when the call is taken, otherwise the SIP code to refuse with.
	AgentDialled struct {
		OnCall
		Owner  Owner   `cbor:"4,keyasint"`
		Agent  AgentID `cbor:"5,keyasint"`
		To     string  `cbor:"6,keyasint"` // as dialled: an agent, a queue or a number
		Beside CallID  `cbor:"7,keyasint,omitempty"`
		Edge   string  `cbor:"8,keyasint"`
		SIPID  string  `cbor:"9,keyasint"`
		Record []byte  `cbor:"10,keyasint"` // of its leg, which has no id yet
		Nonce  string  `cbor:"11,keyasint"` // of its digest, as with BindingsChanged
		Count  uint32  `cbor:"12,keyasint"`
	}
	// CallsJoined: an agent's REFER on Leg names, by Replaces, the agent's other leg
	// With, of the same call or one beside it: the two others are to talk.
	CallsJoined struct {
		OnCall
		Leg    LegID  `cbor:"4,keyasint"`
		With   LegID  `cbor:"5,keyasint"`
		Reason string `cbor:"6,keyasint,omitempty"`
	}
	// CallPickedUp is an INVITE with Replaces from an agent's phone, naming the dialog
	// of Leg (RFC 3891). As is the call that the INVITE alone would be, derived as a
	// caller's is. The answer is in Result, as that of AgentDialled.
	CallPickedUp struct {
		OnCall
		Leg       LegID   `cbor:"4,keyasint"`
		As        CallID  `cbor:"5,keyasint"`
		Agent     AgentID `cbor:"6,keyasint"`           // who picks it up
		EarlyOnly bool    `cbor:"7,keyasint,omitempty"` // only while it rings
		Edge      string  `cbor:"8,keyasint"`
		SIPID     string  `cbor:"9,keyasint"`
		Record    []byte  `cbor:"10,keyasint"` // of the new leg, which has no id yet
		Nonce     string  `cbor:"11,keyasint"` // of its digest, as with BindingsChanged
		Count     uint32  `cbor:"12,keyasint"`
	}
	// CallReferred: the far end of a leg asks by REFER that the other one be
	// connected with To: an agent, a queue or a number, as in the user part of the
	// Refer-To. The far end stays on the line until that has come to something.
	CallReferred struct {
		OnCall
		Leg    LegID  `cbor:"4,keyasint"`
		To     string `cbor:"5,keyasint"`
		Reason string `cbor:"6,keyasint,omitempty"` // for the far agent's card
	}
	// CallSupervised: a supervisor listens in on the agent who talks in the call,
	// whispers or joins; ends that (ModeNone), or takes the call over (ModeTake).
	// The first rings the supervisor's phone.
	CallSupervised struct {
		OnCall
		Supervisor AgentID         `cbor:"4,keyasint"`
		Mode       SupervisionMode `cbor:"5,keyasint"`
	}
	// CallbackRequested turns a waiting call into a promised callback.
	CallbackRequested struct {
		OnCall
		Number string `cbor:"4,keyasint,omitempty"` // E.164; empty: the caller's
	}
	// DialogsAudited lists the legs of the owner's calls that no live dialog
	// supports: the machine takes them for over.
	DialogsAudited struct {
		Owner   Owner    `cbor:"1,keyasint"`
		Missing []LegRef `cbor:"2,keyasint"`
	}
)

// Target is where a call is transferred: exactly one field is set.
type Target struct {
	Queue  QueueID `cbor:"1,keyasint,omitempty"`
	Agent  AgentID `cbor:"2,keyasint,omitempty"`
	Chain  ChainID `cbor:"3,keyasint,omitempty"`
	Number string  `cbor:"4,keyasint,omitempty"` // E.164, over the outbound trunks
}

// LegRef names a leg under the call's epoch.
type LegRef struct {
	Call  CallID `cbor:"1,keyasint"`
	Epoch uint64 `cbor:"2,keyasint"`
	Leg   LegID  `cbor:"3,keyasint"`
}

// Facts about the way out.
type (
	// TrunkStateChanged says how the way to a trunk by one edge is, as found by
	// asking its SBC. An empty State forgets the edge.
	TrunkStateChanged struct {
		Trunk TrunkID   `cbor:"1,keyasint"`
		Edge  string    `cbor:"2,keyasint"`
		State LinkState `cbor:"3,keyasint"`
		Cause string    `cbor:"4,keyasint,omitempty"`
	}
	// LinkAlarmChanged raises or clears an alarm about the speech of a trunk's
	// calls, as measured by all workers together (T9). Numbers are called over
	// trunks with an alarm only after the others.
	LinkAlarmChanged struct {
		Trunk     TrunkID   `cbor:"1,keyasint"`
		Kind      AlarmKind `cbor:"2,keyasint"`
		Direction Direction `cbor:"3,keyasint"`
		Raised    bool      `cbor:"4,keyasint,omitempty"` // false: cleared
		Value     int64     `cbor:"5,keyasint,omitempty"` // in the kind's unit
		Limit     int64     `cbor:"6,keyasint,omitempty"`
		Cause     string    `cbor:"7,keyasint,omitempty"` // of clearing: good, not-measured, not-watched
	}
)

// Facts about outbound tasks (N10, N11).
type (
	// TaskCreated asks for a call to a customer. At Due it gets a ticket in
	// Queue; at the head of the line an agent is reserved, the customer dialled
	// and the two connected. A call from that number meanwhile cancels it, and
	// its card goes onto that call's. A repeat of ID changes nothing.
	TaskCreated struct {
		ID       TaskID        `cbor:"1,keyasint"`
		Number   string        `cbor:"2,keyasint"` // E.164
		Queue    QueueID       `cbor:"3,keyasint"`
		Due      Time          `cbor:"4,keyasint"` // in the past: now
		Expire   Time          `cbor:"5,keyasint"` // 0: 24 h after Due
		Priority int           `cbor:"6,keyasint,omitempty"`
		Attempts int           `cbor:"7,keyasint,omitempty"` // 0: 3
		Retry    time.Duration `cbor:"8,keyasint,omitempty"` // 0: 5 min
		Card     []Attr        `cbor:"9,keyasint,omitempty"`
	}
	// TaskCancelled ends a task that is not connected yet.
	TaskCancelled struct {
		ID     TaskID `cbor:"1,keyasint"`
		Reason string `cbor:"2,keyasint,omitempty"`
	}
)

// Agent facts.
type (
	// WrapUpSet moves the end of an agent's wrap-up to Remaining from now; 0
	// ends it. It is bounded by the queue's WrapUpMax since the wrap-up began.
	WrapUpSet struct {
		Agent     AgentID       `cbor:"1,keyasint"`
		Remaining time.Duration `cbor:"2,keyasint"`
	}
	// HelpAsked: an agent asks supervisors for help, or (not On) takes that back.
	HelpAsked struct {
		Agent  AgentID `cbor:"1,keyasint"`
		On     bool    `cbor:"2,keyasint,omitempty"`
		Reason string  `cbor:"3,keyasint,omitempty"`
	}
	// AgentStatusSet is an agent's (or supervisor's) choice.
	AgentStatusSet struct {
		Agent  AgentID     `cbor:"1,keyasint"`
		Status AgentStatus `cbor:"2,keyasint"`
		Reason string      `cbor:"3,keyasint,omitempty"`
	}
	// RegistrationChanged is an accepted REGISTER. Expires 0 removes the
	// contact; an empty Contact.URI with Expires 0 removes all ("*").
	RegistrationChanged struct {
		Agent   AgentID       `cbor:"1,keyasint"`
		Contact Contact       `cbor:"2,keyasint"`
		Expires time.Duration `cbor:"3,keyasint"`
	}
	// BindingsChanged is an accepted REGISTER whole: all of it happens or nothing
	// (RFC 3261 section 10.3 step 7). All is "Contact: *", which removes what
	// there is. Nonce and Count are of its digest: a second use of them is
	// refused, unless it says the same.
	BindingsChanged struct {
		Agent    AgentID   `cbor:"1,keyasint"`
		SIPID    string    `cbor:"2,keyasint"` // Call-ID
		CSeq     uint32    `cbor:"3,keyasint"`
		Bindings []Binding `cbor:"4,keyasint,omitempty"`
		All      bool      `cbor:"5,keyasint,omitempty"`
		Nonce    string    `cbor:"6,keyasint,omitempty"`
		Count    uint32    `cbor:"7,keyasint,omitempty"`
	}
)

// Binding is a contact and for how long; 0 removes it. Its SIPID, CSeq and
// ExpiresAt are set by the machine.
type Binding struct {
	Contact Contact       `cbor:"1,keyasint"`
	Expires time.Duration `cbor:"2,keyasint"`
}

// Media says where a leg's media lives and what was negotiated.
type Media struct {
	Address string `cbor:"1,keyasint"` // the virtual media address, see MediaAddress
	Codec   string `cbor:"2,keyasint"` // PCMA, PCMU, opus
	Suite   string `cbor:"3,keyasint"` // RFC 4568 name
}

// Contact is one registered binding of an agent (RFC 3261 section 10, RFC 5626).
type Contact struct {
	URI       string   `cbor:"1,keyasint"`
	Path      []string `cbor:"2,keyasint,omitempty"` // RFC 3327
	Instance  string   `cbor:"3,keyasint,omitempty"` // +sip.instance
	RegID     int      `cbor:"4,keyasint,omitempty"` // reg-id
	SIPID     string   `cbor:"5,keyasint"`           // Call-ID of the REGISTER
	CSeq      uint32   `cbor:"6,keyasint"`
	UserAgent string   `cbor:"7,keyasint,omitempty"`
	ExpiresAt Time     `cbor:"8,keyasint"` // set by the machine
}

func (ConfigApplied) isCommand()       {}
func (NodeStarted) isCommand()         {}
func (NodeDied) isCommand()            {}
func (WorkerStarted) isCommand()       {}
func (WorkerDied) isCommand()          {}
func (Ticked) isCommand()              {}
func (CallArrived) isCommand()         {}
func (CallClaimed) isCommand()         {}
func (LegProgressed) isCommand()       {}
func (LegAnswered) isCommand()         {}
func (LegFailed) isCommand()           {}
func (LegEnded) isCommand()            {}
func (LegUpdated) isCommand()          {}
func (PromptStarted) isCommand()       {}
func (AgentStatusSet) isCommand()      {}
func (RegistrationChanged) isCommand() {}
func (LegHeld) isCommand()             {}
func (LegResumed) isCommand()          {}
func (DigitsCollected) isCommand()     {}
func (CallTagged) isCommand()          {}
func (CallTransferred) isCommand()     {}
func (CallReferred) isCommand()        {}
func (AgentDialled) isCommand()        {}
func (CallsJoined) isCommand()         {}
func (CallPickedUp) isCommand()        {}
func (CallbackRequested) isCommand()   {}
func (TaskCreated) isCommand()         {}
func (TaskCancelled) isCommand()       {}
func (WrapUpSet) isCommand()           {}
func (DialogsAudited) isCommand()      {}
func (HashReported) isCommand()        {}
func (Activated) isCommand()           {}
func (FactsConfirmed) isCommand()      {}
func (SinkConfirmed) isCommand()       {}
func (TrunkStateChanged) isCommand()   {}
func (LinkAlarmChanged) isCommand()    {}
func (CallSupervised) isCommand()      {}
func (HelpAsked) isCommand()           {}
func (BindingsChanged) isCommand()     {}
