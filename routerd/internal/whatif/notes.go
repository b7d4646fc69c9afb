package whatif

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"trunkline/routerd/acd"
)

// Notes says what a forecast for cfg assumes beyond the package's own rules, in
// sentences.
func (d *Day) Notes(cfg acd.Config) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if len(d.Changes) > 0 {
		note("the configuration changed %d times within the stretch: the new one is in force from its beginning to its end", len(d.Changes))
	}
	numbers := map[string]bool{}
	for _, n := range cfg.Numbers {
		numbers[n.Number] = true
	}
	lost := map[string]int{}
	for _, a := range d.Arrivals {
		if !numbers[a.To] {
			lost[a.To]++
		}
	}
	for _, number := range slices.Sorted(maps.Keys(lost)) {
		note("%s was called %d times and is not in the new configuration: those calls are refused", number, lost[number])
	}
	present := map[acd.AgentID]bool{}
	for _, p := range d.Presence {
		present[p.Agent] = true
	}
	var absent, gone []string
	for _, a := range cfg.Agents {
		if !present[a.ID] {
			absent = append(absent, string(a.ID))
		}
		delete(present, a.ID)
	}
	for id := range present { // any order: sorted below
		gone = append(gone, string(id))
	}
	if len(absent) > 0 {
		note("%d agents had no phone on all of the stretch and serve nothing: %s", len(absent), some(absent))
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		note("%d agents were there and are not in the new configuration: %s", len(gone), some(gone))
	}
	unheard := map[string]bool{}
	for _, n := range cfg.Numbers {
		for _, g := range append([]string{n.Greeting}, greetings(n.Rules)...) {
			if _, known := d.Prompts[g]; g != "" && !known {
				unheard[g] = true
			}
		}
	}
	for _, g := range slices.Sorted(maps.Keys(unheard)) {
		note("greeting %q was never played: it is taken to last %v", g, promptLasts)
	}
	return notes
}

func greetings(rules []acd.Rule) (list []string) {
	for _, r := range rules {
		list = append(list, r.Greeting)
	}
	return list
}

// some names the first of many.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", ..."
}

// MarshalJSON adds what follows from the counts.
func (f Figures) MarshalJSON() ([]byte, error) {
	type counts Figures
	return json.Marshal(struct {
		counts
		ServiceLevel float64 `json:"service_level"`
		ASA          float64 `json:"asa_seconds"`
		Abandonment  float64 `json:"abandonment"`
		Occupancy    float64 `json:"occupancy"`
	}{counts(f), f.ServiceLevel(), f.ASA().Seconds(), f.Abandonment(), f.Occupancy()})
}
