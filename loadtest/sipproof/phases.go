package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// talk is how long the calls of latency and throughput last.
const talk = 2 * time.Second

// place makes calls to their end and returns what was counted.
func (p *proof) place(ctx context.Context, l load) (result, error) {
	all, err := p.callers(ctx, l)
	if err != nil {
		return result{}, err
	}
	var faults []error
	for _, s := range all {
		faults = append(faults, s.wait())
	}
	if err := errors.Join(faults...); err != nil {
		return result{}, err
	}
	return resultOf(all)
}

// latency takes times at the pace of a peak minute, from the routers' own
// histograms: SIPp's clock ticks in 4 ms.
func (p *proof) latency(ctx context.Context) error {
	p.say("%d calls/s for %v", p.pace, p.sampled)
	from, err := p.scrape(ctx)
	if err != nil {
		return err
	}
	r, err := p.place(ctx, load{name: "pace", number: servedNumber, rate: p.pace, calls: p.pace * int(p.sampled.Seconds()), talk: talk})
	if err != nil {
		return err
	}
	to, err := p.scrape(ctx)
	if err != nil {
		return err
	}
	p.report.Equal(fmt.Sprintf("calls failed at %d/s", p.pace), r.failed, 0, "calls")
	for _, h := range []struct {
		what, name string
		bound      float64
	}{{"INVITE to 100", "routerd_call_trying_seconds", mostTrying}, {"INVITE to the 200 of a queue", "routerd_call_setup_seconds", mostSetup}} {
		p99, n := quantile(h.name, 0.99, from, to)
		p50, _ := quantile(h.name, 0.5, from, to)
		p.report.AtLeast(h.what+" was timed", float64(n), "calls", float64(r.created))
		p.report.AtMost(fmt.Sprintf("%s at %d/s, p99", h.what, p.pace), round(p99*1000), "ms", h.bound)
		p.row(fmt.Sprintf("%s at %d/s, p50", h.what, p.pace), p50*1000, "ms")
	}
	commit, _ := quantile("routerd_raft_commit_seconds", 0.99, from, to)
	write, _ := quantile("routerd_raft_write_seconds", 0.99, from, to)
	p.row("commit of one log entry, p99", commit*1000, "ms")
	p.row("one write to the log's disk, p99", write*1000, "ms")
	p.cost(fmt.Sprintf("at %d/s", p.pace), r, from, to)
	return nil
}

// throughput asks for the rate of the requirement, and lets nothing fail.
func (p *proof) throughput(ctx context.Context) error {
	p.say("%d calls/s for %v", p.rate, p.last)
	from, err := p.scrape(ctx)
	if err != nil {
		return err
	}
	calls := p.rate * int(p.last.Seconds())
	r, err := p.place(ctx, load{name: "rate", number: servedNumber, rate: p.rate, calls: calls, talk: talk})
	if err != nil {
		return err
	}
	to, err := p.scrape(ctx)
	if err != nil {
		return err
	}
	p.report.AtLeast("calls made", float64(r.created), "calls", float64(calls))
	p.report.Equal(fmt.Sprintf("calls failed at %d/s", p.rate), r.failed, 0, "calls")
	p.report.AtLeast("calls a second", round(float64(r.created)/max(1, r.placing.Seconds())), "calls/s", 0.99*float64(p.rate))
	p99, _ := quantile("routerd_call_setup_seconds", 0.99, from, to)
	p.row(fmt.Sprintf("INVITE to 200 at %d/s, p99", p.rate), p99*1000, "ms")
	p.row("SIPp's retransmissions", float64(r.repeats), "messages")
	p.cost(fmt.Sprintf("at %d/s", p.rate), r, from, to)
	return nil
}

// mostOthers is how much of the processors other work may take: figures of a
// machine that does something else are none.
const mostOthers = 0.25

// cost adds what calls took of the processors. Work that is not the proof's
// makes the run INVALID.
func (p *proof) cost(when string, r result, from, to scrape) {
	cpu, wall := routersCPU(from, to), to.at.Sub(from.at)
	unit := fmt.Sprintf("of %d", runtime.NumCPU())
	p.row("processor time of all routers per call "+when, float64(cpu.Microseconds())/1000/float64(max(1, r.created)), "ms")
	p.row("processors used by the routers "+when, cpu.Seconds()/wall.Seconds(), unit)
	p.row("processors used by SIPp and the worker "+when, (to.callers-from.callers).Seconds()/wall.Seconds(), unit)
	others := (to.machine - from.machine - cpu - (to.callers - from.callers)).Seconds() / wall.Seconds()
	p.report.Add("processors used by other work "+when, round(others), unit, fmt.Sprintf("<= %g, or the run is INVALID", mostOthers), others <= mostOthers)
	p.invalid = p.invalid || others > mostOthers
	p.row("load average "+when, loadAverage(), "")
	p.row("log entries per call "+when, (to.most["routerd_raft_applied_index"]-from.most["routerd_raft_applied_index"])/float64(max(1, r.created)), "")
}

