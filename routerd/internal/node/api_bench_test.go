package node

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/archive"
	"trunkline/raftstore/raftstoretest"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/routeapi"
)

// routers are some routers with a real log and a real API, and nothing else:
// no SIP, no gossip, no media.
type routers struct {
	*testing.T
	cluster *raftstoretest.Cluster
	nodes   []*Node
	urls    []string
	http    *http.Client
}

func newRouters(t *testing.T, count int) *routers {
	t.Helper()
	rs := &routers{T: t}
	data := t.TempDir()
	byID := map[string]*Node{}
	rs.cluster = raftstoretest.New(t, count, func(id string) raftstore.StateMachine { return fsm{byID[id]} })
	for _, c := range rs.cluster.Nodes {
		n := &Node{id: acd.NodeID(c.ID), life: t.Context(), machine: acd.New(), log: slog.New(slog.DiscardHandler), deadlineMoved: make(chan struct{}, 1),
			conf: &config.Config{Node: c.ID, ClusterHost: "trunkline.internal", Data: filepath.Join(data, c.ID)}}
		n.proposer = newProposer(c.ID + "/test")
		c.Dir = n.raftDir()
		c.Config.Dir, c.Config.Archive = c.Dir, &archive.Options{Reserve: 1}
		byID[c.ID] = n
		rs.nodes = append(rs.nodes, n)
	}
	rs.cluster.StartAll()
	for i, c := range rs.cluster.Nodes {
		rs.nodes[i].store, rs.nodes[i].proposer.log = c.Store, c.Store
		srv := httptest.NewUnstartedServer(rs.nodes[i].apiHandler())
		srv.TLS = rs.cluster.Authority.TLS(c.ID + roleRouter)
		srv.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		srv.StartTLS()
		t.Cleanup(srv.Close)
		rs.urls = append(rs.urls, srv.URL)
	}
	conf := rs.cluster.Authority.TLS("ops" + roleOperator)
	conf.InsecureSkipVerify = true // the address is no name of the certificate's
	conf.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
	rs.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: conf}}
	return rs
}

// ask sends a request to a router and returns the status and the body.
func (rs *routers) ask(node int, method, path, body string) (int, []byte, http.Header) {
	rs.Helper()
	req, err := http.NewRequestWithContext(rs.Context(), method, rs.urls[node]+path, strings.NewReader(body))
	if err != nil {
		rs.Fatal(err)
	}
	res, err := rs.http.Do(req)
	if err != nil {
		rs.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		rs.Fatal(err)
	}
	for k, v := range res.Trailer {
		res.Header[k] = v
	}
	return res.StatusCode, got, res.Header
}

// says wants a status and, in the error or the body, a text.
func (rs *routers) says(code int, want string, node int, method, path, body string) {
	rs.Helper()
	got, text, _ := rs.ask(node, method, path, body)
	if got != code || !bytes.Contains(text, []byte(want)) {
		rs.Errorf("%s %s %.200s: %d %s, want %d and %q", method, path, body, got, text, code, want)
	}
}

// get reads a router's answer.
func get[T any](rs *routers, node int, path string) T {
	rs.Helper()
	code, body, _ := rs.ask(node, "GET", path, "")
	var v T
	if err := json.Unmarshal(body, &v); err != nil || code != http.StatusOK {
		rs.Fatalf("GET %s: %d %s: %v", path, code, body, err)
	}
	return v
}

// follower is a router that does not lead.
func (rs *routers) follower() int {
	rs.Helper()
	for i, n := range rs.nodes {
		if _, self := n.store.Leader(); !self {
			return i
		}
	}
	rs.Fatal("no follower")
	return 0
}

const oneQueue = `# the tree of the tests
trunks:
- {id: sbc-a, channels: 60}
numbers:
- {number: "+74950000001", queue: sales}
queues:
- {id: sales}
agents:
- {id: ann, queues: [sales]}
`

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

