package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"trunkline/loadtest/check"
	"trunkline/raftstore/raftstoretest"
)

// Bounds of docs/design.md, in milliseconds.
const (
	killP50Bound  = 350
	killMaxBound  = 500
	transferBound = 20
	followerBound = 20
)

// patience bounds each step: a step that takes longer has failed.
const patience = 30 * time.Second

// roles waits until one node leads and all know it.
func (p *proof) roles(ctx context.Context) (leader *raftstoretest.Process, followers []*raftstoretest.Process, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		leader, followers = p.known(ctx)
		if leader != nil {
			return leader, followers, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for a leader known to all: %w", ctx.Err())
		}
	}
}

func (p *proof) known(ctx context.Context) (leader *raftstoretest.Process, followers []*raftstoretest.Process) {
	first := ""
	for i, n := range p.list {
		id, self, err := n.Leader(ctx)
		if err != nil || id == "" || i > 0 && id != first {
			return nil, nil
		}
		first = id
		if self {
			leader = n
		} else {
			followers = append(followers, n)
		}
	}
	return leader, followers
}

// put commits a write through a node.
func (p *proof) put(ctx context.Context, n *raftstoretest.Process) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p.seq++
	_, err := n.Do(ctx, raftstoretest.Op{Session: "proof", Seq: p.seq, Kind: raftstoretest.OpWrite, Key: "proof", Value: fmt.Sprint(p.seq)})
	if err != nil {
		return fmt.Errorf("write through %s: %w", n.ID, err)
	}
	return nil
}

// trial does something to the leader and returns how long the next write of a
// survivor took. A write that the old leader still committed while it was being
// stopped is no figure: the trial is done again.
func (p *proof) trial(ctx context.Context, do func(leader *raftstoretest.Process) error, undo func(leader *raftstoretest.Process) error) (time.Duration, error) {
	const tries = 5
	for range tries {
		leader, followers, err := p.roles(ctx)
		if err != nil {
			return 0, err
		}
		survivor := followers[int(p.seq)%len(followers)]
		if err := p.put(ctx, survivor); err != nil {
			return 0, err
		}
		before, err := survivor.Stats(ctx)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := do(leader); err != nil {
			return 0, err
		}
		if err := p.put(ctx, survivor); err != nil {
			return 0, err
		}
		took := time.Since(began)
		after, err := survivor.Stats(ctx)
		if err != nil {
			return 0, err
		}
		if err := undo(leader); err != nil {
			return 0, err
		}
		if before.Leader == leader.ID && after.Term > before.Term {
			return took, nil
		}
	}
	return 0, fmt.Errorf("the old leader committed the write in each of %d tries", tries)
}

// repeat runs a trial as often as asked and tells each.
func (p *proof) repeat(ctx context.Context, name string, trial func() (time.Duration, error)) (p50, worst float64, err error) {
	var all []time.Duration
	for range p.trials {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		took, err := trial()
		if err != nil {
			return 0, 0, fmt.Errorf("%s, trial %d: %w", name, len(all)+1, err)
		}
		all = append(all, took)
	}
	p50, worst = check.Millis(check.Percentile(all, 50)), check.Millis(check.Percentile(all, 100))
	var each []string
	for _, d := range all {
		each = append(each, fmt.Sprintf("%.0f", check.Millis(d)))
	}
	fmt.Fprintf(p.out, "%s, ms: p50 %.1f, max %.1f of %s\n", name, p50, worst, strings.Join(each, " "))
	p.report.Row(map[string]any{"what": name, "p50_ms": p50, "max_ms": worst, "trials": len(all)})
	return p50, worst, nil
}

func (p *proof) kills(ctx context.Context) error {
	p50, worst, err := p.repeat(ctx, "kill -9 of the leader to the next committed write", func() (time.Duration, error) {
		return p.trial(ctx,
			func(leader *raftstoretest.Process) error { return leader.Signal(syscall.SIGKILL) },
			func(leader *raftstoretest.Process) error { <-leader.Exited(); return leader.Start() })
	})
	if err != nil {
		return err
	}
	p.report.AtMost("kill -9 of the leader to the next committed write, p50", p50, "ms", killP50Bound)
	p.report.AtMost("kill -9 of the leader to the next committed write, max", worst, "ms", killMaxBound)
	return nil
}

// stops has no bound of its own: a hung leader is known by its silence alone.
func (p *proof) stops(ctx context.Context) error {
	_, _, err := p.repeat(ctx, "SIGSTOP of the leader to the next committed write", func() (time.Duration, error) {
		return p.trial(ctx,
			func(leader *raftstoretest.Process) error { return leader.Signal(syscall.SIGSTOP) },
			func(leader *raftstoretest.Process) error { return leader.Signal(syscall.SIGCONT) })
	})
	return err
}

// transfers measures from the request to the first write that the new leader
// commits.
func (p *proof) transfers(ctx context.Context) error {
	var p50, worst float64
	p50, worst, err := p.repeat(ctx, "leadership handed over, to the next leader's first write", func() (time.Duration, error) {
		leader, followers, err := p.roles(ctx)
		if err != nil {
			return 0, err
		}
		if err := p.put(ctx, leader); err != nil {
			return 0, err
		}
		next := followers[int(p.seq)%len(followers)]
		began := time.Now()
		if err := leader.Transfer(ctx, next.ID); err != nil {
			return 0, fmt.Errorf("transfer to %s: %w", next.ID, err)
		}
		if err := p.put(ctx, next); err != nil {
			return 0, err
		}
		return time.Since(began), nil
	})
	if err != nil {
		return err
	}
	p.report.AtMost("leadership transfer, p50", p50, "ms", transferBound)
	p.report.AtMost("leadership transfer, max", worst, "ms", transferBound)
	return nil
}
