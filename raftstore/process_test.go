package raftstore_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// A process of its own for each node, so that it can be killed or stopped as
// the system does it. It takes lines "propose X" and "leader" and answers
// "applied X" and "leader ID".

const childEnv = "RAFTSTORE_TEST_NODE"

type childConfig struct {
	ID, PKI, Dir string
	Voters       map[string]string
}

func TestMain(m *testing.M) {
	if conf := os.Getenv(childEnv); conf != "" {
		if err := runChild(conf); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runChild(conf string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		return err
	}
	tlsConf, err := raftstoretest.ReadTLS(c.PKI, c.ID+".router.test")
	if err != nil {
		return err
	}
	s, err := raftstore.Open(raftstore.Config{
		ID: c.ID, Listen: c.Voters[c.ID], Voters: c.Voters, Dir: c.Dir,
		TLS: tlsConf, CheckPeer: raftstoretest.RouterOnly,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		// The deadline is the product's; what a laden test machine's disk
		// does is not the question here.
		WriteDeadline: 3 * time.Second,
	}, &raftstoretest.Journal{})
	if err != nil {
		return err
	}
	defer s.Abort()
	var out sync.Mutex
	say := func(line string) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(line)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, what, _ := strings.Cut(in.Text(), " ")
		if verb == "leader" {
			id, _ := s.Leader()
			say("leader " + id)
			continue
		}
		go func() {
			reply, _, err := s.Propose(context.Background(), []byte(what))
			if err != nil {
				reply = []byte("failed " + err.Error())
			}
			say(string(reply))
		}()
	}
	return in.Err()
}

// child is a node's process.
type child struct {
	conf  childConfig
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

func (c *child) start(tb testing.TB) {
	tb.Helper()
	conf, err := json.Marshal(c.conf)
	if err != nil {
		tb.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(conf))
	if t, ok := tb.(*testing.T); ok {
		c.cmd.Stderr = t.Output()
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	lines := make(chan string, 100)
	c.lines = lines
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			lines <- in.Text()
		}
	}()
}

func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// ask sends a line and waits for the answer.
func (c *child) ask(tb testing.TB, line string) string {
	tb.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		tb.Fatalf("%s: %v", c.conf.ID, err)
	}
	select {
	case answer, ok := <-c.lines:
		if !ok {
			tb.Fatalf("%s ended", c.conf.ID)
		}
		return answer
	case <-time.After(30 * time.Second):
		tb.Fatalf("%s does not answer %q", c.conf.ID, line)
	}
	return ""
}

func startChildren(tb testing.TB) []*child {
	tb.Helper()
	dir := tb.TempDir()
	authority := raftstoretest.NewAuthority(tb)
	voters := map[string]string{}
	var list []*child
	for _, id := range []string{"r1", "r2", "r3"} {
		authority.Files(dir, id+".router.test")
		voters[id] = raftstoretest.FreeAddr(tb)
		list = append(list, &child{conf: childConfig{ID: id, PKI: dir, Dir: filepath.Join(dir, id), Voters: voters}})
	}
	for _, c := range list {
		c.start(tb)
		tb.Cleanup(c.kill)
	}
	return list
}

// roles waits until all agree on a leader.
func roles(tb testing.TB, list []*child) (leader, survivor *child) {
	tb.Helper()
	raftstoretest.Await(tb, "a leader of the processes", func() bool {
		leader, survivor = nil, nil
		first := list[0].ask(tb, "leader")
		for _, c := range list {
			if c.ask(tb, "leader") != first {
				return false
			}
			if first == "leader "+c.conf.ID {
				leader = c
			} else {
				survivor = c
			}
		}
		return leader != nil
	})
	return leader, survivor
}

// failover ends the leader by a signal and returns how long a survivor's next
// command took.
func failover(tb testing.TB, list []*child, sig syscall.Signal, name string) (leader *child, took time.Duration) {
	tb.Helper()
	leader, survivor := roles(tb, list)
	survivor.ask(tb, "propose before "+name)
	if err := leader.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	if got := survivor.ask(tb, "propose after "+name); got != "applied after "+name {
		tb.Fatalf("survivor answers %q", got)
	}
	return leader, time.Since(began)
}

func TestKilledLeaderIsReplaced(t *testing.T) {
	list := startChildren(t)
	leader, took := failover(t, list, syscall.SIGKILL, "kill")
	t.Logf("next command committed %s after the kill", took)
	if took > 10*time.Second {
		t.Errorf("next command took %s", took)
	}
	leader.cmd.Wait()
	leader.start(t)
	if got := leader.ask(t, "propose from the reborn"); got != "applied from the reborn" {
		t.Errorf("the reborn node answers %q", got)
	}
}

func TestStoppedLeaderIsReplacedAndComesBack(t *testing.T) {
	list := startChildren(t)
	leader, took := failover(t, list, syscall.SIGSTOP, "stop")
	t.Logf("next command committed %s after the stop", took)
	if took > 10*time.Second {
		t.Errorf("next command took %s", took)
	}
	if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := leader.ask(t, "propose from the woken"); got != "applied from the woken" {
		t.Errorf("the woken node answers %q", got)
	}
}

// BenchmarkFailoverOfProcesses measures from the signal to the next committed
// command of a survivor.
func BenchmarkFailoverOfProcesses(b *testing.B) {
	for name, sig := range map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP} {
		b.Run(name, func(b *testing.B) {
			list := startChildren(b)
			all := make(chan []time.Duration, b.N)
			for i := range b.N {
				leader, took := failover(b, list, sig, fmt.Sprint(i))
				all <- []time.Duration{took}
				if sig == syscall.SIGKILL {
					leader.cmd.Wait()
					leader.start(b)
				} else if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
					b.Fatal(err)
				}
			}
			close(all)
			report(b, all)
		})
	}
}
