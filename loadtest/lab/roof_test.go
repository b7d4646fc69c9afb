package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// holdVar makes the test program a lab that runs until it is killed; its value
// is the lab's folder.
const holdVar = "LAB_TEST_HOLD"

func TestMain(m *testing.M) {
	run := func(context.Context) int { return m.Run() }
	if os.Getenv(holdVar) != "" {
		run = hold
	}
	os.Exit(Main(run))
}

// hold runs edges and SBCs under a roof of their own until ctx ends.
func hold(ctx context.Context) int {
	out := make(chan got, 1024)
	for _, h := range newPlan(1, 0).Routers {
		if _, err := newStandin(h, out); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	l, err := Start(ctx, Options{Dir: os.Getenv(holdVar), Routers: 1, edgesOnly: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("holding")
	<-ctx.Done()
	if err := l.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 42
}

// left lists processes whose command line names dir.
func left(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if line, err := os.ReadFile(f); err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func startHolding(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdVar+"="+dir, stageVar+"=")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "holding\n" {
		t.Fatalf("the lab said %q, %v: %s", line, err, complaints.String())
	}
	// Two edges and two SBCs of a dozen processes each.
	if n := len(left(dir)); n < 20 {
		t.Fatalf("only %d processes run", n)
	}
	return cmd, dir
}

func TestNothingIsLeftOfAKilledLab(t *testing.T) {
	cmd, dir := startHolding(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if !poll(await, func() bool { return len(left(dir)) == 0 }) {
		t.Errorf("still running:\n%s", strings.Join(left(dir), "\n"))
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("still mounted:\n%s", mounts)
	}
}

func TestNothingIsLeftOfACrashedLab(t *testing.T) {
	cmd, dir := startHolding(t)
	// The innermost of the three processes, as a crash would end it.
	inner := 0
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(env, []byte(holdVar+"="+dir)) || !bytes.Contains(env, []byte(stageVar+"="+stageInside)) {
			continue
		}
		if exe, _ := os.Readlink(filepath.Join(filepath.Dir(f), "exe")); strings.HasPrefix(exe, filepath.Dir(os.Args[0])) {
			fmt.Sscanf(f, "/proc/%d/", &inner)
		}
	}
	if inner == 0 {
		t.Fatal("the lab's innermost process is not to be found")
	}
	if err := syscall.Kill(inner, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a crash is reported as success")
	}
	if !poll(await, func() bool { return len(left(dir)) == 0 }) {
		t.Errorf("still running:\n%s", strings.Join(left(dir), "\n"))
	}
}

func TestCtrlCStopsTheLabInOrder(t *testing.T) {
	cmd, dir := startHolding(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 42 {
		t.Errorf("exit code %d, want what run returned", code)
	}
	if l := left(dir); len(l) != 0 {
		t.Errorf("still running:\n%s", strings.Join(l, "\n"))
	}
}

func TestPortInUseIsOneSentence(t *testing.T) {
	for _, h := range newPlan(1, 0).Routers {
		s, err := newStandin(h, make(chan got, 1024))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
	}
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), Bin: "/bin", Routers: 1, Workers: 1})
	if err == nil || !strings.Contains(err.Error(), "no routerd in /bin") {
		t.Errorf("without binaries: %v", err)
	}
	bin := t.TempDir()
	for _, name := range []string{"routerd", "mediad"} {
		if err := os.Symlink("/bin/true", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Start(t.Context(), Options{Dir: t.TempDir(), Bin: bin, Routers: 1, Workers: 1})
	if err == nil || !strings.Contains(err.Error(), "TCP port 127.10.3.1:5060 is in use") || strings.Contains(err.Error(), "\n") {
		t.Errorf("with a port in use: %v", err)
	}
}
