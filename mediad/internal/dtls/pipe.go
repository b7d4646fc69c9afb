package dtls

import (
	"net"
	"os"
	"sync"
	"time"
)

// pipe is a net.PacketConn whose datagrams come by deliver.
type pipe struct {
	send     func(b []byte)
	incoming chan []byte
	closed   chan struct{}
	once     sync.Once

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

func newPipe(send func(b []byte)) *pipe {
	return &pipe{send: send, incoming: make(chan []byte, maxWaiting), closed: make(chan struct{}), moved: make(chan struct{})}
}

func (p *pipe) deliver(b []byte) {
	if len(b) > maxDatagram {
		return
	}
	select {
	case p.incoming <- append([]byte(nil), b...):
	default:
	}
}

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		p.mu.Lock()
		deadline, moved := p.deadline, p.moved
		p.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case d := <-p.incoming:
			return copy(b, d), peerAddr, nil
		case <-p.closed:
			return 0, nil, net.ErrClosed
		case <-expired:
			return 0, nil, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
		p.send(b)
		return len(b), nil
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipe) LocalAddr() net.Addr { return peerAddr }

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	close(p.moved)
	p.moved = make(chan struct{})
	return nil
}

func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline: writes do not block.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }
