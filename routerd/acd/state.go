package acd

import "time"

// State is the whole state of a Machine as plain data: what a snapshot holds
// and what Hash covers. It shares nothing with the machine that the machine
// would change, so it can be read beside Apply.
type State struct {
	Index      uint64      `cbor:"1,keyasint"` // of the last command applied
	Now        Time        `cbor:"2,keyasint"`
	Configured bool        `cbor:"3,keyasint"`
	Config     Config      `cbor:"4,keyasint"`
	Tickets    uint64      `cbor:"5,keyasint"` // the last one given
	Nodes      []Node      `cbor:"6,keyasint"`
	Workers    []Worker    `cbor:"7,keyasint"`
	Media      []MediaHost `cbor:"8,keyasint"`
	Agents     []AgentInfo `cbor:"9,keyasint"`
	Closed     []*Closed   `cbor:"10,keyasint"`
	Sessions   []Session   `cbor:"11,keyasint"`
	Timers     []*Timer    `cbor:"12,keyasint"`
	NoOps      []Count     `cbor:"13,keyasint"`
	FactsFirst uint64      `cbor:"14,keyasint"` // how many facts were dropped before Facts
	FactsSum   uint64      `cbor:"15,keyasint"` // chained over all facts there ever were

	Version   uint32          `cbor:"16,keyasint"` // of behaviour, see Activated
	Configs   []ConfigVersion `cbor:"17,keyasint"` // the last ones, newest last
	Retired   []Queue         `cbor:"18,keyasint"` // no longer configured, but calls are in them
	Tasks     []Task          `cbor:"19,keyasint"`
	Confirmed []Confirmation  `cbor:"20,keyasint"` // of facts, by router
	Sinks     []Confirmation  `cbor:"21,keyasint"` // of facts, by external sink
	Hashes    []HashReport    `cbor:"22,keyasint"` // of the last indexes, by index and router
	FactsGone uint64          `cbor:"23,keyasint"` // log index of the last fact dropped before Facts
	Estimates []Estimate      `cbor:"27,keyasint"` // by queue
	OverTasks []OverTask      `cbor:"28,keyasint"` // oldest first

	Spoken  [][]byte `cbor:"26,keyasint"` // who spoke with whom, see spokenLog; shared like the facts
	Cursors []Cursor `cbor:"24,keyasint"` // of round-robin
	Loads   []Load   `cbor:"25,keyasint"` // of least-busy

	RetiredSeats     []RetiredSeat `cbor:"32,keyasint"` // by queue and agent
	RetiredChains    []Chain       `cbor:"33,keyasint"` // no longer configured, but what is retired or a call leads there
	RetiredCalendars []Calendar    `cbor:"34,keyasint"`

	Ways []Way `cbor:"60,keyasint,omitempty"` // by trunk

	// The two parts that grow; acdwire writes them one by one. Both are shared
	// with the machine and never change: it copies a call before it changes one.
	Calls []*Call  `cbor:"-"`
	Facts [][]byte `cbor:"-"` // see factWriter
}

// ConfigVersion is a configuration that was applied.
type ConfigVersion struct {
	Version uint64 `cbor:"1,keyasint"` // 1, 2, ...
	Index   uint64 `cbor:"2,keyasint"`
	At      Time   `cbor:"3,keyasint"`
	By      string `cbor:"4,keyasint"`
	Comment string `cbor:"5,keyasint"`
	Source  []byte `cbor:"6,keyasint"` // as ConfigApplied brought it
}

// RetiredSeat is the place of an agent in a queue that is no longer configured:
// as long as calls wait there the agents serve it as they did.
type RetiredSeat struct {
	Agent AgentID `cbor:"1,keyasint"`
	Seat  Seat    `cbor:"2,keyasint"`
}

// TaskState is where a task is in its life.
type TaskState string

// Task states. A task that is over is forgotten; facts tell its outcome.
const (
	TaskScheduled TaskState = "scheduled" // not due yet
	TaskCalling   TaskState = "calling"   // its call waits, dials or retries
)

// Task is an outbound task that is not over.
type Task struct {
	ID       TaskID        `cbor:"1,keyasint"`
	State    TaskState     `cbor:"2,keyasint"`
	Number   string        `cbor:"3,keyasint"`
	Queue    QueueID       `cbor:"4,keyasint"`
	Due      Time          `cbor:"5,keyasint"`
	Expire   Time          `cbor:"6,keyasint"`
	Priority int           `cbor:"7,keyasint"`
	Attempts int           `cbor:"8,keyasint"` // at most
	Retry    time.Duration `cbor:"9,keyasint"`
	Card     []Attr        `cbor:"10,keyasint"`
	Call     CallID        `cbor:"11,keyasint"` // while calling
}

