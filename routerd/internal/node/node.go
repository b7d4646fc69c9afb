// Package node runs one routerd: it owns the goroutines, the sockets and the
// clock, feeds the machine (acd) through the replicated log and carries out the
// orders the machine gives this node. It decides nothing about calls itself.
//
// Order of things. Every fact goes through proposer; every order comes back
// through fsm.Apply and is handed to the actor of its call. An actor commits
// what a dialog did before it sends what follows from it, so that any router
// can go on where this one stops.
package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"trunkline/raftstore"
	"trunkline/raftstore/gossip"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/config"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/internal/sip"
)

// Node is one life of one routerd.
type Node struct {
	id      acd.NodeID
	conf    *config.Config
	log     *slog.Logger
	started time.Time
	auth    *sip.Authenticator

	life    context.Context // ends when the node must do nothing more
	exit    func(code int)  // os.Exit; tests go on
	running sync.WaitGroup

	store     *raftstore.Store
	gossip    *gossip.Gossip
	proposer  *proposer
	transport *sip.Transport
	// sendPacket is the transport's Send; failed runs after all hops failed.
	sendPacket func(p sip.Packet, failed func(error))
	workers    *workers
	peers      *peers
	facts      *facts.Store
	load       load
	edges      edges
	guard      guard
	probed     chan probeResult

	incarnation atomic.Uint64 // 0 until this life's NodeStarted is applied
	draining    atomic.Bool

	stateMu      sync.RWMutex // guards the machine and how far it has come
	machine      *acd.Machine
	applied      uint64
	appliedStamp acd.Time
	appliedAt    time.Time
	appliedMoved chan struct{} // closed by the next Apply; nil while nobody waits

	deadlineMoved chan struct{}
	witness       witness
	speech        linkWatch

	mu       sync.Mutex
	actors   map[acd.CallID]*actor
	reported map[acd.WorkerID]uint64    // lives of workers whose death was told
	everSeen map[string]bool            // members gossip has shown; reconcile's alone
	awoken   map[acd.WorkerID]time.Time // workers told to begin anew; reconcile's alone
}

// Run starts the node, serves until ctx ends, drains and stops.
func Run(ctx context.Context, conf *config.Config, log *slog.Logger, serveOps func(ctx context.Context, listen string, ready func() error) error) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	n := &Node{
		id: acd.NodeID(conf.Node), conf: conf, log: log.With("node", conf.Node), started: time.Now(), life: life, exit: os.Exit,
		machine: acd.New(), deadlineMoved: make(chan struct{}, 1), probed: make(chan probeResult, 64),
		actors: map[acd.CallID]*actor{}, reported: map[acd.WorkerID]uint64{}, everSeen: map[string]bool{}, awoken: map[acd.WorkerID]time.Time{},
	}
	if err := n.open(); err != nil {
		return err
	}
	defer n.close()
	failed := make(chan error, 3)
	n.async(func() { failed <- serveOps(life, conf.Metrics.Listen, n.takesWork) })
	n.async(func() { failed <- n.serveAPI(life) })
	n.async(func() { n.reconcile(life) })
	n.async(func() { n.tick(life) })
	n.async(func() { n.probeTrunks(life) })
	n.async(func() { n.watchLoad(life) })
	n.async(func() { n.watchLinks(life) })
	n.async(func() { n.sweep(life) })
	n.async(func() { n.auditDialogs(life) })
	n.async(func() { n.project(life) })
	n.async(func() { n.feed(life) })
	n.async(func() {
		if err := n.begin(ctx); err != nil && ctx.Err() == nil {
			failed <- err
		}
	})
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	n.drain()
	return nil
}

