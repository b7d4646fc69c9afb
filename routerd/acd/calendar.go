package acd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// calendar is a Calendar made ready to be asked.
//
// Hours belong to the day they begin on, by the zone's wall clock: a night
// shift that begins before a holiday runs into it, and a holiday's own hours may
// run into the day after. On the days of 23 and 25 hours what counts is what the
// clock on the wall shows: an hour it shows twice is open twice.
type calendar struct {
	week    [7][]span        // from Sunday
	dates   map[int64][]span // by days since 1970; nil: closed
	yearly  map[int][]span   // by 100*month+day
	offsets []Offset
}

// span is open time in minutes since the midnight its day begins with; to may
// lie on the next day.
type span struct{ from, to int }

const (
	dayMinutes = 24 * 60
	daySeconds = 24 * 60 * 60
)

// newCalendar compiles a valid Calendar.
func newCalendar(cfg *Calendar) *calendar {
	c := &calendar{dates: make(map[int64][]span), yearly: make(map[int][]span), offsets: cfg.Offsets}
	for _, h := range cfg.Hours {
		days, _ := parseDays(h.Days)
		s, _ := parseSpan(h.From, h.To)
		for d := range days {
			if days[d] {
				c.week[d] = append(c.week[d], s)
			}
		}
	}
	for _, h := range cfg.Holidays {
		year, month, day, _ := parseDate(h.Date)
		var spans []span
		if year != 0 {
			spans = c.dates[dayOf(year, month, day)]
		} else {
			spans = c.yearly[100*month+day]
		}
		if h.From != "" {
			s, _ := parseSpan(h.From, h.To)
			spans = append(spans, s)
		}
		if year != 0 {
			c.dates[dayOf(year, month, day)] = spans
		} else {
			c.yearly[100*month+day] = spans
		}
	}
	return c
}

// open tells whether the calendar is open at a moment.
func (c *calendar) open(at Time) bool {
	local := floorDiv(int64(at), 1_000_000_000) + int64(c.offset(at))
	day := floorDiv(local, daySeconds)
	second := int(local - day*daySeconds)
	return holds(c.hours(day), second) || holds(c.hours(day-1), second+daySeconds)
}

func holds(spans []span, second int) bool {
	for _, s := range spans {
		if s.from*60 <= second && second < s.to*60 {
			return true
		}
	}
	return false
}

// offset is the zone's at a moment. Before the first known one it is that one.
func (c *calendar) offset(at Time) int {
	i, _ := slices.BinarySearchFunc(c.offsets, at, func(o Offset, at Time) int {
		if o.From > at {
			return 1
		}
		return -1
	})
	switch {
	case len(c.offsets) == 0:
		return 0
	case i == 0:
		return c.offsets[0].Seconds
	}
	return c.offsets[i-1].Seconds
}

// hours are those that begin on a day: a date's before those of the same day of
// every year, and those before the week's.
func (c *calendar) hours(day int64) []span {
	if spans, ok := c.dates[day]; ok {
		return spans
	}
	if len(c.yearly) > 0 {
		_, month, d := dateOf(day)
		if spans, ok := c.yearly[100*month+d]; ok {
			return spans
		}
	}
	return c.week[(day+4)%7] // 1970-01-01 was a Thursday
}

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

var errDays = errors.New("not days like mon-fri, sat,sun or daily")

// parseDays reads days separated by commas, each a name or a range; a range may
// run over the end of the week.
func parseDays(s string) (days [7]bool, err error) {
	if s == "daily" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	index := func(name string) int {
		for i, n := range dayNames {
			if n == name {
				return i
			}
		}
		return -1
	}
	for _, part := range strings.Split(s, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		from := index(first)
		to := from
		if ranged {
			to = index(last)
		}
		if from < 0 || to < 0 {
			return days, errDays
		}
		for d := from; ; d = (d + 1) % 7 {
			days[d] = true
			if d == to {
				break
			}
		}
	}
	return days, nil
}

// parseSpan reads From and To of hours. A To that is not after From is on the
// next day.
func parseSpan(from, to string) (span, error) {
	f, err := parseClock(from)
	if err != nil || f == dayMinutes {
		return span{}, fmt.Errorf("from %q is not HH:MM", from)
	}
	t, err := parseClock(to)
	if err != nil {
		return span{}, fmt.Errorf("to %q is not HH:MM", to)
	}
	if t <= f {
		t += dayMinutes
	}
	return span{f, t}, nil
}

var errClock = errors.New("not HH:MM")

func parseClock(s string) (minutes int, err error) {
	if len(s) != 5 || s[2] != ':' {
		return 0, errClock
	}
	h, okH := digits(s[:2])
	m, okM := digits(s[3:])
	if !okH || !okM || m > 59 || h > 24 || h == 24 && m > 0 {
		return 0, errClock
	}
	return h*60 + m, nil
}

var errDate = errors.New("not a date like 2026-12-31 or 12-31")

// parseDate reads YYYY-MM-DD, or MM-DD with year 0.
func parseDate(s string) (year, month, day int, err error) {
	ok := true
	if len(s) == 10 && s[4] == '-' {
		year, ok = digits(s[:4])
		ok = ok && year > 0
		s = s[5:]
	}
	if !ok || len(s) != 5 || s[2] != '-' {
		return 0, 0, 0, errDate
	}
	month, okM := digits(s[:2])
	day, okD := digits(s[3:])
	leap := year
	if year == 0 {
		leap = 2000 // 02-29 is a day of some years
	}
	if !okM || !okD || month < 1 || month > 12 || day < 1 || day > daysIn(leap, month) {
		return 0, 0, 0, errDate
	}
	return year, month, day, nil
}

// digits reads a number written in decimal digits only.
func digits(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// dayOf counts days since 1970 in the Gregorian calendar. Years begin in March
// for it, so that the leap day is the last one.
func dayOf(year, month, day int) int64 {
	y, m := int64(year), int64(month+9)%12
	y -= m / 10
	return 365*y + y/4 - y/100 + y/400 + (m*306+5)/10 + int64(day) - 1 - 719468
}

// dateOf is the inverse of dayOf.
func dateOf(days int64) (year, month, day int) {
	days += 719468
	era := floorDiv(days, 146097) // 400 years
	d := days - era*146097
	y := (d - d/1460 + d/36524 - d/146096) / 365
	d -= 365*y + y/4 - y/100
	m := (5*d + 2) / 153
	day = int(d - (153*m+2)/5 + 1)
	month = int(m+2)%12 + 1
	y += era * 400
	if month <= 2 {
		y++
	}
	return int(y), month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
