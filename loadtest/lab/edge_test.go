package lab

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// invite places a call through an SBC and returns the caller's connection, the
// INVITE, its 200, and what the router got.
func (n *tier) invite(t *testing.T, sbc string) (*peer, *message, *message, got) {
	t.Helper()
	p := dial(t, "127.10.6.1", fmt.Sprintf("%s:%d", n.Addr(sbc), PortSIP))
	m := p.newRequest("INVITE", "sip:"+SalesNumber+"@trunkline", "sip:+79160000001@caller", "sip:"+SalesNumber+"@trunkline")
	m.headers = append(m.headers, [2]string{"X-Trunkline-Trunk", "forged"}, [2]string{"X-Trunkline-Owner", "forged"})
	p.send(m)
	ok := p.final("INVITE")
	if ok.code() != 200 {
		t.Fatalf("call through %s: %s", sbc, ok.start)
	}
	g := n.next(t, "INVITE", m.get("Call-ID"))
	p.send(p.within("ACK", 1, m, ok))
	return p, m, ok, g
}

func TestCallsReachEveryRouterThroughBothEdges(t *testing.T) {
	n := startEdges(t)
	seen := map[string]bool{}
	for i := range 24 {
		sbc := []string{SBCA, SBCB}[i%2]
		p, m, ok, g := n.invite(t, sbc)
		trunk, edge := g.all("X-Trunkline-Trunk"), g.all("X-Trunkline-Edge")
		if len(trunk) != 1 || trunk[0] != sbc {
			t.Fatalf("a call through %s came as from trunk %q", sbc, trunk)
		}
		if len(edge) != 1 {
			t.Fatalf("a call came with edges %q", edge)
		}
		if g.get("X-Trunkline-Owner") != "" {
			t.Fatal("a header of ours came in from outside")
		}
		seen[g.router], seen[edge[0]] = true, true
		if ack := n.next(t, "ACK", m.get("Call-ID")); ack.router != g.router {
			t.Fatalf("ACK reached %s, the call is at %s", ack.router, g.router)
		}
		p.send(p.within("BYE", 2, m, ok))
		if bye := n.next(t, "BYE", m.get("Call-ID")); bye.router != g.router {
			t.Fatalf("BYE reached %s, the call is at %s", bye.router, g.router)
		}
		if ok := p.final("BYE"); ok.code() != 200 {
			t.Fatalf("BYE: %s", ok.start)
		}
	}
	for _, name := range []string{"r1", "r2", "r3", Edge1, Edge2} {
		if !seen[name] {
			t.Errorf("24 calls and none by %s: %v", name, seen)
		}
	}
}

func TestRouterReachesCallerThroughEitherEdge(t *testing.T) {
	n := startEdges(t)
	p, m, _, g := n.invite(t, SBCA)
	bye := func(edge string, cseq int) {
		t.Helper()
		r := dial(t, n.Addr(g.router), fmt.Sprintf("%s:%d", n.Addr(edge), PortInternal))
		info := &message{start: "INFO " + uri(g.get("Contact")) + " SIP/2.0", headers: [][2]string{
			{"Via", "SIP/2.0/TCP " + r.conn.LocalAddr().String() + ";branch=z9hG4bK" + unique("b")},
			{"Max-Forwards", "70"},
			{"From", m.get("To") + ";tag=standin"}, {"To", m.get("From")},
			{"Call-ID", m.get("Call-ID")}, {"CSeq", fmt.Sprintf("%d INFO", cseq)},
		}}
		for _, route := range g.all("Record-Route") {
			info.headers = append(info.headers, [2]string{"Route", route})
		}
		r.send(info)
		in := p.request("INFO")
		if in.get("X-Trunkline-Edge") != "" {
			t.Error("a header of ours left the tier")
		}
		p.send(in.reply("200 OK"))
		if ok := r.final("INFO"); ok.code() != 200 {
			t.Fatalf("INFO to the caller: %s", ok.start)
		}
	}
	bye(g.get("X-Trunkline-Edge"), 1)
	other := map[string]string{Edge1: Edge2, Edge2: Edge1}[g.get("X-Trunkline-Edge")]
	bye(other, 2)
	// The edge the call came in by dies: the caller's BYE comes by the other.
	if err := n.Kill(g.get("X-Trunkline-Edge")); err != nil {
		t.Fatal(err)
	}
	ok := &message{headers: [][2]string{{"Contact", "<sip:c1@" + n.Addr(g.router) + ":5061;transport=tcp;n=" + g.router + ">"}, {"To", m.get("To") + ";tag=standin"}}}
	for _, route := range g.all("Record-Route") {
		ok.headers = append(ok.headers, [2]string{"Record-Route", route})
	}
	p.send(p.within("BYE", 2, m, ok))
	if in := n.next(t, "BYE", m.get("Call-ID")); in.router != g.router {
		t.Errorf("BYE reached %s, the call is at %s", in.router, g.router)
	}
	if done := p.final("BYE"); done.code() != 200 {
		t.Errorf("BYE with the edge dead: %s", done.start)
	}
}

