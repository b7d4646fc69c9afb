package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// script is a process that runs a line of shell.
func script(t *testing.T, line string) (*process, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	p := &process{
		host: host{Name: "x"}, log: filepath.Join(t.TempDir(), "x.log"), revive: true,
		build: func() *exec.Cmd { return exec.Command("sh", "-c", line) },
		told: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		},
	}
	t.Cleanup(func() { p.end(0) })
	return p, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), lines...)
	}
}

func TestDaemonThatMustNotLiveOnIsStartedAgain(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	p, told := script(t, "if [ -e "+mark+" ]; then exec sleep 60; fi; touch "+mark+"; exit 3")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	again := func() bool { return len(told()) == 1 && p.running() }
	if !poll(await, again) {
		t.Fatalf("not started again: %q", told())
	}
	if p.died() {
		t.Error("counted as dead")
	}
}

func TestPanicIsFinal(t *testing.T) {
	p, told := script(t, "exit 2")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if !poll(await, p.died) {
		t.Error("exit code 2 does not count as a death")
	}
	if len(told()) != 0 {
		t.Errorf("started again: %q", told())
	}
}

func TestKilledWhileWaitingForItsNextLifeStaysDead(t *testing.T) {
	lives := filepath.Join(t.TempDir(), "lives")
	p, told := script(t, "echo >> "+lives+"; exit 1")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if !poll(await, func() bool { return len(told()) == 1 }) {
		t.Fatal("it does not end")
	}
	if err := p.end(0); err != nil {
		t.Fatal(err)
	}
	if poll(2*reviveAfter, func() bool { return p.running() || len(told()) > 1 }) {
		t.Error("it lives again")
	}
	if text, err := os.ReadFile(lives); err != nil || string(text) != "\n" {
		t.Errorf("lives %q, %v", text, err)
	}
}

func TestKillEndsTheWholeGroup(t *testing.T) {
	p, _ := script(t, "sleep 61 & sleep 62 & echo both; wait")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if !poll(await, func() bool { return strings.Contains(p.tail(5), "both") }) {
		t.Fatal("it does not start")
	}
	group := p.cmd.Process.Pid
	if err := p.end(0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-group, 0); err != syscall.ESRCH {
		t.Errorf("the group still exists: %v", err)
	}
	if p.died() || p.running() {
		t.Error("a killed process counts as dead by itself, or as running")
	}
}

func TestStopTermsThenKills(t *testing.T) {
	p, _ := script(t, "trap 'echo asked' TERM; echo up; while :; do sleep 1; done")
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if !poll(await, func() bool { return strings.Contains(p.tail(5), "up") }) {
		t.Fatal("it does not start")
	}
	if err := p.end(1500 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.tail(5), "asked") {
		t.Error("it was killed without being asked")
	}
}

func TestCPUCountsTheGroupAndEarlierLives(t *testing.T) {
	p, _ := script(t, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo spent; sleep 60")
	for life := range 2 {
		before := p.cpu()
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		spent := func() bool { return strings.Count(p.tail(5), "spent") == life+1 }
		if !poll(await, spent) {
			t.Fatal("it does not get on")
		}
		if used := p.cpu() - before; used < 20*time.Millisecond {
			t.Errorf("life %d used %v", life, used)
		}
		was := p.cpu()
		if err := p.end(0); err != nil {
			t.Fatal(err)
		}
		if p.cpu() < was {
			t.Errorf("the CPU of life %d is forgotten", life)
		}
	}
}
