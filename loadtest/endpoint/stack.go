package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// RFC 3261 section 17 timers.
const (
	t1       = 500 * time.Millisecond
	t2       = 4 * time.Second
	timeoutB = 64 * t1
)

// ErrTimeout says no final response came within 64 T1.
var ErrTimeout = errors.New("no final response")

// stack is the transactions of one flow: it repeats requests over UDP, matches
// responses to them, and hands requests to the dialog or user they are for.
type stack struct {
	flow *flow

	mu      sync.Mutex
	clients map[string]*clientTx
	dialogs map[string]*Call                        // Call-ID and our tag
	pending map[string]*Call                        // Call-ID, From-tag and CSeq of an INVITE we answer
	users   map[string]func(req *sip.Request) *Call // R-URI user → takes an INVITE
	done    chan struct{}
	err     error
}

func newStack(ctx context.Context, t Transport, local, peer netip.AddrPort, tlsConf *tls.Config) (*stack, error) {
	f, err := openFlow(ctx, t, local, peer, tlsConf)
	if err != nil {
		return nil, err
	}
	s := &stack{
		flow:    f,
		clients: map[string]*clientTx{},
		dialogs: map[string]*Call{},
		pending: map[string]*Call{},
		users:   map[string]func(*sip.Request) *Call{},
		done:    make(chan struct{}),
	}
	go s.run()
	return s, nil
}

func (s *stack) run() {
	err := s.flow.receive(s.handle)
	s.mu.Lock()
	s.err = err
	txs := maps.Clone(s.clients)
	s.mu.Unlock()
	close(s.done)
	for _, tx := range txs {
		s.finish(tx, nil)
	}
}

// close ends the flow and fails what waits for a response.
func (s *stack) close() {
	s.flow.close()
	<-s.done
}

// clientTx is one request of ours. onResponse runs on the flow's reader, in
// order; nil means that no final response came.
type clientTx struct {
	key        string
	wire       []byte
	dest       netip.AddrPort
	invite     bool
	onResponse func(res *sip.Response)

	mu       sync.Mutex
	timer    *time.Timer
	interval time.Duration
	started  time.Time
	settled  bool // a provisional of an INVITE: stop repeating
	over     bool
}

// begin sends a request and follows it until its final response.
func (s *stack) begin(o *outgoing, wire []byte, dest netip.AddrPort, onResponse func(*sip.Response)) {
	tx := &clientTx{
		key: o.branch + " " + o.method, wire: wire, dest: dest,
		invite: o.method == "INVITE", onResponse: onResponse,
		interval: t1, started: time.Now(),
	}
	s.mu.Lock()
	s.clients[tx.key] = tx
	s.mu.Unlock()
	tx.mu.Lock()
	tx.timer = time.AfterFunc(s.firstTimer(), func() { s.repeat(tx) })
	tx.mu.Unlock()
	if err := s.flow.send(dest, wire); err != nil {
		s.finish(tx, nil)
	}
}

func (s *stack) firstTimer() time.Duration {
	if s.flow.transport.reliable() {
		return timeoutB
	}
	return t1
}

// repeat is timers A, B, E and F.
func (s *stack) repeat(tx *clientTx) {
	tx.mu.Lock()
	if tx.over {
		tx.mu.Unlock()
		return
	}
	if time.Since(tx.started) >= timeoutB && !(tx.invite && tx.settled) {
		tx.mu.Unlock()
		s.finish(tx, nil)
		return
	}
	again := !tx.settled && !s.flow.transport.reliable()
	tx.interval *= 2
	if !tx.invite && tx.interval > t2 {
		tx.interval = t2
	}
	tx.timer.Reset(tx.interval)
	tx.mu.Unlock()
	if again {
		_ = s.flow.send(tx.dest, tx.wire)
	}
}

func (s *stack) finish(tx *clientTx, res *sip.Response) {
	tx.mu.Lock()
	if tx.over {
		tx.mu.Unlock()
		return
	}
	tx.over = true
	tx.timer.Stop()
	tx.mu.Unlock()
	s.mu.Lock()
	delete(s.clients, tx.key)
	s.mu.Unlock()
	tx.onResponse(res)
}

