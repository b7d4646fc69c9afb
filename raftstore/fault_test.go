package raftstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/raftstoretest"
)

func TestNodeBehindTheLogGetsTheSnapshot(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	for _, n := range c.Nodes {
		new(raftstore.TestDisk).Under(&n.Config)
	}
	c.StartAll()
	late := c.Followers()[0]
	c.Propose(late, "before")
	c.Kill(late)
	for i := range 200 {
		c.Propose(c.Leader(), fmt.Sprint(i))
	}
	for _, n := range c.Nodes {
		if n.Store != nil {
			if err := n.Store.Compact(5); err != nil {
				t.Fatalf("compact %s: %v", n.ID, err)
			}
		}
	}
	c.Propose(c.Leader(), "after the snapshot")
	c.Start(late)
	agree(t, c, 202)
	if late.Journal().Restored() == 0 {
		t.Error("the node caught up without a snapshot")
	}
	// And once more from its own disk, snapshot and log together.
	c.Kill(late)
	c.Start(late)
	agree(t, c, 202)
	c.Propose(late, "last")
	agree(t, c, 203)
}

func TestStampsSurviveWallJumps(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	step := func(n *raftstoretest.Node, what string) { c.Propose(n, what) }
	step(c.Nodes[0], "first")
	for i, jump := range []time.Duration{time.Hour, -2 * time.Hour} {
		for _, n := range c.Nodes {
			n.Store.JumpWall(int64(jump))
		}
		step(c.Nodes[1], fmt.Sprintf("jumped %d", i))
		// Another leader has another clock.
		old := c.Leader()
		c.Kill(old)
		step(c.Leader(), fmt.Sprintf("led by another %d", i))
		c.Start(old)
		c.Leader()
	}
	e := agree(t, c, 5)
	for i := 1; i < len(e); i++ {
		if d := time.Duration(e[i].Stamp - e[i-1].Stamp); d <= 0 || d > time.Minute {
			t.Errorf("%q is stamped %s after %q", e[i].Data, d, e[i-1].Data)
		}
	}
}

// gatedJournal applies nothing before its gate is opened.
type gatedJournal struct {
	raftstoretest.Journal
	gate chan struct{}
}

func (g *gatedJournal) Apply(index uint64, stamp int64, data []byte) []byte {
	<-g.gate
	return g.Journal.Apply(index, stamp, data)
}

// A leader that has not applied its log yet must not stamp by the wall clock.
func TestLeaderStampsNothingBeforeItCaughtUp(t *testing.T) {
	gate := make(chan struct{})
	close(gate)
	c := raftstoretest.New(t, 1, func(string) raftstore.StateMachine { return &gatedJournal{gate: gate} })
	c.StartAll()
	n := c.Nodes[0]
	c.Propose(n, "before")
	last := n.Machine.(*gatedJournal).Entries()[0].Stamp
	c.Kill(n)

	gate = make(chan struct{})
	raftstore.WrongWall(&n.Config, 30*24*time.Hour)
	c.Start(n)
	raftstoretest.Await(t, "an election", func() bool { return n.Store.Stats().State == "Leader" })
	proposed := make(chan struct{})
	go func() {
		defer close(proposed)
		c.Propose(n, "after")
	}()
	// Long enough for the proposal to be stamped, had it been let through.
	select {
	case <-proposed:
		t.Error("a command overtook the log before it")
	case <-time.After(100 * time.Millisecond):
	}
	close(gate)
	<-proposed
	e := n.Machine.(*gatedJournal).Entries()
	if d := time.Duration(e[len(e)-1].Stamp - last); d <= 0 || d > 7*24*time.Hour+time.Hour {
		t.Errorf("stamped %s after the entry before the restart, want at most 7 days", d)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	f := func(name string, conf *tls.Config) {
		t.Helper()
		for _, stream := range []byte{1, 2} {
			if got := greeted(t, c.Nodes[0].Addr, conf, stream); got {
				t.Errorf("%s got an answer on stream %d", name, stream)
			}
		}
	}
	trusting := func(conf *tls.Config) *tls.Config {
		conf.InsecureSkipVerify = true
		return conf
	}
	if !greeted(t, c.Nodes[0].Addr, trusting(c.Authority.TLS("r9.router.trunkline.internal")), 2) {
		t.Fatal("a router got no answer: the test proves nothing")
	}
	f("a worker", trusting(c.Authority.TLS("m1.worker.trunkline.internal")))
	f("a router of another authority", trusting(raftstoretest.NewAuthority(t).TLS("r1.router.trunkline.internal")))
	f("a peer without a certificate", &tls.Config{InsecureSkipVerify: true})
	old := trusting(c.Authority.TLS("r9.router.trunkline.internal"))
	old.MaxVersion = tls.VersionTLS12
	f("a router with TLS 1.2", old)
}

// greeted reports whether a node answers a hello, or takes the raft stream,
// of a peer with this configuration.
func greeted(t *testing.T, addr string, conf *tls.Config, stream byte) bool {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, conf)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	hello := []byte{0, 0, 0, 9, 2, 0, 0, 0, 0, 0, 0, 0, 1}
	if _, err := conn.Write(slices.Concat([]byte{stream}, make([]byte, 16), hello)); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 64))
	return err == nil && n > 0
}

