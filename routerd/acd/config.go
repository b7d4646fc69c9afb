package acd

import "time"

// Config is the replicated routing tree: what the operator of the centre
// writes in routing.yaml. It is applied whole or not at all.
type Config struct {
	Trunks      []Trunk    `cbor:"1,keyasint" yaml:"trunks"`
	MaxChannels int        `cbor:"2,keyasint" yaml:"max_channels"` // all trunks together (T8); 0: no limit
	Numbers     []Number   `cbor:"3,keyasint" yaml:"numbers"`
	Queues      []Queue    `cbor:"4,keyasint" yaml:"queues"`
	Agents      []Agent    `cbor:"5,keyasint" yaml:"agents"`
	Skills      []SkillID  `cbor:"6,keyasint,omitempty" yaml:"skills"` // all there are, so that a misspelt one is found
	Calendars   []Calendar `cbor:"7,keyasint,omitempty" yaml:"calendars"`
	Chains      []Chain    `cbor:"8,keyasint,omitempty" yaml:"chains"`
	Outbound    Outbound   `cbor:"9,keyasint,omitzero" yaml:"outbound"`
	HoldMusic   string     `cbor:"40,keyasint,omitempty" yaml:"hold_music"` // for whom the other party holds; empty: the queue's music
}

// Trunk is one SBC link, or a group of SBCs that are one to us.
type Trunk struct {
	ID       TrunkID `cbor:"1,keyasint" yaml:"id"`
	Channels int     `cbor:"2,keyasint" yaml:"channels"` // concurrent calls, both ways (T8); 0: no limit

	Rate   int      `cbor:"3,keyasint,omitempty" yaml:"calls_per_second"` // new ones, both ways; 0: no limit
	Burst  int      `cbor:"4,keyasint,omitempty" yaml:"burst"`            // calls at once, after a pause; 0: one second's
	Codecs []string `cbor:"5,keyasint,omitempty" yaml:"codecs"`           // allowed on its calls, the preferred first; empty: all

	// Of the trunks a number can be called over, those of the lowest Priority are
	// tried first. Those that share a priority take turns by Weight; without any
	// weight they are tried in the order of Outbound.Trunks.
	Priority int `cbor:"6,keyasint,omitempty" yaml:"priority"`
	Weight   int `cbor:"7,keyasint,omitempty" yaml:"weight"`

	// NumbersIn make E.164 numbers of what the SBC writes, NumbersOut what it
	// wants of ours; the first rule that matches is followed.
	NumbersIn  []NumberRule `cbor:"8,keyasint,omitempty" yaml:"numbers_in"`
	NumbersOut []NumberRule `cbor:"9,keyasint,omitempty" yaml:"numbers_out"`
	// Refer lets somebody we called over the trunk transfer the caller, by REFER,
	// to agents, queues and numbers of ours.
	Refer bool `cbor:"20,keyasint,omitempty" yaml:"refer"`

	Quality LinkLimits `cbor:"21,keyasint,omitzero" yaml:"quality"` // of its speech, see LinkAlarmChanged
}

// Permit says whom agents may transfer calls to, or dial. What is not permitted is
// refused.
type Permit struct {
	Agents  bool      `cbor:"1,keyasint,omitempty" yaml:"agents"`  // any agent
	Queues  []QueueID `cbor:"2,keyasint,omitempty" yaml:"queues"`  // these queues
	Chains  []ChainID `cbor:"3,keyasint,omitempty" yaml:"chains"`  // these chains, by a number of ours that leads there
	Numbers []string  `cbor:"4,keyasint,omitempty" yaml:"numbers"` // numbers outside that begin with one of these
}

// Outbound says how numbers outside are called.
type Outbound struct {
	Trunks      []TrunkID     `cbor:"1,keyasint,omitempty" yaml:"trunks"`       // in order of preference; empty: nothing can be called
	From        string        `cbor:"2,keyasint,omitempty" yaml:"from"`         // our number, shown to who is called
	RingTimeout time.Duration `cbor:"3,keyasint,omitempty" yaml:"ring_timeout"` // 0: 30 s
	// ShowCaller shows the caller's number instead of ours where a caller is led
	// to somebody outside; a number that is withheld stays so.
	ShowCaller bool `cbor:"4,keyasint,omitempty" yaml:"show_caller"`

	Rules []DialRule `cbor:"20,keyasint,omitempty" yaml:"rules"` // the first that holds counts
}

