// Package demo places ten real calls through a whole tier, kills what the
// tier says it can lose, and checks what both ends of each call saw against
// what the tier tells about it and what it recorded. It is the first proof a
// newcomer sees and the end-to-end test of the project.
//
// It measures at the far ends and in the recordings; from the tier it takes
// only names: who owns a call, who hosts its media. It never repairs: a step
// that does not come about in time ends the demo with what was seen so far.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"trunkline/loadtest/check"
	"trunkline/loadtest/endpoint"
	"trunkline/loadtest/lab"
	"trunkline/loadtest/softphone"
	"trunkline/loadtest/watch"
)

// Config says where the demo runs and what it writes.
type Config struct {
	Out    string      // folder of demo.json and the recordings
	Lab    lab.Options // Routing, Agents and Progress are the demo's own
	Commit string      // for the report
	Log    io.Writer   // progress and the table
	// Slack stretches the bounds of time for builds that are slow by
	// themselves, as under the race detector. 0 means 1.
	Slack float64
}

// show is a running demo.
type show struct {
	cfg    Config
	began  time.Time
	report *check.Report
	lab    *lab.Lab
	tier   *watch.Tier
	log    *watch.Log

	callers   map[string]*endpoint.Caller // by SBC
	operators []*operator
	phone     *softphone.Phone
	calls     []*call
	refusals  []refusal
	faults    faults
}

// Run starts the tier, shows what it does and stops it. The report is
// complete when the error is nil, and holds what was checked so far otherwise.
func Run(ctx context.Context, cfg Config) (*check.Report, error) {
	if cfg.Slack == 0 {
		cfg.Slack = 1
	}
	s := &show{cfg: cfg, began: time.Now(), report: check.NewReport("demo", cfg.Commit), callers: map[string]*endpoint.Caller{}}
	err := s.run(ctx)
	if err != nil {
		s.report.Add("the demo ran to its end", err.Error(), "", "= yes", false)
	}
	return s.report, err
}

func (s *show) run(ctx context.Context) (err error) {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() {
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
	}()
	steps := []func(context.Context) error{
		s.register, s.showRefusals, s.fillTheDesks, s.letThreeWait, s.killARouter, s.endTheFirst,
		s.killAWorker, s.endTheRest, s.showRejoined, s.judge,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			s.saveLogs()
			return err
		}
	}
	return nil
}

// say prints a line of progress with the time since the start.
func (s *show) say(format string, args ...any) {
	fmt.Fprintf(s.cfg.Log, "%6.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// progress lets the lab print its steps as ours.
type progress struct{ s *show }

func (p progress) Write(b []byte) (int, error) {
	p.s.say("%s", string(trimNewline(b)))
	return len(b), nil
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

func (s *show) start(ctx context.Context) error {
	o := s.cfg.Lab
	o.Progress, o.Routing = progress{s}, routing()
	s.say("starting two SBCs, two edges, three routers and two media workers")
	l, err := lab.Start(ctx, o)
	if err != nil {
		return fmt.Errorf("start the tier: %w", err)
	}
	s.lab = l
	conf, err := l.PKI().Client("ops")
	if err != nil {
		return errors.Join(fmt.Errorf("read the operator's certificate: %w", err), l.Stop())
	}
	var bases []string
	for _, r := range routers {
		bases = append(bases, l.API(r))
	}
	s.tier = watch.NewTier(bases, conf)
	s.log = watch.Follow(s.tier, 100*time.Millisecond)
	return nil
}

// stop ends the far ends first: the tier is to see calls end, not vanish.
func (s *show) stop() error {
	s.say("stopping everything")
	for _, c := range s.callers {
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, o := range s.operators {
		o.close(ctx)
	}
	var errs []error
	if s.phone != nil {
		errs = append(errs, s.phone.Stop(ctx))
	}
	s.log.Stop()
	errs = append(errs, s.lab.Stop())
	return errors.Join(errs...)
}

// saveLogs points at the logs when a step failed: the tier's own words.
func (s *show) saveLogs() {
	if died := s.lab.Died(); len(died) > 0 {
		for _, d := range died {
			s.say("DIED %s", d)
		}
	}
	s.say("the logs are in %s", filepath.Join(s.lab.Dir(), "log"))
}

// await polls until cond holds; what says what did not come about.
func (s *show) await(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	deadline := time.NewTimer(time.Duration(float64(limit) * s.cfg.Slack))
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v in vain for %s; open calls: %s", limit, what, s.openCalls())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pass lets time go by while calls talk.
func (s *show) pass(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *show) openCalls() string {
	open, _ := s.log.Open()
	out := ""
	for _, c := range open {
		out += fmt.Sprintf("[%s %s on %s agent %q worker %s] ", c.ID, c.State, c.Node, c.Agent, c.Worker)
	}
	if out == "" {
		return "none"
	}
	return out
}

// recordings is the folder of the exported files.
func (s *show) recordings() (string, error) {
	dir := filepath.Join(s.cfg.Out, "recordings")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of recordings: %w", err)
	}
	return dir, nil
}
