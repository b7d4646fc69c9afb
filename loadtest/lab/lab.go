// Package lab starts the whole tier on one machine: two SBC simulators, two
// edges, routers and media workers, each on a loopback address of its own,
// from files it writes into one working folder. It watches what it started,
// kills and restarts it by name, and leaves nothing behind: under Main every
// process lives in a PID namespace that the kernel ends with the program.
//
// It places no calls and judges nothing: that is the business of
// loadtest/endpoint and loadtest/check.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// Names of what the lab runs. Routers are r1, r2, ... and workers m1, m2, ...
const (
	SBCA  = "sbc-a"
	SBCB  = "sbc-b"
	Edge1 = "edge-1"
	Edge2 = "edge-2"
)

// Ports every component of a kind listens on, at its own address.
const (
	PortSIP         = 5060 // SBC simulators, UDP and TCP, for callers; routers use 5060-5063 TCP
	PortTrunk       = 5061 // SBC simulators and edges, mutual TLS
	PortInternal    = 5062 // edges, TCP, for routers
	PortAgents      = 5070 // edges, UDP and TCP, for phones
	PortAgentsTLS   = 5071 // edges, TLS, for phones
	PortRaft        = 7000
	PortGossip      = 7946
	PortAPI         = 8443 // routers, mutual TLS
	PortNG          = 2225 // workers, mutual TLS
	PortNGPlain     = 2223 // workers, UDP and TCP
	PortReplication = 2226
	PortMetrics     = 9100 // every daemon and edge: /metrics /healthz /readyz
)

// Realm is the digest realm of the agents' registrations.
const Realm = "trunkline"

// ClusterHost is the host name routers put into Call-ID and From.
const ClusterHost = "trunkline.internal"

// Demo routing: this number plays the greeting and queues in SalesQueue.
const (
	SalesNumber   = "+74950000001"
	SalesQueue    = "sales"
	Greeting      = "greeting"
	Music         = "music"
	UnknownNumber = "+74959999999" // in no table: 404
)

// Agent is an operator's phone account. Only digests of the password reach
// the tier.
type Agent struct {
	ID       string // SIP user
	Name     string
	Password string
	Queues   []string // SalesQueue if empty
	// Manual leaves the agent logged out after registering.
	Manual bool
}

// Lab is a running tier.
type Lab struct {
	options   Options
	plan      plan
	pki       *PKI
	processes map[string]*process
}

// startWait bounds how long the tier may take to be ready.
const startWait = 60 * time.Second

// Start writes the configuration, starts every component in order and returns
// when all answer ready: daemons by /readyz, Kamailios when their dispatchers
// have every destination active. On an error nothing is left running, and the
// error holds the last log lines of the component that failed.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Lab{options: o, plan: newPlan(o.Routers, o.Workers), processes: map[string]*process{}}
	if o.Alone != nil {
		l.plan = l.plan.alone(o.Alone.Edges)
	}
	if err := l.portsFree(); err != nil {
		return nil, err
	}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	if o.Alone != nil {
		if err := o.Alone.Ready(l); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if err := l.startAll(ctx); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	return l, nil
}

// prepare leaves the folder as a fresh tier finds it.
func (l *Lab) prepare() error {
	for _, dir := range []string{"pki", "conf", "log", "data", "run"} {
		if err := os.RemoveAll(l.path(dir)); err != nil {
			return fmt.Errorf("empty the lab's folder: %w", err)
		}
		if err := os.MkdirAll(l.path(dir), 0o755); err != nil {
			return fmt.Errorf("make the lab's folder: %w", err)
		}
	}
	for _, dir := range []string{l.options.Sources, l.options.Dir} {
		if err := l.options.Toolchain.Share(dir); err != nil {
			return err
		}
	}
	pki, err := newPKI(l.path("pki"))
	if err != nil {
		return err
	}
	l.pki = pki
	if err := l.issueAll(); err != nil {
		return err
	}
	if err := l.writeConfigs(); err != nil {
		return err
	}
	if err := l.writeTools(); err != nil {
		return err
	}
	for _, h := range l.plan.hosts() {
		slack := time.Duration(0)
		if l.plan.is(l.plan.Routers, h.Name) {
			slack = routerSlack
		}
		l.processes[h.Name] = &process{
			slack: slack,
			host:  h, build: l.builder(h), log: l.path("log", h.Name+".log"),
			revive: l.plan.is(l.plan.Routers, h.Name) || l.plan.is(l.plan.Workers, h.Name),
			told:   func(line string) { fmt.Fprintf(l.options.Progress, "lab: %s\n", line) },
		}
	}
	return nil
}