// DialRule says what else is done, or not, with numbers outside to which calls are
// transferred or which agents dial (T12).
type DialRule struct {
	Numbers []string `cbor:"1,keyasint" yaml:"numbers"` // that begin with one of these
	// SendDigits are keys sent to who answered: 0-9 * # A-D, each comma a pause of
	// 500 ms; $key, to the next comma, is what the card has there.
	SendDigits string `cbor:"2,keyasint,omitempty" yaml:"send_digits"`
	Refuse     int    `cbor:"3,keyasint,omitempty" yaml:"refuse"` // SIP code 400 to 699 instead of a call
}

// Number says what a dialled number does: greet, then route. Each of greeting,
// queue or chain, priority and needs is said by the first of Rules that holds and
// says it, else by the number.
type Number struct {
	Number   string  `cbor:"1,keyasint" yaml:"number"`   // E.164 with +
	Greeting string  `cbor:"2,keyasint" yaml:"greeting"` // empty: none
	Queue    QueueID `cbor:"3,keyasint" yaml:"queue"`    // exactly one of Queue and Chain, unless a rule always decides
	Chain    ChainID `cbor:"4,keyasint,omitempty" yaml:"chain"`
	Priority int     `cbor:"5,keyasint,omitempty" yaml:"priority"` // -9 to 9, see Queue.PriorityStep
	Needs    []Skill `cbor:"6,keyasint,omitempty" yaml:"needs"`    // beside those of the queue
	Card     []Attr  `cbor:"7,keyasint,omitempty" yaml:"card"`     // put on the call's card, as city (I2)
	Rules    []Rule  `cbor:"8,keyasint,omitempty" yaml:"rules"`
	// Always serves calls to it where others are refused for their rate or
	// because the routers are overloaded: an emergency number.
	Always bool `cbor:"60,keyasint,omitempty" yaml:"always"`
}

// Rule replaces what a Number says while its condition holds. Rules are asked
// twice: when the call arrives, for the greeting and for a refusal, and when it
// is routed, with what was learned meanwhile (CallTagged). One that refuses has
// no say after one that holds and names a queue or chain: that let the call in.
type Rule struct {
	When     When    `cbor:"1,keyasint" yaml:"when"`
	Greeting string  `cbor:"2,keyasint,omitempty" yaml:"greeting"`
	Queue    QueueID `cbor:"3,keyasint,omitempty" yaml:"queue"`
	Chain    ChainID `cbor:"4,keyasint,omitempty" yaml:"chain"`
	Priority int     `cbor:"5,keyasint,omitempty" yaml:"priority"`
	Needs    []Skill `cbor:"6,keyasint,omitempty" yaml:"needs"`
	Refuse   int     `cbor:"7,keyasint,omitempty" yaml:"refuse"` // SIP code 400 to 699, before the answer (T12)
}

// When is a condition; all that is set must hold, and nothing set always holds.
type When struct {
	Open    CalendarID    `cbor:"1,keyasint,omitempty" yaml:"open"`    // this calendar is open now
	Closed  CalendarID    `cbor:"2,keyasint,omitempty" yaml:"closed"`  // this calendar is closed now
	Callers []string      `cbor:"3,keyasint,omitempty" yaml:"callers"` // the caller's number begins with one of these
	Card    string        `cbor:"4,keyasint,omitempty" yaml:"card"`    // the card has this key ...
	Values  []string      `cbor:"5,keyasint,omitempty" yaml:"values"`  // ... with one of these values; empty: any
	Queue   QueueID       `cbor:"6,keyasint,omitempty" yaml:"queue"`   // of this queue ...
	Calls   int           `cbor:"7,keyasint,omitempty" yaml:"calls"`   // ... at least so many wait
	EWT     time.Duration `cbor:"8,keyasint,omitempty" yaml:"ewt"`     // ... the median wait estimated for one more is at least this
}

// Then says where a call goes that can't stay where it is: at most one of the
// fields, and none ends it. A call keeps its ticket on the way. It is moved ten
// times at most; where it would be moved once more it ends.
type Then struct {
	Queue    QueueID `cbor:"1,keyasint,omitempty" yaml:"queue"`
	Chain    ChainID `cbor:"2,keyasint,omitempty" yaml:"chain"`
	Prompt   string  `cbor:"3,keyasint,omitempty" yaml:"prompt"`   // play it, then end the call
	Refuse   int     `cbor:"4,keyasint,omitempty" yaml:"refuse"`   // SIP code for a call that arrives and would come here, else end it
	Callback bool    `cbor:"5,keyasint,omitempty" yaml:"callback"` // promise a callback without asking, where the queue has them
}

