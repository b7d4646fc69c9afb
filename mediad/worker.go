package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/config"
	"trunkline/mediad/internal/ng"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/session"
	"trunkline/mediad/internal/standby"
	"trunkline/mediad/mediaapi"
	"trunkline/raftstore/gossip"
)

// processors are those that the machine, the process's affinity and its container
// leave to it.
var processors = runtime.GOMAXPROCS(0)

// worker is the daemon's parts, in the order in which they start.
type worker struct {
	cfg         *config.Config
	log         *slog.Logger
	incarnation atomic.Uint64
	recording   *record.Log
	keeping     chan struct{} // closed when the keeper has ended
	endKeeping  context.CancelFunc
	store       *standby.Store
	replication net.Listener
	engine      *session.Engine
	ng          *ng.Server
	http        *http.Server
	gossip      *gossip.Gossip
	draining    atomic.Bool
	failed      chan error // of a part that must not end
}

func start(cfg *config.Config, log *slog.Logger) (w *worker, err error) {
	w = &worker{cfg: cfg, log: log, failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, step := range []func() error{w.live, w.openRecording, w.listenReplication, w.startEngine, w.serveNG, w.serveHTTP, w.join} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	log.Info("media worker runs", "incarnation", w.incarnation.Load(), "alone", cfg.Alone())
	return w, nil
}

// live gives this life of the worker a number above all earlier ones.
func (w *worker) live() error {
	if err := os.MkdirAll(w.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	path := filepath.Join(w.cfg.Data, "incarnation")
	last := uint64(0)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if last, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read incarnation: %w", err)
	}
	// The wall clock, so that a lost folder does not begin at 1 again.
	w.incarnation.Store(max(last+1, uint64(time.Now().UnixNano())))
	next := path + ".new"
	if err := os.WriteFile(next, []byte(strconv.FormatUint(w.incarnation.Load(), 10)+"\n"), 0o600); err != nil {
		return fmt.Errorf("write incarnation: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write incarnation: %w", err)
	}
	return nil
}

func (w *worker) openRecording() (err error) {
	if w.cfg.MasterKey == nil {
		return nil
	}
	w.recording, err = record.Open(w.cfg.Recording.Dir, w.cfg.MasterKey, record.Config{SegmentAge: w.cfg.Recording.SegmentAge, Logger: w.log})
	if err != nil {
		return fmt.Errorf("open recording log: %w", err)
	}
	keeper, err := keeperOf(w.cfg, w.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.keeping, w.endKeeping = make(chan struct{}), cancel
	go func() {
		defer close(w.keeping)
		keeper.Run(ctx, w.recording.Sealed())
	}()
	return nil
}

func (w *worker) listenReplication() error {
	w.store = standby.NewStore(w.log)
	if w.cfg.Replication == "" || w.cfg.Identity == nil {
		return nil
	}
	l, err := tls.Listen("tcp", w.cfg.Replication, w.serverTLS("worker"))
	if err != nil {
		return fmt.Errorf("listen for replication: %w", err)
	}
	w.replication = l
	go func() {
		if err := w.store.Serve(l); err != nil {
			w.failed <- err
		}
	}()
	return nil
}

// serverTLS takes peers of the site's CA with one of the roles only.
func (w *worker) serverTLS(roles ...string) *tls.Config {
	id := w.cfg.Identity
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: id.Roots, VerifyConnection: ng.RequireRole(roles...)}
}

// standbyTLS is towards another worker, whose name differs from ours in its
// first label only.
func (w *worker) standbyTLS(name string) *tls.Config {
	id := w.cfg.Identity
	_, domain, _ := strings.Cut(id.Certificate.Leaf.DNSNames[0], ".")
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate}, RootCAs: id.Roots,
		ServerName: name + "." + domain}
}

func (w *worker) startEngine() error {
	cfg := session.Config{Worker: w.cfg.Worker, Incarnation: w.incarnation.Load(), Ports: w.cfg.PortRange, Shards: w.cfg.Media.Threads,
		MaxLegs: w.cfg.Media.MaxLegs, Single: w.cfg.Media.Single, MaxCPU: w.cfg.Media.MaxCPU, Plain: w.cfg.Plain, TLS: w.standbyTLS, Replicas: w.store, Logger: w.log}
	if w.recording != nil {
		cfg.Recorder = w.recording
	}
	if w.cfg.Prompts != "" {
		prompts, err := codec.LoadPrompts(w.cfg.Prompts)
		if err != nil {
			return fmt.Errorf("load prompts: %w", err)
		}
		cfg.Prompts = prompts
	}
	if cfg.Shards == 0 {
		cfg.Shards = processors
	}
	// A shard's thread keeps its place in Go's scheduler while it waits in the
	// kernel; everything else needs as many again, or replies wait 10 ms.
	runtime.GOMAXPROCS(processors + cfg.Shards)
	if !w.cfg.Alone() {
		cfg.Relive = w.relive
	}
	if from, err := netip.ParseAddrPort(w.cfg.Replication); err == nil && !from.Addr().IsUnspecified() {
		cfg.Replication = from.Addr()
	}
	engine, err := session.New(cfg)
	if err != nil {
		return err
	}
	w.engine = engine
	if w.cfg.Alone() {
		for _, a := range w.cfg.Addresses {
			engine.Adopt(a)
		}
	}
	metrics.RegisterSet(engine.Metrics())
	return nil
}

