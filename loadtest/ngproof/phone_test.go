package ngproof

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/srtp/v3"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// party is a SIP endpoint with media, one call at a time. It is driven step by
// step: what it expects is what must come next, apart from repeats and
// provisional answers.
type party struct {
	t      *testing.T
	conn   *net.UDPConn
	secure bool // SRTP, else RTP
	at     netip.Addr

	rtp  *net.UDPConn
	key  []byte
	tx   *srtp.Context
	rx   *srtp.Context
	to   netip.AddrPort
	seq  uint16
	ssrc uint32
	mode string // a=
	ver  int
	ice  bool

	callID, local, remote string // values of From and To, of the own side first
	target                string
	route                 []string
	cseq                  int
	seen                  map[string]bool
}

func newParty(t *testing.T, at string, secure bool) *party {
	t.Helper()
	p := &party{t: t, secure: secure, at: netip.MustParseAddr(at)}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: p.at.AsSlice(), Port: 5060})
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() { conn.Close() })
	return p
}

// fresh forgets the last call.
func (p *party) fresh() {
	p.t.Helper()
	if p.rtp != nil {
		p.rtp.Close()
	}
	rtp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: p.at.AsSlice()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { rtp.Close() })
	p.rtp, p.key, p.tx, p.rx = rtp, random(30), nil, nil
	p.seq, p.ssrc = uint16(binary.BigEndian.Uint16(random(2))>>2), binary.BigEndian.Uint32(random(4))
	p.mode, p.ver, p.cseq, p.seen, p.route = "sendrecv", 1, 1, map[string]bool{}, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func token() string { return fmt.Sprintf("%x", random(6)) }

