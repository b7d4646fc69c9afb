// Package postgres copies a router's facts and call records into a PostgreSQL
// database, each row once.
//
// A batch is one transaction, and a row that is there already stays as it is:
// rows follow from the log alone, so whoever writes one writes the same. The
// cursor moves after the commit. So it does no harm if a batch is written
// again, by this leader after a crash, by the next one, or by an old one that
// was paused and wakes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"trunkline/routerd/internal/facts"
)

// Bounds of one batch. A leader that is paused within one must not hold its
// rows locked against the next leader: the server ends its session.
const (
	BatchFacts   = 2000
	patience     = 30 * time.Second // for one batch, connecting included
	idlePatience = 5 * time.Second  // of the server, with a session that is silent within a transaction
)

// Sink is a connection to the database, made when it is needed.
type Sink struct {
	connect func() (*pgx.ConnConfig, error)
	idle    time.Duration // idlePatience, except in tests
	batch   int           // BatchFacts, except in tests
	conn    *pgx.Conn
	ready   bool // the tables are there
}

// New returns a sink; connect says where the database is, each time anew, so
// that a changed password is found.
func New(connect func() (*pgx.ConnConfig, error)) *Sink {
	return &Sink{connect: connect, idle: idlePatience, batch: BatchFacts}
}

// Deliver copies the next rows of a file behind an index and returns up to
// which index the database has them, and how many there were. It fails as a
// whole or not at all. An error names no secret.
func (s *Sink) Deliver(ctx context.Context, from *facts.Store, after uint64) (upto uint64, n int, err error) {
	rows, err := from.Rows(ctx, after, s.batch)
	if err != nil || rows.Upto == after {
		return after, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.open(ctx); err != nil {
		return after, 0, fmt.Errorf("connect to the database: %w", err)
	}
	if n, err = s.write(ctx, rows); err != nil {
		s.Close() // whatever state the session is in
		return after, 0, fmt.Errorf("write facts after %d: %w", after, err)
	}
	return rows.Upto, n, nil
}

// Close ends the session.
func (s *Sink) Close() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.conn.Close(ctx) // it is given up: what comes of that changes nothing
	s.conn, s.ready = nil, false
}

func (s *Sink) open(ctx context.Context) error {
	if s.conn != nil && s.ready {
		return nil
	}
	s.Close()
	conf, err := s.connect()
	if err != nil {
		return err
	}
	for k, v := range map[string]string{
		"application_name":   "trunkline-routerd",
		"synchronous_commit": "on", // the cursor moves for good
		"statement_timeout":  millis(patience),
		// A session in a transaction whose client is silent or gone.
		"idle_in_transaction_session_timeout": millis(s.idle),
		"tcp_keepalives_idle":                 "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	} {
		conf.RuntimeParams[k] = v
	}
	conf.ConnectTimeout = 5 * time.Second
	conf.DialFunc = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	if s.conn, err = pgx.ConnectConfig(ctx, conf); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return err
	}
	s.ready = true
	return nil
}

func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// prepare makes the tables if they are not there. A user who may not make any
// finds those that an administrator made.
func (s *Sink) prepare(ctx context.Context) error {
	var version int
	err := s.conn.QueryRow(ctx, "SELECT version FROM trunkline_schema").Scan(&version)
	var pgErr *pgconn.PgError
	switch {
	case err == nil && version == schemaVersion:
		return nil
	case err == nil:
		return fmt.Errorf("the database has schema version %d, this program writes %d", version, schemaVersion)
	case !errors.As(err, &pgErr) || pgErr.Code != undefinedTable:
		return err
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	// Two leaders may come here at once.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7265726275)"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, Schema); err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	return tx.Commit(ctx)
}

const undefinedTable = "42P01"

// write inserts a batch in one transaction.
func (s *Sink) write(ctx context.Context, rows facts.Rows) (n int, err error) {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	batch := &pgx.Batch{}
	for _, t := range rows.Tables {
		if t.Len() == 0 {
			continue
		}
		text, args := insert(t)
		batch.Queue(text, args...)
		n += t.Len()
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return 0, err
	}
	return n, tx.Commit(ctx)
}

// insert makes one statement of all rows of a table.
func insert(t facts.TableRows) (string, []any) {
	var names, columns, arrays []string
	var args []any
	for i, c := range t.Columns {
		names = append(names, c.Name)
		column := "v." + c.Name
		if c.Texts == nil {
			arrays = append(arrays, fmt.Sprintf("$%d::bigint[]", i+1))
			args = append(args, c.Ints)
		} else {
			arrays = append(arrays, fmt.Sprintf("$%d::text[]", i+1))
			args = append(args, c.Texts)
		}
		if c.Name == "attrs" {
			column = "coalesce(nullif(v.attrs, ''), '{}')::jsonb"
		}
		columns = append(columns, column)
	}
	list := strings.Join(names, ", ")
	return "INSERT INTO " + t.Table + " (" + list + ") SELECT " + strings.Join(columns, ", ") +
		" FROM unnest(" + strings.Join(arrays, ", ") + ") AS v (" + list + ") ON CONFLICT (idx, n) DO NOTHING", args
}
