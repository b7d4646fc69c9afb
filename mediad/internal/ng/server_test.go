package ng

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
)

const patienceOfTests = 10 * time.Second

// engine counts commands; "wait" makes a reply wait for its channel.
type engine struct {
	mu   sync.Mutex
	done []string
	wait chan struct{}
	gone bool // whatever was done is elsewhere when the wait is over
	subs map[int]func(mediaapi.Reply)
	next int
}

func (e *engine) Subscribe(tell func(mediaapi.Reply)) (cancel func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subs == nil {
		e.subs = map[int]func(mediaapi.Reply){}
	}
	e.next++
	id := e.next
	e.subs[id] = tell
	tell(mediaapi.Reply{Result: mediaapi.ResultOK, Digits: []mediaapi.Pressed{{CallID: "pending", Serial: uint64(id)}}})
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, id)
	}
}

func (e *engine) subscribers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subs)
}

// tell tells every subscriber and returns how many there are.
func (e *engine) tell(r mediaapi.Reply) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.subs {
		f(r)
	}
	return len(e.subs)
}

func (e *engine) Do(r mediaapi.Request) (mediaapi.Reply, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done = append(e.done, r.CallID)
	if r.Command == mediaapi.Host {
		return mediaapi.Reply{Result: mediaapi.ResultOK, SDP: r.CallID}, e.wait
	}
	return mediaapi.Reply{Result: mediaapi.ResultPong, SDP: r.CallID}, nil
}

func (e *engine) Kept(mediaapi.Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.gone
}

func (e *engine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.done)
}

