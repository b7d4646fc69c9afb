package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Add makes a program available that one target alone needs, so that nobody
// else waits for its package: where the Debian 13 root lacks it, it is installed
// there, with its dependencies and without changing what is there already.
//
// On a machine that uses its own programs nothing is installed: the package of a
// daemon would start it.
func (t *Toolchain) Add(ctx context.Context, progress io.Writer, program, pkg string) error {
	if t.has(program) {
		return nil
	}
	if t.root == "" {
		return fmt.Errorf("no %s on this machine: install %s, and stop the service that it starts", program, pkg)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the Debian 13 root in %s has no %s, and only root can install it there: run this as root", t.root, program)
	}
	unlock, err := lock(ctx, progress, t.root+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if t.has(program) {
		return nil // another run has installed it
	}
	if err := t.Share("/tmp"); err != nil {
		return err
	}
	if err := t.forbidServices(); err != nil {
		return err
	}
	fmt.Fprintf(progress, "setup: installing %s into the Debian 13 root (once)\n", pkg)
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "--no-upgrade", pkg}, {"clean"}} {
		if out, err := t.apt(ctx, args...); err != nil {
			return fmt.Errorf("install %s into the Debian 13 root, check the network: apt-get %s: %w: %s", pkg, args[0], err, lastLine(out))
		}
	}
	if !t.has(program) {
		return fmt.Errorf("the Debian 13 package %s brought no %s", pkg, program)
	}
	return nil
}

// has tells whether a program is there to run.
func (t *Toolchain) has(program string) bool {
	if t.root == "" {
		_, err := exec.LookPath(program)
		return err == nil
	}
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		if _, err := os.Stat(filepath.Join(t.root, dir, program)); err == nil {
			return true
		}
	}
	return false
}

// apt runs apt-get inside the root.
func (t *Toolchain) apt(ctx context.Context, args ...string) ([]byte, error) {
	if proxy := aptProxy(ctx); proxy != "" {
		args = append([]string{"-o", "Acquire::http::Proxy=" + proxy}, args...)
	}
	cmd := t.Command(ctx, "apt-get", args...)
	cmd.Env = append(cmd.Env, "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	return cmd.CombinedOutput()
}

// forbidServices has packages of the root start nothing (invoke-rc.d(8)).
func (t *Toolchain) forbidServices() error {
	err := os.WriteFile(filepath.Join(t.root, "usr/sbin/policy-rc.d"), []byte("#!/bin/sh\nexit 101\n"), 0o755)
	if err != nil {
		return fmt.Errorf("keep services of the Debian 13 root from starting: %w", err)
	}
	return nil
}
