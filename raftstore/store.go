package raftstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"trunkline/raftstore/archive"
)

// Config is one node of a cluster.
type Config struct {
	// ID names the node for all time.
	ID string
	// Listen is the host:port to listen on.
	Listen string
	// Listener, when set, is used instead of listening on Listen.
	Listener net.Listener
	// Advertise is the host:port the others dial; Voters[ID] when empty,
	// and Listen when the node is no voter.
	Advertise string
	// Voters is the id and address of each founding voter. It is used on an
	// empty Dir only; later the log says who belongs. A node that is not
	// among them waits for a leader that has added it.
	Voters map[string]string
	// Dir holds the log, term and vote, and snapshots. It belongs to one
	// process at a time.
	Dir string
	// TLS has this node's certificate and, in RootCAs and ClientCAs, the
	// authority of the cluster.
	TLS *tls.Config
	// CheckPeer refuses a verified certificate that is not a cluster
	// member's.
	CheckPeer func(*x509.Certificate) error
	// Logger should name the node already.
	Logger *slog.Logger
	// OnFatal is called, once, when this node must not go on because its
	// disk hangs, is full, fails or is damaged; the error says what a person
	// must do. The default ends the process with status 1. A node whose
	// OnFatal returns steps down as leader and follows nobody.
	OnFatal func(error)
	// WriteDeadline is the longest a disk write may take; 300 ms by default.
	WriteDeadline time.Duration
	// MinFree is the space on the disk without which the node does not
	// start; 64 MiB by default.
	MinFree int64
	// Archive, when set, has applied entries and a snapshot now and then kept
	// in ArchiveDir(Dir). Its Logger is this one's when nil.
	Archive *archive.Options

	wrapLog func(raft.LogStore) raft.LogStore // tests: a disk that hangs
	wall    func() int64                      // tests: a wall clock that is wrong
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	need := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what))
		}
	}
	need(c.ID != "", "ID is empty")
	need(c.Dir != "", "Dir is empty")
	need(c.Listen != "" || c.Listener != nil, "Listen is empty")
	need(c.CheckPeer != nil, "CheckPeer is missing")
	need(c.TLS != nil && c.TLS.RootCAs != nil && c.TLS.ClientCAs != nil, "TLS is missing or has no RootCAs and ClientCAs")
	if err := errors.Join(faults...); err != nil {
		return c, fmt.Errorf("raftstore: config: %w", err)
	}
	if c.Advertise == "" {
		c.Advertise = c.Voters[c.ID]
	}
	if c.Advertise == "" && c.Listener != nil {
		c.Advertise = c.Listener.Addr().String()
	}
	if c.Advertise == "" {
		c.Advertise = c.Listen
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) { os.Exit(1) }
	}
	if c.MinFree == 0 {
		c.MinFree = 4 * segmentSize
	}
	if c.WriteDeadline == 0 {
		c.WriteDeadline = 300 * time.Millisecond
	}
	return c, nil
}

// Store is this node of the cluster.
type Store struct {
	id     string
	log    *slog.Logger
	voters map[string]string

	raft   *raft.Raft
	gather gather
	fsm    *fsm
	member *membership
	port   *port
	links  *links
	disk   *disk
	met    *meters

	admin sync.Mutex // one change of members at a time

	leadership  atomic.Pointer[leadership]
	readyTerm   atomic.Uint64 // term in which this node leads and is caught up
	barrierTerm uint64        // term for which catchUp was started
	caughtUp    chan struct{}
	own         chan bool

	done     chan struct{}
	stopping sync.Once
	stopped  chan struct{}
	wg       sync.WaitGroup
}

// Open starts the node: it restores the snapshot and replays the log in Dir, or
// founds a cluster with the other voters when Dir is empty and theirs are too.
// It returns without waiting for them.
func Open(cfg Config, sm StateMachine) (_ *Store, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		id:       cfg.ID,
		log:      cfg.Logger,
		voters:   cfg.Voters,
		caughtUp: make(chan struct{}, 1),
		own:      make(chan bool, 1),
		done:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	s.leadership.Store(&leadership{over: make(chan struct{})})
	s.met = newMeters(s)
	s.disk, err = openDisk(cfg, s.met)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.disk.close()
		}
	}()
	if s.member, err = openMembership(s.disk.stable); err != nil {
		return nil, err
	}
	if err := s.openPort(cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.port.Close()
		}
	}()
	last, err := s.disk.log.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read the log in %s: %w", cfg.Dir, err)
	}
	s.fsm = &fsm{machine: sm, clock: newClock(), member: s.member, replayTo: last,
		archive: openArchive(cfg, s.disk),
		leading: func() bool { return s.leadership.Load().self }}
	if cfg.wall != nil {
		s.fsm.clock.wall = cfg.wall
	}
	defer func() {
		if err != nil {
			s.fsm.archive.Close()
		}
	}()
	s.fsm.starting.Store(true)
	s.raft, err = raft.NewRaft(raftConfig(cfg), s.fsm, s.disk.log, s.disk.stable, s.disk.snaps, s.newTransport())
	if err != nil {
		return nil, fmt.Errorf("start raft from %s: %w", cfg.Dir, err)
	}
	s.fsm.starting.Store(false)
	s.gather.apply = s.raft.Apply
	s.met.publish(s, cfg.Dir)
	s.wg.Go(s.watchLeadership)
	s.wg.Go(s.suspect)
	if !s.disk.used {
		s.wg.Go(s.found)
	}
	s.port.listen()
	return s, nil
}

