package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
	"trunkline/routerd/routeapi"
)

// machine is the state machine without a router around it.
type machine struct{ m *acd.Machine }

func (s *machine) Apply(index uint64, stamp int64, data []byte) []byte {
	cmd, err := acdwire.DecodeCommand(data)
	if err != nil {
		panic(err)
	}
	cmd.Stamp = acd.Time(stamp)
	s.m.Apply(index, cmd)
	return nil
}

func (s *machine) Snapshot() (func(io.Writer) error, error) {
	state := s.m.Snapshot()
	return func(w io.Writer) error { state.Sort(); return acdwire.EncodeState(w, state) }, nil
}

func (s *machine) Restore(io.Reader) error { return errors.New("nothing to restore") }

// oneRouter runs a log with a configuration in it.
func oneRouter(t *testing.T) *raftstoretest.Node {
	t.Helper()
	c := raftstoretest.New(t, 1, func(string) raftstore.StateMachine { return &machine{acd.New()} })
	c.StartAll()
	data, err := acdwire.EncodeCommand(acd.Command{Session: "s", Seq: 1, Floor: 1, Body: acd.ConfigApplied{Config: acd.Config{
		Queues: []acd.Queue{{ID: "sales"}}, Agents: []acd.Agent{{ID: "ann", Queues: []acd.QueueID{"sales"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Nodes[0].Store.Propose(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	return c.Nodes[0]
}

// A backup is streamed, checked and, when all is lost, founds a new cluster in
// an empty folder and in no other.
func TestABackupIsTakenVerifiedAndRestored(t *testing.T) {
	node := oneRouter(t)
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := node.Store.Backup(r.Context(), w); err != nil {
			t.Error(err)
		}
	}))
	dir := t.TempDir()
	file := filepath.Join(dir, "trunkline.backup")
	c.has(c.ok("cluster", "backup", file), file+" is whole: index ", "SHA-256")
	c.fails("is there already", "cluster", "backup", file)
	c.has(c.ok("cluster", "verify", file), "is whole", "its state can be read: 0 calls, 1 agents")

	data := filepath.Join(dir, "data")
	conf := write(t, "r1.yaml", fmt.Sprintf(`
node: r1
data: %s
cluster_host: trunkline.internal
tls: {ca: /x/ca.pem, cert: /x/r1.pem, key: /x/r1.key}
sip: {listen: ["127.0.0.1:5060"], edges: [127.0.0.2], realm: trunkline}
raft: {listen: "127.0.0.1:7000", voters: {r1: "127.0.0.1:7000", r2: "127.0.0.1:7001", r3: "127.0.0.1:7002"}}
gossip: {listen: "127.0.0.1:7946", key_file: /x/gossip.key}
api: {listen: "127.0.0.1:8443"}
metrics: {listen: "127.0.0.1:9100"}
routing: /x/routing.yaml
`, data))
	c.fails("nothing was done", "cluster", "restore", file, "-config", conf) // stdin is empty
	if _, err := os.Stat(filepath.Join(data, "raft")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was done: %v", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "facts.sqlite"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := c.ok("cluster", "restore", file, "-config", conf, "-yes")
	c.has(out, "restored into "+filepath.Join(data, "raft"), "the old history is in "+filepath.Join(data, "before-restore-"), "on r2: ", "on r3: ", "start routerd on r1")
	if _, err := os.Stat(filepath.Join(data, "facts.sqlite")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old history is still in use: %v", err)
	}
	c.has(c.ok("cluster", "verify", "-dir", filepath.Join(data, "raft")), "is whole", "1 agents")
	c.fails("holds a log", "cluster", "restore", file, "-config", conf, "-yes")

	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-40] ^= 1
	bad := write(t, "bad.backup", string(raw))
	c.fails("not a whole backup", "cluster", "verify", bad)
	c.fails("not a whole backup", "cluster", "restore", bad, "-config", conf, "-yes")
}

func TestACutOffBackupLeavesNoFile(t *testing.T) {
	node := oneRouter(t)
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", routeapi.HeaderError)
		cut := &limited{w: w, left: 300}
		if _, err := node.Store.Backup(context.Background(), cut); err != nil {
			w.Header().Set(routeapi.HeaderError, "disk full")
		}
	}))
	dir := t.TempDir()
	c.fails("disk full", "cluster", "backup", filepath.Join(dir, "b"))
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left %v, %v", list, err)
	}
}

// limited fails once so many bytes went by.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("full")
	}
	return l.w.Write(p)
}

// members plays the routers' members, and two routers whose states differ.
func TestMembersAndStates(t *testing.T) {
	var asked []string
	hash := strings.Repeat("a", 64)
	c := newCtl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+string(body)))
		switch {
		case r.URL.Path == routeapi.PathStatus:
			json.NewEncoder(w).Encode(routeapi.Status{Applied: 1000})
		case r.URL.Path == routeapi.PathState:
			json.NewEncoder(w).Encode(routeapi.State{Node: "r1", Index: 1300, Hash: hash})
			hash = strings.Repeat("b", 64) // the next router's
		case r.Method == "GET":
			json.NewEncoder(w).Encode([]routeapi.Member{{ID: "r1", Addr: "10.0.0.1:7000", Voter: true, Leader: true}})
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	c.has(c.ok("cluster", "members"), "r1      10.0.0.1:7000  yes   leader")
	c.ok("cluster", "add", "r4", "10.0.0.4:7000")
	c.ok("cluster", "promote", "r4")
	c.fails("nothing was done", "cluster", "remove", "r1")
	c.ok("cluster", "remove", "r1", "-yes", "-force")
	c.ok("cluster", "transfer", "r4", "-yes")
	want := `GET /v1/cluster/members
POST /v1/cluster/members {"id":"r4","addr":"10.0.0.4:7000"}
POST /v1/cluster/members/r4/promote {}
DELETE /v1/cluster/members/r1?force=true {}
POST /v1/cluster/transfer {"to":"r4"}
GET /v1/cluster/members`
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	c.has(c.ok("cluster", "verify"), "r1      1300")
	hash = strings.Repeat("a", 64)
	c.flags[1] += "," + c.flags[1] // two routers
	c.fails("states DIFFER", "cluster", "verify")
	c.fails("its address is missing", "cluster", "add", "r4")
}

func TestProgressIsTold(t *testing.T) {
	var out strings.Builder
	m := &meter{out: &out, what: "backup from r1", next: time.Now().Add(-time.Second)}
	m.Write(make([]byte, 2_500_000))
	m.Write(make([]byte, 1))
	if got := out.String(); !regexp.MustCompile(`^backup from r1: 2\.5 MB\n$`).MatchString(got) {
		t.Errorf("told %q", got)
	}
}
