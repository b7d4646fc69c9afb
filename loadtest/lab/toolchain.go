package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Toolchain is where Kamailio, SIPp and baresip run from: the machine itself
// or, where its own are older than the tier needs, a Debian 13 root in the
// user's cache folder.
type Toolchain struct {
	root string // "" is the machine itself
}

// needed is what the tier needs at least. Kamailio 5.6 dies by double free
// under OpenSSL 3; SIPp before 3.7 has no TLS.
var needed = []struct {
	program string
	args    []string
	version *regexp.Regexp
	least   [2]int
}{
	{"kamailio", []string{"-v"}, regexp.MustCompile(`kamailio (\d+)\.(\d+)`), [2]int{6, 0}},
	{"sipp", []string{"-v"}, regexp.MustCompile(`SIPp v(\d+)\.(\d+)`), [2]int{3, 7}},
	{"baresip", []string{"-h"}, regexp.MustCompile(`baresip v?(\d+)\.(\d+)`), [2]int{1, 1}},
}

// rootFiles must all be in a root that is complete.
var rootFiles = []string{
	"usr/sbin/kamailio", "usr/sbin/kamcmd", "usr/bin/sipp", "usr/bin/baresip",
	"usr/lib/*/kamailio/modules/tls.so", "usr/lib/*/kamailio/modules/xhttp_prom.so",
	"usr/lib/baresip/modules/srtp.so", "usr/lib/baresip/modules/opus.so",
}

// ErrNoToolchain says that SetUp has work to do.
var ErrNoToolchain = errors.New("no Kamailio 6, SIPp 3.7 and baresip on this machine, and no Debian 13 root in the cache: run `make setup` as root, once, with a network")

// FindToolchain finds what is on the machine or what SetUp has built. It
// changes nothing and needs no network.
func FindToolchain() (*Toolchain, error) {
	if onMachine() {
		return &Toolchain{}, nil
	}
	root, err := rootPath()
	if err != nil {
		return nil, err
	}
	if !complete(root) {
		return nil, ErrNoToolchain
	}
	return &Toolchain{root: root}, nil
}

func onMachine() bool {
	for _, n := range needed {
		out, err := exec.Command(n.program, n.args...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) { // sipp -v exits 99
			return false
		}
		m := n.version.FindStringSubmatch(string(out))
		if m == nil {
			return false
		}
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		if major < n.least[0] || major == n.least[0] && minor < n.least[1] {
			return false
		}
	}
	return true
}

// rootPath is the Debian 13 root of this user, built or not.
func rootPath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for the Debian 13 root, set HOME or XDG_CACHE_HOME: %w", err)
	}
	return filepath.Join(cache, "trunkline", "debian13"), nil
}

func complete(root string) bool {
	for _, f := range rootFiles {
		if found, err := filepath.Glob(filepath.Join(root, f)); err != nil || len(found) == 0 {
			return false
		}
	}
	return true
}

// Root is the folder of the Debian 13 root, or "" if the machine's own
// programs are used.
func (t *Toolchain) Root() string { return t.root }

// Share makes dir visible to the toolchain's programs under its own path.
func (t *Toolchain) Share(dir string) error {
	if t.root == "" {
		return nil
	}
	if !underRoof() {
		return errors.New("programs of the Debian 13 root run only under lab.Main")
	}
	mounts.Lock()
	defer mounts.Unlock()
	for _, d := range []string{"/proc", "/dev", "/tmp", dir} {
		if err := t.bind(d); err != nil {
			return err
		}
	}
	return nil
}

// mounts is what this process has mounted inside a root, by mount point. It is
// the process's and not a Toolchain's: mounting a folder over itself for each of
// many labs would double what is mounted below it each time.
var mounts = struct {
	sync.Mutex
	at map[string]bool
}{at: map[string]bool{}}

// bind mounts dir at the same path inside the root. The mount is seen only
// within the lab's mount namespace and ends with it.
func (t *Toolchain) bind(dir string) error {
	for d := dir; ; d = filepath.Dir(d) {
		if mounts.at[filepath.Join(t.root, d)] {
			return nil
		}
		if d == "/" {
			break
		}
	}
	at := filepath.Join(t.root, dir)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("make a mount point in the Debian 13 root: %w", err)
	}
	if err := syscall.Mount(dir, at, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s to the Debian 13 root: %w", dir, err)
	}
	mounts.at[at] = true
	return nil
}

// Command is a program of the toolchain with its arguments: "kamailio",
// "sipp", "baresip", "kamcmd". Paths below /tmp and below folders given to
// Share (the lab's folder and the repository are) mean the same inside; the
// working folder is /tmp unless Dir is set to one of them.
func (t *Toolchain) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if t.root == "" {
		return exec.CommandContext(ctx, name, args...)
	}
	path := ""
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if _, err := os.Stat(filepath.Join(t.root, dir, name)); err == nil {
			path = filepath.Join(dir, name)
		}
	}
	cmd := exec.CommandContext(ctx, "/bin/true")
	cmd.Path, cmd.Args, cmd.Dir = path, append([]string{name}, args...), "/tmp"
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "LANG=C.UTF-8", "TERM=dumb",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: t.root}
	cmd.Err = t.Share("/tmp")
	if path == "" {
		cmd.Err = fmt.Errorf("the Debian 13 root has no %s", name)
	}
	return cmd
}

// Versions says what is used, for reports: {"kamailio": "6.0", ...}.
func (t *Toolchain) Versions(ctx context.Context) map[string]string {
	found := map[string]string{}
	for _, n := range needed {
		out, _ := t.Command(ctx, n.program, n.args...).CombinedOutput()
		if m := n.version.FindStringSubmatch(string(out)); m != nil {
			found[n.program] = strings.Join(m[1:], ".")
		}
	}
	return found
}
