package lab

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// customer is the number the tests of placed calls dial.
const customer = "+79160000042"

// subscribe registers the customer's phone with an SBC.
func (n *tier) subscribe(t *testing.T, sbc string) *peer {
	t.Helper()
	phone := dial(t, "127.10.6.2", fmt.Sprintf("%s:%d", n.Addr(sbc), PortSIP))
	target := "sip:" + customer + "@" + n.Addr(sbc)
	phone.send(phone.newRequest("REGISTER", "sip:"+n.Addr(sbc), target, target))
	if ok := phone.final("REGISTER"); ok.code() != 200 {
		t.Fatalf("REGISTER with %s: %s", sbc, ok.start)
	}
	return phone
}

// place is a router's INVITE to the customer by an edge over a trunk.
func (n *tier) place(t *testing.T, router, edge, trunk, number string, more ...[2]string) (*peer, *message) {
	t.Helper()
	p := dial(t, n.Addr(router), fmt.Sprintf("%s:%d", n.Addr(edge), PortInternal))
	inv := p.newRequest("INVITE", "sip:"+number+"@trunkline.internal;user=phone", "sip:+74950000001@trunkline.internal", "sip:"+number+"@trunkline.internal")
	inv.headers[6] = [2]string{"Contact", fmt.Sprintf("<sip:c7@%s:5061;transport=tcp;n=%s>", n.Addr(router), router)}
	inv.headers = append(inv.headers, [2]string{"X-Trunkline-Trunk", trunk}, [2]string{"X-Trunkline-Call", "c7"})
	inv.headers = append(inv.headers, more...)
	p.send(inv)
	return p, inv
}

// hangUp is the phone's BYE in the dialog of the INVITE it got.
func (p *peer) hangUp(in *message) *message {
	bye := &message{start: "BYE " + uri(in.get("Contact")) + " SIP/2.0", headers: [][2]string{
		{"Via", "SIP/2.0/" + p.transport + " " + p.conn.LocalAddr().String() + ";branch=z9hG4bK" + unique("b")},
		{"Max-Forwards", "70"},
		{"From", in.get("To") + ";tag=standin"}, {"To", in.get("From")},
		{"Call-ID", in.get("Call-ID")}, {"CSeq", "1 BYE"},
	}}
	for _, route := range in.all("Record-Route") {
		bye.headers = append(bye.headers, [2]string{"Route", route})
	}
	p.send(bye)
	return bye
}

func (p *peer) contact() [2]string {
	return [2]string{"Contact", "<sip:" + customer + "@" + p.conn.LocalAddr().String() + ";transport=tcp>"}
}

// talk answers the router's INVITE at the phone and returns what the phone and
// the router got.
func talk(t *testing.T, router, phone *peer, inv *message) (in, ok *message) {
	t.Helper()
	in = phone.request("INVITE")
	for _, h := range in.headers {
		if strings.HasPrefix(h[0], "X-Trunkline-") {
			t.Errorf("the header %s left the tier", h[0])
		}
	}
	phone.send(in.reply("180 Ringing", phone.contact()))
	router.next("180", func(m *message) bool { return !m.isRequest() && m.code() == 180 })
	phone.send(in.reply("200 OK", phone.contact()))
	if ok = router.final("INVITE"); ok.code() != 200 {
		t.Fatalf("INVITE over the trunk: %s", ok.start)
	}
	router.send(router.within("ACK", 1, inv, ok))
	phone.request("ACK")
	return in, ok
}

