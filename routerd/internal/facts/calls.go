package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"

	"trunkline/routerd/acd"
)

// ErrUpgrading means that the records are not complete yet: the file is of an
// older version and Upgrade is at work.
var ErrUpgrading = errors.New("the facts file is being upgraded: its records are not complete yet")

// ofCall are a call's records: each stands where the fact stands that it follows
// from. Indexes of their own would cost every call two random writes.
const ofCall = "(idx, n) IN (SELECT idx, n FROM fact WHERE call = ? AND call <> '')"

// Filter chooses call records. Zero values choose all.
type Filter struct {
	From, To acd.Time // arrived at or after From and before To
	Queue    string
	Agent    string // who served the call
	Number   string // the caller's or the dialled, whole
	Call     string
}

// Place is where a call record stands in the order of the calls' arrival.
type Place struct {
	Arrived acd.Time
	Index   uint64
	N       uint32
}

// Calls gives f the chosen records in the order of arrival, those behind after,
// at most limit; 0 or above 10 000 means 10 000. It stops at f's first error.
// A call is recorded when it is over: records of calls that arrived long ago
// may still come.
func (s *Store) Calls(ctx context.Context, want Filter, after Place, limit int, f func(*CallRecord) error) error {
	if s.behind.Load() {
		return ErrUpgrading
	}
	if limit <= 0 || limit > maxRows {
		limit = maxRows
	}
	return s.calls(ctx, want, after, limit, f)
}

// EachCall gives f all calls that arrived at or after from and before to, for
// reports that keep no row: only what is counted is filled in, which one index
// holds.
func (s *Store) EachCall(ctx context.Context, from, to acd.Time, f func(*CallRecord) error) error {
	if s.behind.Load() {
		return ErrUpgrading
	}
	rows, err := s.db.QueryContext(ctx, `SELECT arrived, outcome, ended_by, queue, agent, enqueued, bridged, ended
FROM call_cdr INDEXED BY call_cdr_arrived WHERE arrived >= ? AND arrived < ? ORDER BY arrived`, from, to)
	if err != nil {
		return fmt.Errorf("query call records: %w", err)
	}
	return scan(rows, func(r *CallRecord) []any {
		return []any{&r.Arrived, &r.Outcome, &r.By, &r.Queue, &r.Agent, &r.Enqueued, &r.Bridged, &r.Ended}
	}, f)
}

func (s *Store) calls(ctx context.Context, want Filter, after Place, limit int, f func(*CallRecord) error) error {
	if want.To == 0 {
		want.To = math.MaxInt64
	}
	where := []string{"arrived >= ?", "arrived < ?", "(arrived, idx, n) > (?, ?, ?)"}
	args := []any{want.From, want.To, after.Arrived, int64(after.Index), after.N}
	for _, w := range []struct{ clause, value string }{
		// The second half lets the partial index be used.
		{"queue = ? AND queue <> ''", want.Queue}, {"agent = ? AND agent <> ''", want.Agent}, {ofCall, want.Call},
	} {
		if w.value != "" {
			where, args = append(where, w.clause), append(args, w.value)
		}
	}
	if want.Number != "" {
		where, args = append(where, "(from_number = ? OR to_number = ?)"), append(args, want.Number, want.Number)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+callTable.list()+" FROM call_cdr WHERE "+strings.Join(where, " AND ")+
		" ORDER BY arrived, idx, n LIMIT ?", append(args, limit)...)
	if err != nil {
		return fmt.Errorf("query call records: %w", err)
	}
	return scan(rows, func(r *CallRecord) []any { return r.fields() }, f)
}

// Legs returns the leg records of a call, in the order of their end.
func (s *Store) Legs(ctx context.Context, call string) ([]LegRecord, error) {
	if s.behind.Load() {
		return nil, ErrUpgrading
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+legTable.list()+" FROM leg_cdr WHERE "+ofCall+" ORDER BY idx, n", call)
	if err != nil {
		return nil, fmt.Errorf("query leg records: %w", err)
	}
	list := []LegRecord{}
	err = scan(rows, func(r *LegRecord) []any { return r.fields() }, func(r *LegRecord) error { list = append(list, *r); return nil })
	return list, err
}

// Spans gives f the agents' spans that reach into the time from From to To, in
// the order of their end, and after them the agents' present ones as if they
// ended at To. agent, unless empty, keeps those of one agent.
func (s *Store) Spans(ctx context.Context, agent string, from, to acd.Time, f func(*Span) error) error {
	if s.behind.Load() {
		return ErrUpgrading
	}
	where, args := "ended > ? AND began < ?", []any{from, to}
	if agent != "" {
		where, args = "agent = ? AND "+where, append([]any{agent}, args...)
	}
	// The present ones first: a span that ends in between is then seen twice
	// or not at all, so both are read in one transaction.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("query agents' spans: %w", err)
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, "SELECT "+spanTable.list()+" FROM agent_span WHERE "+where+" ORDER BY ended, idx, n", args...)
	if err != nil {
		return fmt.Errorf("query agents' spans: %w", err)
	}
	if err := scan(rows, func(a *Span) []any { return a.fields() }, f); err != nil {
		return err
	}
	where, args = "began < ?", []any{to, to}
	if agent != "" {
		where, args = "agent = ? AND "+where, []any{to, agent, to}
	}
	rows, err = tx.QueryContext(ctx, "SELECT 0, 0, agent, began, ?, status, reason, state, call, queue FROM agent_now WHERE "+where+" ORDER BY agent", args...)
	if err != nil {
		return fmt.Errorf("query agents' present spans: %w", err)
	}
	return scan(rows, func(a *Span) []any { return a.fields() }, f)
}

// scan reads rows to their end and closes them.
func scan[T any](rows *sql.Rows, fields func(*T) []any, f func(*T) error) error {
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(fields(&v)...); err != nil {
			return fmt.Errorf("read a record: %w", err)
		}
		if err := f(&v); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	return nil
}
