package ng

import (
	"net"
	"sync"
	"time"

	"trunkline/mediad/mediaapi"
)

// maxEvents bounds what one connection has not read yet of what it asked to be
// told. A peer further behind is cut off: it comes back and is told again.
const maxEvents = 256

// stream is one connection, with what it has subscribed to.
type stream struct {
	conn   net.Conn
	router bool // by its certificate
	engine Doer

	writing sync.Mutex

	// The rest belongs to the connection's reader.
	cancel func() // ends the subscription
	events chan []byte
	wg     sync.WaitGroup
}

// write sends one reply. One that can't be sent ends the connection.
func (w *stream) write(b []byte) {
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := w.conn.Write(b); err != nil {
		_ = w.conn.Close() // the reader ends, and with it the connection
	}
}

// subscribe has the connection told of keys, under the cookie of its request
// and after the answer to it.
func (w *stream) subscribe(cookie string, format mediaapi.Format) []byte {
	if w == nil || !w.router {
		return mediaapi.AppendReply(nil, cookie, format, mediaapi.Reply{Result: mediaapi.ResultError, Reason: "events are for routers, over TLS", Code: 403})
	}
	w.unsubscribe()
	events := make(chan []byte, maxEvents)
	events <- mediaapi.AppendReply(nil, cookie, format, mediaapi.Reply{Result: mediaapi.ResultOK})
	w.events = events
	w.cancel = w.engine.Subscribe(func(r mediaapi.Reply) {
		select {
		case events <- mediaapi.AppendReply(nil, cookie, format, r):
		default:
			_ = w.conn.Close()
		}
	})
	w.wg.Go(func() {
		for b := range events {
			w.write(b)
		}
	})
	return []byte{}
}

// unsubscribe: nothing is told once the engine has cancelled.
func (w *stream) unsubscribe() {
	if w.cancel != nil {
		w.cancel()
		close(w.events)
		w.cancel, w.events = nil, nil
		w.wg.Wait()
	}
}

func (w *stream) close() {
	_ = w.conn.Close() // what waits to be written fails at once
	w.unsubscribe()
}