// Skill is a skill and its level: what an agent has, or what a call needs at
// least. Level 0 means 1.
type Skill struct {
	Skill SkillID `cbor:"1,keyasint" yaml:"skill"`
	Level int     `cbor:"2,keyasint,omitempty" yaml:"level"` // 1 to 10
}

// Queue holds waiting calls.
type Queue struct {
	ID          QueueID       `cbor:"1,keyasint" yaml:"id"`
	Music       string        `cbor:"2,keyasint" yaml:"music"`
	RingTimeout time.Duration `cbor:"3,keyasint" yaml:"ring_timeout"` // 0: 20 s
	WrapUp      time.Duration `cbor:"4,keyasint" yaml:"wrap_up"`
	MaxWait     time.Duration `cbor:"5,keyasint" yaml:"max_wait"`     // then AfterMaxWait; 0: no limit
	MaxLength   int           `cbor:"6,keyasint" yaml:"max_length"`   // waiting calls; one more goes by WhenFull; 0: no limit
	MissedLimit int           `cbor:"7,keyasint" yaml:"missed_limit"` // missed in a row put an agent on break (RONA); 0: no limit
	RejectDelay time.Duration `cbor:"8,keyasint" yaml:"reject_delay"` // no offers to who declined or missed one
	// Strategy chooses among idle agents; empty means longest-idle.
	Strategy string `cbor:"9,keyasint,omitempty" yaml:"strategy"`

	BusyDelay time.Duration `cbor:"10,keyasint,omitempty" yaml:"busy_delay"`   // no offers to whose phone was busy (486, 600)
	WrapUpMax time.Duration `cbor:"11,keyasint,omitempty" yaml:"wrap_up_max"`  // up to which agents may extend it; 0: not at all
	RingMost  int           `cbor:"12,keyasint,omitempty" yaml:"ring_most"`    // ring-all: INVITEs for one call at a time; 0: 5
	TierDelay time.Duration `cbor:"13,keyasint,omitempty" yaml:"tier_delay"`   // waited per tier before its agents are offered a call
	Window    time.Duration `cbor:"14,keyasint,omitempty" yaml:"least_window"` // least-busy: occupancy over this; 0: 1 h

	Needs  []Skill `cbor:"15,keyasint,omitempty" yaml:"needs"` // of every call
	Rings  []Ring  `cbor:"16,keyasint,omitempty" yaml:"rings"` // by After; how needs relax
	Sticky Sticky  `cbor:"17,keyasint,omitzero" yaml:"sticky"`

	// Fairness between queues: an agent of several is given the head with the
	// greatest effective wait: (waited + priority * PriorityStep) * Weight / 100.
	Weight       int           `cbor:"18,keyasint,omitempty" yaml:"weight"`        // 0: 100
	PriorityStep time.Duration `cbor:"19,keyasint,omitempty" yaml:"priority_step"` // 0: 1 min

	Calendar     CalendarID    `cbor:"20,keyasint,omitempty" yaml:"calendar"`   // empty: always open
	WhenClosed   Then          `cbor:"21,keyasint,omitzero" yaml:"when_closed"` // who waits when it closes is still served
	WhenFull     Then          `cbor:"22,keyasint,omitzero" yaml:"when_full"`
	AfterMaxWait Then          `cbor:"23,keyasint,omitzero" yaml:"after_max_wait"`
	Empty        string        `cbor:"24,keyasint,omitempty" yaml:"empty"`       // when the queue counts as empty of agents: never (default), logged-out, unavailable
	WhenEmpty    Then          `cbor:"25,keyasint,omitzero" yaml:"when_empty"`   // for who comes, and for who waits ...
	LeaveEmpty   time.Duration `cbor:"26,keyasint,omitempty" yaml:"leave_empty"` // ... so long; 0: who waits stays
	Admission    []Admission   `cbor:"27,keyasint,omitempty" yaml:"admission"`

	Announce     Announcing    `cbor:"28,keyasint,omitzero" yaml:"announce"`
	ExitKey      string        `cbor:"29,keyasint,omitempty" yaml:"exit_key"` // one of 0-9 * #; empty: none
	Exit         Then          `cbor:"30,keyasint,omitzero" yaml:"exit"`
	Callback     Callback      `cbor:"31,keyasint,omitzero" yaml:"callback"`
	ServiceLevel time.Duration `cbor:"32,keyasint,omitempty" yaml:"service_level"` // answered within; 0: 20 s

	Transfer Permit `cbor:"50,keyasint,omitzero" yaml:"transfer"` // of its calls, by any agent
	// PickUp is what its agents may pick up from each other's phones (RFC 3891):
	// ringing, any (conversations too); empty: nothing.
	PickUp string `cbor:"90,keyasint,omitempty" yaml:"pick_up"`
}

