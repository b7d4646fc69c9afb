package scenarios

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What SIPp 3.7 writes into its error file when a call fails.
var (
	unexpected = regexp.MustCompile(`while (?:expecting|pausing|sending)[^(]*\(index (\d+)\), received '([^\r\n]*)`)
	inVain     = regexp.MustCompile(`receive timeout on message [^\r\n]*:(\d+) without`)
	matched    = regexp.MustCompile(`Failed regexp match: [^']*'((?s:.*?))', with regexp '([^\r\n]*)'`)
)

// broken reads a SIPp's complaint; nil if it has none.
func (s *Scenario) broken(p *process) *Broken {
	text, err := os.ReadFile(p.path(".errors"))
	if err != nil {
		return nil
	}
	steps, err := p.steps(s.Dir)
	if err != nil {
		return nil // Load has read them
	}
	b := &Broken{Scenario: s, Side: p.File, Traces: p.dir}
	at := func(number string) {
		if n, err := strconv.Atoi(number); err == nil && n < len(steps) {
			b.Step = steps[n].String()
		}
	}
	if m := unexpected.FindStringSubmatch(string(text)); m != nil {
		at(m[1])
		b.Saw = "received " + strconv.Quote(m[2])
	} else if m := inVain.FindStringSubmatch(string(text)); m != nil {
		at(m[1])
		b.Saw = "nothing came"
	} else if m := matched.FindStringSubmatch(string(text)); m != nil {
		// SIPp does not say at which step; the expression does.
		i := slices.IndexFunc(steps, func(st step) bool { return slices.Contains(st.checks, m[2]) })
		if i >= 0 {
			b.Step = steps[i].String()
		}
		b.Saw = fmt.Sprintf("%q is not %q", short(strings.TrimSpace(m[1])), m[2])
	} else if line := strings.Join(strings.Fields(string(text)), " "); line != "" {
		b.Saw = short(line)
	} else {
		return nil
	}
	return b
}

// short keeps a sentence one.
func short(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + " ..."
	}
	return text
}
