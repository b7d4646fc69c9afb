package totals

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a router's machine may have no zone database
)

// Interval is how time is cut for a report. Boundaries are those of the wall
// clock in a zone: quarters of an hour begin at :00, :15, :30 and :45, days at
// the first moment of the date, weeks on Monday (ISO 8601). A day on which the
// clock changes has 23 or 25 h, and intervals follow one another without gap
// or overlap whatever the clock does.
type Interval string

// Intervals.
const (
	QuarterHour Interval = "15m"
	HalfHour    Interval = "30m"
	Hour        Interval = "1h"
	Day         Interval = "day"
	Week        Interval = "week"
	Month       Interval = "month"
	Quarter     Interval = "quarter"
	Year        Interval = "year"
)

// Intervals lists them, shortest first.
var Intervals = []Interval{QuarterHour, HalfHour, Hour, Day, Week, Month, Quarter, Year}

// ParseInterval reads the name of an interval.
func ParseInterval(s string) (Interval, error) {
	names := make([]string, len(Intervals))
	for i, v := range Intervals {
		if string(v) == s {
			return v, nil
		}
		names[i] = string(v)
	}
	return "", fmt.Errorf("interval %q: want one of %s", s, strings.Join(names, ", "))
}

// Start returns when the interval that holds t began. The zone is t's.
func (i Interval) Start(t time.Time) time.Time {
	if step := i.step(); step > 0 {
		// Aligned to the wall clock as it has been since it last changed.
		changed, _ := t.ZoneBounds()
		_, offset := t.Zone()
		shift := time.Duration(offset) * time.Second
		start := t.Add(-floorMod(time.Duration(t.UnixNano())+shift, step))
		if !changed.IsZero() && start.Before(changed) {
			start = changed
		}
		return start.In(t.Location())
	}
	start := i.date(t)
	// A clock that is put back over midnight goes on with the date before for a
	// while: that time belongs to the day that has begun.
	if next := i.Next(start); !next.After(t) {
		return next
	}
	return start
}

// date is the first moment of the first date of t's interval.
func (i Interval) date(t time.Time) time.Time {
	y, m, d := t.Date()
	switch i {
	case Week:
		d -= (int(t.Weekday()) + 6) % 7
	case Month:
		d = 1
	case Quarter:
		m, d = m-(m-1)%3, 1
	case Year:
		m, d = time.January, 1
	}
	return firstMoment(y, m, d, t.Location())
}

// Next returns when the interval that begins at start ends.
func (i Interval) Next(start time.Time) time.Time {
	if step := i.step(); step > 0 {
		_, changes := start.ZoneBounds()
		_, offset := start.Zone()
		shift := time.Duration(offset) * time.Second
		next := start.Add(step - floorMod(time.Duration(start.UnixNano())+shift, step))
		if !changes.IsZero() && changes.Before(next) {
			next = changes
		}
		return next.In(start.Location())
	}
	y, m, d := start.Date()
	switch i {
	case Week:
		d += 7
	case Month:
		m++
	case Quarter:
		m += 3
	case Year:
		y++
	default:
		d++
	}
	return firstMoment(y, m, d, start.Location())
}

func (i Interval) step() time.Duration {
	switch i {
	case QuarterHour:
		return 15 * time.Minute
	case HalfHour:
		return 30 * time.Minute
	case Hour:
		return time.Hour
	}
	return 0
}

// floorMod is a mod b, never negative.
func floorMod(a, b time.Duration) time.Duration { return (a%b + b) % b }

// firstMoment is the first moment of a date. Where the clock is put forward at
// midnight the date begins later, where it is put back over midnight there are
// two midnights and the first counts.
func firstMoment(y int, m time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	_, _, want := time.Date(y, m, d, 12, 0, 0, 0, loc).Date()
	changed, changes := t.ZoneBounds()
	if t.Day() != want {
		return changes // midnight was left out
	}
	if changed.IsZero() {
		return t
	}
	_, now := t.Zone()
	_, before := changed.Add(-1).Zone()
	if first := t.Add(time.Duration(now-before) * time.Second); first.Before(changed) && first.Day() == want {
		return first
	}
	if t.Hour() != 0 {
		return changed // Date gave a moment behind the clock's change
	}
	return t
}
