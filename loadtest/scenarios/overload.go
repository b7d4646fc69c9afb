package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// A router on a machine that is busy with other things refuses new calls before
// it is late with those it has. That is right, and says nothing about any promise
// here: a scenario that met it is tried again when the router takes calls.
const (
	triesWhenOverloaded = 5
	calmWithin          = 30 * time.Second
)

// refusedForLoad is how a router refuses what it can not serve just now: for its
// load, or because its log or its worker is late.
var refusedForLoad = regexp.MustCompile(`SIP/2\.0 503 (Overloaded|Service Unavailable)`)

// metOverload tells whether the router refused something of the scenario's last
// run for its load.
func (t *Tier) metOverload(s *Scenario) bool {
	traces, err := filepath.Glob(filepath.Join(t.cfg.Out, s.Name, "*.messages"))
	if err != nil {
		return false
	}
	for _, f := range traces {
		if text, err := os.ReadFile(f); err == nil && refusedForLoad.Match(text) {
			return true
		}
	}
	return false
}

// calm waits until the router refuses nothing for its load and is ready.
func (t *Tier) calm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, calmWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if t.lab.Calm(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the router refuses calls for its load: %w", ctx.Err())
		}
	}
}
