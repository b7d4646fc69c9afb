// Package facts keeps the history of calls and agents in this node's SQLite
// file: the rows that the state machine appends, by (index, n), and the call
// detail records that follow from them. Every router projects the same log, so
// every router holds the same history without a database server.
//
// # What a file promises
//
// A file holds all facts of the log indexes above Floor up to Cursor: it takes
// a batch only if it begins where the file ends, so it never has a hole. It
// chains a sum over them as the machine does: a file that comes to the
// machine's sum has the machine's history. Each fact and the records derived
// from it are committed in one transaction, so the two can't disagree. Rows
// leave in the order in which they came, by Expire.
//
// It computes nothing: percentages and reports are made from the rows by
// whoever reads them (package totals).
package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	_ "modernc.org/sqlite" // the database/sql driver

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

var (
	appended  = metrics.NewCounter("routerd_facts_appended_total")
	took      = metrics.NewHistogram("routerd_facts_append_seconds")
	malformed = metrics.NewCounter("routerd_facts_malformed_total")
)

var (
	// ErrGap means that a batch does not begin where the file ends: facts in
	// between would be missing for ever.
	ErrGap = errors.New("facts before the batch are missing")
	// ErrDiverged means that the file and the batch come to another sum than
	// whoever gave the batch: one of the two is not the cluster's history.
	ErrDiverged = errors.New("the facts come to another sum: this file, or where the batch is from, is damaged")
)

// Bounds of one read and one write.
const (
	maxRows  = 10_000 // rows of a query that names no limit
	maxConns = 8      // each has a page cache of 2 MB

	// Work and rest of a batch that is appended gently.
	workFor = time.Millisecond
	restFor = 2 * time.Millisecond

	checkpointFacts = 1000 // how many facts lie between two checkpoints at least
)

// Batch is what a log's indexes above After, up to and with Upto, brought: all
// facts of them, in order.
type Batch struct {
	After, Upto uint64
	Facts       []acd.Fact
	// Sum, unless nil, is what the history up to Upto comes to where the batch
	// is from. Adopt takes it for the file's own without comparing.
	Sum   *uint64
	Adopt bool
	// Gently leaves processor and disk to others most of the time: what is behind
	// by a second harms nobody, and calls wait for both.
	Gently bool
}

// Store is this node's history. It may be used by several goroutines.
type Store struct {
	db         *sql.DB
	statements statements

	write sync.Mutex // one transaction at a time; guards what follows
	spans spans
	sum   *uint64 // chained over all facts up to the cursor; nil: not known
	since int     // facts since the last checkpoint

	checkpointEvery, expireStep, upgradeFacts int // the constants, except in tests

	cursor atomic.Uint64 // see Cursor
	floor  atomic.Uint64 // see Floor
	behind atomic.Bool   // records of older facts are still to be derived, see Upgrade
}

// Open opens the history at path, or begins one. A file of an older version is
// brought up to date by Upgrade, which takes as long as the file is large and
// is therefore not done here.
func Open(path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open facts: %w", err)
	}
	// Full synchronisation: the cursor tells the others that this node has
	// the rows, and they may forget them. Secure deletion: what is removed is
	// overwritten, and not merely unlinked (T11).
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=secure_delete(ON)&_pragma=wal_autocheckpoint(4000)&_pragma=busy_timeout(5000)&_txlock=immediate"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open facts in %s: %w", path, err)
	}
	db.SetMaxOpenConns(maxConns)
	s := &Store{db: db, checkpointEvery: checkpointFacts, expireStep: ExpireStep, upgradeFacts: upgradeFacts}
	if err = s.prepare(); err == nil {
		err = s.statements.prepare(db)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open facts in %s: %w", path, err)
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return errors.Join(s.statements.close(), s.db.Close()) }

// Cursor is the log index up to which the facts are on this node's disk; 0 for
// none.
func (s *Store) Cursor() uint64 { return s.cursor.Load() }

