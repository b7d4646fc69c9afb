package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a component's process group and its lives so far.
type process struct {
	host
	build func() *exec.Cmd
	log   string
	// revive starts it again when it has ended by itself with exit code 1 or 3,
	// as its systemd unit does: a daemon that must not live on relies on it.
	// Code 2 is a bad configuration or a panic, and final here.
	revive bool
	told   func(line string) // of a revival
	slack  time.Duration     // how late its timers may be, as in its unit; 0: as ours

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{} // closed when the main process of this life has ended
	ending  bool          // it has been told to end
	waiting bool          // for its revival
	revived int
	earlier time.Duration // CPU of earlier lives
}

const (
	reviveAfter = time.Second // RestartSec of the units
	reviveLimit = 5           // then it counts as dead
)

// start begins a life.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revived = 0
	return p.live()
}

// live begins a life, with p.mu held. The group of the main process is its
// own, so that a signal reaches all it has forked.
func (p *process) live() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	defer out.Close()
	cmd := p.build()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := startWith(cmd, p.slack); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.ending, p.waiting = cmd, done, false, false
	go func() {
		cmd.Wait()
		p.ended(cmd)
		close(done)
	}()
	return nil
}

// startWith starts a process whose timers may be late (PR_SET_TIMERSLACK). It takes
// that from the thread that makes it.
func startWith(cmd *exec.Cmd, slack time.Duration) error {
	if slack == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		return err
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	return cmd.Start()
}

// ended arranges for the next life where there is to be one.
func (p *process) ended(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := cmd.ProcessState.ExitCode()
	if !p.revive || p.ending || code != 1 && code != 3 || p.revived == reviveLimit {
		return
	}
	p.waiting = true
	p.revived++
	p.told(fmt.Sprintf("%s has ended with code %d and is started again", p.Name, code))
	time.AfterFunc(reviveAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cmd != cmd || p.ending {
			return // killed or restarted meanwhile
		}
		p.earlier += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if err := p.live(); err != nil {
			p.waiting = false
			p.told(err.Error())
		}
	})
}

// running says whether the main process is alive.
func (p *process) running() bool {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// between says whether it is between two lives, of which the second begins by
// itself.
func (p *process) between() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

// died says whether it ended without being told to.
func (p *process) died() bool {
	p.mu.Lock()
	expected := p.cmd == nil || p.ending || p.waiting
	p.mu.Unlock()
	return !expected && !p.running()
}

// signal reaches the whole group.
func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s has not been started", p.Name)
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// end sends SIGTERM to the main process, and SIGKILL to the group after wait
// (at once if wait is 0), and returns when the group is gone.
func (p *process) end(wait time.Duration) error {
	p.mu.Lock()
	if p.cmd == nil {
		p.mu.Unlock()
		return nil
	}
	p.ending = true
	group, done := p.cmd.Process.Pid, p.done
	p.mu.Unlock()
	used := groupCPU(group)
	if wait > 0 {
		syscall.Kill(group, syscall.SIGTERM) // gone already is as good
	}
	gone := func() bool {
		select {
		case <-done:
			return errors.Is(syscall.Kill(-group, 0), syscall.ESRCH)
		default:
			return false
		}
	}
	if wait == 0 || !poll(wait, gone) {
		if err := p.signal(syscall.SIGKILL); err != nil {
			return err
		}
		if !poll(5*time.Second, gone) {
			return fmt.Errorf("%s does not end, even by SIGKILL", p.Name)
		}
	}
	p.mu.Lock()
	p.earlier += used
	p.cmd, p.done = nil, nil
	p.mu.Unlock()
	return nil
}

// cpu is the processor time of all lives.
func (p *process) cpu() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return p.earlier
	}
	return p.earlier + groupCPU(p.cmd.Process.Pid)
}

// tail is the last n lines of the log.
func (p *process) tail(n int) string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-64<<10), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// userHZ is the unit of times in /proc, 100 on every Linux port.
const userHZ = 100

// groupCPU adds up the processor time of a process group's living members.
// Fields of /proc/<pid>/stat are counted from the end of the name, which may
// hold anything (proc_pid_stat(5)).
func groupCPU(group int) time.Duration {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	ticks := 0
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended since
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) < 13 || f[2] != strconv.Itoa(group) {
			continue
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		ticks += user + system
	}
	return time.Duration(ticks) * time.Second / userHZ
}

// poll asks until ok or until wait has passed.
func poll(wait time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(wait)
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}
