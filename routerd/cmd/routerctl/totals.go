package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"time"

	"trunkline/routerd/routeapi"
)

const totalsHelp = `calls and agents' time by interval, from the call records
Counts from the file of the router that answers. A call belongs to the interval in
which it arrived, agents' time to those in which it passed. -check counts from the
raw facts as well and fails if the two differ.`

// totals counts calls, or agents' time, by interval.
func totals(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	var o totalsOptions
	o.flags(fs)
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words); err != nil {
			return err
		}
		c, err := e.client()
		if err != nil {
			return err
		}
		return o.run(ctx, c, e.printer())
	}
}

// totalsOptions are the flags of totals.
type totalsOptions struct {
	interval, zone, from, to, threshold, short, formula string
	agents, check                                       bool
}

func (o *totalsOptions) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.interval, "interval", "15m", "15m, 30m, 1h, day, week, month, quarter or year")
	fs.StringVar(&o.zone, "zone", "UTC", "time `ZONE` of the intervals, such as Europe/Moscow")
	fs.StringVar(&o.from, "from", "", "calls and time at or after this `MOMENT` (24 h before -to if not given)")
	fs.StringVar(&o.to, "to", "", "calls and time before this `MOMENT` (now if not given)")
	fs.StringVar(&o.threshold, "threshold", "20s", "`WAIT` within which an answer is good for the service level")
	fs.StringVar(&o.short, "short", "5s", "`WAIT` below which who gives up is not counted as abandoned by short-excluded")
	fs.StringVar(&o.formula, "formula", "short-excluded", "service level: short-excluded, answered-only, all-offered, abandoned-good or late-abandoned")
	fs.BoolVar(&o.agents, "agents", false, "the table of agents instead of that of queues")
	fs.BoolVar(&o.check, "check", false, "count from the raw facts too, and compare")
}

func (o *totalsOptions) run(ctx context.Context, c *client, p printer) error {
	loc, err := time.LoadLocation(o.zone)
	if err != nil {
		return fmt.Errorf("-zone: %w", err)
	}
	q := url.Values{
		"interval": {o.interval}, "zone": {o.zone}, "threshold": {o.threshold}, "short": {o.short}, "formula": {o.formula}, "source": {"records"},
	}
	if o.check {
		q.Set("source", "both")
	}
	for _, v := range []struct{ key, text string }{{"from", o.from}, {"to", o.to}} {
		if v.text == "" {
			continue
		}
		at, err := parseMoment(v.text, loc, time.Now())
		if err != nil {
			return fmt.Errorf("-%s: %w", v.key, err)
		}
		q.Set(v.key, at.Format(time.RFC3339Nano))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // a year has many calls
	defer cancel()
	var v routeapi.Totals
	if err := c.get(ctx, routeapi.PathTotals+"?"+q.Encode(), &v); err != nil {
		return err
	}
	switch {
	case p.json:
		err = p.asJSON(v)
	case o.agents:
		err = p.table(func(w io.Writer) { agentTotals(w, v, loc) })
	default:
		err = p.table(func(w io.Writer) { queueTotals(w, v, loc) })
	}
	if err == nil && len(v.Differences) > 0 {
		err = fmt.Errorf("facts and call records of this router differ: %q", v.Differences)
	}
	return err
}

func queueTotals(w io.Writer, v routeapi.Totals, loc *time.Location) {
	fmt.Fprintf(w, "FROM %s\tQUEUE\tREFUSED\tEARLY\tMERGED\tOFFERED\tANSWERED\tABANDONED\tDROPPED\tSL %s %gs\tASA\tMAX WAIT\tTALK\tWRAP-UP\tAHT\n", v.Zone, v.Formula, v.Threshold)
	for _, q := range v.Queues {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", start(v, q.Start, loc), dash(q.Queue), q.Refused, q.Early, q.Merged, q.Offered, q.Answered,
			q.Abandoned, q.Dropped, percent(q.Good, q.Of), clocked(q.ASA), clocked(q.LongestWait), clocked(q.Talk), clocked(q.WrapUp), clocked(q.AHT))
	}
}

func agentTotals(w io.Writer, v routeapi.Totals, loc *time.Location) {
	fmt.Fprintf(w, "FROM %s\tAGENT\tHANDLED\tTALK\tAVAILABLE\tRINGING\tIN CALL\tWRAP-UP\tBREAK\tTRAINING\tOCCUPANCY\n", v.Zone)
	for _, a := range v.Agents {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f%%\n", start(v, a.Start, loc), a.Agent, a.Handled, clocked(a.Talk), clocked(a.Available),
			clocked(a.Ringing), clocked(a.InCall), clocked(a.WrapUp), clocked(a.OnBreak), clocked(a.Training), a.Occupancy*100)
	}
}

// start shows when an interval began; within a day the offset tells apart the
// hours that the clock goes through twice.
func start(v routeapi.Totals, at time.Time, loc *time.Location) string {
	switch v.Interval {
	case "15m", "30m", "1h":
		return at.In(loc).Format("2006-01-02 15:04 -07:00")
	}
	return at.In(loc).Format("2006-01-02")
}

// percent is good of all, "-" of none.
func percent(good, of uint64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(good)/float64(of))
}

// clocked shows seconds as h:mm:ss.
func clocked(seconds float64) string {
	s := int64(seconds + 0.5)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}
