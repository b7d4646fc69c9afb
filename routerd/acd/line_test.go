package acd

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLineKnowsPositions: against a plain sorted slice, under random arrivals
// and departures, with tickets that come in any order.
func TestLineKnowsPositions(t *testing.T) {
	less := func(a, b *call) bool { return a.Ticket < b.Ticket }
	rapid.Check(t, func(t *rapid.T) {
		l := line{less: less}
		var model []*call
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "op") > 0 || len(model) == 0 {
				c := &call{Call: &Call{Ticket: rapid.Uint64Range(1, 1<<40).Draw(t, "ticket")}}
				if slices.ContainsFunc(model, func(o *call) bool { return o.Ticket == c.Ticket }) {
					continue
				}
				l.insert(c)
				model = append(model, c)
			} else {
				at := rapid.IntRange(0, len(model)-1).Draw(t, "at")
				l.remove(model[at])
				if model[at].place != (place{}) {
					t.Fatal("who left has a place")
				}
				model = slices.Delete(model, at, at+1)
			}
			slices.SortFunc(model, func(a, b *call) int { return cmp.Compare(a.Ticket, b.Ticket) })
			if l.len() != len(model) {
				t.Fatalf("%d in line, want %d", l.len(), len(model))
			}
			for i, c := range model {
				if got := l.position(c); got != i+1 {
					t.Fatalf("position %d, want %d", got, i+1)
				}
			}
			i := 0
			l.each(func(c *call) {
				if c != model[i] {
					t.Fatalf("number %d is another", i)
				}
				i++
			})
		}
	})
}

// TestLineIsShallow: tickets that come in order make no list of the tree.
func TestLineIsShallow(t *testing.T) {
	l := line{less: func(a, b *call) bool { return a.Ticket < b.Ticket }}
	const n = 100_000
	for i := range uint64(n) {
		l.insert(&call{Call: &Call{Ticket: i + 1}})
	}
	var depth func(c *call) int
	depth = func(c *call) int {
		if c == nil {
			return 0
		}
		return 1 + max(depth(c.place.left), depth(c.place.right))
	}
	if got := depth(l.root); got > 60 {
		t.Errorf("%d calls make a tree of %d levels", n, got)
	}
}
