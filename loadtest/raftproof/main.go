// Command raftproof measures what the replicated log costs and how long it is
// away, with three real processes on this machine: kill -9 and SIGSTOP of the
// leader, the death of a follower, the hand-over of leadership, and a steady
// load. It holds the figures to the bounds of docs/design.md and writes
// out/bench-failover.json.
//
//	raftproof [-for 10m] [-trials 20] [-rate 670] [-out out] [-dir DIR]
//
// The exit code is 0 only if every bound held. A run in which this program or
// the load was starved of processor time ends as INVALID: it says nothing about
// the log, good or bad.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/check"
	"trunkline/raftstore/raftstoretest"
)

func main() {
	if ran, err := raftstoretest.RunProcess(); ran {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "raftproof:", err)
		os.Exit(1)
	}
}

// target names the report.
const target = "bench-failover"

var (
	errFailed  = errors.New("not every check held")
	errInvalid = errors.New("INVALID: this machine was too busy to measure on")
)

// proof is one run.
type proof struct {
	trials int
	rate   int
	steady time.Duration
	out    io.Writer

	list   []*raftstoretest.Process
	seq    uint64
	report *check.Report
	health *health
}

func run(ctx context.Context, args []string, out io.Writer) error {
	p := &proof{out: out}
	fs := flag.NewFlagSet("raftproof", flag.ContinueOnError)
	fs.DurationVar(&p.steady, "for", time.Minute, "how long the steady load lasts")
	fs.IntVar(&p.trials, "trials", 20, "how often each thing is done to the leader")
	fs.IntVar(&p.rate, "rate", 670, "commands per second of the load: a peak minute of 4 000 calls")
	dir := fs.String("dir", "", "folder of the nodes' data, on the disk to be measured (a fresh one below -out)")
	folder := fs.String("out", "out", "folder of the report")
	if err := fs.Parse(args); err != nil {
		return err
	}
	p.report = check.NewReport(target, commit(ctx))
	if *dir == "" {
		if err := os.MkdirAll(*folder, 0o755); err != nil {
			return err
		}
		fresh, err := os.MkdirTemp(*folder, target+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(fresh)
		*dir = fresh
	}
	err := p.measure(ctx, *dir)
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

// measure starts the processes and does everything in turn.
func (p *proof) measure(ctx context.Context, dir string) error {
	if err := p.start(dir); err != nil {
		return err
	}
	defer func() {
		for _, n := range p.list {
			n.Kill()
		}
	}()
	p.health = watchHealth()
	defer p.health.end()
	for _, part := range []func(context.Context) error{p.kills, p.stops, p.transfers, p.followerDeath, p.steadyLoad} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return p.judgeHealth()
}

func (p *proof) start(dir string) error {
	ids := []string{"r1", "r2", "r3"}
	if err := raftstoretest.MakePKI(dir, ids...); err != nil {
		return err
	}
	voters, err := raftstoretest.FreeAddrs(ids...)
	if err != nil {
		return err
	}
	for _, id := range ids {
		log, err := os.Create(filepath.Join(dir, id+".log"))
		if err != nil {
			return err
		}
		n := &raftstoretest.Process{Stderr: log, ProcessConfig: raftstoretest.ProcessConfig{
			ID: id, PKI: dir, Dir: filepath.Join(dir, id), Voters: voters, Archive: true,
		}}
		p.list = append(p.list, n)
		if err := n.Start(); err != nil {
			return err
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

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