// Confirmation is how far a reader of the facts has come.
type Confirmation struct {
	Reader string `cbor:"1,keyasint"`
	Index  uint64 `cbor:"2,keyasint"`
}

// HashReport is what one router said of its state.
type HashReport struct {
	Owner Owner  `cbor:"1,keyasint"`
	Index uint64 `cbor:"2,keyasint"`
	Hash  []byte `cbor:"3,keyasint"`
}

// Node is a routerd, dead or alive.
type Node struct {
	ID          NodeID `cbor:"1,keyasint"`
	Incarnation uint64 `cbor:"2,keyasint"` // of its latest life
	Alive       bool   `cbor:"3,keyasint"`
	SIP         string `cbor:"4,keyasint"`
	Peer        string `cbor:"5,keyasint"`
	Died        Time   `cbor:"6,keyasint,omitempty"` // when its latest life ended; 0: it lives
	Version     uint32 `cbor:"7,keyasint"`           // of behaviour, the highest it knows
	Agreed      uint64 `cbor:"8,keyasint"`           // last index at which its state was known to be the majority's
	Diverged    uint64 `cbor:"9,keyasint"`           // last index at which it was not, or there was no majority; 0: agreed since
}

// Worker is a mediad, dead or alive.
type Worker struct {
	ID          WorkerID `cbor:"1,keyasint"`
	Incarnation uint64   `cbor:"2,keyasint"` // of its latest life
	Alive       bool     `cbor:"3,keyasint"`
	Control     string   `cbor:"4,keyasint"`
	Replication string   `cbor:"5,keyasint"`
	Addresses   []string `cbor:"6,keyasint"` // its own, in order of preference
	// Home is the one of Addresses it hosts and new calls use; empty while
	// others still carry calls on all of them.
	Home string `cbor:"7,keyasint"`
}

// MediaHost says which life of which worker hosts a media address. Addresses
// that no live worker hosts are not in the table.
type MediaHost struct {
	Address            string   `cbor:"1,keyasint"`
	Worker             WorkerID `cbor:"2,keyasint"`
	Incarnation        uint64   `cbor:"3,keyasint"`
	Standby            WorkerID `cbor:"4,keyasint"` // empty: none
	StandbyIncarnation uint64   `cbor:"5,keyasint"`
	Epoch              uint64   `cbor:"6,keyasint"` // log index of the last change
	Calls              int      `cbor:"7,keyasint"` // open calls that use it
}

// CallState is where a call is in its life.
type CallState string

// Call states.
const (
	CallArriving CallState = "arriving" // being answered
	CallGreeting CallState = "greeting"
	CallWaiting  CallState = "waiting" // in its queue, perhaps under offer to an agent
	CallTalking  CallState = "talking"
	CallEnding   CallState = "ending"   // over, but not all legs have reported their end
	CallHunting  CallState = "hunting"  // a chain's steps are tried
	CallRetrying CallState = "retrying" // a customer could not be reached; out of the line until the next attempt
	CallLeaving  CallState = "leaving"  // hears a last prompt; its outcome is settled
)

// Who ended a call.
const (
	ByCaller = "caller"
	ByAgent  = "agent"
	ByParty  = "party" // somebody outside, see RoleParty
	BySystem = "system"
)