// round keeps three digits after the point.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// openRate is how fast the calls to be held are placed.
const openRate = 100

// held opens many calls, as many of them talking as there are phones, and watches
// the routers' memory while callers refresh their session timers.
func (p *proof) held(ctx context.Context) error {
	talking := min(p.agents, p.open)
	ramp := time.Duration(p.open) * time.Second / openRate
	refreshes := int((ramp+p.hold)/refreshAfter) + 1
	p.say("opening %d calls, %d of them talking, each refreshed %d times", p.open, talking, refreshes)
	from, err := p.settledMemory(ctx)
	if err != nil {
		return err
	}
	var all []*sipp
	for _, l := range []load{
		{name: "talking", number: servedNumber, rate: max(3, openRate*talking/p.open), calls: talking, refreshes: refreshes, talk: 10 * time.Second},
		{name: "waiting", number: heldNumber, rate: max(3, openRate*(p.open-talking)/p.open), calls: p.open - talking, refreshes: refreshes, talk: 10 * time.Second},
	} {
		if l.calls == 0 {
			continue
		}
		started, err := p.callers(ctx, l)
		if err != nil {
			return err
		}
		all = append(all, started...)
	}
	full, err := p.until(ctx, ramp+20*time.Second, float64(p.open))
	if err != nil {
		return err
	}
	p.row("memory of a router per open call", (memory(full)-memory(from))/3/float64(p.open), "bytes")
	p.row("memory of a router with all open", memory(full)/3/(1<<20), "MiB")
	p.say("holding %d calls for %v", int(full.most["routerd_calls_open"]), p.hold)
	least := full.most["routerd_calls_open"]
	end := time.Now().Add(p.hold)
	last := full
	for time.Now().Before(end) {
		if err := pause(ctx, min(10*time.Second, time.Until(end))); err != nil {
			return err
		}
		if last, err = p.scrape(ctx); err != nil {
			return err
		}
		least = min(least, last.most["routerd_calls_open"])
	}
	p.report.AtLeast(fmt.Sprintf("calls open for %v, at any time", p.hold), least, "calls", float64(p.open))
	p.report.AtMost("memory grown meanwhile", round(100*(memory(last)/memory(full)-1)), "%", mostGrown)
	wall := last.at.Sub(full.at)
	p.row("processors used by the routers while holding", routersCPU(full, last).Seconds()/wall.Seconds(), fmt.Sprintf("of %d", runtime.NumCPU()))
	p.row("load average while holding", loadAverage(), "")
	p.say("letting them go")
	var faults []error
	for _, s := range all {
		faults = append(faults, s.wait())
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	r, err := resultOf(all)
	if err != nil {
		return err
	}
	p.report.Equal("held calls failed", r.failed, 0, "calls")
	gone, err := p.until(ctx, time.Minute, 0)
	if err != nil {
		return err
	}
	p.report.Equal("calls left open in the end", gone.most["routerd_calls_open"], 0.0, "calls")
	return nil
}

// memory is the routers' resident memory together, in bytes.
func memory(s scrape) float64 { return s.sum["process_resident_memory_bytes"] }

// settledMemory is a scrape when all calls are over.
func (p *proof) settledMemory(ctx context.Context) (scrape, error) {
	return p.until(ctx, time.Minute, 0)
}

// until waits for so many calls to be open, or the time to pass; what is then is
// for the checks to judge.
func (p *proof) until(ctx context.Context, most time.Duration, calls float64) (scrape, error) {
	end := time.Now().Add(most)
	for {
		s, err := p.scrape(ctx)
		if err != nil {
			return s, err
		}
		open := s.most["routerd_calls_open"]
		if open == calls || calls > 0 && open > calls || time.Now().After(end) {
			return s, nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return s, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// figure is a row of the report that no bound is about.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func (p *proof) row(name string, value float64, unit string) {
	p.report.Row(figure{name, round(value), unit})
	p.say("  %s: %.4g %s", name, value, unit)
}

func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	var one float64
	fmt.Sscan(strings.Fields(string(text))[0], &one)
	return one
}
