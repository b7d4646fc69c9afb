package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	metricReceived  = metrics.NewCounter("routerd_sip_received_messages_total")
	metricSent      = metrics.NewCounter("routerd_sip_sent_messages_total")
	metricMalformed = metrics.NewCounter("routerd_sip_malformed_messages_total")
	metricInvalid   = metrics.NewCounter("routerd_sip_invalid_requests_total")
	metricStrangers = metrics.NewCounter("routerd_sip_refused_sources_total")
	metricBroken    = metrics.NewCounter("routerd_sip_broken_connections_total")
	metricUnsent    = metrics.NewCounter("routerd_sip_unsent_messages_total")
	metricDials     = metrics.NewCounter("routerd_sip_dials_total")
	metricDialFails = metrics.NewCounter("routerd_sip_failed_dials_total")
	metricConns     = metrics.NewCounter("routerd_sip_connections")
)

// TransportConfig says where to listen and whom to hear.
type TransportConfig struct {
	Listen    []string     // TCP host:port
	ListenUDP []string     // UDP host:port
	Allow     []netip.Addr // the only source addresses served; none are without it
	Policy    Policy       // for Validate
	Product   string       // Server header of the transport's own refusals
	// Load is told to clients that ask (RFC 7339); nil: nothing is.
	Load func() Feedback
	// Source is the local address of outbound connections. The zero Addr is
	// that of the first listener.
	Source netip.Addr
	Limits Limits
	Logger *slog.Logger
}

const (
	connectTimeout = 500 * time.Millisecond
	writeTimeout   = 2 * time.Second
	// packetLife is how long a packet may wait for a connection that takes it.
	// What is later may have been given up by its leg, which tries another way
	// by then: an INVITE that still went out would ring where nobody cancels.
	// With connectTimeout before and tune's bound on the kernel's buffer after
	// it, this stays below the 2 s after which the router tries another contact.
	packetLife = 900 * time.Millisecond
	// restAfterFail is how long a next hop that refused is not tried again, so
	// that a queue for a dead edge moves on at once.
	restAfterFail = time.Second
)

var (
	errClosed     = errors.New("transport is closed")
	errClosedConn = errors.New("connection is closed")
	errQueueFull  = errors.New("send queue is full")
	errManyPeers  = errors.New("too many destinations")
	errNoHop      = errors.New("nowhere to send to")
	errTooLate    = errors.New("waited too long for a connection")
)

// Transport carries messages over TCP and UDP. Malformed and invalid requests
// are answered and counted here; the handler sees only valid messages.
type Transport struct {
	cfg    TransportConfig
	handle func(Message, Flow)
	ctx    context.Context
	stop   context.CancelFunc
	done   sync.WaitGroup

	tcp []net.Listener
	udp []*net.UDPConn

	mu      sync.Mutex
	conns   map[*conn]struct{}
	byRem   map[string]*conn   // open connections by remote address
	peers   map[Hop]*peer      // outbound destinations
	count   int                // accepted connections
	sources map[netip.Addr]int // of those, by address
}

// job is a packet on its way.
type job struct {
	p      Packet
	failed func(error)
	hop    int       // next hop to try
	since  time.Time // see Packet.Since; zero: no matter
}

func (j *job) tooLate() bool { return !j.since.IsZero() && time.Since(j.since) > packetLife }

// Listen opens all sockets. handle runs in the connection's reading goroutine,
// so messages of one connection stay in order and none overtakes another; it
// must not block for long.
func Listen(cfg TransportConfig, handle func(Message, Flow)) (*Transport, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Transport{cfg: cfg, handle: handle, conns: map[*conn]struct{}{}, byRem: map[string]*conn{}, peers: map[Hop]*peer{}, sources: map[netip.Addr]int{}}
	t.ctx, t.stop = context.WithCancel(context.Background())
	if err := t.open(); err != nil {
		t.Close()
		return nil, err
	}
	for _, l := range t.tcp {
		t.done.Go(func() { t.accept(l) })
	}
	for _, u := range t.udp {
		t.done.Go(func() { t.readUDP(u) })
	}
	return t, nil
}

func (t *Transport) open() error {
	for _, addr := range t.cfg.Listen {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for SIP over TCP: %w", err)
		}
		t.tcp = append(t.tcp, l)
		ap, err := netip.ParseAddrPort(l.Addr().String())
		if err == nil && !t.cfg.Source.IsValid() && !ap.Addr().IsUnspecified() {
			t.cfg.Source = ap.Addr()
		}
	}
	for _, addr := range t.cfg.ListenUDP {
		a, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return fmt.Errorf("listen for SIP over UDP: %w", err)
		}
		u, err := net.ListenUDP("udp", a)
		if err != nil {
			return fmt.Errorf("listen for SIP over UDP: %w", err)
		}
		t.udp = append(t.udp, u)
	}
	return nil
}

