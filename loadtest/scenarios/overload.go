package scenarios

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"trunkline/loadtest/lab"
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
		if loss, err := t.loss(ctx); err == nil && loss == "0" && t.ready(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the router refuses calls for its load: %w", ctx.Err())
		}
	}
}

// loss is the share of new calls that the router refuses, as its metrics say.
func (t *Tier) loss(ctx context.Context) (string, error) {
	url := fmt.Sprintf("http://%s:%d/metrics", t.lab.Addr("r1"), lab.PortMetrics)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		if value, ok := strings.CutPrefix(in.Text(), "routerd_overload_loss_ratio "); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("%s has no routerd_overload_loss_ratio", url)
}

// ready asks the router whether it takes calls at all.
func (t *Tier) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/readyz", t.lab.Addr("r1"), lab.PortMetrics), nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}
