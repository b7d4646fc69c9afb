package acdtest

import (
	"fmt"
	"strings"
	"time"

	"trunkline/routerd/acd"
)

func printResult(r acd.Result) []string {
	var line string
	switch {
	case r.Applied && r.Incarnation != 0:
		line = fmt.Sprintf("life %d", r.Incarnation)
	case r.Applied:
		return nil
	case r.Code != 0:
		line = fmt.Sprintf("refused %d %s", r.Code, r.Reason)
		if r.RetryAfter != 0 {
			line += fmt.Sprintf(" retry-after=%d", r.RetryAfter)
		}
	default:
		line = "no-op " + r.Reason
	}
	if r.Reason == acd.ReasonConfigChanged {
		line += fmt.Sprintf(" version=%d", r.Version)
	}
	if !r.Applied && r.Epoch != 0 {
		line += fmt.Sprintf(" epoch=%d", r.Epoch)
	}
	return []string{line}
}

func printEffects(effects []acd.Effect) []string {
	var lines []string
	for _, e := range effects {
		to := "all"
		if e.Owner != (acd.Owner{}) {
			to = fmt.Sprintf("%s %s@%d", e.Call, e.Owner.Node, e.Epoch)
		}
		lines = append(lines, to+" "+printOrder(e.Order))
	}
	return lines
}

func printOrder(order acd.Order) string {
	switch o := order.(type) {
	case acd.Resume:
		return "resume"
	case acd.AnswerCall:
		return fmt.Sprintf("answer leg=%s", o.Leg)
	case acd.PlayPrompt:
		if o.Loop {
			return fmt.Sprintf("play leg=%s prompt=%s loop", o.Leg, o.Prompt)
		}
		return fmt.Sprintf("play leg=%s prompt=%s", o.Leg, o.Prompt)
	case acd.Announce:
		line := fmt.Sprintf("announce leg=%s %s", o.Leg, strings.Join(o.Prompts, "+"))
		if o.Then.Name != "" {
			line += " then=" + o.Then.Name
		}
		return line
	case acd.RingAgent:
		var uris []string
		for _, ct := range o.Contacts {
			uris = append(uris, ct.URI)
		}
		line := fmt.Sprintf("ring leg=%s agent=%s contacts=%s", o.Leg, o.Agent, strings.Join(uris, ","))
		for i, a := range o.Card {
			line += []string{" card=", ","}[min(i, 1)] + a.Key + ":" + a.Value
		}
		return line
	case acd.Dial:
		var trunks []string
		for _, t := range o.Trunks {
			trunks = append(trunks, string(t))
		}
		line := fmt.Sprintf("dial leg=%s number=%s trunks=%s from=%s", o.Leg, o.Number, strings.Join(trunks, ","), o.From)
		if o.Caller != "" {
			line += " caller=" + o.Caller
		}
		if len(o.Diverted) > 1 {
			line += " diverted=" + strings.Join(o.Diverted, ",")
		}
		return line
	case acd.SendDigits:
		return fmt.Sprintf("send leg=%s keys=%s", o.Leg, o.Keys)
	case acd.TellProgress:
		return fmt.Sprintf("tell leg=%s code=%d", o.Leg, o.Code)
	case acd.CancelRing:
		return fmt.Sprintf("cancel leg=%s", o.Leg)
	case acd.Bridge:
		return fmt.Sprintf("bridge %s with %s", o.A, o.B)
	case acd.Supervise:
		return fmt.Sprintf("supervise leg=%s peer=%s mode=%s", o.Leg, o.Peer, o.Mode)
	case acd.StartRecording:
		return "record"
	case acd.Hangup:
		if o.Code != 0 {
			return fmt.Sprintf("hang up leg=%s code=%d cause=%s", o.Leg, o.Code, o.Cause)
		}
		return fmt.Sprintf("hang up leg=%s cause=%s", o.Leg, o.Cause)
	case acd.Release:
		return "release media=" + strings.Join(o.Media, ",")
	case acd.Resync:
		return fmt.Sprintf("resync %s/%d index=%d agreed=%d", o.Owner.Node, o.Owner.Incarnation, o.Index, o.Agreed)
	case acd.HostMedia:
		return fmt.Sprintf("host %s on %s/%d standby=%s epoch=%d", o.Address, o.Worker, o.Incarnation, o.Standby, o.Epoch)
	}
	panic(fmt.Sprintf("acdtest: no print for %T", order))
}

