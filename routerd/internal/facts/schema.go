package facts

import (
	"context"
	"database/sql"
	"fmt"

	"trunkline/routerd/acd"
)

// schemaVersion is PRAGMA user_version of a file this program writes.
//
// Version 1 had the table fact and its index alone. Version 2 adds the records
// derived from facts, and says in progress how far the file is: in version 1
// that was the newest row.
const schemaVersion = 2

// The tables of all versions. Times are nanoseconds since 1970, machine time,
// 0 for never; ids are ” where they don't apply; idx and n of a record are
// those of the fact that it follows from.
//
// Machine time grows with the index, so a time range of facts is found by
// their primary key.
const (
	schemaFacts = `
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
CREATE INDEX fact_call ON fact (call, idx, n) WHERE call <> '';`

	schemaRecords = `
CREATE TABLE call_cdr (
	idx         INTEGER NOT NULL,
	n           INTEGER NOT NULL,
	call        TEXT NOT NULL,
	outcome     TEXT NOT NULL,
	ended_by    TEXT NOT NULL,
	cause       TEXT NOT NULL,
	code        INTEGER NOT NULL,
	trunk       TEXT NOT NULL,
	edge        TEXT NOT NULL,
	from_number TEXT NOT NULL,
	to_number   TEXT NOT NULL,
	sip_call_id TEXT NOT NULL,
	queue       TEXT NOT NULL,
	agent       TEXT NOT NULL,
	node        TEXT NOT NULL,
	ticket      INTEGER NOT NULL,
	offers      INTEGER NOT NULL,
	arrived     INTEGER NOT NULL,
	answered    INTEGER NOT NULL,
	enqueued    INTEGER NOT NULL,
	bridged     INTEGER NOT NULL,
	ended       INTEGER NOT NULL,
	codec       TEXT NOT NULL,
	suite       TEXT NOT NULL,
	media       TEXT NOT NULL,
	PRIMARY KEY (idx, n)
) WITHOUT ROWID;
CREATE INDEX call_cdr_arrived ON call_cdr (arrived, idx, n, outcome, ended_by, queue, agent, enqueued, bridged, ended);
CREATE INDEX call_cdr_queue ON call_cdr (queue, arrived, idx, n) WHERE queue <> '';
CREATE INDEX call_cdr_agent ON call_cdr (agent, arrived, idx, n) WHERE agent <> '';
CREATE INDEX call_cdr_from ON call_cdr (from_number, arrived, idx, n);
CREATE INDEX call_cdr_to ON call_cdr (to_number, arrived, idx, n);

CREATE TABLE leg_cdr (
	idx      INTEGER NOT NULL,
	n        INTEGER NOT NULL,
	call     TEXT NOT NULL,
	leg      TEXT NOT NULL,
	role     TEXT NOT NULL,
	agent    TEXT NOT NULL,
	cause    TEXT NOT NULL,
	code     INTEGER NOT NULL,
	started  INTEGER NOT NULL,
	answered INTEGER NOT NULL,
	ended    INTEGER NOT NULL,
	codec    TEXT NOT NULL,
	suite    TEXT NOT NULL,
	media    TEXT NOT NULL,
	PRIMARY KEY (idx, n)
) WITHOUT ROWID;

CREATE TABLE agent_span (
	idx    INTEGER NOT NULL,
	n      INTEGER NOT NULL,
	agent  TEXT NOT NULL,
	began  INTEGER NOT NULL,
	ended  INTEGER NOT NULL,
	status TEXT NOT NULL,
	reason TEXT NOT NULL,
	state  TEXT NOT NULL,
	call   TEXT NOT NULL,
	queue  TEXT NOT NULL,
	PRIMARY KEY (idx, n)
) WITHOUT ROWID;
CREATE INDEX agent_span_ended ON agent_span (ended);
CREATE INDEX agent_span_agent ON agent_span (agent, ended);

CREATE TABLE agent_now (
	agent   TEXT PRIMARY KEY,
	began   INTEGER NOT NULL,
	status  TEXT NOT NULL,
	reason  TEXT NOT NULL,
	state   TEXT NOT NULL,
	call    TEXT NOT NULL,
	queue   TEXT NOT NULL,
	offered TEXT NOT NULL -- queue of the last offer
) WITHOUT ROWID;

CREATE TABLE progress (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	cursor  INTEGER NOT NULL, -- the facts up to this index are here
	derived INTEGER NOT NULL, -- and their records up to this one
	sum     INTEGER,          -- chained over all facts up to the cursor; NULL: not known
	floor   INTEGER NOT NULL, -- those up to this one are not here any more
	floor_sum INTEGER         -- likewise, up to the floor
);

CREATE TABLE checkpoint (
	idx INTEGER PRIMARY KEY,
	sum INTEGER NOT NULL -- chained over all facts up to idx
);`
)

