package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/url"
	"strconv"
	"sync"

	"trunkline/routerd/routeapi"
)

// commands are all there are, in the order in which they are listed.
var commands = sync.OnceValue(func() []command {
	var all []command
	for _, group := range [][]command{viewCommands, whyCommands, taskCommands, configCommands, replayCommands, whatifCommands, clusterCommands} {
		all = append(all, group...)
	}
	return all
})

var viewCommands = []command{
	{"status", "", "each router: leader, applied index, calls, hash of its state", plain(showStatus)},
	{"calls", "", "open calls, their owner, place and agent", view(routeapi.PathCalls, callTable)},
	{"queues", "", "waiting calls and agents of each queue", view(routeapi.PathQueues, queueTable)},
	{"agents", "", "status, state and phones of each agent", view(routeapi.PathAgents, agentTable)},
	{"cluster", "", "routers, media workers, media addresses, trunks", view(routeapi.PathCluster, clusterTable)},
	{"trunks", "", "channels of each trunk and how the way to it is by each edge", view(routeapi.PathTrunks, trunkTable)},
	{"facts", "[CALL|INDEX]", "the history of one call, or what follows a log index, 200 rows at most", plain(showFacts)},
	{"cdr", "", cdrHelp, cdr},
	{"totals", "", totalsHelp, totals},
	{"facts-digest", "", digestHelp, plain(showDigests)},
	{"agent-status", "AGENT STATUS", "set logged-out, available, on-break or training", agentStatus},
	{"ha1", "USER REALM", "read a password from stdin, print its digests for routing.yaml", plain(ha1)},
}

// view is a command that gets one path and prints it.
func view[T any](path string, rows func(io.Writer, T)) func(*flag.FlagSet) func(context.Context, *env, []string) error {
	return plain(func(ctx context.Context, e *env, words []string) error {
		if err := need(words); err != nil {
			return err
		}
		return show(ctx, e, path, rows)
	})
}

// show gets one path and prints it.
func show[T any](ctx context.Context, e *env, path string, rows func(io.Writer, T)) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v T
	if err := c.get(ctx, path, &v); err != nil {
		return err
	}
	p := e.printer()
	if p.json {
		return p.asJSON(v)
	}
	return p.table(func(w io.Writer) { rows(w, v) })
}

func showFacts(ctx context.Context, e *env, words []string) error {
	if len(words) > 1 {
		return errors.New("facts: one call or one log index")
	}
	return show(ctx, e, factsPath(words), factTable)
}

// factsPath reads the argument of facts: a log index is a number, a call's id
// never is.
func factsPath(words []string) string {
	if len(words) == 0 {
		return routeapi.PathFacts
	}
	if _, err := strconv.ParseUint(words[0], 10, 64); err == nil {
		return routeapi.PathFacts + "?after=" + words[0]
	}
	return routeapi.PathFacts + "?call=" + url.QueryEscape(words[0])
}

func agentStatus(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	reason := fs.String("reason", "", "why, as reports show it")
	return func(ctx context.Context, e *env, words []string) error {
		if err := need(words, "the agent", "the status"); err != nil {
			return err
		}
		return post(ctx, e, "POST", routeapi.PathAgentStatus, routeapi.AgentStatus{Agent: words[0], Status: words[1], Reason: *reason}, nil)
	}
}

// post sends a JSON body and reads the answer into v, unless nil.
func post(ctx context.Context, e *env, method, path string, body, v any) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.do(ctx, method, path, data, v)
}
