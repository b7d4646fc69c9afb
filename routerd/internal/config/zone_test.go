package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
)

// TestOffsetsAreTheZones: at every hour of the years taken along, in zones with
// and without changes.
func TestOffsetsAreTheZones(t *testing.T) {
	from, to := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2042, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, zone := range []string{"UTC", "Europe/Moscow", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		list := offsets(zone, from, to)
		i := 0
		for at := from; at.Before(to); at = at.Add(time.Hour) {
			for i+1 < len(list) && list[i+1].From <= acd.Time(at.UnixNano()) {
				i++
			}
			if _, want := at.In(loc).Zone(); list[i].Seconds != want {
				t.Fatalf("%s at %s: %d, want %d", zone, at, list[i].Seconds, want)
			}
		}
	}
}

// TestReadTreeCarriesItsZones: and a zone that nobody knows is a fault of its
// line.
func TestReadTreeCarriesItsZones(t *testing.T) {
	const tree = "calendars:\n  - id: office\n    zone: %s\n    hours: [{days: mon-fri, from: '09:00', to: '18:00'}]\n"
	r, err := ParseRouting("routing", []byte(fmt.Sprintf(tree, "Europe/Berlin")))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Calendars[0].Offsets); n < 2*(yearsBefore+yearsAfter) {
		t.Errorf("%d offsets", n)
	}
	for _, zone := range []string{"Europe/Berlinn", "Local", "''"} {
		_, err := ParseRouting("routing", []byte(fmt.Sprintf(tree, zone)))
		if err == nil || !strings.Contains(err.Error(), "routing:3: calendars[0].zone: ") {
			t.Errorf("zone %s: %v", zone, err)
		}
	}
}
