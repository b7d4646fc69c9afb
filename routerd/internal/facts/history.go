package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"trunkline/routerd/acd"
)

// Between gives f the facts that happened at or after from and before to, in
// order.
func (s *Store) Between(ctx context.Context, from, to acd.Time, f func(acd.Fact) error) error {
	first, err := s.firstAt(ctx, from)
	if err != nil {
		return err
	}
	return s.each(ctx, "idx >= ?", []any{int64(first)}, func(fact acd.Fact) (bool, error) {
		if fact.At >= to {
			return false, nil
		}
		return true, f(fact)
	})
}

// OfCall gives f the facts of a call that happened at or after from, in order.
func (s *Store) OfCall(ctx context.Context, call string, from acd.Time, f func(acd.Fact) error) error {
	return s.each(ctx, "call = ? AND call <> '' AND at >= ?", []any{call, int64(from)}, func(fact acd.Fact) (bool, error) {
		return true, f(fact)
	})
}

// each gives f the facts that match where, one at a time, until it says that it
// has enough.
func (s *Store) each(ctx context.Context, where string, args []any, f func(acd.Fact) (more bool, err error)) error {
	rows, err := s.db.QueryContext(ctx, "SELECT "+factColumns+" FROM fact WHERE "+where+" ORDER BY idx, n", args...)
	if err != nil {
		return fmt.Errorf("query facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		fact, err := scanFact(rows)
		if err != nil {
			return err
		}
		if more, err := f(fact); err != nil || !more {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("query facts: %w", err)
	}
	return nil
}

// firstAt returns the lowest log index all of whose facts, and those of later
// ones, happened at or after t. Machine time grows with the index, so the
// primary key is enough to find it.
func (s *Store) firstAt(ctx context.Context, t acd.Time) (uint64, error) {
	low, high := s.floor.Load(), s.cursor.Load()+1 // the answer is in (low, high]
	for low+1 < high {
		mid := low + (high-low)/2
		idx, at, err := s.factFrom(ctx, mid)
		if err != nil {
			return 0, err
		}
		if at >= t {
			high = mid
		} else {
			low = idx // no fact in between
		}
	}
	return high, nil
}

// factFrom returns index and time of the first fact at or above an index; a time
// without end if there is none.
func (s *Store) factFrom(ctx context.Context, index uint64) (uint64, acd.Time, error) {
	var idx int64
	var at acd.Time
	err := s.db.QueryRowContext(ctx, "SELECT idx, at FROM fact WHERE idx >= ? ORDER BY idx, n LIMIT 1", int64(index)).Scan(&idx, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return index, math.MaxInt64, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("query facts: %w", err)
	}
	return uint64(idx), at, nil
}
