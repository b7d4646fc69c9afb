package node

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

// database takes a few facts at once, and notes what it was given.
type database struct {
	down bool
	got  []uint64 // cursors after each batch
}

func (d *database) deliver(ctx context.Context, from *facts.Store, after uint64) (uint64, int, error) {
	if d.down {
		return after, 0, errors.New("connection refused")
	}
	rows, err := from.Rows(ctx, after, 4)
	if err != nil || rows.Upto == after {
		return after, 0, err
	}
	d.got = append(d.got, rows.Upto)
	return rows.Upto, 4, nil
}

type feedTest struct {
	*feeder
	db     *database
	leads  bool
	cursor uint64 // by the log
	now    acd.Time
	log    strings.Builder
}

func newFeedTest(t *testing.T, list ...acd.Fact) *feedTest {
	t.Helper()
	f := &feedTest{db: &database{}, leads: true, now: 100_000_000_000}
	f.feeder = &feeder{
		facts: historian(t, slog.New(slog.DiscardHandler), list...).facts, log: slog.New(slog.NewTextHandler(&f.log, nil)),
		leads: func() bool { return f.leads }, cursor: func() (uint64, acd.Time) { return f.cursor, f.now },
		deliver: f.db.deliver, close: func() {}, complaint: complaint{every: time.Minute},
		confirm: func(_ context.Context, index uint64) error { f.cursor = index; return nil },
	}
	return f
}

func (f *feedTest) lagSeconds() float64 { return math.Float64frombits(f.lag.Load()) }

func someFacts(n int) (list []acd.Fact) {
	for i := range n {
		list = append(list, acd.Fact{Index: uint64(i + 1), At: acd.Time(i+1) * 1_000_000_000, Kind: acd.FactCallArrived, Call: "c"})
	}
	return list
}

// The cursor moves after the database has the rows; a router that does not lead
// delivers nothing.
func TestLeaderFeedsTheDatabase(t *testing.T) {
	f := newFeedTest(t, someFacts(10)...)
	f.leads = false
	if more, err := f.step(t.Context()); more || err != nil || len(f.db.got) > 0 {
		t.Errorf("a follower delivered: %v, %v", f.db.got, err)
	}
	f.leads = true
	f.db.down = true
	if _, err := f.step(t.Context()); err == nil || f.cursor != 0 || f.lagSeconds() != 99 {
		t.Errorf("database down: %v, cursor %d, lag %v s", err, f.cursor, f.lagSeconds())
	}
	f.db.down = false
	for i := range 4 {
		more, err := f.step(t.Context())
		if err != nil || more != (i < 3) {
			t.Errorf("step %d: more %t, %v", i, more, err)
		}
	}
	if f.cursor != 10 || f.lagSeconds() != 0 {
		t.Errorf("cursor %d, lag %v s", f.cursor, f.lagSeconds())
	}
	// The next leader begins at the cursor of the log; one whose file is behind
	// it waits.
	f.cursor = 12
	f.db.got = nil
	if more, err := f.step(t.Context()); more || err != nil || len(f.db.got) > 0 {
		t.Errorf("delivered behind the cursor: %v, %v", f.db.got, err)
	}
}

// A commit of the cursor that fails lets the same rows be delivered again.
func TestCursorThatIsNotCommittedIsDeliveredAgain(t *testing.T) {
	f := newFeedTest(t, someFacts(4)...)
	works := f.confirm
	f.confirm = func(context.Context, uint64) error { return errors.New("no leader") }
	if _, err := f.step(t.Context()); err == nil || f.cursor != 0 {
		t.Errorf("%v, cursor %d", err, f.cursor)
	}
	f.confirm = works
	if _, err := f.step(t.Context()); err != nil || f.cursor != 4 || len(f.db.got) != 2 || f.db.got[0] != f.db.got[1] {
		t.Errorf("%v, cursor %d, delivered %v", err, f.cursor, f.db.got)
	}
}

// Facts are kept for their time and no longer, whatever a database does (T11).
func TestExpiredFactsAreSkippedAndTold(t *testing.T) {
	f := newFeedTest(t, someFacts(10)...)
	f.cursor = 2
	if err := expireBefore(t.Context(), f.facts, 6_000_000_000); err != nil {
		t.Fatal(err)
	}
	if _, err := f.step(t.Context()); err != nil || f.db.got[0] != 9 || !strings.Contains(f.log.String(), "expired before the database took them") {
		t.Errorf("%v, delivered %v, logged %s", err, f.db.got, &f.log)
	}
}

// A database that is down for an hour costs a few tries and a line a minute at
// most, and what has gathered is delivered when it is back.
func TestDatabaseThatIsDownIsTriedWithPatience(t *testing.T) {
	f := newFeedTest(t, someFacts(40)...)
	f.db.down = true
	tries := 0
	f.deliver = func(ctx context.Context, from *facts.Store, after uint64) (uint64, int, error) {
		tries++
		return f.db.deliver(ctx, from, after)
	}
	synctest.Test(t, func(t *testing.T) {
		// What the feeder did is looked at while it does not run.
		runFor := func(d time.Duration) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				f.run(ctx)
				close(ended)
			}()
			time.Sleep(d) // of the bubble's time
			synctest.Wait()
			cancel()
			<-ended
		}
		runFor(time.Hour)
		if lines := strings.Count(f.log.String(), "level=ERROR"); tries < 100 || tries > 130 || lines < 55 || lines > 62 || !strings.Contains(f.log.String(), "is the server up") {
			t.Errorf("%d tries, %d lines in an hour", tries, lines)
		}
		f.db.down = false
		runFor(time.Minute)
		if f.cursor != 40 {
			t.Errorf("cursor is %d a minute after it is back", f.cursor)
		}
	})
}
