package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"trunkline/loadtest/lab"
	"trunkline/loadtest/scenarios"
)

// runScenario holds the tier to the promises of loadtest/scenarios: those that
// are named, or all.
func runScenario(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	var c common
	c.register(fs)
	in := fs.String("in", filepath.Join("loadtest", "scenarios"), "folder of the scenarios")
	up := fs.Bool("up", false, "only start the tier, until Ctrl-C, for commands of the READMEs by hand")
	parallel := fs.Int("parallel", 0, "scenarios at a time (8)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o, err := c.options(ctx, out)
	if err != nil {
		return err
	}
	all, err := scenarios.Load(*in)
	if err != nil {
		return err
	}
	chosen, err := scenarios.Select(all, fs.Args())
	if err != nil {
		return err
	}
	traces, err := filepath.Abs(filepath.Join(c.out, "scenarios"))
	if err != nil {
		return err
	}
	t, err := scenarios.Start(ctx, scenarios.Config{Lab: o, Out: traces, Parallel: *parallel, Log: out}, all)
	if err != nil {
		return err
	}
	if *up {
		printByHand(t.Lab(), out)
		<-ctx.Done()
		return t.Stop()
	}
	var broken []error
	t.RunAll(ctx, chosen, func(r scenarios.Result) {
		if r.Err != nil {
			broken = append(broken, r.Err)
			fmt.Fprintf(out, "BROKEN %v\n", r.Err)
			return
		}
		fmt.Fprintf(out, "ok     %-32s %5.1f s\n", r.Scenario.Name, r.Took.Round(100*time.Millisecond).Seconds())
	})
	fmt.Fprintln(out, scenarios.Summary(len(chosen), broken))
	err = t.Stop()
	if len(broken) > 0 {
		err = errors.Join(errFailed, err)
	}
	return err
}

func printByHand(l *lab.Lab, out io.Writer) {
	fmt.Fprintf(out, "\nThe tier is up. Ctrl-C stops it.\n\n  cd loadtest/scenarios/NAME   and its README's commands\n")
	fmt.Fprintf(out, "  %s is SIPp, if the machine has none of its own\n", filepath.Join(l.Dir(), "run", "sipp"))
	fmt.Fprintf(out, "  %s\n\n", l.RouterctlLine("facts"))
}
