package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"trunkline/routerd/routeapi"
)

// printer writes one answer as JSON or as a table.
type printer struct {
	out  io.Writer
	json bool
}

func (p printer) asJSON(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p printer) table(rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

// showStatus asks every router, since each speaks for itself alone.
func showStatus(ctx context.Context, e *env, words []string) error {
	if err := need(words); err != nil {
		return err
	}
	c, err := e.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := e.printer()
	var all []routeapi.Status
	var down []string
	for _, host := range c.hosts {
		var s routeapi.Status
		if _, err := c.ask(ctx, host, "GET", routeapi.PathStatus, nil, &s); err != nil {
			down = append(down, fmt.Sprintf("%s\tdown: %v", host, err))
			continue
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return fmt.Errorf("no router answers: %s", strings.ReplaceAll(strings.Join(down, "; "), "\t", " "))
	}
	if p.json {
		return p.asJSON(all)
	}
	return p.table(func(w io.Writer) {
		fmt.Fprintln(w, "NODE\tREADY\tLEADER\tTERM\tAPPLIED\tCALLS\tOWN\tWAITING\tSTATE")
		for _, s := range all {
			fmt.Fprintf(w, "%s\t%t\t%s\t%d\t%d\t%d\t%d\t%d\t%.12s\n", s.Node, s.Ready, s.Leader, s.Term, s.Applied, s.Calls, s.OwnCalls, s.Waiting, s.Hash)
		}
		for _, d := range down {
			fmt.Fprintln(w, d)
		}
	})
}

func callTable(w io.Writer, calls []routeapi.Call) {
	fmt.Fprintln(w, "CALL\tSTATE\tNODE\tEPOCH\tTRUNK\tEDGE\tFROM\tTO\tQUEUE\tAGENT\tSUPERVISED\tWORKER\tCODEC\tSUITE\tHELD\tAGE")
	for _, c := range calls {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.State, c.Node, c.Epoch, c.Trunk, c.Edge,
			c.From, c.To, dash(c.Queue), dash(c.Agent), dash(strings.TrimSpace(c.Supervision+" "+c.Supervisor)), dash(c.Worker), dash(c.Codec), dash(c.Suite), heldBy(c), time.Since(c.Arrived).Round(time.Second))
	}
}

// heldBy says who holds the call, and for how long.
func heldBy(c routeapi.Call) string {
	var by []string
	for _, l := range c.Legs {
		if !l.Held.IsZero() {
			by = append(by, fmt.Sprintf("%s %s", l.Role, time.Since(l.Held).Round(time.Second)))
		}
	}
	return dash(strings.Join(by, ", "))
}

func queueTable(w io.Writer, queues []routeapi.Queue) {
	fmt.Fprintln(w, "QUEUE\tWAITING\tOLDEST\tAGENTS\tIDLE\tEWT P50\tP90\tASA\tFORETOLD\tWITHIN P50\tP90\tADMITS")
	for _, q := range queues {
		fmt.Fprintf(w, "%s\t%d\t%.1fs\t%d\t%d\t%s\t%s\t%.1fs\t%d\t%.0f %%\t%.0f %%\t%s\n", q.ID, q.Waiting, q.OldestWait, q.Agents, q.Idle,
			foretold(q.EWT, func(w *routeapi.Wait) float64 { return w.P50 }), foretold(q.EWT, func(w *routeapi.Wait) float64 { return w.P90 }),
			q.ASA, q.Calibration.Calls, 100*q.Calibration.WithinP50, 100*q.Calibration.WithinP90, admits(q))
	}
}

func foretold(w *routeapi.Wait, which func(*routeapi.Wait) float64) string {
	if w == nil {
		return "-"
	}
	return fmt.Sprintf("%.0fs", which(w))
}

// admits says what a queue takes: why nothing, or up to which limits.
func admits(q routeapi.Queue) string {
	if q.Closed != "" {
		return "nothing: " + q.Closed
	}
	var limits []string
	if q.MaxLength > 0 {
		limits = append(limits, fmt.Sprintf("%d calls", q.MaxLength))
	}
	for _, l := range q.Limits {
		if l.Calls > 0 {
			limits = append(limits, fmt.Sprintf("%d calls", l.Calls))
		}
		if l.EWT > 0 {
			limits = append(limits, fmt.Sprintf("EWT %.0fs", l.EWT))
		}
		if l.ASA > 0 {
			limits = append(limits, fmt.Sprintf("ASA %.0fs", l.ASA))
		}
	}
	if limits == nil {
		return "all"
	}
	return "below " + strings.Join(limits, ", ")
}

func agentTable(w io.Writer, agents []routeapi.Agent) {
	fmt.Fprintln(w, "AGENT\tNAME\tSTATUS\tSTATE\tCALL\tMISSED\tHELP\tQUEUES\tPHONES")
	for _, a := range agents {
		status := a.Status
		if a.Reason != "" {
			status += " (" + a.Reason + ")"
		}
		help := ""
		if !a.Help.IsZero() {
			help = strings.TrimSpace(time.Since(a.Help).Round(time.Second).String() + " " + a.HelpReason)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", a.ID, a.Name, status, a.State, dash(a.Call), a.Missed, dash(help),
			strings.Join(a.Queues, ","), dash(strings.Join(a.Contacts, " ")))
	}
}

func clusterTable(w io.Writer, c routeapi.Cluster) {
	fmt.Fprintln(w, "ROUTER\tALIVE\tROLE\tINCARNATION\tCALLS\tSIP")
	for _, n := range c.Nodes {
		role := "follower"
		if n.ID == c.Leader {
			role = "leader"
		}
		fmt.Fprintf(w, "%s\t%t\t%s\t%d\t%d\t%s\n", n.ID, n.Alive, role, n.Incarnation, n.Calls, n.SIP)
	}
	fmt.Fprintln(w, "\nWORKER\tALIVE\tLEGS\tFREE PORTS\tINCARNATION")
	for _, m := range c.Workers {
		fmt.Fprintf(w, "%s\t%t\t%d\t%d\t%d\n", m.ID, m.Alive, m.Sessions, m.FreePorts, m.Incarnation)
	}
	fmt.Fprintln(w, "\nMEDIA ADDRESS\tHOST\tSTANDBY\tEPOCH\tCALLS")
	for _, a := range c.Media {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\n", a.Address, dash(a.Worker), dash(a.Standby), a.Epoch, a.Calls)
	}
	fmt.Fprintln(w, "")
	trunkTable(w, c.Trunks)
}

// trunkTable has a row for each way to a trunk.
func trunkTable(w io.Writer, trunks []routeapi.Trunk) {
	fmt.Fprintln(w, "TRUNK\tSTATE\tCHANNELS\tUSED\tCALLS/S\tEDGE\tLINK\tFOR\tCAUSE\tSPEECH")
	for _, t := range trunks {
		rate := "-"
		if t.Rate > 0 {
			rate = strconv.Itoa(t.Rate)
		}
		links := t.Links
		if len(links) == 0 {
			links = []routeapi.TrunkLink{{}}
		}
		for _, l := range links {
			since := "-"
			if !l.Since.IsZero() {
				since = time.Since(l.Since).Round(time.Second).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.State, t.Channels, t.Used, rate, dash(l.Edge), dash(l.State), since, dash(l.Cause), speech(t))
		}
	}
}

// speech tells a trunk's alarms, else what was measured last.
func speech(t routeapi.Trunk) string {
	var words []string
	for _, a := range t.Alarms {
		words = append(words, fmt.Sprintf("ALARM %s %s %s over %s for %s", a.Kind, a.Direction, measure(a.Kind, a.Value), measure(a.Kind, a.Limit),
			time.Since(a.Since).Round(time.Second)))
	}
	if len(words) > 0 {
		return strings.Join(words, ", ")
	}
	for _, m := range t.Measured {
		words = append(words, fmt.Sprintf("%s %s %s", m.Kind, m.Direction, measure(m.Kind, m.Value)))
	}
	if len(words) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d calls: %s", t.MeasuredCalls, strings.Join(words, ", "))
}

// measure shows a measure of a trunk's speech in its unit.
func measure(kind string, value int64) string {
	switch kind {
	case "delay", "jitter":
		return (time.Duration(value) * time.Microsecond).Round(100 * time.Microsecond).String()
	case "bandwidth":
		return strconv.FormatInt(value/1000, 10) + " kbit/s"
	}
	return strconv.FormatFloat(float64(value)/1e4, 'f', 2, 64) + " %"
}

func factTable(w io.Writer, facts []routeapi.Fact) {
	fmt.Fprintln(w, "INDEX\tAT\tKIND\tCALL\tLEG\tAGENT\tNODE\tMORE")
	for _, f := range facts {
		var more []string
		for k, v := range f.Attrs {
			more = append(more, k+"="+v)
		}
		slices.Sort(more)
		fmt.Fprintf(w, "%d.%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Index, f.N, f.At.Format("15:04:05.000"), f.Kind,
			dash(f.Call), dash(f.Leg), dash(f.Agent), dash(f.Node), strings.Join(more, " "))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