// Causes the machine itself ends calls and legs for; others come from LegEnded
// and LegFailed.
const (
	CauseAnswerTimeout = "answer-timeout" // AnswerCall was never reported
	CauseMaxWait       = "max-wait"
	CauseQueueFull     = "queue-full"
	CauseClosed        = "closed"       // its queue's calendar
	CauseJoinEmpty     = "join-empty"   // nobody served the queue when it came
	CauseLeaveEmpty    = "leave-empty"  // nobody served the queue any more
	CauseNotAdmitted   = "not-admitted" // its queue was over one of its limits
	CauseExitKey       = "exit-key"
	CauseCallback      = "callback"  // the leg of a caller who was promised one
	CauseUnreached     = "unreached" // a callback's or task's customer, at the last attempt
	CauseExpired       = "expired"   // the time of a callback or task
	CauseCalledIn      = "called-in" // a callback's or task's customer called first
	CauseCancelled     = "cancelled" // a task
	CauseNoChannel     = "no-channel"
	CauseNoQueue       = "no-queue" // a task's queue is configured no longer
	CauseMedia         = "media"    // its media address has no live worker
	CauseFailed        = "failed"
	CauseNobody        = "nobody"      // nobody of a chain answered
	CauseTransferred   = "transferred" // of the leg of the agent who gave the call away
	CauseJoined        = "joined"      // of a consultation: whom it reached talks with the customer now
	CauseLost          = "lost"        // the end of a leg was never reported
	CauseNoDialog      = "no-dialog"   // an audit found that the leg's owner has no dialog for it
	CauseRingTimeout   = "no-answer"   // nobody answered in time
	CauseElsewhere     = "elsewhere"   // another device or agent answered
	CauseDeclined      = "declined"    // another device of the agent refused for all of them
	CauseTakeover      = "takeover"    // the leg of an offer that goes on as another
	CausePickedUp      = "picked-up"   // of the leg whose agent another took the conversation from
	CauseCrossed       = "crossed"     // answered while being cancelled
	CauseNoPhone       = "no-phone"    // an offer can't go on: the agent has no contact left
	CauseNodeDied      = "node-died"   // a takeover
	CauseRestarted     = "restarted"   // a takeover: the node began a new life
	CauseClaimed       = "claimed"     // a takeover by CallClaimed
	CauseRONA          = "rona"        // reason of OnBreak after too many missed offers
	CauseAutomatic     = "registered"  // reason of a status set by AutoAvailable
	CauseUnregistered  = "unregistered"
	CauseSupervisor    = "supervisor" // the supervisor ended it
	CauseAgentGone     = "agent-gone" // of supervision: the agent has let the call go
	CauseTakenOver     = "taken-over" // of the leg of the agent whose call a supervisor took
	CauseSupervised    = "supervised" // of help: a supervisor is on the line
	CauseTakenBack     = "taken-back" // of help
	CauseCallOver      = "call-over"  // of help
)

// Call is an open call.
type Call struct {
	ID       CallID        `cbor:"1,keyasint"`
	Owner    Owner         `cbor:"2,keyasint"`
	Epoch    uint64        `cbor:"3,keyasint"`
	State    CallState     `cbor:"4,keyasint"`
	Trunk    TrunkID       `cbor:"5,keyasint"`
	Edge     string        `cbor:"6,keyasint"`
	From     string        `cbor:"7,keyasint"`
	To       string        `cbor:"8,keyasint"`
	SIPID    string        `cbor:"9,keyasint"`
	Greeting string        `cbor:"10,keyasint"` // of the number, when it arrived
	Queue    QueueID       `cbor:"11,keyasint"` // where it goes, or went
	Ticket   uint64        `cbor:"12,keyasint"` // order of arrival in queues; 0 before
	Arrived  Time          `cbor:"13,keyasint"`
	Answered Time          `cbor:"14,keyasint"` // the caller's 200
	Enqueued Time          `cbor:"15,keyasint"`
	Bridged  Time          `cbor:"16,keyasint"` // an agent answered
	Ended    Time          `cbor:"17,keyasint"` // the conversation or the wait was over
	Agent    AgentID       `cbor:"18,keyasint"` // talking, the one who served it, or reserved for it; those under offer are in Legs
	AgentLeg LegID         `cbor:"19,keyasint"` // of the conversation, else empty
	Offers   int           `cbor:"20,keyasint"` // how many were made
	LastLeg  uint32        `cbor:"21,keyasint"` // number of the newest leg
	Prompt   Prompt        `cbor:"22,keyasint"` // last ordered for the caller
	Media    []string      `cbor:"23,keyasint"` // addresses it uses, oldest first
	WrapUp   time.Duration `cbor:"24,keyasint"` // of its queue, when the agent answered
	By       string        `cbor:"25,keyasint"` // who ended it
	Cause    string        `cbor:"26,keyasint"` // why it ended
	Legs     []Leg         `cbor:"27,keyasint"` // in order of their start

	Caller   LegID   `cbor:"28,keyasint"` // the customer's leg now; empty while a callback or task waits
	Outbound bool    `cbor:"29,keyasint"` // a task's: we call
	Number   string  `cbor:"30,keyasint"` // the customer's, to call; empty for a caller
	Priority int     `cbor:"31,keyasint"`
	Needs    []Skill `cbor:"32,keyasint"` // beside the queue's
	Card     []Attr  `cbor:"33,keyasint"` // by key

	// Of waiting.
	Joined   Time          `cbor:"34,keyasint"` // this queue; Enqueued is the ticket's
	Ring     int           `cbor:"35,keyasint"` // of the queue's Rings, how many were reached
	Sticky   AgentID       `cbor:"36,keyasint"` // kept for this agent; empty: for no one
	Until    Time          `cbor:"37,keyasint"` // the longest it may wait; 0: no limit
	ToldP50  time.Duration `cbor:"38,keyasint"` // remaining wait last announced
	ToldP90  time.Duration `cbor:"39,keyasint"`
	GuessP50 time.Duration `cbor:"40,keyasint"` // whole wait estimated when it joined, for calibration
	GuessP90 time.Duration `cbor:"41,keyasint"`
	Offered  bool          `cbor:"42,keyasint"` // a callback was

	// Of callbacks and tasks.
	Callback bool   `cbor:"43,keyasint"`
	Task     TaskID `cbor:"44,keyasint"`
	Attempts int    `cbor:"45,keyasint"`
	Expire   Time   `cbor:"46,keyasint"`

	// Of chains.
	Chain ChainID `cbor:"47,keyasint"`
	Step  int     `cbor:"48,keyasint"`

	Moves        int           `cbor:"55,keyasint"` // from queue to queue or chain by rules
	ToldPosition int           `cbor:"56,keyasint"` // announced last in this queue; 0: none
	WrapUpMax    time.Duration `cbor:"61,keyasint"` // like WrapUp: up to which the agent may extend it
	Hunt         Chain         `cbor:"62,keyasint"` // what is tried, as it was when it began
	Awaits       AgentID       `cbor:"63,keyasint"` // the step's agent is busy and waited for
	Transfers    int           `cbor:"64,keyasint"`
	Parted       Time          `cbor:"65,keyasint"` // an agent gave it away last; 0: never

	Referral Referral `cbor:"66,keyasint,omitzero"`  // the last transfer by REFER
	Dialler  AgentID  `cbor:"67,keyasint,omitempty"` // whose phone it came from; empty: no agent's
	Root     CallID   `cbor:"68,keyasint,omitempty"` // beside which it stands; empty: none
	Beside   []CallID `cbor:"69,keyasint,omitempty"` // that stand beside it, by age
	Owes     bool     `cbor:"70,keyasint,omitempty"` // its dialler has the wrap-up of an earlier call before it

	Holds   int           `cbor:"90,keyasint,omitempty"` // of all its legs
	HeldFor time.Duration `cbor:"91,keyasint,omitempty"` // likewise, those that are over

	Supervision Supervision `cbor:"92,keyasint,omitzero"`
}

