package config

import (
	"sort"
	"time"
	_ "time/tzdata" // a router must know the zones of the tree whatever its machine has installed

	"trunkline/routerd/acd"
)

// Years around the present whose changes of the clock a tree takes along. What
// lies beyond counts with the nearest offset known: whoever applies a tree only
// once in fifteen years has other worries.
const (
	yearsBefore = 1
	yearsAfter  = 15
)

// fillOffsets writes the zones' changes into the calendars, from this machine's
// database: what is applied carries them, so every router counts with the same.
// A zone that isn't known gets none, and that is the machine's fault to name.
func fillOffsets(tree *acd.Config, year int) {
	for i := range tree.Calendars {
		c := &tree.Calendars[i]
		c.Offsets = offsets(c.Zone,
			time.Date(year-yearsBefore, 1, 1, 0, 0, 0, 0, time.UTC),
			time.Date(year+yearsAfter+1, 1, 1, 0, 0, 0, 0, time.UTC))
	}
}

// offsets lists a zone's distances from UTC between two moments; the first
// entry is at from. It looks for changes day by day and then for their second:
// Time.ZoneBounds does not get past the ends of some years.
func offsets(zone string, from, to time.Time) []acd.Offset {
	if zone == "" || zone == "Local" {
		return nil // of no place in particular
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil
	}
	at := func(second int64) int {
		_, offset := time.Unix(second, 0).In(loc).Zone()
		return offset
	}
	entry := func(second int64) acd.Offset {
		return acd.Offset{From: acd.Time(time.Unix(second, 0).UnixNano()), Seconds: at(second)}
	}
	const day = 24 * 60 * 60
	out := []acd.Offset{entry(from.Unix())}
	for second := from.Unix(); second < to.Unix(); second += day {
		if at(second) == at(second+day) {
			continue
		}
		n := sort.Search(day, func(n int) bool { return at(second+int64(n)) != at(second) })
		out = append(out, entry(second+int64(n)))
	}
	return out
}
