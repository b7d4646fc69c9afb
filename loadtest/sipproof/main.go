// Command sipproof measures three routers alone: real routerd processes with
// their fsynced log, SIPp in place of the edges on the callers' side and of the
// phones on the agents', and no media. A router answers nobody without a media
// worker, so this program plays one: it answers every order at once with a fixed
// session description, and packets go nowhere.
//
//	sipproof [-rate 400] [-for 60s] [-hold 60s] [-open 12000] [-agents 2500] [-out out]
//
// It holds latencies at the peak minute's pace, the calls a second, and the memory of
// many open calls to the bounds of docs/design.md, and writes out/bench-sip.json.
// The exit code is 0 only if every bound held. Routers, SIPp and this program share
// the machine; where other work takes more than a quarter of a processor the run
// ends as INVALID, for its figures say nothing about the routers, good or bad.
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
)

func main() { os.Exit(lab.Main(program)) }

func program(ctx context.Context) int {
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 2
	}
	fmt.Fprintln(os.Stderr, "sipproof:", err)
	return 1
}

// target names the report.
const target = "bench-sip"

// Bounds, of docs/design.md.
const (
	mostTrying = 5.0  // ms, INVITE to 100, p99
	mostSetup  = 50.0 // ms, INVITE to the 200 of a call that a queue answers, p99
	mostGrown  = 5.0  // % of memory while calls are held
)

var (
	errFailed  = errors.New("not every check held")
	errInvalid = errors.New("INVALID: other work ran on this machine")
)

// proof is one run.
type proof struct {
	rate, open, agents int
	pace               int // calls a second while latencies are taken
	last, hold         time.Duration
	sampled            time.Duration
	out                io.Writer
	dir                string // of what SIPp reads and writes

	lab    *lab.Lab
	worker *worker
	phones *sipp // the agents' side
	report *check.Report

	invalid bool // other work ran beside
}

func run(ctx context.Context, args []string, out io.Writer) error {
	p := &proof{out: out}
	fs := flag.NewFlagSet("sipproof", flag.ContinueOnError)
	fs.IntVar(&p.rate, "rate", 400, "calls a second of the throughput part")
	fs.DurationVar(&p.last, "for", time.Minute, "how long it lasts; 0 leaves it out")
	fs.IntVar(&p.pace, "pace", 67, "calls a second while latencies are measured: a peak minute of 4 000")
	fs.DurationVar(&p.sampled, "sampled", time.Minute, "how long that lasts; 0 leaves it out")
	fs.IntVar(&p.open, "open", 12000, "calls held open; 0 leaves that out")
	fs.DurationVar(&p.hold, "hold", time.Minute, "how long they are held; the promise is about 10m")
	fs.IntVar(&p.agents, "agents", 2500, "registered phones; so many of the held calls talk, the others wait")
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
	switch {
	case err != nil:
		return err
	case p.invalid:
		return errInvalid
	case !p.report.OK:
		return errFailed
	}
	return nil
}

// measure starts routers, worker and phones and does everything in turn.
func (p *proof) measure(ctx context.Context, folder string) error {
	tools, err := lab.FindToolchain()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join(folder, target))
	if err != nil {
		return err
	}
	p.dir = filepath.Join(dir, "sipp")
	if err := errors.Join(os.RemoveAll(p.dir), os.MkdirAll(p.dir, 0o755)); err != nil {
		return fmt.Errorf("make SIPp's folder: %w", err)
	}
	l, err := lab.Start(ctx, lab.Options{
		Dir: filepath.Join(dir, "lab"), Toolchain: tools, Routing: p.routing(), Progress: p.out,
		Alone: &lab.Alone{Edges: heard(), Ready: func(l *lab.Lab) (err error) {
			p.worker, err = startWorker(l)
			return err
		}},
	})
	if p.worker != nil {
		defer p.worker.close()
	}
	if err != nil {
		return err
	}
	p.lab = l
	defer l.Stop()
	if err := tools.Share(p.dir); err != nil {
		return err
	}
	if p.phones, err = p.answering(ctx); err != nil {
		return err
	}
	defer p.phones.stop()
	if err := p.register(ctx); err != nil {
		return err
	}
	for _, part := range []struct {
		wanted bool
		run    func(context.Context) error
	}{{p.sampled > 0, p.latency}, {p.last > 0, p.throughput}, {p.open > 0, p.held}} {
		if !part.wanted {
			continue
		}
		if err := part.run(ctx); err != nil {
			return err
		}
		if died := l.Died(); len(died) > 0 {
			return fmt.Errorf("%s ended; its last lines:\n%s", died[0], l.Tail(died[0], 20))
		}
	}
	return nil
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

func (p *proof) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
