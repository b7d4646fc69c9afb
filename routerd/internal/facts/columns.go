package facts

import (
	"strings"
)

// table is a table of records: its columns stand in the order of the fields of
// the record type, the same in every database.
type table struct {
	name    string
	columns []string
}

var (
	callTable = table{"call_cdr", []string{
		"idx", "n", "call", "outcome", "ended_by", "cause", "code", "trunk", "edge", "from_number", "to_number", "sip_call_id",
		"queue", "agent", "node", "ticket", "offers", "arrived", "answered", "enqueued", "bridged", "ended", "codec", "suite", "media",
	}}
	legTable = table{"leg_cdr", []string{
		"idx", "n", "call", "leg", "role", "agent", "cause", "code", "started", "answered", "ended", "codec", "suite", "media",
	}}
	spanTable = table{"agent_span", []string{"idx", "n", "agent", "began", "ended", "status", "reason", "state", "call", "queue"}}
)

// fields returns pointers to the record's fields, to read them from a row or to
// write them to one.
func (r *CallRecord) fields() []any {
	return []any{
		&r.Index, &r.N, &r.Call, &r.Outcome, &r.By, &r.Cause, &r.Code, &r.Trunk, &r.Edge, &r.From, &r.To, &r.SIPID,
		&r.Queue, &r.Agent, &r.Node, &r.Ticket, &r.Offers, &r.Arrived, &r.Answered, &r.Enqueued, &r.Bridged, &r.Ended, &r.Codec, &r.Suite, &r.Media,
	}
}

func (r *LegRecord) fields() []any {
	return []any{
		&r.Index, &r.N, &r.Call, &r.Leg, &r.Role, &r.Agent, &r.Cause, &r.Code, &r.Started, &r.Answered, &r.Ended, &r.Codec, &r.Suite, &r.Media,
	}
}

func (a *Span) fields() []any {
	return []any{&a.Index, &a.N, &a.Agent, &a.From, &a.To, &a.Status, &a.Reason, &a.State, &a.Call, &a.Queue}
}

func (t table) list() string { return strings.Join(t.columns, ", ") }

// insert is the statement that adds n rows, each once. One that fails takes its
// transaction with it: else SQLite keeps a journal of each statement.
func (t table) insert(n int) string {
	row := "(?" + strings.Repeat(", ?", len(t.columns)-1) + ")"
	return "INSERT OR ROLLBACK INTO " + t.name + " (" + t.list() + ") VALUES " + row + strings.Repeat(", "+row, n-1) + " ON CONFLICT (idx, n) DO NOTHING"
}