// Ring relaxes who may be offered a call once it has waited for After: Needs
// replace those before (calls' own needs too, if any), agents up to Tier join.
type Ring struct {
	After time.Duration `cbor:"1,keyasint" yaml:"after"`
	Needs []Skill       `cbor:"2,keyasint,omitempty" yaml:"needs"`
	Any   bool          `cbor:"3,keyasint,omitempty" yaml:"any"` // nothing is needed any more
	Tier  int           `cbor:"4,keyasint,omitempty" yaml:"tier"`
}

// Sticky keeps a caller for the agent last spoken with.
type Sticky struct {
	Days int           `cbor:"1,keyasint,omitempty" yaml:"days"` // how long that is remembered; 0: not at all
	Wait time.Duration `cbor:"2,keyasint,omitempty" yaml:"wait"` // for that agent, busy but logged in, before others
}

// Admission regulates the queue's length (N4): a call that comes while the
// calendar is open (empty: always) and one of the limits is passed goes by Then.
type Admission struct {
	Open   CalendarID    `cbor:"1,keyasint,omitempty" yaml:"open"`
	Closed CalendarID    `cbor:"2,keyasint,omitempty" yaml:"closed"`
	Calls  int           `cbor:"3,keyasint,omitempty" yaml:"calls"` // waiting
	EWT    time.Duration `cbor:"4,keyasint,omitempty" yaml:"ewt"`   // median estimate for one more
	ASA    time.Duration `cbor:"5,keyasint,omitempty" yaml:"asa"`   // average speed of answer of the last answered calls
	Then   Then          `cbor:"6,keyasint,omitzero" yaml:"then"`
}

// Announcing says what waiting callers are told.
type Announcing struct {
	First    time.Duration `cbor:"1,keyasint,omitempty" yaml:"first"` // after entering the queue; 0: as Every
	Every    time.Duration `cbor:"2,keyasint,omitempty" yaml:"every"` // 0: nothing is announced; at least 15 s
	Position bool          `cbor:"3,keyasint,omitempty" yaml:"position"`
	Wait     bool          `cbor:"4,keyasint,omitempty" yaml:"wait"`
}

// Callback is offered to waiting callers (N6): the ticket stays in line without
// its caller, who is called when it reaches the head.
type Callback struct {
	Over     time.Duration `cbor:"1,keyasint,omitempty" yaml:"over"` // offered when the median estimate is at least this
	Key      string        `cbor:"2,keyasint,omitempty" yaml:"key"`  // that takes it; empty: there are none
	Offer    string        `cbor:"3,keyasint,omitempty" yaml:"offer"`
	Promise  string        `cbor:"4,keyasint,omitempty" yaml:"promise"`  // played before the caller is let go
	Attempts int           `cbor:"5,keyasint,omitempty" yaml:"attempts"` // 0: 3
	Retry    time.Duration `cbor:"6,keyasint,omitempty" yaml:"retry"`    // between them; 0: 5 min
	Expire   time.Duration `cbor:"7,keyasint,omitempty" yaml:"expire"`   // after the promise; 0: 24 h
}

// Calendar is hours of a week with exceptions, in a time zone.
type Calendar struct {
	ID       CalendarID `cbor:"1,keyasint" yaml:"id"`
	Zone     string     `cbor:"2,keyasint" yaml:"zone"` // IANA name
	Hours    []Hours    `cbor:"3,keyasint" yaml:"hours"`
	Holidays []Holiday  `cbor:"4,keyasint,omitempty" yaml:"holidays"`
	// Offsets are the zone's, filled in by who reads the file: the machine has
	// no database of zones, and those of two nodes might differ.
	Offsets []Offset `cbor:"5,keyasint,omitempty" yaml:"-"`
}

// Hours are open from From to To, minutes of the day, on Days; a To not after
// From is on the next day.
type Hours struct {
	Days string `cbor:"1,keyasint" yaml:"days"` // mon-fri, sat,sun, daily
	From string `cbor:"2,keyasint" yaml:"from"` // HH:MM
	To   string `cbor:"3,keyasint" yaml:"to"`   // HH:MM, 24:00 for midnight
}