func (s *Store) openPort(cfg Config) error {
	ln := cfg.Listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", cfg.Listen); err != nil {
			return fmt.Errorf("raftstore: %w", err)
		}
	}
	s.port = &port{
		ln:      ln,
		self:    address(cfg.Advertise),
		tls:     peerTLS(cfg.TLS, cfg.CheckPeer),
		log:     cfg.Logger,
		cluster: s.member.id,
		serve:   s.serveForward,
		refused: s.met.refused.Inc,
		raft:    make(chan net.Conn),
		done:    make(chan struct{}),
		conns:   map[net.Conn]struct{}{},
	}
	s.links = &links{port: s.port, byAddr: map[string]*link{}}
	return nil
}

func (s *Store) newTransport() raft.Transport {
	return transport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  s.port,
		MaxPool: 3,
		Timeout: time.Second,
		Logger:  libraryLogger(s.log),
	})}
}

// raftConfig holds the settings measured for a failover within 500 ms; see
// docs/decisions.
func raftConfig(cfg Config) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.ID)
	c.HeartbeatTimeout = heartbeatTimeout
	c.ElectionTimeout = heartbeatTimeout
	c.LeaderLeaseTimeout = leaderLease
	c.CommitTimeout = 10 * time.Millisecond
	c.MaxAppendEntries = 512
	// Commands that were gathered stay together on their way to the disk. One may
	// be taken in after the store is closed, which Propose does not wait for.
	c.BatchApplyCh = true
	// The default keeps 15 s of a busy log: a node restarted later than
	// that would need a whole snapshot.
	c.TrailingLogs = 400_000
	c.SnapshotInterval = 30 * time.Second
	c.PreVoteDisabled = false
	c.NoLegacyTelemetry = true
	c.Logger = libraryLogger(cfg.Logger)
	return c
}

// segmentSize is small: a new segment is allocated while appends wait for it.
const segmentSize = 16 << 20

// disk is what the node keeps in Dir.
type disk struct {
	log    raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore
	used   bool // Dir held a state when it was opened
	close  func()
}

func openDisk(cfg Config, met *meters) (*disk, error) {
	walDir := filepath.Join(cfg.Dir, "wal")
	if err := os.MkdirAll(walDir, 0o700); err != nil {
		return nil, fmt.Errorf("raftstore: %w", err)
	}
	unlock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkRoom(cfg.Dir, cfg.MinFree); err != nil {
		unlock()
		return nil, err
	}
	logger := libraryLogger(cfg.Logger)
	w, err := wal.Open(walDir, wal.WithLogger(logger), wal.WithSegmentSize(segmentSize))
	if err != nil {
		unlock()
		return nil, fmt.Errorf("open the log in %s: %w", walDir, err)
	}
	closeAll := func() {
		w.Close()
		unlock()
	}
	var once sync.Once
	watch := &diskWatch{
		dir:      cfg.Dir,
		deadline: cfg.WriteDeadline,
		took:     met.wrote,
		fatal: func(err error) {
			once.Do(func() {
				cfg.Logger.Error("raft: node can't go on", "err", err)
				cfg.OnFatal(err)
			})
		},
	}
	snaps, err := openSnapshots(cfg.Dir, logger, watch, met.unsnapped.Inc)
	if err != nil {
		closeAll()
		return nil, err
	}
	used, err := raft.HasExistingState(w, w, snaps)
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("read the log in %s: %w", walDir, err)
	}
	var entries raft.LogStore = w
	if cfg.wrapLog != nil {
		entries = cfg.wrapLog(w)
	}
	cached, err := raft.NewLogCache(4096, &watchedLog{LogStore: entries, watch: watch})
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("cache the log: %w", err)
	}
	return &disk{
		log: &anchoredLog{cached, snaps}, stable: &voteStore{StableStore: &watchedStable{StableStore: w, watch: watch}},
		snaps: snaps, used: used, close: closeAll,
	}, nil
}

// Shutdown hands leadership over, if this node has it, and stops. It returns
// when all is closed or ctx ends.
func (s *Store) Shutdown(ctx context.Context) error {
	if _, self := s.Leader(); self {
		handed := make(chan error, 1)
		go func() { handed <- s.TransferLeadership() }()
		select {
		case err := <-handed:
			if err != nil {
				s.log.Info("raft: leaving without a successor", "err", err)
			}
		case <-time.After(attemptTimeout):
		case <-ctx.Done():
		}
	}
	s.stop()
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down raft: %w", ctx.Err())
	}
}

// Abort stops as a crash would: no leadership is handed over and connections
// break. It returns when all is closed.
func (s *Store) Abort() {
	s.port.Close()
	s.stop()
	<-s.stopped
}

func (s *Store) stop() {
	s.stopping.Do(func() {
		close(s.done)
		go func() {
			defer close(s.stopped)
			if err := s.raft.Shutdown().Error(); err != nil {
				s.log.Warn("raft: shutdown", "err", err)
			}
			s.port.Close()
			s.port.wg.Wait()
			s.wg.Wait()
			s.fsm.archive.Close()
			s.disk.close()
			s.met.withdraw()
		}()
	})
}