func newServer(t *testing.T) (*Server, *engine) {
	t.Helper()
	e := &engine{wait: make(chan struct{})}
	s := New(e, slog.New(slog.NewTextHandler(io.Discard, nil)), []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	t.Cleanup(s.Close)
	return s, e
}

func listen(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	return l.Addr().String()
}

func dialUDP(t *testing.T, s *Server) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.ServeUDP(conn)
	c, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patienceOfTests)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, msg string) {
	t.Helper()
	if _, err := io.WriteString(c, msg); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestPingOverUDPInBothFormats(t *testing.T) {
	s, _ := newServer(t)
	c := dialUDP(t, s)
	send(t, c, "k1 d7:command4:pinge")
	if got := receive(t, c); got != "k1 d6:result4:ponge" {
		t.Errorf("%q", got)
	}
	send(t, c, `k2 {"command": "ping"}`)
	if got := receive(t, c); got != `k2 {"result":"pong"}` {
		t.Errorf("%q", got)
	}
}

// A datagram that comes again is answered as it was, not carried out again.
func TestRepeatedDatagramIsOneCommand(t *testing.T) {
	s, e := newServer(t)
	c := dialUDP(t, s)
	for range 3 {
		send(t, c, `same {"command":"ping","call-id":"a"}`)
		if got := receive(t, c); !strings.Contains(got, `"sdp":"a"`) {
			t.Errorf("%q", got)
		}
	}
	send(t, c, `other {"command":"ping","call-id":"a"}`)
	receive(t, c)
	if n := e.count(); n != 2 {
		t.Errorf("%d commands", n)
	}
}

func TestRepeatWhileTheFirstIsUnderWayIsSilent(t *testing.T) {
	s, e := newServer(t)
	c := dialUDP(t, s)
	send(t, c, `k {"command":"host","call-id":"slow"}`)
	send(t, c, `k {"command":"host","call-id":"slow"}`)
	send(t, c, `z {"command":"ping"}`)
	if got := receive(t, c); !strings.HasPrefix(got, "z ") {
		t.Errorf("%q came before the standby had it", got)
	}
	close(e.wait)
	if got := receive(t, c); got != `k {"result":"ok","sdp":"slow"}` {
		t.Errorf("%q", got)
	}
	if n := e.count(); n != 2 {
		t.Errorf("%d commands", n)
	}
}

func TestBadDatagramsAreCountedAndAnsweredIfTheyCanBe(t *testing.T) {
	s, e := newServer(t)
	c := dialUDP(t, s)
	for _, bad := range []string{"", "x", " ", "\x00\xff\xfe", strings.Repeat("x", 5000), " {}"} {
		send(t, c, bad)
	}
	for i, bad := range []string{"d", "{", "d7:command4:ping", `{"command":"ping"`, `{"epoch":-1}`, "nonsense", "d1:ai1e"} {
		send(t, c, fmt.Sprintf("k%d %s", i, bad))
		if got := receive(t, c); !strings.HasPrefix(got, fmt.Sprintf("k%d ", i)) || !strings.Contains(got, "malformed") {
			t.Errorf("%q: %q", bad, got)
		}
	}
	if e.count() != 0 || s.bad.Get() < 7 {
		t.Errorf("%d commands, %d counted as bad", e.count(), s.bad.Get())
	}
}

// On a stream, commands are carried out in their order; one that waits for the
// standby holds up nobody else's reply, and waits no longer than the patience.
func TestStreamIsPipelined(t *testing.T) {
	s, e := newServer(t)
	c, err := mediaapi.Dial(context.Background(), listen(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	slow := make(chan time.Duration)
	began := time.Now()
	go func() {
		if _, err := c.Do(ctx, mediaapi.Request{Command: mediaapi.Host, CallID: "slow"}); err != nil {
			t.Error(err)
		}
		slow <- time.Since(began)
	}()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			if r, err := c.Do(ctx, mediaapi.Request{Command: mediaapi.Ping, CallID: want}); err != nil || r.SDP != want {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
	wg.Wait()
	if took := <-slow; took < patience {
		t.Errorf("did not wait for the standby: %v", took)
	}
	close(e.wait)
}

func TestStreamOfGarbageIsClosed(t *testing.T) {
	s, _ := newServer(t)
	addr := listen(t, s)
	for _, bad := range []string{"GET / HTTP/1.1\r\n\r\n", strings.Repeat("x", 1000), "c d99999999:", "\x16\x03\x01\x02\x00\x01\x00 \xff"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patienceOfTests))
		send(t, c, bad)
		if _, err := bufio.NewReader(c).ReadByte(); err == nil || isTimeout(err) {
			t.Errorf("%.20q: %v", bad, err)
		}
		c.Close()
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// certify makes a CA and certificates for names by it.
func certify(t *testing.T, names ...string) (*x509.CertPool, []tls.Certificate) {
	t.Helper()
	make1 := func(cert, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		cert.SerialNumber, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root := &x509.Certificate{IsCA: true, BasicConstraintsValid: true}
	der, rootKey := make1(root, root, nil)
	ca, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	var certs []tls.Certificate
	for _, n := range names {
		der, key := make1(&x509.Certificate{DNSNames: []string{n}}, ca, rootKey)
		certs = append(certs, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	}
	return pool, certs
}

func TestOnlyRoutersAndEdgesGetInOverTLS(t *testing.T) {
	s, _ := newServer(t)
	pool, certs := certify(t, "m1.worker.test", "r1.router.test", "edge-1.edge.test", "router.operator.test", "x.workerrouter.test")
	_, strangers := certify(t, "r1.router.test")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certs[:1], ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool, VerifyConnection: RequireRole("router", "edge")})
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	f := func(name string, welcome bool, own ...tls.Certificate) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
		defer cancel()
		c, err := mediaapi.Dial(ctx, l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "m1.worker.test", Certificates: own})
		if err == nil {
			_, err = c.Do(ctx, mediaapi.Request{Command: mediaapi.Ping})
			c.Close()
		}
		if (err == nil) != welcome {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("router", true, certs[1])
	f("edge", true, certs[2])
	f("worker", false, certs[0])
	f("an operator called router", false, certs[3])
	f("no role of ours", false, certs[4])
	f("another CA's router", false, strangers...)
	f("nobody", false)
}

// tlsServer serves NG over TLS; the function connects as one of the names.
func tlsServer(t *testing.T, names ...string) (*engine, func(i int) *mediaapi.Client) {
	t.Helper()
	s, e := newServer(t)
	pool, certs := certify(t, append([]string{"m1.worker.test"}, names...)...)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certs[:1], ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool, VerifyConnection: RequireRole("router", "edge")})
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	return e, func(i int) *mediaapi.Client {
		t.Helper()
		c, err := mediaapi.Dial(context.Background(), l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "m1.worker.test", Certificates: certs[1+i : 2+i]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
}

// Routers are told of keys in order, after what is pending and beside replies;
// asking again begins anew.
func TestRoutersAreToldOfKeys(t *testing.T) {
	e, dial := tlsServer(t, "r1.router.test", "r2.router.test")
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	var clients []*mediaapi.Client
	var told []chan mediaapi.Pressed
	listen := func(c *mediaapi.Client) chan mediaapi.Pressed {
		t.Helper()
		ch := make(chan mediaapi.Pressed, 64)
		if err := c.Subscribe(ctx, mediaapi.Request{Command: mediaapi.Events}, func(r mediaapi.Reply) {
			for _, d := range r.Digits {
				ch <- d
			}
		}); err != nil {
			t.Fatal(err)
		}
		return ch
	}
	next := func(ch chan mediaapi.Pressed) mediaapi.Pressed {
		t.Helper()
		select {
		case d := <-ch:
			return d
		case <-ctx.Done():
			t.Fatal("told nothing")
			return mediaapi.Pressed{}
		}
	}
	for i := range 2 {
		c := dial(i)
		clients, told = append(clients, c), append(told, listen(c))
		if d := next(told[i]); d.CallID != "pending" {
			t.Errorf("first told %+v", d)
		}
	}
	for i := range 20 {
		e.tell(mediaapi.Reply{Result: mediaapi.ResultOK, Digits: []mediaapi.Pressed{{CallID: "c", Leg: "1", Serial: uint64(i), Keys: "#"}}})
		if _, err := clients[0].Do(ctx, mediaapi.Request{Command: mediaapi.Ping}); err != nil {
			t.Fatal(err)
		}
	}
	for _, ch := range told {
		for i := range 20 {
			if d := next(ch); d != (mediaapi.Pressed{CallID: "c", Leg: "1", Serial: uint64(i), Keys: "#"}) {
				t.Errorf("%d: %+v", i, d)
			}
		}
	}
	again := listen(clients[0])
	if d := next(again); d.CallID != "pending" {
		t.Errorf("asked again and told %+v", d)
	}
	if n := e.tell(mediaapi.Reply{Result: mediaapi.ResultOK, Digits: []mediaapi.Pressed{{CallID: "d"}}}); n != 2 {
		t.Errorf("%d subscriptions of two connections", n)
	}
	if d := next(again); d.CallID != "d" {
		t.Errorf("%+v", d)
	}
	if len(told[0]) != 0 {
		t.Error("the first subscription is still told")
	}
	clients[1].Close()
	// Looked at without telling: a flood would cut the other one off as well.
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for e.subscribers() != 1 {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatal("the subscription outlives its connection")
		}
	}
	if n := e.tell(mediaapi.Reply{Result: mediaapi.ResultOK}); n != 1 {
		t.Errorf("%d are told", n)
	}
}

// Keys may be a card's number: nobody but a router is told.
func TestOnlyRoutersAreToldOfKeys(t *testing.T) {
	e, dial := tlsServer(t, "edge-1.edge.test")
	plain, _ := newServer(t)
	tcp, err := mediaapi.Dial(context.Background(), listen(t, plain), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for name, c := range map[string]*mediaapi.Client{"an edge": dial(0), "plain TCP": tcp} {
		ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
		err := c.Subscribe(ctx, mediaapi.Request{Command: mediaapi.Events}, func(mediaapi.Reply) { t.Errorf("%s is told", name) })
		var refused *mediaapi.Error
		if !errors.As(err, &refused) || refused.Code != 403 {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	udp := dialUDP(t, plain)
	send(t, udp, `k {"command":"events"}`)
	if got := receive(t, udp); !strings.Contains(got, "403") {
		t.Errorf("UDP: %q", got)
	}
	if n := e.tell(mediaapi.Reply{}); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// A router that does not read is cut off: it comes back and is told again.
func TestASlowRouterIsCutOff(t *testing.T) {
	e, dial := tlsServer(t, "r1.router.test")
	c := dial(0)
	block := make(chan struct{})
	defer close(block)
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	if err := c.Subscribe(ctx, mediaapi.Request{Command: mediaapi.Events}, func(mediaapi.Reply) { <-block }); err != nil {
		t.Fatal(err)
	}
	big := mediaapi.Reply{Result: mediaapi.ResultOK, Digits: []mediaapi.Pressed{{CallID: strings.Repeat("c", 4096), Keys: "1"}}}
	for e.tell(big) > 0 {
		if ctx.Err() != nil {
			t.Fatal("never cut off")
		}
	}
}

// Without TLS only listed sources are heard; what one source holds open is
// bounded, and given back.
func TestStrangersAndTheManyAreRefused(t *testing.T) {
	s, e := newServer(t)
	addr := listen(t, s)
	from := func(ip string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(patienceOfTests))
		return c
	}
	ended := func(c net.Conn) bool {
		_, err := c.Read(make([]byte, 1))
		return err != nil && !isTimeout(err)
	}
	if !ended(from("127.0.0.2")) {
		t.Error("a stranger is let in")
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.ServeUDP(udp)
	for _, ip := range []string{"127.0.0.2", "127.0.0.1"} {
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)}, udp.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patienceOfTests))
		send(t, c, `k {"command":"ping"}`)
		if ip == "127.0.0.1" { // in order: the stranger's came first
			receive(t, c)
		}
	}
	if e.count() != 1 || s.refused.Get() != 2 {
		t.Errorf("%d commands, %d refused", e.count(), s.refused.Get())
	}
	var open []net.Conn
	for range maxConnsEach {
		c := from("127.0.0.1")
		send(t, c, `k {"command":"ping"}`)
		receive(t, c)
		open = append(open, c)
	}
	if !ended(from("127.0.0.1")) {
		t.Error("there is no bound on one source's connections")
	}
	open[0].Close()
	for stop := time.Now().Add(patienceOfTests); ; {
		c := from("127.0.0.1")
		send(t, c, `k {"command":"ping"}`)
		if !ended(c) {
			return
		}
		if time.Now().After(stop) {
			t.Fatal("a closed connection still counts")
		}
	}
}

func TestCloseEndsConnections(t *testing.T) {
	s, _ := newServer(t)
	c, err := mediaapi.Dial(context.Background(), listen(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(context.Background(), mediaapi.Request{Command: mediaapi.Ping}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	select {
	case <-c.Done():
	case <-time.After(patienceOfTests):
		t.Error("still open")
	}
}

func TestCacheForgets(t *testing.T) {
	c := cache{entries: map[cacheKey]*cached{}}
	now := time.Now()
	get := func(cookie string, at time.Time) bool {
		_, there := c.get(cacheKey{cookie: cookie}, at)
		return there
	}
	if get("a", now) || !get("a", now.Add(cacheTime)) || get("a", now.Add(cacheTime+time.Second)) {
		t.Error("by time")
	}
	for i := range 2 * cacheSize {
		get(fmt.Sprint("x", i), now.Add(cacheTime))
	}
	for i := range 100 {
		e, _ := c.get(cacheKey{cookie: fmt.Sprint("big", i)}, now.Add(cacheTime))
		c.keep(e, make([]byte, 1<<20))
	}
	get("last", now.Add(cacheTime))
	if c.bytes > cacheBytes {
		t.Errorf("%d bytes of replies", c.bytes)
	}
	if len(c.entries) > cacheSize+1 || len(c.order) > cacheSize+1 {
		t.Errorf("%d entries", len(c.entries))
	}
}

// What a command did on an address that moves while the standby is waited for may
// have stayed behind: its sender is told to ask the new host.
func TestWhatStayedBehindIsNotConfirmed(t *testing.T) {
	s, e := newServer(t)
	c, err := mediaapi.Dial(t.Context(), listen(t, s), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e.gone = true
	close(e.wait)
	_, err = c.Do(t.Context(), mediaapi.Request{Command: mediaapi.Host, CallID: "c"})
	var refused *mediaapi.Error
	if !errors.As(err, &refused) || refused.Reason != mediaapi.ReasonNotHosted {
		t.Errorf("got %v, want %q", err, mediaapi.ReasonNotHosted)
	}
}
