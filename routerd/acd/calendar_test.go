package acd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

// zoneOffsets lists a zone's changes as the configuration's reader does.
func zoneOffsets(loc *time.Location, from, to time.Time) []Offset {
	var out []Offset
	for at := from; at.Before(to); at = at.Add(15 * time.Minute) { // when clocks change
		if _, seconds := at.In(loc).Zone(); len(out) == 0 || out[len(out)-1].Seconds != seconds {
			out = append(out, Offset{From: Time(at.UnixNano()), Seconds: seconds})
		}
	}
	return out
}

// TestDatesAreThoseOfPackageTime: every day of 600 years.
func TestDatesAreThoseOfPackageTime(t *testing.T) {
	at := time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC)
	for day := floorDiv(at.Unix(), daySeconds); at.Year() < 2400; day, at = day+1, at.AddDate(0, 0, 1) {
		year, month, d := dateOf(day)
		if year != at.Year() || month != int(at.Month()) || d != at.Day() {
			t.Fatalf("day %d is %d-%d-%d, not %s", day, year, month, d, at)
		}
		if got := dayOf(year, month, d); got != day {
			t.Fatalf("%s is day %d, not %d", at, got, day)
		}
	}
}

// openByTime answers what calendar.open does, by package time and minute by
// minute: the wall clock now, and the wall clock of yesterday's hours.
func openByTime(cfg *Calendar, loc *time.Location, at time.Time) bool {
	local := at.In(loc)
	minute := local.Hour()*60 + local.Minute()
	today := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, time.UTC)
	within := func(from, to string, minute int) bool {
		var fh, fm, th, tm int
		fmt.Sscanf(from, "%d:%d", &fh, &fm)
		fmt.Sscanf(to, "%d:%d", &th, &tm)
		f, t := fh*60+fm, th*60+tm
		if t <= f {
			t += 24 * 60
		}
		return f <= minute && minute < t
	}
	on := func(day time.Time, minute int) bool {
		for _, exact := range []bool{true, false} {
			found, open := false, false
			for _, h := range cfg.Holidays {
				if h.Date == day.Format("2006-01-02") && exact || h.Date == day.Format("01-02") && !exact {
					found = true
					open = open || h.From != "" && within(h.From, h.To, minute)
				}
			}
			if found {
				return open
			}
		}
		for _, h := range cfg.Hours {
			days := map[string]string{"daily": "Sun Mon Tue Wed Thu Fri Sat", "mon-fri": "Mon Tue Wed Thu Fri", "sat,sun": "Sat Sun", "fri-mon": "Fri Sat Sun Mon", "wed": "Wed"}[h.Days]
			if contains(days, day.Format("Mon")) && within(h.From, h.To, minute) {
				return true
			}
		}
		return false
	}
	return on(today, minute) || on(today.AddDate(0, 0, -1), minute+24*60)
}

func contains(list, word string) bool {
	for i := 0; i+3 <= len(list); i += 4 {
		if list[i:i+3] == word {
			return true
		}
	}
	return false
}