func TestRouterPlacesCallsOverBothTrunksByBothEdges(t *testing.T) {
	n := startEdges(t)
	for i, edge := range []string{Edge1, Edge2} {
		for _, sbc := range []string{SBCA, SBCB} {
			phone := n.subscribe(t, sbc)
			router, inv := n.place(t, "r2", edge, sbc, customer)
			in, ok := talk(t, router, phone, inv)
			if want := "sip:" + customer + "@" + n.Addr(sbc); !strings.HasPrefix(strings.Fields(in.start)[1], want) {
				t.Errorf("the customer is called as %s, want %s", in.start, want)
			}
			if i == 0 { // the customer hangs up, else the router does
				phone.hangUp(in)
				if bye := n.next(t, "BYE", inv.get("Call-ID")); bye.router != "r2" {
					t.Errorf("the customer's BYE reached %s, the call is at r2", bye.router)
				}
				if done := phone.final("BYE"); done.code() != 200 {
					t.Errorf("the customer's BYE: %s", done.start)
				}
				continue
			}
			router.send(router.within("BYE", 2, inv, ok))
			phone.send(phone.request("BYE").reply("200 OK"))
			if done := router.final("BYE"); done.code() != 200 {
				t.Errorf("BYE to the customer: %s", done.start)
			}
		}
	}
	if want := `kamailio_edge_calls_placed_total{trunk="sbc-a"} 1`; !strings.Contains(n.metrics(t, Edge1), want) {
		t.Errorf("metrics do not say %s", want)
	}
}

func TestAPlacedCallOutlivesItsEdge(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCB)
	router, inv := n.place(t, "r3", Edge1, SBCB, customer)
	in, ok := talk(t, router, phone, inv)
	// The router's request by the other edge, while both live.
	other := dial(t, n.Addr("r3"), fmt.Sprintf("%s:%d", n.Addr(Edge2), PortInternal))
	other.send(router.within("INFO", 2, inv, ok))
	phone.send(phone.request("INFO").reply("200 OK"))
	if done := other.final("INFO"); done.code() != 200 {
		t.Errorf("INFO by the other edge: %s", done.start)
	}
	if err := n.Kill(Edge1); err != nil {
		t.Fatal(err)
	}
	phone.hangUp(in)
	if bye := n.next(t, "BYE", inv.get("Call-ID")); bye.router != "r3" {
		t.Errorf("BYE reached %s, the call is at r3", bye.router)
	}
	if done := phone.final("BYE"); done.code() != 200 {
		t.Errorf("BYE with the edge dead: %s", done.start)
	}
}

// The router takes the next trunk as soon as it hears 503, so that has to come
// at once: for a trunk nobody knows, one just killed and one that hangs.
func TestATrunkThatIsDownIsRefusedAtOnce(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCB)
	refused := func(name, edge, trunk string, within time.Duration) {
		t.Helper()
		began := time.Now()
		router, _ := n.place(t, "r1", edge, trunk, customer)
		if m := router.final("INVITE"); m.code() != 503 {
			t.Errorf("%s: %s", name, m.start)
		}
		if took := time.Since(began); took > within {
			t.Errorf("%s: refused after %v", name, took)
		}
	}
	refused("an unknown trunk", Edge1, "sbc-x", time.Second)
	refused("no trunk", Edge1, "", time.Second)
	if err := n.Kill(SBCA); err != nil {
		t.Fatal(err)
	}
	refused("a trunk just killed", Edge1, SBCA, 2*time.Second)
	refused("the same by the other edge", Edge2, SBCA, 2*time.Second)
	down := func() bool {
		active, err := n.Active(t.Context(), Edge1)
		return err == nil && !active[SBCA]
	}
	if !poll(await, down) {
		t.Fatal("edge-1 does not notice a dead SBC")
	}
	refused("a trunk known to be dead", Edge1, SBCA, 500*time.Millisecond)
	router, inv := n.place(t, "r1", Edge1, SBCB, customer)
	talk(t, router, phone, inv)

	if err := n.Restart(t.Context(), SBCA); err != nil {
		t.Fatal(err)
	}
	if err := n.Freeze(SBCA); err != nil {
		t.Fatal(err)
	}
	refused("a trunk that hangs", Edge2, SBCA, 2*time.Second)
	if err := n.Thaw(SBCA); err != nil {
		t.Fatal(err)
	}
}