func printWait(w acd.WaitInfo) string {
	line := "queue " + string(w.Queue)
	if w.Known {
		line += fmt.Sprintf(" p50=%s p90=%s", span(w.P50), span(w.P90))
	} else {
		line += " unknown"
	}
	if w.ASA > 0 {
		line += " asa=" + span(w.ASA)
	}
	if w.Foretold > 0 {
		line += fmt.Sprintf(" foretold=%d within-p50=%d within-p90=%d error=%s", w.Foretold, w.WithinP50, w.WithinP90, span(w.Error))
	}
	return line
}

// moment prints a machine time as time since the driver began.
func moment(t acd.Time) string {
	if t == 0 {
		return "never"
	}
	return span(t.Sub(Epoch0))
}

func span(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", d.Seconds()), "0"), ".") + "s"
}

func printFact(f acd.Fact) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "%s", f.Kind)
	for _, pair := range [][2]string{{"call", string(f.Call)}, {"leg", string(f.Leg)}, {"agent", string(f.Agent)}, {"queue", string(f.Queue)}, {"node", string(f.Node)}} {
		if pair[1] != "" {
			fmt.Fprintf(b, " %s=%s", pair[0], pair[1])
		}
	}
	for _, a := range f.Attrs {
		value := a.Value
		switch a.Key { // machine times
		case "arrived", "answered", "enqueued", "bridged", "ended", "started", "due", "expire":
			var t acd.Time
			if _, err := fmt.Sscanf(value, "%d", &t); err != nil {
				value = "bad:" + value
				break
			}
			value = moment(t)
		}
		if strings.ContainsAny(value, " ") {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(b, " %s=%s", a.Key, value)
	}
	return b.String()
}

func printCall(c acd.Call) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "call %s %s owner=%s@%d", c.ID, c.State, c.Owner.Node, c.Epoch)
	if c.Ticket != 0 {
		fmt.Fprintf(b, " ticket=%d", c.Ticket)
	}
	agents := []string{}
	for _, l := range offersOf(&c) {
		agents = append(agents, string(l.Agent))
	}
	if c.Agent != "" && len(agents) == 0 {
		agents = append(agents, string(c.Agent))
	}
	if len(agents) > 0 {
		fmt.Fprintf(b, " agent=%s", strings.Join(agents, ","))
	}
	if c.Dialler != "" {
		fmt.Fprintf(b, " dialled=%s:%s", c.Dialler, c.To)
	}
	if c.Root != "" {
		fmt.Fprintf(b, " beside=%s", c.Root)
	}
	if c.State == acd.CallHunting {
		fmt.Fprintf(b, " step=%d", c.Step+1)
	}
	if r := &c.Referral; r.Running() {
		fmt.Fprintf(b, " referred=%s", r.To)
		if r.Left {
			fmt.Fprintf(b, "(left)")
		}
	}
	if c.Awaits != "" {
		fmt.Fprintf(b, " awaits=%s", c.Awaits)
	}
	for _, l := range c.Legs {
		fmt.Fprintf(b, " %s:%s", l.ID, l.State)
		if l.Agent != "" {
			fmt.Fprintf(b, ":%s", l.Agent)
		}
		if l.Role == acd.RoleSupervisor {
			fmt.Fprintf(b, ":%s", c.Supervision.Mode)
		}
		if l.Role == acd.RoleParty {
			fmt.Fprintf(b, ":%s", l.Number)
		}
	}
	return b.String()
}

func printAgent(a acd.AgentInfo) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "agent %s %s", a.ID, a.Status)
	if a.Reason != "" {
		fmt.Fprintf(b, "(%s)", a.Reason)
	}
	fmt.Fprintf(b, " %s missed=%d", a.State, a.Missed)
	if a.Call != "" {
		fmt.Fprintf(b, " call=%s leg=%s", a.Call, a.Leg)
	}
	if a.Consult != "" {
		fmt.Fprintf(b, " consult=%s", a.Consult)
	}
	if a.Help != 0 {
		fmt.Fprintf(b, " help=%q", a.HelpReason)
	}
	if a.Draining > 0 {
		fmt.Fprintf(b, " draining=%d", a.Draining)
	}
	if a.Pending != "" {
		fmt.Fprintf(b, " pending=%s", a.Pending)
		if a.PendingReason != "" {
			fmt.Fprintf(b, "(%s)", a.PendingReason)
		}
	}
	if a.BackOff != 0 {
		fmt.Fprintf(b, " back-off=%s", moment(a.BackOff))
	}
	for _, ct := range a.Contacts {
		fmt.Fprintf(b, " %s until %s", ct.URI, moment(ct.ExpiresAt))
	}
	return b.String()
}
