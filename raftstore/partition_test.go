package raftstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"trunkline/raftstore/raftstoretest"
)

// mesh is a network of namespaces, one for each node, with a wire of its own
// between any two. A wire goes through a bridge in a namespace of its own, so
// that cutting it loses packets and tells nobody. Nothing of it touches the
// machine's own network.
type mesh struct {
	tb    testing.TB
	name  string // prefix of the namespaces
	ids   []string
	wires []wire
}

// wire is between two nodes; port is one end's plug in the bridge.
type wire struct{ a, b, bridge, port string }

func newMesh(tb testing.TB, ids ...string) *mesh {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("NOT RUN: a partition needs root, to make network namespaces")
	}
	m := &mesh{tb: tb, name: fmt.Sprintf("raft%d", os.Getpid()), ids: ids}
	for _, ns := range append([]string{"hub"}, ids...) {
		m.ip("netns", "add", m.ns(ns))
		tb.Cleanup(func() { exec.Command("ip", "netns", "del", m.ns(ns)).Run() })
	}
	for i, id := range ids {
		m.in(id, "addr add "+m.addr(i)+"/32 dev lo", "link set lo up")
	}
	for i, a := range ids {
		for j, b := range ids[i+1:] {
			m.wire(a, m.addr(i), b, m.addr(i+1+j))
		}
	}
	return m
}

func (m *mesh) ns(id string) string { return m.name + "-" + id }

// addr is a node's address, of a block for documentation (RFC 5737).
func (m *mesh) addr(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }

// ip runs the tool of that name.
func (m *mesh) ip(args ...string) {
	m.tb.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		m.tb.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in runs it with lines of arguments in a namespace.
func (m *mesh) in(id string, lines ...string) {
	m.tb.Helper()
	cmd := exec.Command("ip", "-n", m.ns(id), "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		m.tb.Fatalf("ip in %s, %q: %v: %s", id, lines, err, out)
	}
}

func (m *mesh) wire(a, addrA, b, addrB string) {
	m.tb.Helper()
	w := wire{a: a, b: b, bridge: "br" + a + b, port: "p" + a + b}
	m.in("hub",
		"link add "+w.bridge+" type bridge", "link set "+w.bridge+" up",
		"link add "+w.port+" type veth peer name to"+b+" netns "+m.ns(a),
		"link add q"+a+b+" type veth peer name to"+a+" netns "+m.ns(b),
		"link set "+w.port+" master "+w.bridge+" up", "link set q"+a+b+" master "+w.bridge+" up")
	m.in(a, "link set to"+b+" up", "route add "+addrB+"/32 dev to"+b+" src "+addrA)
	m.in(b, "link set to"+a+" up", "route add "+addrA+"/32 dev to"+a+" src "+addrB)
	m.wires = append(m.wires, w)
}

// cut loses every packet between the nodes of different sides; heal ends it.
func (m *mesh) cut(sides ...string) {
	m.tb.Helper()
	side := map[string]int{}
	for i, s := range sides {
		for _, id := range strings.Fields(s) {
			side[id] = i
		}
	}
	for _, w := range m.wires {
		if side[w.a] != side[w.b] {
			m.in("hub", "link set "+w.port+" nomaster")
		}
	}
}

// cutWire loses the packets between two nodes only.
func (m *mesh) cutWire(a, b string) {
	m.tb.Helper()
	for _, w := range m.wires {
		if w.a == a && w.b == b || w.a == b && w.b == a {
			m.in("hub", "link set "+w.port+" nomaster")
		}
	}
}

func (m *mesh) heal() {
	m.tb.Helper()
	for _, w := range m.wires {
		m.in("hub", "link set "+w.port+" master "+w.bridge)
	}
}

// drained is how soon after healing all must be served again (the product's
// bound of liveness).
const drained = 5 * time.Second

func TestPartitions(t *testing.T) {
	m := newMesh(t, "r1", "r2", "r3")
	voters := map[string]string{}
	for i, id := range m.ids {
		voters[id] = m.addr(i) + ":7000"
	}
	list := startProcesses(t, func(p *raftstoretest.Process) {
		p.Voters = voters
		p.Prefix = []string{"ip", "netns", "exec", m.ns(p.ID)}
	})
	c := startClients(t, list)
	c.served(t, 50)

	// The leader alone: the others elect one, it commits nothing.
	leader, followers := list.roles(t)
	m.cut(leader.ID, followers[0].ID+" "+followers[1].ID)
	began := time.Now()
	followers.roles(t)
	t.Logf("another leader %s after the leader was cut off", time.Since(began).Round(time.Millisecond))
	c.served(t, 50)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	out, err := leader.Do(ctx, raftstoretest.Op{Session: "minority", Seq: 1, Kind: raftstoretest.OpWrite, Key: "minority", Value: "x"})
	cancel()
	if err == nil {
		t.Errorf("the minority committed: %+v", out)
	}
	if st := stats(t, leader); st.State == "Leader" {
		t.Error("the leader that was cut off holds its office")
	}
	m.heal()
	healed(t, list, c)

	// A follower alone comes back and disturbs nobody.
	undisturbed(t, list, "a follower was alone and came back", func(leader *raftstoretest.Process, followers processes) processes {
		m.cut(followers[0].ID, leader.ID+" "+followers[1].ID)
		c.served(t, 100)
		m.heal()
		healed(t, list, c)
		return followers
	})

	// One wire: a follower that hears the other follower only must not depose
	// the leader whom that one hears.
	undisturbed(t, list, "one wire was cut", func(leader *raftstoretest.Process, followers processes) processes {
		m.cutWire(leader.ID, followers[0].ID)
		c.served(t, 200)
		m.heal()
		healed(t, list, c)
		return followers
	})

	// Nobody hears anybody: nothing is committed, nothing is lost.
	m.cut("r1", "r2", "r3")
	raftstoretest.Await(t, "no leader", func() bool {
		for _, p := range list {
			if stats(t, p).State == "Leader" {
				return false
			}
		}
		return true
	})
	m.heal()
	healed(t, list, c)
	c.check(t)
	list.same(t)
}

// undisturbed checks that something that happens to a follower costs no
// election. do returns those who must still follow the leader. A laden test
// machine may starve a leader at that moment, but not each time.
func undisturbed(t *testing.T, list processes, what string, do func(leader *raftstoretest.Process, followers processes) processes) {
	t.Helper()
	const tries = 3
	var told []string
	for range tries {
		leader, followers := list.roles(t)
		term := stats(t, leader).Term
		same := true
		for _, p := range append(do(leader, followers), leader) {
			st := stats(t, p)
			same = same && st.Leader == leader.ID && st.Term == term
			told = append(told, fmt.Sprintf("%s: %s leads in term %d, it was %s in term %d", p.ID, st.Leader, st.Term, leader.ID, term))
		}
		if same {
			return
		}
	}
	t.Errorf("%s, and there was an election each time: %s", what, strings.Join(told, "; "))
}

// healed checks that all are led and served soon.
func healed(t *testing.T, list processes, c *clients) {
	t.Helper()
	began := time.Now()
	list.roles(t)
	for i, p := range list {
		put(t, p, fmt.Sprint("healed ", began.UnixNano(), i), 1, "x")
	}
	c.served(t, 30)
	took := time.Since(began)
	t.Logf("all are served %s after healing", took.Round(time.Millisecond))
	if took > 2*drained { // a laden test machine
		t.Errorf("served %s after healing, want %s", took, drained)
	}
}
