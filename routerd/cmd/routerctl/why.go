package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/routeapi"
)

var whyCommands = []command{
	{"why", "CALL", `every decision about a call, in order, with its log index
For each offer: the strategy, the candidates with what they were ranked by, best first,
and why the other agents of the queue were not asked. From the file of the router that
answers; calls and cdr list the ids.`, why},
}

// decision is one row: what the machine decided and from what.
type decision struct {
	Index      uint64            `json:"index"`
	N          uint32            `json:"n"`
	At         time.Time         `json:"at"`
	Since      float64           `json:"since_arrival_seconds"`
	Kind       string            `json:"kind"`
	What       string            `json:"what"`
	Because    []string          `json:"because,omitempty"`
	Candidates []scored          `json:"candidates,omitempty"` // best first
	Excluded   map[string]string `json:"excluded,omitempty"`   // reason: how many
	Agents     map[string]string `json:"excluded_agents,omitempty"`
}

// scored is a candidate and what it was ranked by, as the strategy has it.
type scored struct {
	Agent string `json:"agent"`
	Score string `json:"score"`
}

func why(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	all := fs.Bool("all", false, "legs' ends and media too")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the call"); err != nil {
			return err
		}
		c, err := e.client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var facts []routeapi.Fact
		if err := c.get(ctx, routeapi.PathFacts+"?limit=10000&call="+url.QueryEscape(words[0]), &facts); err != nil {
			return err
		}
		if len(facts) == 0 {
			return fmt.Errorf("no router knows anything of call %q: routerctl calls lists open ones, routerctl cdr those that are over", words[0])
		}
		rows := decisions(facts, *all)
		if e.json {
			return e.printer().asJSON(rows)
		}
		return printDecisions(e.stdout, rows)
	}
}

// decisions explains the facts of one call, in their order.
func decisions(facts []routeapi.Fact, all bool) []decision {
	rows := []decision{}
	for _, f := range facts {
		if !all && slices.Contains([]string{"leg.ended", "call.media-moved", "offer.ringing", "agent.state"}, f.Kind) {
			continue
		}
		d := decision{Index: f.Index, N: f.N, At: f.At, Since: f.At.Sub(facts[0].At).Seconds(), Kind: f.Kind}
		d.What, d.Because = explain(f)
		if strings.HasPrefix(f.Kind, "offer.") && f.Attrs["strategy"] != "" {
			d.Candidates = candidates(f.Attrs["candidates"])
			d.Excluded, d.Agents = pairs(f.Attrs["excluded"]), pairs(f.Attrs["excluded_agents"])
		}
		rows = append(rows, d)
	}
	return rows
}

// explain says what a fact is to the call, and what led to it.
func explain(f routeapi.Fact) (what string, because []string) {
	a := f.Attrs
	known := map[string]bool{}
	attr := func(key string) string {
		known[key] = true
		return a[key]
	}
	switch f.Kind {
	case "call.arrived":
		what = fmt.Sprintf("arrived on %s by %s: %s calls %s", attr("trunk"), attr("edge"), mask(attr("from")), attr("to"))
		known["sip_call_id"] = true
	case "call.refused":
		what = fmt.Sprintf("refused with %s: %s", attr("code"), attr("reason"))
		attr("from")
	case "call.answered":
		what = "answered"
	case "call.greeted":
		what = fmt.Sprintf("greeting %s, %s s", attr("prompt"), attr("duration"))
	case "call.queued":
		what = fmt.Sprintf("into queue %s with ticket %s, %s waiting", f.Queue, attr("ticket"), attr("waiting"))
	case "call.diverted":
		what = fmt.Sprintf("away from queue %s to %s: %s", f.Queue, attr("to"), attr("cause"))
	case "offer.made", "offer.reserved":
		what, because = explainOffer(f, attr)
	case "offer.ringing":
		what = fmt.Sprintf("%s's phone rings (%s)", f.Agent, attr("code"))
	case "offer.accepted":
		what = fmt.Sprintf("%s answered after %s s", f.Agent, attr("rang"))
	case "offer.rejected":
		what = fmt.Sprintf("%s did not take it: %s %s", f.Agent, attr("code"), attr("reason"))
	case "offer.timed-out":
		what = fmt.Sprintf("%s let it ring for %s s, %s missed in a row", f.Agent, attr("rang"), attr("missed"))
	case "offer.cancelled":
		what = fmt.Sprintf("the offer to %s is off: %s", f.Agent, attr("cause"))
	case "offer.renewed":
		what = fmt.Sprintf("the offer to %s goes on as leg %s", f.Agent, f.Leg)
	case "offer.crossed":
		what = fmt.Sprintf("%s answered what was being cancelled: hung up", f.Agent)
	case "call.bridged":
		what = fmt.Sprintf("talks with %s after waiting %s s", f.Agent, attr("wait"))
	case "call.moved":
		what = fmt.Sprintf("taken over by %s from %s: %s", f.Node, attr("from"), attr("cause"))
	case "trunk.avoided":
		what = fmt.Sprintf("leg %s is tried over %s before %s: its speech is bad", f.Leg, attr("for"), attr("trunk"))
	case "call.ended":
		what = fmt.Sprintf("%s, ended by the %s: %s; waited %s s, talked %s s, %s offers",
			attr("outcome"), attr("by"), attr("cause"), attr("wait"), attr("talk"), attr("offers"))
		return what, nil // the rest is the CDR's
	default:
		what = strings.TrimSpace(strings.Join([]string{f.Kind, f.Queue, f.Agent}, " "))
	}
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if !known[key] {
			because = append(because, strings.ReplaceAll(key, "_", " ")+": "+a[key])
		}
	}
	return what, because
}

