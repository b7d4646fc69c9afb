package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"trunkline/routerd/acd"
)

// Page is a part of a file for a router whose own ends before the state's
// tail. After is where it begins: where the asker's file ends, or this file's
// Floor if that is higher. Then Base is what the history comes to there, nil if
// it is not known, and Spans are the agents' states of that moment.
type Page struct {
	Batch
	Base   *uint64
	Spans  []Span
	Cursor uint64 // where this file ends
}

// Page returns the facts behind after, about limit of them. Where it can it
// ends at a checkpoint, so that Batch.Sum tells whether it is whole and right.
func (s *Store) Page(ctx context.Context, after uint64, limit int) (Page, error) {
	if limit <= 0 || limit > maxRows {
		limit = maxRows
	}
	// In one transaction: what is read belongs together.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Page{}, fmt.Errorf("page of facts: %w", err)
	}
	defer tx.Rollback()
	var cursor, floor int64
	var sum, floorSum sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT cursor, floor, sum, floor_sum FROM progress").Scan(&cursor, &floor, &sum, &floorSum); err != nil {
		return Page{}, fmt.Errorf("page of facts: %w", err)
	}
	p := Page{Batch: Batch{After: after}, Cursor: uint64(cursor)}
	if after < uint64(floor) {
		p.After, p.Base = uint64(floor), restored(floorSum)
		if p.Spans, err = spansAt(ctx, tx, floor); err != nil {
			return Page{}, fmt.Errorf("page of facts: %w", err)
		}
	}
	if p.Upto, p.Sum, err = pageEnd(ctx, tx, p.After, limit, uint64(cursor), restored(sum)); err != nil {
		return Page{}, fmt.Errorf("page of facts: %w", err)
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+factColumns+" FROM fact WHERE idx > ? AND idx <= ? ORDER BY idx, n", int64(p.After), int64(p.Upto))
	if err != nil {
		return Page{}, fmt.Errorf("page of facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		f, err := scanFact(rows)
		if err != nil {
			return Page{}, err
		}
		p.Facts = append(p.Facts, texts(f, plain))
	}
	if err := rows.Err(); err != nil {
		return Page{}, fmt.Errorf("page of facts: %w", err)
	}
	return p, nil
}

// spansAt returns the spans in which the agents were behind the facts of an
// index: those that later facts ended, and those that last.
func spansAt(ctx context.Context, tx *sql.Tx, index int64) ([]Span, error) {
	var next sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT at FROM fact WHERE idx > ? ORDER BY idx, n LIMIT 1)", index).Scan(&next); err != nil {
		return nil, err
	}
	if !next.Valid {
		next.Int64 = math.MaxInt64
	}
	rows, err := tx.QueryContext(ctx, `SELECT agent, began, status, reason, state, call, queue FROM agent_span WHERE idx > ? AND began < ? UNION ALL
SELECT agent, began, status, reason, state, call, queue FROM agent_now WHERE began < ? ORDER BY agent`, index, next.Int64, next.Int64)
	if err != nil {
		return nil, err
	}
	var list []Span
	err = scan(rows, func(a *Span) []any {
		return []any{&a.Agent, &a.From, &a.Status, &a.Reason, &a.State, &a.Call, &a.Queue}
	}, func(a *Span) error { list = append(list, *a); return nil })
	return list, err
}

// pageEnd is the last checkpoint within limit facts behind after, or the file's
// end if that is within; failing both, as for a history whose sum is not
// known, the index that holds the last of them.
func pageEnd(ctx context.Context, tx *sql.Tx, after uint64, limit int, cursor uint64, sum *uint64) (uint64, *uint64, error) {
	if after >= cursor {
		return after, nil, nil
	}
	var last int64
	err := tx.QueryRowContext(ctx, "SELECT idx FROM fact WHERE idx > ? ORDER BY idx, n LIMIT 1 OFFSET ?", int64(after), limit-1).Scan(&last)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return cursor, sum, nil
	case err != nil:
		return 0, nil, err
	}
	var at int64
	var there sql.NullInt64
	err = tx.QueryRowContext(ctx, "SELECT idx, sum FROM checkpoint WHERE idx > ? AND idx <= ? ORDER BY idx DESC LIMIT 1", int64(after), last).Scan(&at, &there)
	if errors.Is(err, sql.ErrNoRows) {
		return uint64(last), nil, nil
	}
	return uint64(at), restored(there), err
}

// Check says what is wrong with a page that another router gave, without regard
// to this file: its facts must be of its range and in order.
func (p *Page) Check(after uint64) error {
	if p.After < after || p.Upto < p.After || p.Cursor < p.Upto {
		return fmt.Errorf("a page from %d to %d of a file that ends at %d was asked for after %d", p.After, p.Upto, p.Cursor, after)
	}
	last := acd.Fact{Index: p.After, N: 1<<32 - 1}
	for _, f := range p.Facts {
		switch next := f.Index == last.Index && f.N == last.N+1 && len(f.Kind) > 0; {
		case f.Index > p.Upto:
			return fmt.Errorf("fact %d.%d is outside of the page from %d to %d", f.Index, f.N, p.After, p.Upto)
		case f.Index > last.Index && f.N != 0, f.Index <= last.Index && !next:
			return fmt.Errorf("fact %d.%d follows %d.%d", f.Index, f.N, last.Index, last.N)
		}
		last = f
	}
	return nil
}

// Skip lets the file go on where a page begins, if that is behind its end: no
// router has the facts in between any more. What this file has of older ones
// expires in its turn.
func (s *Store) Skip(ctx context.Context, p *Page) error {
	s.write.Lock()
	defer s.write.Unlock()
	if p.After <= s.cursor.Load() {
		return nil
	}
	if s.behind.Load() {
		return errors.New("skip facts: the file is not upgraded yet")
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("skip facts: %w", err)
	}
	defer tx.Rollback()
	w := s.writer(tx)
	d := s.spans.derive()
	for agent := range s.spans {
		d.changed[agent] = nil
	}
	for _, a := range p.Spans {
		a.offered = a.Queue
		d.changed[a.Agent] = &a
	}
	if err := w.open(ctx, d.changed); err != nil {
		return fmt.Errorf("skip facts: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE progress SET cursor = ?, derived = ?, floor = ?, sum = ?, floor_sum = ?",
		int64(p.After), int64(p.After), int64(p.After), stored(p.Base), stored(p.Base)); err != nil {
		return fmt.Errorf("skip facts: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("skip facts up to %d: %w", p.After, err)
	}
	d.keep()
	s.cursor.Store(p.After)
	s.floor.Store(p.After)
	s.sum, s.since = p.Base, 0
	return nil
}
