package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settled waits until every running component is ready: daemons and edges
// answer /readyz, and the dispatchers of edges and SBCs hold every running
// destination for active. It fails at once when a component dies.
func (l *Lab) settled(ctx context.Context) error {
	var missing string
	for {
		if died := l.Died(); len(died) > 0 {
			return fmt.Errorf("%s ended; its last lines:\n%s", died[0], l.Tail(died[0], 20))
		}
		if missing = l.notReady(ctx); missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			name, _, _ := strings.Cut(missing, " ")
			return fmt.Errorf("%s: %w; last lines of %s:\n%s", missing, ctx.Err(), name, l.Tail(name, 20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// notReady names the first component that is not ready, and why; "" if all are.
func (l *Lab) notReady(ctx context.Context) string {
	for _, h := range l.plan.hosts() {
		if l.processes[h.Name].between() {
			return h.Name + " is being started again"
		}
	}
	for _, kind := range [][]host{l.plan.Workers, l.plan.Routers, l.plan.Edges} {
		for _, h := range kind {
			if err := l.httpReady(ctx, h, "/readyz"); err != nil {
				return fmt.Sprintf("%s is not ready (%v)", h.Name, err)
			}
		}
	}
	for _, h := range l.plan.Edges {
		if missing := l.inactive(ctx, h, append(l.plan.Routers, l.plan.SBCs...)); missing != "" {
			return missing
		}
	}
	for _, h := range l.plan.SBCs {
		if missing := l.inactive(ctx, h, l.plan.Edges); missing != "" {
			return missing
		}
	}
	return ""
}

func (l *Lab) httpReady(ctx context.Context, h host, path string) error {
	if !l.Running(h.Name) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s:%d%s", h.IP, PortMetrics, path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s", url, res.Status)
	}
	return nil
}

// Calm tells whether every running router takes calls and refuses none for its
// load. On a machine that is busy with other things a router refuses new calls
// before it is late with those it has.
func (l *Lab) Calm(ctx context.Context) bool {
	for _, h := range l.plan.Routers {
		if !l.Running(h.Name) {
			continue
		}
		if l.httpReady(ctx, h, "/readyz") != nil || l.loss(ctx, h) != "0" {
			return false
		}
	}
	return true
}

// loss is the share of new calls that a router refuses, as its metrics say; empty
// if they don't.
func (l *Lab) loss(ctx context.Context, h host) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/metrics", h.IP, PortMetrics), nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	for in := bufio.NewScanner(res.Body); in.Scan(); {
		if value, ok := strings.CutPrefix(in.Text(), "routerd_overload_loss_ratio "); ok {
			return value
		}
	}
	return ""
}

// inactive names the first of the running others that h's dispatcher does not
// hold for active.
func (l *Lab) inactive(ctx context.Context, h host, others []host) string {
	if !l.Running(h.Name) {
		return ""
	}
	active, err := l.Active(ctx, h.Name)
	if err != nil {
		return fmt.Sprintf("%s is not ready (%v)", h.Name, err)
	}
	for _, o := range others {
		if l.Running(o.Name) && !active[o.Name] {
			return fmt.Sprintf("%s does not hold %s for active", h.Name, o.Name)
		}
	}
	return ""
}

// Active says to which components a Kamailio's dispatcher sends calls; a
// router counts when it does on all its ports.
func (l *Lab) Active(ctx context.Context, name string) (map[string]bool, error) {
	var list struct {
		Records []struct {
			Set struct {
				Targets []struct {
					Dest struct {
						URI   string `json:"URI"`
						Flags string `json:"FLAGS"`
					} `json:"DEST"`
				} `json:"TARGETS"`
			} `json:"SET"`
		} `json:"RECORDS"`
	}
	if err := l.RPC(ctx, name, "dispatcher.list", nil, &list); err != nil {
		return nil, err
	}
	active := map[string]bool{}
	for _, record := range list.Records {
		for _, target := range record.Set.Targets {
			for _, h := range l.plan.hosts() {
				if !strings.Contains(target.Dest.URI, ":"+h.IP+":") {
					continue
				}
				up, seen := active[h.Name]
				// A active, T: one ping missed and still in use, I inactive, D disabled.
				used := strings.ContainsAny(target.Dest.Flags, "AT")
				active[h.Name] = used && (up || !seen)
			}
		}
	}
	return active, nil
}

