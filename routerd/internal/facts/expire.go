package facts

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
)

var expired = metrics.NewCounter("routerd_facts_expired_total")

// ExpireStep is how many facts one transaction of Expire removes at most, but
// for the rest of an index: the writer waits for it.
const ExpireStep = 2000

// Expire removes the oldest facts that happened before a moment, and the
// records that follow from them, at most ExpireStep; it returns how many, 0
// when there are no more. What a fact told is overwritten on the disk.
func (s *Store) Expire(ctx context.Context, before acd.Time) (int, error) {
	s.write.Lock()
	defer s.write.Unlock()
	if s.behind.Load() {
		return 0, nil // their records are not there yet
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("expire facts: %w", err)
	}
	defer tx.Rollback()
	floor := s.floor.Load()
	upto, n, sum, err := s.oldest(ctx, before)
	if err != nil {
		return 0, fmt.Errorf("expire facts: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	for _, table := range []string{"fact", callTable.name, legTable.name, spanTable.name, "checkpoint"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE idx <= ?", int64(upto)); err != nil {
			return 0, fmt.Errorf("expire rows of %s: %w", table, err)
		}
	}
	// Below the floor there are only rows from before a Skip.
	if upto > floor {
		floor = upto
		if _, err := tx.ExecContext(ctx, "UPDATE progress SET floor = ?, floor_sum = ?", int64(upto), stored(sum)); err != nil {
			return 0, fmt.Errorf("expire facts: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("expire facts up to %d: %w", upto, err)
	}
	s.floor.Store(floor)
	expired.Add(n)
	return n, nil
}

// oldest finds the oldest facts before a moment: up to which index they go, how
// many they are, and what the history comes to there.
func (s *Store) oldest(ctx context.Context, before acd.Time) (upto uint64, n int, sum *uint64, err error) {
	var known sql.NullInt64
	if err := s.db.QueryRowContext(ctx, "SELECT floor_sum FROM progress").Scan(&known); err != nil {
		return 0, 0, nil, err
	}
	floor := s.floor.Load()
	sum = restored(known)
	err = s.each(ctx, "idx >= 0", nil, func(f acd.Fact) (bool, error) {
		if f.At >= before || n >= s.expireStep && f.Index != upto {
			return false, nil
		}
		n++
		upto = f.Index
		if sum != nil && f.Index > floor {
			next := texts(f, plain).Chain(*sum)
			sum = &next
		}
		return true, nil
	})
	return upto, n, sum, err
}