func TestDeadRouterCostsNoCall(t *testing.T) {
	n := startEdges(t)
	p, m, ok, g := n.invite(t, SBCA)
	for _, r := range n.routers {
		if r.Name == g.router {
			r.close()
		}
	}
	// At once, before any ping has told the edges.
	for i := range 20 {
		began := time.Now()
		if _, _, _, h := n.invite(t, []string{SBCA, SBCB}[i%2]); h.router == g.router {
			t.Fatalf("call %d reached the dead router", i)
		}
		// A refused connection is known at once; only a timeout takes 1.5 s.
		if took := time.Since(began); took > time.Second {
			t.Errorf("call %d took %v: the dead router was waited for", i, took)
		}
	}
	p.send(p.within("BYE", 2, m, ok))
	bye := n.next(t, "BYE", m.get("Call-ID"))
	if done := p.final("BYE"); done.code() != 200 || bye.router == g.router {
		t.Errorf("BYE of the dead router's call: %s from %s", done.start, bye.router)
	}
}

func TestHungRouterCostsNoCall(t *testing.T) {
	n := startEdges(t)
	p, m, ok, g := n.invite(t, SBCB)
	for _, r := range n.routers {
		if r.Name == g.router {
			r.hang(true)
		}
	}
	p.send(p.within("BYE", 2, m, ok))
	n.next(t, "BYE", m.get("Call-ID"))
	if done := p.final("BYE"); done.code() != 200 {
		t.Errorf("BYE of the hung router's call: %s", done.start)
	}
	for i := range 6 {
		n.invite(t, []string{SBCA, SBCB}[i%2])
	}
}

func TestDeadEdgeCostsNoCall(t *testing.T) {
	n := startEdges(t)
	if err := n.Kill(Edge1); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if _, _, _, g := n.invite(t, []string{SBCA, SBCB}[i%2]); g.get("X-Trunkline-Edge") != Edge2 {
			t.Fatalf("call %d came by %s", i, g.get("X-Trunkline-Edge"))
		}
	}
	if err := n.Restart(t.Context(), Edge1); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 6 {
		_, _, _, g := n.invite(t, SBCA)
		seen[g.get("X-Trunkline-Edge")] = true
	}
	if !seen[Edge1] {
		t.Errorf("edge-1 is back and gets no calls: %v", seen)
	}
}

// register registers ann from a phone behind NAT, whose Contact leads nowhere,
// and returns the Path the router got.
func (n *tier) register(t *testing.T, phone *peer, edge string) string {
	t.Helper()
	reg := phone.newRequest("REGISTER", "sip:trunkline", "sip:ann@trunkline", "sip:ann@trunkline")
	reg.headers[6] = contactBehindNAT
	reg.headers = append(reg.headers, [2]string{"Path", "<sip:forged;lr>"})
	phone.send(reg)
	if ok := phone.final("REGISTER"); ok.code() != 200 {
		t.Fatalf("REGISTER: %s", ok.start)
	}
	g := n.next(t, "REGISTER", reg.get("Call-ID"))
	path := g.all("Path")
	if len(path) != 1 || !strings.Contains(path[0], n.Addr(edge)+":5062") || !strings.Contains(path[0], "received=") || !strings.Contains(path[0], ";ob") {
		t.Fatalf("REGISTER reached the router with Path %q", path)
	}
	return path[0]
}

var contactBehindNAT = [2]string{"Contact", "<sip:ann@192.0.2.1:5060>"}

