// Package check is what the load tests judge with: checks as data with their
// bounds, written for people and for programs alike, percentiles, and tones
// found in recordings. It measures nothing itself and refuses to round a
// failure up: a value is kept as measured, next to the bound it was held to.
package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is the outcome of one target: out/<target>.json is its JSON.
type Report struct {
	Target  string  `json:"target"`
	Commit  string  `json:"commit"`
	Machine string  `json:"machine"`
	OK      bool    `json:"ok"` // every check held and none is missing
	Checks  []Check `json:"checks"`
	Rows    []any   `json:"rows"`
}

// Check is one statement that held or did not.
type Check struct {
	Name  string `json:"name"`
	Value any    `json:"value"` // number or text, as measured
	Unit  string `json:"unit"`
	Bound string `json:"bound"` // what the value had to be: "= 0", "<= 200", ">= 4000"
	OK    bool   `json:"ok"`
}

// NewReport begins a report. A report without checks is not OK.
func NewReport(target, commit string) *Report {
	return &Report{Target: target, Commit: commit, Machine: Machine(), Checks: []Check{}, Rows: []any{}}
}

// Add takes one check.
func (r *Report) Add(name string, value any, unit, bound string, ok bool) {
	r.Checks = append(r.Checks, Check{Name: name, Value: value, Unit: unit, Bound: bound, OK: ok})
	r.OK = !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK })
}

// AtMost checks value <= bound.
func (r *Report) AtMost(name string, value float64, unit string, bound float64) {
	r.Add(name, value, unit, fmt.Sprintf("<= %g", bound), value <= bound)
}

// AtLeast checks value >= bound.
func (r *Report) AtLeast(name string, value float64, unit string, bound float64) {
	r.Add(name, value, unit, fmt.Sprintf(">= %g", bound), value >= bound)
}

// Equal checks that a value is exactly what it must be.
func (r *Report) Equal(name string, value, want any, unit string) {
	r.Add(name, value, unit, fmt.Sprintf("= %v", want), value == want)
}

// Row appends a row of the table.
func (r *Report) Row(row any) { r.Rows = append(r.Rows, row) }

// Passed counts the checks that held.
func (r *Report) Passed() (passed, total int) {
	for _, c := range r.Checks {
		if c.OK {
			passed++
		}
	}
	return passed, len(r.Checks)
}

// Failed lists the checks that did not hold, one sentence each.
func (r *Report) Failed() []string {
	var out []string
	for _, c := range r.Checks {
		if !c.OK {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s: %v %s", c.Name, c.Value, c.Unit))+", must be "+c.Bound)
		}
	}
	return out
}

// Verdict prints the failures and the last line.
func (r *Report) Verdict(w io.Writer) {
	for _, f := range r.Failed() {
		fmt.Fprintf(w, "FAILED  %s\n", f)
	}
	passed, total := r.Passed()
	fmt.Fprintf(w, "%s: %d of %d checks passed\n", r.Target, passed, total)
}

// Write puts the JSON into dir/<target>.json, whole or not at all.
func (r *Report) Write(dir string) error {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // bounds read "<= 200"
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the report's folder: %w", err)
	}
	path := filepath.Join(dir, r.Target+".json")
	if err := os.WriteFile(path+".new", data.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Machine says on what a figure was measured: processor, cores, memory, kernel.
func Machine() string {
	cpu := field("/proc/cpuinfo", "model name")
	mem := field("/proc/meminfo", "MemTotal")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores, %s, Linux %s", cpu, runtime.NumCPU(), mem, strings.TrimSpace(string(kernel)))
}

func field(file, name string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return "unknown"
}

// Percentile is the nearest-rank percentile (p of 0 to 100) of durations.
// None give 0.
func Percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(float64(len(sorted))*p/100 + 0.999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Millis is a duration in milliseconds, to a microsecond.
func Millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
