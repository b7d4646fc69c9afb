package routeapi

import "time"

// PathTotals answers GET with Totals. Its query: interval (15m, 30m, 1h, day,
// week, month, quarter, year; 15m if absent), zone (IANA name, UTC), from and to
// (RFC 3339; the last 24 h), threshold and short (durations such as 20s and 5s),
// formula (of the service level), source (records, facts, or both, which
// compares the two).
const PathTotals = "/v1/totals"

// Totals is what a contact centre counts, by interval. Calls belong to the
// interval in which they arrived, agents' time to those in which it passed.
// Durations are seconds.
type Totals struct {
	Interval  string        `json:"interval"`
	Zone      string        `json:"zone"`
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"`
	Threshold float64       `json:"threshold_seconds"` // of the service level
	Short     float64       `json:"short_seconds"`     // who gave up sooner
	Formula   string        `json:"formula"`           // of the service level
	Queues    []QueueTotals `json:"queues"`            // by start and queue
	Agents    []AgentTotals `json:"agents"`            // by start and agent
	// Differences between the totals of facts and of records, if both were
	// asked for. There must be none.
	Differences []string `json:"differences,omitempty"`
}

// QueueTotals is one queue in one interval. The queue "" is that of calls that
// had none.
type QueueTotals struct {
	Start           time.Time `json:"start"`
	Queue           string    `json:"queue"`
	Refused         uint64    `json:"refused"` // not taken
	Arrived         uint64    `json:"arrived"` // taken: early + merged + offered
	Early           uint64    `json:"early"`   // over before they were in the line or with an agent
	Merged          uint64    `json:"merged"`  // callbacks and tasks whose customers called, counted as that call
	Offered         uint64    `json:"offered"` // answered + abandoned + dropped
	Answered        uint64    `json:"answered"`
	Abandoned       uint64    `json:"abandoned"` // by the caller
	Dropped         uint64    `json:"dropped"`   // by us
	AnsweredInTime  uint64    `json:"answered_in_time"`
	AbandonedInTime uint64    `json:"abandoned_in_time"`
	AbandonedShort  uint64    `json:"abandoned_short"`
	Good            uint64    `json:"good"` // by the formula: service level is good / of
	Of              uint64    `json:"of"`
	Wait            float64   `json:"wait_seconds"` // of the answered, together
	LongestWait     float64   `json:"longest_wait_seconds"`
	AbandonedWait   float64   `json:"abandoned_wait_seconds"`
	Talk            float64   `json:"talk_seconds"`
	Ringing         float64   `json:"ringing_seconds"` // agents' time for the queue
	InCall          float64   `json:"in_call_seconds"`
	WrapUp          float64   `json:"wrap_up_seconds"`
	ASA             float64   `json:"asa_seconds"` // wait / answered
	AHT             float64   `json:"aht_seconds"` // (talk + wrap-up) / answered
}

// AgentTotals is one agent in one interval.
type AgentTotals struct {
	Start     time.Time `json:"start"`
	Agent     string    `json:"agent"`
	Handled   uint64    `json:"handled"`           // calls that arrived in the interval
	Talk      float64   `json:"talk_seconds"`      // of those
	Available float64   `json:"available_seconds"` // and free
	Ringing   float64   `json:"ringing_seconds"`
	InCall    float64   `json:"in_call_seconds"`
	WrapUp    float64   `json:"wrap_up_seconds"`
	OnBreak   float64   `json:"on_break_seconds"`
	Training  float64   `json:"training_seconds"`
	// Occupancy is in-call and wrap-up as a share of those and available.
	Occupancy float64 `json:"occupancy"`
}
