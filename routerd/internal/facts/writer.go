package facts

import (
	"context"
	"database/sql"
	"errors"

	"trunkline/routerd/acd"
)

// rowsAtOnce is how many rows one statement inserts: what a statement costs by
// itself is as much as its row.
const rowsAtOnce = 16

// inserts are the prepared statements that add rows to a table.
type inserts struct {
	columns   int
	one, many *sql.Stmt
}

// statements are prepared once: each connection keeps its own of them.
type statements struct{ facts, calls, legs, spans inserts }

func (s *statements) prepare(db *sql.DB) error {
	for _, p := range []struct {
		into *inserts
		of   table
	}{{&s.facts, factTable}, {&s.calls, callTable}, {&s.legs, legTable}, {&s.spans, spanTable}} {
		p.into.columns = len(p.of.columns)
		var err error
		if p.into.one, err = db.Prepare(p.of.insert(1)); err != nil {
			return err
		}
		if p.into.many, err = db.Prepare(p.of.insert(rowsAtOnce)); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() error {
	var faults []error
	for _, i := range []inserts{s.facts, s.calls, s.legs, s.spans} {
		for _, stmt := range []*sql.Stmt{i.one, i.many} {
			if stmt != nil {
				faults = append(faults, stmt.Close())
			}
		}
	}
	return errors.Join(faults...)
}

// rowBuffer gathers a table's rows of one transaction.
type rowBuffer struct {
	inserts
	args []any
}

// add takes a row; sixteen go into the file together.
func (r *rowBuffer) add(ctx context.Context, tx *sql.Tx, fields ...any) error {
	r.args = append(r.args, fields...)
	if len(r.args) < rowsAtOnce*r.columns {
		return nil
	}
	_, err := tx.StmtContext(ctx, r.many).ExecContext(ctx, r.args...)
	r.args = r.args[:0]
	return err
}

// flush stores what is left.
func (r *rowBuffer) flush(ctx context.Context, tx *sql.Tx) error {
	if len(r.args) == 0 {
		return nil
	}
	one := tx.StmtContext(ctx, r.one)
	for args := r.args; len(args) > 0; args = args[r.columns:] {
		if _, err := one.ExecContext(ctx, args[:r.columns]...); err != nil {
			return err
		}
	}
	r.args = r.args[:0]
	return nil
}

// writer adds the rows of one transaction. They are all there after flush.
type writer struct {
	tx                        *sql.Tx
	facts, calls, legs, spans rowBuffer
}

func (s *Store) writer(tx *sql.Tx) *writer {
	w := &writer{tx: tx}
	w.facts.inserts, w.calls.inserts, w.legs.inserts, w.spans.inserts = s.statements.facts, s.statements.calls, s.statements.legs, s.statements.spans
	return w
}

func (w *writer) fact(ctx context.Context, f acd.Fact) error {
	attrs, err := encodeAttrs(f.Attrs)
	if err != nil {
		return err
	}
	return w.facts.add(ctx, w.tx, int64(f.Index), f.N, int64(f.At), f.Kind, string(f.Call), string(f.Leg), string(f.Agent), string(f.Queue), string(f.Node), attrs)
}

func (w *writer) records(ctx context.Context, r records) error {
	var faults []error
	if c := r.call; c != nil {
		faults = append(faults, w.calls.add(ctx, w.tx, c.fields()...))
	}
	if l := r.leg; l != nil {
		faults = append(faults, w.legs.add(ctx, w.tx, l.fields()...))
	}
	if a := r.span; a != nil {
		faults = append(faults, w.spans.add(ctx, w.tx, a.fields()...))
	}
	return errors.Join(faults...)
}

func (w *writer) flush(ctx context.Context) error {
	var faults []error
	for _, r := range []*rowBuffer{&w.facts, &w.calls, &w.legs, &w.spans} {
		faults = append(faults, r.flush(ctx, w.tx))
	}
	return errors.Join(faults...)
}

func (w *writer) checkpoint(ctx context.Context, index, sum uint64) error {
	_, err := w.tx.ExecContext(ctx, "INSERT OR REPLACE INTO checkpoint (idx, sum) VALUES (?, ?)", int64(index), int64(sum))
	return err
}

// open stores the agents' present spans that the batch changed.
func (w *writer) open(ctx context.Context, changed map[string]*Span) error {
	if len(changed) == 0 {
		return nil
	}
	put, err := w.tx.PrepareContext(ctx, "INSERT OR REPLACE INTO agent_now (agent, began, status, reason, state, call, queue, offered) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	for agent, a := range changed {
		if a == nil {
			_, err = w.tx.ExecContext(ctx, "DELETE FROM agent_now WHERE agent = ?", agent)
		} else {
			_, err = put.ExecContext(ctx, agent, int64(a.From), a.Status, a.Reason, a.State, a.Call, a.Queue, a.offered)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
