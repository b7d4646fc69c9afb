package whatif

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// forever is a caller who stays.
const forever = time.Duration(math.MaxInt64)

// survival is the Kaplan-Meier estimate of how long callers are willing to
// wait: of those who were served it is known only that they would have waited
// that long (E. L. Kaplan, P. Meier, J. Amer. Statist. Assoc. 53, 1958).
type survival struct {
	at   []time.Duration // moments at which somebody gave up, growing
	left []float64       // share of callers who would still wait after it
}

// estimate makes the estimate of waits, of which some ended by giving up.
func estimate(waits []Arrival) survival {
	list := slices.Clone(waits)
	// At one moment, who gave up comes before who was served.
	slices.SortFunc(list, func(a, b Arrival) int {
		gave := map[bool]int{true: 0, false: 1}
		return cmp.Or(cmp.Compare(a.Waited, b.Waited), gave[a.GaveUp]-gave[b.GaveUp])
	})
	var s survival
	left := 1.0
	for i := 0; i < len(list); {
		t, gone, n := list[i].Waited, 0, len(list)-i
		for ; i < len(list) && list[i].Waited == t; i++ {
			if list[i].GaveUp {
				gone++
			}
		}
		if gone > 0 {
			left *= 1 - float64(gone)/float64(n)
			s.at = append(s.at, t)
			s.left = append(s.left, left)
		}
	}
	return s
}

// beyond is the share of callers who wait longer than d.
func (s survival) beyond(d time.Duration) float64 {
	i, _ := slices.BinarySearch(s.at, d+1)
	if i == 0 {
		return 1
	}
	return s.left[i-1]
}

// draw returns the patience of a caller who has waited for at least d, by u in
// [0, 1): the moment at which the share of those left falls below u of what it
// was at d.
func (s survival) draw(d time.Duration, u float64) time.Duration {
	target := s.beyond(d) * (1 - u)
	// left falls; find the first moment at or below the target.
	i, _ := slices.BinarySearchFunc(s.left, target, func(left, want float64) int {
		if left > want {
			return -1
		}
		return 1
	})
	if i == len(s.at) {
		return forever
	}
	return max(s.at[i], d+1)
}
