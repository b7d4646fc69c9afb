package lab

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// trunkDial opens TLS to an edge's trunk port from an address with a
// certificate of the lab's PKI, or none.
func (n *tier) trunkDial(t *testing.T, from, certificate string) (*tls.Conn, error) {
	t.Helper()
	config, err := n.PKI().Client(certificate)
	if err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: await}
	conn, err := tls.DialWithDialer(&d, "tcp", fmt.Sprintf("%s:%d", n.Addr(Edge1), PortTrunk), config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(await))
	return conn, nil
}

const options = "OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/TLS 127.10.1.1:5999;branch=z9hG4bK%s\r\n" +
	"Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:edge>\r\nCall-ID: %[1]s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

func TestTrunkTakesOnlyItsSBCs(t *testing.T) {
	n := startEdges(t)
	ask := func(from, certificate string) (string, error) {
		conn, err := n.trunkDial(t, from, certificate)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(conn, options, unique("o"))
		m, err := readMessage(bufio.NewReader(conn))
		if err != nil {
			return "", err
		}
		return m.start, nil
	}
	// What works, so that the refusals below mean something.
	if answer, err := ask(n.Addr(SBCA), SBCA); err != nil || answer != "SIP/2.0 200 OK" {
		t.Fatalf("sbc-a by its certificate: %q, %v", answer, err)
	}
	for _, c := range []struct{ name, from, certificate string }{
		{"no certificate", n.Addr(SBCA), ""},
		{"a certificate of an unknown authority", n.Addr(SBCA), CertRogueSBC},
		{"a certificate of ours", n.Addr(SBCA), "r1"},
		{"the other SBC's certificate", n.Addr(SBCA), SBCB},
		{"an SBC's certificate from elsewhere", "127.10.6.9", SBCA},
	} {
		if answer, err := ask(c.from, c.certificate); err == nil {
			t.Errorf("%s got %q", c.name, answer)
		}
	}
	for _, reason := range []string{"wrong_certificate", "unknown_sbc"} {
		if want := fmt.Sprintf(`kamailio_edge_refused_total{reason="%s"} 1`, reason); !strings.Contains(n.metrics(t, Edge1), want) {
			t.Errorf("metrics do not say %s but\n%s", want, n.metrics(t, Edge1))
		}
	}
}