// Prompt is what a leg was ordered to hear.
type Prompt struct {
	Name    string `cbor:"1,keyasint"`
	Loop    bool   `cbor:"2,keyasint"`
	Started bool   `cbor:"3,keyasint"` // PromptStarted came in
}

// Role is whose a leg is.
type Role string

// Roles.
const (
	RoleCaller Role = "caller"
	RoleAgent  Role = "agent"
	RoleParty  Role = "party"   // somebody outside, called for the customer: of a chain or a transfer
	RolePickUp Role = "pick-up" // an agent's who picks the call up, until that is answered; then RoleAgent

	RoleSupervisor Role = "supervisor" // hears a conversation, see Supervision
)

// LegState is where a leg is in its life.
type LegState string

// Leg states.
const (
	LegNew        LegState = "new" // INVITE in or ordered, no answer yet
	LegRinging    LegState = "ringing"
	LegUp         LegState = "up"
	LegCancelling LegState = "cancelling" // CancelRing was ordered
	LegEnding     LegState = "ending"     // Hangup was ordered
	LegOver       LegState = "ended"
)

// Leg is one leg of an open call.
type Leg struct {
	ID       LegID     `cbor:"1,keyasint"`
	Role     Role      `cbor:"2,keyasint"`
	State    LegState  `cbor:"3,keyasint"`
	Agent    AgentID   `cbor:"4,keyasint"`
	Media    Media     `cbor:"5,keyasint"`
	Ring     EffectID  `cbor:"6,keyasint"` // the RingAgent that began it: its SIP ids derive from it
	Contacts []Contact `cbor:"7,keyasint"` // those RingAgent named, until the leg is answered or over
	Started  Time      `cbor:"8,keyasint"`
	Answered Time      `cbor:"9,keyasint"`
	Code     int       `cbor:"10,keyasint"` // of the Hangup ordered, or of the failure
	Cause    string    `cbor:"11,keyasint"` // likewise
	Record   []byte    `cbor:"12,keyasint"` // the SIP engine's, see LegRecord
	Trunk    TrunkID   `cbor:"13,keyasint"` // whose channel it takes; empty for agents
	Number   string    `cbor:"14,keyasint"` // dialled
	Offer    int       `cbor:"15,keyasint"` // Call.Offers when it was made: the devices of one agent share it

	RingFor time.Duration `cbor:"16,keyasint"`           // how long it may ring
	Send    string        `cbor:"20,keyasint,omitempty"` // keys for who answers, by a DialRule

	Held      Time          `cbor:"40,keyasint,omitempty"` // its far end holds since; 0: not
	HeldFor   time.Duration `cbor:"41,keyasint,omitempty"` // all its holds that are over
	Holds     int           `cbor:"42,keyasint,omitempty"`
	HoldMusic string        `cbor:"43,keyasint,omitempty"` // that the other party was ordered to hear
	HoldHeard bool          `cbor:"44,keyasint,omitempty"` // and does

	Replaces  LegID `cbor:"90,keyasint,omitempty"` // of a pick-up: what it is to replace
	EarlyOnly bool  `cbor:"91,keyasint,omitempty"` // likewise: it rang, and is not taken from who answers meanwhile
}

