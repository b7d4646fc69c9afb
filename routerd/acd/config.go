package acd

import "time"

// Config is the replicated routing tree: what the operator of the centre
// writes in routing.yaml. It is applied whole or not at all.
type Config struct {
	Trunks      []Trunk  `cbor:"1,keyasint" yaml:"trunks"`
	MaxChannels int      `cbor:"2,keyasint" yaml:"max_channels"` // all trunks together (T8); 0: no limit
	Numbers     []Number `cbor:"3,keyasint" yaml:"numbers"`
	Queues      []Queue  `cbor:"4,keyasint" yaml:"queues"`
	Agents      []Agent  `cbor:"5,keyasint" yaml:"agents"`
}

// Trunk is one SBC link.
type Trunk struct {
	ID       TrunkID `cbor:"1,keyasint" yaml:"id"`
	Channels int     `cbor:"2,keyasint" yaml:"channels"` // concurrent calls (T8); 0: no limit
}

// Number says what a dialled number does: greet, then queue. An empty greeting
// goes straight to the queue.
type Number struct {
	Number   string  `cbor:"1,keyasint" yaml:"number"` // E.164 with +
	Greeting string  `cbor:"2,keyasint" yaml:"greeting"`
	Queue    QueueID `cbor:"3,keyasint" yaml:"queue"`
}

// Queue holds waiting calls.
type Queue struct {
	ID          QueueID       `cbor:"1,keyasint" yaml:"id"`
	Music       string        `cbor:"2,keyasint" yaml:"music"`
	RingTimeout time.Duration `cbor:"3,keyasint" yaml:"ring_timeout"` // 0: 20 s
	WrapUp      time.Duration `cbor:"4,keyasint" yaml:"wrap_up"`
	MaxWait     time.Duration `cbor:"5,keyasint" yaml:"max_wait"`     // then the call is ended; 0: no limit
	MaxLength   int           `cbor:"6,keyasint" yaml:"max_length"`   // waiting calls; one more is ended with cause queue-full; 0: no limit
	MissedLimit int           `cbor:"7,keyasint" yaml:"missed_limit"` // missed in a row put an agent on break (RONA); 0: no limit
	RejectDelay time.Duration `cbor:"8,keyasint" yaml:"reject_delay"` // after a refused or missed offer
	// Strategy chooses among idle agents; empty means longest-idle.
	Strategy string `cbor:"9,keyasint,omitempty" yaml:"strategy"`
}

// Agent is an operator. HA1 values are hex digests of user:realm:password
// (RFC 7616 section 3.4.2); the password itself is never stored.
type Agent struct {
	ID        AgentID   `cbor:"1,keyasint" yaml:"id"` // also the SIP user
	Name      string    `cbor:"2,keyasint" yaml:"name"`
	Queues    []QueueID `cbor:"3,keyasint" yaml:"queues"`
	HA1SHA256 string    `cbor:"4,keyasint" yaml:"ha1_sha256"`
	HA1MD5    string    `cbor:"5,keyasint" yaml:"ha1_md5"`
	// AutoAvailable makes the agent Available when its first phone registers
	// and LoggedOut when its last registration goes.
	AutoAvailable bool `cbor:"6,keyasint" yaml:"auto_available"`
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
	Reserved AgentState = "reserved"
	Ringing  AgentState = "ringing"
	InCall   AgentState = "in-call"
	WrapUp   AgentState = "wrap-up"
)
