// Command routerctl shows and changes what the routers hold: it speaks to the
// HTTPS API of any of them with the operator's certificate. Tables are for
// people, -json is for programs.
package main

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"trunkline/routerd/routeapi"
)

const usage = `usage: routerctl [flags] COMMAND

  status                       each router: leader, applied index, calls
  calls                        open calls, their owner, place and agent
  queues                       waiting calls and agents of each queue
  agents                       status, state and phones of each agent
  cluster                      routers, media workers, media addresses
  facts CALL                   the history of one call
  facts [INDEX]                the history after a log index, 200 rows at most
  cdr [-csv] [-legs] ...       detail records of calls that are over; cdr -h
  apply FILE                   replace the routing tree by FILE (YAML)
  agent-status AGENT STATUS    logged-out, available, on-break, training
  ha1 USER REALM               read a password from stdin, print its digests

flags:
`

// pagedCommands are those that read page after page and have flags of their own.
var pagedCommands = map[string]func(*flag.FlagSet) func(context.Context, *client, printer, []string) error{
	"cdr": cdrFlags,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "routerctl:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("routerctl", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage); fs.PrintDefaults() }
	api := fs.String("api", "", "host:port of the routers' API, comma-separated; the first that answers is asked")
	ca := fs.String("ca", "", "certificate file of the private CA")
	cert := fs.String("cert", "", "operator's certificate file")
	key := fs.String("key", "", "operator's key file")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return errors.New("which command?")
	}
	name := fs.Arg(0)
	// Commands with flags of their own may run for as long as there are pages.
	var paged func(context.Context, *client, printer, []string) error
	if own, ok := pagedCommands[name]; ok {
		paged = own(fs)
	}
	if err := fs.Parse(fs.Args()[1:]); err != nil { // flags may stand behind the command too
		return err
	}
	rest := fs.Args()
	if name == "ha1" {
		return ha1(rest, stdin, stdout)
	}
	c, err := newClient(*api, *ca, *cert, *key)
	if err != nil {
		return err
	}
	p := printer{out: stdout, json: *asJSON}
	if paged != nil {
		return paged(ctx, c, p, rest)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	switch name {
	case "status":
		return showStatus(ctx, c, p)
	case "calls":
		return show(ctx, c, p, routeapi.PathCalls, callTable)
	case "queues":
		return show(ctx, c, p, routeapi.PathQueues, queueTable)
	case "agents":
		return show(ctx, c, p, routeapi.PathAgents, agentTable)
	case "cluster":
		return show(ctx, c, p, routeapi.PathCluster, clusterTable)
	case "facts":
		return show(ctx, c, p, factsPath(rest), factTable)
	case "apply":
		if len(rest) != 1 {
			return errors.New("apply: which file?")
		}
		tree, err := os.ReadFile(rest[0])
		if err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		return c.send(ctx, "PUT", routeapi.PathRouting, tree)
	case "agent-status":
		if len(rest) != 2 {
			return errors.New("agent-status: needs an agent and a status")
		}
		body, err := json.Marshal(routeapi.AgentStatus{Agent: rest[0], Status: rest[1]})
		if err != nil {
			return err
		}
		return c.send(ctx, "POST", routeapi.PathAgentStatus, body)
	}
	return fmt.Errorf("%q is not a command: routerctl -h lists them", name)
}

// factsPath reads the argument of facts: a log index is a number, a call's id
// never is.
func factsPath(args []string) string {
	if len(args) == 0 {
		return routeapi.PathFacts
	}
	if _, err := strconv.ParseUint(args[0], 10, 64); err == nil {
		return routeapi.PathFacts + "?after=" + args[0]
	}
	return routeapi.PathFacts + "?call=" + url.QueryEscape(args[0])
}

// ha1 prints the digests that routing.yaml stores instead of a password
// (RFC 7616 section 3.4.2).
func ha1(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("ha1: needs a user and a realm; the password is read from stdin")
	}
	raw, err := io.ReadAll(io.LimitReader(stdin, 4096))
	if err != nil {
		return fmt.Errorf("ha1: read the password: %w", err)
	}
	password := strings.TrimRight(string(raw), "\r\n")
	if password == "" {
		return errors.New("ha1: the password on stdin is empty")
	}
	a1 := []byte(args[0] + ":" + args[1] + ":" + password)
	s, m := sha256.Sum256(a1), md5.Sum(a1)
	fmt.Fprintf(stdout, "ha1_sha256: %s\nha1_md5: %s\n", hex.EncodeToString(s[:]), hex.EncodeToString(m[:]))
	return nil
}

// printer writes one answer as JSON or as a table.
type printer struct {
	out  io.Writer
	json bool
}

func (p printer) asJSON(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p printer) table(rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

// show gets one path and prints it.
func show[T any](ctx context.Context, c *client, p printer, path string, rows func(io.Writer, T)) error {
	var v T
	if err := c.get(ctx, path, &v); err != nil {
		return err
	}
	if p.json {
		return p.asJSON(v)
	}
	return p.table(func(w io.Writer) { rows(w, v) })
}
