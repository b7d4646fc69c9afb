package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// await is how long a test waits for what must come.
const await = 10 * time.Second

// message is a SIP message, as raw as a test of a proxy needs it.
type message struct {
	start   string
	headers [][2]string
}

func (m *message) get(name string) string {
	if all := m.all(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (m *message) all(name string) []string {
	var values []string
	for _, h := range m.headers {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	return values
}

func (m *message) method() string { return strings.Fields(m.get("CSeq"))[1] }

func (m *message) isRequest() bool { return !strings.HasPrefix(m.start, "SIP/2.0 ") }

func (m *message) code() int {
	code, _ := strconv.Atoi(strings.Fields(m.start)[1])
	return code
}

func (m *message) String() string {
	var b strings.Builder
	b.WriteString(m.start + "\r\n")
	for _, h := range m.headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// reply answers a request, with its Vias, Record-Routes and ids.
func (m *message) reply(status string, more ...[2]string) *message {
	r := &message{start: "SIP/2.0 " + status}
	for _, h := range m.headers {
		switch name := strings.ToLower(h[0]); name {
		case "via", "record-route", "from", "call-id", "cseq":
			r.headers = append(r.headers, h)
		case "to":
			if !strings.Contains(h[1], "tag=") && !strings.HasPrefix(status, "100") {
				h[1] += ";tag=standin"
			}
			r.headers = append(r.headers, h)
		}
	}
	r.headers = append(r.headers, more...)
	return r
}

func readMessage(r *bufio.Reader) (*message, error) {
	text := textproto.NewReader(r)
	m := &message{}
	for m.start == "" { // blank lines keep connections alive
		line, err := text.ReadLine()
		if err != nil {
			return nil, err
		}
		m.start = line
	}
	length := 0
	for {
		line, err := text.ReadContinuedLine()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(value)
			continue
		}
		m.headers = append(m.headers, [2]string{strings.TrimSpace(name), value})
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return m, err
}

// uri is what is between the angle brackets.
func uri(value string) string {
	_, value, _ = strings.Cut(value, "<")
	value, _, _ = strings.Cut(value, ">")
	return value
}

// peer is one connection with its messages, OPTIONS answered and left out.
type peer struct {
	t         *testing.T
	conn      net.Conn
	transport string // as in Via
	in        chan *message
}

func newPeer(t *testing.T, conn net.Conn, transport string) *peer {
	p := &peer{t: t, conn: conn, transport: transport, in: make(chan *message, 64)}
	t.Cleanup(func() { conn.Close() })
	go func() {
		defer close(p.in)
		r := bufio.NewReader(conn)
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			p.in <- m
		}
	}()
	return p
}

// dial opens a TCP connection from an address of the loopback network.
func dial(t *testing.T, from, to string) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: await}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatalf("connect %s to %s: %v", from, to, err)
	}
	return newPeer(t, conn, "TCP")
}

// dialPhone opens a phone's flow to an edge by any of its transports.
func (n *tier) dialPhone(t *testing.T, transport, from, edge string) *peer {
	t.Helper()
	at := fmt.Sprintf("%s:%d", n.Addr(edge), PortAgents)
	switch transport {
	case "UDP":
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		if err != nil {
			t.Fatal(err)
		}
		return newPeer(t, conn, transport)
	case "TLS":
		config, err := n.PKI().Client("") // a phone has no certificate
		if err != nil {
			t.Fatal(err)
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: await}
		conn, err := tls.DialWithDialer(&d, "tcp", fmt.Sprintf("%s:%d", n.Addr(edge), PortAgentsTLS), config)
		if err != nil {
			t.Fatal(err)
		}
		return newPeer(t, conn, transport)
	}
	return dial(t, from, at)
}

func (p *peer) send(m *message) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, m.String()); err != nil {
		p.t.Fatalf("send %s: %v", m.start, err)
	}
}

// next is the next message that want accepts.
func (p *peer) next(what string, want func(m *message) bool) *message {
	p.t.Helper()
	limit := time.After(await)
	for {
		select {
		case m, ok := <-p.in:
			if !ok {
				p.t.Fatalf("waiting for %s: the connection was closed", what)
			}
			if want(m) {
				return m
			}
		case <-limit:
			p.t.Fatalf("waited %v for %s", await, what)
		}
	}
}

func (p *peer) final(method string) *message {
	p.t.Helper()
	return p.next("the answer to "+method, func(m *message) bool {
		return !m.isRequest() && m.code() >= 200 && m.method() == method
	})
}

func (p *peer) request(method string) *message {
	p.t.Helper()
	return p.next(method, func(m *message) bool { return m.isRequest() && m.method() == method })
}

var serial struct {
	sync.Mutex
	n int
}

func unique(what string) string {
	serial.Lock()
	defer serial.Unlock()
	serial.n++
	return fmt.Sprintf("%s-%d-%d", what, serial.n, time.Now().UnixNano())
}

