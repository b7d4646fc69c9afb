package standby

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// fenceTimeout bounds the wait for a hung host to take word of its end.
const fenceTimeout = 20 * time.Millisecond

// Call is what a standby holds of one record.
type Call struct {
	Key    string
	Record []byte
	Mark   []byte // newest running mark, or nil
}

// Replica is what one host sent of one address.
type Replica struct {
	Worker string
	Epoch  uint64
	Calls  []Call

	of *replica
}

// Store keeps replicas, one per address.
type Store struct {
	log *slog.Logger

	mu       sync.Mutex
	replicas map[string]*replica
	fences   map[string]uint64 // address: epochs below are over
	conns    map[net.Conn]bool
	closed   bool
}

// replica is guarded by Store.mu.
type replica struct {
	worker string
	life   uint64 // incarnation of the worker
	epoch  uint64
	calls  map[string]Call
	next   map[string]Call // while a full copy comes in
	conn   net.Conn        // the one that may write to it
	heard  time.Time       // when anything came over it last
	lost   time.Time       // when it broke, zero: it stands, or never did
	taken  bool
	over   bool // and the host was told
}

// NewStore makes an empty store.
func NewStore(log *slog.Logger) *Store {
	return &Store{log: log, replicas: map[string]*replica{}, fences: map[string]uint64{}, conns: map[net.Conn]bool{}}
}

// Serve accepts hosts until the listener is closed. The listener authenticates
// them.
func (s *Store) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accept replication: %w", err)
		}
		go func() {
			if err := s.receive(conn); err != nil {
				s.log.Warn("replication from host ended", "peer", conn.RemoteAddr().String(), "err", err)
			}
		}()
	}
}

// Take removes and returns what is held of an address, nil if nothing is, and
// ends every epoch below this one: whoever calls with one is told. The host that
// is connected now is told by Relieve, which must follow: until then what it sends
// is neither kept nor acknowledged, and one that lives goes on with its calls.
func (s *Store) Take(address string, epoch uint64) *Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fences[address] = max(s.fences[address], epoch)
	r := s.replicas[address]
	if r == nil || r.epoch >= epoch {
		return nil
	}
	delete(s.replicas, address)
	r.taken = true
	calls := r.calls
	if calls == nil {
		calls = r.next // its first full copy never came to an end: better than nothing
	}
	out := &Replica{Worker: r.worker, Epoch: r.epoch, of: r}
	for _, c := range calls {
		out.Calls = append(out.Calls, c)
	}
	return out
}

// Relieve tells the host that a replica was taken from that its epoch is over, if
// it is still connected.
func (s *Store) Relieve(out *Replica, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out.of.over = true
	if out.of.conn != nil {
		writeFence(out.of.conn, epoch)
	}
}

// Fence ends every epoch below this one of an address, keeping what is held.
func (s *Store) Fence(address string, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fences[address] = max(s.fences[address], epoch)
}

// Held is how many records are held of an address, and whether they are a
// full copy.
func (s *Store) Held(address string) (n int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replicas[address]
	if r == nil {
		return 0, false
	}
	return len(r.calls), r.calls != nil && r.next == nil
}

// Life is one life of a worker.
type Life struct {
	Worker      string
	Incarnation uint64
}

// lostFor is how long a connection that broke, and was not made again, is news. A
// host that has another standby now breaks it too.
const lostFor = 2 * time.Second

// Silent lists the hosts over whose connection nothing came for so long, or whose
// connection has just broken.
func (s *Store) Silent(limit time.Duration) (lives []Life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.replicas { // any order: a set
		silent := r.conn != nil && time.Since(r.heard) > limit || r.conn == nil && time.Since(r.lost) < lostFor
		if life := (Life{r.worker, r.life}); silent && !slices.Contains(lives, life) {
			lives = append(lives, life)
		}
	}
	return lives
}

// Close ends all connections.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
}

