package standby

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// patience is how long an unacknowledged change keeps callers waiting. A
	// standby that takes longer is not waited for until it has caught up.
	patience = 100 * time.Millisecond
	// writeTimeout ends a connection whose far end does not read.
	writeTimeout = time.Second
	// maxQueue bounds what waits to be written; beyond it the connection is
	// given up and made anew with a full copy.
	maxQueue = 64 << 20
	// retryFirst and retryMax pace new connections.
	retryFirst, retryMax = 50 * time.Millisecond, time.Second
)

// Entry is one record by its key, with its running mark of this moment: a host that
// dies as soon as it is copied must not leave records without.
type Entry struct {
	Key    string
	Record []byte
	Mark   []byte // nil: none
}

// LinkConfig describes the host's end.
type LinkConfig struct {
	Hello  Hello
	Local  netip.Addr // where connections come from; invalid: the kernel's choice
	Remote string     // the standby's replication host:port
	TLS    *tls.Config
	// Snapshot must call begin with all records, with every Put, Drop and
	// Marks of this link held off meanwhile: what they send comes after.
	Snapshot func(begin func([]Entry))
	// Fenced is called once if the standby says that the epoch is over.
	Fenced func(epoch uint64)
	Logger *slog.Logger
}

// Link sends one address's state to its standby, connecting again whenever
// the connection breaks. Nothing of it ever blocks the caller.
type Link struct {
	cfg    LinkConfig
	cancel context.CancelFunc

	mu      sync.Mutex
	up      bool   // connected, and the full copy queued
	copied  uint64 // serial that ends the full copy
	synced  bool   // the full copy acknowledged
	queue   []byte
	kick    chan struct{}
	serial  uint64
	waiting []waiter // by serial
}

type waiter struct {
	serial uint64
	since  time.Time
	done   chan struct{}
}

// Connect starts a link.
func Connect(cfg LinkConfig) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{cfg: cfg, cancel: cancel, kick: make(chan struct{}, 1)}
	go l.run(ctx)
	return l
}

// Close ends the link, without waiting for that. The standby keeps what it has.
func (l *Link) Close() { l.cancel() }

// Put sends a record. The channel is closed when the standby has it, or when
// it is not worth waiting for it; nil means not to wait at all.
func (l *Link) Put(key string, record []byte) <-chan struct{} {
	return l.change(framePut, key, record)
}

// Drop removes a record and its marks.
func (l *Link) Drop(key string) { l.change(frameDrop, key, nil) }

// Marks sends a batch made with AppendMark; an empty one is a sign of life.
func (l *Link) Marks(batch []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up && len(l.queue) < maxQueue/2 { // newer marks supersede these
		l.queue = appendFrame(l.queue, frameMarks, batch)
		l.wakeWriter()
	}
}

// Ask has the standby confirm that this epoch still is: the channel is closed when
// it has, or when the connection breaks; Synced and Fenced tell which. Nil means
// that there is no connection to ask over.
func (l *Link) Ask() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up {
		return nil
	}
	l.serial++
	l.queue = appendKeyed(l.queue, frameDrop, l.serial, "", nil) // no record has this key
	l.wakeWriter()
	w := waiter{serial: l.serial, since: time.Now(), done: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	return w.done
}

// Synced tells whether the standby holds a full copy.
func (l *Link) Synced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up && l.synced
}

func (l *Link) change(kind byte, key string, value []byte) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up {
		return nil // the full copy will have it
	}
	l.serial++
	l.queue = appendKeyed(l.queue, kind, l.serial, key, value)
	l.wakeWriter()
	if kind == frameDrop || len(l.waiting) > 0 && time.Since(l.waiting[0].since) > patience {
		return nil
	}
	w := waiter{serial: l.serial, since: time.Now(), done: make(chan struct{})}
	l.waiting = append(l.waiting, w)
	return w.done
}

func (l *Link) wakeWriter() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *Link) run(ctx context.Context) {
	retry := retryFirst
	for ctx.Err() == nil {
		started := time.Now()
		err := l.serve(ctx)
		l.disconnected()
		if ctx.Err() != nil || errors.Is(err, errFenced) {
			return
		}
		l.cfg.Logger.Warn("replication to standby interrupted", "address", l.cfg.Hello.Address,
			"standby", l.cfg.Remote, "err", err)
		if time.Since(started) > retryMax {
			retry = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, retryMax)
	}
}

var errFenced = errors.New("epoch is over")

// serve is the life of one connection.
func (l *Link) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialer := &net.Dialer{Timeout: time.Second}
	if l.cfg.Local.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.cfg.Local, 0))
	}
	conn, err := (&tls.Dialer{NetDialer: dialer, Config: l.cfg.TLS}).DialContext(ctx, "tcp", l.cfg.Remote)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	hello, err := json.Marshal(l.cfg.Hello)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	l.cfg.Snapshot(func(all []Entry) { l.begin(hello, all) })
	read := make(chan error, 1)
	go func() {
		read <- l.readAcks(conn)
		cancel()
	}()
	err = l.write(ctx, conn)
	conn.Close()
	if readErr := <-read; errors.Is(readErr, errFenced) || err == nil {
		return readErr
	}
	return err
}

// begin queues the full copy.
func (l *Link) begin(hello []byte, all []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.synced = true, false
	l.queue = appendFrame(l.queue[:0], frameHello, hello)
	l.queue = appendFrame(l.queue, frameReset)
	for _, e := range all {
		l.serial++
		l.queue = appendKeyed(l.queue, framePut, l.serial, e.Key, e.Record)
		if e.Mark != nil {
			l.queue = appendFrame(l.queue, frameMarks, AppendMark(nil, e.Key, e.Mark))
		}
	}
	l.serial++
	l.copied = l.serial
	var serial [8]byte
	binary.BigEndian.PutUint64(serial[:], l.serial)
	l.queue = appendFrame(l.queue, frameSynced, serial[:])
	l.wakeWriter()
}

func (l *Link) disconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.synced, l.queue = false, false, nil
	for _, w := range l.waiting {
		close(w.done)
	}
	l.waiting = nil
}

func (l *Link) write(ctx context.Context, conn net.Conn) error {
	var out []byte
	for {
		l.mu.Lock()
		out, l.queue = l.queue, out[:0]
		l.mu.Unlock()
		switch {
		case len(out) > maxQueue:
			return fmt.Errorf("standby is %d bytes behind", len(out))
		case len(out) > 0:
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(out); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.kick:
		}
	}
}

func (l *Link) readAcks(conn net.Conn) error {
	br := bufio.NewReader(conn)
	for {
		kind, body, err := readFrame(br)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if len(body) != 8 {
			return errFrame
		}
		n := binary.BigEndian.Uint64(body)
		switch kind {
		case frameAck:
			l.acked(n)
		case frameFenced:
			l.cfg.Fenced(n)
			return errFenced
		default:
			return errFrame
		}
	}
}

func (l *Link) acked(serial uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = serial >= l.copied
	n := 0
	for n < len(l.waiting) && l.waiting[n].serial <= serial {
		close(l.waiting[n].done)
		n++
	}
	l.waiting = append(l.waiting[:0], l.waiting[n:]...)
}