// newRequest is a request of a fresh dialog from p.
func (p *peer) newRequest(method, target, from, to string) *message {
	local := p.conn.LocalAddr().String()
	return &message{start: method + " " + target + " SIP/2.0", headers: [][2]string{
		{"Via", "SIP/2.0/" + p.transport + " " + local + ";branch=z9hG4bK" + unique("b")},
		{"Max-Forwards", "70"},
		{"From", "<" + from + ">;tag=" + unique("t")},
		{"To", "<" + to + ">"},
		{"Call-ID", unique("call")},
		{"CSeq", "1 " + method},
		{"Contact", "<sip:" + local + ";transport=tcp>"},
	}}
}

// within is a request in the dialog that invite and ok have set up, from the
// caller's side.
func (p *peer) within(method string, cseq int, invite, ok *message) *message {
	m := &message{start: method + " " + uri(ok.get("Contact")) + " SIP/2.0", headers: [][2]string{
		{"Via", "SIP/2.0/" + p.transport + " " + p.conn.LocalAddr().String() + ";branch=z9hG4bK" + unique("b")},
		{"Max-Forwards", "70"},
		{"From", invite.get("From")},
		{"To", ok.get("To")},
		{"Call-ID", invite.get("Call-ID")},
		{"CSeq", fmt.Sprintf("%d %s", cseq, method)},
	}}
	routes := ok.all("Record-Route")
	for i := len(routes) - 1; i >= 0; i-- {
		m.headers = append(m.headers, [2]string{"Route", routes[i]})
	}
	return m
}

// got is what a stand-in router has received.
type got struct {
	router string
	*message
}

// standin plays a router: it answers 100 and 200 to INVITE and 200 to all
// else, on all of a router's ports, and tells what it got.
type standin struct {
	host
	mu        sync.Mutex
	listeners []net.Listener
	conns     map[net.Conn]bool
	silent    bool // takes messages and says nothing, as a hung process does
	refusals  map[string]refusal
	loss      string        // what it tells who asks for its load (RFC 7339); empty: nothing
	answers   chan *message // to requests it has not sent by these connections
}

type refusal struct {
	status  string
	headers [][2]string
}

// refuse answers a method with status from now on.
func (s *standin) refuse(method, status string, headers ...[2]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals[method] = refusal{status, headers}
}

// newStandin waits for another lab on this machine to end: the addresses are
// the same for all.
func newStandin(h host, out chan<- got) (*standin, error) {
	var s *standin
	var err error
	poll(3*time.Minute, func() bool {
		s, err = openStandin(h, out)
		return !errors.Is(err, syscall.EADDRINUSE)
	})
	return s, err
}

func openStandin(h host, out chan<- got) (*standin, error) {
	s := &standin{host: h, conns: map[net.Conn]bool{}, refusals: map[string]refusal{}, answers: make(chan *message, 64)}
	for _, port := range routerPorts {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", s.IP, port))
		if err != nil {
			s.close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		go s.accept(l, out)
	}
	return s, nil
}

func (s *standin) accept(l net.Listener, out chan<- got) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		go s.serve(conn, out)
	}
}

func (s *standin) serve(conn net.Conn, out chan<- got) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		silent := s.silent
		m.tellLoad(s.loss)
		var refused refusal
		if m.isRequest() {
			refused = s.refusals[m.method()]
		}
		s.mu.Unlock()
		if silent {
			continue
		}
		if !m.isRequest() {
			s.answers <- m
			continue
		}
		if m.method() != "OPTIONS" {
			out <- got{s.Name, m}
		}
		contact := [2]string{"Contact", fmt.Sprintf("<sip:c1@%s;transport=tcp;n=%s>", conn.LocalAddr(), s.Name)}
		switch {
		case m.method() == "ACK":
			continue
		case refused.status != "":
			io.WriteString(conn, m.reply(refused.status, refused.headers...).String())
			continue
		case m.method() == "INVITE":
			io.WriteString(conn, m.reply("100 Trying").String())
		}
		io.WriteString(conn, m.reply("200 OK", contact).String())
	}
}

func (s *standin) hang(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// close is a kill: ports and connections go at once.
func (s *standin) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.listeners, s.conns = nil, map[net.Conn]bool{}
}

// tier is the edges and SBCs of a test, and its stand-in routers.
type tier struct {
	*Lab
	routers []*standin
	got     chan got
}

func startEdges(t *testing.T) *tier {
	t.Helper()
	n := &tier{got: make(chan got, 1024)}
	for _, h := range newPlan(3, 0).Routers {
		s, err := newStandin(h, n.got)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		n.routers = append(n.routers, s)
	}
	l, err := Start(context.Background(), Options{Dir: t.TempDir(), edgesOnly: true, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	n.Lab = l
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{Edge1, Edge2, SBCA, SBCB} {
				t.Logf("--- %s\n%s", name, l.Tail(name, 10))
			}
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// next is the next request of the method at any router, of the call if given.
func (n *tier) next(t *testing.T, method, call string) got {
	t.Helper()
	limit := time.After(await)
	for {
		select {
		case g := <-n.got:
			if g.method() == method && (call == "" || g.get("Call-ID") == call) {
				return g
			}
		case <-limit:
			t.Fatalf("waited %v for %s at a router", await, method)
		}
	}
}
