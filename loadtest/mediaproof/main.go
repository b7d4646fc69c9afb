// Command mediaproof measures a media worker beside Debian's rtpengine in
// userspace: the same calls, set up over the NG protocol that both speak, talk
// over the one and the other by turns. It plays all parties of the calls itself
// and checks every packet that comes out: its tag, its header and every byte of
// its payload.
//
//	mediaproof [-for 8s] [-calls 100,300,500] [-recorded N] [-kinds AEAD] [-threads 0] [-bin bin/mediad] [-against PROGRAM] [-out out]
//
// It holds processor time per packet, loss and what recording adds to the bounds
// of docs/design.md, and writes out/bench-media.json. The exit code is 0 only if
// every bound held. Daemons and generator share the machine; where other work
// takes more than a quarter of a processor, or the generator is late, the run
// ends as INVALID: its losses say nothing about the daemons, good or bad.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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
	fmt.Fprintln(os.Stderr, "mediaproof:", err)
	return 1
}

// target names the report.
const target = "bench-media"

// Bounds, of docs/design.md.
const (
	mostCost      = 0.8 // mediad's processor time per packet / rtpengine's
	mostRecording = 15  // % more
	// Timers and statistics of a Go process make some objects now and then.
	mostAllocations = 0.01
)

var (
	errFailed  = errors.New("not every check held")
	errInvalid = errors.New("INVALID: this machine was too busy to measure on")
)

// proof is one run.
type proof struct {
	last     time.Duration // of each daemon in each cell
	calls    []int
	recordOf int
	kinds    []kind
	out      io.Writer

	ours, theirs *relay
	report       *check.Report
	table        *check.Table
	invalid      bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	p := &proof{out: out}
	fs := flag.NewFlagSet("mediaproof", flag.ContinueOnError)
	fs.DurationVar(&p.last, "for", 8*time.Second, "how long each daemon's calls talk in each cell")
	calls := fs.String("calls", "100,300,500", "how many calls, one number after the other")
	fs.IntVar(&p.recordOf, "recorded", -1, "calls of the part with recording; 0 leaves it out, -1 is the most of -calls")
	which := fs.String("kinds", "", "only suites whose name has this")
	threads := fs.Int("threads", 0, "of each daemon that move packets; 0: its own choice")
	against := fs.String("against", "", "another mediad's program instead of rtpengine: so designs are compared")
	bin := fs.String("bin", "bin/mediad", "mediad's program")
	folder := fs.String("out", "out", "folder of the report")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := p.choose(*calls, *which); err != nil {
		return err
	}
	p.report = check.NewReport(target, commit(ctx))
	err := p.prepare(ctx, *bin, *against, *folder, *threads)
	if err == nil {
		err = p.measure(ctx)
	}
	if writeErr := p.report.Write(*folder); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	p.print()
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

// longest is how long a party's packets last.
const longest = mostPackets * frame

func (p *proof) choose(calls, which string) error {
	if p.last < time.Second || p.last >= longest {
		return fmt.Errorf("-for %v: want 1s at least and less than %v", p.last, longest)
	}
	for s := range strings.SplitSeq(calls, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 4000 {
			return fmt.Errorf("-calls: %q is no number of calls from 1 to 4000", s)
		}
		p.calls = append(p.calls, n)
	}
	if p.recordOf < 0 {
		p.recordOf = slices.Max(p.calls)
	}
	for _, k := range kinds {
		if strings.Contains(k.name, which) {
			p.kinds = append(p.kinds, k)
		}
	}
	if len(p.kinds) == 0 {
		return fmt.Errorf("-kinds: no suite has %q in its name", which)
	}
	return nil
}

// prepare finds the daemons.
func (p *proof) prepare(ctx context.Context, bin, against, folder string, threads int) error {
	tools, err := lab.FindToolchain()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join(folder, target))
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("make the daemons' folder: %w", err)
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if p.ours, err = mediadRelay(ctx, "mediad", "127.21.0.1", bin, dir, threads); err != nil {
		return err
	}
	if against != "" {
		if against, err = filepath.Abs(against); err != nil {
			return err
		}
		p.theirs, err = mediadRelay(ctx, "other", "127.21.0.2", against, dir, threads)
		return err
	}
	if err := tools.Add(ctx, p.out, "rtpengine", "rtpengine-daemon"); err != nil {
		return err
	}
	p.theirs = rtpengineRelay(tools, dir, threads)
	version, err := tools.Command(ctx, "rtpengine", "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask rtpengine for its version: %w", err)
	}
	p.say("rtpengine %s", strings.TrimSpace(string(version)))
	p.report.Row(map[string]string{"rtpengine": strings.TrimSpace(string(version))})
	return nil
}

func (p *proof) measure(ctx context.Context) error {
	p.table = check.NewTable("daemon", "calls between", "calls", "us/packet", "lost", "of", "wrong", "delay p50", "p99 ms", "kB/call", "recording")
	for _, k := range p.kinds {
		if k.plain() && !(p.ours.plain && p.theirs.plain) {
			p.say("%s: left out, for one of the two takes no plain RTP", k.name)
			continue
		}
		for _, calls := range p.calls {
			p.say("%d calls, %s", calls, k.name)
			if err := p.compare(ctx, k, calls); err != nil {
				return err
			}
		}
	}
	if p.recordOf == 0 {
		return nil
	}
	p.say("%d calls, recorded", p.recordOf)
	return p.recorded(ctx, p.recordOf)
}

func (p *proof) row(f figure) {
	p.report.Row(f)
	recording := ""
	if f.Recording {
		recording = "yes"
	}
	p.table.Row(f.Relay, f.Kind, strconv.Itoa(f.Calls), fmt.Sprintf("%.2f", f.Cost), strconv.Itoa(f.Lost), strconv.Itoa(f.Sent),
		strconv.Itoa(f.Wrong), fmt.Sprintf("%.1f", f.DelayP50), fmt.Sprintf("%.1f", f.DelayP99), fmt.Sprintf("%.1f", f.PerCall), recording)
	p.say("  %s: %.2f us/packet, %d of %d lost", f.Relay, f.Cost, f.Lost, f.Sent)
}

func (p *proof) print() {
	fmt.Fprintln(p.out)
	if p.table != nil {
		p.table.Print(p.out)
		fmt.Fprintln(p.out)
	}
	t := check.NewTable("check", "value", "unit", "bound", "")
	for _, c := range p.report.Checks {
		ok := "ok"
		if !c.OK {
			ok = "FAILED"
		}
		t.Row(c.Name, fmt.Sprint(c.Value), c.Unit, c.Bound, ok)
	}
	t.Print(p.out)
}

func (p *proof) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// round keeps three digits after the point.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// commit names the sources, with a mark when they were changed since.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
