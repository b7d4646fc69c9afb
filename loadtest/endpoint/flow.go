package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// Transport names how SIP messages travel.
type Transport string

// Transports.
const (
	UDP Transport = "UDP"
	TCP Transport = "TCP"
	TLS Transport = "TLS"
)

// reliable says that the transport itself repeats what was lost.
func (t Transport) reliable() bool { return t != UDP }

// flow is one socket: a bound UDP port, or one connection. Messages are
// handed to the receiver in the order they came.
type flow struct {
	transport Transport
	local     netip.AddrPort
	peer      netip.AddrPort // where UDP requests go by default; the other end of a connection

	udp  *net.UDPConn
	conn net.Conn

	write  sync.Mutex
	closed chan struct{}
	once   sync.Once
}

// openFlow binds local (port 0 picks one) and, for TCP and TLS, connects to peer.
func openFlow(ctx context.Context, t Transport, local, peer netip.AddrPort, tlsConf *tls.Config) (*flow, error) {
	f := &flow{transport: t, peer: peer, closed: make(chan struct{})}
	switch t {
	case UDP:
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		if err != nil {
			return nil, fmt.Errorf("bind UDP %s: %w", local, err)
		}
		// Bursts of a swarm must wait in the socket, not be dropped by it.
		_ = conn.SetReadBuffer(4 << 20)
		f.udp = conn
		f.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	case TCP, TLS:
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local)}
		conn, err := d.DialContext(ctx, "tcp", peer.String())
		if err != nil {
			return nil, fmt.Errorf("connect to %s from %s: %w", peer, local.Addr(), err)
		}
		f.local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
		if t == TLS {
			tc := tls.Client(conn, tlsConf)
			if err := tc.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, fmt.Errorf("TLS handshake with %s: %w", peer, err)
			}
			conn = tc
		}
		f.conn = conn
	default:
		return nil, fmt.Errorf("unknown transport %q", t)
	}
	return f, nil
}

// send writes one message; to is ignored on a connection.
func (f *flow) send(to netip.AddrPort, msg []byte) error {
	if f.udp != nil {
		_, err := f.udp.WriteToUDPAddrPort(msg, to)
		return err
	}
	f.write.Lock()
	defer f.write.Unlock()
	_, err := f.conn.Write(msg)
	return err
}

// rawRoutes leaves Record-Route as it came: a route set is echoed, not understood.
var rawRoutes = func() sip.HeadersParser {
	m := maps.Clone(sip.DefaultHeadersParser())
	delete(m, "record-route")
	return m
}()

// receive reads until the flow is closed. What does not parse is dropped, as
// a phone does; on a connection the stream can't be followed after that, so it ends.
func (f *flow) receive(handle func(msg sip.Message, from netip.AddrPort)) error {
	defer f.close()
	parser := sip.NewParser(sip.WithHeadersParsers(rawRoutes))
	if f.udp != nil {
		buf := make([]byte, 65535)
		for {
			n, from, err := f.udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return f.ended(err)
			}
			data := buf[:n]
			if n < 16 { // keep-alive
				continue
			}
			msg, err := parser.ParseSIP(append([]byte(nil), data...))
			if err != nil {
				continue
			}
			handle(msg, from)
		}
	}
	stream := parser.NewSIPStream()
	defer stream.Close()
	buf := make([]byte, 65535)
	partial := false
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			return f.ended(err)
		}
		data := buf[:n]
		// RFC 5626 keep-alives come between messages; inside one, bare line
		// ends are part of it.
		if !partial && len(strings.Trim(string(data), "\r\n")) == 0 {
			continue
		}
		err = stream.ParseSIPStream(data, func(msg sip.Message) { handle(msg, f.peer) })
		partial = errors.Is(err, sip.ErrParseSipPartial)
		if err != nil && !partial {
			return fmt.Errorf("parse the stream from %s: %w", f.peer, err)
		}
	}
}

func (f *flow) ended(err error) error {
	select {
	case <-f.closed:
		return nil
	default:
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s closed the connection: %w", f.peer, err)
	}
	return err
}

func (f *flow) close() {
	f.once.Do(func() {
		close(f.closed)
		if f.udp != nil {
			f.udp.Close()
		}
		if f.conn != nil {
			f.conn.Close()
		}
	})
}