// do sends a non-INVITE request and waits for its final response.
func (s *stack) do(ctx context.Context, o *outgoing, wire []byte, dest netip.AddrPort) (*sip.Response, error) {
	got := make(chan *sip.Response, 1)
	s.begin(o, wire, dest, func(res *sip.Response) {
		if res == nil || res.StatusCode >= 200 {
			got <- res
		}
	})
	select {
	case res := <-got:
		if res == nil {
			return nil, fmt.Errorf("%s to %s: %w", o.method, dest, ErrTimeout)
		}
		return res, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *stack) handle(msg sip.Message, from netip.AddrPort) {
	switch m := msg.(type) {
	case *sip.Response:
		s.response(m)
	case *sip.Request:
		m.SetSource(from.String())
		s.request(m, from)
	}
}

func (s *stack) response(res *sip.Response) {
	via, cseq := res.Via(), res.CSeq()
	if via == nil || cseq == nil {
		return
	}
	branch, _ := via.Params.Get("branch")
	s.mu.Lock()
	tx := s.clients[branch+" "+string(cseq.MethodName)]
	s.mu.Unlock()
	if tx == nil {
		// A repeated 2xx or refusal of an INVITE wants its ACK again.
		if call := s.dialogOf(res.CallID(), tagOfFrom(res)); call != nil && cseq.MethodName == sip.INVITE && res.StatusCode >= 200 {
			call.acknowledgeAgain(res)
		}
		return
	}
	if res.StatusCode >= 200 {
		s.finish(tx, res)
		return
	}
	tx.mu.Lock()
	if tx.invite {
		tx.settled = true
	}
	tx.mu.Unlock()
	tx.onResponse(res)
}

func tagOfFrom(msg sip.Message) string {
	if h := msg.From(); h != nil {
		return tagOf(h.Params)
	}
	return ""
}

func tagOfTo(msg sip.Message) string {
	if h := msg.To(); h != nil {
		return tagOf(h.Params)
	}
	return ""
}

func (s *stack) dialogOf(id *sip.CallIDHeader, tag string) *Call {
	if id == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialogs[id.Value()+" "+tag]
}

func (s *stack) request(req *sip.Request, from netip.AddrPort) {
	if req.Via() == nil || req.CSeq() == nil || req.CallID() == nil || req.From() == nil || req.To() == nil {
		return
	}
	tag := tagOfTo(req)
	if tag != "" {
		if call := s.dialogOf(req.CallID(), tag); call != nil {
			call.inDialog(req, from)
			return
		}
		if req.Method != sip.ACK {
			s.refuse(req, from, 481, "Call/Transaction Does Not Exist")
		}
		return
	}
	key := fmt.Sprintf("%s %s %d", req.CallID().Value(), tagOfFrom(req), req.CSeq().SeqNo)
	s.mu.Lock()
	call := s.pending[key]
	take := s.users[req.Recipient.User]
	s.mu.Unlock()
	switch {
	case call != nil:
		call.earlyRequest(req, from)
	case req.Method == sip.ACK:
	case req.Method == sip.OPTIONS:
		s.refuse(req, from, 200, "OK")
	case req.Method == sip.INVITE && take != nil:
		_ = s.flow.send(from, newResponse(req, 100, "Trying", "", nil, "", ""))
		if call := take(req); call != nil {
			s.mu.Lock()
			s.pending[key] = call
			s.mu.Unlock()
			call.pendingKey = key
			call.alert(req, from)
			return
		}
		s.refuse(req, from, 486, "Busy Here")
	case req.Method == sip.INVITE:
		s.refuse(req, from, 404, "Not Found")
	default:
		s.refuse(req, from, 481, "Call/Transaction Does Not Exist")
	}
}

// refuse answers a request that no dialog follows, with any code.
func (s *stack) refuse(req *sip.Request, from netip.AddrPort, code int, reason string) {
	_ = s.flow.send(from, newResponse(req, code, reason, newToken(6), nil, "", ""))
}

// forget removes a call after the time its messages may still be repeated in.
func (s *stack) forget(call *Call) {
	time.AfterFunc(t2*2, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dialogs, call.callID+" "+call.localTag)
		delete(s.pending, call.pendingKey)
	})
}

// follow routes what comes inside the call's dialog to it.
func (s *stack) follow(call *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialogs[call.callID+" "+call.localTag] = call
}

// user takes INVITEs for a user part; nil removes it.
func (s *stack) user(name string, take func(*sip.Request) *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if take == nil {
		delete(s.users, name)
		return
	}
	s.users[name] = take
}

// sipURI writes a URI, with the transport named when it is not the default.
func sipURI(user string, host string, t Transport) string {
	uri := "sip:" + user + "@" + host
	if user == "" {
		uri = "sip:" + host
	}
	if t == UDP {
		return uri
	}
	return uri + ";transport=" + strings.ToLower(string(t))
}
