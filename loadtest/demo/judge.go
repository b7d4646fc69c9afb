package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/endpoint"
	"trunkline/routerd/routeapi"
)

// row is one line of the table, of a call or of a refusal.
type row struct {
	Number    string  `json:"number"`
	Call      string  `json:"call"`
	SBC       string  `json:"sbc"`
	Edge      string  `json:"edge"`
	Router    string  `json:"router"`
	Worker    string  `json:"worker"`
	Codec     string  `json:"codec"`
	Suite     string  `json:"suite"`
	Setup     float64 `json:"setup_ms"`
	Wait      float64 `json:"wait_seconds"`
	Agent     string  `json:"agent"`
	Talk      float64 `json:"talk_seconds"`
	Lost      int     `json:"packets_lost"`
	Gap       float64 `json:"longest_gap_ms"`
	Recording string  `json:"recording"`
	Fault     string  `json:"fault,omitempty"`
	Answer    string  `json:"answer,omitempty"` // of a refusal
	Verdict   string  `json:"verdict"`
}

// bounds of DESIGN section 8: a dead worker may cost a gap of 200 ms; on a
// machine that runs everything at once no other gap is longer either.
const (
	gapBound     = 200.0 // ms
	heardBound   = 0.9   // of the talk phase
	channelBound = 0.85  // of the recording: it ends with the last packets of a side
	outageBound  = 2000.0
)

// judge turns what was seen into checks and rows.
func (s *show) judge(ctx context.Context) error {
	s.say("exporting the recordings and listening to them")
	table := check.NewTable("#", "call id", "SBC", "edge", "router", "worker", "codec", "suite", "wait", "agent", "talk", "lost", "gap", "recording", "verdict")
	for _, c := range s.calls {
		r, err := s.judgeCall(ctx, c)
		if err != nil {
			return err
		}
		s.report.Row(r)
		table.Row(r.Number, r.Call, r.SBC, r.Edge, r.Router, r.Worker, r.Codec, r.Suite, fmt.Sprintf("%.1f s", r.Wait), r.Agent,
			fmt.Sprintf("%.1f s", r.Talk), strconv.Itoa(r.Lost), fmt.Sprintf("%.0f ms", r.Gap), r.Recording, r.Verdict)
	}
	for i, f := range s.refusals {
		s.report.Add(f.name, f.got, "", "= "+f.want, f.ok)
		r := row{Number: "R" + strconv.Itoa(i+1), Call: f.name, SBC: f.sbc, Answer: f.got, Verdict: verdict(f.ok)}
		s.report.Row(r)
		table.Row(r.Number, r.Call, r.SBC, "", "", "", "", "", "", "", "", "", "", r.Answer, r.Verdict)
	}
	s.judgeFaults()
	s.judgeSpread()
	fmt.Fprintln(s.cfg.Log)
	table.Print(s.cfg.Log)
	fmt.Fprintln(s.cfg.Log)
	for _, c := range s.calls {
		if c.fault != "" {
			fmt.Fprintf(s.cfg.Log, "call %d: %s\n", c.n, c.fault)
		}
	}
	s.judgeSetup()
	return nil
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

// judgeCall holds one call to what both ends saw.
func (s *show) judgeCall(ctx context.Context, c *call) (row, error) {
	ended, err := s.endedFact(ctx, c)
	if err != nil {
		return row{}, err
	}
	seen, _ := s.log.Call(c.id())
	a, b := c.result.Media, c.legResult.Media
	r := row{
		Number: strconv.Itoa(c.n), Call: c.id(), SBC: c.order.sbc, Edge: ended.Attrs["edge"],
		Router: strings.Join(seen.Nodes, "→"), Worker: strings.Join(seen.Workers, "→"),
		Codec: c.result.Codec, Suite: c.result.Suite, Setup: check.Millis(c.result.Setup()),
		Wait: number(ended.Attrs["wait"]), Agent: c.operator, Talk: number(ended.Attrs["talk"]),
		Gap: check.Millis(max(a.LongestGap, b.LongestGap)), Lost: a.MarksLost + b.MarksLost, Fault: c.fault,
	}
	if c.softphone() {
		r.Lost = a.Lost
	}
	before := len(s.report.Checks)
	name := func(what string) string { return fmt.Sprintf("call %d: %s", c.n, what) }
	s.report.Equal(name("outcome"), ended.Attrs["outcome"], "served", "")
	s.report.Equal(name("agent in the history"), ended.Agent, c.operator, "")
	s.report.Equal(name("trunk in the history"), ended.Attrs["trunk"], c.order.sbc, "")
	s.report.Equal(name("codec"), r.Codec, string(c.order.codec), "")
	s.report.Equal(name("suite"), r.Suite, string(c.order.suite), "")
	s.report.Add(name("BYE"), endOf(c), "", "= 200 and the other side told", endedProperly(c))
	if strings.Contains(c.fault, "worker") {
		s.report.Add(name("packets lost"), r.Lost, "packets", "any, within the gap", true)
	} else {
		s.report.Equal(name("packets lost"), r.Lost, 0, "packets")
	}
	s.report.AtMost(name("longest gap"), r.Gap, "ms", gapBound*s.cfg.Slack)
	s.report.AtLeast(name("caller hears the agent"), a.HeardShare(s.toneOf(c.operator)), "of the talk", heardBound)
	if c.softphone() {
		s.judgeSoftphone(ctx, c)
	} else {
		s.report.AtLeast(name("agent hears the caller"), b.HeardShare(callerTone(c.n)), "of the talk", heardBound)
		s.report.Equal(name("codec of the agent's leg"), c.legResult.Codec, string(c.order.codec), "")
		s.report.Add(name("RTCP"), fmt.Sprintf("%d and %d", a.RTCPReceived, b.RTCPReceived), "packets", ">= 1 at each side", a.RTCPReceived > 0 && b.RTCPReceived > 0)
	}
	if r.Recording, err = s.judgeRecording(ctx, c, r.Talk); err != nil {
		return row{}, err
	}
	ok := true
	for _, k := range s.report.Checks[before:] {
		ok = ok && k.OK
	}
	r.Verdict = verdict(ok)
	return r, nil
}

// endedFact is the call's last fact, its CDR. It notes the first offer too.
func (s *show) endedFact(ctx context.Context, c *call) (routeapi.Fact, error) {
	var ended routeapi.Fact
	err := s.await(ctx, 5*time.Second, fmt.Sprintf("the history of call %d", c.n), func() bool {
		facts, err := s.tier.CallFacts(ctx, c.id())
		ended = find(facts, func(f routeapi.Fact) bool { return f.Kind == "call.ended" })
		c.offered = find(facts, func(f routeapi.Fact) bool { return f.Kind == "offer.made" })
		return err == nil && ended.Kind != ""
	})
	return ended, err
}

func number(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64) // "" is 0
	return f
}

func (s *show) toneOf(operator string) int {
	for _, d := range desks {
		if d.user == operator {
			return d.tone
		}
	}
	return softphoneTone
}

func endOf(c *call) string {
	by, code := "caller", c.result.ByeCode
	if c.result.EndedBy == "peer" {
		by, code = "agent", c.legResult.ByeCode
	}
	return fmt.Sprintf("%d to the %s's", code, by)
}

// endedProperly: one side's BYE got 200, the other side got a BYE.
func endedProperly(c *call) bool {
	if c.softphone() {
		return c.result.EndedBy == "us" && c.result.ByeCode == 200
	}
	for _, sides := range [][2]endpoint.CallResult{{c.result, c.legResult}, {c.legResult, c.result}} {
		if sides[0].EndedBy == "us" && sides[0].ByeCode == 200 && sides[1].EndedBy == "peer" {
			return true
		}
	}
	return false
}

// judgeFaults says what the kills cost.
func (s *show) judgeFaults() {
	f := &s.faults
	s.report.AtMost("router "+f.router+" killed: survivors own its calls after", check.Millis(f.routerTakeover), "ms", 3000*s.cfg.Slack)
	s.report.Equal("router killed: re-INVITEs and UPDATEs at any far end", f.reinvites, 0, "requests")
	seen, _ := s.log.Call(f.waiting.id())
	s.report.Add("router killed: ticket of the waiting call", fmt.Sprint(seen.Tickets), "", "= one and the same", len(seen.Tickets) == 1)
	s.report.Add("waiting calls are offered to operators in the order of their tickets, by the log", fmt.Sprint(s.servingOrder()), "calls", "= ascending tickets", s.inOrder())
	s.report.AtMost("setup of the call placed during the outage", check.Millis(f.outage.result.Setup()), "ms", outageBound*s.cfg.Slack)
	media := max(f.media.result.Media.LongestGap, f.media.legResult.Media.LongestGap)
	s.report.AtMost("worker "+f.worker+" killed: gap at either side", check.Millis(media), "ms", gapBound*s.cfg.Slack)
	s.report.Equal("router "+f.router+" rejoined as a voter", rejoinedNode(f.before, f.after, f.router), true, "")
	s.report.Equal("worker "+f.worker+" rejoined", rejoinedWorker(f.before, f.after, f.worker), true, "")
	s.report.Equal("components that died by themselves", len(s.lab.Died()), 0, "")
	fmt.Fprintf(s.cfg.Log, "\nrouter %s killed: taken over in %d ms, back in %.1f s; worker %s killed: gap %.0f ms, back in %.1f s\n",
		f.router, f.routerTakeover.Milliseconds(), f.routerBack.Seconds(), f.worker, check.Millis(media), f.workerBack.Seconds())
}