// open makes everything that can fail at once: files, certificates, sockets.
func (n *Node) open() error {
	tlsConf, err := n.conf.PeerTLS()
	if err != nil {
		return err
	}
	key, err := n.conf.GossipKey()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.conf.Data, 0o750); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	switch done, r, err := startOver(n.conf.Data); {
	case err != nil:
		return err
	case done:
		n.log.Warn("state is rebuilt from before it differed from the majority's", "index", r.Index, "agreed", r.Agreed, "from", r.From)
	}
	n.auth = n.authenticator(subkey(key, "digest nonces"))
	if n.facts, err = facts.Open(filepath.Join(n.conf.Data, "facts.sqlite")); err != nil {
		return err
	}
	n.workers = newWorkers(tlsConf, n.log, n.workerDied, n.hostedBy, n.keysPressed)
	n.peers = newPeers(tlsConf, n.peerAddr)
	// The log replays while the store opens, and the machine's answers to this
	// process are told by its session.
	n.proposer = newProposer(n.conf.Node + "/" + strconv.FormatInt(n.started.UnixNano(), 36))
	n.store, err = raftstore.Open(raftstore.Config{
		ID: n.conf.Node, Listen: n.conf.Raft.Listen, Voters: n.conf.Raft.Voters, Dir: n.raftDir(),
		TLS: tlsConf, CheckPeer: func(c *x509.Certificate) error { return CheckRole(c, roleRouter) }, Logger: n.log, OnFatal: n.halt, WriteDeadline: n.conf.Raft.WriteDeadline,
		Archive: archiveOptions(n.conf.Raft.Archive), Advertise: n.conf.Raft.Advertise,
	}, fsm{n})
	if err != nil {
		return fmt.Errorf("open the replicated log: %w", err)
	}
	n.proposer.log, n.proposer.took = n.store, n.load.committed
	n.gossip, err = gossip.Start(gossip.Config{
		Name: n.conf.Node, Listen: n.conf.Gossip.Listen, Join: n.conf.Gossip.Join, Key: key, Logger: n.log,
		Meta: func() []byte { return []byte(`{"kind":"router"}`) },
	})
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	return n.openSIP()
}

func (n *Node) openSIP() error {
	allow := make([]netip.Addr, 0, len(n.conf.SIP.Edges))
	for _, e := range n.conf.SIP.Edges {
		allow = append(allow, netip.MustParseAddr(e)) // validated by config
	}
	// Messages may come in before Listen returns; they wait until the node can
	// answer them.
	ready := make(chan struct{})
	t, err := sip.Listen(sip.TransportConfig{
		Listen: n.conf.SIP.Listen, Allow: allow, Policy: sip.Policy{MinSE: n.conf.SIP.Dialogs.Complete().MinSE}, Product: product, Logger: n.log,
		Load: n.feedback,
	}, func(msg sip.Message, flow sip.Flow) {
		<-ready
		n.receive(msg, flow)
	})
	if err != nil {
		return fmt.Errorf("open SIP: %w", err)
	}
	n.transport, n.sendPacket = t, t.Send
	close(ready)
	return nil
}

// product is what Server and User-Agent say.
const product = "Trunkline"

// local is what a leg of the call says of this node. The Contact names the
// node, so that an edge brings requests straight to it while it lives.
func (n *Node) local(call acd.CallID, tag string) sip.Local {
	d := n.conf.SIP.Dialogs.Complete()
	l := sip.Local{
		Contact: fmt.Sprintf("sip:%s@%s;transport=tcp;n=%s", call, n.conf.SIP.Listen[0], n.conf.Node),
		SentBy:  n.conf.SIP.Listen[0], Network: "tcp", Tag: tag, Product: product,
		Headers:        []sip.Header{{Name: "X-Trunkline-Call", Value: string(call)}},
		SessionExpires: d.SessionExpires, MinSE: d.MinSE, RingLimit: d.RingLimit, Reliable: d.Reliable,
		T1: d.Timers.T1, T2: d.Timers.T2, B: d.Timers.B, F: d.Timers.F, H: d.Timers.H,
	}
	for _, edge := range n.conf.SIP.Outbound {
		l.Outbound = append(l.Outbound, sip.Hop{Network: "tcp", Addr: edge})
	}
	return l
}