func (w *worker) serveNG() error {
	w.ng = ng.New(w.engine, w.log, w.cfg.Allowed)
	metrics.RegisterSet(w.ng.Metrics())
	if a := w.cfg.NG.TLS; a != "" {
		l, err := tls.Listen("tcp", a, w.serverTLS("router", "edge"))
		if err != nil {
			return fmt.Errorf("listen for NG over TLS: %w", err)
		}
		w.ng.Serve(l)
	}
	if a := w.cfg.NG.TCP; a != "" {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return fmt.Errorf("listen for NG over TCP: %w", err)
		}
		w.ng.Serve(l)
	}
	if a := w.cfg.NG.UDP; a != "" {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(a)))
		if err != nil {
			return fmt.Errorf("listen for NG over UDP: %w", err)
		}
		w.ng.ServeUDP(conn)
	}
	return nil
}

func (w *worker) serveHTTP() error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(out http.ResponseWriter, _ *http.Request) { metrics.WritePrometheus(out, true) })
	mux.HandleFunc("GET /healthz", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprintln(out, "ok") })
	mux.HandleFunc("GET /readyz", w.readyz)
	l, err := net.Listen("tcp", w.cfg.Metrics.Listen)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	w.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := w.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.failed <- fmt.Errorf("serve metrics: %w", err)
		}
	}()
	return nil
}

// readyz: a worker takes calls once it was told to host an address.
func (w *worker) readyz(out http.ResponseWriter, _ *http.Request) {
	switch {
	case w.draining.Load():
		http.Error(out, "draining", http.StatusServiceUnavailable)
	case len(w.engine.Hosted()) == 0:
		http.Error(out, "hosts no media address", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(out, "ok")
	}
}

func (w *worker) join() error {
	if w.cfg.Alone() {
		return nil
	}
	g, err := gossip.Start(gossip.Config{Name: w.cfg.Worker, Listen: w.cfg.Gossip.Listen, Join: w.cfg.Gossip.Join,
		Key: w.cfg.GossipKey, Meta: w.meta, Logger: w.log})
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	w.gossip = g
	return nil
}

// relive begins another life of the same process.
func (w *worker) relive() (uint64, error) {
	if err := w.live(); err != nil {
		return 0, err
	}
	if w.gossip != nil {
		w.gossip.Update()
	}
	return w.incarnation.Load(), nil
}

// meta is what the worker gossips about itself.
func (w *worker) meta() []byte {
	legs, free := w.engine.Load()
	if len(w.engine.Hosted()) == 0 {
		free = w.cfg.PortRange.Pairs() // as soon as it is told to host one
	}
	m := mediaapi.WorkerMeta{Kind: mediaapi.WorkerKind, Incarnation: w.incarnation.Load(), Control: w.cfg.NG.TLS,
		Replication: w.cfg.Replication, Addresses: w.cfg.Media.Addresses, Sessions: legs, FreePorts: free, Draining: w.draining.Load()}
	m.Covered = m.Draining && w.engine.Covered()
	b, err := json.Marshal(m)
	if err != nil {
		panic("mediad: " + err.Error()) // plain data of our own
	}
	return b
}

// drain hands the calls to the standbys: the routers read in gossip that it wants
// to go, and that it may. Without a standby the calls end first, within a limit; a
// second signal ends the wait.
func (w *worker) drain() error {
	w.draining.Store(true)
	w.engine.Drain()
	if w.gossip != nil {
		w.gossip.Update()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	limit := time.NewTimer(w.cfg.Drain)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		legs, _ := w.engine.Load()
		if legs == 0 {
			w.log.Info("drained")
			return nil
		}
		select {
		case <-tick.C:
			if w.gossip != nil {
				w.gossip.Update() // a standby may have come, or caught up
			}
			continue
		case err := <-w.failed:
			return err
		case <-ctx.Done():
		case <-limit.C:
		}
		w.log.Warn("stopping with legs open: their standby goes on with them", "legs", legs)
		return nil
	}
}

// close stops the parts, newest first. Control connections break before
// sessions end, so that routers hear of the end from them.
func (w *worker) close() {
	if w.gossip != nil {
		if err := w.gossip.Leave(); err != nil {
			w.log.Warn("gossip not left", "err", err)
		}
		_ = w.gossip.Close()
	}
	if w.http != nil {
		_ = w.http.Close()
	}
	if w.ng != nil {
		w.ng.Close()
	}
	if w.engine != nil {
		w.engine.Close()
	}
	if w.replication != nil {
		_ = w.replication.Close()
	}
	if w.store != nil {
		w.store.Close()
	}
	if w.keeping != nil {
		w.endKeeping()
		<-w.keeping
	}
	if w.recording != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := w.recording.Close(ctx); err != nil {
			w.log.Error("recording log not closed", "err", err)
		}
	}
}