// ring is a router's INVITE to ann by a Path.
func (n *tier) ring(t *testing.T, router *peer, path string) *message {
	t.Helper()
	inv := router.newRequest("INVITE", uri(contactBehindNAT[1]), "sip:+79160000001@trunkline", "sip:ann@trunkline")
	inv.headers[6] = [2]string{"Contact", "<sip:c9@" + n.Addr("r2") + ":5061;transport=tcp;n=r2>"}
	inv.headers = append(inv.headers, [2]string{"Route", path})
	router.send(inv)
	return inv
}

func TestHungEdgeCostsNoCall(t *testing.T) {
	n := startEdges(t)
	p, m, ok, g := n.invite(t, SBCA)
	hung := g.get("X-Trunkline-Edge")
	if err := n.Freeze(hung); err != nil {
		t.Fatal(err)
	}
	p.send(p.within("BYE", 2, m, ok))
	if bye := n.next(t, "BYE", m.get("Call-ID")); bye.router != g.router {
		t.Errorf("BYE reached %s, the call is at %s", bye.router, g.router)
	}
	if done := p.final("BYE"); done.code() != 200 {
		t.Errorf("BYE with the edge hung: %s", done.start)
	}
	for i := range 4 {
		if _, _, _, h := n.invite(t, []string{SBCA, SBCB}[i%2]); h.get("X-Trunkline-Edge") == hung {
			t.Errorf("call %d came by the hung edge", i)
		}
	}
	if err := n.Thaw(hung); err != nil {
		t.Fatal(err)
	}
	back := func() bool {
		active, err := n.Active(t.Context(), SBCA)
		return err == nil && active[hung]
	}
	if !poll(await, back) {
		t.Error("the edge goes on and gets no calls")
	}
}

func TestPhoneIsReachedByItsPath(t *testing.T) {
	n := startEdges(t)
	for _, transport := range []string{"TCP", "TLS", "UDP"} {
		t.Run(transport, func(t *testing.T) { n.phoneCall(t, transport) })
	}
}

