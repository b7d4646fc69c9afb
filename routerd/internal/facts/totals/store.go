package totals

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

// MaxRows bounds a table: what is counted is kept in memory.
const MaxRows = 200_000

// ErrTooManyRows means that a table would be larger than MaxRows.
var ErrTooManyRows = errors.New("the table has over 200000 rows: choose a longer interval or less time")

func (c *counter) bounded() error {
	if len(c.queues)+len(c.agents) > MaxRows {
		return ErrTooManyRows
	}
	return nil
}

// OfRecords counts from the records of a file.
func OfRecords(ctx context.Context, s *facts.Store, set Settings) (Table, error) {
	r := FromRecords(set)
	err := s.EachCall(ctx, set.From, set.To, func(c *facts.CallRecord) error { r.Call(c); return r.c.bounded() })
	if err != nil {
		return Table{}, err
	}
	if err := s.Spans(ctx, "", set.From, set.To, func(a *facts.Span) error { r.Span(a); return r.c.bounded() }); err != nil {
		return Table{}, err
	}
	return r.Table(), nil
}

// OfFacts counts from the facts of a file: from those of the time that is asked
// for, and of calls that arrived in it and ended later. The agents' states at
// its beginning are known from their spans.
func OfFacts(ctx context.Context, s *facts.Store, set Settings) (Table, error) {
	// The state of an agent just before From is that of the span which reaches
	// over it.
	var begin []facts.Span
	err := s.Spans(ctx, "", set.From-1, set.From, func(a *facts.Span) error {
		begin = append(begin, *a)
		return nil
	})
	if err != nil {
		return Table{}, err
	}
	f := FromFacts(set, begin)
	if err := s.Between(ctx, set.From, set.To, func(x acd.Fact) error { f.Fact(x); return f.c.bounded() }); err != nil {
		return Table{}, err
	}
	for _, id := range f.Open() {
		if err := s.OfCall(ctx, string(id), set.To, func(x acd.Fact) error { f.Late(x); return nil }); err != nil {
			return Table{}, err
		}
	}
	return f.Table(), nil
}

// Compare says where two tables differ, in at most limit lines; none: they are
// equal.
func Compare(a, b Table, limit int) []string {
	out := differences(a.Queues, b.Queues, func(q Queue) key { return key{q.Start, q.Queue} })
	out = append(out, differences(a.Agents, b.Agents, func(a Agent) key { return key{a.Start, a.Agent} })...)
	return out[:min(len(out), limit)]
}

// differences goes through two lists that are in order.
func differences[T comparable](a, b []T, of func(T) key) (out []string) {
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = of(a[0]).compare(of(b[0]))
		}
		switch {
		case order < 0:
			out = append(out, fmt.Sprintf("only the first has %+v", a[0]))
			a = a[1:]
		case order > 0:
			out = append(out, fmt.Sprintf("only the second has %+v", b[0]))
			b = b[1:]
		default:
			if a[0] != b[0] {
				out = append(out, fmt.Sprintf("%+v is %+v in the second", a[0], b[0]))
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.start, o.start), cmp.Compare(k.name, o.name))
}
