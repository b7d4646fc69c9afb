package acd

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRowFindsTheNext: against a plain list of members, over several levels.
func TestRowFindsTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 63, 64, 65, 4_095, 4_096, 4_097, 300_000}).Draw(t, "n")
		place := rapid.OneOf(rapid.IntRange(0, n-1), rapid.Map(rapid.IntRange(0, n-1), func(i int) int { return i &^ 63 }))
		r := newRow(n)
		var members []int // sorted
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := place.Draw(t, "i")
			at, is := slices.BinarySearch(members, i)
			if is {
				r.remove(i)
				members = slices.Delete(members, at, at+1)
			} else {
				r.add(i)
				members = slices.Insert(members, at, i)
			}
			from := place.Draw(t, "from")
			to := rapid.IntRange(from, n).Draw(t, "to")
			want := -1
			if at, _ := slices.BinarySearch(members, from); at < len(members) && members[at] < to {
				want = members[at]
			}
			if got := r.next(from, to); got != want {
				t.Fatalf("next from %d to %d of %v: %d, want %d", from, to, members, got, want)
			}
			if r.size != len(members) {
				t.Fatalf("size %d, want %d", r.size, len(members))
			}
		}
	})
}
