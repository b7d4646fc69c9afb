package totals

import (
	"context"
	"fmt"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/facts"
)

// OfRecords counts from the records of a file.
func OfRecords(ctx context.Context, s *facts.Store, set Settings) (Table, error) {
	r := FromRecords(set)
	err := s.EachCall(ctx, facts.Filter{From: set.From, To: set.To}, func(c *facts.CallRecord) error { r.Call(c); return nil })
	if err != nil {
		return Table{}, err
	}
	if err := s.Spans(ctx, "", set.From, set.To, func(a *facts.Span) error { r.Span(a); return nil }); err != nil {
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
	if err := s.Between(ctx, set.From, set.To, func(x acd.Fact) error { f.Fact(x); return nil }); err != nil {
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
	var out []string
	out = differences(out, a.Queues, b.Queues, limit)
	return differences(out, a.Agents, b.Agents, limit)
}

func differences[T comparable](out []string, a, b []T, limit int) []string {
	for i := range max(len(a), len(b)) {
		var x, y T
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x == y {
			continue
		}
		if len(out) >= limit {
			break
		}
		out = append(out, fmt.Sprintf("%+v, but %+v", x, y))
	}
	return out
}
