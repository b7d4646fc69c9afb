package sip

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Limits bound what far ends can make a Transport hold and wait for. The zero
// value of a field stands for its default.
type Limits struct {
	Message int // bytes of one message, its headers and its body; 65535
	Conns   int // accepted connections; 1024
	// ConnsPerSource bounds those of one address, 256: an edge that has lost its
	// mind leaves room for the other ones.
	ConnsPerSource int
	Peers          int // destinations dialled at a time; 256
	// MessageTime is how long a message that began may take to arrive, 10 s,
	// however many bytes come meanwhile; FirstMessage how long an accepted
	// connection may be open without one, 10 s; Idle how long any may say
	// nothing, 2 h.
	MessageTime  time.Duration
	FirstMessage time.Duration
	Idle         time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Message: cmp.Or(l.Message, 65535), Conns: cmp.Or(l.Conns, 1024), ConnsPerSource: cmp.Or(l.ConnsPerSource, 256), Peers: cmp.Or(l.Peers, 256),
		MessageTime: cmp.Or(l.MessageTime, 10*time.Second), FirstMessage: cmp.Or(l.FirstMessage, 10*time.Second), Idle: cmp.Or(l.Idle, 2*time.Hour),
	}
}

// socketBuffer bounds what the kernel keeps for one connection and direction.
const socketBuffer = 256 << 10

// pongsPerRead bounds the keep-alives answered of those that arrive together
// (RFC 5626 section 3.5.1): one is due in 24 s.
const pongsPerRead = 4

// Connections that the transport does not take, and those it ends by itself.
var (
	refusedAll    = metrics.NewCounter(`routerd_sip_refused_connections_total{reason="all"}`)
	refusedSource = metrics.NewCounter(`routerd_sip_refused_connections_total{reason="source"}`)

	closedSilent   = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="silent"}`)
	closedSlow     = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="slow"}`)
	closedIdle     = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="idle"}`)
	closedOversize = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="oversize"}`)
	closedNoLength = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="length"}`)
	closedUnread   = metrics.NewCounter(`routerd_sip_closed_connections_total{reason="unread"}`)
)

// What is read and neither answered nor handed on.
var (
	ignoredGarbage  = metrics.NewCounter(`routerd_sip_ignored_messages_total{reason="garbage"}`)
	ignoredResponse = metrics.NewCounter(`routerd_sip_ignored_messages_total{reason="response"}`)
	ignoredAck      = metrics.NewCounter(`routerd_sip_ignored_messages_total{reason="ack"}`)
	ignoredOversize = metrics.NewCounter(`routerd_sip_ignored_messages_total{reason="oversize"}`)
	ignoredPings    = metrics.NewCounter(`routerd_sip_ignored_messages_total{reason="keepalive"}`)
)

// admit counts an accepted connection in, or says why it is one too many.
func (t *Transport) admit(from netip.Addr) *metrics.Counter {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.count >= t.cfg.Limits.Conns:
		return refusedAll
	case t.sources[from] >= t.cfg.Limits.ConnsPerSource:
		return refusedSource
	}
	t.count++
	t.sources[from]++
	return nil
}

// dismiss counts an accepted connection out; t.mu is held.
func (t *Transport) dismiss(from netip.Addr) {
	t.count--
	if t.sources[from]--; t.sources[from] == 0 {
		delete(t.sources, from)
	}
}

// patience is how long a connection's next bytes are waited for, and how it is
// counted if they do not come.
type patience struct {
	limits Limits
	first  time.Time // until then a whole message must have come; zero: it has
	begun  time.Time // when the message now arriving began; zero: none has
}

func (p *patience) until(now time.Time, started bool) time.Time {
	if !started {
		p.begun = time.Time{}
	} else if p.begun.IsZero() {
		p.begun = now
	}
	limit := now.Add(p.limits.Idle)
	if started {
		limit = p.begun.Add(p.limits.MessageTime)
	}
	if !p.first.IsZero() && p.first.Before(limit) {
		limit = p.first
	}
	return limit
}

// heard: a whole message came, and the next one has all its time.
func (p *patience) heard() { p.first, p.begun = time.Time{}, time.Time{} }

// ended counts the end of a connection's reading.
func (p *patience) ended(err error, started bool) {
	if started {
		metricMalformed.Inc() // half a message
	}
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
	case started:
		closedSlow.Inc()
	case !p.first.IsZero():
		closedSilent.Inc()
	default:
		closedIdle.Inc()
	}
}

// ignored counts a message that can't or may not be answered.
func ignored(data []byte) {
	switch {
	case bytes.HasPrefix(data, []byte("ACK ")):
		ignoredAck.Inc()
	case bytes.HasPrefix(data, []byte("SIP/")):
		ignoredResponse.Inc()
	default:
		ignoredGarbage.Inc()
	}
}

func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
