package lab

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"trunkline/routerd/acd"
)

// prepared is a lab with its files written and nothing started.
func prepared(t *testing.T, o Options) *Lab {
	t.Helper()
	o.Dir, o.edgesOnly = t.TempDir(), true
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	l := &Lab{options: o, plan: newPlan(o.Routers, o.Workers), processes: map[string]*process{}}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKamailioAcceptsItsConfiguration(t *testing.T) {
	l := prepared(t, Options{})
	check := func(config string) ([]byte, error) {
		return l.Toolchain().Command(t.Context(), "kamailio", "-c", "-f", config).CombinedOutput()
	}
	for _, name := range []string{Edge1, Edge2, SBCA, SBCB} {
		if out, err := check(l.path("conf", name, "kamailio.cfg")); err != nil || !strings.Contains(string(out), "config file ok") {
			t.Errorf("kamailio -c for %s: %v\n%s", name, err, out)
		}
	}
	bad := l.path("bad.cfg")
	if err := os.WriteFile(bad, []byte("request_route { nonsense(); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := check(bad); err == nil {
		t.Error("kamailio -c accepts nonsense")
	}
}

func TestRoutingReadsBack(t *testing.T) {
	l := prepared(t, Options{Channels: 7, Agents: []Agent{{ID: "ann", Name: "Ann", Password: "secret"}, {ID: "bob", Password: "x", Manual: true}}})
	text, err := os.ReadFile(l.path("conf", "routing.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c acd.Config
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if len(c.Trunks) != 2 || c.Trunks[0].ID != SBCA || c.Trunks[1].Channels != 7 || c.MaxChannels != 14 {
		t.Errorf("trunks %+v, %d in all", c.Trunks, c.MaxChannels)
	}
	// printf 'ann:trunkline:secret' | md5sum
	if a := c.Agents[0]; a.ID != "ann" || a.HA1MD5 != "0c2952b70c20d449731883b189d3a64a" || !a.AutoAvailable {
		t.Errorf("agent %+v", a)
	}
	if c.Agents[1].AutoAvailable {
		t.Error("bob asked to stay logged out")
	}
	if strings.Contains(string(text), "secret") {
		t.Error("a password went into the routing")
	}
}

func TestDebianRootSeesTheRepository(t *testing.T) {
	l := prepared(t, Options{})
	cmd := l.Toolchain().Command(t.Context(), "kamcmd", "-V")
	cmd.Dir = l.options.Sources
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, version := range map[string]string{"kamailio": "6.", "sipp": "3.", "baresip": "1."} {
		if got := l.Toolchain().Versions(t.Context())[name]; !strings.HasPrefix(got, version) {
			t.Errorf("%s is of version %q", name, got)
		}
	}
	if out, err := exec.Command("sh", "-n", l.path("run", "kamcmd")).CombinedOutput(); err != nil {
		t.Errorf("run/kamcmd: %v: %s", err, out)
	}
}
