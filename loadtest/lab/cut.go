package lab

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// raiseLoopback brings up the one interface that a fresh network namespace has.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}

// Rules of the namespace: cuts come before the addresses of this machine, which
// the kernel looks up first of all unless it is told otherwise.
const (
	cutPriority   = "10"
	localPriority = "20"
)

// Cut pulls a component's cable: nothing goes from or to its own address any
// more, not even the news that a connection is broken. Its media addresses are
// the network's to move, so they stay. It needs MainApart and iproute2.
func (l *Lab) Cut(name string) error {
	addr := l.Addr(name)
	if addr == "" {
		return fmt.Errorf("cut %s: no such component", name)
	}
	if rules, err := ipRule("list"); err != nil {
		return fmt.Errorf("cut %s: %w", name, err)
	} else if !strings.Contains(rules, localPriority+":") {
		if _, err := ipRule("add", "priority", localPriority, "lookup", "local"); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
		if _, err := ipRule("del", "priority", "0"); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
	}
	for _, end := range []string{"to", "from"} {
		if _, err := ipRule("add", "priority", cutPriority, end, addr, "blackhole"); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
	}
	return nil
}

// Mend puts the cable back.
func (l *Lab) Mend(name string) error {
	var faults []error
	for _, end := range []string{"to", "from"} {
		_, err := ipRule("del", "priority", cutPriority, end, l.Addr(name), "blackhole")
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("mend %s: %w", name, err)
	}
	return nil
}

func ipRule(args ...string) (string, error) {
	out, err := exec.Command("ip", append([]string{"rule"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ip rule %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