func TestMembersAreChangedThroughAnyRouter(t *testing.T) {
	rs := newRouters(t, 3)
	f := rs.follower()
	if list := get[[]routeapi.Member](rs, f, routeapi.PathMembers); len(list) != 3 || !list[0].Voter {
		t.Errorf("members are %+v", list)
	}
	rs.says(http.StatusBadRequest, "addr: ", f, "POST", routeapi.PathMembers, `{"id":"r9","addr":"nowhere"}`)
	rs.says(http.StatusBadRequest, "id: is missing", f, "POST", routeapi.PathMembers, `{"addr":"127.0.0.1:1"}`)
	rs.says(http.StatusBadRequest, "unknown field", f, "POST", routeapi.PathMembers, `{"idd":"r9"}`)
	rs.says(http.StatusNotFound, "no such member", f, "POST", routeapi.PathMembers+"/r9/promote", `{}`)
	rs.says(http.StatusNotFound, "no such member", f, "DELETE", routeapi.PathMembers+"/r9", "")
	rs.says(http.StatusBadRequest, "force: ", f, "DELETE", routeapi.PathMembers+"/r1?force=maybe", "")
	rs.says(http.StatusConflict, "add another first, or force it", f, "DELETE", routeapi.PathMembers+"/"+rs.nodes[f].conf.Node, "")
	rs.says(http.StatusNoContent, "", f, "POST", routeapi.PathTransfer, `{"to":"`+rs.nodes[f].conf.Node+`"}`)
	if leader := rs.cluster.Leader(); leader.ID != rs.nodes[f].conf.Node {
		t.Errorf("%s leads", leader.ID)
	}
	gone := rs.nodes[(f+1)%3].conf.Node
	rs.says(http.StatusNoContent, "", f, "DELETE", routeapi.PathMembers+"/"+gone+"?force=true", "")
	if list := get[[]routeapi.Member](rs, f, routeapi.PathMembers); len(list) != 2 {
		t.Errorf("members are %+v", list)
	}
}

// All routers tell the same hash at one index, although nothing moves the log
// but the question; an index that is past is refused.
func TestStatesAreComparedAtOneIndex(t *testing.T) {
	rs := newRouters(t, 3)
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, oneQueue)
	at := get[routeapi.Status](rs, 0, routeapi.PathStatus).Applied + 50
	hashes := make(chan string, 3)
	for i := range 3 {
		go func() {
			hashes <- get[routeapi.State](rs, i, routeapi.PathState+"?at="+itoa(at)).Hash
		}()
	}
	first := <-hashes
	for range 2 {
		if h := <-hashes; h != first || len(h) != 64 {
			t.Errorf("hashes %q and %q", first, h)
		}
	}
	rs.says(http.StatusConflict, "is past", 0, "GET", routeapi.PathState+"?at=1", "")
	rs.says(http.StatusBadRequest, "want an index", 0, "GET", routeapi.PathState+"?at=x", "")
}

// A backup that comes over the API is whole, and the archive goes on from it.
func TestBackupAndArchiveAreServed(t *testing.T) {
	rs := newRouters(t, 1)
	rs.says(http.StatusOK, "", 0, "PUT", routeapi.PathRouting, oneQueue)
	code, body, head := rs.ask(0, "GET", routeapi.PathBackup, "")
	info, err := raftstore.VerifyBackup(bytes.NewReader(body))
	if code != http.StatusOK || err != nil || head.Get(routeapi.HeaderError) != "" {
		t.Fatalf("backup: %d, %v, %q", code, err, head.Get(routeapi.HeaderError))
	}
	rs.says(http.StatusNoContent, "", 0, "POST", routeapi.PathAgentStatus, `{"agent":"ann","status":"available"}`)
	last := get[routeapi.Status](rs, 0, routeapi.PathStatus).Applied
	code, body, head = rs.ask(0, "GET", routeapi.PathArchiveEntries+"?from=1&to="+itoa(last), "")
	if code != http.StatusOK || head.Get(routeapi.HeaderError) != "" {
		t.Fatalf("entries: %d %q", code, head.Get(routeapi.HeaderError))
	}
	var indexes []uint64
	if err := archive.ReadStream(bytes.NewReader(body), func(r archive.Record) error {
		indexes = append(indexes, r.Index)
		return nil
	}); err != nil || len(indexes) < 2 || indexes[len(indexes)-1] != last || info.Index >= last {
		t.Errorf("entries %v up to %d, backup of %d: %v", indexes, last, info.Index, err)
	}
	_, _, head = rs.ask(0, "GET", routeapi.PathArchiveEntries+"?from=1&to="+itoa(last+9), "")
	if !strings.Contains(head.Get(routeapi.HeaderError), "are missing") {
		t.Errorf("entries that are not there: %q", head.Get(routeapi.HeaderError))
	}
	now := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if got := get[routeapi.ArchiveIndex](rs, 0, routeapi.PathArchiveIndex+"?at="+now); got.Index != last {
		t.Errorf("the last entry is %d, want %d", got.Index, last)
	}
	rs.says(http.StatusNotFound, "nothing is as old", 0, "GET", routeapi.PathArchiveIndex+"?at=2001-01-01T00:00:00Z", "")
	rs.says(http.StatusBadRequest, "at ", 0, "GET", routeapi.PathArchiveIndex, "")
	rs.says(http.StatusBadRequest, "want two indexes", 0, "GET", routeapi.PathArchiveEntries+"?from=5&to=4", "")
	rs.says(http.StatusNotFound, "has no snapshot", 0, "GET", routeapi.PathArchiveSnapshots+"/77", "")
}
