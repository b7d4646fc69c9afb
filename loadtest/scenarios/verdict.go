package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Broken says which promise broke, where, and how.
type Broken struct {
	Scenario *Scenario
	Side     string // scenario file of the side that saw it: uac, uas; history
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
	saw := fmt.Sprintf("sipp ended: %v", failed.err)
	if failed.running() {
		saw = fmt.Sprintf("it was still waiting, %d of its calls begun", begun(failed))
		if steps, err := failed.steps(s.Dir); err == nil && begun(failed) == 0 {
			return &Broken{Scenario: s, Side: failed.File, Step: steps[0].String(), Saw: "nothing came", Traces: failed.dir}
		}
	}
	return &Broken{Scenario: s, Side: failed.File, Saw: saw, Traces: failed.dir}
}

// begun is whether SIPp has seen any message: its trace is made with the first.
func begun(p *process) int {
	if info, err := os.Stat(p.path(".messages")); err == nil && info.Size() > 0 {
		return 1
	}
	return 0
}

// What SIPp 3.7 writes into its error file when a call fails, and which step it
// means by it.
var complaints = []struct {
	pattern *regexp.Regexp
	step    int // group with the number of the step; 0: none
	saw     func(m []string) string
}{
	{regexp.MustCompile(`while expecting '[^']*' \(index (\d+)\), received '([^\r\n]*)`), 1,
		func(m []string) string { return "received " + strconv.Quote(m[2]) }},
	{regexp.MustCompile(`while pausing \(index (\d+)\), received '([^\r\n]*)`), 1,
		func(m []string) string { return "received " + strconv.Quote(m[2]) }},
	{regexp.MustCompile(`while sending [^(]*\(index (\d+)\), received '([^\r\n]*)`), 1,
		func(m []string) string { return "received " + strconv.Quote(m[2]) }},
	{regexp.MustCompile(`receive timeout on message [^\r\n]*:(\d+) without`), 1,
		func([]string) string { return "nothing came" }},
	{regexp.MustCompile(`Failed regexp match: looking in (body|header|the message|[^,]*) ?'((?s:.*?))', with regexp '([^\r\n]*)'`), 0,
		func(m []string) string {
			return fmt.Sprintf("%s %q does not match %q", m[1], strings.TrimSpace(m[2]), m[3])
		}},
}

// broken reads a SIPp's complaint; nil if it has none.
func (s *Scenario) broken(p *process) *Broken {
	text, err := os.ReadFile(p.path(".errors"))
	if err != nil {
		return nil
	}
	b := &Broken{Scenario: s, Side: p.File, Traces: p.dir}
	for _, c := range complaints {
		m := c.pattern.FindStringSubmatch(string(text))
		if m == nil {
			continue
		}
		b.Saw = c.saw(m)
		if n, err := strconv.Atoi(m[max(c.step, 0)]); c.step > 0 && err == nil {
			if steps, err := p.steps(s.Dir); err == nil && n < len(steps) {
				b.Step = steps[n].String()
			}
		}
		return b
	}
	if line := strings.TrimSpace(string(text)); line != "" {
		b.Saw = strings.Join(strings.Fields(line), " ")
		return b
	}
	return nil
}

// Summary is the last line of a run.
func Summary(run int, broken []error) string {
	if len(broken) == 0 {
		return fmt.Sprintf("%d scenarios, every promise kept", run)
	}
	return fmt.Sprintf("%d scenarios, %d promises broken", run, len(broken))
}

// names finds scenarios by name; "all", or nothing, is every one.
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
