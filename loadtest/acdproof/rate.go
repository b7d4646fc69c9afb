package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"trunkline/loadtest/check"
	"trunkline/routerd/acd"
)

// applyRate applies a recorded log of whole conversations to the full state and
// counts the processor time of the whole process: what building the commands
// costs is not in it, what the collector does for Apply is.
func (p *proof) applyRate() error {
	c, talking := busyCentre(p.size)
	start := c.m.Snapshot()
	first := c.index
	c.record = true
	for n := range p.size.rounds {
		talking[n%len(talking)] = c.converse(n, p.size.queues, talking[n%len(talking)])
	}
	log := c.log
	calls := start.Calls
	want := c.m.Hash()
	fmt.Fprintf(p.out, "apply: %d open calls, %d agents, %d commands of %d conversations\n\n", len(calls), p.size.agents, len(log), p.size.rounds)
	t := check.NewTable("run", "commands/s of one processor", "by the clock", "bytes/command", "allocations/command")
	var rates []float64
	for i := range p.size.repeats {
		m, err := restored(start)
		if err != nil {
			return err
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began, cpu := time.Now(), processTime()
		for j, cmd := range log {
			m.Apply(first+uint64(j)+1, cmd)
		}
		spent, clock := processTime()-cpu, time.Since(began)
		runtime.ReadMemStats(&after)
		if m.Hash() != want {
			return fmt.Errorf("run %d: the log applies to another state", i)
		}
		n := float64(len(log))
		rate := n / spent.Seconds()
		rates = append(rates, rate)
		bytes, objects := float64(after.TotalAlloc-before.TotalAlloc)/n, float64(after.Mallocs-before.Mallocs)/n
		t.Row(fmt.Sprint(i+1), fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.0f", n/clock.Seconds()), fmt.Sprintf("%.0f", bytes), fmt.Sprintf("%.2f", objects))
		p.report.Row(map[string]any{"what": "apply", "commands_per_cpu_s": rate, "commands_per_s": n / clock.Seconds(), "bytes": bytes, "allocations": objects})
	}
	t.Print(p.out)
	slices.Sort(rates)
	p.report.AtLeast(fmt.Sprintf("commands applied per second of one processor, median of %d runs", len(rates)), rates[len(rates)/2], "1/s", leastRate)
	return nil
}

// restored is a machine of its own with that state.
func restored(s *acd.State) (*acd.Machine, error) {
	copied := *s
	copied.Calls = nil
	for _, c := range s.Calls {
		call := *c
		call.Legs = slices.Clone(c.Legs)
		copied.Calls = append(copied.Calls, &call)
	}
	copied.Facts = nil
	for _, chunk := range s.Facts {
		copied.Facts = append(copied.Facts, bytes.Clone(chunk))
	}
	copied.Media, copied.Nodes, copied.Workers = slices.Clone(s.Media), slices.Clone(s.Nodes), slices.Clone(s.Workers)
	copied.Estimates = nil
	for _, e := range s.Estimates {
		e.Works, e.Waits = slices.Clone(e.Works), slices.Clone(e.Waits)
		copied.Estimates = append(copied.Estimates, e)
	}
	return acd.Restore(&copied)
}

// hot are the commands that begin no call and no leg: most of what comes in.
var hot = []string{"LegProgressed", "LegUpdated", "PromptStarted", "LegAnswered", "LegEnded"}

// allocations counts the objects that Apply allocates for each command. Those
// that live on (a call, its offers, its orders until they are carried out) count
// as well.
func (p *proof) allocations() error {
	c, talking := busyCentre(p.size)
	type tally struct{ n, objects uint64 }
	tallies := make(map[string]*tally)
	start, first := c.m.Snapshot(), c.index
	c.record = true
	rounds := min(p.size.rounds, 500)
	for n := range rounds {
		talking[n%len(talking)] = c.converse(n, p.size.queues, talking[n%len(talking)])
	}
	m, err := restored(start)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	for i, cmd := range c.log {
		if i < len(c.log)*4/5 { // what is used again must be there first
			m.Apply(first+uint64(i)+1, cmd)
			continue
		}
		runtime.ReadMemStats(&before)
		m.Apply(first+uint64(i)+1, cmd)
		runtime.ReadMemStats(&after)
		name := fmt.Sprintf("%T", cmd.Body)[len("acd."):]
		if tallies[name] == nil {
			tallies[name] = new(tally)
		}
		tallies[name].n++
		tallies[name].objects += after.Mallocs - before.Mallocs
	}
	fmt.Fprintf(p.out, "\nallocations of one command\n\n")
	t := check.NewTable("command", "objects")
	for _, name := range slices.SortedFunc(maps.Keys(tallies), func(a, b string) int { return cmp.Compare(a, b) }) {
		each := float64(tallies[name].objects) / float64(tallies[name].n)
		t.Row(name, fmt.Sprintf("%.2f", each))
		p.report.Row(map[string]any{"what": "allocations", "command": name, "objects": each})
		if slices.Contains(hot, name) {
			p.report.AtMost("objects allocated by "+name, each, "", mostHot)
		}
	}
	t.Print(p.out)
	return nil
}