// receive is the life of one connection.
func (s *Store) receive(conn net.Conn) error {
	defer conn.Close()
	if !s.register(conn) {
		return net.ErrClosed
	}
	defer s.unregister(conn)
	br := bufio.NewReaderSize(conn, 64<<10)
	r, err := s.greet(conn, br)
	if err != nil {
		drain(conn, err)
		return err
	}
	defer s.leave(r, conn)
	unacked := uint64(0)
	for {
		kind, body, err := readFrame(br)
		if err != nil {
			return err
		}
		serial, err := s.apply(r, conn, kind, body)
		if err != nil {
			drain(conn, err)
			return err
		}
		unacked = max(unacked, serial)
		if unacked > 0 && br.Buffered() == 0 {
			var ack [8]byte
			binary.BigEndian.PutUint64(ack[:], unacked)
			if _, err := conn.Write(appendFrame(nil, frameAck, ack[:])); err != nil {
				return fmt.Errorf("acknowledge: %w", err)
			}
			unacked = 0
		}
	}
}

// greet reads the hello; the replica is nil for a host that is fenced off.
func (s *Store) greet(conn net.Conn, br *bufio.Reader) (*replica, error) {
	kind, body, err := readFrame(br)
	if err != nil {
		return nil, err
	}
	var h Hello
	if kind != frameHello || json.Unmarshal(body, &h) != nil || h.Address == "" {
		return nil, fmt.Errorf("%w: no hello", errFrame)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replicas[h.Address]
	if fence := s.fences[h.Address]; h.Epoch < fence || r != nil && h.Epoch < r.epoch {
		if r != nil {
			fence = max(fence, r.epoch)
		}
		writeFence(conn, fence)
		return nil, fmt.Errorf("%w: %s hosts %s under %d, %d began", errFenced, h.Worker, h.Address, h.Epoch, fence)
	}
	if r != nil && r.epoch == h.Epoch && (r.worker != h.Worker || r.life != h.Incarnation) {
		// A host that died and came back has none of the sessions. It must not
		// wipe out what is held of its last life; it will get another epoch.
		return nil, fmt.Errorf("%s comes back under epoch %d of its last life", h.Worker, h.Epoch)
	}
	if r == nil {
		r = &replica{}
		s.replicas[h.Address] = r
	}
	if r.conn != nil {
		r.conn.Close() // the host has a new connection, or there is a new host
	}
	r.worker, r.life, r.epoch, r.conn = h.Worker, h.Incarnation, h.Epoch, conn
	r.heard, r.lost = time.Now(), time.Time{}
	return r, nil
}

// leave undoes greet. A copy that breaks off leaves the one before it; the
// first of all is better than nothing.
func (s *Store) leave(r *replica, conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.conn == conn {
		r.conn, r.lost = nil, time.Now()
		if r.calls != nil {
			r.next = nil
		}
	}
}

func (s *Store) register(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Store) unregister(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// writeFence tells a host that its epoch is over. One that can't be told now
// is told when it calls again.
func writeFence(conn net.Conn, epoch uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], epoch)
	_ = conn.SetWriteDeadline(time.Now().Add(fenceTimeout))
	_, _ = conn.Write(appendFrame(nil, frameFenced, b[:]))
}

// drain lets a fenced host read why: closing with its data unread would reset
// the connection, and the reset may overtake the fence.
func drain(conn net.Conn, err error) {
	if errors.Is(err, errFenced) {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
	}
}

// apply takes one frame and returns the serial number it bore, or 0.
func (s *Store) apply(r *replica, conn net.Conn, kind byte, body []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over {
		return 0, errFenced
	}
	if r.taken {
		return 0, nil
	}
	if r.conn != conn {
		return 0, net.ErrClosed
	}
	r.heard = time.Now()
	calls := r.calls
	if r.next != nil {
		calls = r.next
	}
	switch kind {
	case frameReset:
		r.next = map[string]Call{} // the old copy serves until the new is whole
		return 0, nil
	case frameSynced:
		if r.next == nil || len(body) != 8 {
			return 0, errFrame
		}
		r.calls, r.next = r.next, nil
		return binary.BigEndian.Uint64(body), nil
	case framePut, frameDrop:
		serial, key, value, err := parseKeyed(body)
		if err != nil || calls == nil {
			return 0, errFrame
		}
		if kind == frameDrop {
			delete(calls, key)
		} else {
			calls[key] = Call{Key: key, Record: value, Mark: calls[key].Mark}
		}
		return serial, nil
	case frameMarks:
		for len(body) > 0 {
			key, mark, rest, err := parseMark(body)
			if err != nil {
				return 0, err
			}
			if c, ok := calls[key]; ok {
				c.Mark = mark
				calls[key] = c
			}
			body = rest
		}
		return 0, nil
	}
	return 0, errFrame
}