// begin makes this life known. Until it is committed the node takes no call.
func (n *Node) begin(ctx context.Context) error {
	res, index, err := n.proposer.propose(ctx, acd.NodeStarted{
		Node: n.id, SIP: n.conf.SIP.Listen[0], Peer: n.conf.API.Listen, Version: acd.MaxVersion,
	})
	switch {
	case err != nil:
		return fmt.Errorf("make this router known to the cluster: %w", err)
	case res.Reason == acd.ReasonOldVersion:
		n.halt(fmt.Errorf("this routerd knows behaviour versions up to %d and the cluster is at a later one: run a newer routerd", acd.MaxVersion))
	}
	if !n.waitApplied(ctx.Done(), index) {
		return ctx.Err()
	}
	routing, err := n.firstRouting()
	if err != nil {
		return err
	}
	if _, _, err := n.proposer.propose(ctx, routing); err != nil {
		return fmt.Errorf("apply the first routing tree: %w", err)
	}
	n.exposeState()
	n.log.Info("router serves", "incarnation", res.Incarnation)
	return nil
}

// Ready tells whether the node takes calls, or why not.
func (n *Node) Ready() error {
	switch {
	case n.incarnation.Load() == 0:
		return errors.New("this router's start is not committed yet: do a majority of routers run?")
	case n.draining.Load():
		return errors.New("draining")
	}
	if leader, _ := n.store.Leader(); leader == "" {
		return errors.New("no leader: do a majority of routers run and reach each other?")
	}
	var err error
	n.view(func(m *acd.Machine) { err = unserved(m) })
	return err
}

// unserved tells what the cluster lacks to take a call, if anything.
func unserved(m *acd.Machine) error {
	if _, ok := m.Config(); !ok {
		return errors.New("no routing tree was ever applied")
	}
	for _, w := range m.Workers() {
		if w.Alive {
			return nil
		}
	}
	return errors.New("no media worker is known")
}

// owner is this life's name in the log.
func (n *Node) owner() acd.Owner {
	return acd.Owner{Node: n.id, Incarnation: n.incarnation.Load()}
}

// pause waits for d; it returns false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drainPatience bounds how long a stopping router waits for its own calls to
// end before the others take them over.
const drainPatience = 5 * time.Second

// drain stops taking calls, gives leadership away and leaves. What calls remain
// the survivors take over, as they would after a crash.
func (n *Node) drain() {
	n.log.Info("draining")
	n.draining.Store(true)
	if _, self := n.store.Leader(); self {
		if err := n.store.TransferLeadership(); err != nil {
			n.log.Warn("leadership could not be given away", "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(n.life, drainPatience)
	defer cancel()
	for {
		left, own := 0, n.owner()
		n.view(func(m *acd.Machine) {
			for _, c := range m.Calls() {
				if c.Owner == own {
					left++
				}
			}
		})
		if left == 0 || !pause(ctx, 20*time.Millisecond) {
			break
		}
	}
	n.tell(n.life, acd.NodeDied{Owner: n.owner()})
}

func (n *Node) close() {
	if n.transport != nil {
		n.transport.Close()
	}
	if n.gossip != nil {
		n.gossip.Close()
	}
	if n.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := n.store.Shutdown(ctx); err != nil {
			n.log.Warn("the log did not close in time", "err", err)
		}
	}
	if n.facts != nil {
		n.facts.Close()
	}
}

func (n *Node) peerAddr(id acd.NodeID) (addr string, ok bool) {
	n.view(func(m *acd.Machine) {
		for _, p := range m.Nodes() {
			if p.ID == id && p.Alive {
				addr, ok = p.Peer, true
			}
		}
	})
	return addr, ok
}

// subkey derives a secret for one purpose from the cluster's key.
func subkey(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}
