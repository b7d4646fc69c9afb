package routeapi

import "time"

// PathCDR answers GET with a CDRPage of calls in the order of their arrival.
// Its query, all of it optional: from, to (RFC 3339: arrived at or after from,
// before to), queue, agent (who served the call), number (the caller's or the
// dialled, whole), call, legs=true (with the legs of each), full=true (numbers
// unmasked; the router logs who asked), limit (1 to 5 000, 1 000 if absent) and
// after (Next of the page before).
const PathCDR = "/v1/cdr"

// CDRPage is one page of call records.
type CDRPage struct {
	Calls []CallRecord `json:"calls"`
	Next  string       `json:"next,omitempty"` // where the next page begins; absent: this is the last
}

// CallRecord is the detail record of a call that is over. (Index, N) is the
// fact it follows from, and unique. Moments have nanoseconds; one that never
// came is absent.
type CallRecord struct {
	Index    uint64      `json:"index"`
	N        uint32      `json:"n"`
	Call     string      `json:"call"`
	Outcome  string      `json:"outcome"` // served, abandoned, dropped, refused
	By       string      `json:"by"`      // who ended it: caller, agent, system
	Cause    string      `json:"cause"`
	Code     int         `json:"code,omitempty"` // SIP code of a refusal
	Trunk    string      `json:"trunk"`
	Edge     string      `json:"edge"`
	From     string      `json:"from"` // masked but for the last 4 digits, unless asked in full
	To       string      `json:"to"`
	SIPID    string      `json:"sip_call_id"`
	Queue    string      `json:"queue,omitempty"`
	Agent    string      `json:"agent,omitempty"` // who served it
	Node     string      `json:"node"`            // its last owner
	Ticket   uint64      `json:"ticket,omitempty"`
	Offers   int         `json:"offers"`
	Arrived  time.Time   `json:"arrived"`
	Answered time.Time   `json:"answered,omitzero"` // the caller's 200
	Enqueued time.Time   `json:"enqueued,omitzero"`
	Bridged  time.Time   `json:"bridged,omitzero"` // an agent answered
	Ended    time.Time   `json:"ended"`
	Wait     float64     `json:"wait_seconds"` // in the queue
	Talk     float64     `json:"talk_seconds"`
	Codec    string      `json:"codec,omitempty"`
	Suite    string      `json:"suite,omitempty"`
	Media    string      `json:"media,omitempty"` // media address
	Legs     []LegRecord `json:"legs,omitempty"`
}

// LegRecord is the detail record of one leg of a call.
type LegRecord struct {
	Index    uint64    `json:"index"`
	N        uint32    `json:"n"`
	Leg      string    `json:"leg"`
	Role     string    `json:"role"` // caller, agent
	Agent    string    `json:"agent,omitempty"`
	Cause    string    `json:"cause"`
	Code     int       `json:"code,omitempty"` // SIP code of a failure
	Started  time.Time `json:"started"`
	Answered time.Time `json:"answered,omitzero"`
	Ended    time.Time `json:"ended"`
	Codec    string    `json:"codec,omitempty"`
	Suite    string    `json:"suite,omitempty"`
	Media    string    `json:"media,omitempty"`
}