func (n *tier) phoneCall(t *testing.T, transport string) {
	phone := n.dialPhone(t, transport, "127.10.5.1", Edge1)
	path := n.register(t, phone, Edge1)
	router := dial(t, n.Addr("r2"), fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
	inv := n.ring(t, router, path)
	in := phone.request("INVITE")
	phone.send(in.reply("200 OK", contactBehindNAT))
	ok := router.final("INVITE")
	if ok.code() != 200 {
		t.Fatalf("INVITE to the phone: %s", ok.start)
	}
	router.send(router.within("ACK", 1, inv, ok))
	phone.request("ACK")

	// The phone hangs up: its BYE finds the router of the Contact.
	bye := &message{start: "BYE " + uri(in.get("Contact")) + " SIP/2.0", headers: [][2]string{
		{"Via", "SIP/2.0/" + phone.transport + " " + phone.conn.LocalAddr().String() + ";branch=z9hG4bK" + unique("b")},
		{"Max-Forwards", "70"},
		{"From", in.get("To") + ";tag=standin"}, {"To", in.get("From")},
		{"Call-ID", in.get("Call-ID")}, {"CSeq", "1 BYE"},
	}}
	for _, route := range in.all("Record-Route") {
		bye.headers = append(bye.headers, [2]string{"Route", route})
	}
	phone.send(bye)
	if h := n.next(t, "BYE", in.get("Call-ID")); h.router != "r2" {
		t.Errorf("the phone's BYE reached %s, the call is at r2", h.router)
	}
	if done := phone.final("BYE"); done.code() != 200 {
		t.Errorf("the phone's BYE: %s", done.start)
	}
	// And the router hangs up on a phone: by the flow, not by the Contact.
	router.send(router.within("BYE", 2, inv, ok))
	phone.send(phone.request("BYE").reply("200 OK"))
	if done := router.final("BYE"); done.code() != 200 {
		t.Errorf("BYE to the phone: %s", done.start)
	}
}

func TestLostFlowIsReportedAtOnce(t *testing.T) {
	n := startEdges(t)
	for _, transport := range []string{"TCP", "TLS"} {
		phone := n.dialPhone(t, transport, "127.10.5.1", Edge1)
		path := n.register(t, phone, Edge1)
		// By the other edge, which has no such flow.
		router := dial(t, n.Addr("r2"), fmt.Sprintf("%s:%d", n.Addr(Edge2), PortInternal))
		n.ring(t, router, path)
		if m := router.final("INVITE"); m.code() != 430 {
			t.Errorf("%s: INVITE by the other edge: %s", transport, m.start)
		}
		// By its own, once the phone has gone and somebody else has its address.
		at := phone.conn.LocalAddr().String()
		raw := phone.conn
		if t, ok := raw.(*tls.Conn); ok {
			raw = t.NetConn()
		}
		raw.(*net.TCPConn).SetLinger(0) // by RST: the port is free at once
		raw.Close()
		stranger, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		router = dial(t, n.Addr("r2"), fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
		gone := func() bool {
			n.ring(t, router, path)
			return router.final("INVITE").code() == 430
		}
		if !poll(await, gone) {
			t.Errorf("%s: INVITE to a phone that has gone is not answered by 430", transport)
		}
		stranger.(*net.TCPListener).SetDeadline(time.Now())
		if conn, err := stranger.Accept(); err == nil {
			conn.Close()
			t.Errorf("%s: the edge has connected to whoever has the phone's address now", transport)
		}
		stranger.Close()
	}
}

// The router that rings a phone dies or hangs; the phone's answer goes to a
// survivor as the dead one would have got it.
func TestAnswerOutlivesItsRouter(t *testing.T) {
	n := startEdges(t)
	f := func(name string, router *standin, lose func(p *peer)) {
		t.Helper()
		phone := n.dialPhone(t, "TCP", "127.10.5.1", Edge1)
		path := n.register(t, phone, Edge1)
		p := dial(t, router.IP, fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
		inv := p.newRequest("INVITE", uri(contactBehindNAT[1]), "sip:+79160000001@trunkline", "sip:ann@trunkline")
		// A router's Via names the port it listens on.
		via := "SIP/2.0/TCP " + router.IP + ":5060;branch=z9hG4bK" + unique("b")
		inv.headers[0] = [2]string{"Via", via}
		inv.headers = append(inv.headers, [2]string{"Route", path})
		p.send(inv)
		in := phone.request("INVITE")
		phone.send(in.reply("180 Ringing", contactBehindNAT))
		p.next("180", func(m *message) bool { return !m.isRequest() && m.code() == 180 })
		for _, r := range n.routers {
			if len(r.answers) > 0 {
				t.Errorf("%s: %s gets the answer to a router that lives", name, r.Name)
			}
		}
		lose(p)
		// The edge may learn of the death after the first answer has gone: a phone
		// repeats a 200 until it is acknowledged (RFC 3261 section 13.3.1.4).
		ok, sent := in.reply("200 OK", contactBehindNAT), time.Time{}
		var answer *message
		survived := func() bool {
			if time.Since(sent) > 500*time.Millisecond {
				phone.send(ok)
				sent = time.Now()
			}
			for _, r := range n.routers {
				select {
				case m := <-r.answers:
					if m.code() == 200 && r != router && m.get("Call-ID") == inv.get("Call-ID") {
						answer = m
					}
				default:
				}
			}
			return answer != nil
		}
		if !poll(await, survived) {
			t.Fatalf("%s: the phone's answer reaches nobody", name)
		}
		if vias := answer.all("Via"); len(vias) != 1 || !strings.HasPrefix(vias[0], via) {
			t.Errorf("%s: the answer bears Via %q, want %q alone", name, vias, via)
		}
		_, port, _ := net.SplitHostPort(phone.conn.LocalAddr().String())
		if want := "<sip:ann@192.0.2.1:5060;alias=127.10.5.1~" + port + "~2>"; answer.get("Contact") != want {
			t.Errorf("%s: the answer bears Contact %q, want %q", name, answer.get("Contact"), want)
		}
	}
	f("dead", n.routers[0], func(p *peer) {
		n.routers[0].close()
		p.conn.Close()
	})
	f("hung", n.routers[1], func(*peer) {
		n.routers[1].hang(true)
		noticed := func() bool {
			active, err := n.Active(t.Context(), Edge1)
			return err == nil && !active["r2"]
		}
		if !poll(await, noticed) {
			t.Fatal("edge-1 does not notice a hung router")
		}
	})
}
