package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// rootPackages are what the Debian 13 root holds beside its minimum.
var rootPackages = []string{
	"kamailio", "kamailio-tls-modules", "kamailio-xml-modules", "kamailio-utils-modules",
	"kamailio-outbound-modules", "sip-tester", "baresip-core",
}

// suite is the Debian release of the root: the first with Kamailio 6.
const suite = "trixie"

// SetUp finds the toolchain or builds it, and installs what the Go build needs
// of C (libopus) and the tests of a database, with a line of progress per step.
// It needs root and a network only when something is missing.
func SetUp(ctx context.Context, progress io.Writer) (*Toolchain, error) {
	if err := buildPackages(ctx, progress); err != nil {
		return nil, err
	}
	t, err := FindToolchain()
	if !errors.Is(err, ErrNoToolchain) {
		return t, err
	}
	if err := buildRoot(ctx, progress); err != nil {
		return nil, err
	}
	return FindToolchain()
}

// buildPackages makes cgo and libopus available to `go build`, and a database
// server to `go test`.
func buildPackages(ctx context.Context, progress io.Writer) error {
	var missing []string
	if _, err := exec.LookPath("gcc"); err != nil {
		missing = append(missing, "gcc", "libc6-dev")
	}
	if _, err := exec.LookPath("pkg-config"); err != nil {
		missing = append(missing, "pkg-config", "libopus-dev")
	} else if exec.CommandContext(ctx, "pkg-config", "--exists", "opus").Run() != nil {
		missing = append(missing, "libopus-dev")
	}
	// The tests of what feeds a database start one of their own.
	if !postgresFound() {
		missing = append(missing, "postgresql")
	}
	return aptInstall(ctx, progress, missing...)
}

// postgresFound tells whether a PostgreSQL server is installed: Debian keeps its
// programs off PATH.
func postgresFound() bool {
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err == nil && len(found) > 0 {
		return true
	}
	_, err := exec.LookPath("initdb")
	return err == nil
}

// aptInstall installs packages on this machine. An update that fails is no
// failure: a third party's source may be out of reach while ours is fine.
func aptInstall(ctx context.Context, progress io.Writer, packages ...string) error {
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing on this machine, which has no apt-get: install %s (or what your system calls them)", list)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing packages: run `apt-get install %s` as root, or run this as root", list)
	}
	fmt.Fprintf(progress, "setup: installing %s\n", list)
	install := func() ([]byte, error) {
		args := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		return cmd.CombinedOutput()
	}
	if _, err := install(); err == nil {
		return nil
	}
	fmt.Fprintln(progress, "setup: updating the package lists")
	update := exec.CommandContext(ctx, "apt-get", "update")
	if err := update.Run(); err != nil {
		fmt.Fprintln(progress, "setup: some package lists could not be updated; going on with the rest")
	}
	if out, err := install(); err != nil {
		return fmt.Errorf("apt-get could not install %s, check the network and the machine's package sources: %w: %s", list, err, lastLine(out))
	}
	return nil
}

// buildRoot builds the Debian 13 root beside its place and renames it when it
// is complete, so that a root in its place is a whole one. A lock keeps two
// runs apart.
func buildRoot(ctx context.Context, progress io.Writer) error {
	root, err := rootPath()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("no Kamailio 6, SIPp 3.7 and baresip on this machine, and debootstrap needs root to build a Debian 13 with them in %s: run `make setup` as root, once", root)
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(ctx, progress, root+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if complete(root) {
		return nil // the other run has built it
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		if err := aptInstall(ctx, progress, "debootstrap"); err != nil {
			return err
		}
	}
	mirror, err := findMirror("/etc/apt")
	if err != nil {
		return err
	}
	building := root + ".building"
	if err := os.RemoveAll(building); err != nil {
		return fmt.Errorf("remove an unfinished root: %w", err)
	}
	fmt.Fprintf(progress, "setup: building a Debian 13 root with Kamailio, SIPp and baresip in %s (about a minute, once)\n", root)
	began := time.Now()
	if err := debootstrap(ctx, progress, building, mirror); err != nil {
		os.RemoveAll(building)
		return err
	}
	if !complete(building) {
		return fmt.Errorf("the Debian 13 root in %s lacks one of %s", building, strings.Join(rootFiles, " "))
	}
	if err := os.RemoveAll(filepath.Join(building, "var/cache/apt/archives")); err != nil {
		return fmt.Errorf("remove the downloaded packages: %w", err)
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove an incomplete root: %w", err)
	}
	if err := os.Rename(building, root); err != nil {
		return fmt.Errorf("put the Debian 13 root in its place: %w", err)
	}
	fmt.Fprintf(progress, "setup: Debian 13 root built in %.0f s\n", time.Since(began).Seconds())
	return nil
}

// debootstrap shows one of its lines per second, which is progress enough.
func debootstrap(ctx context.Context, progress io.Writer, dir, mirror string) error {
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase",
		"--include="+strings.Join(rootPackages, ","), suite, dir, mirror)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if proxy := aptProxy(ctx); proxy != "" && os.Getenv("http_proxy") == "" {
		cmd.Env = append(cmd.Env, "http_proxy="+proxy)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	last := make(chan string)
	go func() {
		var line string
		var shown time.Time
		for s := bufio.NewScanner(r); s.Scan(); {
			line = s.Text()
			if time.Since(shown) > time.Second {
				fmt.Fprintln(progress, "setup:", strings.TrimPrefix(line, "I: "))
				shown = time.Now()
			}
		}
		last <- line
	}()
	err := cmd.Run()
	w.Close()
	line := <-last
	if err != nil {
		return fmt.Errorf("debootstrap could not build a Debian 13 root from this machine's package mirror, check the network: %w: %s", err, line)
	}
	return nil
}

// lock holds path locked against other runs until the function it returns is
// called or the process ends.
func lock(ctx context.Context, progress io.Writer, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	told := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			fmt.Fprintln(progress, "setup: another run is building the Debian 13 root; waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