// Floor is the log index up to which facts have expired, or were before this
// file began; 0: it holds the history from its beginning.
func (s *Store) Floor() uint64 { return s.floor.Load() }

// Append stores a batch and the records derived from it in one transaction.
// Facts that are there already stay as they are. It returns ErrGap if the batch
// begins above the file's end and ErrDiverged if the sums differ, and stores
// nothing then.
func (s *Store) Append(ctx context.Context, b Batch) error {
	s.write.Lock()
	defer s.write.Unlock()
	cursor := s.cursor.Load()
	if b.After > cursor {
		return fmt.Errorf("append facts after %d to a file that ends at %d: %w", b.After, cursor, ErrGap)
	}
	if s.behind.Load() {
		return errors.New("append facts: the file is not upgraded yet")
	}
	fresh := b.Facts
	for len(fresh) > 0 && fresh[0].Index <= cursor {
		fresh = fresh[1:]
	}
	sum, err := s.chain(fresh, b)
	if err != nil {
		return err
	}
	if len(fresh) == 0 && equal(sum, s.sum) {
		// That there was nothing is not worth a write: after a restart it is
		// found out again.
		s.cursor.Store(max(cursor, b.Upto))
		return nil
	}
	from := s.sum
	if b.Adopt {
		from = nil // what the file came to was wrong
	}
	return s.appendFresh(ctx, fresh, b.Gently, max(cursor, b.Upto), from, sum)
}

// chain returns what the file comes to with the fresh facts of a batch.
func (s *Store) chain(fresh []acd.Fact, b Batch) (*uint64, error) {
	if b.Upto < s.cursor.Load() {
		return s.sum, nil // the batch's sum is of the past
	}
	if b.Adopt || s.sum == nil {
		return b.Sum, nil
	}
	sum := *s.sum
	for _, f := range fresh {
		sum = f.Chain(sum)
	}
	if b.Sum != nil && *b.Sum != sum {
		return nil, fmt.Errorf("append facts after %d up to %d: sum %x, want %x: %w", b.After, b.Upto, sum, *b.Sum, ErrDiverged)
	}
	return &sum, nil
}

func equal(a, b *uint64) bool { return a == b || a != nil && b != nil && *a == *b }

