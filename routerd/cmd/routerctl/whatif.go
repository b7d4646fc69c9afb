package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/replay"
	"trunkline/routerd/internal/whatif"
)

var whatifCommands = []command{
	{"whatif", "", `what would have become of a day's calls with another configuration
Reads the stretch from the log archive and runs its arrivals against the state machine:
once with the configuration that was in force, which shows how well the model meets
what was recorded, and once with the new one. CHANGE is the new one against the
simulation of the old, so that the model's error cancels.

Arrivals, talk, agents' presence and breaks are as they were. Callers who gave up wait as
long as they did; of those who were served only a bound is known, and the rest is drawn
from the Kaplan-Meier estimate of the number's callers. Agents take offers as they did
that day. What was not observed is drawn from -seed.`, whatIf},
}

// forecast is what whatif finds.
type forecast struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Formula string    `json:"service_level_formula"`
	Seed    uint64    `json:"seed"`
	Calls   int       `json:"calls"`
	Notes   []string  `json:"notes"`

	Recorded *whatif.Report `json:"recorded"`
	Model    *whatif.Report `json:"simulated"`
	New      *whatif.Report `json:"forecast"`
}

type whatifFlags struct {
	config, day, from, to, zone string
	o                           whatif.Options
	past                        *past
}

func whatIf(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	var f whatifFlags
	fs.StringVar(&f.config, "config", "", "the new routing tree's `FILE`")
	fs.StringVar(&f.day, "day", "", "the `DATE` to run, midnight to midnight in -zone")
	fs.StringVar(&f.from, "from", "", "or from this `MOMENT` ...")
	fs.StringVar(&f.to, "to", "", "... to this `MOMENT`")
	fs.StringVar(&f.zone, "zone", "UTC", "time `ZONE` of moments without one")
	fs.Uint64Var(&f.o.Seed, "seed", 1, "of what is drawn")
	fs.DurationVar(&f.o.Short, "short", 5*time.Second, "calls abandoned sooner do not count against the service level")
	fs.DurationVar(&f.o.Within, "within", 0, "threshold of the service level instead of each queue's")
	f.past = pastFlags(fs)
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words); err != nil {
			return err
		}
		if f.config == "" {
			return errors.New("whatif: which configuration? -config FILE")
		}
		cfg, err := config.LoadRouting(f.config)
		if err != nil {
			return err
		}
		from, to, err := f.stretch(time.Now())
		if err != nil {
			return err
		}
		out, err := f.run(ctx, e, cfg, from, to)
		if err != nil {
			return err
		}
		if e.json {
			return e.printer().asJSON(out)
		}
		return out.print(e.stdout, f.config)
	}
}

// stretch reads -day, or -from and -to.
func (f *whatifFlags) stretch(now time.Time) (from, to time.Time, err error) {
	loc, err := time.LoadLocation(f.zone)
	if err != nil {
		return from, to, fmt.Errorf("-zone: %w", err)
	}
	switch {
	case f.day != "" && (f.from != "" || f.to != ""):
		return from, to, errors.New("whatif: -day, or -from and -to")
	case f.day != "":
		if from, err = time.ParseInLocation("2006-01-02", f.day, loc); err != nil {
			return from, to, fmt.Errorf("-day: %q is no date such as 2026-03-01", f.day)
		}
		to = from.AddDate(0, 0, 1) // days of 23 and 25 h too
	case f.from == "" || f.to == "":
		return from, to, errors.New("whatif: which stretch? -day DATE, or -from and -to")
	default:
		if from, err = parseMoment(f.from, loc, now); err != nil {
			return from, to, fmt.Errorf("-from: %w", err)
		}
		if to, err = parseMoment(f.to, loc, now); err != nil {
			return from, to, fmt.Errorf("-to: %w", err)
		}
	}
	if !from.Before(to) {
		return from, to, fmt.Errorf("whatif: %s is not before %s", from, to)
	}
	return from, to, nil
}

