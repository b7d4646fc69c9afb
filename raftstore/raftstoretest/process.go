package raftstoretest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
)

// A process of its own for each node, so that it can be killed, stopped or cut
// off as the system does it. The program is the caller's own, started again
// with processEnv set: its main, or TestMain, calls RunProcess first. Requests
// and answers are JSON lines on its standard input and output.

const processEnv = "RAFTSTORE_TEST_NODE"

// ProcessConfig is a node that runs as a process.
type ProcessConfig struct {
	ID, PKI, Dir  string
	Voters        map[string]string
	WriteDeadline time.Duration // see raftstore.Config
	MinFree       int64
	Archive       bool
}

// MakePKI writes what processes with these ids need into dir.
func MakePKI(dir string, ids ...string) error {
	a, err := newIssuer()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := a.files(dir, id+".router.test"); err != nil {
			return err
		}
	}
	return nil
}

// Process is a node's process. Its methods may be used side by side, but for
// Start, Kill and Wait.
type Process struct {
	ProcessConfig
	Prefix []string  // put before the command, such as ip netns exec NAME
	Stderr io.Writer // gets its log

	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	stdin  io.WriteCloser

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan answer
	over    bool
}

type request struct {
	Tag  uint64        `json:"tag"`
	Verb string        `json:"verb"`
	Data string        `json:"data,omitempty"`
	Wait time.Duration `json:"wait,omitempty"`
	Load Load          `json:"load,omitzero"`
}

type answer struct {
	Tag  uint64          `json:"tag"`
	Data json.RawMessage `json:"data,omitempty"`
	Err  string          `json:"err,omitempty"`
}

// ErrEnded is returned by what is asked of a process that ended.
var ErrEnded = errors.New("raftstoretest: the process ended")

// Start starts the process, again if it ended.
func (p *Process) Start() error {
	conf, err := json.Marshal(p.ProcessConfig)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	args := append(append([]string(nil), p.Prefix...), self)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), processEnv+"="+string(conf))
	p.cmd.Stderr = p.Stderr
	// It must not outlive a test that was killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.ID, err)
	}
	p.mu.Lock()
	p.pending, p.over = map[uint64]chan answer{}, false
	p.mu.Unlock()
	p.exited = make(chan struct{})
	go p.read(stdout, p.cmd, p.exited)
	return nil
}

// read hands answers out until the process ends.
func (p *Process) read(out io.Reader, cmd *exec.Cmd, exited chan struct{}) {
	in := bufio.NewScanner(out)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var a answer
		if json.Unmarshal(in.Bytes(), &a) != nil {
			continue // a test binary's own words
		}
		p.mu.Lock()
		to := p.pending[a.Tag]
		delete(p.pending, a.Tag)
		p.mu.Unlock()
		if to != nil {
			to <- a
		}
	}
	cmd.Wait()
	p.mu.Lock()
	p.over = true
	for _, to := range p.pending {
		close(to)
	}
	p.pending = nil
	p.mu.Unlock()
	close(exited)
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode is what it ended with; -1 for a signal.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// PID is the process's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the process as kill -9 does, if it runs, and waits for its end.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.exited
}

// ask sends a request and waits for the answer until ctx ends.
func (p *Process) ask(ctx context.Context, r request, into any) error {
	to := make(chan answer, 1)
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return ErrEnded
	}
	p.next++
	r.Tag = p.next
	p.pending[r.Tag] = to
	line := append(encode(r), '\n')
	// A stopped process does not read: its pipe holds more than a test asks.
	_, err := p.stdin.Write(line)
	p.mu.Unlock()
	if err != nil {
		return ErrEnded
	}
	select {
	case a, ok := <-to:
		switch {
		case !ok:
			return ErrEnded
		case a.Err != "":
			return errors.New(a.Err)
		case into == nil:
			return nil
		}
		return json.Unmarshal(a.Data, into)
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.pending, r.Tag)
		p.mu.Unlock()
		return ctx.Err()
	}
}

