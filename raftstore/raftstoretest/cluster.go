package raftstoretest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"trunkline/raftstore"
)

// Node is one member of a Cluster; Store is nil while it is down.
type Node struct {
	ID      string
	Addr    string
	Dir     string
	Config  raftstore.Config // as it was last started
	Machine raftstore.StateMachine
	Store   *raftstore.Store

	fatal chan error
}

// Journal returns the node's machine when it is a Journal.
func (n *Node) Journal() *Journal { return n.Machine.(*Journal) }

// Fatal gets what the store gave to OnFatal.
func (n *Node) Fatal() <-chan error { return n.fatal }

// Cluster is routers r1, r2 ... on loopback.
type Cluster struct {
	tb        testing.TB
	Authority *Authority
	Nodes     []*Node
	machine   func(id string) raftstore.StateMachine
}

// New makes a cluster of n nodes, none started, and stops at the test's end
// those that run. machine makes a node's state machine at each start; nil means
// a Journal.
func New(tb testing.TB, n int, machine func(id string) raftstore.StateMachine) *Cluster {
	tb.Helper()
	if machine == nil {
		machine = func(string) raftstore.StateMachine { return &Journal{} }
	}
	c := &Cluster{tb: tb, Authority: NewAuthority(tb), machine: machine}
	dir := tb.TempDir()
	voters := map[string]string{}
	for i := range n {
		id := fmt.Sprintf("r%d", i+1)
		node := &Node{ID: id, Addr: FreeAddr(tb), Dir: filepath.Join(dir, id), fatal: make(chan error, 1)}
		voters[id] = node.Addr
		node.Config = raftstore.Config{
			ID:        id,
			Listen:    node.Addr,
			Voters:    voters,
			Dir:       node.Dir,
			TLS:       c.Authority.TLS(id + ".router.trunkline.internal"),
			CheckPeer: RouterOnly,
			Logger:    Logger(tb).With("node", id),
			OnFatal:   func(err error) { node.fatal <- err },
			// A laden test machine is not a hung disk.
			WriteDeadline: 2 * time.Second,
		}
		c.Nodes = append(c.Nodes, node)
	}
	tb.Cleanup(func() {
		for _, n := range c.Nodes {
			if n.Store != nil {
				n.Store.Abort()
			}
		}
	})
	return c
}

// StartAll starts every node that is down and waits for a leader.
func (c *Cluster) StartAll() {
	c.tb.Helper()
	for _, n := range c.Nodes {
		if n.Store == nil {
			c.Start(n)
		}
	}
	c.Leader()
}

// Start starts a node, with the files of its last life if it had one.
func (c *Cluster) Start(n *Node) {
	c.tb.Helper()
	n.Machine = c.machine(n.ID)
	s, err := raftstore.Open(n.Config, n.Machine)
	if err != nil {
		c.tb.Fatalf("start %s: %v", n.ID, err)
	}
	n.Store = s
}

// Kill stops a node as a crash would.
func (c *Cluster) Kill(n *Node) {
	n.Store.Abort()
	n.Store = nil
}

// Stop shuts a node down in order.
func (c *Cluster) Stop(n *Node) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Store.Shutdown(ctx); err != nil {
		c.tb.Fatalf("stop %s: %v", n.ID, err)
	}
	n.Store = nil
}

// Leader waits until one node leads and every running node knows it.
func (c *Cluster) Leader() *Node {
	c.tb.Helper()
	var leader *Node
	Await(c.tb, "one leader known to all", func() bool {
		leader = nil
		for _, n := range c.Nodes {
			if n.Store == nil {
				continue
			}
			if _, self := n.Store.Leader(); self {
				if leader != nil {
					return false
				}
				leader = n
			}
		}
		if leader == nil {
			return false
		}
		for _, n := range c.Nodes {
			if n.Store == nil {
				continue
			}
			if id, _ := n.Store.Leader(); id != leader.ID {
				return false
			}
		}
		return true
	})
	return leader
}

// Followers returns the running nodes other than the leader.
func (c *Cluster) Followers() []*Node {
	c.tb.Helper()
	leader := c.Leader()
	var list []*Node
	for _, n := range c.Nodes {
		if n.Store != nil && n != leader {
			list = append(list, n)
		}
	}
	return list
}

// Propose proposes on a node and fails the test if that takes too long.
func (c *Cluster) Propose(n *Node, data string) (reply string, index uint64) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitBound)
	defer cancel()
	r, index, err := n.Store.Propose(ctx, []byte(data))
	if err != nil {
		c.tb.Fatalf("propose %q on %s: %v", data, n.ID, err)
	}
	return string(r), index
}

// awaitBound is the longest a condition is waited for.
const awaitBound = 30 * time.Second

// Await waits for a condition.
func Await(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	bound := time.NewTimer(awaitBound)
	defer bound.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-bound.C:
			tb.Fatalf("waited %s in vain for %s", awaitBound, what)
		}
	}
}

// FreeAddr returns a loopback address that was free a moment ago. Its host is
// this process's own, so that the port stays free while a node is down: those
// that the system gives to outgoing connections are 127.0.0.1's.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	addr, err := freeAddr()
	if err != nil {
		tb.Fatal(err)
	}
	return addr
}

// FreeAddrs returns one for each id.
func FreeAddrs(ids ...string) (map[string]string, error) {
	all := map[string]string{}
	for _, id := range ids {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		all[id] = addr
	}
	return all, nil
}

func freeAddr() (string, error) {
	pid := os.Getpid()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.20.%d.%d:0", pid/250%250, 1+pid%250))
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// Logger logs to the test, from information upwards, and nothing to a
// benchmark.
func Logger(tb testing.TB) *slog.Logger {
	if _, bench := tb.(*testing.B); bench {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(Output(tb), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Output writes to the test as long as it runs, and nothing for a benchmark.
func Output(tb testing.TB) io.Writer {
	if _, bench := tb.(*testing.B); bench {
		return io.Discard
	}
	out := &output{to: tb.Output()}
	tb.Cleanup(out.end)
	return out
}

// output writes to a test as long as it runs: a library's last goroutines may
// log a moment after their node was closed.
type output struct {
	mu sync.Mutex
	to io.Writer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.to.Write(b)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = io.Discard
}