// A router asks by each edge whether a trunk's SBC is there, and is told so by
// what the SBC answers, or does not.
func TestRoutersAskTrunksByBothEdges(t *testing.T) {
	n := startEdges(t)
	ask := func(edge, trunk string) (code int, took time.Duration) {
		t.Helper()
		p := dial(t, n.Addr("r1"), fmt.Sprintf("%s:%d", n.Addr(edge), PortInternal))
		m := p.newRequest("OPTIONS", "sip:trunkline.internal", "sip:r1@trunkline.internal", "sip:trunkline.internal")
		m.headers = append(m.headers, [2]string{"X-Trunkline-Trunk", trunk})
		began := time.Now()
		p.send(m)
		return p.final("OPTIONS").code(), time.Since(began)
	}
	for _, edge := range []string{Edge1, Edge2} {
		for trunk, want := range map[string]int{SBCA: 200, SBCB: 200, "sbc-x": 503} {
			if code, _ := ask(edge, trunk); code != want {
				t.Errorf("%s asked about %s answers %d, want %d", edge, trunk, code, want)
			}
		}
	}
	if err := n.Freeze(SBCA); err != nil {
		t.Fatal(err)
	}
	if code, took := ask(Edge1, SBCA); code != 503 && code != 408 || took > 2*time.Second {
		t.Errorf("an SBC that hangs: %d after %v", code, took)
	}
	if err := n.Thaw(SBCA); err != nil {
		t.Fatal(err)
	}
	if err := n.Kill(SBCB); err != nil {
		t.Fatal(err)
	}
	if code, took := ask(Edge2, SBCB); code != 503 && code != 408 || took > 2*time.Second {
		t.Errorf("an SBC that is dead: %d after %v", code, took)
	}
	// No call was placed by asking.
	if text := n.metrics(t, Edge1); strings.Contains(text, `edge_calls_placed_total{trunk="sbc-a"} 1`) || strings.Contains(text, `edge_refused_total{reason="no_trunk"} 1`) {
		t.Error("a question counts as a call")
	}
}

func TestTheTrunksAnswerIsTheRoutersAnswer(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCA)
	for _, status := range []string{"486 Busy Here", "603 Decline", "480 Temporarily Unavailable"} {
		router, _ := n.place(t, "r1", Edge1, SBCA, customer)
		phone.send(phone.request("INVITE").reply(status))
		if m := router.final("INVITE"); m.start != "SIP/2.0 "+status {
			t.Errorf("the customer's %s came as %s", status, m.start)
		}
	}
	router, _ := n.place(t, "r1", Edge1, SBCA, "+79169999999")
	if m := router.final("INVITE"); m.code() != 404 {
		t.Errorf("a number the SBC does not know got %s", m.start)
	}
	for _, number := range []string{"ann", "+7916%3B", "7"} {
		router, _ := n.place(t, "r1", Edge1, SBCA, number)
		if m := router.final("INVITE"); m.code() != 484 {
			t.Errorf("the number %q got %s", number, m.start)
		}
	}
}

