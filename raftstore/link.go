package raftstore

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

var (
	// errLinkBroken says that an answer can no longer come on this
	// connection.
	errLinkBroken = errors.New("connection to the leader broke")
	// errOvertaken says that another leader was seen while waiting.
	errOvertaken = errors.New("another leader took over")
	// errSilent says that a peer gave no answer in time.
	errSilent = errors.New("no answer in time")
)

// links is the persistent connections to the other nodes, one for each
// address, dialled when first needed and again after a break.
type links struct {
	port *port

	mu     sync.Mutex
	byAddr map[string]*link
}

// limits ends the waiting for an answer.
type limits struct {
	ctx      context.Context
	overtake <-chan struct{} // closed when the leader changes
	silence  <-chan time.Time
}

// ask sends a frame to addr and waits for its answer. It fails as soon as the
// connection breaks. A peer that was silent for too long loses its connection,
// so that the next ask tries a new one.
func (ls *links) ask(lim limits, addr string, kind frameKind, body []byte) (frame, error) {
	l := ls.to(addr)
	f, err := l.ask(lim, kind, body)
	if errors.Is(err, errSilent) {
		ls.drop(addr, l)
	}
	return f, err
}

// to returns the link to addr, starting a dial if there is none that works.
func (ls *links) to(addr string) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byAddr[addr]
	if l == nil {
		l = &link{
			ready:   make(chan struct{}),
			down:    make(chan struct{}),
			out:     make(chan []byte, 1024),
			pending: map[uint64]chan frame{},
		}
		ls.byAddr[addr] = l
		go ls.run(addr, l)
	}
	return l
}

func (ls *links) drop(addr string, l *link) {
	l.sever()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byAddr[addr] == l {
		delete(ls.byAddr, addr)
	}
}

// run dials, serves the link until it breaks, and forgets it.
func (ls *links) run(addr string, l *link) {
	defer ls.drop(addr, l)
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	conn, err := ls.port.open(ctx, addr, streamForward)
	cancel()
	l.err = err
	close(l.ready)
	if err != nil {
		return
	}
	go func() {
		defer conn.Close()
		defer l.sever()
		writeFrames(conn, l.out, l.down)
	}()
	l.read(conn)
}

// link is one connection to another node's forward port.
type link struct {
	ready chan struct{} // closed when the dial is over
	err   error         // of the dial

	out  chan []byte
	down chan struct{} // closed when no answer can come any more
	once sync.Once

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan frame
}

// broken is closed when a connection that stood has ended; it is nil as long as
// there is none.
func (l *link) broken() <-chan struct{} {
	select {
	case <-l.ready:
		if l.err == nil {
			return l.down
		}
	default:
	}
	return nil
}

// sever ends the link: its writer sees it and closes the connection.
func (l *link) sever() { l.once.Do(func() { close(l.down) }) }

func (l *link) ask(lim limits, kind frameKind, body []byte) (frame, error) {
	select {
	case <-l.ready:
		if l.err != nil {
			return frame{}, l.err
		}
	case <-lim.ctx.Done():
		return frame{}, lim.ctx.Err()
	case <-lim.overtake:
		return frame{}, errOvertaken
	case <-lim.silence:
		return frame{}, errSilent
	}
	id, answer := l.expect()
	defer l.forget(id)
	b := frame{kind: kind, id: id, body: body}.appendTo(make([]byte, 0, 4+frameHead+len(body)))
	out := l.out
	for {
		select {
		case out <- b:
			out = nil // sent: only the answer is awaited now
		case f := <-answer:
			return f, nil
		case <-l.down:
			return frame{}, errLinkBroken
		case <-lim.ctx.Done():
			return frame{}, lim.ctx.Err()
		case <-lim.overtake:
			return frame{}, errOvertaken
		case <-lim.silence:
			return frame{}, errSilent
		}
	}
}

func (l *link) expect() (id uint64, answer chan frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	answer = make(chan frame, 1)
	l.pending[l.next] = answer
	return l.next, answer
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, id)
}

func (l *link) read(conn net.Conn) {
	r := newFrameReader(conn)
	for {
		f, err := readFrame(r)
		if err != nil || f.kind != frameAnswer {
			return
		}
		l.mu.Lock()
		answer := l.pending[f.id]
		delete(l.pending, f.id)
		l.mu.Unlock()
		if answer != nil {
			answer <- f
		}
	}
}

// writeTimeout bounds a write to a peer that no longer reads.
const writeTimeout = 2 * time.Second

func newFrameReader(c net.Conn) *bufio.Reader { return bufio.NewReaderSize(c, 64<<10) }

// writeFrames writes what comes from out in as few writes as it can: it
// flushes when nothing more is waiting. It returns when done is closed or a
// write fails.
func writeFrames(conn net.Conn, out <-chan []byte, done <-chan struct{}) {
	w := bufio.NewWriterSize(conn, 64<<10)
	for {
		var b []byte
		select {
		case b = <-out:
		case <-done:
			return
		}
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		for b != nil {
			if _, err := w.Write(b); err != nil {
				return
			}
			select {
			case b = <-out:
			default:
				b = nil
			}
		}
		if err := w.Flush(); err != nil {
			return
		}
	}
}