// servingOrder lists the calls that waited together by when each was offered to
// an operator, as the log has it: three offers of one millisecond are carried
// out by three routers, in whatever order their packets leave.
func (s *show) servingOrder() []int {
	waited := slices.Clone(s.calls[len(desks)+1 : len(desks)+4])
	slices.SortFunc(waited, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.offered.Index, b.offered.Index), cmp.Compare(a.offered.N, b.offered.N))
	})
	var out []int
	for _, c := range waited {
		out = append(out, c.n)
	}
	return out
}

func (s *show) inOrder() bool {
	last := uint64(0)
	for _, n := range s.servingOrder() {
		seen, _ := s.log.Call(s.calls[n-1].id())
		if seen.Last.Ticket <= last {
			return false
		}
		last = seen.Last.Ticket
	}
	return true
}

// judgeSpread: both links, both edges, all routers, both workers carried calls.
func (s *show) judgeSpread() {
	used := map[string]map[string]bool{"sbc": {}, "edge": {}, "worker": {}, "combination": {}}
	softphoneCalls := 0
	for _, c := range s.calls {
		seen, _ := s.log.Call(c.id())
		used["sbc"][seen.Last.Trunk] = true
		used["edge"][seen.Last.Edge] = true
		if len(seen.Workers) > 0 {
			used["worker"][seen.Workers[0]] = true
		}
		used["combination"][c.result.Codec+" "+c.result.Suite] = true
		if c.softphone() {
			softphoneCalls++
		}
	}
	s.report.Equal("SBCs that carried calls", len(used["sbc"]), len(sbcs), "")
	s.report.Equal("edges that carried calls", len(used["edge"]), len(edges), "")
	// Of ten calls that an edge spreads by weight a router may well get none:
	// those that filled the trunk count too.
	s.report.Equal("routers that took calls, those that filled the trunk included", len(s.log.FirstOwners()), len(routers), "")
	s.report.Equal("media workers that carried calls", len(used["worker"]), len(workers), "")
	s.report.Equal("combinations of codec and suite", len(used["combination"]), 4, "")
	s.report.AtLeast("calls answered by "+softphoneUser+"'s softphone", float64(softphoneCalls), "calls", 1)
}

func (s *show) judgeSetup() {
	var setups []time.Duration
	for _, c := range s.calls {
		setups = append(setups, c.result.Setup())
	}
	p50, p99 := check.Percentile(setups, 50), check.Percentile(setups, 99)
	s.report.AtMost("setup time p50", check.Millis(p50), "ms", 200*s.cfg.Slack)
	s.report.AtMost("setup time p99", check.Millis(p99), "ms", outageBound*s.cfg.Slack)
	fmt.Fprintf(s.cfg.Log, "setup time of the %d calls, INVITE to 200: p50 %.1f ms, p99 %.1f ms (the slowest was placed while %s was down: %.1f ms)\n",
		len(setups), check.Millis(p50), check.Millis(p99), s.faults.router, check.Millis(s.faults.outage.result.Setup()))
}
