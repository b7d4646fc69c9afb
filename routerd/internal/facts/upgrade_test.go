package facts

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
)

// dice makes a simulation's choices evenly from a seed.
type dice struct{ r *rand.Rand }

func (d dice) Int(n int, _ string) int { return d.r.IntN(n) }

// history is the beginning of what a machine brings forth under random calls,
// agents, deaths: so many facts, and the rest of the last one's index.
func history(t testing.TB, n int) []acd.Fact {
	t.Helper()
	list, err := random()
	if err != nil {
		t.Fatal(err)
	}
	if n > len(list) {
		t.Fatalf("there are only %d facts", len(list))
	}
	for n < len(list) && list[n].Index == list[n-1].Index {
		n++
	}
	return slices.Clone(list[:n])
}

var random = sync.OnceValues(func() ([]acd.Fact, error) {
	f, err := acdtest.NewFarEnd(dice{rand.New(rand.NewPCG(11, 0))})
	for i := 0; i < 4000 && err == nil; i++ {
		err = f.Step()
	}
	return f.M.FactsAfter(0, 0), err
})

// sumOf is what a history comes to.
func sumOf(facts []acd.Fact) *uint64 {
	sum := uint64(0)
	for _, f := range facts {
		sum = f.Chain(sum)
	}
	return &sum
}

// schemaV1 is what the first version wrote.
const schemaV1 = `
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

// writeV1 writes a file as the first version did.
func writeV1(t *testing.T, path string, facts []acd.Fact) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(schemaV1); err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		attrs := ""
		if v := View(f); len(v.Attrs) > 0 {
			b, err := json.Marshal(v.Attrs)
			if err != nil {
				t.Fatal(err)
			}
			attrs = string(b)
		}
		if _, err := tx.Exec("INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			f.Index, f.N, f.At, f.Kind, f.Call, f.Leg, f.Agent, f.Queue, f.Node, attrs); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// dump is every row of a table as text.
func dump(t *testing.T, s *Store, table, order string) string {
	t.Helper()
	columns := "*"
	if table == "progress" {
		columns = "cursor, derived, sum"
	}
	rows, err := s.db.Query("SELECT " + columns + " FROM " + table + " ORDER BY " + order)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for rows.Next() {
		row := make([]any, len(names))
		for i := range row {
			row[i] = new(any)
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		for i := range row {
			fmt.Fprint(&b, *row[i].(*any), "|")
		}
		b.WriteByte('\n')
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A file of the first version becomes one of this: its records are those that
// a file of this version has of the same facts, and it goes on from its end.
func TestOldFileIsUpgraded(t *testing.T) {
	facts := history(t, 1500)
	cut := len(facts) * 2 / 3
	for facts[cut].Index == facts[cut-1].Index {
		cut++
	}
	path := filepath.Join(t.TempDir(), "facts.db")
	writeV1(t, path, facts[:cut])

	s := open(t, path)
	if want := facts[cut-1].Index; s.Cursor() != want {
		t.Errorf("cursor is %d, want %d", s.Cursor(), want)
	}
	none := func(*CallRecord) error { return nil }
	if err := s.Calls(t.Context(), Filter{}, Place{}, 0, none); !errors.Is(err, ErrUpgrading) {
		t.Errorf("records are read before they are complete: %v", err)
	}
	if err := s.Append(t.Context(), batchOf(s.Cursor(), facts[cut:]...)); err == nil {
		t.Error("facts were appended before the records of older ones were there")
	}
	// One step of three, then another life.
	s.upgradeFacts = 500
	if err := s.upgradeStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, path)
	if err := s.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What the old file came to is not known: it takes the machine's word once.
	fresh := open(t, filepath.Join(t.TempDir(), "facts.db"))
	for _, x := range []*Store{s, fresh} {
		b := batchOf(s.Cursor(), facts[cut:]...)
		if x == fresh {
			b = batchOf(0, facts...)
		}
		b.Sum = sumOf(facts)
		if err := x.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for table, order := range map[string]string{"call_cdr": "idx, n", "leg_cdr": "idx, n", "agent_span": "idx, n", "agent_now": "agent", "progress": "one"} {
		got, want := dump(t, s, table, order), dump(t, fresh, table, order)
		if got != want {
			t.Errorf("%s of the upgraded file:\n%s\nof a new one:\n%s", table, got, want)
		}
		if strings.Count(want, "\n") < 1 {
			t.Errorf("%s is empty: the test shows nothing", table)
		}
	}
}
