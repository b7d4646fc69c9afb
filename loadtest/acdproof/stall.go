package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"trunkline/loadtest/check"
	"trunkline/routerd/acd/acdwire"
)

// snapshots takes snapshots while commands are applied and another goroutine
// writes them. What holds commands up is taking one, and copying each call the
// first time it changes afterwards.
func (p *proof) snapshots() error {
	c, talking := busyCentre(p.size)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := 0
	converse := func(rounds int) (longest time.Duration, each time.Duration) {
		began := threadTime()
		for range rounds {
			before := threadTime()
			talking[n%len(talking)] = c.converse(n, p.size.queues, talking[n%len(talking)])
			longest = max(longest, threadTime()-before)
			n++
		}
		return longest, (threadTime() - began) / time.Duration(9*rounds)
	}
	const rounds = 100
	converse(p.size.rounds / 4)
	_, calm := converse(p.size.rounds / 4)
	var stalls, clocks, after []time.Duration
	var copying time.Duration
	for range 20 * p.size.repeats {
		written := make(chan error, 1)
		began, cpu := time.Now(), threadTime()
		s := c.m.Snapshot()
		stalls, clocks = append(stalls, threadTime()-cpu), append(clocks, time.Since(began))
		go func() { written <- acdwire.EncodeState(io.Discard, s) }()
		longest, each := converse(rounds)
		after = append(after, longest)
		copying = max(copying, each)
		if err := <-written; err != nil {
			return err
		}
	}
	fmt.Fprintf(p.out, "\na snapshot of that state, written beside Apply, %d times\n\n", len(stalls))
	t := check.NewTable("what", "p50", "max")
	for _, row := range []struct {
		name string
		all  []time.Duration
	}{{"taking it, processor time of Apply's thread", stalls}, {"taking it, by the clock", clocks}, {"9 commands after it, processor time", after}} {
		t.Row(row.name, check.Percentile(row.all, 50).String(), check.Percentile(row.all, 100).String())
		p.report.Row(map[string]any{"what": "snapshot: " + row.name, "p50_ms": check.Millis(check.Percentile(row.all, 50)), "max_ms": check.Millis(check.Percentile(row.all, 100))})
	}
	t.Row("each of the 900 commands after it, mean", calm.String()+" without", copying.String())
	t.Print(p.out)
	p.report.AtMost("a snapshot holds Apply up, max", check.Millis(check.Percentile(stalls, 100)), "ms", mostStall)
	p.report.AtMost("a snapshot holds Apply up, by the clock, p50", check.Millis(check.Percentile(clocks, 50)), "ms", mostStall)
	p.report.AtMost("9 commands after a snapshot, max", check.Millis(check.Percentile(after, 100)), "ms", mostStall)
	return nil
}
