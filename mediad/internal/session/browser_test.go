package session

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

const webRTC = "UDP/TLS/RTP/SAVPF"

// A browser that offers and one that is offered to talk with a phone: by ICE,
// DTLS-SRTP and SDES, whoever begins. A re-INVITE changes neither keys nor path,
// an ICE restart the credentials alone.
func TestBrowserTalks(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	w, b := newTab(t), newPhone(t, srtp.AEAD128GCM, true)
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	for _, line := range []string{"a=ice-lite", "a=setup:passive", "a=group:BUNDLE a0", "a=mid:a0", "a=rtcp-mux", "a=candidate:1 1 udp", "m=audio 31"} {
		if !strings.Contains(r.SDP, line) {
			t.Errorf("no %s in\n%s", line, r.SDP)
		}
	}
	if strings.Contains(r.SDP, "a=crypto") {
		t.Errorf("two ways of keys in\n%s", r.SDP)
	}
	w.take(r.SDP)
	b.ring(e, "c", "2")
	connect(t, e, "c")
	w.connected(e, "c", "1")
	w.talkTo(b, "offered")
	if s := stats(t, e, "c", "1"); s.Suite != string(srtp.AESCM128SHA180) {
		t.Errorf("%+v", s)
	}
	again := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	if again.SDP != r.SDP {
		t.Errorf("a refresh changes\n%s to\n%s", r.SDP, again.SDP)
	}
	w.talkTo(b, "refreshed")
	if err := w.agent.Restart("", ""); err != nil {
		t.Fatal(err)
	}
	w.gather()
	again = do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	if x, y := media(t, r.SDP), media(t, again.SDP); *x.ICE == *y.ICE || string(x.DTLS.Fingerprint) != string(y.DTLS.Fingerprint) || x.RTP != y.RTP {
		t.Errorf("a restart changes\n%s to\n%s", r.SDP, again.SDP)
	}
	w.take(again.SDP)
	moved := stats(t, e, "c", "1").Remote
	until(t, "media goes where the restart leads", func() bool { return stats(t, e, "c", "1").Remote != moved })
	until(t, "the tab knows as well", func() bool { p, err := w.agent.GetSelectedCandidatePair(); return err == nil && p != nil })
	w.talkTo(b, "restarted")
	if n := stats(t, e, "c", "1").AuthFailed; n != 0 {
		t.Errorf("%d packets did not authenticate", n)
	}

	for _, setup := range []sdp.Setup{sdp.Active, sdp.Passive} {
		call := string(setup)
		w, b := newTab(t), newPhone(t, srtp.AEAD128GCM, true)
		w.setup = setup
		b.dial(e, call)
		out := do(t, e, mediaapi.Request{Command: mediaapi.LegOffer, CallID: call, Leg: "2", Transport: webRTC})
		if d := media(t, out.SDP).DTLS; d.Setup != sdp.ActPass {
			t.Errorf("offered as %s", d.Setup)
		}
		do(t, e, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: call, Leg: "2", SDP: w.describe()})
		text := out.SDP
		if setup == sdp.Passive { // the other one begins, and the tab has to know
			text = strings.Replace(text, "actpass", "active", 1)
		}
		w.take(text)
		connect(t, e, call)
		w.connected(e, call, "2")
		w.talkTo(b, "was offered")
	}
}

// Through a proxy as well: browser and gateway without SRTP call each other.
func TestBrowserCallsPlainGateway(t *testing.T) {
	e := newEngine(t, "127.0.0.1", loopbackIsPlain)
	w, b := newTab(t), newPhone(t, srtp.Plain, false)
	out := do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: "k", FromTag: "ft", SDP: w.describe(), Transport: "RTP/AVP", ICE: "remove"})
	if strings.Contains(out.SDP, "ice") || strings.Contains(out.SDP, "fingerprint") {
		t.Errorf("the gateway is offered\n%s", out.SDP)
	}
	back := do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "k", FromTag: "ft", ToTag: "tt", SDP: b.answerTo(out.SDP)})
	w.take(back.SDP)
	w.connected(e, "k", "ft")
	w.talkTo(b, "x")
	w2, b2 := newTab(t), newPhone(t, srtp.Plain, false)
	w2.setup = sdp.Active
	out = do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: "m", FromTag: "ft", SDP: b2.offer(), Transport: webRTC, ICE: "force"})
	back = do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "m", FromTag: "ft", ToTag: "tt", SDP: w2.describe()})
	b2.use(back.SDP)
	w2.take(out.SDP)
	w2.connected(e, "m", farLeg)
	w2.talkTo(b2, "y")
}

