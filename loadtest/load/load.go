// Package load drives a whole tier at the rate of a peak minute (T14): SIPp
// calls through both SBCs into the queue, a swarm of phones answers. Calls
// carry no packets of their own; their media sessions are real.
//
// It is a test of rate, not of media. A run whose generator fell behind is
// INVALID: it says nothing about the tier, good or bad.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/watch"
	"trunkline/routerd/routeapi"
)

// Config is one run.
type Config struct {
	Out    string
	Lab    lab.Options // Routing and Progress are the load's own
	Commit string
	Log    io.Writer

	Rate   int           // calls per minute, both SBCs together
	For    time.Duration // how long calls are placed
	Agents int           // phones of the swarm
	Ring   time.Duration // until a phone answers
	Talk   time.Duration // until an agent hangs up, on the calls of SBC B
	Hold   time.Duration // from answer to the caller's BYE, on the calls of SBC A
}

// Defaults is the peak minute of T14.
func Defaults() Config {
	return Config{
		Rate: 4000, For: time.Minute, Agents: 400,
		Ring: 200 * time.Millisecond, Talk: 2 * time.Second, Hold: 6 * time.Second,
	}
}

var routers = []string{"r1", "r2", "r3"}

// ErrInvalid says that the generator fell behind.
var ErrInvalid = errors.New("INVALID: the generator fell behind")

// run is a running load.
type run struct {
	cfg    Config
	began  time.Time
	report *check.Report
	lab    *lab.Lab
	tier   *watch.Tier
	swarm  *endpoint.Swarm
	sinks  []io.Closer
	dir    string

	ordered map[string]time.Duration // by quantile, of the slowest router
}

// Run starts the tier and the swarm, places the calls, and reports.
func Run(ctx context.Context, cfg Config) (*check.Report, error) {
	r := &run{cfg: cfg, began: time.Now(), report: check.NewReport("load", cfg.Commit)}
	err := r.run(ctx)
	if err != nil {
		r.report.Add("the load ran to its end", err.Error(), "", "= yes", false)
	}
	return r.report, err
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.Log, "%6.1f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// Write lets the lab print its steps as ours.
func (r *run) Write(b []byte) (int, error) {
	r.say("%s", string(b[:max(0, len(b)-1)]))
	return len(b), nil
}

func (r *run) run(ctx context.Context) (err error) {
	o := r.cfg.Lab
	o.Routing, o.Progress = r.routing(), r
	r.say("starting the tier")
	if r.lab, err = lab.Start(ctx, o); err != nil {
		return fmt.Errorf("start the tier: %w", err)
	}
	defer func() {
		r.say("stopping everything")
		for _, s := range r.sinks {
			s.Close()
		}
		if r.swarm != nil {
			r.swarm.Close()
		}
		if stopErr := r.lab.Stop(); err == nil {
			err = stopErr
		}
	}()
	conf, err := r.lab.PKI().Client("ops")
	if err != nil {
		return fmt.Errorf("read the operator's certificate: %w", err)
	}
	var bases []string
	for _, name := range routers {
		bases = append(bases, r.lab.API(name))
	}
	r.tier = watch.NewTier(bases, conf)
	r.dir = filepath.Join(r.lab.Dir(), "run", "load")
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("make SIPp's folder: %w", err)
	}
	if err := r.register(ctx); err != nil {
		return err
	}
	start, err := r.lastFact(ctx)
	if err != nil {
		return err
	}
	cpu, own := r.lab.CPU(), ownCPU()
	streams, took, err := r.callers(ctx)
	if err != nil {
		return err
	}
	used := r.used(cpu, own, streams)
	if r.ordered, err = r.offerOrdered(ctx); err != nil {
		return err
	}
	r.say("all calls are over; reading the tier's history")
	ended, err := r.history(ctx, start, streams)
	if err != nil {
		return err
	}
	return r.judge(streams, ended, used, took)
}

