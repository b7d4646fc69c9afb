package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one SIPp of a scenario.
type process struct {
	Command
	cmd  *exec.Cmd
	name string // of its files in the folder of traces: 1-register
	dir  string
	done chan struct{}
	err  error // exit, once done is closed
}

// patience is how long a phone may go on when the callers are done: it may
// still wait for the last answer, or for an INVITE that will never come.
const patience = 5 * time.Second

// Run tries one scenario. The error is the sentence that says what broke.
func (t *Tier) Run(ctx context.Context, s *Scenario) error {
	ctx, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	dir, err := t.traces(s)
	if err != nil {
		return err
	}
	var started []*process
	defer func() {
		for _, p := range started {
			p.kill()
		}
	}()
	for i, c := range s.Commands {
		p, err := t.start(s, c, dir, i+1)
		if err != nil {
			return err
		}
		started = append(started, p)
		if c.Background {
			if err := p.listening(ctx); err != nil {
				return err
			}
			continue
		}
		if err := p.wait(ctx); err != nil {
			return s.firstBroken(started, p)
		}
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, p := range started {
		if err := p.wait(patient); err != nil {
			return s.firstBroken(started, p)
		}
	}
	return t.judge(ctx, s)
}

// start runs a command with SIPp's traces switched on. A step that waits has
// the scenario's time, so that SIPp says at which one it waited in vain.
func (t *Tier) start(s *Scenario, c Command, dir string, n int) (*process, error) {
	p := &process{Command: c, dir: dir, done: make(chan struct{})}
	p.name = fmt.Sprintf("%d-%s", n, strings.TrimSuffix(filepath.Base(c.File), ".xml"))
	limit := int(s.limit().Milliseconds())
	args := append([]string{}, c.Args...)
	args = append(args, "-nostdin", "-trace_err", "-error_file", p.path(".errors"), "-trace_msg", "-message_file", p.path(".messages"),
		"-timeout", strconv.Itoa(limit)+"ms", "-timeout_error")
	if !strings.Contains(c.String(), "-recv_timeout") {
		args = append(args, "-recv_timeout", strconv.Itoa(limit/2))
	}
	p.cmd = t.lab.Toolchain().Command(context.Background(), "sipp", args...)
	p.cmd.Dir = s.Dir
	out, err := os.Create(p.path(".out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sipp: %w", err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

func (p *process) path(suffix string) string { return filepath.Join(p.dir, p.name+suffix) }

// wait is for the end of the command, with every call as the scenario has it.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	if p.running() {
		_ = p.cmd.Process.Signal(syscall.SIGKILL) // gone already is as good
		<-p.done
	}
}

var errNotListening = errors.New("sipp does not listen")

// listening waits until a phone's port is open.
func (p *process) listening(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		open, err := bound(p.Network, p.Addr)
		if err != nil || open {
			return err
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%w at %s: %w; see %s", errNotListening, p.Addr, p.err, p.path(".out"))
		case <-ctx.Done():
			return fmt.Errorf("%w at %s", errNotListening, p.Addr)
		}
	}
}