// Neither Request-URI nor Route lead a placed call to anybody but the trunk's
// SBC, and nobody but a router places one.
func TestPlacedCallsReachNoStranger(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCA)
	stranger, err := net.Listen("tcp", "127.10.6.67:5060")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	p := dial(t, n.Addr("r1"), fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
	inv := p.newRequest("INVITE", "sip:"+customer+"@127.10.6.67:5060;transport=tcp", "sip:+74950000001@trunkline.internal", "sip:"+customer+"@trunkline.internal")
	inv.headers = append(inv.headers, [2]string{"Route", "<sip:127.10.6.67:5060;transport=tcp;lr>"}, [2]string{"X-Trunkline-Trunk", SBCA})
	p.send(inv)
	in := phone.request("INVITE")
	phone.send(in.reply("486 Busy Here"))
	if m := p.final("INVITE"); m.code() != 486 {
		t.Errorf("a call with a stranger's Route: %s", m.start)
	}
	stranger.(*net.TCPListener).SetDeadline(time.Now())
	if conn, err := stranger.Accept(); err == nil {
		conn.Close()
		t.Error("the edge has connected to a stranger named by the INVITE")
	}
	// What a phone says of a trunk does not reach the router, which alone may name one.
	for _, transport := range []string{"TCP", "UDP"} {
		phone := n.dialPhone(t, transport, "127.10.5.1", Edge1)
		n.register(t, n.dialPhone(t, "TCP", "127.10.5.1", Edge1), Edge1)
		m := phone.newRequest("INVITE", "sip:"+customer+"@trunkline", "sip:ann@trunkline", "sip:"+customer+"@trunkline")
		m.headers = append(m.headers, [2]string{"X-Trunkline-Trunk", SBCA})
		phone.send(m)
		if in := n.next(t, "INVITE", m.get("Call-ID")); in.get("X-Trunkline-Trunk") != "" || in.get("X-Trunkline-Edge") != Edge1 {
			t.Errorf("a phone's call over a trunk by %s came to the router as\n%s", transport, in.message)
		}
	}
}

// A survivor cancels what a dead router has started: branch and sent-by tell.
func TestAPlacedCallIsCancelledBySurvivors(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCA)
	router, inv := n.place(t, "r1", Edge1, SBCA, customer)
	in := phone.request("INVITE")
	phone.send(in.reply("180 Ringing", phone.contact()))
	router.next("180", func(m *message) bool { return !m.isRequest() && m.code() == 180 })
	survivor := dial(t, n.Addr("r2"), fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
	cancel := &message{start: "CANCEL " + strings.Fields(inv.start)[1] + " SIP/2.0"}
	for _, h := range inv.headers {
		switch h[0] {
		case "Via", "Max-Forwards", "From", "To", "Call-ID":
			cancel.headers = append(cancel.headers, h)
		case "CSeq":
			cancel.headers = append(cancel.headers, [2]string{"CSeq", "1 CANCEL"})
		}
	}
	survivor.send(cancel)
	phone.send(phone.request("CANCEL").reply("200 OK"))
	phone.send(in.reply("487 Request Terminated"))
	phone.request("ACK")
	if m := router.final("INVITE"); m.code() != 487 {
		t.Errorf("a cancelled call got %s", m.start)
	}
}

// The router that calls the customer dies while the phone rings: the answer
// reaches a survivor.
func TestACustomersAnswerOutlivesTheRouter(t *testing.T) {
	n := startEdges(t)
	phone := n.subscribe(t, SBCA)
	p := dial(t, n.Addr("r1"), fmt.Sprintf("%s:%d", n.Addr(Edge1), PortInternal))
	inv := p.newRequest("INVITE", "sip:"+customer+"@trunkline.internal", "sip:+74950000001@trunkline.internal", "sip:"+customer+"@trunkline.internal")
	inv.headers[0] = [2]string{"Via", "SIP/2.0/TCP " + n.Addr("r1") + ":5060;branch=z9hG4bK" + unique("b")}
	inv.headers = append(inv.headers, [2]string{"X-Trunkline-Trunk", SBCA})
	p.send(inv)
	in := phone.request("INVITE")
	phone.send(in.reply("180 Ringing", phone.contact()))
	p.next("180", func(m *message) bool { return !m.isRequest() && m.code() == 180 })
	n.routers[0].close()
	p.conn.Close()
	ok, sent := in.reply("200 OK", phone.contact()), time.Time{}
	survived := func() bool {
		if time.Since(sent) > 500*time.Millisecond { // as a phone repeats it until the ACK
			phone.send(ok)
			sent = time.Now()
		}
		for _, r := range n.routers[1:] {
			select {
			case m := <-r.answers:
				if m.code() == 200 && m.get("Call-ID") == inv.get("Call-ID") {
					return m.get("Contact") == phone.contact()[1]
				}
			default:
			}
		}
		return false
	}
	if !poll(await, survived) {
		t.Fatal("the customer's answer reaches no survivor")
	}
}