// Holiday replaces the hours of one day; without hours it is closed.
type Holiday struct {
	Date string `cbor:"1,keyasint" yaml:"date"` // YYYY-MM-DD, or MM-DD for every year; given twice, it has both hours
	From string `cbor:"2,keyasint,omitempty" yaml:"from"`
	To   string `cbor:"3,keyasint,omitempty" yaml:"to"`
}

// Offset is the zone's distance from UTC from a moment on.
type Offset struct {
	From    Time `cbor:"1,keyasint"`
	Seconds int  `cbor:"2,keyasint"`
}

// Chain tries one after the other until somebody answers (I4).
type Chain struct {
	ID    ChainID     `cbor:"1,keyasint" yaml:"id"`
	Music string      `cbor:"2,keyasint,omitempty" yaml:"music"`
	Steps []ChainStep `cbor:"3,keyasint" yaml:"steps"`
	Then  Then        `cbor:"4,keyasint,omitzero" yaml:"then"` // when nobody did
}

// ChainStep is one attempt: an agent's phones or a number over the trunks.
// Either may be "$key", what the call's card has there; a card without it
// skips the step.
type ChainStep struct {
	Agent  string        `cbor:"1,keyasint,omitempty" yaml:"agent"`
	Number string        `cbor:"2,keyasint,omitempty" yaml:"number"`
	Ring   time.Duration `cbor:"3,keyasint,omitempty" yaml:"ring"` // 0: 20 s
	// Wait for an agent who is in a call or wraps up, at most so long; 0: on at
	// once, cause busy.
	Wait time.Duration `cbor:"4,keyasint,omitempty" yaml:"wait"`
	// Stop are the causes (busy, no-answer, unavailable, declined) for which
	// the chain ends here instead of going on to the next step.
	Stop []string `cbor:"5,keyasint,omitempty" yaml:"stop"`
}

// Agent is an operator. HA1 values are hex digests of user:realm:password
// (RFC 7616 section 3.4.2); the password itself is never stored.
type Agent struct {
	ID        AgentID   `cbor:"1,keyasint" yaml:"id"` // also the SIP user
	Name      string    `cbor:"2,keyasint" yaml:"name"`
	Queues    []QueueID `cbor:"3,keyasint" yaml:"queues"` // in tier 0, see Seats
	HA1SHA256 string    `cbor:"4,keyasint" yaml:"ha1_sha256"`
	HA1MD5    string    `cbor:"5,keyasint" yaml:"ha1_md5"`
	// AutoAvailable makes the agent Available when its first phone registers
	// and LoggedOut when its last registration goes.
	AutoAvailable bool    `cbor:"6,keyasint" yaml:"auto_available"`
	Skills        []Skill `cbor:"7,keyasint,omitempty" yaml:"skills"`
	Seats         []Seat  `cbor:"8,keyasint,omitempty" yaml:"seats"` // queues of which more is to be said
	Transfer      Permit  `cbor:"20,keyasint,omitzero" yaml:"transfer"`
	Dial          Permit  `cbor:"21,keyasint,omitzero" yaml:"dial"` // from the agent's phones
	// PickUp is whose calls the agent may pick up, ringing or answered: any agent's,
	// or those of queues and chains.
	PickUp Permit `cbor:"90,keyasint,omitzero" yaml:"pick_up"`
	// Supervise makes a supervisor: of any call an agent talks in, or of those of
	// some queues. Chains and numbers mean nothing here.
	Supervise Permit `cbor:"22,keyasint,omitzero" yaml:"supervise"`
}

// Seat is an agent's place in a queue.
type Seat struct {
	Queue    QueueID `cbor:"1,keyasint" yaml:"queue"`
	Tier     int     `cbor:"2,keyasint,omitempty" yaml:"tier"`     // 0 is first, see Queue.TierDelay
	Position int     `cbor:"3,keyasint,omitempty" yaml:"position"` // linear: lower first
	Priority int     `cbor:"4,keyasint,omitempty" yaml:"priority"` // of the queue for this agent: calls of a higher one go first whatever they waited
}

// AgentStatus is the agent's own choice.
type AgentStatus string

// Statuses.
const (
	LoggedOut AgentStatus = "logged-out"
	Available AgentStatus = "available"
	OnBreak   AgentStatus = "on-break"
	Training  AgentStatus = "training"
)

// AgentState is what the system sees.
type AgentState string

// States.
const (
	Idle     AgentState = "idle"
	Reserved AgentState = "reserved" // for an offer that does not ring yet, or while a customer is dialled
	Ringing  AgentState = "ringing"
	InCall   AgentState = "in-call"
	WrapUp   AgentState = "wrap-up"
)