// RPC calls a Kamailio's RPC command ("edge-1", "dispatcher.list") and decodes
// its result into into, which may be nil.
func (l *Lab) RPC(ctx context.Context, name, method string, params []any, into any) error {
	if _, err := l.process(name); err != nil {
		return err
	}
	if params == nil {
		params = []any{} // null is refused
	}
	request, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("encode the request %s: %w", method, err)
	}
	// The answer goes to the address the request comes from.
	own, err := os.CreateTemp(l.path("run"), "rpc-*")
	if err != nil {
		return fmt.Errorf("name a socket: %w", err)
	}
	own.Close()
	os.Remove(own.Name())
	defer os.Remove(own.Name())
	conn, err := net.DialUnix("unixgram",
		&net.UnixAddr{Name: own.Name(), Net: "unixgram"},
		&net.UnixAddr{Name: l.path("run", name+".rpc"), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("open the control socket of %s: %w", name, err)
	}
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if limit := time.Now().Add(2 * time.Second); !ok || limit.Before(deadline) {
		deadline = limit
	}
	conn.SetDeadline(deadline)
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("ask %s for %s: %w", name, method, err)
	}
	answer := make([]byte, 256<<10)
	n, err := conn.Read(answer)
	if err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", name, method, err)
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer[:n], &reply); err != nil {
		return fmt.Errorf("decode the answer of %s to %s: %w", name, method, err)
	}
	if reply.Error != nil {
		return fmt.Errorf("%s refused %s: %d %s", name, method, reply.Error.Code, reply.Error.Message)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Result, into); err != nil {
		return fmt.Errorf("decode the result of %s from %s: %w", method, name, err)
	}
	return nil
}

// portsFree fails with one sentence if another program has a port of ours.
func (l *Lab) portsFree() error {
	check := func(network, address string) error {
		var err error
		if network == "udp" {
			var c net.PacketConn
			if c, err = net.ListenPacket(network, address); err == nil {
				return c.Close()
			}
		} else {
			var c net.Listener
			if c, err = net.Listen(network, address); err == nil {
				return c.Close()
			}
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s port %s is in use, by another lab perhaps: stop what `ss -lnp` shows there and run this again", strings.ToUpper(network), address)
		}
		return fmt.Errorf("try %s port %s: %w", network, address, err)
	}
	type ports struct {
		hosts    []host
		tcp, udp []int
	}
	all := []ports{
		{l.plan.SBCs, []int{PortSIP, PortTrunk}, []int{PortSIP}},
		{l.plan.Edges, []int{PortTrunk, PortInternal, PortAgents, PortAgentsTLS, PortMetrics}, []int{PortAgents}},
	}
	if !l.options.edgesOnly {
		all = append(all,
			ports{l.plan.Routers, append([]int{PortRaft, PortGossip, PortAPI, PortMetrics}, routerPorts...), []int{PortGossip}},
			ports{l.plan.Workers, []int{PortNG, PortNGPlain, PortReplication, PortGossip, PortMetrics}, []int{PortNGPlain, PortGossip}})
	}
	for _, kind := range all {
		for _, h := range kind.hosts {
			for _, port := range kind.tcp {
				if err := check("tcp", fmt.Sprintf("%s:%d", h.IP, port)); err != nil {
					return err
				}
			}
			for _, port := range kind.udp {
				if err := check("udp", fmt.Sprintf("%s:%d", h.IP, port)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// each runs do for all hosts at once and joins what went wrong.
func each(hosts []host, do func(h host) error) error {
	faults := make([]error, len(hosts))
	var wait sync.WaitGroup
	for i, h := range hosts {
		wait.Go(func() { faults[i] = do(h) })
	}
	wait.Wait()
	return errors.Join(faults...)
}