func (l *Lab) issueAll() error {
	for _, kind := range []struct {
		hosts    []host
		ca, role string
	}{
		{l.plan.Routers, ownCA, roleRouter}, {l.plan.Workers, ownCA, roleWorker},
		{l.plan.Edges, ownCA, roleEdge}, {l.plan.SBCs, customerCA, roleSBC},
	} {
		for _, h := range kind.hosts {
			if err := l.pki.issue(kind.ca, h.Name, h.Name+kind.role, h.IP); err != nil {
				return err
			}
		}
	}
	for _, h := range l.plan.played {
		if err := l.pki.issue(ownCA, h.Name, h.Name+roleWorker, h.IP); err != nil {
			return err
		}
	}
	if err := l.pki.issue(ownCA, CertOperator, CertOperator+roleOperator); err != nil {
		return err
	}
	if len(l.plan.SBCs) == 0 {
		return nil
	}
	return l.pki.issue(rogueCA, CertRogueSBC, SBCA+roleSBC, l.plan.SBCs[0].IP)
}

// routerSlack is the TimerSlackNSec of the routers' unit.
const routerSlack = 200 * time.Microsecond

// builder makes a component's command anew for each of its lives.
func (l *Lab) builder(h host) func() *exec.Cmd {
	daemon := func(program string) func() *exec.Cmd {
		return func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(l.options.Bin, program), "-config", l.path("conf", h.Name+".yaml"))
			cmd.Dir = l.path("data", h.Name)
			cmd.Env = append(os.Environ(), l.options.Env...)
			return cmd
		}
	}
	switch {
	case l.plan.is(l.plan.Routers, h.Name):
		return daemon("routerd")
	case l.plan.is(l.plan.Workers, h.Name):
		return daemon("mediad")
	}
	return func() *exec.Cmd {
		cmd := l.options.Toolchain.Command(context.Background(), "kamailio",
			"-f", l.path("conf", h.Name, "kamailio.cfg"), "-Y", l.path("run"),
			"-DD", "-E", "-m", "128", "-M", "16", "--atexit=no")
		cmd.Dir = l.path("conf", h.Name)
		return cmd
	}
}

// startAll starts kind by kind; each kind is ready before the next one that
// leans on it begins.
func (l *Lab) startAll(ctx context.Context) error {
	step := func(what string, hosts []host, more ...host) error {
		all := append(append([]host{}, hosts...), more...)
		if len(all) == 0 {
			return nil
		}
		fmt.Fprintf(l.options.Progress, "lab: starting %s\n", what)
		for _, h := range all {
			if err := l.processes[h.Name].start(); err != nil {
				return err
			}
		}
		return l.settled(ctx)
	}
	if !l.options.edgesOnly {
		// Workers and routers find each other, so they start together.
		if err := step("media workers and routers", l.plan.Workers, l.plan.Routers...); err != nil {
			return err
		}
	}
	if err := step("edges", l.plan.Edges); err != nil {
		return err
	}
	return step("SBC simulators", l.plan.SBCs)
}

// stopPatience is shorter than what a daemon grants its calls: the lab stops
// when they are over, or does not care.
const stopPatience = 2 * time.Second

// Stop ends everything, callers' side first: SIGTERM, then SIGKILL.
func (l *Lab) Stop() error {
	var faults []error
	for _, kind := range [][]host{l.plan.SBCs, l.plan.Edges, l.plan.Routers, l.plan.Workers} {
		faults = append(faults, each(kind, func(h host) error {
			p := l.processes[h.Name]
			if p == nil {
				return nil
			}
			p.signal(syscall.SIGCONT)
			return p.end(stopPatience)
		}))
	}
	return errors.Join(faults...)
}

// Kill ends a component with SIGKILL (a Kamailio with all its processes) and
// returns when it is gone.
func (l *Lab) Kill(name string) error {
	p, err := l.process(name)
	if err != nil {
		return err
	}
	return p.end(0)
}

// Retire tells a component to end, by SIGTERM, and returns when it is gone. One
// that takes longer than wait is killed, which is an error.
func (l *Lab) Retire(name string, wait time.Duration) error {
	p, err := l.process(name)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.end(wait); err != nil {
		return err
	}
	if took := time.Since(began); took >= wait {
		return fmt.Errorf("%s did not end within %v of SIGTERM", name, wait)
	}
	return nil
}

// Freeze stops a component with SIGSTOP, as a hang would; Thaw lets it go on.
func (l *Lab) Freeze(name string) error {
	p, err := l.process(name)
	if err != nil {
		return err
	}
	return p.signal(syscall.SIGSTOP)
}