// AgentInfo is what the machine knows of an agent beyond the configuration.
type AgentInfo struct {
	ID        AgentID     `cbor:"1,keyasint"`
	Status    AgentStatus `cbor:"2,keyasint"`
	Reason    string      `cbor:"3,keyasint"` // of the status
	State     AgentState  `cbor:"4,keyasint"`
	Since     Time        `cbor:"5,keyasint"`  // in this state
	IdleSince Time        `cbor:"6,keyasint"`  // last call ended or became available: the rank of longest-idle
	Missed    int         `cbor:"7,keyasint"`  // offers in a row
	Call      CallID      `cbor:"8,keyasint"`  // under offer or talking, else empty
	Leg       LegID       `cbor:"9,keyasint"`  // of the conversation, or the first of the live offer's; empty while only reserved
	Draining  int         `cbor:"10,keyasint"` // legs whose end is ordered but not reported; no offers until 0
	BackOff   Time        `cbor:"11,keyasint"` // no offers of queues before; 0: none
	Contacts  []Contact   `cbor:"12,keyasint"` // most recently registered first
	Deleted   bool        `cbor:"13,keyasint"` // no longer configured; kept until its last leg is over

	Pending       AgentStatus `cbor:"14,keyasint"` // asked for during a call, takes effect after it; empty: none
	PendingReason string      `cbor:"15,keyasint"`
	WrapUpEnds    Time        `cbor:"16,keyasint"` // at most, with all extensions; 0: not wrapping up

	Nonces  []NonceUse `cbor:"60,keyasint,omitempty"` // of its last REGISTERs, oldest first
	Consult CallID     `cbor:"17,keyasint,omitempty"` // dialled beside Call

	Help       Time   `cbor:"18,keyasint,omitempty"` // asks for it since; 0: does not
	HelpReason string `cbor:"19,keyasint,omitempty"`

	// From the configuration, filled in by the accessors.
	Name   string    `cbor:"-"`
	Queues []QueueID `cbor:"-"`
}

// Closed remembers a call that is over, for as long as a repeat of its INVITE
// may come in and so that its Release can be given to another owner.
type Closed struct {
	Call  CallID   `cbor:"1,keyasint"`
	Owner Owner    `cbor:"2,keyasint"`
	Epoch uint64   `cbor:"3,keyasint"`
	Media []string `cbor:"4,keyasint"`
	Root  CallID   `cbor:"5,keyasint,omitempty"` // beside which it stood
	// Moved: it never was a call, see callPickedUp. Its leg is Root's, as long as
	// which it is remembered.
	Moved bool `cbor:"6,keyasint,omitempty"`
}

// Session is what makes a proposer's repeats harmless.
type Session struct {
	ID      string   `cbor:"1,keyasint"`
	Floor   uint64   `cbor:"2,keyasint"`
	Used    Time     `cbor:"3,keyasint"`
	Answers []Answer `cbor:"4,keyasint"` // by Seq, none below Floor
}

// Answer is the cached result of one proposal.
type Answer struct {
	Seq    uint64 `cbor:"1,keyasint"`
	Result Result `cbor:"2,keyasint"`
}

// Count is how many commands changed nothing for one reason.
type Count struct {
	Reason string `cbor:"1,keyasint"`
	N      uint64 `cbor:"2,keyasint"`
}