// appendFresh stores facts that chain from one sum, if it is known, to another.
func (s *Store) appendFresh(ctx context.Context, fresh []acd.Fact, gently bool, upto uint64, chained, sum *uint64) error {
	defer took.UpdateDuration(time.Now())
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("append facts: %w", err)
	}
	defer tx.Rollback()
	// A statement that can be cut off costs a goroutine; the transaction still is.
	ctx = context.WithoutCancel(ctx)
	w := s.writer(tx)
	work := time.Now()
	d, since := s.spans.derive(), s.since
	for i, raw := range fresh {
		if gently && time.Since(work) > workFor {
			time.Sleep(restFor)
			work = time.Now()
		}
		f := texts(raw, fit)
		if err := w.fact(ctx, f); err != nil {
			return fmt.Errorf("append fact %d.%d: %w", f.Index, f.N, err)
		}
		if err := w.records(ctx, d.of(f)); err != nil {
			return fmt.Errorf("append the records of fact %d.%d: %w", f.Index, f.N, err)
		}
		if chained != nil {
			next := raw.Chain(*chained)
			chained = &next
		}
		since++
		if whole := i == len(fresh)-1 || fresh[i+1].Index != f.Index; whole && since >= s.checkpointEvery && chained != nil {
			since = 0
			if err := w.checkpoint(ctx, f.Index, *chained); err != nil {
				return fmt.Errorf("append checkpoint %d: %w", f.Index, err)
			}
		}
	}
	if err := w.flush(ctx); err != nil {
		return fmt.Errorf("append facts: %w", err)
	}
	if err := w.open(ctx, d.changed); err != nil {
		return fmt.Errorf("append agents' states: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE progress SET cursor = ?, derived = ?, sum = ?", int64(upto), int64(upto), stored(sum)); err != nil {
		return fmt.Errorf("append facts: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("append facts up to %d: %w", upto, err)
	}
	d.keep()
	s.sum, s.since = sum, since
	s.cursor.Store(upto)
	appended.Add(len(fresh))
	malformed.Add(d.malformed)
	return nil
}

// Query returns facts with an index above after, in order; call, unless empty,
// keeps those of one call. The facts of the last index are whole, so that the
// next page may go on after it; there may be a few more than limit therefore.
// A limit of 0 or above 10 000 means 10 000.
func (s *Store) Query(ctx context.Context, call string, after uint64, limit int) ([]routeapi.Fact, error) {
	where, args := "idx > ?", []any{int64(min(after, math.MaxInt64))}
	if call != "" {
		where, args = "call = ? AND call <> '' AND idx > ?", append([]any{call}, args...)
	}
	list := []routeapi.Fact{}
	err := s.read(ctx, where, args, limit, func(f acd.Fact) { list = append(list, View(f)) })
	return list, err
}

// After returns facts with an index above after as the machine made them,
// otherwise like Query.
func (s *Store) After(ctx context.Context, after uint64, limit int) ([]acd.Fact, error) {
	var list []acd.Fact
	err := s.read(ctx, "idx > ?", []any{int64(min(after, math.MaxInt64))}, limit, func(f acd.Fact) { list = append(list, texts(f, plain)) })
	return list, err
}

var (
	factTable   = table{"fact", []string{"idx", "n", "at", "kind", "call", "leg", "agent", "queue", "node", "attrs"}}
	factColumns = factTable.list()
)

// read gives f the facts that match where, at most limit and the rest of the
// last one's index.
func (s *Store) read(ctx context.Context, where string, args []any, limit int, f func(acd.Fact)) error {
	if limit <= 0 || limit > maxRows {
		limit = maxRows
	}
	// The subquery finds the index of the last row within the limit, or the
	// largest of all when there are fewer rows.
	query := "SELECT " + factColumns + " FROM fact WHERE " + where +
		" AND idx <= coalesce((SELECT idx FROM fact WHERE " + where + " ORDER BY idx, n LIMIT 1 OFFSET ?), 9223372036854775807) ORDER BY idx, n"
	rows, err := s.db.QueryContext(ctx, query, append(append(args, args...), limit-1)...)
	if err != nil {
		return fmt.Errorf("query facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		fact, err := scanFact(rows)
		if err != nil {
			return err
		}
		f(fact)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("query facts: %w", err)
	}
	return nil
}

func scanFact(rows *sql.Rows) (acd.Fact, error) {
	var f acd.Fact
	var attrs string
	err := rows.Scan(&f.Index, &f.N, &f.At, &f.Kind, &f.Call, &f.Leg, &f.Agent, &f.Queue, &f.Node, &attrs)
	if err != nil {
		return f, fmt.Errorf("read a fact: %w", err)
	}
	if f.Attrs, err = decodeAttrs(attrs); err != nil {
		return f, fmt.Errorf("read fact %d.%d: %w", f.Index, f.N, err)
	}
	return f, nil
}

// stored is a sum as SQLite holds it: with a sign, or NULL.
func stored(sum *uint64) sql.NullInt64 {
	if sum == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: int64(*sum), Valid: true}
}

func restored(v sql.NullInt64) *uint64 {
	if !v.Valid {
		return nil
	}
	sum := uint64(v.Int64)
	return &sum
}

// View is a fact as the API shows it.
func View(f acd.Fact) routeapi.Fact {
	v := routeapi.Fact{
		Index: f.Index, N: f.N, At: time.Unix(0, int64(f.At)).UTC(), Kind: f.Kind, Call: string(f.Call), Leg: string(f.Leg),
		Agent: string(f.Agent), Queue: string(f.Queue), Node: string(f.Node),
	}
	if len(f.Attrs) > 0 {
		v.Attrs = make(map[string]string, len(f.Attrs))
		for _, a := range f.Attrs {
			v.Attrs[a.Key] = a.Value
		}
	}
	return v
}
