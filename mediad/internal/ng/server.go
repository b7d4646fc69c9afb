// Package ng serves a worker's control port: the rtpengine NG protocol over
// UDP, TCP and mutual TLS, in bencode or JSON.
//
// It knows envelopes, connections and repeats. What a command does is the
// Engine's business. Over UDP and plain TCP it authenticates nobody: it takes
// commands there from listed networks alone, and others meet silence. Bad
// messages are counted, answered where there is a cookie to answer, and
// otherwise met with silence (UDP) or the end of the connection. What strangers
// and peers can make it hold is bounded: connections in all and per source, the
// size of a message and the time it may take to come, replies that are kept.
package ng

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/mediad/mediaapi"
)

const (
	// patience is how long a reply waits for the standby to have what it
	// confirms. Calls go on without a standby.
	patience = 100 * time.Millisecond
	// writeTimeout ends a connection whose peer does not read.
	writeTimeout = 2 * time.Second
	// handshakeTimeout bounds what a stranger can hold open.
	handshakeTimeout = 5 * time.Second
	// maxPending bounds replies of one connection that wait for the standby.
	maxPending = 1024
	// maxConns and maxConnsEach bound connections, in all and of one source: a
	// router has one, a tool one for a moment.
	maxConns, maxConnsEach = 512, 64
	// messageTime is how long one message on a stream may take to come.
	messageTime = 10 * time.Second
)

// Doer carries out commands and tells of keys; see session.Engine.
type Doer interface {
	Do(r mediaapi.Request) (reply mediaapi.Reply, wait <-chan struct{})
	// Kept tells, once the wait is over, whether what was done is still here: a
	// successor may have begun without it.
	Kept(r mediaapi.Request) bool
	Subscribe(tell func(mediaapi.Reply)) (cancel func())
}

// Server serves any number of listeners.
type Server struct {
	engine Doer
	log    *slog.Logger
	stop   chan struct{}
	wg     sync.WaitGroup
	allow  []netip.Prefix
	cache  cache

	mu     sync.Mutex
	closed bool
	open   map[interface{ Close() error }]bool
	conns  map[netip.Addr]int // by source
	count  int                // of all

	metrics                         *metrics.Set
	requests, bad, repeats, refused *metrics.Counter
}

// New makes a server without listeners. Without TLS it takes commands from the
// allowed networks only.
func New(engine Doer, log *slog.Logger, allow []netip.Prefix) *Server {
	set := metrics.NewSet()
	return &Server{engine: engine, log: log, stop: make(chan struct{}), allow: allow,
		open: map[interface{ Close() error }]bool{}, conns: map[netip.Addr]int{},
		cache:    cache{entries: map[cacheKey]*cached{}},
		metrics:  set,
		requests: set.NewCounter("mediad_ng_requests_total"),
		bad:      set.NewCounter("mediad_ng_malformed_total"),
		repeats:  set.NewCounter("mediad_ng_repeats_total"),
		refused:  set.NewCounter("mediad_ng_refused_total"),
	}
}

// allowed tells whether somebody may send commands without TLS.
func (s *Server) allowed(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return slices.ContainsFunc(s.allow, func(p netip.Prefix) bool { return p.Contains(from) })
}

// admit notes one more connection of a source, if there may be one; dismiss
// takes it off.
func (s *Server) admit(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= maxConns || s.conns[from] >= maxConnsEach {
		return false
	}
	s.count++
	s.conns[from]++
	return true
}

func (s *Server) dismiss(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	if s.conns[from]--; s.conns[from] == 0 {
		delete(s.conns, from)
	}
}

