// Package routeapi is the wire format of routerd's HTTPS API: JSON over mutual
// TLS, read by routerctl, by the load tests and by whoever integrates. Times
// are RFC 3339 UTC with microseconds; durations are seconds as numbers.
package routeapi

import "time"

// Paths. All are GET unless said. Lists are sorted by id.
const (
	PathStatus      = "/v1/status"       // Status
	PathCalls       = "/v1/calls"        // []Call, the open ones
	PathQueues      = "/v1/queues"       // []Queue
	PathAgents      = "/v1/agents"       // []Agent
	PathCluster     = "/v1/cluster"      // Cluster
	PathTrunks      = "/v1/trunks"       // []Trunk
	PathFacts       = "/v1/facts"        // []Fact, ?call=ID and/or ?after=INDEX&limit=N; numbers masked unless ?full=true
	PathRouting     = "/v1/routing"      // the routing.yaml in force and, in HeaderVersion, its version; PUT: see config.go
	PathAgentStatus = "/v1/agent-status" // POST AgentStatus
	PathPeerSIP     = "/v1/peer/sip"     // POST, routers only: a SIP message for a call the receiver owns
)

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error string `json:"error"` // what is wrong and what to do
}

// Status is one router's view of itself.
type Status struct {
	Node        string `json:"node"`
	Ready       bool   `json:"ready"`
	Leader      string `json:"leader"`
	Term        uint64 `json:"term"`
	Applied     uint64 `json:"applied_index"`
	Incarnation uint64 `json:"incarnation"`
	Calls       int    `json:"calls"`      // all open calls of the cluster
	OwnCalls    int    `json:"own_calls"`  // those this node owns
	Waiting     int    `json:"waiting"`    // calls waiting in queues
	Hash        string `json:"state_hash"` // of the state at Applied
}

// Call is an open call.
type Call struct {
	ID       string    `json:"id"`
	SIPID    string    `json:"sip_call_id"` // Call-ID of the caller's leg
	State    string    `json:"state"`       // arriving, greeting, waiting, talking, ending
	Node     string    `json:"node"`        // owner
	Epoch    uint64    `json:"epoch"`
	Trunk    string    `json:"trunk"`
	Edge     string    `json:"edge"`
	From     string    `json:"from"` // masked but for the last 4 digits
	To       string    `json:"to"`
	Queue    string    `json:"queue,omitempty"`
	Ticket   uint64    `json:"ticket,omitempty"` // order of arrival in queues
	Agent    string    `json:"agent,omitempty"`
	Media    string    `json:"media,omitempty"`  // media address
	Worker   string    `json:"worker,omitempty"` // who hosts it now
	Codec    string    `json:"codec,omitempty"`
	Suite    string    `json:"suite,omitempty"`
	Arrived  time.Time `json:"arrived"`
	Enqueued time.Time `json:"enqueued,omitzero"`
	Answered time.Time `json:"answered,omitzero"` // by the agent
	Legs     []Leg     `json:"legs"`

	Supervisor  string `json:"supervisor,omitempty"`  // rung, or in the call
	Supervision string `json:"supervision,omitempty"` // listen, whisper, join

	Priority int               `json:"priority,omitempty"`
	Card     map[string]string `json:"card,omitempty"`     // what other systems know of it
	Outbound bool              `json:"outbound,omitempty"` // a task's: we call
	Callback bool              `json:"callback,omitempty"` // the caller was promised one
	Task     string            `json:"task,omitempty"`
	Attempts int               `json:"attempts,omitempty"` // to reach the customer
	Chain    string            `json:"chain,omitempty"`    // whose steps are tried ...
	Step     int               `json:"step,omitempty"`     // ... and which, from 1
	Position int               `json:"position,omitempty"` // in the line, 1 is next
	Wait     *Wait             `json:"wait,omitempty"`     // what is left of it, by the estimate
}

// Wait is a foretold wait in seconds.
type Wait struct {
	P50 float64 `json:"p50_seconds"`
	P90 float64 `json:"p90_seconds"`
}

// Leg is one leg of an open call.
type Leg struct {
	ID    string `json:"id"`
	Role  string `json:"role"` // caller, agent
	State string `json:"state"`
	Agent string `json:"agent,omitempty"`
	Codec string `json:"codec,omitempty"`
	Suite string `json:"suite,omitempty"`

	Held    time.Time `json:"held,omitzero"`          // its far end holds since
	Holds   int       `json:"holds,omitempty"`        // how often it did
	HeldFor float64   `json:"held_seconds,omitempty"` // in all, a hold that lasts not counted
}

// Queue is a queue's figures of this moment.
type Queue struct {
	ID         string  `json:"id"`
	Waiting    int     `json:"waiting"`
	OldestWait float64 `json:"oldest_wait_seconds"`
	Agents     int     `json:"agents"` // serving it and available
	Idle       int     `json:"idle"`
	Retired    bool    `json:"retired,omitempty"` // no longer configured, gone with its last call

	EWT         *Wait       `json:"ewt,omitempty"`       // of one more call; none: it can't be told
	ASA         float64     `json:"asa_seconds"`         // of the calls answered in the last 15 minutes
	Calibration Calibration `json:"calibration"`         // how right the estimates were
	Limits      []Limit     `json:"limits,omitempty"`    // of admission, those that apply at this hour
	Closed      string      `json:"closed,omitempty"`    // why it takes no more calls: closed, join-empty, queue-full, not-admitted
	MaxLength   int         `json:"max_length,omitzero"` // admitted at most; none: no limit
}

