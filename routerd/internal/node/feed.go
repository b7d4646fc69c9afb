package node

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/internal/facts/postgres"
)

const (
	feedEvery   = time.Second // with little traffic, one log entry for the cursor
	feedBackoff = 30 * time.Second
)

var (
	delivered    = metrics.NewCounter("routerd_sink_delivered_rows_total")
	feedFailures = metrics.NewCounter("routerd_sink_failures_total")
	feedSkipped  = metrics.NewCounter("routerd_sink_skipped_total")
)

// feeder copies this router's facts into an external database while it leads.
// Calls know nothing of it: it reads the file, and what it can't deliver stays
// there.
type feeder struct {
	facts *facts.Store
	log   *slog.Logger
	leads func() bool
	// cursor is how far the database is, by the log, and now is machine time.
	cursor  func() (index uint64, now acd.Time)
	deliver func(ctx context.Context, from *facts.Store, after uint64) (upto uint64, rows int, err error)
	close   func()
	// confirm commits the new cursor, and returns once this node has applied it.
	confirm func(ctx context.Context, index uint64) error

	complaint complaint
	lag       atomic.Uint64 // seconds, as the bits of a float64
}

// feed delivers while the node leads.
func (n *Node) feed(ctx context.Context) {
	if !n.conf.Facts.Postgres.Given() {
		return
	}
	name := n.conf.Facts.Postgres.CursorName()
	sink := postgres.New(n.conf.Facts.Postgres.Connect)
	f := &feeder{
		facts: n.facts, log: n.log, deliver: sink.Deliver, close: sink.Close, complaint: complaint{every: time.Minute},
		leads: func() bool {
			_, self := n.store.Leader()
			return self && n.incarnation.Load() != 0
		},
		cursor: func() (index uint64, now acd.Time) {
			n.view(func(m *acd.Machine) { index, now = m.SinkConfirmed(name), m.Now() })
			return index, now
		},
		confirm: func(ctx context.Context, index uint64) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, at, err := n.proposer.propose(ctx, acd.SinkConfirmed{Sink: name, Index: index})
			if err == nil && !n.waitApplied(ctx.Done(), at) {
				err = ctx.Err()
			}
			return err
		},
	}
	metrics.NewGauge("routerd_sink_lag_seconds", func() float64 { return math.Float64frombits(f.lag.Load()) })
	f.run(ctx)
}

func (f *feeder) run(ctx context.Context) {
	defer f.close()
	for failures := 0; ; {
		more, err := f.step(ctx)
		wait := feedEvery
		switch {
		case err == nil:
			failures = 0
			f.complaint.over()
			if more {
				wait = 0
			}
		case ctx.Err() == nil:
			feedFailures.Inc()
			wait = min(feedEvery<<min(failures, 10), feedBackoff)
			failures++
			if f.complaint.due(time.Now()) {
				f.log.Error("the database takes no facts: they wait in this router's file; is the server up, and do facts.postgres, its user and its tables fit?", "err", err)
			}
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// step delivers one batch and moves the cursor. It tells whether there may be
// more.
func (f *feeder) step(ctx context.Context) (more bool, err error) {
	if !f.leads() {
		f.close()
		f.lag.Store(0)
		return false, nil
	}
	cursor, now := f.cursor()
	if err := f.measure(ctx, cursor, now); err != nil {
		return false, err
	}
	if floor := f.facts.Floor(); cursor < floor {
		if cursor > 0 {
			feedSkipped.Inc()
			f.log.Error("facts expired before the database took them", "after", cursor, "upto", floor)
		}
		cursor = floor
	}
	if f.facts.Cursor() <= cursor {
		return false, nil // this file is behind: another router led until now
	}
	upto, rows, err := f.deliver(ctx, f.facts, cursor)
	if err != nil || upto == cursor {
		return false, err
	}
	delivered.Add(rows)
	// Committed in the database, not yet in the log: should this router die here,
	// the next leader writes the same rows again, which changes nothing.
	if err := f.confirm(ctx, upto); err != nil {
		return false, fmt.Errorf("commit the database's cursor %d: %w", upto, err)
	}
	return true, f.measure(ctx, upto, now)
}

// measure notes how old the oldest fact is that the database does not have.
func (f *feeder) measure(ctx context.Context, cursor uint64, now acd.Time) error {
	at, some, err := f.facts.OldestAfter(ctx, cursor)
	if err != nil {
		return err
	}
	lag := 0.0
	if some {
		lag = max(0, now.Sub(at).Seconds())
	}
	f.lag.Store(math.Float64bits(lag))
	return nil
}