// The keys go to the standby, and the browser goes on there: nothing is agreed
// on anew. A prompt that began before there were keys is whole.
func TestBrowserOutlivesItsWorker(t *testing.T) {
	p := newPair(t, "127.0.0.4")
	w, b := newTab(t), newPhone(t, srtp.AEAD128GCM, true)
	r := do(t, p.a, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	do(t, p.a, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "1", Prompt: "short"})
	w.take(r.SDP)
	w.connected(p.a, "c", "1")
	for i := range 5 {
		if got := w.hear(); got != fmt.Sprint("short PCMA frame ", i) {
			t.Errorf("the prompt's frame %d is %q", i, got)
		}
	}
	b.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	w.talkTo(b, "before")
	p.marked(t, p.a)
	p.a.Close()
	p.host(t, p.b, 2, "")
	w.talkTo(b, "after")
	if n := stats(t, p.b, "c", "1"); n.AuthFailed != 0 || n.Packets == 0 {
		t.Errorf("%+v", n)
	}
	// It still answers the browser's checks, and a re-INVITE begins nothing anew.
	again := do(t, p.b, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	if again.SDP != r.SDP {
		t.Errorf("the successor answers\n%s for\n%s", again.SDP, r.SDP)
	}
	until(t, "the successor answers a check", func() bool {
		n := uint64(0)
		for _, s := range p.b.shards {
			s.mu.Lock()
			n += s.count.checks
			s.mu.Unlock()
		}
		return n > 0
	})
	w.talkTo(b, "still")
}

// Whoever has another certificate than the SDP's is never heard.
func TestBrowserWithAnothersCertificate(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	w := newTab(t)
	w.lie = true
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	w.take(r.SDP)
	until(t, "the handshake fails", func() bool {
		n := uint64(0)
		for _, s := range e.shards {
			s.mu.Lock()
			n += s.count.dtlsFailed
			s.mu.Unlock()
		}
		return n > 0
	})
	if s := stats(t, e, "c", "1"); s.Suite != "" || s.Packets != 0 {
		t.Errorf("%+v", s)
	}
}

// A check that somebody overheard and sends again, checks and handshakes of
// strangers, and what looks like neither: nothing moves, nothing is answered
// that was not to be.
func TestStrangersOnABrowsersPort(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	w, b := newTab(t), newPhone(t, srtp.AEAD128GCM, true)
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: w.describe()})
	w.take(r.SDP)
	b.ring(e, "c", "2")
	connect(t, e, "c")
	w.connected(e, "c", "1")
	w.talkTo(b, "first")
	before := stats(t, e, "c", "1").Remote
	ours := media(t, r.SDP)
	at := net.UDPAddrFromAddrPort(ours.RTP)
	stranger, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	send := func(b []byte) {
		if _, err := stranger.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	check := func(pwd string) []byte {
		m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ours.ICE.Ufrag+":"+peerUfrag(t, e)),
			stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		return m.Raw
	}
	send(check("not the password, but as long"))
	send([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // DTLS
	send([]byte{64, 0, 0, 0})                                // TURN
	send([]byte{3})
	send(w.forged())
	send(check(ours.ICE.Pwd)) // as one that was overheard
	_ = stranger.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	n, err := stranger.Read(buf) // in order: nothing was answered before it
	if m := (&stun.Message{Raw: buf[:n]}); err != nil || m.Decode() != nil || m.Type != stun.BindingSuccess {
		t.Fatalf("%v %x", err, buf[:n])
	}
	if now := stats(t, e, "c", "1").Remote; now != before { // before the tab speaks and moves it back
		t.Errorf("a check sent again moves media to %s", now)
	}
	w.talkTo(b, "then")
	after := stats(t, e, "c", "1")
	if after.Remote != before || after.AuthFailed != 2 { // the one of TURN and the one without a key
		t.Errorf("media goes to %s, was %s; %d forged", after.Remote, before, after.AuthFailed)
	}
	_ = stranger.SetReadDeadline(time.Now().Add(3 * frameTime))
	if n, err := stranger.Read(buf); err == nil {
		t.Errorf("the stranger gets %x", buf[:n])
	}
}

// forged is an RTP packet under no key.
func (w *tab) forged() []byte {
	return append([]byte{0x80, 8, 0, byte(w.seq + 1), 0, 0, 0, 0, 7, 7, 7, 7}, make([]byte, 170)...)
}

func peerUfrag(t *testing.T, e *Engine) string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls["c"].leg("1").DTLS.PeerICE.Ufrag
}

// A telephone with DTLS and no ICE is where its SDP says: only from there is a
// handshake taken.
func TestHandshakeWithoutICEIsTakenFromTheSDPsAddress(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	print := "a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("0A:", 32), ":")
	here, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	text := strings.NewReplacer("PORT", netip.MustParseAddrPort(here.LocalAddr().String()).String()[len("127.0.0.1:"):]).Replace(
		"v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio PORT UDP/TLS/RTP/SAVP 8\r\na=rtcp-mux\r\na=setup:passive\r\n" + print + "\r\n")
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: text})
	if m := media(t, r.SDP); m.ICE != nil || m.DTLS.Setup != sdp.Active {
		t.Errorf("%s", r.SDP)
	}
	_ = here.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	if n, _, err := here.ReadFrom(buf); err != nil || n < 13 || buf[0] != 22 { // our hello
		t.Fatalf("%v %x", err, buf[:n])
	}
	s := e.shards[0]
	s.mu.Lock()
	l := s.legs[0]
	s.receiveBrowser(l, []byte{22, 254, 253}, netip.MustParseAddrPort("127.0.0.9:9"))
	s.receiveBrowser(l, []byte{0, 1, 0, 0}, netip.MustParseAddrPort("127.0.0.9:9"))
	if s.count.strange != 2 || s.count.checks != 0 {
		t.Errorf("%d strange, %d checks", s.count.strange, s.count.checks)
	}
	s.mu.Unlock()
	do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "c"})
}
