package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"trunkline/routerd/acd"
)

// Rows are the facts of some log indexes and the records that follow from them,
// for another database: as they are stored, by column.
type Rows struct {
	Upto   uint64 // the last index
	Oldest acd.Time
	Tables []TableRows
}

// TableRows are rows of one table. All columns are as long.
type TableRows struct {
	Table   string
	Columns []Column
}

// Column holds numbers or texts.
type Column struct {
	Name  string
	Ints  []int64
	Texts []string // nil for a column of numbers
}

// Len is how many rows there are.
func (t TableRows) Len() int {
	if c := t.Columns[0]; c.Texts != nil {
		return len(c.Texts)
	}
	return len(t.Columns[0].Ints)
}

// textColumns are those that hold text; the others hold numbers.
var textColumns = map[string]bool{
	"kind": true, "call": true, "leg": true, "agent": true, "queue": true, "node": true, "attrs": true,
	"outcome": true, "ended_by": true, "cause": true, "trunk": true, "edge": true, "from_number": true, "to_number": true,
	"sip_call_id": true, "codec": true, "suite": true, "media": true, "role": true, "status": true, "reason": true, "state": true,
}

// Rows returns the rows of the indexes above after: about limit facts, and all
// of the last index. If there are none, Upto is after.
func (s *Store) Rows(ctx context.Context, after uint64, limit int) (Rows, error) {
	if s.behind.Load() {
		return Rows{}, ErrUpgrading
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Rows{}, fmt.Errorf("rows of facts: %w", err)
	}
	defer tx.Rollback()
	r := Rows{Upto: after}
	var last, oldest sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT max(idx), min(at) FROM (SELECT idx, at FROM fact WHERE idx > ? ORDER BY idx, n LIMIT ?)`, int64(after), limit).Scan(&last, &oldest)
	if err != nil {
		return Rows{}, fmt.Errorf("rows of facts: %w", err)
	}
	if !last.Valid {
		return r, nil
	}
	r.Upto, r.Oldest = uint64(last.Int64), acd.Time(oldest.Int64)
	for _, t := range []table{factTable, callTable, legTable, spanTable} {
		rows, err := tableRows(ctx, tx, t, after, r.Upto)
		if err != nil {
			return Rows{}, fmt.Errorf("rows of %s: %w", t.name, err)
		}
		r.Tables = append(r.Tables, rows)
	}
	return r, nil
}

func tableRows(ctx context.Context, tx *sql.Tx, t table, after, upto uint64) (TableRows, error) {
	out := TableRows{Table: t.name, Columns: make([]Column, len(t.columns))}
	into := make([]any, len(t.columns))
	texts := make([]string, len(t.columns))
	ints := make([]int64, len(t.columns))
	for i, name := range t.columns {
		out.Columns[i].Name = name
		if into[i] = &ints[i]; textColumns[name] {
			into[i] = &texts[i]
			out.Columns[i].Texts = []string{}
		}
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+t.list()+" FROM "+t.name+" WHERE idx > ? AND idx <= ? ORDER BY idx, n", int64(after), int64(upto))
	if err != nil {
		return out, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return out, err
		}
		for i := range out.Columns {
			if c := &out.Columns[i]; c.Texts != nil {
				c.Texts = append(c.Texts, texts[i])
			} else {
				c.Ints = append(c.Ints, ints[i])
			}
		}
	}
	return out, rows.Err()
}

// OldestAfter returns when the first fact above an index happened; false if there is
// none.
func (s *Store) OldestAfter(ctx context.Context, index uint64) (acd.Time, bool, error) {
	var at acd.Time
	err := s.db.QueryRowContext(ctx, "SELECT at FROM fact WHERE idx > ? ORDER BY idx, n LIMIT 1", int64(index)).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return at, err == nil, err
}