// sdp is the party's description.
func (p *party) sdp() string {
	var b strings.Builder
	proto := "RTP/AVP"
	if p.secure {
		proto = "RTP/SAVP"
	}
	fmt.Fprintf(&b, "v=0\r\no=x 7 %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %[2]s\r\nt=0 0\r\nm=audio %d %s 8 0 101\r\n", p.ver, p.at, port(p.rtp), proto)
	b.WriteString("a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=" + p.mode + "\r\n")
	if p.secure {
		b.WriteString("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.StdEncoding.EncodeToString(p.key) + "\r\n")
	}
	if p.ice {
		b.WriteString("a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=candidate:1 1 UDP 1 192.0.2.99 9999 typ host\r\n")
	}
	return b.String()
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

var (
	mLine   = regexp.MustCompile(`(?m)^m=audio (\d+) (\S+) ([\d ]+)\r$`)
	cLine   = regexp.MustCompile(`(?m)^c=IN IP4 (\S+)\r$`)
	keyLine = regexp.MustCompile(`(?m)^a=crypto:(\d+) AES_CM_128_HMAC_SHA1_80 inline:([A-Za-z0-9+/=]+)`)
)

// use takes the other side's description, which must be in the party's own
// transport and of mediad's making.
func (p *party) use(sdp string) {
	p.t.Helper()
	m, c := mLine.FindStringSubmatch(sdp), cLine.FindStringSubmatch(sdp)
	want := map[bool]string{true: "RTP/SAVP", false: "RTP/AVP"}[p.secure]
	if m == nil || c == nil || m[2] != want || strings.Contains(sdp, "a=candidate") || !strings.Contains(sdp, "o=- ") ||
		strings.Contains(sdp, "a=crypto") != p.secure {
		p.t.Fatalf("%s is told\n%s", p.at, sdp)
	}
	at, err := netip.ParseAddrPort(c[1] + ":" + m[1])
	if err != nil || !mediaNet.Contains(at.Addr()) {
		p.t.Fatalf("media is not at a worker's address: %v\n%s", err, sdp)
	}
	p.to = at
	if !p.secure || p.rx != nil {
		return
	}
	k := keyLine.FindStringSubmatch(sdp)
	if k == nil {
		p.t.Fatalf("no key in\n%s", sdp)
	}
	key, err := base64.StdEncoding.DecodeString(k[2])
	if err != nil {
		p.t.Fatal(err)
	}
	p.rx, p.tx = context(p.t, key), context(p.t, p.key)
}

// answer is the party's answer to an offer.
func (p *party) answer(offer string) string {
	p.t.Helper()
	p.use(offer)
	sdp := p.sdp()
	if p.secure {
		sdp = strings.Replace(sdp, "a=crypto:1 ", "a=crypto:"+keyLine.FindStringSubmatch(offer)[1]+" ", 1)
	}
	return sdp
}

func context(t *testing.T, key []byte) *srtp.Context {
	t.Helper()
	c, err := srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// speak sends packets of known content; hear checks that they come as they
// were sent: each one, in order, to the octet.
func (p *party) speak(words string, n int) {
	p.t.Helper()
	for i := range n {
		b := []byte{0x80, 8}
		b = binary.BigEndian.AppendUint16(b, p.seq)
		b = binary.BigEndian.AppendUint32(b, uint32(p.seq)*160)
		b = binary.BigEndian.AppendUint32(b, p.ssrc)
		b = append(b, content(words, i)...)
		p.seq++
		if p.secure {
			var err error
			if b, err = p.tx.EncryptRTP(nil, b, nil); err != nil {
				p.t.Fatal(err)
			}
		}
		if _, err := p.rtp.WriteToUDPAddrPort(b, p.to); err != nil {
			p.t.Fatal(err)
		}
	}
}

func content(words string, i int) []byte {
	return []byte(fmt.Sprintf("%-160s", words+" "+strconv.Itoa(i)))
}

func (p *party) hear(words string, n int) {
	p.t.Helper()
	_ = p.rtp.SetReadDeadline(time.Now().Add(patience))
	buf, seq := make([]byte, 2048), uint16(0)
	for i := 0; i < n; {
		size, from, err := p.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			p.t.Fatalf("%s hears %d of %d packets of %q: %v", p.at, i, n, words, err)
		}
		b := buf[:size]
		if b[1]&0x7f >= 64 && b[1]&0x7f < 96 {
			continue // RTCP
		}
		if p.secure {
			if b, err = p.rx.DecryptRTP(nil, b, nil); err != nil {
				p.t.Fatalf("what %s hears does not authenticate: %v", p.at, err)
			}
		}
		got := binary.BigEndian.Uint16(b[2:])
		if !bytes.Equal(b[12:], content(words, i)) || i > 0 && got != seq+1 || from != p.to {
			p.t.Fatalf("%s hears %q as packet %d, number %d from %s", p.at, b[12:], i, got, from)
		}
		seq = got
		i++
	}
}

// talk has both hear each other.
func talk(a, b *party, words string) {
	a.t.Helper()
	const packets = 30
	a.speak(words+" there", packets)
	b.speak(words+" and back", packets)
	b.hear(words+" there", packets)
	a.hear(words+" and back", packets)
}

// message is a SIP message.
type message struct {
	start string
	head  []string
	body  string
}

func parse(b []byte) message {
	head, body, _ := strings.Cut(string(b), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	return message{start: lines[0], head: lines[1:], body: body}
}

// all are a header's values; Kamailio writes one a line, in full.
func (m message) all(name string) []string {
	var v []string
	for _, h := range m.head {
		if n, value, ok := strings.Cut(h, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			v = append(v, strings.TrimSpace(value))
		}
	}
	return v
}

func (m message) get(name string) string {
	if v := m.all(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (m message) is(what string) bool {
	if code, ok := strings.CutPrefix(m.start, "SIP/2.0 "); ok {
		return strings.HasPrefix(code, what[:min(3, len(what))]) && strings.HasSuffix(m.get("CSeq"), what[min(4, len(what)):])
	}
	return strings.HasPrefix(m.start, what+" ")
}

// expect waits for a request ("INVITE") or an answer ("200 INVITE").
func (p *party) expect(what string) message {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			p.t.Fatalf("%s waits for %s in vain: %v", p.at, what, err)
		}
		m := parse(buf[:n])
		key := m.start + m.get("CSeq") + m.get("Call-ID") + m.get("Via")
		if m.get("Call-ID") != p.callID || p.seen[key] || strings.HasPrefix(m.start, "SIP/2.0 1") {
			continue
		}
		p.seen[key] = true
		if !m.is(what) {
			p.t.Fatalf("%s waits for %s and gets\n%s\n%s", p.at, what, m.start, strings.Join(m.head, "\n"))
		}
		return m
	}
}

// ringing waits for a 180.
func (p *party) ringing() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			p.t.Fatalf("%s hears no ringing: %v", p.at, err)
		}
		if strings.HasPrefix(string(buf[:n]), "SIP/2.0 180") {
			return
		}
	}
}