// prepare makes the tables and reads how far the file is.
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
		if _, err := tx.Exec(schemaFacts); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
		if err := addRecords(tx, stored(new(uint64))); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
	case 1:
		// Its attributes are in another order than the machine's, so that its
		// facts do not chain.
		if err := addRecords(tx, stored(nil)); err != nil {
			return fmt.Errorf("upgrade the schema from version 1: %w", err)
		}
	case schemaVersion:
		// The index of facts by call finds the records too, see ofCall.
		if _, err := tx.Exec("DROP INDEX IF EXISTS call_cdr_call; DROP INDEX IF EXISTS leg_cdr_call"); err != nil {
			return fmt.Errorf("drop two indexes: %w", err)
		}
	default:
		return fmt.Errorf("schema version %d was written by a newer program, this one knows %d", version, schemaVersion)
	}
	var cursor, derived, floor int64
	var sum sql.NullInt64
	if err := tx.QueryRow("SELECT cursor, derived, floor, sum FROM progress").Scan(&cursor, &derived, &floor, &sum); err != nil {
		return fmt.Errorf("read how far the file is: %w", err)
	}
	if err := s.loadSpans(tx); err != nil {
		return err
	}
	s.sum = restored(sum)
	s.cursor.Store(uint64(cursor))
	s.floor.Store(uint64(floor))
	s.behind.Store(derived < cursor)
	return tx.Commit()
}

// addRecords makes a file of version 1 one of version 2 whose records are
// still to be derived. A batch of version 1 held the facts of an index whole,
// so its newest row is where it ends.
func addRecords(tx *sql.Tx, sum sql.NullInt64) error {
	if _, err := tx.Exec(schemaRecords); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO progress SELECT 1, coalesce(max(idx), 0), 0, ?, 0, ? FROM fact", sum, sum); err != nil {
		return err
	}
	_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion))
	return err
}

func (s *Store) loadSpans(tx *sql.Tx) error {
	rows, err := tx.Query("SELECT agent, began, status, reason, state, call, queue, offered FROM agent_now")
	if err != nil {
		return fmt.Errorf("read agents' states: %w", err)
	}
	defer rows.Close()
	s.spans = spans{}
	for rows.Next() {
		var a Span
		if err := rows.Scan(&a.Agent, &a.From, &a.Status, &a.Reason, &a.State, &a.Call, &a.Queue, &a.offered); err != nil {
			return fmt.Errorf("read agents' states: %w", err)
		}
		s.spans[a.Agent] = a
	}
	return rows.Err()
}

// upgradeFacts is how many facts one transaction of Upgrade takes.
const upgradeFacts = 5000

// Upgrade derives the records that a file of version 1 does not have yet, some
// thousand facts in each transaction: one that is cut off goes on where it was.
// Append and the readers of records wait for it.
func (s *Store) Upgrade(ctx context.Context) error {
	for s.behind.Load() {
		if err := s.upgradeStep(ctx); err != nil {
			return fmt.Errorf("upgrade the facts file: %w", err)
		}
	}
	return nil
}

func (s *Store) upgradeStep(ctx context.Context) error {
	s.write.Lock()
	defer s.write.Unlock()
	var derived int64
	if err := s.db.QueryRowContext(ctx, "SELECT derived FROM progress").Scan(&derived); err != nil {
		return err
	}
	var list []acd.Fact
	err := s.read(ctx, "idx > ?", []any{derived}, s.upgradeFacts, func(f acd.Fact) { list = append(list, f) })
	if err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	w := s.writer(tx)
	d := s.spans.derive()
	for _, f := range list {
		if err := w.records(ctx, d.of(f)); err != nil {
			return fmt.Errorf("records of fact %d.%d: %w", f.Index, f.N, err)
		}
		derived = int64(f.Index)
	}
	if len(list) == 0 {
		derived = int64(s.cursor.Load())
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := w.open(ctx, d.changed); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE progress SET derived = ?", derived); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	d.keep()
	s.behind.Store(uint64(derived) < s.cursor.Load())
	return nil
}
