package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// stageVar tells a re-executed program which of its three lives it is in.
const stageVar = "TRUNKLINE_ROOF"

const (
	stageInit   = "init"   // process 1 of the namespace: reaps
	stageInside = "inside" // runs run
)

// patience is how long an ending program may take to clean up.
const patience = 30 * time.Second

// Main runs run under a roof that leaves nothing behind: it re-executes the
// program in a PID and a mount namespace of its own, so that the kernel ends
// every process and every mount when run returns, when the program is killed,
// or when it crashes. Ctrl-C and SIGTERM end ctx; a second one ends all at
// once. The result is run's exit code.
//
//	func main() { os.Exit(lab.Main(run)) }
//	func TestMain(m *testing.M) { os.Exit(lab.Main(func(context.Context) int { return m.Run() })) }
func Main(run func(ctx context.Context) int) int {
	switch os.Getenv(stageVar) {
	case stageInit:
		return beInit()
	case stageInside:
		return beInside(run)
	}
	return raised(0)
}

// MainApart is Main in a network namespace of its own too: the same addresses,
// nobody else's packets, and Cut works.
func MainApart(run func(ctx context.Context) int) int {
	switch os.Getenv(stageVar) {
	case stageInit:
		return beInit()
	case stageInside:
		if err := raiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return beInside(run)
	}
	return raised(syscall.CLONE_NEWNET)
}

func raised(more uintptr) int {
	code, err := raiseRoof(more)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// underRoof says whether this process is the one that runs run.
func underRoof() bool { return os.Getenv(stageVar) == stageInside }

// raiseRoof starts the namespaces, more than the two if so said, and waits for
// their end. The thread is locked:
// the kernel kills the namespace when the thread that made it dies.
func raiseRoof(more uintptr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program's file: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stageInit)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | more,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // the terminal's Ctrl-C comes to this process alone
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("the lab needs a PID namespace of its own, so run it as root: %w", err)
	}
	done := make(chan struct{})
	go func() {
		var deadline <-chan time.Time
		for {
			select {
			case s := <-signals:
				cmd.Process.Signal(s)
				if deadline == nil {
					deadline = time.After(patience)
				}
			case <-deadline:
				cmd.Process.Kill()
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), nil
	}
	return 0, fmt.Errorf("wait for the lab: %w", err)
}

// beInit is process 1: it mounts the namespace's /proc, starts the program
// once more, passes signals on to it and reaps orphans until it ends. When
// process 1 exits the kernel kills what is left.
func beInit() int {
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return 1
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fail("keep the lab's mounts to itself", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fail("mount /proc", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fail("find this program's file", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := os.Setenv(stageVar, stageInside); err != nil {
		return fail("set the environment", err)
	}
	child, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return fail("start the program inside", err)
	}
	go func() {
		for s := range signals {
			syscall.Kill(child, s.(syscall.Signal))
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fail("wait for children", err)
		}
		if pid != child {
			continue
		}
		if status.Signaled() {
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	}
}

func beInside(run func(ctx context.Context) int) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(130)
	}()
	return run(ctx)
}
