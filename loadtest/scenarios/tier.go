package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"trunkline/loadtest/lab"
	"trunkline/loadtest/watch"
	"trunkline/routerd/routeapi"
)

// Where SIPp stands in place of an edge: callers at one address, phones at the
// other. Routers take both for edges.
const (
	CallersAddr = "127.10.7.1"
	PhonesAddr  = "127.10.7.2"
)

// Config says what is run and where.
type Config struct {
	Lab      lab.Options // Routing, Routers, Workers, Edges and Progress are the suite's own
	Out      string      // traces of SIPp, a folder a scenario
	Parallel int         // scenarios at a time; 0: 8
	Log      io.Writer
}

// Tier is a running tier that knows the numbers of all scenarios.
type Tier struct {
	cfg Config
	lab *lab.Lab
	api *watch.Tier

	reading sync.Mutex
	facts   []routeapi.Fact // read so far
	upto    uint64          // log index of the last of them
}

// Start starts the tier for these scenarios.
func Start(ctx context.Context, cfg Config, all []*Scenario) (*Tier, error) {
	conf, err := tree(all)
	if err != nil {
		return nil, err
	}
	o := cfg.Lab
	o.Routing, o.Routers, o.Workers, o.Progress = conf, 1, 1, cfg.Log
	o.Edges = []string{CallersAddr, PhonesAddr}
	l, err := lab.Start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start the tier: %w", err)
	}
	t := &Tier{cfg: cfg, lab: l}
	operator, err := l.PKI().Client(lab.CertOperator)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the operator's certificate: %w", err), l.Stop())
	}
	t.api = watch.NewTier([]string{l.API("r1")}, operator)
	if err := os.RemoveAll(cfg.Out); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	if err := t.calm(ctx); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	return t, nil
}

// Stop ends the tier. A component that has died by itself is an error.
func (t *Tier) Stop() error {
	var died error
	for _, name := range t.lab.Died() {
		died = errors.Join(died, fmt.Errorf("%s died:\n%s", name, t.lab.Tail(name, 20)))
	}
	return errors.Join(died, t.lab.Stop())
}

// Lab is the running lab, for who wants to look at it.
func (t *Tier) Lab() *lab.Lab { return t.lab }

// historyPage is as much as a router gives at once.
const historyPage = 2000

// history is all facts so far. What was read once is kept: the file grows with
// every scenario, and each of them asks.
func (t *Tier) history(ctx context.Context) ([]routeapi.Fact, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	for {
		page, err := t.api.FactsAfter(ctx, t.upto, historyPage)
		if err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		if len(page) == 0 {
			return slices.Clip(t.facts), nil
		}
		t.facts = append(t.facts, page...)
		t.upto = page[len(page)-1].Index
	}
}

// traces is the folder of a scenario's SIPp files, made anew.
func (t *Tier) traces(s *Scenario) (string, error) {
	dir := filepath.Join(t.cfg.Out, s.Name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}