func (n *tier) metrics(t *testing.T, edge string) string {
	t.Helper()
	_, text := get(t, fmt.Sprintf("http://%s:%d/metrics", n.Addr(edge), PortMetrics))
	return text
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestStrangersGetOneAnswer(t *testing.T) {
	n := startEdges(t)
	at := fmt.Sprintf("%s:%d", n.Addr(Edge1), PortAgents)
	for _, c := range []struct{ method, target string }{
		{"INVITE", "sip:" + SalesNumber + "@trunkline"},
		{"INVITE", "sip:ann@trunkline"},
		{"OPTIONS", "sip:trunkline"},
		{"MESSAGE", "sip:nobody@trunkline"},
		{"SUBSCRIBE", "sip:ann@trunkline"},
	} {
		p := dial(t, "127.10.6.66", at)
		p.send(p.newRequest(c.method, c.target, "sip:x@y", c.target))
		if m := p.final(c.method); m.start != "SIP/2.0 403 Forbidden" {
			t.Errorf("%s %s got %s", c.method, c.target, m.start)
		}
	}
	// A dialog that is not ours leads nowhere, whatever its Route says.
	p := dial(t, "127.10.6.66", at)
	m := p.newRequest("BYE", "sip:x@127.10.6.67:5060;transport=tcp", "sip:x@y", "sip:z@y")
	m.headers[3][1] += ";tag=z"
	m.headers = append(m.headers, [2]string{"Route", "<sip:" + at + ";transport=tcp;lr>"})
	p.send(m)
	if m := p.final("BYE"); m.code() != 481 {
		t.Errorf("a stray BYE got %s", m.start)
	}
	// Only routers speak at the routers' port.
	p = dial(t, "127.10.6.66", fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
	p.send(p.newRequest("INVITE", "sip:victim@127.10.6.67:5060;transport=tcp", "sip:x@y", "sip:victim@y"))
	if m, ok := <-p.in; ok {
		t.Errorf("a stranger at the routers' port got %s", m.start)
	}
}

func TestFloodIsBanned(t *testing.T) {
	n := startEdges(t)
	p := dial(t, "127.10.6.66", fmt.Sprintf("%s:%d", n.Addr(Edge1), PortAgents))
	for i := 0; ; i++ {
		m := p.newRequest("OPTIONS", "sip:trunkline", "sip:x@y", "sip:trunkline")
		if _, err := io.WriteString(p.conn, m.String()); err != nil {
			break
		}
		if i > 5000 {
			t.Fatal("5000 requests in a row and no ban")
		}
	}
	// Whoever comes from there finds the door shut; others find it open.
	p = dial(t, "127.10.6.66", fmt.Sprintf("%s:%d", n.Addr(Edge1), PortAgents))
	p.send(p.newRequest("OPTIONS", "sip:trunkline", "sip:x@y", "sip:trunkline"))
	if m, ok := <-p.in; ok {
		t.Errorf("a banned address got %s", m.start)
	}
	n.invite(t, SBCA)
}

func TestPasswordGuesserIsBanned(t *testing.T) {
	n := startEdges(t)
	for _, r := range n.routers {
		r.refuse("REGISTER", "401 Unauthorized")
	}
	at := fmt.Sprintf("%s:%d", n.Addr(Edge1), PortAgents)
	for range 10 {
		p := dial(t, "127.10.6.66", at)
		m := p.newRequest("REGISTER", "sip:trunkline", "sip:ann@trunkline", "sip:ann@trunkline")
		m.headers = append(m.headers, [2]string{"Authorization", `Digest username="ann", realm="trunkline", nonce="1", uri="sip:trunkline", response="0"`})
		p.send(m)
		if a := p.final("REGISTER"); a.code() != 401 {
			t.Fatalf("a wrong password got %s", a.start)
		}
	}
	p := dial(t, "127.10.6.66", at)
	p.send(p.newRequest("REGISTER", "sip:trunkline", "sip:ann@trunkline", "sip:ann@trunkline"))
	if m, ok := <-p.in; ok {
		t.Errorf("after ten guesses: %s", m.start)
	}
}

func TestDrainedEdgeTellsTheSBCs(t *testing.T) {
	n := startEdges(t)
	if code, _ := get(t, fmt.Sprintf("http://%s:%d/readyz", n.Addr(Edge1), PortMetrics)); code != 200 {
		t.Fatalf("/readyz of a ready edge: %d", code)
	}
	if err := n.RPC(t.Context(), Edge1, "htable.seti", []any{"edge", "drain", 1}, nil); err != nil {
		t.Fatal(err)
	}
	if code, _ := get(t, fmt.Sprintf("http://%s:%d/readyz", n.Addr(Edge1), PortMetrics)); code != 503 {
		t.Errorf("/readyz of a draining edge: %d", code)
	}
	drained := func() bool {
		for _, sbc := range []string{SBCA, SBCB} {
			active, err := n.Active(t.Context(), sbc)
			if err != nil || active[Edge1] || !active[Edge2] {
				return false
			}
		}
		return true
	}
	if !poll(await, drained) {
		t.Fatal("the SBCs still send calls to a draining edge")
	}
	for i := range 6 {
		if _, _, _, g := n.invite(t, []string{SBCA, SBCB}[i%2]); g.get("X-Trunkline-Edge") != Edge2 {
			t.Errorf("call %d came by %s", i, g.get("X-Trunkline-Edge"))
		}
	}
}

func TestRouterThatRefusesHandsTheCallOn(t *testing.T) {
	n := startEdges(t)
	n.routers[0].refuse("INVITE", "503 Service Unavailable")
	for i := range 12 {
		n.invite(t, []string{SBCA, SBCB}[i%2])
	}
	// But what is said of the call itself is final.
	for _, r := range n.routers {
		r.refuse("INVITE", "503 Service Unavailable", [2]string{"X-Trunkline-Call", "abc"}, [2]string{"Retry-After", "7"})
	}
	p := dial(t, "127.10.6.1", fmt.Sprintf("%s:%d", n.Addr(SBCA), PortSIP))
	m := p.newRequest("INVITE", "sip:"+SalesNumber+"@trunkline", "sip:+79160000001@caller", "sip:"+SalesNumber+"@trunkline")
	p.send(m)
	if a := p.final("INVITE"); a.code() != 503 || a.get("Retry-After") != "7" {
		t.Errorf("a call over the limit got %s, Retry-After %q", a.start, a.get("Retry-After"))
	}
	first := n.next(t, "INVITE", m.get("Call-ID"))
	select {
	case g := <-n.got:
		if g.method() == "INVITE" && g.get("Call-ID") == m.get("Call-ID") {
			t.Errorf("a final refusal by %s was tried again at %s", first.router, g.router)
		}
	default:
	}
}

// With no router left an SBC is told at once, for a new call and a later
// request alike: silence would cost it its own timeouts.
func TestAnEdgeWithoutRoutersSaysSo(t *testing.T) {
	n := startEdges(t)
	_, m, ok, g := n.invite(t, SBCA)
	for _, r := range n.routers {
		r.close()
	}
	edge := g.get("X-Trunkline-Edge")
	alone := func() bool {
		code, _ := get(t, fmt.Sprintf("http://%s:%d/readyz", n.Addr(edge), PortMetrics))
		return code == 503
	}
	if !poll(await, alone) {
		t.Fatal("the edge does not notice that its routers are gone")
	}
	config, err := n.PKI().Client(SBCA)
	if err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(n.Addr(SBCA))}, Timeout: await}
	conn, err := tls.DialWithDialer(&d, "tcp", fmt.Sprintf("%s:%d", n.Addr(edge), PortTrunk), config)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn, "TLS")
	p.send(p.newRequest("INVITE", "sip:"+SalesNumber+"@trunkline", "sip:+79160000001@caller", "sip:"+SalesNumber+"@trunkline"))
	if a := p.final("INVITE"); a.code() != 503 || a.get("Retry-After") == "" {
		t.Errorf("a new call got %s, Retry-After %q", a.start, a.get("Retry-After"))
	}
	p.send(p.within("BYE", 2, m, ok))
	if a := p.final("BYE"); a.code() != 503 {
		t.Errorf("a BYE got %s", a.start)
	}
}
