package mediaapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// ErrClosed is wrapped by what Do returns once the connection is gone.
var ErrClosed = errors.New("connection to worker closed")

// writeTimeout bounds one write: a worker that does not read is a dead one.
const writeTimeout = 2 * time.Second

// Client is one connection to a worker. Requests are pipelined: any number of
// goroutines may call Do, and replies come in any order.
//
// It does not reconnect. That the connection broke is itself the message a
// router waits for (see Done); what to do about it is the router's decision.
type Client struct {
	conn net.Conn
	done chan struct{}

	writing sync.Mutex // held while one request is written
	out     []byte

	mu      sync.Mutex
	serial  uint64
	waiting map[string]chan Reply
	told    string // cookie of the last Subscribe
	tell    func(Reply)
	err     error // why the connection ended
}

// Dial connects over TCP, and over TLS if config is not nil.
func Dial(ctx context.Context, addr string, config *tls.Config) (*Client, error) {
	var conn net.Conn
	var err error
	if config == nil {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to worker at %s: %w", addr, err)
	}
	return NewClient(conn), nil
}

// NewClient speaks over a connection that is already made; it owns conn.
func NewClient(conn net.Conn) *Client {
	c := &Client{conn: conn, done: make(chan struct{}), waiting: map[string]chan Reply{}}
	go c.read()
	return c
}

// Do sends a request and waits for its reply. A refusal comes back as *Error
// beside the reply; a broken connection as an error wrapping ErrClosed, in
// which case the request may or may not have been carried out.
func (c *Client) Do(ctx context.Context, r Request) (Reply, error) { return c.do(ctx, r, nil) }

// Subscribe sends a request whose reply is followed by others (Events). tell
// gets those, in order and until the connection ends or another Subscribe takes
// its place; it must not block.
func (c *Client) Subscribe(ctx context.Context, r Request, tell func(Reply)) error {
	_, err := c.do(ctx, r, tell)
	return err
}

func (c *Client) do(ctx context.Context, r Request, tell func(Reply)) (Reply, error) {
	ch := make(chan Reply, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return Reply{}, c.err
	}
	c.serial++
	cookie := strconv.FormatUint(c.serial, 36)
	c.waiting[cookie] = ch
	if tell != nil {
		c.told, c.tell = cookie, tell
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, cookie)
		c.mu.Unlock()
	}()

	if err := c.write(cookie, r); err != nil {
		c.fail(err)
	}
	select {
	case reply := <-ch:
		if reply.Result == ResultError {
			return reply, &Error{Command: r.Command, Reason: reply.Reason, Code: int(reply.Code)}
		}
		return reply, nil
	case <-c.done:
		return Reply{}, c.cause() // even if the reply just came: rare, and the router asks again
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("%s: %w", r.Command, ctx.Err())
	}
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection; requests under way return ErrClosed.
func (c *Client) Close() { c.fail(nil) }

func (c *Client) write(cookie string, r Request) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out = AppendRequest(c.out[:0], cookie, Bencode, r)
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	return err
}

func (c *Client) read() {
	br := bufio.NewReaderSize(c.conn, 16<<10)
	for {
		msg, err := ReadMessage(br)
		if err != nil {
			c.fail(err)
			return
		}
		cookie, _, reply, err := ParseReply(msg)
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		ch, tell := c.waiting[cookie], c.tell
		delete(c.waiting, cookie)
		if cookie != c.told {
			tell = nil
		}
		c.mu.Unlock()
		switch {
		case ch != nil:
			ch <- reply
		case tell != nil:
			tell(reply)
		} // neither: its caller's context ended
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = ErrClosed
	if err != nil {
		c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.conn.Close()
	close(c.done)
}

func (c *Client) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
