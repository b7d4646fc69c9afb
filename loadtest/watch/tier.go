// Package watch reads a running tier through routerd's HTTPS API: who owns
// which call, what waits, what the history says. It asks the routers in turn,
// so that a dead one hides nothing. It changes nothing but agents' status.
package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"trunkline/routerd/routeapi"
)

// Tier is the API of all routers.
type Tier struct {
	bases  []string // https://host:port
	client *http.Client

	mu    sync.Mutex
	first int // the router that answered last
}

// NewTier takes the routers' base URLs and the operator's certificate.
func NewTier(bases []string, conf *tls.Config) *Tier {
	return &Tier{bases: bases, client: &http.Client{
		// A router that hangs must not hold up the watching of the others.
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: conf, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute},
	}}
}

// ErrNoRouter says that no router answered.
var ErrNoRouter = errors.New("no router answers its API")

// get asks one router after the other, the one that answered last first.
func get[T any](ctx context.Context, t *Tier, path string) (T, error) {
	var out T
	t.mu.Lock()
	first := t.first
	t.mu.Unlock()
	var errs []error
	for i := range t.bases {
		at := (first + i) % len(t.bases)
		err := t.do(ctx, http.MethodGet, t.bases[at]+path, nil, &out)
		if err == nil {
			t.mu.Lock()
			t.first = at
			t.mu.Unlock()
			return out, nil
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		errs = append(errs, err)
	}
	return out, fmt.Errorf("%w: %w", ErrNoRouter, errors.Join(errs...))
}

func (t *Tier) do(ctx context.Context, method, target string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		var e routeapi.Error
		if json.NewDecoder(res.Body).Decode(&e) != nil {
			e.Error = "no reason given"
		}
		return fmt.Errorf("%s %s: %s: %s", method, target, res.Status, e.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, target, err)
	}
	return nil
}

// Calls lists the open calls.
func (t *Tier) Calls(ctx context.Context) ([]routeapi.Call, error) {
	return get[[]routeapi.Call](ctx, t, routeapi.PathCalls)
}

// Agents lists the agents.
func (t *Tier) Agents(ctx context.Context) ([]routeapi.Agent, error) {
	return get[[]routeapi.Agent](ctx, t, routeapi.PathAgents)
}

// Cluster lists routers, workers and media addresses.
func (t *Tier) Cluster(ctx context.Context) (routeapi.Cluster, error) {
	return get[routeapi.Cluster](ctx, t, routeapi.PathCluster)
}

// CallFacts is the history of one call.
func (t *Tier) CallFacts(ctx context.Context, call string) ([]routeapi.Fact, error) {
	return get[[]routeapi.Fact](ctx, t, routeapi.PathFacts+"?call="+url.QueryEscape(call))
}

// FactsAfter is the history behind a log index, limit facts or a few more.
func (t *Tier) FactsAfter(ctx context.Context, index uint64, limit int) ([]routeapi.Fact, error) {
	q := url.Values{"after": {strconv.FormatUint(index, 10)}, "limit": {strconv.Itoa(limit)}}
	return get[[]routeapi.Fact](ctx, t, routeapi.PathFacts+"?"+q.Encode())
}

// SetStatus changes an agent's status, as the agent or a supervisor would.
func (t *Tier) SetStatus(ctx context.Context, agent, status string) error {
	body, err := json.Marshal(routeapi.AgentStatus{Agent: agent, Status: status})
	if err != nil {
		return err
	}
	var errs []error
	for _, base := range t.bases {
		err := t.do(ctx, http.MethodPost, base+routeapi.PathAgentStatus, body, nil)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("set %s %s: %w", agent, status, errors.Join(errs...))
}
