package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// MetaMax is the longest Meta, in bytes.
const MetaMax = memberlist.MetaMaxSize

const (
	probeInterval = 200 * time.Millisecond
	metaInterval  = 500 * time.Millisecond
	joinInterval  = 500 * time.Millisecond
)

// Config is one member.
type Config struct {
	// Name is the member's for all time; a restarted member takes the place
	// of its last life.
	Name string
	// Listen is the host:port for UDP and TCP; the others reach it there.
	Listen string
	// Join is the seeds, host:port each; it may contain Listen.
	Join []string
	// Key is the site's secret, 32 bytes.
	Key []byte
	// Meta returns what this member says about itself, at most MetaMax
	// bytes. It is called often, from one goroutine at a time.
	Meta   func() []byte
	Logger *slog.Logger
}

// Member is a live member.
type Member struct {
	Name, Addr string // Addr is host:port
	Meta       []byte
}

// Change is a member that came, changed what it says, or died. After a death
// Member is what was known last.
type Change struct {
	Member Member
	Alive  bool
}

// Gossip is this member.
type Gossip struct {
	cfg    Config
	log    *slog.Logger
	list   *memberlist.Memberlist
	self   string // host:port
	update chan struct{}
	done   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup

	metaMu sync.Mutex
	meta   []byte // what was said last

	mu      sync.Mutex
	members map[string]Member
	queue   []Change
	wake    chan struct{}
	changes chan Change
}

// Start makes this process a member. It returns before any seed was reached.
func Start(cfg Config) (*Gossip, error) {
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if cfg.Name == "" {
		return nil, errors.New("gossip: name is empty")
	}
	if len(cfg.Key) != 32 {
		return nil, fmt.Errorf("gossip: key has %d bytes, need 32", len(cfg.Key))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Meta == nil {
		cfg.Meta = func() []byte { return nil }
	}
	g := &Gossip{
		cfg: cfg, log: cfg.Logger,
		update:  make(chan struct{}, 1),
		done:    make(chan struct{}),
		members: map[string]Member{},
		wake:    make(chan struct{}, 1),
		changes: make(chan Change, 64),
	}
	g.readMeta()
	g.list, err = memberlist.Create(g.settings(host, port))
	if err != nil {
		return nil, fmt.Errorf("gossip: listen on %s: %w", cfg.Listen, err)
	}
	g.self = g.list.LocalNode().Address()
	g.wg.Go(g.deliver)
	g.wg.Go(g.keepJoined)
	g.wg.Go(g.keepMeta)
	return g, nil
}

func splitListen(listen string) (host string, port int, err error) {
	a, err := netip.ParseAddrPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen address %q: %w", listen, err)
	}
	return a.Addr().String(), int(a.Port()), nil
}

// settings aims at a death known within about a second among few members.
func (g *Gossip) settings(host string, port int) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.Name
	c.BindAddr, c.BindPort = host, port
	c.AdvertiseAddr, c.AdvertisePort = host, port
	c.SecretKey = g.cfg.Key
	c.ProbeInterval = probeInterval
	c.ProbeTimeout = 120 * time.Millisecond
	c.SuspicionMult = 3
	c.SuspicionMaxTimeoutMult = 1
	// A laden member may doubt itself, but not for long: probes at most
	// every 400 ms.
	c.AwarenessMaxMultiplier = 2
	c.GossipInterval = 50 * time.Millisecond
	// Whole states are exchanged often, as members are few: whoever missed
	// a packet, or came back at another address, is known within a second.
	c.PushPullInterval = time.Second
	c.TCPTimeout = time.Second
	c.DeadNodeReclaimTime = time.Millisecond
	c.Delegate = delegate{g}
	c.Events = events{g}
	c.Logger = libraryLogger(g.log)
	return c
}

// Addr is the host:port this member listens on.
func (g *Gossip) Addr() string { return g.self }

// Members returns the live members, this one included, by name.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Changes tells every change in order. It may be read late: gossip does not
// wait. It is closed by Close.
func (g *Gossip) Changes() <-chan Change { return g.changes }

// Update makes the others learn a new Meta at once.
func (g *Gossip) Update() {
	select {
	case g.update <- struct{}{}:
	default:
	}
}

// Leave tells the others that this member goes, so that it is not taken for
// dead, and closes.
func (g *Gossip) Leave() error {
	err := g.list.Leave(time.Second)
	return errors.Join(err, g.Close())
}

// Close ends membership as a crash would.
func (g *Gossip) Close() error {
	var err error
	g.once.Do(func() {
		close(g.done)
		err = g.list.Shutdown()
		g.wg.Wait()
	})
	return err
}

// keepJoined joins the seeds that are not members.
func (g *Gossip) keepJoined() {
	tick := time.NewTicker(joinInterval)
	defer tick.Stop()
	var trying sync.Map
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, seed := range g.missing() {
			if _, busy := trying.LoadOrStore(seed, true); busy {
				continue
			}
			wg.Go(func() {
				defer trying.Delete(seed)
				if _, err := g.list.Join([]string{seed}); err != nil {
					g.log.Debug("gossip: seed not reached", "seed", seed, "err", err)
				}
			})
		}
		select {
		case <-tick.C:
		case <-g.done:
			return
		}
	}
}

// missing returns the seeds that no live member listens on.
func (g *Gossip) missing() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	there := map[string]bool{g.self: true, g.cfg.Listen: true}
	for _, m := range g.members {
		there[m.Addr] = true
	}
	var list []string
	for _, s := range g.cfg.Join {
		if !there[s] {
			list = append(list, s)
		}
	}
	return list
}

// keepMeta tells the others when Meta changed.
func (g *Gossip) keepMeta() {
	tick := time.NewTicker(metaInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.update:
		case <-g.done:
			return
		}
		if g.readMeta() {
			// The error says only that nobody has been told yet; gossip
			// goes on telling.
			_ = g.list.UpdateNode(metaInterval)
		}
	}
}

// readMeta asks Meta and reports whether it changed. One that is too long is
// not taken.
func (g *Gossip) readMeta() bool {
	meta := g.cfg.Meta()
	g.metaMu.Lock()
	defer g.metaMu.Unlock()
	if bytes.Equal(meta, g.meta) {
		return false
	}
	if len(meta) > MetaMax {
		g.log.Error("gossip: meta is too long and was not told", "bytes", len(meta), "bound", MetaMax)
		return false
	}
	g.meta = bytes.Clone(meta)
	return true
}

func addrOf(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}
