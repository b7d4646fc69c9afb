package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// here puts the test's own folders in place of the sample site's.
func (l *Lab) here(text, etc string) string {
	return strings.NewReplacer(
		"/etc/trunkline/pki", l.pki.Dir,
		"/etc/trunkline", etc,
		"/var/lib/trunkline", l.path("data"),
		"/usr/share/trunkline/prompts", l.options.Prompts,
	).Replace(text)
}

func TestKamailioAcceptsTheSampleSite(t *testing.T) {
	l := prepared(t, Options{})
	for _, name := range []string{Edge1, Edge2} {
		etc := l.path("sample", name)
		dir := filepath.Join(etc, "edge")
		for _, from := range []string{"kamailio", "deploy/site/" + name} {
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(l.options.Sources, from))); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"site.cfg", "tls.cfg"} {
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(l.here(string(text), etc)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out, err := l.Toolchain().Command(t.Context(), "kamailio", "-c", "-f", filepath.Join(dir, "kamailio.cfg")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "config file ok") {
			t.Errorf("kamailio -c for the sample's %s: %v\n%s", name, err, out)
		}
	}
}

// TestDaemonsAcceptTheirConfiguration has the daemons themselves check the
// sample site of deploy/ and what the lab writes for them.
func TestDaemonsAcceptTheirConfiguration(t *testing.T) {
	l := prepared(t, Options{Agents: []Agent{{ID: "ann", Name: "Ann", Password: "secret"}}})
	bin, etc := t.TempDir(), t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "./routerd", "./mediad")
	build.Dir = l.options.Sources
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the daemons: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(l.options.Sources, "deploy/site/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 6 {
		t.Fatalf("the sample has %d files, want 3 routers, 2 workers and the routing", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(etc, filepath.Base(file)), []byte(l.here(string(text), etc)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(file string) ([]byte, error) {
		program := "routerd"
		if strings.HasPrefix(filepath.Base(file), "m") {
			program = "mediad"
		}
		return exec.Command(filepath.Join(bin, program), "-check", "-config", file).CombinedOutput()
	}
	for _, name := range []string{"r1", "r2", "r3", "m1", "m2"} {
		for _, file := range []string{filepath.Join(etc, name+".yaml"), l.path("conf", name+".yaml")} {
			if out, err := check(file); err != nil {
				t.Errorf("-check of %s: %v\n%s", file, err, out)
			}
		}
	}
	for _, name := range []string{"r1", "m1"} { // and the check can fail
		file := filepath.Join(etc, name+".yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wrong := strings.Replace(string(text), "9100", "ninety", 1)
		if err := os.WriteFile(file, []byte(wrong), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := check(file)
		if err == nil || !strings.Contains(string(out), name+".yaml:") {
			t.Errorf("-check of a bad address in %s: %v\n%s", name, err, out)
		}
	}
}