// standinSBC listens at an SBC's trunk port with a certificate and tells each
// request that comes; requests are answered with 200.
func (n *tier) standinSBC(t *testing.T, sbc, certificate string) <-chan *peer {
	t.Helper()
	config, err := n.PKI().Client(certificate)
	if err != nil {
		t.Fatal(err)
	}
	config.ClientAuth = tls.RequireAnyClientCert
	var l net.Listener
	free := func() bool {
		l, err = tls.Listen("tcp", fmt.Sprintf("%s:%d", n.Addr(sbc), PortTrunk), config)
		return err == nil
	}
	if !poll(await, free) {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	calls := make(chan *peer, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				p := &peer{t: t, conn: conn, transport: "TLS", in: make(chan *message, 64)}
				defer close(p.in)
				r := bufio.NewReader(conn)
				for {
					m, err := readMessage(r)
					if err != nil {
						return
					}
					if m.isRequest() && m.method() == "OPTIONS" {
						fmt.Fprint(conn, m.reply("200 OK").String())
						continue
					}
					if m.isRequest() && m.method() == "INVITE" {
						calls <- p
					}
					p.in <- m
				}
			}()
		}
	}()
	return calls
}

// What answers at an SBC's address with another SBC's certificate gets no call.
func TestAPlacedCallWantsTheTrunksCertificate(t *testing.T) {
	n := startEdges(t)
	if err := n.Kill(SBCA); err != nil {
		t.Fatal(err)
	}
	calls := n.standinSBC(t, SBCA, SBCB)
	pinned := func() bool {
		active, err := n.Active(t.Context(), Edge1)
		return err == nil && !active[SBCA] && strings.Contains(n.metrics(t, Edge1), `kamailio_edge_refused_total{reason="wrong_certificate"}`)
	}
	if !poll(await, pinned) {
		t.Fatal("the edge does not refuse the wrong certificate")
	}
	for len(calls) > 0 {
		<-calls
	}
	router, _ := n.place(t, "r1", Edge1, SBCA, customer)
	if m := router.final("INVITE"); m.code() != 503 {
		t.Errorf("a call to an SBC with the wrong certificate: %s", m.start)
	}
	select {
	case <-calls:
		t.Error("an SBC with the wrong certificate got the INVITE")
	default:
	}
}

// An SBC may send its requests by the connection the edge has opened (RFC 5923).
func TestAnSBCMayAnswerByTheEdgesConnection(t *testing.T) {
	n := startEdges(t)
	if err := n.Kill(SBCA); err != nil {
		t.Fatal(err)
	}
	calls := n.standinSBC(t, SBCA, SBCA)
	up := func() bool {
		active, err := n.Active(t.Context(), Edge1)
		return err == nil && active[SBCA]
	}
	if !poll(await, up) {
		t.Fatal("the edge does not take the SBC up again")
	}
	router, inv := n.place(t, "r1", Edge1, SBCA, customer)
	var sbc *peer
	select {
	case sbc = <-calls:
	case <-time.After(await):
		t.Fatal("the SBC got no INVITE")
	}
	in := sbc.request("INVITE")
	contact := [2]string{"Contact", fmt.Sprintf("<sip:%s@%s:5061;transport=tls>", customer, n.Addr(SBCA))}
	sbc.send(in.reply("200 OK", contact))
	ok := router.final("INVITE")
	if ok.code() != 200 {
		t.Fatalf("INVITE: %s", ok.start)
	}
	router.send(router.within("ACK", 1, inv, ok))
	sbc.request("ACK")
	sbc.hangUp(in)
	if bye := n.next(t, "BYE", inv.get("Call-ID")); bye.router != "r1" {
		t.Errorf("BYE reached %s, the call is at r1", bye.router)
	}
	if done := sbc.final("BYE"); done.code() != 200 {
		t.Errorf("BYE by the edge's connection: %s", done.start)
	}
}
