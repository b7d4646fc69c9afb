package keeping

import (
	"maps"
	"slices"
	"time"
)

// Year is how long recordings are kept where no rule says otherwise (T11).
const Year = 365 * 24 * time.Hour

// Rules say how long recordings are kept, by label.
type Rules struct {
	Default time.Duration
	Labels  map[string]time.Duration
}

// For is how long what was recorded under a label is kept.
func (r Rules) For(label string) time.Duration {
	if d, ok := r.Labels[label]; ok {
		return d
	}
	return r.Default
}

// bounds are the shortest and the longest of all rules.
func (r Rules) bounds() (least, most time.Duration) {
	all := append(slices.Collect(maps.Values(r.Labels)), r.Default)
	return slices.Min(all), slices.Max(all)
}
