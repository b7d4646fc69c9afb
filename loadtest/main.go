// Command loadtest proves the tier on one machine: it starts all of it, places
// calls, breaks it, and holds what was measured against what was promised.
//
//	loadtest setup   find or build Kamailio, SIPp and baresip
//	loadtest demo    ten calls, two kills, four refusals, in under a minute
//	loadtest load    a peak minute through the whole tier (T14)
//	loadtest scenario NAME...|all  the promises of loadtest/scenarios, by SIPp
//	loadtest up      the same tier, running until Ctrl-C
//
// Each target writes out/<target>.json. The exit code is 0 only if every
// check held.
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

	"trunkline/loadtest/check"
	"trunkline/loadtest/demo"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/load"
)

func main() { os.Exit(lab.Main(run)) }

const usage = `usage: loadtest setup|demo|load|scenario|up [flags]; -h after a command lists its flags
`

// errFailed says that a check did not hold; the report has said which.
var errFailed = errors.New("not every check held")

// run is one command; the result is the exit code.
func run(ctx context.Context) int {
	err := command(ctx, os.Args[1:], os.Stdout)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		fmt.Fprint(os.Stderr, usage)
		return 2
	default:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
}

var errUsage = errors.New("what shall it be?")

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	commands := map[string]func(context.Context, *flag.FlagSet, []string, io.Writer) error{
		"setup": setup, "demo": runDemo, "load": runLoad, "up": runUp, "scenario": runScenario,
	}
	f, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("unknown command %q: %w", args[0], errUsage)
	}
	return f(ctx, flag.NewFlagSet("loadtest "+args[0], flag.ContinueOnError), args[1:], out)
}

// common are the flags that every command which starts a tier has.
type common struct{ out, dir, bin string }

func (c *common) register(fs *flag.FlagSet) {
	fs.StringVar(&c.out, "out", "out", "folder of the reports")
	fs.StringVar(&c.dir, "dir", "", "the tier's working folder (out/lab)")
	fs.StringVar(&c.bin, "bin", "", "folder of routerd and mediad (bin)")
}

// options finds or builds the toolchain, with its progress printed.
func (c *common) options(ctx context.Context, out io.Writer) (lab.Options, error) {
	t, err := lab.SetUp(ctx, out)
	if err != nil {
		return lab.Options{}, err
	}
	return lab.Options{Dir: c.dir, Bin: c.bin, Toolchain: t}, nil
}

func setup(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	t, err := lab.SetUp(ctx, out)
	if err != nil {
		return err
	}
	for name, version := range t.Versions(ctx) {
		fmt.Fprintf(out, "%s %s\n", name, version)
	}
	return nil
}

func runDemo(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	var c common
	c.register(fs)
	slack := fs.Float64("slack", 1, "stretch bounds of time, for slow builds")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o, err := c.options(ctx, out)
	if err != nil {
		return err
	}
	report, err := demo.Run(ctx, demo.Config{Out: c.out, Lab: o, Commit: commit(ctx), Log: out, Slack: *slack})
	return finish(report, c.out, out, err)
}

func runLoad(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	var c common
	c.register(fs)
	cfg := load.Defaults()
	fs.IntVar(&cfg.Rate, "rate", cfg.Rate, "calls per minute")
	fs.DurationVar(&cfg.For, "for", cfg.For, "how long calls are placed")
	fs.IntVar(&cfg.Agents, "agents", cfg.Agents, "phones that answer")
	fs.DurationVar(&cfg.Talk, "talk", cfg.Talk, "until an agent hangs up, through SBC B")
	fs.DurationVar(&cfg.Hold, "hold", cfg.Hold, "until a caller hangs up, through SBC A")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o, err := c.options(ctx, out)
	if err != nil {
		return err
	}
	cfg.Out, cfg.Lab, cfg.Commit, cfg.Log = c.out, o, commit(ctx), out
	report, err := load.Run(ctx, cfg)
	return finish(report, c.out, out, err)
}

// finish writes the report and says the verdict, of a run that broke off too.
func finish(report *check.Report, dir string, out io.Writer, err error) error {
	if writeErr := report.Write(dir); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	if err != nil {
		fmt.Fprintln(out, err)
	}
	fmt.Fprintf(out, "\nreport: %s\n", filepath.Join(dir, report.Target+".json"))
	report.Verdict(out)
	if err == nil && !report.OK {
		return errFailed
	}
	return err
}

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
