// Package facts keeps the history of calls and agents in this node's SQLite
// file: the rows that the state machine appends, by (index, n). Every router
// projects the same log, so every router holds the same history without a
// database server.
//
// It computes nothing: percentages and reports are made from the rows by
// whoever reads them. It forgets nothing by itself either.
//
// The schema, version 1:
//
//	fact(idx, n)  PRIMARY KEY  log index, and place among its facts
//	at            nanoseconds since 1970, machine time
//	kind          what happened
//	call, leg, agent, queue, node   ids, '' where they don't apply
//	attrs         JSON object of strings, '' for none
//	fact_call     index of (call, idx, n), for the history of one call
package facts

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	_ "modernc.org/sqlite" // the database/sql driver

	"trunkline/routerd/routeapi"
)

const (
	schemaVersion = 1
	schema        = `
CREATE TABLE fact (
	idx   INTEGER NOT NULL,
	n     INTEGER NOT NULL,
	at    INTEGER NOT NULL,
	kind  TEXT NOT NULL,
	call  TEXT NOT NULL,
	leg   TEXT NOT NULL,
	agent TEXT NOT NULL,
	queue TEXT NOT NULL,
	node  TEXT NOT NULL,
	attrs TEXT NOT NULL,
	PRIMARY KEY (idx, n)
) WITHOUT ROWID;
CREATE INDEX fact_call ON fact (call, idx, n) WHERE call <> '';
PRAGMA user_version = 1;`

	insert = `INSERT INTO fact (idx, n, at, kind, call, leg, agent, queue, node, attrs)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (idx, n) DO NOTHING`
)

var (
	appended = metrics.NewCounter("routerd_facts_appended_total")
	took     = metrics.NewHistogram("routerd_facts_append_seconds")
)

// maxRows bounds a query that names no limit.
const maxRows = 10_000

// Store is this node's history.
type Store struct {
	db     *sql.DB
	write  sync.Mutex
	cursor atomic.Uint64
}

// Open opens the history at path, or begins one.
func Open(path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open facts: %w", err)
	}
	// Full synchronisation: the cursor tells the others that this node has
	// the rows, and they may forget them.
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open facts in %s: %w", path, err)
	}
	s := &Store{db: db}
	if err := s.prepare(); err != nil {
		db.Close()
		return nil, fmt.Errorf("open facts in %s: %w", path, err)
	}
	return s, nil
}

func (s *Store) prepare() error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch version {
	case 0:
		if _, err := tx.Exec(schema); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
	case schemaVersion:
	default:
		return fmt.Errorf("schema version %d was written by a newer program, this one knows %d", version, schemaVersion)
	}
	var last uint64
	if err := tx.QueryRow("SELECT coalesce(max(idx), 0) FROM fact").Scan(&last); err != nil {
		return err
	}
	s.cursor.Store(last)
	return tx.Commit()
}

// Append stores a batch in one transaction; rows that are there already stay as
// they are. A batch holds the facts of an index whole, since Cursor counts an
// index as done with its first fact.
func (s *Store) Append(ctx context.Context, batch []routeapi.Fact) error {
	if len(batch) == 0 {
		return nil
	}
	defer took.UpdateDuration(time.Now())
	s.write.Lock()
	defer s.write.Unlock()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("append facts: %w", err)
	}
	defer tx.Rollback()
	stmt, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return fmt.Errorf("append facts: %w", err)
	}
	last := s.cursor.Load()
	added := 0
	for _, f := range batch {
		attrs := ""
		if len(f.Attrs) > 0 {
			b, err := json.Marshal(f.Attrs)
			if err != nil {
				return fmt.Errorf("append fact %d.%d: %w", f.Index, f.N, err)
			}
			attrs = string(b)
		}
		r, err := stmt.ExecContext(ctx, f.Index, f.N, f.At.UnixNano(), f.Kind, f.Call, f.Leg, f.Agent, f.Queue, f.Node, attrs)
		if err != nil {
			return fmt.Errorf("append fact %d.%d: %w", f.Index, f.N, err)
		}
		if n, err := r.RowsAffected(); err == nil {
			added += int(n)
		}
		last = max(last, f.Index)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("append facts up to %d: %w", last, err)
	}
	s.cursor.Store(last)
	appended.Add(added)
	return nil
}

// Cursor is the highest log index whose facts are on this node's disk; 0 for
// none.
func (s *Store) Cursor() uint64 { return s.cursor.Load() }

// Query returns facts with an index above after, in order; call, unless empty,
// keeps those of one call. The facts of the last index are whole, so that the
// next page may go on after it; there may be a few more than limit therefore.
// A limit of 0 or above 10 000 means 10 000.
func (s *Store) Query(call string, after uint64, limit int) ([]routeapi.Fact, error) {
	if limit <= 0 || limit > maxRows {
		limit = maxRows
	}
	// The subquery finds the index of the last row within the limit, or the
	// largest of all when there are fewer rows.
	const columns = "idx, n, at, kind, call, leg, agent, queue, node, attrs"
	where, args := "idx > ?", []any{after}
	if call != "" {
		where, args = "call = ? AND call <> '' AND idx > ?", []any{call, after}
	}
	query := "SELECT " + columns + " FROM fact WHERE " + where +
		" AND idx <= coalesce((SELECT idx FROM fact WHERE " + where + " ORDER BY idx, n LIMIT 1 OFFSET ?), 9223372036854775807) ORDER BY idx, n"
	args = append(append(args, args...), limit-1)
	rows, err := s.db.Query(query, args...)
	if err != nil {
		return nil, fmt.Errorf("query facts: %w", err)
	}
	defer rows.Close()
	list := []routeapi.Fact{}
	for rows.Next() {
		var f routeapi.Fact
		var at int64
		var attrs string
		if err := rows.Scan(&f.Index, &f.N, &at, &f.Kind, &f.Call, &f.Leg, &f.Agent, &f.Queue, &f.Node, &attrs); err != nil {
			return nil, fmt.Errorf("read a fact: %w", err)
		}
		f.At = time.Unix(0, at).UTC()
		if attrs != "" {
			if err := json.Unmarshal([]byte(attrs), &f.Attrs); err != nil {
				return nil, fmt.Errorf("read fact %d.%d: %w", f.Index, f.N, err)
			}
		}
		list = append(list, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("query facts: %w", err)
	}
	return list, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
