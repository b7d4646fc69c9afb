package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"trunkline/routerd/internal/replay"
)

var replayCommands = []command{
	{"replay", "", `rebuild the state of a past moment from the log and print it
From a backup or a snapshot and the archived entries behind it, with the state machine
itself; the hash is the one the routers had then. -diff shows what changed up to
another moment.`, replayPast},
}

func replayPast(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	to := fs.String("to", "", "the `MOMENT`: an index of the log, or a time: 2026-03-01T09:30, with a zone as in RFC 3339, or a duration ago such as 24h")
	other := fs.String("diff", "", "print what differs at that `MOMENT` instead")
	zone := fs.String("zone", "UTC", "time `ZONE` of moments without one")
	all := fs.Bool("all", false, "agents who are logged out too")
	from := pastFlags(fs)
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words); err != nil {
			return err
		}
		if *to == "" {
			return errors.New("replay: to which moment? -to INDEX or -to TIME")
		}
		moments := []string{*to}
		if *other != "" {
			moments = append(moments, *other)
		}
		var views []*replay.View
		for _, text := range moments {
			v, err := viewOf(ctx, e, from, text, *zone)
			if err != nil {
				return err
			}
			views = append(views, v)
		}
		if len(views) == 2 {
			return printDifferences(e, views[0], views[1])
		}
		if e.json {
			return e.printer().asJSON(views[0])
		}
		return printView(e.stdout, views[0], *all)
	}
}

func viewOf(ctx context.Context, e *env, from *past, text, zone string) (*replay.View, error) {
	at, err := parseTarget(text, zone, time.Now())
	if err != nil {
		return nil, err
	}
	files, done, err := from.files(ctx, e, at, at)
	if err != nil {
		return nil, err
	}
	defer done()
	m, err := files.At(at)
	if err != nil {
		return nil, err
	}
	return m.View(), nil
}

// parseTarget reads an index or a time.
func parseTarget(text, zone string, now time.Time) (replay.Target, error) {
	if index, err := strconv.ParseUint(text, 10, 64); err == nil && index > 0 {
		return replay.Target{Index: index}, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return replay.Target{}, fmt.Errorf("-zone: %w", err)
	}
	at, err := parseMoment(text, loc, now)
	if err != nil {
		return replay.Target{}, fmt.Errorf("%w, or an index of the log", err)
	}
	return replay.Target{Time: at}, nil
}

func printDifferences(e *env, was, now *replay.View) error {
	list, err := replay.Diff(was, now)
	if err != nil {
		return err
	}
	if e.json {
		if list == nil {
			list = []replay.Difference{}
		}
		return e.printer().asJSON(list)
	}
	for _, d := range list {
		fmt.Fprintln(e.stdout, d)
	}
	fmt.Fprintf(e.stdout, "%d differences between index %d (%s) and %d (%s)\n", len(list), was.Index, utc(was.Time), now.Index, utc(now.Time))
	return nil
}

func utc(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05.000")
}

func printView(out io.Writer, v *replay.View, all bool) error {
	fmt.Fprintf(out, "index %d, %s UTC, state %.12s, configuration version %d%s\n", v.Index, utc(v.Time), v.Hash, v.Config.Version, by(v.Config.By))
	fmt.Fprintf(out, "built from the state at index %d and %d entries\n\n", v.Base, v.Applied)
	p := printer{out: out}
	return p.table(func(w io.Writer) {
		fmt.Fprintln(w, "ROUTER OR WORKER\tALIVE\tINCARNATION")
		for _, n := range append(v.Nodes, v.Workers...) {
			fmt.Fprintf(w, "%s\t%t\t%d\n", n.ID, n.Alive, n.Life)
		}
		fmt.Fprintln(w, "\nTRUNK\tCHANNELS\tUSED")
		for _, t := range v.Trunks {
			fmt.Fprintf(w, "%s\t%d\t%d\n", t.ID, t.Channels, t.Used)
		}
		fmt.Fprintln(w, "\nQUEUE\tWAITING\tOLDEST\tAGENTS\tIDLE")
		for _, q := range v.Queues {
			fmt.Fprintf(w, "%s\t%d\t%.1fs\t%d\t%d\n", q.ID, q.Waiting, q.Oldest, q.Agents, q.Idle)
		}
		fmt.Fprintln(w, "\nAGENT\tSTATUS\tSTATE\tSINCE\tCALL\tPHONES")
		out := 0
		for _, a := range v.Agents {
			if a.Status == "logged-out" && !all {
				out++
				continue
			}
			status := a.Status
			if a.Reason != "" {
				status += " (" + a.Reason + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", a.ID, status, a.State, utc(a.Since), dash(a.Call), a.Phones)
		}
		if out > 0 {
			fmt.Fprintf(w, "and %d logged out\n", out)
		}
		fmt.Fprintln(w, "\nCALL\tSTATE\tNODE\tEPOCH\tFROM\tTO\tQUEUE\tTICKET\tAGENT\tARRIVED")
		for _, c := range v.Calls {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\n", c.ID, c.State, c.Node, c.Epoch, c.From, c.To, dash(c.Queue), c.Ticket, dash(c.Agent), utc(c.Arrived))
		}
		if len(v.Tasks) > 0 {
			fmt.Fprintf(w, "\nTASKS\n")
			for _, t := range v.Tasks {
				fmt.Fprintln(w, t)
			}
		}
	})
}

func by(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}