// TestCalendarAgreesWithPackageTime: hours of all shapes in zones of all kinds
// at random moments, many of them around changes of the clock and midnight.
func TestCalendarAgreesWithPackageTime(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "Europe/Moscow", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"}
	clocks := []string{"00:00", "00:30", "01:59", "02:00", "02:30", "03:00", "09:00", "13:15", "18:00", "22:00", "23:59"}
	from, to := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	locs, offsets := make(map[string]*time.Location), make(map[string][]Offset)
	for _, zone := range zones {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		locs[zone], offsets[zone] = loc, zoneOffsets(loc, from, to)
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, cfg := locs[zone], &Calendar{Offsets: offsets[zone]}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		pick := func(list []string) string { return list[r.IntN(len(list))] }
		for range 1 + r.IntN(3) {
			cfg.Hours = append(cfg.Hours, Hours{Days: pick([]string{"daily", "mon-fri", "sat,sun", "fri-mon", "wed"}), From: pick(clocks), To: pick(append(clocks, "24:00"))})
		}
		moment := func() time.Time {
			if r.IntN(2) == 0 && len(cfg.Offsets) > 1 { // near a change
				return time.Unix(0, int64(cfg.Offsets[1+r.IntN(len(cfg.Offsets)-1)].From)).Add(time.Duration(r.IntN(3*86400)-86400) * time.Second)
			}
			return from.Add(time.Duration(r.Int64N(int64(to.Sub(from)))))
		}
		var dates []time.Time
		for range r.IntN(4) {
			day := moment().In(loc)
			dates = append(dates, day)
			h := Holiday{Date: day.Format(pick([]string{"2006-01-02", "01-02"}))}
			if r.IntN(2) == 0 {
				h.From, h.To = pick(clocks), pick(clocks)
			}
			cfg.Holidays = append(cfg.Holidays, h)
		}
		c := newCalendar(cfg)
		for range 400 {
			at := moment()
			if len(dates) > 0 && r.IntN(2) == 0 {
				at = dates[r.IntN(len(dates))].Add(time.Duration(r.IntN(4*86400)-2*86400) * time.Second)
			}
			if got, want := c.open(Time(at.UnixNano())), openByTime(cfg, loc, at); got != want {
				t.Fatalf("%s (%s): open is %t, want %t\nhours %v\nholidays %v", at.UTC(), at.In(loc), got, want, cfg.Hours, cfg.Holidays)
			}
		}
	})
}

// TestDaysOf23And25Hours: open all day is open for all of such a day, and night
// hours last an hour less or more.
func TestDaysOf23And25Hours(t *testing.T) {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	f := func(days, from, to, day string, want time.Duration) {
		t.Helper()
		start, err := time.ParseInLocation("2006-01-02 15:04", day, loc)
		if err != nil {
			t.Fatal(err)
		}
		c := newCalendar(&Calendar{Hours: []Hours{{days, from, to}}, Offsets: zoneOffsets(loc, start.AddDate(-1, 0, 0), start.AddDate(1, 0, 0))})
		var open time.Duration
		for at := start.Add(-12 * time.Hour); at.Before(start.Add(48 * time.Hour)); at = at.Add(time.Minute) {
			if c.open(Time(at.UnixNano())) {
				open += time.Minute
			}
		}
		if open != want {
			t.Errorf("%s %s-%s around %s: open for %s, want %s", days, from, to, day, open, want)
		}
	}
	f("sun", "00:00", "24:00", "2026-03-29 00:00", 23*time.Hour)
	f("sun", "00:00", "24:00", "2026-10-25 00:00", 25*time.Hour)
	f("sun", "00:00", "24:00", "2026-11-01 00:00", 24*time.Hour)
	f("sat", "22:00", "06:00", "2026-03-28 20:00", 7*time.Hour)
	f("sat", "22:00", "06:00", "2026-10-24 20:00", 9*time.Hour)
	f("sun", "02:00", "03:00", "2026-03-29 00:00", 0)
	f("sun", "02:00", "03:00", "2026-10-25 00:00", 2*time.Hour)
}

func TestBadCalendarTexts(t *testing.T) {
	for _, s := range []string{"", "mo", "mon-", "mon-fry", "-", "mon,,tue", "mon;tue"} {
		if _, err := parseDays(s); err == nil {
			t.Errorf("days %q are taken", s)
		}
	}
	for _, s := range [][2]string{{"", "10:00"}, {"9:00", "10:00"}, {"24:00", "10:00"}, {"09:60", "10:00"}, {"09:00", "24:01"}, {"09:00", "25:00"}, {"09.00", "10:00"}, {"+9:00", "10:00"}} {
		if _, err := parseSpan(s[0], s[1]); err == nil {
			t.Errorf("hours %q to %q are taken", s[0], s[1])
		}
	}
	for _, s := range []string{"", "2026-02-29", "2026-13-01", "13-01", "12-32", "02-30", "2026-1-01", "0000-01-01", "2026/01/01", "26-01-01"} {
		if _, _, _, err := parseDate(s); err == nil {
			t.Errorf("date %q is taken", s)
		}
	}
	if _, _, _, err := parseDate("02-29"); err != nil {
		t.Errorf("the leap day of every year: %v", err)
	}
}