func (r *run) addr(name string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(r.lab.Addr(name)), port)
}

// register brings the swarm up through both edges.
func (r *run) register(ctx context.Context) error {
	cfg := endpoint.SwarmConfig{
		Domain: lab.ClusterHost, Transport: endpoint.TCP, Flows: 16,
		Edges: []netip.AddrPort{r.addr(lab.Edge1, lab.PortAgents), r.addr(lab.Edge2, lab.PortAgents)},
		Ring:  r.cfg.Ring, Talk: r.cfg.Talk, TalkOnlyTo: agentHangsUpPrefix, Expires: 10 * time.Minute, MediaPort: mediaPort,
	}
	for i := range 16 {
		cfg.Locals = append(cfg.Locals, netip.AddrFrom4([4]byte{127, 10, 5, byte(1 + i)}))
	}
	for _, l := range cfg.Locals {
		if err := r.sink(l); err != nil {
			return err
		}
	}
	for i := range r.cfg.Agents {
		cfg.Agents = append(cfg.Agents, endpoint.SwarmAgent{User: agentName(i), Password: password})
	}
	var err error
	if r.swarm, err = endpoint.NewSwarm(ctx, cfg); err != nil {
		return err
	}
	if err := r.swarm.Register(ctx, 16); err != nil {
		return err
	}
	r.say("%d agents registered through both edges", r.cfg.Agents)
	return nil
}

// lastFact is the index behind which the run's history begins.
func (r *run) lastFact(ctx context.Context) (uint64, error) {
	last := uint64(0)
	for {
		facts, err := r.tier.FactsAfter(ctx, last, factPage)
		if err != nil {
			return 0, fmt.Errorf("read the history: %w", err)
		}
		if len(facts) == 0 {
			return last, nil
		}
		last = facts[len(facts)-1].Index
	}
}

const factPage = 5000

// history reads the CDR of every call of the run. A router may still be
// projecting the last ones.
func (r *run) history(ctx context.Context, after uint64, streams []*stream) ([]routeapi.Fact, error) {
	want := 0
	for _, s := range streams {
		want += s.result.created
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var ended []routeapi.Fact
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		facts, err := r.tier.FactsAfter(ctx, after, factPage)
		if err != nil {
			if ctx.Err() != nil {
				return ended, nil // what is missing shows in the counts
			}
			return nil, fmt.Errorf("read the history: %w", err)
		}
		for _, f := range facts {
			after = max(after, f.Index)
			if f.Kind == "call.ended" {
				ended = append(ended, f)
			}
		}
		if len(ended) >= want {
			return ended, nil
		}
		if len(facts) > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ended, nil
		}
	}
}

// usage is processor time by component.
type usage struct {
	Component string  `json:"component"`
	Seconds   float64 `json:"cpu_seconds"`
	Share     float64 `json:"share_of_a_core"`
}

func ownCPU() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// used is what each component and the generators themselves took.
func (r *run) used(before map[string]time.Duration, own time.Duration, streams []*stream) []usage {
	var out []usage
	add := func(name string, d time.Duration) {
		out = append(out, usage{name, d.Seconds(), d.Seconds() / r.cfg.For.Seconds()})
	}
	after := r.lab.CPU()
	for _, name := range r.lab.Names() {
		add(name, after[name]-before[name])
	}
	add("swarm", ownCPU()-own)
	var sipp time.Duration
	for _, s := range streams {
		sipp += s.cpu
	}
	add("sipp", sipp)
	return out
}