// Addrs are the TCP addresses listened on, then the UDP ones.
func (t *Transport) Addrs() []string {
	var out []string
	for _, l := range t.tcp {
		out = append(out, l.Addr().String())
	}
	for _, u := range t.udp {
		out = append(out, u.LocalAddr().String())
	}
	return out
}

// Close closes all sockets and waits for the handlers to return. It must not
// be called from a handler.
func (t *Transport) Close() error {
	t.stop()
	for _, l := range t.tcp {
		l.Close()
	}
	for _, u := range t.udp {
		u.Close()
	}
	t.mu.Lock()
	for c := range t.conns {
		c.close()
	}
	t.mu.Unlock()
	t.done.Wait()
	return nil
}

// Send queues a packet and returns at once. If it can't be delivered to any of
// its hops, failed is called once from another goroutine (nil: nobody cares).
// Delivered means taken by a connection: only an answer proves more.
func (t *Transport) Send(p Packet, failed func(error)) {
	if t.cfg.Load != nil {
		p.Data = t.cfg.Load().stamp(p.Data)
	}
	j := job{p: p, failed: failed, since: p.Since}
	if j.since.IsZero() {
		j.since = time.Now()
	}
	if p.Conn != "" {
		t.mu.Lock()
		c := t.byRem[p.Conn]
		t.mu.Unlock()
		if c != nil && c.send(j) {
			return
		}
	}
	t.next(j, errNoHop)
}

// next hands a job to its next hop, or gives it up with the last error.
func (t *Transport) next(j job, last error) {
	for j.hop < len(j.p.Hops) && !j.tooLate() {
		h := j.p.Hops[j.hop]
		j.hop++
		var err error
		if h.Network == "udp" {
			err = t.sendUDP(h.Addr, j.p.Data)
			if err == nil {
				return
			}
		} else if err = t.toPeer(h, j); err == nil {
			return
		}
		last = err
	}
	metricUnsent.Inc()
	if j.failed != nil {
		err := fmt.Errorf("send SIP message: %w", last)
		go j.failed(err)
	}
}

func (t *Transport) sendUDP(addr string, data []byte) error {
	if len(t.udp) == 0 {
		return errors.New("no UDP socket")
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("UDP hop is not an address: %w", err)
	}
	if _, err := t.udp[0].WriteToUDPAddrPort(data, ap); err != nil {
		return fmt.Errorf("send datagram: %w", err)
	}
	metricSent.Inc()
	return nil
}

func (t *Transport) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, mostly: wait a little instead of spinning.
			t.cfg.Logger.Error("accept SIP connection", "err", err)
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !t.allowed(nc.RemoteAddr().String()) {
			metricStrangers.Inc()
			nc.Close()
			continue
		}
		if refused := t.admit(addrOf(nc.RemoteAddr())); refused != nil {
			refused.Inc()
			nc.Close()
			continue
		}
		t.start(nc, true)
	}
}

func (t *Transport) allowed(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	return err == nil && slices.Contains(t.cfg.Allow, ap.Addr().Unmap())
}

func (t *Transport) readUDP(u *net.UDPConn) {
	buf := make([]byte, 65536)
	local := u.LocalAddr().String()
	for {
		n, from, err := u.ReadFromUDPAddrPort(buf)
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier datagram
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if !t.allowed(from.String()) {
			metricStrangers.Inc()
			continue
		}
		if n <= 4 && len(trimCRLF(buf[:n])) == 0 {
			continue // keep-alive
		}
		if n > t.cfg.Limits.Message {
			metricMalformed.Inc()
			ignoredOversize.Inc()
			continue
		}
		data := append([]byte(nil), buf[:n]...)
		t.deliver(data, Flow{Network: "udp", Remote: from.String(), Local: local})
	}
}

func trimCRLF(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// deliver parses one message, refuses it or hands it on.
func (t *Transport) deliver(data []byte, flow Flow) {
	metricReceived.Inc()
	msg, err := Parse(data)
	if err != nil {
		metricMalformed.Inc()
		var bad *Malformed
		switch {
		case !errors.As(err, &bad):
		case bad.Request != nil:
			t.refuse(bad.Request, flow, bad.Refusal)
		default:
			ignored(trimCRLF(data))
		}
		return
	}
	if req, ok := msg.(*Request); ok {
		if ref := Validate(req, t.cfg.Policy); ref != nil {
			metricInvalid.Inc()
			t.refuse(req, flow, *ref)
			return
		}
	}
	t.handle(msg, flow)
}

func (t *Transport) refuse(req *Request, flow Flow, ref Refusal) {
	if t.cfg.Product != "" {
		ref.Headers = append(slices.Clone(ref.Headers), Header{"Server", t.cfg.Product})
	}
	tag := NewTag("refused", req.Get("Call-ID"), req.Get("From"))
	t.Send(Respond(req, flow, tag, ref, nil), nil)
}