// source is who is at the other end of a connection.
func source(conn net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// Metrics are the server's figures for monitoring.
func (s *Server) Metrics() *metrics.Set { return s.metrics }

// Close ends all listeners and connections and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// track notes what Close must close; false if that was called already.
func (s *Server) track(c interface{ Close() error }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.open[c] = true
	return true
}

func (s *Server) untrack(c interface{ Close() error }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	_ = c.Close()
}

// Serve takes connections from a listener until it or the server is closed.
// A TLS listener authenticates by its own configuration; see RequireRole.
func (s *Server) Serve(l net.Listener) {
	if !s.track(l) {
		return
	}
	s.wg.Go(func() {
		defer s.untrack(l)
		for {
			conn, err := l.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				s.log.Warn("control connection not accepted", "err", err)
				select { // out of descriptors, most likely
				case <-s.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			from := source(conn)
			_, secure := conn.(*tls.Conn)
			if !secure && !s.allowed(from) || !s.admit(from) {
				s.refused.Inc()
				_ = conn.Close()
				continue
			}
			if !s.track(conn) {
				s.dismiss(from)
				continue
			}
			s.wg.Go(func() {
				defer s.dismiss(from)
				defer s.untrack(conn)
				s.serve(conn)
			})
		}
	})
}

// serve is the life of one connection. Commands are carried out in the order
// they come; replies that wait for the standby let others pass.
func (s *Server) serve(conn net.Conn) {
	router := false
	if t, ok := conn.(*tls.Conn); ok {
		_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
		if err := t.Handshake(); err != nil {
			s.log.Warn("control connection refused", "peer", conn.RemoteAddr().String(), "err", err)
			return
		}
		_ = conn.SetDeadline(time.Time{})
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			router = checkRole(certs[0], []string{"router"}) == nil
		}
	}
	w := &stream{conn: conn, router: router, engine: s.engine}
	defer w.close()
	pending := make(chan struct{}, maxPending)
	br := bufio.NewReaderSize(conn, 16<<10)
	for {
		// A peer may be silent for as long as it likes, but not within a message.
		_ = conn.SetReadDeadline(time.Time{})
		if _, err := br.Peek(1); err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(messageTime))
		msg, err := mediaapi.ReadMessage(br)
		if err != nil {
			if errors.Is(err, mediaapi.ErrMalformed) {
				s.bad.Inc()
			}
			return
		}
		out, later := s.answer(msg, w)
		if later != nil {
			pending <- struct{}{}
			s.wg.Go(func() {
				w.write(later())
				<-pending
			})
			continue
		}
		if out == nil {
			return // no cookie: the stream can't be trusted any further
		}
		if len(out) > 0 {
			w.write(out)
		}
	}
}

// ServeUDP takes datagrams until the socket or the server is closed.
func (s *Server) ServeUDP(conn *net.UDPConn) {
	if !s.track(conn) {
		return
	}
	s.wg.Go(func() {
		defer s.untrack(conn)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // an ICMP error of an earlier reply
			}
			s.datagram(conn, buf[:n], from)
		}
	})
}

// datagram answers one datagram; a repeat gets the reply of the first.
func (s *Server) datagram(conn *net.UDPConn, msg []byte, from netip.AddrPort) {
	if !s.allowed(from.Addr()) {
		s.refused.Inc()
		return
	}
	cookie, _, ok := strings.Cut(string(msg[:min(len(msg), 256)]), " ")
	if !ok {
		s.bad.Inc()
		return
	}
	reply := func(b []byte) { _, _ = conn.WriteToUDPAddrPort(b, from) }
	entry, repeat := s.cache.get(cacheKey{from.Addr(), cookie}, time.Now())
	if repeat {
		s.repeats.Inc()
		if b := entry.reply.Load(); b != nil {
			reply(*b)
		}
		return // else the first is still being worked on, and is answered soon
	}
	out, later := s.answer(msg, nil)
	if later != nil {
		s.wg.Go(func() {
			out := later()
			s.cache.keep(entry, out)
			reply(out)
		})
		return
	}
	if out != nil {
		s.cache.keep(entry, out)
		reply(out)
	}
}

// await waits for the standby, not for long.
func (s *Server) await(wait <-chan struct{}) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-wait:
	case <-timer.C:
	case <-s.stop:
	}
}

// answer carries one message out; nil if it can't even be answered, empty if its
// answer is on the way. If later is not nil, it waits for the standby and returns the
// answer. w is nil for a datagram.
func (s *Server) answer(msg []byte, w *stream) (out []byte, later func() []byte) {
	cookie, format, r, err := mediaapi.ParseRequest(msg)
	if err != nil {
		s.bad.Inc()
		if cookie == "" {
			return nil, nil
		}
		bad := mediaapi.Reply{Result: mediaapi.ResultError, Reason: err.Error(), Code: 400}
		return mediaapi.AppendReply(nil, cookie, format, bad), nil
	}
	s.requests.Inc()
	if r.Command == mediaapi.Events {
		return w.subscribe(cookie, format), nil
	}
	reply, wait := s.engine.Do(r)
	if wait == nil {
		return mediaapi.AppendReply(nil, cookie, format, reply), nil
	}
	return nil, func() []byte {
		s.await(wait)
		if !s.engine.Kept(r) {
			reply = mediaapi.Reply{Result: mediaapi.ResultError, Reason: mediaapi.ReasonNotHosted, Code: 503}
		}
		return mediaapi.AppendReply(nil, cookie, format, reply)
	}
}

// RequireRole returns a check for tls.Config.VerifyConnection: the peer's
// certificate must name one of the roles as the second label of a DNS name,
// as in "r1.router.trunkline.internal".
func RequireRole(roles ...string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("no peer certificate")
		}
		return checkRole(cs.PeerCertificates[0], roles)
	}
}

func checkRole(cert *x509.Certificate, roles []string) error {
	for _, name := range cert.DNSNames {
		labels := strings.Split(name, ".")
		for _, role := range roles {
			if len(labels) > 2 && labels[1] == role {
				return nil
			}
		}
	}
	return fmt.Errorf("certificate of %v has none of the roles %v", cert.DNSNames, roles)
}
