package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/lab"
)

// round is what one fault did, as a row of the report.
type round struct {
	Fault  string  `json:"fault"`
	Worker string  `json:"worker"`
	Calls  int     `json:"calls"`    // on it
	Moved  float64 `json:"moved_ms"` // until the routers say that another hosts them, as polled
	P50    float64 `json:"gap_p50_ms"`
	P99    float64 `json:"gap_p99_ms"`
	Max    float64 `json:"gap_max_ms"`
	Others float64 `json:"gap_of_other_calls_p99_ms"`
	Forged int     `json:"not_authentic"`
	Twice  int     `json:"heard_twice"` // packets, of which one that wakes could be the cause
	Late   int     `json:"heard_late"`
	Old    int     `json:"heard_of_an_old_stream"`

	struck, others []time.Duration
}

// sums is what all far ends have counted so far.
type sums struct{ forged, repeated, late, returned, reinvites int }

func total(placed []*call) (s sums) {
	for _, c := range placed {
		for _, leg := range c.legs() {
			r := leg.Result()
			s.forged += r.Media.Forged
			s.repeated += r.Media.Rejected - r.Media.Forged
			s.late += r.Media.Late
			s.returned += r.Media.Returned
			s.reinvites += r.Reinvites
		}
	}
	return s
}

func (p *proof) judgeRound(f fault, r *round, before, after sums) {
	r.P50, r.P99, r.Max = ms(check.Percentile(r.struck, 50)), ms(check.Percentile(r.struck, 99)), ms(check.Percentile(r.struck, 100))
	r.Others = ms(check.Percentile(r.others, 99))
	r.Forged, r.Twice, r.Late = after.forged-before.forged, after.repeated-before.repeated, after.late-before.late
	r.Old = after.returned - before.returned
	p.say("%s: %s with %d calls: gap at %d far ends p50 %.0f, p99 %.0f, max %.0f ms; others p99 %.0f ms; not authentic %d, twice %d, late %d, of old streams %d",
		f.name, r.Worker, r.Calls, len(r.struck), r.P50, r.P99, r.Max, r.Others, r.Forged, r.Twice, r.Late, r.Old)
	p.report.Row(r)
	p.all(f).take(r)
}

// ofFault gathers the rounds of one fault.
type ofFault struct {
	fault
	gaps          []time.Duration
	rounds, calls int
	stale         int // packets that only one that should be silent can have sent
}

func (o *ofFault) take(r *round) {
	o.gaps = append(o.gaps, r.struck...)
	o.rounds++
	o.calls = max(o.calls, r.Calls)
	o.stale += r.Twice + r.Late + r.Old
}

func (p *proof) all(f fault) *ofFault {
	for _, o := range p.seen {
		if o.name == f.name {
			return o
		}
	}
	o := &ofFault{fault: f}
	p.seen = append(p.seen, o)
	return o
}

// judgeCalls holds what all rounds did to their bounds.
func (p *proof) judgeCalls(ctx context.Context) error {
	t := check.NewTable("fault", "rounds", "calls at once", "far ends", "gap p50", "p99", "max", "ms")
	for _, o := range p.seen {
		p50, p99, worst := ms(check.Percentile(o.gaps, 50)), ms(check.Percentile(o.gaps, 99)), ms(check.Percentile(o.gaps, 100))
		t.Row(o.name, fmt.Sprint(o.rounds), fmt.Sprint(o.calls), fmt.Sprint(len(o.gaps)), fmt.Sprint(p50), fmt.Sprint(p99), fmt.Sprint(worst), "")
		p.report.AtMost(fmt.Sprintf("gap at a far end, %s, p99", o.name), p99, "ms", ms(o.most))
		if o.name == "SIGSTOP" {
			p.report.Equal("packets heard of a worker that was stopped and woke", o.stale, 0, "packets")
		}
	}
	fmt.Fprintln(p.out)
	t.Print(p.out)
	open, err := p.tier.Calls(ctx)
	if err != nil {
		return err
	}
	states := map[string]string{}
	for _, c := range open {
		states[c.ID] = c.State
	}
	lost, deaf := 0, 0
	for _, c := range p.placed {
		want := "talking"
		if c.operator == nil {
			want = "waiting"
		}
		r := c.caller.Result()
		if states[r.CallID] != want || !r.Ended.IsZero() {
			lost++
			p.say("LOST call %s: %q, wanted %s, ended %v by %s", r.CallID, states[r.CallID], want, r.Ended, r.EndedBy)
		}
		for _, leg := range c.legs() {
			if leg.Gap() > time.Second {
				deaf++
			}
		}
	}
	s := total(p.placed)
	p.report.Equal("calls lost", lost, 0, "calls")
	p.report.Equal("far ends that hear nothing in the end", deaf, 0, "far ends")
	p.report.Equal("re-INVITEs and UPDATEs at the far ends", s.reinvites, 0, "requests")
	p.report.Equal("packets that did not authenticate at the far ends", s.forged, 0, "packets")
	return nil
}

// unprotected tells of a worker, by its own account, that hosts addresses without a
// standby that holds all of their calls; "" if none does.
func (p *proof) unprotected(ctx context.Context) string {
	for i := range workers {
		name := fmt.Sprintf("m%d", i+1)
		v, err := gauge(ctx, fmt.Sprintf("http://%s:%d/metrics", p.lab.Addr(name), lab.PortMetrics), "mediad_addresses_unprotected")
		switch {
		case err != nil:
			return err.Error()
		case v > 0:
			return fmt.Sprintf("%s hosts %d addresses that no standby holds", name, v)
		}
	}
	return ""
}

// gauge reads one whole number of a metrics page.
func gauge(ctx context.Context, url, name string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			var v int
			_, err := fmt.Sscan(rest, &v)
			return v, err
		}
	}
	return 0, fmt.Errorf("no %s at %s", name, url)
}

func ms(d time.Duration) float64 { return check.Millis(d) }
