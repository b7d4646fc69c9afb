// Command mediafail measures what the failure of a media worker costs those who
// talk: real calls through the whole tier, SRTP at both ends of each, on three
// workers, one of which is killed, stopped, cut off or drained, again and again.
// Before each fault half of the far ends come within 50 packets of the wrap of
// their sequence numbers, so that the standby has to know the rollover counter.
//
//	mediafail [-calls 200] [-waiting 20] [-kills 4] [-hangs 2] [-cuts 2] [-drains 2] [-out out]
//
// It prints the gap at each far end, re-INVITEs, packets that did not
// authenticate and calls lost, holds them to the bounds of docs/design.md and
// writes out/bench-media-failover.json. The exit code is 0 only if every bound
// held. Tier and far ends share the machine: where this program does not get its
// processor time the run ends as INVALID, for its gaps are this program's own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/watch"
)

func main() { os.Exit(lab.MainApart(program)) }

func program(ctx context.Context) int {
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 2
	}
	fmt.Fprintln(os.Stderr, "mediafail:", err)
	return 1
}

// target names the report.
const target = "bench-media-failover"

var (
	errFailed  = errors.New("not every check held")
	errInvalid = errors.New("INVALID: this machine was too busy to measure on")
)

// proof is one run.
type proof struct {
	calls, waiting             int
	kills, hangs, cuts, drains int
	out                        io.Writer
	began                      time.Time

	lab    *lab.Lab
	tier   *watch.Tier
	desks  *desks
	placed []*call
	made   int // calls placed, refused ones included
	seen   []*ofFault
	report *check.Report
	health *health
}

func run(ctx context.Context, args []string, out io.Writer) error {
	p := &proof{out: out, began: time.Now()}
	fs := flag.NewFlagSet("mediafail", flag.ContinueOnError)
	fs.IntVar(&p.calls, "calls", 200, "calls that talk, each with an operator")
	fs.IntVar(&p.waiting, "waiting", 20, "calls that wait and hear music")
	fs.IntVar(&p.kills, "kills", 4, "how often a worker is killed")
	fs.IntVar(&p.hangs, "hangs", 2, "how often one is stopped, and let go on")
	fs.IntVar(&p.cuts, "cuts", 2, "how often one loses its power: nobody hears from it, not even that it is gone")
	fs.IntVar(&p.drains, "drains", 2, "how often one is told to end")
	folder := fs.String("out", "out", "folder of the report")
	if err := fs.Parse(args); err != nil {
		return err
	}
	p.report = check.NewReport(target, commit(ctx))
	err := p.measure(ctx, *folder)
	if writeErr := p.report.Write(*folder); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	p.printChecks()
	fmt.Fprintf(out, "\nreport: %s\n", filepath.Join(*folder, target+".json"))
	p.report.Verdict(out)
	if err == nil && !p.report.OK {
		return errFailed
	}
	return err
}

// measure starts the tier, places the calls, breaks workers in turn and looks at
// what all far ends saw.
func (p *proof) measure(ctx context.Context, folder string) (err error) {
	if err := p.start(ctx, folder); err != nil {
		return err
	}
	defer func() {
		p.say("stopping everything")
		p.desks.close()
		err = errors.Join(err, p.lab.Stop())
	}()
	p.health = watchHealth()
	defer p.health.end()
	for _, part := range []func(context.Context) error{p.register, p.place, p.breakWorkers, p.judgeCalls} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return p.judgeHealth()
}

func (p *proof) printChecks() {
	t := check.NewTable("check", "value", "unit", "bound", "")
	for _, c := range p.report.Checks {
		ok := "ok"
		if !c.OK {
			ok = "FAILED"
		}
		t.Row(c.Name, fmt.Sprint(c.Value), c.Unit, c.Bound, ok)
	}
	fmt.Fprintln(p.out)
	t.Print(p.out)
}

// say prints a line of progress with the time since the start.
func (p *proof) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%6.1f s  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// Write lets the lab print its steps as ours.
func (p *proof) Write(b []byte) (int, error) {
	p.say("%s", strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// await polls until cond holds; what says what did not come about.
func (p *proof) await(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v in vain for %s", limit, what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pass lets time go by while calls talk.
func pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
