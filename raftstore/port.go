package raftstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte on a connection.
const (
	streamRaft    = 1
	streamForward = 2
)

const (
	// helloTimeout bounds the TLS handshake and the first byte.
	helloTimeout = 3 * time.Second
	// dialTimeout bounds reaching a peer that proposals go to.
	dialTimeout = 500 * time.Millisecond
	// strangerInterval is how often a node of another cluster is told about.
	strangerInterval = 10 * time.Second
)

// port is this node's TLS port and its way to the others' ports. It is the
// raft.StreamLayer of the raft streams; forward streams go to serve.
type port struct {
	ln      net.Listener
	self    net.Addr // what others dial
	tls     *tls.Config
	log     *slog.Logger
	cluster func() ClusterID // of this node
	serve   func(net.Conn)
	refused func()

	raft   chan net.Conn
	done   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup

	strangerTold atomic.Int64 // when tellStranger last spoke

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// address is a host:port that others dial; it need not be one of this host's.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// peerTLS derives the configuration of both ends from the caller's: TLS 1.3,
// the peer's certificate required, its chain verified against the cluster's
// authority and its role by check. Peers are dialled by address, so names are
// not compared with the address: the role in the certificate is what counts.
func peerTLS(base *tls.Config, check func(*x509.Certificate) error) *tls.Config {
	c := base.Clone()
	c.MinVersion = tls.VersionTLS13
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.SessionTicketsDisabled = true // every connection verifies anew
	c.InsecureSkipVerify = true     // the dialler's side: verified below instead
	roots := c.RootCAs
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("peer has no certificate")
		}
		leaf := state.PeerCertificates[0]
		opts := x509.VerifyOptions{
			Roots:         roots,
			Intermediates: x509.NewCertPool(),
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := leaf.Verify(opts); err != nil {
			return fmt.Errorf("verify the peer's certificate: %w", err)
		}
		if err := check(leaf); err != nil {
			return fmt.Errorf("peer's role: %w", err)
		}
		return nil
	}
	return c
}

func (p *port) listen() {
	p.wg.Go(func() {
		for {
			conn, err := p.ln.Accept()
			if err != nil {
				select {
				case <-p.done:
					return
				case <-time.After(10 * time.Millisecond): // out of descriptors, say
					continue
				}
			}
			if !p.track(conn) {
				return
			}
			p.wg.Go(func() { p.greet(conn) })
		}
	})
}

// greet finishes the handshake and reads the greeting: the protocol and the
// dialler's cluster.
func (p *port) greet(raw net.Conn) {
	conn := tls.Server(raw, p.tls)
	conn.SetDeadline(time.Now().Add(helloTimeout))
	var first [1 + len(ClusterID{})]byte
	err := conn.Handshake()
	if err == nil {
		_, err = io.ReadFull(conn, first[:])
	}
	if theirs, ours := ClusterID(first[1:]), p.cluster(); err == nil && theirs.stranger(ours) {
		p.refused()
		p.tellStranger(raw.RemoteAddr().String(), theirs, ours)
		p.drop(raw)
		return
	}
	if err != nil {
		p.refused()
		p.log.Info("raft: connection refused", "peer", raw.RemoteAddr().String(), "err", err)
		p.drop(raw)
		return
	}
	conn.SetDeadline(time.Time{})
	tracked := &trackedConn{Conn: conn, forget: func() { p.drop(raw) }}
	switch first[0] {
	case streamRaft:
		select {
		case p.raft <- tracked:
		case <-p.done:
			tracked.Close()
		}
	case streamForward:
		p.serve(tracked)
		tracked.Close()
	default:
		p.refused()
		tracked.Close()
	}
}

// tellStranger says that one of two nodes has another cluster's data; the other
// dials again and again, so it is said once in strangerInterval.
func (p *port) tellStranger(peer string, theirs, ours ClusterID) {
	now := time.Now().UnixNano()
	last := p.strangerTold.Load()
	if now-last < int64(strangerInterval) || !p.strangerTold.CompareAndSwap(last, now) {
		return
	}
	p.log.Error("raft: peer belongs to another cluster: stop the one with old data, empty its folder and let it join",
		"peer", peer, "theirs", theirs.String(), "ours", ours.String())
}

// track keeps a connection so that close can end it; false means the port is
// already closed.
func (p *port) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		c.Close()
		return false
	default:
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *port) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// trackedConn leaves the port's table when it is closed.
type trackedConn struct {
	net.Conn
	forget func()
}

func (c *trackedConn) Close() error {
	// Without the polite TLS goodbye, which may block on a dead peer.
	c.forget()
	return nil
}

// open dials a peer's port and names the protocol and this node's cluster.
func (p *port) open(ctx context.Context, addr string, stream byte) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
	}}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if !p.track(raw) {
		return nil, net.ErrClosed
	}
	conn := tls.Client(raw, p.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		p.drop(raw)
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	cluster := p.cluster()
	if _, err := conn.Write(append([]byte{stream}, cluster[:]...)); err != nil {
		p.drop(raw)
		return nil, fmt.Errorf("greet %s: %w", addr, err)
	}
	conn.SetDeadline(time.Time{})
	return &trackedConn{Conn: conn, forget: func() { p.drop(raw) }}, nil
}

// Dial, Accept, Close and Addr make the port a raft.StreamLayer.
func (p *port) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return p.open(ctx, string(addr), streamRaft)
}

func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.raft:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *port) Addr() net.Addr { return p.self }

// Close stops listening and breaks all connections.
func (p *port) Close() error {
	p.closed.Do(func() {
		p.mu.Lock()
		close(p.done)
		conns := p.conns
		p.conns = map[net.Conn]struct{}{}
		p.mu.Unlock()
		p.ln.Close()
		for c := range conns {
			c.Close()
		}
	})
	return nil
}

// transport is hashicorp/raft's own, without the heartbeat fast path.
type transport struct {
	*raft.NetworkTransport
}

// SetHeartbeatHandler does nothing: hashicorp/raft issue 695.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}