// judge holds the run to T14 and prints it.
func (r *run) judge(streams []*stream, ended []routeapi.Fact, used []usage, took time.Duration) error {
	var total result
	for _, s := range streams {
		total = total.add(s.result)
	}
	want := r.cfg.Rate * int(r.cfg.For/time.Second) / 60
	rate := float64(total.created) / total.placing.Minutes()
	healthy := total.created == want && rate >= 0.985*float64(r.cfg.Rate)
	r.report.Add("offered", rate, "calls/min", fmt.Sprintf(">= %g, or the run is INVALID", 0.985*float64(r.cfg.Rate)), healthy)
	r.report.Equal("calls placed", total.created, want, "calls")
	r.report.Equal("calls failed", total.failed, 0, "calls")
	t := readTimes(ended)
	r.report.Equal("calls served by an agent, in the tier's history", t.served, want, "calls")
	r.report.Equal("calls the swarm answered", r.answered(), want, "calls")
	r.report.Equal("calls answered by two phones", r.twice(), 0, "calls")
	achieved := float64(total.created-total.failed) / total.placing.Minutes()
	r.report.AtLeast("achieved", achieved, "calls/min", 0.985*float64(r.cfg.Rate))
	r.report.AtMost("setup (INVITE to 200) p99", check.Millis(check.Percentile(total.setup, 99)), "ms", 200)
	r.report.AtMost("wait for an agent (queued to answered, ringing included) p99", check.Millis(check.Percentile(t.wait, 99)), "ms", 1000)
	r.report.AtMost("from the log entry that frees an agent to the order to ring, in the router, p99", check.Millis(r.ordered["0.99"]), "ms", 5)
	r.report.Equal("components that died", len(r.lab.Died()), 0, "")
	for _, u := range used {
		r.report.Row(u)
	}
	r.print(total, t, used, rate, achieved, took)
	if !healthy {
		return fmt.Errorf("%w: %d of %d calls placed at %.0f/min", ErrInvalid, total.created, want, rate)
	}
	return nil
}

func (r *run) print(total result, t times, used []usage, rate, achieved float64, took time.Duration) {
	w := r.cfg.Log
	_, peak := r.swarm.Load()
	ms := func(d []time.Duration, p float64) string {
		return fmt.Sprintf("%.1f ms", check.Millis(check.Percentile(d, p)))
	}
	fmt.Fprintf(w, "\noffered %.0f calls/min, achieved %.0f; %d calls, %d failed, %d SIP retransmissions; %d of %d agents in a call at most; all over after %.0f s\n",
		rate, achieved, total.created, total.failed, total.repeats, peak, r.cfg.Agents, took.Seconds())
	tb := check.NewTable("", "p50", "p99", "max")
	line := func(name string, d []time.Duration) { tb.Row(name, ms(d, 50), ms(d, 99), ms(d, 100)) }
	line("setup, INVITE to 200", total.setup)
	line("arrival to agent answered (greeting included)", t.toAgent)
	line("queued to agent answered (ringing included)", t.wait)
	line("ringing", r.rang())
	ordered := func(q string) string { return fmt.Sprintf("%.1f ms", check.Millis(r.ordered[q])) }
	tb.Row("agent free to the order to ring, inside the router", ordered("0.5"), ordered("0.99"), ordered("1"))
	tb.Print(w)
	fmt.Fprintln(w)
	cpu := check.NewTable("component", "CPU", "of a core")
	for _, u := range used {
		cpu.Row(u.Component, fmt.Sprintf("%.1f s", u.Seconds), fmt.Sprintf("%.0f %%", 100*u.Share))
	}
	cpu.Print(w)
}

// answered counts the calls the swarm talked.
func (r *run) answered() int {
	n := 0
	for _, c := range r.swarm.Calls() {
		if c.Code == 200 {
			n++
		}
	}
	return n
}

// twice counts calls that more than one phone answered.
func (r *run) twice() int {
	seen, n := map[string]int{}, 0
	for _, c := range r.swarm.Calls() {
		if c.Code == 200 {
			if seen[c.CallID]++; seen[c.CallID] == 2 {
				n++
			}
		}
	}
	return n
}

func (r *run) rang() []time.Duration {
	var out []time.Duration
	for _, c := range r.swarm.Calls() {
		if c.Code == 200 {
			out = append(out, c.Answered.Sub(c.Invited))
		}
	}
	slices.Sort(out)
	return out
}
