package acdtest

import (
	"fmt"
	"os"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

// A script is a text file of comments, which tell its story, and of blocks:
//
//	verb key=value key=value
//	verb ...
//	----
//	what came out
//
// ended by an empty line. Indented lines belong to the line above them. The
// verbs are in verbs.go.
type block struct {
	line  int // of the first input line
	above []string
	input []string
}

// RunFile runs a script against a new machine and its twin and returns the
// file's text with what really came out, which equals want if all held. The
// twin is restored from a snapshot before every block. An error is a promise
// broken whatever the script expects.
func RunFile(path string) (got, want string, err error) {
	s := &script{Driver: NewDriver()}
	return s.runFile(path)
}

// FileFacts runs a script and returns all facts that it made, also those that the
// machine has dropped by its end.
func FileFacts(path string) ([]acd.Fact, error) {
	s := &script{Driver: NewDriver()}
	_, _, err := s.runFile(path)
	return s.told, err
}

func (s *script) runFile(path string) (got, want string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	want = string(data)
	blocks, tail := parseScript(want)
	var out strings.Builder
	for _, b := range blocks {
		for _, line := range b.above {
			fmt.Fprintln(&out, line)
		}
		if err := s.RestartTwin(); err != nil {
			return "", "", fmt.Errorf("%s:%d: %w", path, b.line, err)
		}
		printed := 0
		for i, line := range b.input {
			fmt.Fprintln(&out, line)
			line, indented, _ := strings.Cut(line, "\n")
			lines, err := s.run(line, indented)
			if err == nil {
				err = Check(s.M)
			}
			if err == nil {
				err = s.Compare()
			}
			if err != nil {
				return "", "", fmt.Errorf("%s:%d: %s: %w", path, b.line+i, line, err)
			}
			if err := s.gather(); err != nil {
				return "", "", fmt.Errorf("%s:%d: %s: %w", path, b.line+i, line, err)
			}
			s.printed = append(s.printed, lines...)
			printed += len(lines)
		}
		fmt.Fprintln(&out, "----")
		if printed == 0 {
			s.printed = append(s.printed, "ok")
		}
		for _, line := range s.printed {
			fmt.Fprintln(&out, line)
		}
		s.printed = s.printed[:0]
	}
	for _, line := range tail {
		fmt.Fprintln(&out, line)
	}
	return out.String(), want, nil
}

func parseScript(text string) (blocks []block, tail []string) {
	var b block
	var inOutput bool
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case inOutput && line == "":
			blocks = append(blocks, b)
			b, inOutput = block{above: []string{""}}, false
		case inOutput: // replaced by what comes out
		case line == "----":
			inOutput = true
		case len(b.input) == 0 && (line == "" || strings.HasPrefix(line, "#")):
			b.above = append(b.above, line)
		case len(b.input) > 0 && strings.HasPrefix(line, " "):
			b.input[len(b.input)-1] += "\n" + line
		default:
			if len(b.input) == 0 {
				b.line = i + 1
			}
			b.input = append(b.input, line)
		}
	}
	if inOutput {
		return append(blocks, b), nil
	}
	return blocks, append(b.above, b.input...)
}

// script is the state of a running script.
type script struct {
	*Driver
	printed []string
	told    []acd.Fact // all facts so far
}

// gather takes the facts that the last line made before the machine drops them.
func (s *script) gather() error {
	after := uint64(0)
	if n := len(s.told); n > 0 {
		after = s.told[n-1].Index
	}
	if gone := s.M.FactsFrom(); gone > after {
		return fmt.Errorf("facts up to %d were dropped, those up to %d are known", gone, after)
	}
	s.told = append(s.told, s.M.FactsAfter(after, 0)...)
	return nil
}

// run carries out one input line. "after=D" on any line lets that much time
// pass first.
func (s *script) run(line, indented string) ([]string, error) {
	fields := strings.Fields(line)
	a := args{verb: fields[0], block: indented, values: make(map[string]string), used: make(map[string]bool)}
	for _, f := range fields[1:] {
		key, value, named := strings.Cut(f, "=")
		if !named {
			key, value = "", f
		}
		if _, twice := a.values[key]; twice {
			return nil, fmt.Errorf("%q given twice", key)
		}
		a.values[key] = value
	}
	if d := a.duration("after"); d > 0 {
		s.Clock = max(s.Clock, s.M.Now()).Add(d)
	}
	verb, ok := verbs[a.verb]
	if !ok {
		return nil, fmt.Errorf("no verb %q", a.verb)
	}
	lines, err := verb(s, &a)
	if err == nil {
		err = a.err
	}
	for key := range a.values {
		if err == nil && !a.used[key] {
			err = fmt.Errorf("verb %s takes no %q", a.verb, key)
		}
	}
	return lines, err
}

// propose applies a command and prints what came of it.
func (s *script) propose(body acd.Body) ([]string, error) {
	result, effects, err := s.Propose(body)
	return append(printResult(result), printEffects(effects)...), err
}

// args are the words of a line; the one without a key has the key "".
type args struct {
	verb   string
	block  string // the indented lines under it
	values map[string]string
	used   map[string]bool
	err    error
}

func (a *args) text(key, def string) string {
	a.used[key] = true
	if v, ok := a.values[key]; ok {
		return v
	}
	return def
}

func (a *args) list(key, def string) []string {
	v := a.text(key, def)
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func (a *args) number(key string, def int) int {
	v := a.text(key, "")
	if v == "" {
		return def
	}
	var n int
	if _, err := fmt.Sscanf(v, "%d", &n); err != nil {
		a.err = fmt.Errorf("%s=%s is not a number", key, v)
	}
	return n
}

func (a *args) duration(key string) time.Duration {
	v := a.text(key, "")
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		a.err = fmt.Errorf("%s: %w", key, err)
	}
	return d
}
