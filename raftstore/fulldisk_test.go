package raftstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

// smallDisk mounts a disk of its own for each node's Dir. It has room for a
// few of the log's segments.
func smallDisk(t *testing.T) func(*raftstoretest.Process) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: a full disk needs root, to mount one")
	}
	return func(p *raftstoretest.Process) {
		t.Helper()
		if err := os.MkdirAll(p.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", p.Dir).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() {
			p.Kill()
			if out, err := exec.Command("umount", p.Dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
	}
}

// fillDisk leaves no byte free and returns the file that takes the space.
func fillDisk(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, step := range []int{1 << 20, 4 << 10, 1} {
		for b := make([]byte, step); ; {
			if _, err := f.Write(b); err != nil {
				break
			}
		}
	}
	return ballast
}

// logOf keeps what a process logs.
type logOf struct {
	mu sync.Mutex
	bytes.Buffer
	also io.Writer
}

func (l *logOf) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.also.Write(b)
	return l.Buffer.Write(b)
}

func (l *logOf) has(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.String(), what)
}

func TestFullDisk(t *testing.T) {
	for _, whose := range []string{"leader", "follower"} {
		t.Run(whose, func(t *testing.T) {
			mount := smallDisk(t)
			logs := map[string]*logOf{}
			list := startProcesses(t, mount, func(p *raftstoretest.Process) {
				p.MinFree = 20 << 20
				logs[p.ID] = &logOf{also: p.Stderr}
				p.Stderr = logs[p.ID]
			})
			leader, followers := list.roles(t)
			full, survivors := leader, followers
			if whose == "follower" {
				full, survivors = followers[0], processes{leader, followers[1]}
			}
			put(t, survivors[0], "before", 1, "kept")
			ballast := fillDisk(t, full.Dir)

			// Until a segment is full there is room that was set aside.
			pad := strings.Repeat("x", 200<<10)
			acknowledged, slowest := uint64(0), time.Duration(0)
			ended := func() bool {
				select {
				case <-full.Exited():
					return true
				default:
					return false
				}
			}
			for !ended() {
				if acknowledged > 500 {
					t.Fatal("100 MB were written to a full disk")
				}
				acknowledged++
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				began := time.Now()
				_, err := survivors[0].Do(ctx, raftstoretest.Op{Session: "load", Seq: acknowledged,
					Kind: raftstoretest.OpWrite, Key: "load", Value: fmt.Sprint(acknowledged), Pad: pad})
				cancel()
				if err != nil {
					t.Fatalf("command %d: %v", acknowledged, err)
				}
				slowest = max(slowest, time.Since(began))
			}
			t.Logf("ended after %d commands; the slowest took %s", acknowledged, slowest)
			// The leader's death is in there. The bound is the product's 1 s
			// and some for a laden test machine.
			if slowest > 3*time.Second {
				t.Errorf("a command took %s", slowest)
			}
			if log := logs[full.ID]; !log.has("node can't go on") || !log.has("disk full") || !log.has("free space on the disk of "+full.Dir) {
				t.Error("its log does not say what to do")
			}
			if full.ExitCode() != 1 {
				t.Errorf("it ended with status %d", full.ExitCode())
			}
			// Started again it says so at once, and is not there to be given
			// work.
			start(t, full)
			select {
			case <-full.Exited():
			case <-time.After(30 * time.Second):
				t.Fatal("it starts on a full disk")
			}
			if !logs[full.ID].has("are needed to start: free space") {
				t.Error("its log does not say why it does not start")
			}
			put(t, survivors[1], "while it is down", 1, "kept")

			// With room again nothing is missing.
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			start(t, full)
			put(t, full, "after", 1, "kept")
			list.same(t)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			for i, key := range []string{"before", "while it is down", "after", "load"} {
				want := "kept"
				if key == "load" {
					want = fmt.Sprint(acknowledged)
				}
				out, err := full.Do(ctx, raftstoretest.Op{Session: "reader", Seq: uint64(i + 1), Kind: raftstoretest.OpRead, Key: key})
				if err != nil || out.Value != want {
					t.Errorf("%s holds %q, %v, want %q", key, out.Value, err, want)
				}
			}
			full.Kill()
			if _, err := raftstore.VerifyDir(full.Dir, raftstoretest.NewRegisters().Restore); err != nil {
				t.Errorf("its folder: %v", err)
			}
		})
	}
}