// Calibration compares what callers were foretold when they joined a queue with
// how long they waited until they were answered.
type Calibration struct {
	Calls     uint64  `json:"calls"`
	WithinP50 float64 `json:"within_p50"`         // share answered within the median: 0.5 if it was right
	WithinP90 float64 `json:"within_p90"`         // likewise: 0.9
	Error     float64 `json:"mean_error_seconds"` // from the median, both ways
}

// Limit is a rule of admission (N4): a call that comes while one of its values is
// reached goes elsewhere.
type Limit struct {
	Calls  int     `json:"calls,omitempty"`
	EWT    float64 `json:"ewt_seconds,omitempty"`
	ASA    float64 `json:"asa_seconds,omitempty"`
	Passed bool    `json:"passed"`
}

// Agent is an agent's state of this moment.
type Agent struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	State    string   `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	Call     string   `json:"call,omitempty"`
	Missed   int      `json:"missed"`
	Contacts []string `json:"contacts"`
	Queues   []string `json:"queues"`

	Pending       string    `json:"pending,omitempty"` // status asked for during a call, takes effect after it
	PendingReason string    `json:"pending_reason,omitempty"`
	WrapUpEnds    time.Time `json:"wrap_up_ends,omitzero"` // at most, with all extensions

	Help       time.Time `json:"help,omitzero"` // asks supervisors for help since
	HelpReason string    `json:"help_reason,omitempty"`
}

// AgentStatus asks for a change of status.
type AgentStatus struct {
	Agent  string `json:"agent"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Cluster is the routers, the workers and who hosts which media address.
type Cluster struct {
	Leader  string      `json:"leader"`
	Nodes   []Node      `json:"nodes"`
	Workers []Worker    `json:"workers"`
	Media   []MediaHost `json:"media"`
	Trunks  []Trunk     `json:"trunks"`
	Version uint32      `json:"version"` // of behaviour, in force
}

// Trunk is an SBC link's use of this moment (T8).
type Trunk struct {
	ID       string `json:"id"`
	Channels int    `json:"channels"` // allowed; 0: no limit
	Used     int    `json:"used"`

	Rate  int         `json:"calls_per_second,omitempty"` // new ones allowed; none: no limit
	State string      `json:"state"`                      // of the best of its ways: up, suspect, down
	Links []TrunkLink `json:"links,omitempty"`            // by edge; none: nobody has asked yet

	// Of its speech (T9): what is raised, and what the last ten seconds that are
	// over came to, as this router has heard from all workers.
	Alarms        []TrunkAlarm   `json:"alarms,omitempty"`
	MeasuredCalls int64          `json:"measured_calls,omitempty"`
	Measured      []TrunkMeasure `json:"measured,omitempty"`
}

// TrunkAlarm is one that is raised. Values are in microseconds for delay and
// jitter, parts per million for loss (of packets) and rtcp (of calls whose far end
// sends none), bits a second for bandwidth (what all channels would take).
type TrunkAlarm struct {
	Kind      string    `json:"kind"`      // delay, loss, jitter, rtcp, bandwidth
	Direction string    `json:"direction"` // in, out; both: a round trip does not tell them apart
	Since     time.Time `json:"since"`
	Value     int64     `json:"value"` // when it was raised
	Limit     int64     `json:"limit"`
}

// TrunkMeasure is one measure, in the unit of its TrunkAlarm.
type TrunkMeasure struct {
	Kind      string `json:"kind"`
	Direction string `json:"direction"`
	Value     int64  `json:"value"`
}

// TrunkLink is the way to a trunk by one edge, found by asking its SBC (T10).
type TrunkLink struct {
	Edge  string    `json:"edge"`
	State string    `json:"state"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause,omitempty"` // of a state that is not up
}

// Node is a router.
type Node struct {
	ID          string `json:"id"`
	Alive       bool   `json:"alive"`
	Voter       bool   `json:"voter"`
	Incarnation uint64 `json:"incarnation"`
	Calls       int    `json:"calls"`
	SIP         string `json:"sip"`
	Version     uint32 `json:"version"`        // of behaviour, the highest it knows
	Agreed      uint64 `json:"agreed_index"`   // last index at which its state was the majority's
	Diverged    uint64 `json:"diverged_index"` // last index at which it was not; 0: agreed since
}

// Worker is a media worker.
type Worker struct {
	ID          string `json:"id"`
	Alive       bool   `json:"alive"`
	Incarnation uint64 `json:"incarnation"`
	Sessions    int    `json:"sessions"`
	FreePorts   int    `json:"free_ports"`
}

// MediaHost says which worker hosts a virtual media address, and its standby.
type MediaHost struct {
	Address string `json:"address"`
	Worker  string `json:"worker"`
	Standby string `json:"standby"`
	Epoch   uint64 `json:"epoch"`
	Calls   int    `json:"calls"`
}

// Fact is one row of the append-only history, unique by (Index, N).
type Fact struct {
	Index uint64            `json:"index"`
	N     uint32            `json:"n"`
	At    time.Time         `json:"at"`
	Kind  string            `json:"kind"` // see docs/facts.md
	Call  string            `json:"call,omitempty"`
	Leg   string            `json:"leg,omitempty"`
	Agent string            `json:"agent,omitempty"`
	Queue string            `json:"queue,omitempty"`
	Node  string            `json:"node,omitempty"`
	Attrs map[string]string `json:"attrs,omitempty"`
}
