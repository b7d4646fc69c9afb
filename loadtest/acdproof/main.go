// Acdproof measures the state machine at the size of the requirements: commands
// per second, allocations, what an offer costs in each strategy, and how long a
// snapshot holds commands up. It needs nothing but a processor; `make bench-acd`
// runs it.
//
// Time is taken from the process or its thread where other programs would
// otherwise count: on a shared machine the clock says little.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"trunkline/loadtest/check"
)

// target names the report, out/bench-acd.json.
const target = "bench-acd"

// Bounds.
const (
	leastRate    = 300_000 // commands a second of one processor
	mostHot      = 4       // allocations of a command that begins nothing, at most
	mostRatio    = 3       // the dearest offer to the cheapest, over all sizes
	mostStall    = 10.0    // ms
	mostFreeRing = 1.0     // ms, of the 5 ms inside a node
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "acdproof:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("acdproof", flag.ContinueOnError)
	dir := flags.String("out", "out", "folder of the report")
	quick := flags.Bool("quick", false, "small sizes: tries the program, proves nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p := &proof{out: out, report: check.NewReport(target, commit(context.Background())), size: fullSize}
	if *quick {
		p.size = quickSize
	}
	for _, step := range []func() error{p.applyRate, p.allocations, p.offers, p.snapshots} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	p.report.Verdict(out)
	if err := p.report.Write(*dir); err != nil {
		return err
	}
	if !p.report.OK {
		return fmt.Errorf("%d checks failed", len(p.report.Failed()))
	}
	return nil
}

// proof is one run.
type proof struct {
	out    io.Writer
	report *check.Report
	size   size
}

// size is how large the measured states are.
type size struct {
	calls, agents, queues int
	rounds                int // conversations per measurement
	repeats               int
	agentSteps, callSteps []int // of the table of offers
	samples               int
}

var (
	fullSize = size{
		calls: 12_000, agents: 2_500, queues: 10, rounds: 20_000, repeats: 5,
		agentSteps: []int{100, 1_000, 10_000}, callSteps: []int{100, 10_000, 100_000}, samples: 1_000,
	}
	quickSize = size{
		calls: 600, agents: 120, queues: 4, rounds: 500, repeats: 1,
		agentSteps: []int{50, 200}, callSteps: []int{50, 200}, samples: 100,
	}
)

// processTime is the processor time of the whole process, collection of garbage
// included; threadTime that of the calling thread.
func processTime() time.Duration { return rusage(unix.RUSAGE_SELF) }

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

func rusage(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