func (f *whatifFlags) run(ctx context.Context, e *env, cfg acd.Config, from, to time.Time) (*forecast, error) {
	files, done, err := f.past.files(ctx, e, replay.Target{Time: from}, replay.Target{Time: to.Add(-1)})
	if err != nil {
		return nil, err
	}
	defer done()
	day, err := whatif.Read(files, from, to, f.o)
	if err != nil {
		return nil, err
	}
	if len(day.Arrivals) == 0 {
		return nil, fmt.Errorf("whatif: no call came in from %s to %s", from, to)
	}
	out := &forecast{From: from, To: to, Formula: f.o.Formula(), Seed: f.o.Seed, Calls: len(day.Arrivals), Notes: day.Notes(cfg), Recorded: day.Recorded}
	if out.Model, err = day.Simulate(nil, f.o); err != nil {
		return nil, err
	}
	if out.New, err = day.Simulate(&cfg, f.o); err != nil {
		return nil, err
	}
	if off := math.Abs(out.Model.Total.ServiceLevel() - out.Recorded.Total.ServiceLevel()); off > 0.05 {
		out.Notes = append(out.Notes, fmt.Sprintf("the model misses the recorded service level by %.1f points: take the forecast with care", 100*off))
	}
	return out, nil
}

func (f *forecast) print(out io.Writer, file string) error {
	fmt.Fprintf(out, "%s to %s: %d calls, seed %d\nservice level: %s\n", f.From.Format("2006-01-02 15:04 MST"), f.To.Format("2006-01-02 15:04 MST"), f.Calls, f.Seed, f.Formula)
	for _, n := range f.Notes {
		fmt.Fprintln(out, "note:", n)
	}
	fmt.Fprintln(out)
	p := printer{out: out}
	return p.table(func(w io.Writer) {
		fmt.Fprintf(w, "QUEUE\tFIGURE\tRECORDED\tSIMULATED\tERROR\t%s\tCHANGE\n", file)
		for _, q := range queuesOf(f.Recorded, f.Model, f.New) {
			rows(w, q, figuresOf(f.Recorded, q), figuresOf(f.Model, q), figuresOf(f.New, q))
		}
		rows(w, "all", f.Recorded.Total, f.Model.Total, f.New.Total)
		fmt.Fprintf(w, "all\trefused\t%d\t%d\t%+d\t%d\t%+d\n", f.Recorded.Refused, f.Model.Refused, f.Model.Refused-f.Recorded.Refused, f.New.Refused, f.New.Refused-f.Model.Refused)
	})
}

// queuesOf are the queues of all reports, in the order in which they appear.
func queuesOf(reports ...*whatif.Report) (list []string) {
	seen := map[string]bool{}
	for _, r := range reports {
		for _, q := range r.Queues {
			if !seen[q.Queue] {
				seen[q.Queue] = true
				list = append(list, q.Queue)
			}
		}
	}
	return list
}

func figuresOf(r *whatif.Report, queue string) whatif.Figures {
	for _, q := range r.Queues {
		if q.Queue == queue {
			return q
		}
	}
	return whatif.Figures{Queue: queue}
}

// rows prints a queue's figures, one a line.
func rows(w io.Writer, queue string, was, model, next whatif.Figures) {
	count := func(name string, get func(whatif.Figures) int) {
		a, b, c := get(was), get(model), get(next)
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%+d\t%d\t%+d\n", queue, name, a, b, b-a, c, c-b)
	}
	percent := func(name string, get func(whatif.Figures) float64) {
		a, b, c := 100*get(was), 100*get(model), 100*get(next)
		fmt.Fprintf(w, "%s\t%s\t%.1f %%\t%.1f %%\t%+.1f\t%.1f %%\t%+.1f\n", queue, name, a, b, b-a, c, c-b)
	}
	percent("service level", whatif.Figures.ServiceLevel)
	a, b, c := was.ASA().Seconds(), model.ASA().Seconds(), next.ASA().Seconds()
	fmt.Fprintf(w, "%s\tASA\t%.1f s\t%.1f s\t%+.1f\t%.1f s\t%+.1f\n", queue, a, b, b-a, c, c-b)
	percent("abandonment", whatif.Figures.Abandonment)
	percent("occupancy", whatif.Figures.Occupancy)
	count("queued", func(f whatif.Figures) int { return f.Queued })
	count("answered", func(f whatif.Figures) int { return f.Answered })
	count("abandoned", func(f whatif.Figures) int { return f.Abandoned })
	count("other", func(f whatif.Figures) int { return f.Other })
	count("max queue", func(f whatif.Figures) int { return f.MaxQueue })
}