// explainOffer tells an offer and the choice behind it.
func explainOffer(f routeapi.Fact, attr func(string) string) (what string, because []string) {
	verb := "offer " + attr("offer") + " to " + f.Agent
	if f.Kind == "offer.reserved" {
		verb = f.Agent + " is kept for it while the customer is called"
	}
	what = strings.TrimSpace(verb)
	if s := attr("strategy"); s != "" {
		what += ": " + s
	}
	if stage := attr("stage"); stage != "" {
		what += " (" + stage + ")"
	}
	var list []string
	for _, c := range candidates(attr("candidates")) {
		list = append(list, c.Agent+" "+c.Score)
	}
	if n := attr("eligible"); n != "" {
		because = append(because, n+" eligible, best first: "+strings.Join(list, ", "))
	}
	named := map[string][]string{}
	for agent, reason := range pairs(attr("excluded_agents")) {
		named[reason] = append(named[reason], agent)
	}
	excluded := pairs(attr("excluded"))
	for _, reason := range slices.Sorted(maps.Keys(excluded)) {
		line := "not asked, " + reason + ": " + excluded[reason]
		if names := named[reason]; names != nil {
			slices.Sort(names)
			line += " (" + strings.Join(names, ", ") + ")"
		}
		because = append(because, line)
	}
	return what, because
}

// candidates reads "ann:12.000 bob:3.100".
func candidates(text string) []scored {
	var list []scored
	for pair := range strings.FieldsSeq(text) {
		agent, score, _ := cutLast(pair)
		list = append(list, scored{agent, score})
	}
	return list
}

// pairs reads "reason:2 other:1".
func pairs(text string) map[string]string {
	if text == "" {
		return nil
	}
	m := map[string]string{}
	for pair := range strings.FieldsSeq(text) {
		key, value, _ := cutLast(pair)
		m[key] = value
	}
	return m
}

// cutLast cuts at the last colon: a name may have one of its own.
func cutLast(s string) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// mask hides all but the last four digits of a caller's number.
func mask(number string) string {
	if len(number) <= 4 {
		return number
	}
	return strings.Repeat("*", len(number)-4) + number[len(number)-4:]
}

func printDecisions(out io.Writer, rows []decision) error {
	p := printer{out: out}
	return p.table(func(w io.Writer) {
		fmt.Fprintln(w, "INDEX\tTIME (UTC)\tAFTER\tDECISION")
		for _, d := range rows {
			fmt.Fprintf(w, "%d.%d\t%s\t%.3fs\t%s\n", d.Index, d.N, d.At.Format("15:04:05.000"), d.Since, d.What)
			for _, line := range d.Because {
				fmt.Fprintf(w, "\t\t\t  %s\n", line)
			}
		}
	})
}
