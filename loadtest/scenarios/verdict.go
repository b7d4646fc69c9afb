package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Broken says which promise broke, where, and how.
type Broken struct {
	Scenario *Scenario
	Side     string // scenario file of the side that saw it, or the history
	Step     string // the sentence before the step, and the step
	Saw      string
	Traces   string // folder, "" for none
}

func (b *Broken) Error() string {
	s := fmt.Sprintf("%s: the promise %q broke", b.Scenario.Name, b.Scenario.Promise)
	if b.Side != "" {
		s += " in " + b.Side
	}
	if b.Step != "" {
		s += " at " + strconv.Quote(b.Step)
	}
	s += ": " + b.Saw
	if b.Traces != "" {
		s += "; messages are in " + b.Traces
	}
	return s
}

// firstBroken makes the sentence. A side that fails leaves the others waiting,
// so the one that has something to tell comes first, in the order of commands.
func (s *Scenario) firstBroken(started []*process, failed *process) error {
	order := append([]*process{failed}, started...)
	for _, p := range order {
		if b := s.broken(p); b != nil {
			return b
		}
	}
	b := &Broken{Scenario: s, Side: failed.File, Saw: "it was still waiting when the others were done", Traces: failed.dir}
	if !failed.running() {
		b.Saw = fmt.Sprintf("sipp ended: %v", failed.err)
	} else if steps, err := failed.steps(s.Dir); err == nil && !failed.begun() {
		b.Step, b.Saw = steps[0].String(), "nothing came"
	}
	return b
}

// begun tells whether SIPp has seen any message: its trace is made with the first.
func (p *process) begun() bool {
	info, err := os.Stat(p.path(".messages"))
	return err == nil && info.Size() > 0
}

// Summary is the last line of a run.
func Summary(run int, broken []error) string {
	if len(broken) == 0 {
		return fmt.Sprintf("%d scenarios, every promise kept", run)
	}
	return fmt.Sprintf("%d scenarios, %d promises broken", run, len(broken))
}

// Select finds scenarios by names or patterns; "all", or nothing, is every one.
func Select(all []*Scenario, names []string) ([]*Scenario, error) {
	if len(names) == 0 || len(names) == 1 && names[0] == "all" {
		return all, nil
	}
	var out []*Scenario
	var faults []error
	for _, name := range names {
		name = filepath.Base(name)
		found := false
		for _, s := range all {
			if ok, err := filepath.Match(name, s.Name); err == nil && ok {
				out, found = append(out, s), true
			}
		}
		if !found {
			faults = append(faults, fmt.Errorf("there is no scenario %q", name))
		}
	}
	return out, errors.Join(faults...)
}