func (p *party) write(lines []string, body string) {
	p.t.Helper()
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	if _, err := p.conn.WriteToUDPAddrPort([]byte(strings.Join(lines, "\r\n")+"\r\n\r\n"+body), proxy); err != nil {
		p.t.Fatal(err)
	}
}

// request sends one; extra are headers of its own.
func (p *party) request(method, body string, extra ...string) {
	p.t.Helper()
	if method != "ACK" && method != "CANCEL" {
		p.cseq++
	}
	branch := token()
	if method == "CANCEL" || method == "INVITE" {
		branch = "inv" + strconv.Itoa(p.cseq) + p.callID[:6]
	}
	lines := []string{method + " " + p.target + " SIP/2.0", fmt.Sprintf("Via: SIP/2.0/UDP %s:5060;branch=z9hG4bK%s", p.at, branch)}
	for _, r := range p.route {
		lines = append(lines, "Route: "+r)
	}
	lines = append(lines, "From: "+p.local, "To: "+p.remote, "Call-ID: "+p.callID, fmt.Sprintf("CSeq: %d %s", p.cseq, method),
		fmt.Sprintf("Contact: <sip:%s:5060>", p.at), "Max-Forwards: 70")
	p.write(append(lines, extra...), body)
}

// respond answers a request.
func (p *party) respond(m message, code, body string) {
	p.t.Helper()
	lines := []string{"SIP/2.0 " + code}
	for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
		for _, v := range m.all(name) {
			lines = append(lines, name+": "+v)
		}
	}
	to := m.get("To")
	if !strings.Contains(to, "tag=") {
		to = p.local
	}
	p.write(append(lines, "To: "+to, fmt.Sprintf("Contact: <sip:%s:5060>", p.at)), body)
}

// invite begins a call; the other side has its INVITE afterwards.
func (p *party) invite(other *party) message {
	p.t.Helper()
	p.fresh()
	other.fresh()
	p.callID, p.local, p.remote = token()+"@ngproof", "<sip:a@"+p.at.String()+">;tag="+token(), "<sip:b@"+proxy.Addr().String()+">"
	p.target = "sip:b@" + proxy.String()
	other.callID = p.callID
	p.request("INVITE", p.sdp())
	m := other.expect("INVITE")
	other.remote, other.local = m.get("From"), m.get("To")+";tag="+token()
	other.target, other.route = bare(m.get("Contact")), m.all("Record-Route")
	return m
}

func bare(contact string) string { return strings.Trim(contact, "<>") }

// pickUp answers an INVITE and completes the call.
func (p *party) pickUp(caller *party, m message) {
	p.t.Helper()
	p.respond(m, "200 OK", p.answer(m.body))
	ok := caller.expect("200 INVITE")
	caller.remote, caller.target = ok.get("To"), bare(ok.get("Contact"))
	caller.route = nil
	for _, r := range ok.all("Record-Route") {
		caller.route = append([]string{r}, caller.route...)
	}
	caller.use(ok.body)
	caller.request("ACK", "")
	p.expect("ACK")
}

// call is a call that is answered.
func call(from, to *party) {
	from.t.Helper()
	to.pickUp(from, from.invite(to))
}

// again is a re-INVITE; what either side is told is returned.
func again(from, to *party) (offered, answered string) {
	from.t.Helper()
	from.ver++
	from.request("INVITE", from.sdp())
	m := to.expect("INVITE")
	to.ver++
	to.respond(m, "200 OK", to.answer(m.body))
	ok := from.expect("200 INVITE")
	from.use(ok.body)
	from.request("ACK", "")
	to.expect("ACK")
	return m.body, ok.body
}

// hangUp ends the call.
func hangUp(from, to *party) {
	from.t.Helper()
	from.request("BYE", "")
	to.respond(to.expect("BYE"), "200 OK", "")
	from.expect("200 BYE")
}

// heard is one packet.
type heard struct {
	kind byte // payload type
	text string
}

// listen waits for the next packet.
func (p *party) listen() heard {
	p.t.Helper()
	_ = p.rtp.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 2048)
	for {
		n, err := p.rtp.Read(buf)
		if err != nil {
			p.t.Fatalf("%s hears nothing: %v", p.at, err)
		}
		b := buf[:n]
		if b[1]&0x7f >= 64 && b[1]&0x7f < 96 {
			continue // RTCP
		}
		if p.secure {
			if b, err = p.rx.DecryptRTP(nil, b, nil); err != nil {
				p.t.Fatal(err)
			}
		}
		return heard{b[1] & 0x7f, string(b[12:])}
	}
}
