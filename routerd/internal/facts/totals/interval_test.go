package totals

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestIntervalsFollowTheWallClock(t *testing.T) {
	f := func(name string, i Interval, at, start, next string) {
		t.Helper()
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		s := i.Start(moment.In(zone(t, name)))
		if got := s.Format(time.RFC3339); got != start {
			t.Errorf("%s %s of %s starts %s, want %s", name, i, at, got, start)
		}
		if got := i.Next(s).Format(time.RFC3339); got != next {
			t.Errorf("%s %s of %s ends %s, want %s", name, i, at, got, next)
		}
	}
	f("Europe/Moscow", QuarterHour, "2026-03-01T09:29:59Z", "2026-03-01T12:15:00+03:00", "2026-03-01T12:30:00+03:00")
	f("Europe/Moscow", Day, "2026-02-28T21:00:00Z", "2026-03-01T00:00:00+03:00", "2026-03-02T00:00:00+03:00")
	f("Europe/Moscow", Week, "2026-03-01T12:00:00Z", "2026-02-23T00:00:00+03:00", "2026-03-02T00:00:00+03:00") // a Sunday
	f("Europe/Moscow", Month, "2026-02-10T12:00:00Z", "2026-02-01T00:00:00+03:00", "2026-03-01T00:00:00+03:00")
	f("Europe/Moscow", Quarter, "2026-06-30T20:59:59Z", "2026-04-01T00:00:00+03:00", "2026-07-01T00:00:00+03:00")
	f("Europe/Moscow", Year, "2026-06-30T12:00:00Z", "2026-01-01T00:00:00+03:00", "2027-01-01T00:00:00+03:00")
	f("Asia/Kathmandu", Hour, "2026-03-01T09:29:59Z", "2026-03-01T15:00:00+05:45", "2026-03-01T16:00:00+05:45")
	// Forward over 02:00 to 03:00: a day of 23 h, no interval in the gap.
	f("Europe/Berlin", Day, "2026-03-29T10:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00")
	f("Europe/Berlin", QuarterHour, "2026-03-29T00:59:00Z", "2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00")
	// Back over 03:00 to 02:00: a day of 25 h, the hour from 02:00 twice.
	f("Europe/Berlin", Day, "2026-10-25T10:00:00Z", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
	f("Europe/Berlin", Hour, "2026-10-25T00:30:00Z", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00")
	f("Europe/Berlin", Hour, "2026-10-25T01:30:00Z", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00")
	// Half an hour forward at 02:00, back at 02:00 to 01:30.
	f("Australia/Lord_Howe", Hour, "2026-10-03T15:45:00Z", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00")
	f("Australia/Lord_Howe", Hour, "2026-04-04T15:10:00Z", "2026-04-05T01:30:00+10:30", "2026-04-05T02:00:00+10:30")
	// Midnight is left out: the date begins at 01:00.
	f("Asia/Beirut", Day, "2026-03-29T10:00:00Z", "2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00")
	f("Asia/Beirut", Day, "2026-03-28T10:00:00Z", "2026-03-28T00:00:00+02:00", "2026-03-29T01:00:00+03:00")
	// Back over midnight: 24 October had 25 h, its last hour twice.
	f("Asia/Beirut", Day, "2026-10-24T21:30:00Z", "2026-10-24T00:00:00+03:00", "2026-10-25T00:00:00+02:00")
	// Back from 01:00 to 00:00: the first midnight counts.
	f("America/Havana", Day, "2026-11-01T10:00:00Z", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00")
}

func TestDaysOfTheYearAreThoseOfTheClock(t *testing.T) {
	loc := zone(t, "Europe/Berlin")
	hours, intervals := map[time.Duration]int{}, 0
	for day := Year.Start(time.Date(2026, 5, 5, 0, 0, 0, 0, loc)); day.Year() == 2026; day = Day.Next(day) {
		hours[Day.Next(day).Sub(day)]++
		for q := day; q.Before(Day.Next(day)); q = QuarterHour.Next(q) {
			intervals++
		}
	}
	if hours[24*time.Hour] != 363 || hours[23*time.Hour] != 1 || hours[25*time.Hour] != 1 || intervals != 365*96 {
		t.Errorf("%v, %d quarters of an hour", hours, intervals)
	}
}

// Whatever the zone, a moment is in one interval, and the next begins where it
// ends.
func TestIntervalsLeaveNoGap(t *testing.T) {
	zones := []string{"UTC", "Europe/Moscow", "Europe/Berlin", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"}
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		i := rapid.SampledFrom(Intervals).Draw(t, "interval")
		at := time.Unix(rapid.Int64Range(0, 2_000_000_000).Draw(t, "at"), 0).In(loc)
		if rapid.Bool().Draw(t, "near a change") {
			if _, end := at.ZoneBounds(); !end.IsZero() {
				at = end.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(t, "off")) * time.Second).In(loc)
			}
		}
		start := i.Start(at)
		next := i.Next(start)
		if start.After(at) || !at.Before(next) {
			t.Fatalf("%v is not within %v to %v", at, start, next)
		}
		if !i.Start(start).Equal(start) || !i.Start(next).Equal(next) || !i.Start(next.Add(-1)).Equal(start) {
			t.Fatalf("%v to %v: start of the start %v, of the end %v, of the last moment %v", start, next, i.Start(start), i.Start(next), i.Start(next.Add(-1)))
		}
	})
}