func TestNodeRefusesAWrongPeerWhenItDials(t *testing.T) {
	// r2's place is taken by a worker's certificate: r1 must not talk to it,
	// and the cluster of two is never founded.
	c := raftstoretest.New(t, 2, nil)
	c.Nodes[1].Config.TLS = c.Authority.TLS("m1.worker.trunkline.internal")
	c.Nodes[1].Config.CheckPeer = func(*x509.Certificate) error { return nil }
	c.Start(c.Nodes[0])
	c.Start(c.Nodes[1])
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := c.Nodes[0].Store.Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("propose: %v, want the deadline", err)
	}
}

func TestHungDiskOfTheLeaderIsFatalToIt(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	disks := map[string]*raftstore.TestDisk{}
	for _, n := range c.Nodes {
		disks[n.ID] = &raftstore.TestDisk{}
		disks[n.ID].Under(&n.Config)
	}
	c.StartAll()
	leader := c.Leader()
	follower := c.Followers()[0]
	c.Propose(follower, "before")
	disks[leader.ID].Hang()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.Propose(follower, "while the disk hangs")
	}()
	select {
	case err := <-leader.Fatal():
		if !errors.Is(err, raftstore.ErrDiskHung) {
			t.Errorf("fatal with %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("a hung disk was not noticed")
	}
	// The process would end here: its connections break and its disk with it.
	disks[leader.ID].Release()
	c.Kill(leader)
	<-answered
	for _, n := range c.Nodes {
		if n.Store != nil {
			raftstoretest.Await(t, "the command on "+n.ID, func() bool { return n.Journal().Has("while the disk hangs") })
		}
	}
}

// tarpit is a listener whose connections stop being read when it is told.
type tarpit struct {
	net.Listener
	mu    sync.Mutex
	stuck chan struct{}
	conns []*tarConn
}

type tarConn struct {
	net.Conn
	pit *tarpit
	mu  sync.Mutex
	set bool
}

func (p *tarpit) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &tarConn{Conn: c, pit: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, t)
	return t, nil
}

func (c *tarConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	stuck := c.set
	c.mu.Unlock()
	if stuck {
		<-c.pit.stuck
		return 0, net.ErrClosed
	}
	return n, err
}

// stick freezes the connections that exist; new ones work.
func (p *tarpit) stick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.mu.Lock()
		c.set = true
		c.mu.Unlock()
	}
}

func TestSilentConnectionIsReplaced(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	pits := map[string]*tarpit{}
	release := make(chan struct{})
	for _, n := range c.Nodes {
		ln, err := net.Listen("tcp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		pits[n.ID] = &tarpit{Listener: ln, stuck: release}
		n.Config.Listener = pits[n.ID]
	}
	t.Cleanup(func() { close(release) })
	c.StartAll()
	leader, follower := c.Leader(), c.Followers()[0]
	c.Propose(follower, "before")
	pits[leader.ID].stick()
	began := time.Now()
	c.Propose(follower, "into the silence")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("answered after %s, want little more than 1 s", took)
	}
}

func TestProposeEndsWithItsContext(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.Start(c.Nodes[0]) // alone: no cluster
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Nodes[0].Store.Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("propose without a leader: %v", err)
	}
	if _, _, err := c.Nodes[0].Store.Propose(t.Context(), make([]byte, raftstore.MaxCommand+1)); !errors.Is(err, raftstore.ErrTooLarge) {
		t.Errorf("propose too much: %v", err)
	}
	closed := make(chan error)
	go func() {
		_, _, err := c.Nodes[0].Store.Propose(context.Background(), []byte("x"))
		closed <- err
	}()
	c.Nodes[0].Store.Abort()
	if err := <-closed; !errors.Is(err, raftstore.ErrClosed) {
		t.Errorf("propose on a closed store: %v", err)
	}
}

func TestLargestCommandGoesThrough(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	big := make([]byte, raftstore.MaxCommand)
	for _, n := range []*raftstoretest.Node{c.Leader(), c.Followers()[0]} {
		if _, _, err := n.Store.Propose(t.Context(), big); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
	}
}

func TestLeadershipIsTold(t *testing.T) {
	c := raftstoretest.New(t, 3, nil)
	c.StartAll()
	leader := c.Leader()
	if !<-leader.Store.LeaderCh() {
		t.Fatal("the leader was not told")
	}
	if err := leader.Store.TransferLeadership(); err != nil {
		t.Fatalf("transfer: %v", err)
	}
	if <-leader.Store.LeaderCh() {
		t.Fatal("the old leader was told that it leads")
	}
	next := c.Leader()
	if next == leader {
		t.Fatal("leadership did not move")
	}
	if !<-next.Store.LeaderCh() {
		t.Fatal("the new leader was not told")
	}
	if err := leader.Store.TransferLeadership(); !errors.Is(err, raftstore.ErrNotLeader) {
		t.Errorf("transfer from a follower: %v", err)
	}
	st := leader.Store.Stats()
	if st.Leader != next.ID || st.State != "Follower" || st.Term == 0 || len(st.Peers) != 3 || !st.Peers[0].Voter || st.LastContact < 0 {
		t.Errorf("stats are %+v", st)
	}
}
