package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

// trees plays the routers' versions of the routing tree.
type trees struct {
	list    []routeapi.ConfigVersion
	sources map[string]string
}

func (tr *trees) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(code int, text string) {
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(routeapi.Error{Error: text})
	}
	version := strings.TrimPrefix(r.URL.Path, routeapi.PathRoutingVersions+"/")
	last := strconv.Itoa(len(tr.list))
	switch {
	case r.URL.Path == routeapi.PathRoutingVersions:
		json.NewEncoder(w).Encode(tr.list)
	case r.Method == "PUT":
		if base := r.URL.Query().Get("base"); base != "" && base != last {
			refuse(409, fmt.Sprintf("refused: version %s is in force, not %s: applied by eve at noon", last, base))
			return
		}
		src, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(400, err.Error())
			return
		}
		v := routeapi.ConfigVersion{
			Version: uint64(len(tr.list)) + 1, Index: uint64(100 * len(tr.list)), At: time.Unix(1_700_000_000, 0).UTC(),
			By: r.TLS.PeerCertificates[0].Subject.CommonName, Comment: r.URL.Query().Get("comment"), HasText: true,
		}
		tr.list = append(tr.list, v)
		tr.sources[strconv.FormatUint(v.Version, 10)] = string(src)
		json.NewEncoder(w).Encode(v)
	case r.URL.Path == routeapi.PathRouting && len(tr.list) > 0:
		version = last
		fallthrough
	default:
		src, ok := tr.sources[version]
		if !ok {
			refuse(404, "no version "+version)
			return
		}
		w.Header().Set(routeapi.HeaderVersion, version)
		io.WriteString(w, src)
	}
}

const first = `# the first
trunks:
- {id: sbc-a, channels: 60}
queues:
- {id: sales, music: music}
agents:
- {id: ann, queues: [sales]}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestATreeIsAppliedShownAndTakenBack(t *testing.T) {
	c := newCtl(t, &trees{sources: map[string]string{}})
	one := write(t, "one.yaml", first)
	two := write(t, "two.yaml", strings.Replace(first, "60", "90", 1)+"- {id: bob, queues: [sales]}\n")

	c.has(c.ok("apply", one, "-comment", "begin"), "+ agents[ann]", "version 1 is in force: 1 trunk added, 1 queue added, 1 agent added")
	c.has(c.ok("apply", one), "nothing to apply: version 1 says the same")
	c.has(c.ok("diff", one), "no changes")

	out, err := c.run("diff", two)
	if !errors.Is(err, errDifferent) {
		t.Errorf("diff: %v", err)
	}
	if want := "~ trunks[sbc-a].channels: 60 → 90\n+ agents[bob]: {id: bob, queues: [sales]}\n1 trunk changed, 1 agent added\n"; out != want {
		t.Errorf("diff printed\n%swant\n%s", out, want)
	}
	out, err = c.run("diff", two, "-text")
	if !errors.Is(err, errDifferent) {
		t.Errorf("diff -text: %v", err)
	}
	c.has(out, "--- version 1", "+++ "+two, "@@ ", "-- {id: sbc-a, channels: 60}", "+- {id: sbc-a, channels: 90}")

	c.ok("apply", two, "-comment", "more channels")
	c.has(c.ok("rollback", "1"), "version 3 is in force", "- agents[bob]")
	if got := c.ok("show"); got != first {
		t.Errorf("show printed\n%s", got)
	}
	c.has(c.ok("show", "2"), "bob")
	out = c.ok("history")
	c.has(out, "VERSION", operatorName, "more channels", "1 trunk changed, 1 agent added", "rollback to version 1", "1 trunk changed, 1 agent removed")
	if out := c.ok("history", "-n", "1"); strings.Contains(out, "more channels") || !strings.Contains(out, "1 agent removed") {
		t.Errorf("history -n 1 printed\n%s", out)
	}
}

func TestAConcurrentChangeIsNotOverwritten(t *testing.T) {
	tr := &trees{sources: map[string]string{}}
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" && r.URL.Query().Get("comment") == "late" { // somebody is quicker
			tr.list = append(tr.list, routeapi.ConfigVersion{Version: uint64(len(tr.list)) + 1})
		}
		tr.ServeHTTP(w, r)
	})
	c := newCtl(t, api)
	c.ok("apply", write(t, "one.yaml", first))
	two := write(t, "two.yaml", first+"- {id: bob, queues: [sales]}\n")
	c.fails("nothing was applied: refused: version 2 is in force, not 1: applied by eve", "apply", two, "-comment", "late")
	c.ok("apply", "-force", "-comment", "late", two)
}

func TestABadTreeNeverLeaves(t *testing.T) {
	c := newCtl(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was sent", r.Method, r.URL) }))
	bad := write(t, "bad.yaml", "trunks:\n- {id: a, chanels: 1}\nqeues: []\n")
	for _, cmd := range []string{"validate", "apply"} {
		c.fails(bad+":2: trunks[0].chanels: unknown key: is \"channels\" meant?\n"+bad+":3: qeues: unknown key: is \"queues\" meant?", cmd, bad)
	}
	var not *trouble
	if _, err := c.run("diff", filepath.Join(t.TempDir(), "none.yaml")); !errors.As(err, &not) {
		t.Errorf("diff of no file: %v", err)
	}
}
