package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/routeapi"
)

// settled is how long the history may take to be complete: a call's last facts
// come after the far ends are done with it, and are projected beside it.
const settled = 5 * time.Second

// judge holds the scenario's history to what it says must be there.
func (t *Tier) judge(ctx context.Context, s *Scenario) error {
	if len(s.Facts) == 0 && len(s.Never) == 0 && len(s.Counts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settled)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	broken := ""
	var seen []routeapi.Fact
	for {
		all, err := t.history(ctx)
		if err == nil {
			seen, broken = all, s.missing(s.own(all))
			if broken == "" {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if broken == "" {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			return &Broken{Scenario: s, Side: "the history", Saw: broken + "; it has\n" + lines(s.own(seen))}
		}
	}
}

// own are the facts of the scenario's calls and agents. The API masks numbers
// but for the last four digits, which are the scenario's.
func (s *Scenario) own(all []routeapi.Fact) []routeapi.Fact {
	suffix := s.number()[len(s.number())-4:]
	calls := map[string]bool{}
	agents := map[string]bool{fmt.Sprintf("a%d", s.ID): true, fmt.Sprintf("b%d", s.ID): true}
	var out []routeapi.Fact
	for _, f := range all {
		if f.Kind == "call.arrived" || f.Kind == "call.refused" {
			to := f.Attrs["to"]
			calls[f.Call] = calls[f.Call] || strings.HasSuffix(to, suffix) || agents[to] || agents[f.Attrs["from"]] || agents[f.Agent]
		}
		if calls[f.Call] && f.Call != "" || agents[f.Agent] {
			out = append(out, f)
		}
	}
	return out
}

// missing says the first thing that is not as it must be, "" if all is.
func (s *Scenario) missing(facts []routeapi.Fact) string {
	rest := facts
	for _, want := range s.Facts {
		i := slices.IndexFunc(rest, func(f routeapi.Fact) bool { return fits(f, want) })
		if i < 0 {
			return fmt.Sprintf("%q is not there, or not in its place", want)
		}
		rest = rest[i+1:]
	}
	seen := map[string]int{}
	for _, f := range facts {
		seen[f.Kind]++
		if slices.ContainsFunc(s.Never, func(want string) bool { return fits(f, want) }) {
			return fmt.Sprintf("%q is there and must not", line(f))
		}
	}
	for kind, n := range s.Counts {
		if seen[kind] != n {
			return fmt.Sprintf("%s is there %d times, want %d", kind, seen[kind], n)
		}
	}
	return ""
}

// fits holds a fact to "kind attr=value attr=value"; agent and queue count as
// attributes, and attr= says that there is none.
func fits(f routeapi.Fact, want string) bool {
	words := strings.Fields(want)
	if len(words) == 0 || words[0] != f.Kind {
		return false
	}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		got := f.Attrs[name]
		switch name {
		case "agent":
			got = f.Agent
		case "queue":
			got = f.Queue
		}
		if got != value {
			return false
		}
	}
	return true
}

// line is a fact for people.
func line(f routeapi.Fact) string {
	s := f.Kind
	for _, more := range [][2]string{{"agent", f.Agent}, {"queue", f.Queue}} {
		if more[1] != "" {
			s += " " + more[0] + "=" + more[1]
		}
	}
	var attrs []string
	for k, v := range f.Attrs {
		attrs = append(attrs, k+"="+v)
	}
	slices.Sort(attrs)
	return strings.Join(append([]string{s}, attrs...), " ")
}

func lines(facts []routeapi.Fact) string {
	var b strings.Builder
	for _, f := range facts {
		b.WriteString("\t" + line(f) + "\n")
	}
	return b.String()
}
