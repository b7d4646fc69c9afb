package raftstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"trunkline/raftstore/raftstoretest"
)

// faultsFor lengthens TestHistoryUnderFaults: go test -run History ./raftstore -faults 10m
var faultsFor = flag.Duration("faults", 0, "how long TestHistoryUnderFaults goes on after its fixed faults, with random ones")

func TestMain(m *testing.M) {
	if ran, err := raftstoretest.RunProcess(); ran {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// processes is three nodes that run as processes of their own.
type processes []*raftstoretest.Process

// startProcesses starts them; prepare sees each before.
func startProcesses(tb testing.TB, prepare ...func(*raftstoretest.Process)) processes {
	tb.Helper()
	dir := tb.TempDir()
	ids := []string{"r1", "r2", "r3"}
	if err := raftstoretest.MakePKI(dir, ids...); err != nil {
		tb.Fatal(err)
	}
	voters := map[string]string{}
	for _, id := range ids {
		voters[id] = raftstoretest.FreeAddr(tb)
	}
	var list processes
	for _, id := range ids {
		p := &raftstoretest.Process{Stderr: raftstoretest.Output(tb), ProcessConfig: raftstoretest.ProcessConfig{
			ID: id, PKI: dir, Dir: filepath.Join(dir, id), Voters: voters,
			// The deadline is the product's; what a laden test machine's
			// disk does is not the question here.
			WriteDeadline: 3 * time.Second, MinFree: 1,
		}}
		for _, f := range prepare {
			f(p)
		}
		list = append(list, p)
	}
	for _, p := range list {
		start(tb, p)
		tb.Cleanup(p.Kill)
	}
	return list
}

func start(tb testing.TB, p *raftstoretest.Process) {
	tb.Helper()
	if err := p.Start(); err != nil {
		tb.Fatal(err)
	}
}

func signal(tb testing.TB, p *raftstoretest.Process, sig syscall.Signal) {
	tb.Helper()
	if err := p.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}

// roles waits until one of those that are asked leads and all know it.
func (list processes) roles(tb testing.TB) (leader *raftstoretest.Process, followers processes) {
	tb.Helper()
	raftstoretest.Await(tb, "a leader of the processes", func() bool {
		leader, followers = nil, nil
		known := ""
		for _, p := range list {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			id, self, err := p.Leader(ctx)
			cancel()
			if err != nil || id == "" || known != "" && id != known {
				return false
			}
			known = id
			if self {
				leader = p
			} else {
				followers = append(followers, p)
			}
		}
		return leader != nil
	})
	return leader, followers
}

// put writes to a register through one node.
func put(tb testing.TB, p *raftstoretest.Process, session string, seq uint64, value string) time.Duration {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	out, err := p.Do(ctx, raftstoretest.Op{Session: session, Seq: seq, Kind: raftstoretest.OpWrite, Key: session, Value: value})
	if err != nil || !out.OK {
		tb.Fatalf("%s: write %q: %+v, %v", p.ID, value, out, err)
	}
	return time.Since(began)
}

// same waits until all have applied the same and checks that it is the same.
func (list processes) same(tb testing.TB) {
	tb.Helper()
	hashes := map[string]string{}
	raftstoretest.Await(tb, "all to have applied as much", func() bool {
		var first uint64
		for i, p := range list {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			index, hash, err := p.Hash(ctx)
			cancel()
			if err != nil || i > 0 && index != first {
				return false
			}
			first, hashes[p.ID] = index, hash
		}
		return true
	})
	for _, p := range list {
		if hashes[p.ID] != hashes[list[0].ID] {
			tb.Errorf("states differ at equal index: %v", hashes)
		}
	}
}

// fault is something that happens to processes while clients are served.
type fault struct {
	name string
	run  func(tb testing.TB, list processes, c *clients)
}

// faults go on until the clients have been served after them.
var faults = []fault{
	{"the leader is killed and comes back", func(tb testing.TB, list processes, c *clients) {
		leader, _ := list.roles(tb)
		leader.Kill()
		c.served(tb, 50)
		start(tb, leader)
	}},
	{"a follower is killed and comes back", func(tb testing.TB, list processes, c *clients) {
		_, followers := list.roles(tb)
		followers[0].Kill()
		c.served(tb, 50)
		start(tb, followers[0])
	}},
	{"the leader is paused and wakes", func(tb testing.TB, list processes, c *clients) {
		leader, _ := list.roles(tb)
		signal(tb, leader, syscall.SIGSTOP)
		c.served(tb, 50) // by another leader
		signal(tb, leader, syscall.SIGCONT)
	}},
	{"a follower is paused and wakes", func(tb testing.TB, list processes, c *clients) {
		_, followers := list.roles(tb)
		signal(tb, followers[1], syscall.SIGSTOP)
		c.served(tb, 50)
		signal(tb, followers[1], syscall.SIGCONT)
	}},
	{"leadership is handed over", func(tb testing.TB, list processes, c *clients) {
		leader, followers := list.roles(tb)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := leader.Transfer(ctx, followers[0].ID); err != nil {
			tb.Logf("not handed over: %v", err) // a laden machine may be too slow for it
		}
	}},
	{"all are killed and come back", func(tb testing.TB, list processes, c *clients) {
		for _, p := range list {
			p.Kill()
		}
		for _, p := range list {
			start(tb, p)
		}
	}},
}

func TestHistoryUnderFaults(t *testing.T) {
	list := startProcesses(t)
	c := startClients(t, list)
	for _, f := range faults {
		t.Log(f.name)
		f.run(t, list, c)
		list.roles(t)
		c.served(t, 50)
	}
	if *faultsFor > 0 {
		seed := rand.Uint64()
		t.Logf("random faults of seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		for end := time.Now().Add(*faultsFor); time.Now().Before(end); {
			f := faults[random.IntN(len(faults))]
			t.Log(f.name)
			f.run(t, list, c)
			list.roles(t)
			c.served(t, 20+random.IntN(200))
			if c.len() > 2000 { // a checker's time grows faster than a history
				c.check(t)
				c = startClients(t, list)
			}
		}
	}
	c.check(t)
	list.same(t)
}

// A leader that was paused while it was asked for much, and replaced, must not
// act on any of that in a way that shows when it wakes.
func TestPausedLeaderDoesNoHarm(t *testing.T) {
	list := startProcesses(t)
	leader, followers := list.roles(t)
	put(t, leader, "before", 1, "x")
	signal(t, leader, syscall.SIGSTOP)
	// These wait in the paused process: it finds them when it wakes.
	const asked = 20
	late := make(chan error, asked)
	for i := range asked {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := leader.Do(ctx, raftstoretest.Op{
				Session: fmt.Sprint("late", i), Seq: 1, Kind: raftstoretest.OpAppend, Key: "log", Value: fmt.Sprintf("late%d,", i)})
			late <- err
		}()
	}
	took := put(t, followers[0], "while it is paused", 1, "y")
	t.Logf("next command committed %s after the pause", took)
	c := startClients(t, followers)
	c.served(t, 100)
	term := stats(t, followers[0]).Term
	signal(t, leader, syscall.SIGCONT)
	for range asked {
		if err := <-late; err != nil {
			t.Errorf("what the paused leader was asked: %v", err)
		}
	}
	c.served(t, 100)
	c.check(t)
	list.same(t)
	if now := stats(t, followers[0]).Term; now > term+1 {
		t.Errorf("term went from %d to %d: it would not be led", term, now)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := followers[1].Do(ctx, raftstoretest.Op{Session: "reader", Seq: 1, Kind: raftstoretest.OpRead, Key: "log"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range asked {
		seen[fmt.Sprintf("late%d,", i)] = 0
	}
	for _, part := range splitAfter(out.Value, ',') {
		seen[part]++
	}
	for part, n := range seen {
		if n != 1 {
			t.Errorf("%q was done %d times", part, n)
		}
	}
}

func splitAfter(s string, sep byte) (parts []string) {
	from := 0
	for i := range len(s) {
		if s[i] == sep {
			parts = append(parts, s[from:i+1])
			from = i + 1
		}
	}
	return parts
}

// failover ends the leader by a signal and returns how long a survivor's next
// command took.
func failover(tb testing.TB, list processes, sig syscall.Signal, name string) (leader *raftstoretest.Process, took time.Duration) {
	tb.Helper()
	leader, followers := list.roles(tb)
	put(tb, followers[0], "before "+name, 1, "x")
	signal(tb, leader, sig)
	return leader, put(tb, followers[0], "after "+name, 1, "x")
}

func TestKilledLeaderIsReplaced(t *testing.T) {
	list := startProcesses(t)
	leader, took := failover(t, list, syscall.SIGKILL, "kill")
	t.Logf("next command committed %s after the kill", took)
	if took > 10*time.Second { // a laden test machine; make bench-failover measures
		t.Errorf("next command took %s", took)
	}
	<-leader.Exited()
	start(t, leader)
	put(t, leader, "from the reborn", 1, "x")
	list.same(t)
}

func TestProcessThatEndedIsTold(t *testing.T) {
	list := startProcesses(t)
	list[0].Kill()
	if _, _, err := list[0].Leader(t.Context()); !errors.Is(err, raftstoretest.ErrEnded) {
		t.Errorf("asked after its end: %v", err)
	}
}
