package sip

import (
	"errors"
	"net"
	"os"
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
	out      *outbox
	closed   chan struct{}
	once     sync.Once
}

// start runs a connection's goroutines and registers it.
func (t *Transport) start(nc net.Conn, accepted bool) *conn {
	tune(nc)
	c := &conn{
		t: t, nc: nc, accepted: accepted, out: newOutbox(), closed: make(chan struct{}),
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
	// What the kernel holds counts too; an edge is near, so this is no brake.
	tc.SetReadBuffer(socketBuffer)
	tc.SetWriteBuffer(socketBuffer)
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
		t.dismiss(addrOf(c.nc.RemoteAddr()))
	}
	t.mu.Unlock()
	metricConns.Dec()
}

// send queues a packet for writing; false if another way must be found. A far
// end for which so much waits does not read.
func (c *conn) send(j job) bool {
	err := c.out.put(j)
	if errors.Is(err, errQueueFull) {
		closedUnread.Inc()
		c.close()
	}
	return err == nil
}

func (c *conn) write() {
	for {
		select {
		case <-c.closed:
			c.elsewhere(c.out.close(), net.ErrClosed)
			return
		case <-c.out.wake:
		}
		jobs := c.out.take()
		for i, j := range jobs {
			if j.tooLate() {
				c.t.next(j, errTooLate)
				continue
			}
			c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.nc.Write(j.p.Data); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					closedUnread.Inc()
				}
				metricBroken.Inc()
				c.close()
				// Part of it may have arrived; the same bytes by another way are
				// a retransmission.
				c.elsewhere(jobs[i:], err)
				c.elsewhere(c.out.close(), net.ErrClosed)
				return
			}
			metricSent.Inc()
		}
	}
}

// elsewhere sends what a connection that broke did not by its next hops.
func (c *conn) elsewhere(jobs []job, why error) {
	for _, j := range jobs {
		c.t.next(j, why)
	}
}

func (c *conn) read() {
	defer c.unregister()
	f := framer{max: c.t.cfg.Limits.Message}
	p := patience{limits: c.t.cfg.Limits}
	if c.accepted {
		p.first = time.Now().Add(p.limits.FirstMessage)
	}
	for {
		c.nc.SetReadDeadline(p.until(time.Now(), f.started()))
		n, err := c.nc.Read(f.space())
		if err != nil {
			p.ended(err, f.started())
			return
		}
		f.took(n)
		if !c.frames(&f, &p) {
			return
		}
	}
}

// frames delivers all whole messages; false if the stream lost its place.
func (c *conn) frames(f *framer, p *patience) bool {
	for {
		msg, pings, err := f.next()
		if extra := pings - pongsPerRead; extra > 0 {
			ignoredPings.Add(extra)
		}
		for range min(pings, pongsPerRead) {
			c.send(job{p: Packet{Data: crlf}})
		}
		if err != nil {
			metricMalformed.Inc()
			if errors.Is(err, errTooLarge) {
				closedOversize.Inc()
			} else {
				closedNoLength.Inc()
			}
			c.refuseFrame(msg, err)
			return false
		}
		if msg == nil {
			return true
		}
		p.heard()
		c.t.deliver(msg, c.flow)
	}
}

// refuseFrame answers a request whose length can't be known, as the last thing
// said on the connection.
func (c *conn) refuseFrame(head []byte, cause error) {
	msg, err := Parse(head)
	req, _ := msg.(*Request) // without its body it may be sound
	ref := Refusal{Code: 400, Reason: "Content-Length Unknown"}
	var bad *Malformed
	if errors.As(err, &bad) {
		req, ref = bad.Request, bad.Refusal
	}
	if req == nil || req.Method == "ACK" {
		return
	}
	if errors.Is(cause, errTooLarge) {
		ref = Refusal{Code: 513, Reason: "Message Too Large"}
	}
	tag := NewTag("refused", req.Get("Call-ID"), req.Get("From"))
	p := Respond(req, c.flow, tag, ref, nil)
	c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	c.nc.Write(p.Data)
}

// peer is one outbound TCP destination: one connection, dialled when needed.
type peer struct {
	t     *Transport
	hop   Hop
	queue *outbox
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
		if len(t.peers) >= t.cfg.Limits.Peers {
			return errManyPeers
		}
		p = &peer{t: t, hop: h, queue: newOutbox()}
		t.peers[h] = p
		t.done.Go(p.run)
	}
	return p.queue.put(j)
}

// peerIdle is how long a destination without connection and work is kept.
const peerIdle = time.Minute

func (p *peer) run() {
	var d dialled
	idle := time.NewTicker(peerIdle)
	defer idle.Stop()
	for {
		select {
		case <-p.t.ctx.Done():
			for _, j := range p.queue.close() {
				p.t.next(j, errClosed)
			}
			return
		case <-idle.C:
			if (d.conn == nil || !d.conn.open()) && p.retire() {
				return
			}
		case <-p.queue.wake:
			for _, j := range p.queue.take() {
				p.pass(&d, j)
			}
		}
	}
}

// dialled is a peer's connection, or why there is none.
type dialled struct {
	conn *conn
	err  error
	rest time.Time // not dialled again before
}

// pass gives a job to the destination's connection, dialled if need be, or on to
// its next hop.
func (p *peer) pass(d *dialled, j job) {
	if d.conn == nil || !d.conn.open() {
		if time.Now().Before(d.rest) {
			p.t.next(j, d.err)
			return
		}
		nc, err := p.dial()
		if err != nil {
			d.err, d.rest = err, time.Now().Add(restAfterFail)
			p.t.next(j, err)
			return
		}
		d.conn = p.t.start(nc, false)
	}
	if !d.conn.send(j) {
		p.t.next(j, errQueueFull)
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
	if !p.queue.closeIfEmpty() {
		return false
	}
	delete(p.t.peers, p.hop)
	return true
}
