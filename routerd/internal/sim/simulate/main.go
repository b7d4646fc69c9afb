// Command simulate runs seeds of the simulator and reports which promise broke.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"trunkline/routerd/internal/sim"
)

type options struct {
	seeds, from, seed uint64
	jobs, stop        int
	out               string
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	var o options
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.Uint64Var(&o.seeds, "seeds", 1000, "how many seeds to run")
	flags.Uint64Var(&o.from, "from", 1, "the first of them")
	flags.Uint64Var(&o.seed, "seed", 0, "run this one alone and print its trace")
	flags.IntVar(&o.jobs, "jobs", 2, "how many run beside each other")
	flags.IntVar(&o.stop, "stop", 10, "end after so many failures; 0: never")
	flags.StringVar(&o.out, "out", "", "folder for sim.json; empty: none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.jobs < 1 {
		return errors.New("-jobs: must be at least 1")
	}
	// A run makes little garbage that lives and much that does not.
	debug.SetGCPercent(400)
	if o.seed != 0 {
		return one(o.seed, w)
	}
	return many(o, w)
}

// one prints the trace of one seed.
func one(seed uint64, w io.Writer) error {
	out := sim.Run(seed, w)
	fmt.Fprintf(w, "seed %d (%s): %d entries, %d calls taken, %d refused, %d offers, %d takeovers, %d lines, digest %016x\n",
		seed, out.Profile, out.Entries, out.Calls, out.Refused, out.Offers, out.Moved, out.Lines, out.Digest)
	if out.Failure != nil {
		return out.Failure
	}
	return nil
}

// tally is what all seeds came to.
type tally struct {
	w        io.Writer
	mu       sync.Mutex
	ran      int
	calls    int
	offers   int
	moved    int
	entries  int
	rebased  int
	profiles map[string]int
	causes   map[string]int
	failures []*sim.Failure
}

func (t *tally) add(o sim.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ran++
	t.calls += o.Calls
	t.offers += o.Offers
	t.moved += o.Moved
	t.entries += o.Entries
	t.rebased += o.Rebased
	t.profiles[o.Profile]++
	for cause, n := range o.Causes {
		t.causes[cause] += n
	}
	if o.Failure != nil {
		t.failures = append(t.failures, o.Failure)
		first, _, _ := strings.Cut(o.Failure.Error(), "\n")
		fmt.Fprintf(t.w, "sim: broken (%s): %s\n", o.Profile, first)
	}
}

func (t *tally) broken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failures)
}

// many runs seeds on all jobs and reports.
func many(o options, w io.Writer) error {
	fmt.Fprintf(w, "sim: seeds %d to %d\n", o.from, o.from+o.seeds-1)
	t := &tally{w: w, profiles: map[string]int{}, causes: map[string]int{}}
	began := time.Now()
	seeds := make(chan uint64)
	var running sync.WaitGroup
	for range o.jobs {
		running.Go(func() {
			for seed := range seeds {
				t.add(sim.Run(seed, nil))
			}
		})
	}
	progress := time.Now()
	for seed := o.from; seed < o.from+o.seeds; seed++ {
		seeds <- seed
		if o.stop > 0 && t.broken() >= o.stop {
			fmt.Fprintf(w, "sim: stopped after %d failures\n", t.broken())
			break
		}
		if time.Since(progress) > 10*time.Second {
			progress = time.Now()
			done := seed - o.from + 1
			fmt.Fprintf(w, "sim: %d of %d seeds, %d failed, %.1f seeds/s\n", done, o.seeds, t.broken(), float64(done)/time.Since(began).Seconds())
		}
	}
	close(seeds)
	running.Wait()
	return report(o, t, time.Since(began), w)
}

func report(o options, t *tally, took time.Duration, w io.Writer) error {
	slices.SortFunc(t.failures, func(a, b *sim.Failure) int { return cmp.Compare(a.Seed, b.Seed) })
	broke := map[string]int{}
	for _, f := range t.failures {
		broke[f.Promise]++
		fmt.Fprintf(w, "\nFAILED  %v\nthe last events (all: make sim SEED=%d):\n  %s\n", f, f.Seed, strings.Join(tail(f.Trace, 40), "\n  "))
	}
	rate := float64(t.ran) / took.Seconds()
	fmt.Fprintf(w, "sim: %d seeds in %.1f s (%.1f/s): %d calls, %d offers, %d takeovers, %d log entries; %d failed\n",
		t.ran, took.Seconds(), rate, t.calls, t.offers, t.moved, t.entries, len(t.failures))
	for _, cause := range slices.Sorted(maps.Keys(t.causes)) {
		fmt.Fprintf(w, "  calls %-28s %d\n", cause, t.causes[cause])
	}
	if o.out != "" {
		if err := write(o, t, broke, rate); err != nil {
			return err
		}
	}
	if len(t.failures) > 0 {
		return fmt.Errorf("%d of %d seeds broke a promise", len(t.failures), t.ran)
	}
	return nil
}

func tail(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

// check and document have the form of loadtest/check, which this folder may not
// import.
type check struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	Unit  string `json:"unit"`
	Bound string `json:"bound"`
	OK    bool   `json:"ok"`
}

type document struct {
	Target  string  `json:"target"`
	Commit  string  `json:"commit"`
	Machine string  `json:"machine"`
	OK      bool    `json:"ok"`
	Checks  []check `json:"checks"`
	Rows    []any   `json:"rows"`
}

func write(o options, t *tally, broke map[string]int, rate float64) error {
	d := document{Target: "sim", Commit: commit(), Machine: machine(), OK: len(t.failures) == 0, Rows: []any{}}
	d.Checks = append(d.Checks, check{"seeds run", t.ran, "", fmt.Sprintf("= %d", o.seeds), uint64(t.ran) == o.seeds})
	d.OK = d.OK && uint64(t.ran) == o.seeds
	for _, p := range sim.Promises {
		d.Checks = append(d.Checks, check{"seeds that broke " + p, broke[p], "", "= 0", broke[p] == 0})
	}
	for _, f := range t.failures {
		d.Rows = append(d.Rows, map[string]any{"seed": f.Seed, "promise": f.Promise, "detail": f.Detail, "at_s": f.At.Seconds()})
	}
	for _, p := range slices.Sorted(maps.Keys(t.profiles)) {
		d.Rows = append(d.Rows, map[string]any{"profile": p, "seeds": t.profiles[p]})
	}
	d.Rows = append(d.Rows, map[string]any{
		"seeds_per_second": rate, "calls": t.calls, "offers": t.offers, "takeovers": t.moved, "entries": t.entries, "clock_excused": t.rebased,
	})
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the report's folder: %w", err)
	}
	path := filepath.Join(o.out, "sim.json")
	if err := os.WriteFile(path+".new", data.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
