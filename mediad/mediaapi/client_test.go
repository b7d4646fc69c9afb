package mediaapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// worker answers requests on the far end of a client's connection, two at a
// time and the later one first.
func worker(t *testing.T, conn net.Conn, batch int) {
	t.Helper()
	go func() {
		br := bufio.NewReader(conn)
		for {
			var out []byte
			for range batch {
				msg, err := ReadMessage(br)
				if err != nil {
					return
				}
				cookie, f, r, err := ParseRequest(msg)
				if err != nil {
					t.Errorf("worker: %v", err)
					return
				}
				reply := Reply{Result: ResultOK, SDP: r.CallID}
				if r.Command == Delete {
					reply = Reply{Result: ResultError, Reason: "unknown call", Code: 481}
				}
				out = append(AppendReply(nil, cookie, f, reply), out...)
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	}()
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRepliesFindTheirRequests(t *testing.T) {
	near, far := net.Pipe()
	worker(t, far, 10)
	c := NewClient(near)
	defer c.Close()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			want := fmt.Sprintf("call%d", i)
			r, err := c.Do(testContext(t), Request{Command: Query, CallID: want})
			if err != nil || r.SDP != want {
				t.Errorf("%s: got %q, %v", want, r.SDP, err)
			}
		})
	}
	wg.Wait()
}

func TestRefusalIsAnError(t *testing.T) {
	near, far := net.Pipe()
	worker(t, far, 1)
	c := NewClient(near)
	defer c.Close()
	_, err := c.Do(testContext(t), Request{Command: Delete, CallID: "x"})
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != 481 || refused.Reason != "unknown call" {
		t.Fatalf("got %v", err)
	}
}

func TestBrokenConnectionEndsEverything(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near)
	got := make(chan error, 1)
	go func() {
		_, err := c.Do(testContext(t), Request{Command: Ping})
		got <- err
	}()
	if _, err := ReadMessage(bufio.NewReader(far)); err != nil {
		t.Fatal(err)
	}
	far.Close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("the request under way: %v", err)
	}
	<-c.Done()
	if _, err := c.Do(testContext(t), Request{Command: Ping}); !errors.Is(err, ErrClosed) {
		t.Errorf("the next request: %v", err)
	}
}

func TestContextEndsOneRequestOnly(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near)
	defer c.Close()
	ctx, cancel := context.WithCancel(testContext(t))
	got := make(chan error, 1)
	go func() {
		_, err := c.Do(ctx, Request{Command: Ping})
		got <- err
	}()
	br := bufio.NewReader(far)
	if _, err := ReadMessage(br); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() {
		msg, err := ReadMessage(br)
		if err != nil {
			return
		}
		cookie, f, _, _ := ParseRequest(msg)
		_, _ = far.Write(AppendReply(nil, "1", f, Reply{Result: ResultOK})) // the late one
		_, _ = far.Write(AppendReply(nil, cookie, f, Reply{Result: ResultPong}))
	}()
	if r, err := c.Do(testContext(t), Request{Command: Ping}); err != nil || r.Result != ResultPong {
		t.Errorf("the next request: %+v, %v", r, err)
	}
}