// Thaw ends a Freeze.
func (l *Lab) Thaw(name string) error {
	p, err := l.process(name)
	if err != nil {
		return err
	}
	return p.signal(syscall.SIGCONT)
}

// Restart starts a killed component with its old data and returns when it is
// ready and the Kamailios that ping it hold it for active.
func (l *Lab) Restart(ctx context.Context, name string) error {
	p, err := l.process(name)
	if err != nil {
		return err
	}
	if p.running() {
		return fmt.Errorf("restart %s: it is running", name)
	}
	if err := p.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	return l.settled(ctx)
}

func (l *Lab) process(name string) (*process, error) {
	p := l.processes[name]
	if p == nil {
		return nil, fmt.Errorf("the lab has no component %q; it has %s", name, strings.Join(l.Names(), " "))
	}
	return p, nil
}

// Names lists the components in starting order.
func (l *Lab) Names() []string {
	var names []string
	for _, h := range l.plan.hosts() {
		names = append(names, h.Name)
	}
	return names
}

// Running says whether a component's main process is alive.
func (l *Lab) Running(name string) bool {
	p := l.processes[name]
	return p != nil && p.running()
}

// Addr is a component's own IP address, or "" for an unknown name.
func (l *Lab) Addr(name string) string {
	for _, h := range append(l.plan.hosts(), l.plan.played...) {
		if h.Name == name {
			return h.IP
		}
	}
	return ""
}

// MediaAddrs are the media addresses a worker starts with.
func (l *Lab) MediaAddrs(worker string) []string {
	for _, h := range l.plan.Workers {
		if h.Name == worker {
			return l.plan.media(h)
		}
	}
	return nil
}

// CPU is the processor time each component has used, dead lives included.
func (l *Lab) CPU() map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, p := range l.processes {
		used[name] = p.cpu()
	}
	return used
}

// LogFile is where a component's output goes.
func (l *Lab) LogFile(name string) string { return l.path("log", name+".log") }

// Tail is the last n lines of that file.
func (l *Lab) Tail(name string, n int) string {
	if p := l.processes[name]; p != nil {
		return p.tail(n)
	}
	return ""
}

// Died lists components that ended without being told to and were not started
// again: a daemon that exits with code 1 or 3 is, as its systemd unit does it.
func (l *Lab) Died() []string {
	var names []string
	for name, p := range l.processes {
		if p.died() {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Dir is the working folder, visible at the same path inside the Debian root.
func (l *Lab) Dir() string { return l.options.Dir }

func (l *Lab) path(rest ...string) string {
	return filepath.Join(append([]string{l.options.Dir}, rest...)...)
}

// RecordingDirs are the workers' recording folders, in the workers' order.
func (l *Lab) RecordingDirs() []string {
	var dirs []string
	for _, h := range l.plan.Workers {
		dirs = append(dirs, l.path("data", h.Name, "recording"))
	}
	return dirs
}

// MasterKeyFile is the key the recordings are wrapped with: 32 bytes in base64.
func (l *Lab) MasterKeyFile() string { return l.pki.File("recording.key") }

// PKI is the lab's certificates.
func (l *Lab) PKI() *PKI { return l.pki }

// Toolchain runs SIPp and baresip beside the tier.
func (l *Lab) Toolchain() *Toolchain { return l.options.Toolchain }

// API is the base URL of a router's HTTPS API; PKI().Client(CertOperator)
// opens it.
func (l *Lab) API(router string) string {
	return fmt.Sprintf("https://%s:%d", l.Addr(router), PortAPI)
}

// Routerctl runs routerctl against all routers and returns what it prints.
func (l *Lab) Routerctl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.options.Bin, "routerctl"), append(l.routerctlFlags(), args...)...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("routerctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out, nil
}

func (l *Lab) routerctlFlags() []string {
	var apis []string
	for _, h := range l.plan.Routers {
		apis = append(apis, fmt.Sprintf("%s:%d", h.IP, PortAPI))
	}
	return []string{
		"-api", strings.Join(apis, ","), "-ca", l.pki.File("ca.pem"),
		"-cert", l.pki.File(CertOperator + ".pem"), "-key", l.pki.File(CertOperator + ".key"),
	}
}

// RouterctlLine is a command line for a person: routerctl with its flags.
func (l *Lab) RouterctlLine(args ...string) string {
	return strings.Join(append(append([]string{filepath.Join(l.options.Bin, "routerctl")}, l.routerctlFlags()...), args...), " ")
}
