package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/check"
	"trunkline/raftstore/raftstoretest"
)

const (
	// commandSize is what a call's step and its dialog record take, in bytes.
	commandSize = 300
	// deathLoad is how long the loads around a follower's death last.
	deathLoad = 10 * time.Second
)

// followerDeath compares the latency of commits with and without a follower
// that dies.
func (p *proof) followerDeath(ctx context.Context) error {
	leader, followers, err := p.roles(ctx)
	if err != nil {
		return err
	}
	whole, err := p.load(ctx, leader, "all alive", deathLoad)
	if err != nil {
		return err
	}
	type result struct {
		raftstoretest.LoadResult
		err error
	}
	got := make(chan result, 1)
	go func() {
		r, err := p.load(ctx, leader, "a follower dies", deathLoad)
		got <- result{r, err}
	}()
	select {
	case <-time.After(deathLoad / 10):
	case <-ctx.Done():
	}
	followers[0].Kill()
	r := <-got
	if r.err != nil {
		return r.err
	}
	if err := followers[0].Start(); err != nil {
		return err
	}
	p.report.AtMost("death of a follower moves the p99 of commits by", check.Millis(r.P99)-check.Millis(whole.P99), "ms", followerBound)
	p.report.Equal("commands failed while a follower died", r.Failed, 0, "")
	return nil
}

// load runs one load in a node and tells what came of it.
func (p *proof) load(ctx context.Context, n *raftstoretest.Process, name string, d time.Duration) (raftstoretest.LoadResult, error) {
	r, err := n.Load(ctx, raftstoretest.Load{Rate: p.rate, For: d, Size: commandSize, Name: name})
	if err != nil {
		return r, fmt.Errorf("load, %s: %w", name, err)
	}
	fmt.Fprintf(p.out, "%d commands/s for %s, %s, ms: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f; sent late p99 %.1f\n", p.rate, d, name,
		check.Millis(r.P50), check.Millis(r.P99), check.Millis(r.P999), check.Millis(r.Max), check.Millis(r.LateP99))
	p.report.Row(map[string]any{
		"what": "load, " + name, "rate": p.rate, "seconds": d.Seconds(), "sent": r.Sent, "failed": r.Failed,
		"p50_ms": check.Millis(r.P50), "p99_ms": check.Millis(r.P99), "p999_ms": check.Millis(r.P999),
		"max_ms": check.Millis(r.Max), "late_p99_ms": check.Millis(r.LateP99),
	})
	p.health.sentLate(r.LateP99)
	return r, nil
}

// steadyLoad watches memory beside a load.
func (p *proof) steadyLoad(ctx context.Context) error {
	leader, _, err := p.roles(ctx)
	if err != nil {
		return err
	}
	end := make(chan struct{})
	memory := make(chan map[string][]float64, 1)
	go func() { memory <- p.watchMemory(end) }()
	r, err := p.load(ctx, leader, "steady", p.steady)
	close(end)
	used := <-memory
	if err != nil {
		return err
	}
	p.report.Add("commit at the steady load, p50", check.Millis(r.P50), "ms", "printed", true)
	p.report.Add("commit at the steady load, p99", check.Millis(r.P99), "ms", "printed", true)
	p.report.Equal("commands failed at the steady load", r.Failed, 0, "")
	for _, n := range p.list {
		p.judgeMemory(n.ID, used[n.ID])
	}
	return nil
}

// watchMemory samples the resident memory of all nodes, in MiB, each second.
func (p *proof) watchMemory(end <-chan struct{}) map[string][]float64 {
	used := map[string][]float64{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, n := range p.list {
			if mib, err := resident(n.PID()); err == nil {
				used[n.ID] = append(used[n.ID], mib)
			}
		}
		select {
		case <-tick.C:
		case <-end:
			return used
		}
	}
}

const (
	// growthBound is the growth of a node's memory that counts as none, in
	// MiB: what a garbage collector's rhythm makes of two samples.
	growthBound = 8
)

// judgeMemory compares the last quarter of the samples with the second one: the
// first is the filling of caches.
func (p *proof) judgeMemory(id string, used []float64) {
	n := len(used)
	if n < 8 {
		p.report.Add("memory of "+id+" grows by", "too few samples", "MiB", fmt.Sprintf("<= %d", growthBound), false)
		return
	}
	early, late := median(used[n/4:n/2]), median(used[n*3/4:])
	minutes := p.steady.Minutes() / 2 // between the middles of the two
	fmt.Fprintf(p.out, "memory of %s, MiB: %.1f in the second quarter, %.1f in the last: %+.2f a minute\n", id, early, late, (late-early)/minutes)
	p.report.Row(map[string]any{"what": "memory of " + id, "second_quarter_mib": early, "last_quarter_mib": late, "mib_per_minute": (late - early) / minutes})
	p.report.AtMost("memory of "+id+" grows by", late-early, "MiB", growthBound)
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

// resident is a process's memory in MiB (VmRSS, proc(5)).
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, syscall.ENOENT
}