// Propose has the node propose a command until ctx ends and returns the reply.
func (p *Process) Propose(ctx context.Context, data string) (reply string, err error) {
	wait := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline)
	}
	err = p.ask(ctx, request{Verb: "propose", Data: data, Wait: wait}, &reply)
	return reply, err
}

// Do proposes an Op.
func (p *Process) Do(ctx context.Context, op Op) (out Outcome, err error) {
	reply, err := p.Propose(ctx, string(encode(op)))
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal([]byte(reply), &out)
}

// Leader is the leader the node knows, and whether it is itself, ready.
func (p *Process) Leader(ctx context.Context) (id string, self bool, err error) {
	var l struct {
		ID   string
		Self bool
	}
	err = p.ask(ctx, request{Verb: "leader"}, &l)
	return l.ID, l.Self, err
}

// Stats are the node's.
func (p *Process) Stats(ctx context.Context) (st raftstore.Stats, err error) {
	err = p.ask(ctx, request{Verb: "stats"}, &st)
	return st, err
}

// Hash is of the node's registers and the index they are of.
func (p *Process) Hash(ctx context.Context) (index uint64, hash string, err error) {
	var h struct {
		Index uint64
		Hash  string
	}
	err = p.ask(ctx, request{Verb: "hash"}, &h)
	return h.Index, h.Hash, err
}

// Transfer hands leadership to a voter.
func (p *Process) Transfer(ctx context.Context, to string) error {
	return p.ask(ctx, request{Verb: "transfer", Data: to}, nil)
}

// Load runs a load in the node.
func (p *Process) Load(ctx context.Context, l Load) (r LoadResult, err error) {
	err = p.ask(ctx, request{Verb: "load", Load: l}, &r)
	return r, err
}

// RunProcess runs a node if this process was started as one, until its input
// ends, and reports whether it was.
func RunProcess() (ran bool, err error) {
	conf := os.Getenv(processEnv)
	if conf == "" {
		return false, nil
	}
	var c ProcessConfig
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		return true, fmt.Errorf("read %s: %w", processEnv, err)
	}
	tlsConf, err := ReadTLS(c.PKI, c.ID+".router.test")
	if err != nil {
		return true, err
	}
	machine := NewRegisters()
	rc := raftstore.Config{
		ID: c.ID, Listen: c.Voters[c.ID], Voters: c.Voters, Dir: c.Dir, MinFree: c.MinFree,
		TLS: tlsConf, CheckPeer: RouterOnly, WriteDeadline: c.WriteDeadline,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", c.ID),
	}
	if c.Archive {
		rc.Archive = &archive.Options{}
	}
	s, err := raftstore.Open(rc, machine)
	if err != nil {
		return true, err
	}
	defer s.Abort()
	return true, serve(s, machine, os.Stdin, os.Stdout)
}

func serve(s *raftstore.Store, machine *Registers, from io.Reader, to io.Writer) error {
	var out sync.Mutex
	in := bufio.NewScanner(from)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			return fmt.Errorf("request %q: %w", in.Text(), err)
		}
		go func() {
			a := answer{Tag: r.Tag}
			if got, err := r.carryOut(s, machine); err != nil {
				a.Err = err.Error()
			} else {
				a.Data = encode(got)
			}
			out.Lock()
			defer out.Unlock()
			to.Write(append(encode(a), '\n'))
		}()
	}
	return in.Err()
}

func (r request) carryOut(s *raftstore.Store, machine *Registers) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), max(r.Wait, time.Second))
	defer cancel()
	switch r.Verb {
	case "propose":
		reply, _, err := s.Propose(ctx, []byte(r.Data))
		return string(reply), err
	case "leader":
		id, self := s.Leader()
		return map[string]any{"ID": id, "Self": self}, nil
	case "stats":
		return s.Stats(), nil
	case "hash":
		index, hash := machine.Hash()
		return map[string]any{"Index": index, "Hash": hash}, nil
	case "transfer":
		return nil, s.Transfer(ctx, r.Data)
	case "load":
		return r.Load.run(s), nil
	}
	return nil, fmt.Errorf("unknown verb %q", r.Verb)
}

// ReadLog returns what a process wrote to a file given as its Stderr, for a
// message that must be there.
func ReadLog(path string) string {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
