package sip

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one TCP connection, accepted or dialled. Both directions carry
// requests and responses.
type conn struct {
	t        *Transport
	nc       net.Conn
	flow     Flow
	accepted bool
	out      chan job
	closed   chan struct{}
	once     sync.Once
}

// start runs a connection's goroutines and registers it.
func (t *Transport) start(nc net.Conn, accepted bool) *conn {
	tune(nc)
	c := &conn{
		t: t, nc: nc, accepted: accepted, out: make(chan job, queueLength), closed: make(chan struct{}),
		flow: Flow{Network: "tcp", Remote: nc.RemoteAddr().String(), Local: nc.LocalAddr().String()},
	}
	t.mu.Lock()
	t.conns[c] = struct{}{}
	t.byRem[c.flow.Remote] = c
	t.mu.Unlock()
	metricConns.Inc()
	if t.ctx.Err() != nil {
		c.close()
	}
	t.done.Go(c.read)
	t.done.Go(c.write)
	return c
}

// tune makes a dead far end show within a second: unacknowledged data fails the
// connection instead of arriving, minutes later, where nobody waits for it.
func tune(nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		// A kernel without the option only finds the failure later.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1000)
	})
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.closed)
		c.nc.Close()
	})
}

// unregister forgets the connection; run by its reader, once.
func (c *conn) unregister() {
	c.close()
	t := c.t
	t.mu.Lock()
	delete(t.conns, c)
	if t.byRem[c.flow.Remote] == c {
		delete(t.byRem, c.flow.Remote)
	}
	if c.accepted {
		t.count--
	}
	t.mu.Unlock()
	metricConns.Dec()
}

// enqueue takes a job unless the connection is closed or its queue full.
func (c *conn) enqueue(j job) bool {
	select {
	case <-c.closed:
		return false
	default:
	}
	select {
	case c.out <- j:
		return true
	default:
		return false
	}
}

func (c *conn) write() {
	defer c.drain()
	for {
		select {
		case <-c.closed:
			return
		case j := <-c.out:
			if j.tooLate() {
				c.t.next(j, errTooLate)
				continue
			}
			c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.nc.Write(j.p.Data); err != nil {
				// Part of it may have arrived; the same bytes by another way are
				// a retransmission.
				metricBroken.Inc()
				c.close()
				c.t.next(j, err)
				return
			}
			metricSent.Inc()
		}
	}
}

// drain sends what was queued on a connection that broke by its next hops.
// A job enqueued after this is lost like one in the kernel's buffer: only a
// transaction's timer can tell.
func (c *conn) drain() {
	for {
		select {
		case j := <-c.out:
			c.t.next(j, net.ErrClosed)
		default:
			return
		}
	}
}

func (c *conn) read() {
	defer c.unregister()
	f := framer{max: c.t.cfg.MaxMessage}
	buf := make([]byte, 16384)
	var begun time.Time
	for {
		limit := time.Now().Add(c.t.cfg.Idle)
		if f.started() {
			if begun.IsZero() {
				begun = time.Now()
			}
			limit = begun.Add(c.t.cfg.MessageTimeout)
		} else {
			begun = time.Time{}
		}
		c.nc.SetReadDeadline(limit)
		n, err := c.nc.Read(buf)
		if err != nil {
			if f.started() {
				metricMalformed.Inc()
			}
			return
		}
		f.add(buf[:n])
		if !c.frames(&f, &begun) {
			return
		}
	}
}

// frames delivers all whole messages; false if the stream lost its place.
func (c *conn) frames(f *framer, begun *time.Time) bool {
	for {
		msg, pings, err := f.next()
		for range pings {
			c.enqueue(job{p: Packet{Data: crlf}})
		}
		if err != nil {
			metricMalformed.Inc()
			c.refuseFrame(msg, err)
			return false
		}
		if msg == nil {
			return true
		}
		*begun = time.Time{}
		c.t.deliver(msg, c.flow)
	}
}

// refuseFrame answers a request whose length can't be known, as the last thing
// said on the connection.
func (c *conn) refuseFrame(head []byte, cause error) {
	_, err := Parse(head)
	var bad *Malformed
	if !errors.As(err, &bad) || bad.Request == nil {
		return
	}
	ref := bad.Refusal
	if errors.Is(cause, errTooLarge) {
		ref = Refusal{Code: 513, Reason: "Message Too Large"}
	}
	tag := NewTag("refused", bad.Request.Get("Call-ID"), bad.Request.Get("From"))
	p := Respond(bad.Request, c.flow, tag, ref, nil)
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.nc.Write(p.Data)
}

// peer is one outbound TCP destination: one connection, dialled when needed.
type peer struct {
	t     *Transport
	hop   Hop
	queue chan job
}

// toPeer queues a job for a destination, making it if needed.
func (t *Transport) toPeer(h Hop, j job) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return errClosed
	}
	p := t.peers[h]
	if p == nil {
		p = &peer{t: t, hop: h, queue: make(chan job, queueLength)}
		t.peers[h] = p
		t.done.Go(p.run)
	}
	select {
	case p.queue <- j:
		return nil
	default:
		return errQueueFull
	}
}

// peerIdle is how long a destination without connection and work is kept.
const peerIdle = time.Minute

func (p *peer) run() {
	var c *conn
	var rest time.Time // not dialled again before
	var lastErr error
	idle := time.NewTicker(peerIdle)
	defer idle.Stop()
	for {
		select {
		case <-p.t.ctx.Done():
			p.drain(errClosed)
			return
		case <-idle.C:
			if (c == nil || !c.open()) && p.retire() {
				return
			}
		case j := <-p.queue:
			if c == nil || !c.open() {
				if time.Now().Before(rest) {
					p.t.next(j, lastErr)
					continue
				}
				nc, err := p.dial()
				if err != nil {
					lastErr, rest = err, time.Now().Add(restAfterFail)
					p.t.next(j, err)
					continue
				}
				c = p.t.start(nc, false)
			}
			if !c.enqueue(j) {
				p.t.next(j, errQueueFull)
			}
		}
	}
}

func (c *conn) open() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

func (p *peer) dial() (net.Conn, error) {
	metricDials.Inc()
	d := net.Dialer{Timeout: connectTimeout}
	if src := p.t.cfg.Source; src.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: src.AsSlice()}
	}
	nc, err := d.DialContext(p.t.ctx, "tcp", p.hop.Addr)
	if err != nil {
		metricDialFails.Inc()
		return nil, err
	}
	return nc, nil
}

// retire removes the peer unless work arrived meanwhile.
func (p *peer) retire() bool {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if len(p.queue) > 0 {
		return false
	}
	delete(p.t.peers, p.hop)
	return true
}

func (p *peer) drain(err error) {
	for {
		select {
		case j := <-p.queue:
			p.t.next(j, err)
		default:
			return
		}
	}
}
