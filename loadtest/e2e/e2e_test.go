// Package e2e runs the demo, with all its checks, against daemons built with
// the race detector. It holds no code of its own: what the demo shows a
// newcomer is what guards the project.
package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"trunkline/loadtest/demo"
	"trunkline/loadtest/lab"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}

// raceSlack is how much slower than the plain build the bounds of time may be.
const raceSlack = 4

func TestTheDemoHoldsUnderTheRaceDetector(t *testing.T) {
	out := t.TempDir()
	tools, err := lab.SetUp(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	bin := build(t, out)
	logs := filepath.Join(out, "lab", "log")
	report, err := demo.Run(t.Context(), demo.Config{
		Out: out, Commit: "e2e", Log: os.Stderr, Slack: raceSlack,
		Lab: lab.Options{Dir: filepath.Join(out, "lab"), Bin: bin, Toolchain: tools, Env: []string{"GORACE=halt_on_error=1"}},
	})
	if err != nil {
		t.Error(err)
	}
	for _, f := range report.Failed() {
		t.Error(f)
	}
	files, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs in %s: %v", logs, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if i := strings.Index(string(text), bad); i >= 0 {
				t.Errorf("%s:\n%s", filepath.Base(f), text[max(0, i-200):min(len(text), i+3000)])
			}
		}
	}
	if t.Failed() {
		for _, f := range files {
			text, _ := os.ReadFile(f)
			t.Logf("%s ends with:\n%s", filepath.Base(f), text[max(0, len(text)-2000):])
		}
	}
}

// build makes the daemons with the race detector.
func build(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-race", "-tags", "nolibopusfile", "-o", bin+"/", "./routerd", "./routerd/cmd/routerctl", "./mediad")
	cmd.Dir = filepath.Join("..", "..")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build with the race detector: %v\n%s", err, text)
	}
	return bin
}
