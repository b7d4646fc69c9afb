package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
)

// tab is a browser's far end: pion's full ICE agent and DTLS under an SRTP
// stream of A-law. It shares nothing with ours but pion's DTLS records.
type tab struct {
	t       *testing.T
	agent   *ice.Agent
	cert    tls.Certificate
	version int
	setup   sdp.Setup // its own
	lie     bool      // about its fingerprint

	conn *ice.Conn
	dtls chan []byte
	rtp  chan []byte
	up   chan struct{} // closed when there are keys
	rx   *srtp.Receiver
	tx   *srtp.Sender
	seq  uint16
}

func newTab(t *testing.T) *tab {
	t.Helper()
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	agent, err := ice.NewAgentWithOptions(ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithIncludeLoopback(), ice.WithIPFilter(func(ip net.IP) bool { return ip.Equal(net.IPv4(127, 0, 0, 1)) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Close() })
	w := &tab{t: t, agent: agent, cert: cert, setup: sdp.ActPass, dtls: make(chan []byte, 100), rtp: make(chan []byte, 1000), up: make(chan struct{})}
	w.gather()
	return w
}

func (w *tab) gather() {
	w.t.Helper()
	done := make(chan struct{})
	if err := w.agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(done)
		}
	}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.agent.GatherCandidates(); err != nil {
		w.t.Fatal(err)
	}
	<-done
}

// describe is the tab's SDP, as browsers write it: its address is in candidates
// that a lite side has no use for.
func (w *tab) describe() string {
	w.t.Helper()
	w.version++
	ufrag, pwd, err := w.agent.GetLocalUserCredentials()
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(w.cert.Certificate[0])
	if w.lie {
		sum[0] ^= 1
	}
	var print []string
	for _, b := range sum {
		print = append(print, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return fmt.Sprintf("v=0\r\no=- 1 %d IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a0\r\na=msid-semantic: WMS\r\n"+
		"m=audio 9 UDP/TLS/RTP/SAVPF 8 101\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 host.local 9999 typ host\r\n"+
		"a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=ice-options:trickle\r\na=fingerprint:sha-256 %s\r\na=setup:%s\r\na=mid:a0\r\na=sendrecv\r\na=rtcp-mux\r\n"+
		"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n", w.version, ufrag, pwd, strings.Join(print, ":"), w.setup)
}

// take begins to connect by the other side's SDP.
func (w *tab) take(text string) {
	w.t.Helper()
	m := media(w.t, text)
	if m.DTLS == nil || m.ICE == nil || !m.Mux || !strings.Contains(text, "a=ice-lite") {
		w.t.Fatalf("no browser takes\n%s", text)
	}
	remote, err := ice.UnmarshalCandidate(fmt.Sprintf("1 1 udp 2130706431 %s %d typ host", m.RTP.Addr(), m.RTP.Port()))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.conn != nil { // a restart
		if err := w.agent.SetRemoteCredentials(m.ICE.Ufrag, m.ICE.Pwd); err != nil {
			w.t.Fatal(err)
		}
		if err := w.agent.AddRemoteCandidate(remote); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	if err := w.agent.AddRemoteCandidate(remote); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if w.conn, err = w.agent.Dial(ctx, m.ICE.Ufrag, m.ICE.Pwd); err != nil {
		w.t.Fatal(err)
	}
	go w.read()
	go w.secure(m.DTLS)
}

// read sorts what comes (RFC 7983).
func (w *tab) read() {
	buf := make([]byte, 2048)
	for {
		n, err := w.conn.Read(buf)
		if err != nil {
			return
		}
		to := w.rtp
		if n > 0 && buf[0] >= 20 && buf[0] < 64 {
			to = w.dtls
		}
		to <- bytes.Clone(buf[:n])
	}
}

func (w *tab) secure(theirs *sdp.DTLS) {
	certificate, profile := dtls.WithCertificates(w.cert), dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	trust, soon := dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(100*time.Millisecond)
	client := theirs.Setup != sdp.Active
	var c *dtls.Conn
	var err error
	if client {
		c, err = dtls.ClientWithOptions(records{w}, w.conn.RemoteAddr(), certificate, profile, trust, soon)
	} else {
		c, err = dtls.ServerWithOptions(records{w}, w.conn.RemoteAddr(), certificate, profile, trust, soon, dtls.WithClientAuth(dtls.RequireAnyClientCert))
	}
	if err != nil {
		w.t.Error(err)
		return
	}
	if err := c.Handshake(); err != nil {
		return // the test that meant it knows
	}
	state, _ := c.ConnectionState()
	k, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 60)
	if err != nil {
		w.t.Error(err)
		return
	}
	own, peer := append(bytes.Clone(k[:16]), k[32:46]...), append(bytes.Clone(k[16:32]), k[46:]...)
	if !client {
		own, peer = peer, own
	}
	if w.tx, err = srtp.NewSender(srtp.AESCM128SHA180, own); err != nil {
		w.t.Error(err)
	}
	if w.rx, err = srtp.NewReceiver(srtp.AESCM128SHA180, peer); err != nil {
		w.t.Error(err)
	}
	close(w.up)
}

// records is the tab's path, for DTLS alone.
type records struct{ w *tab }

func (r records) ReadFrom(b []byte) (int, net.Addr, error) {
	d, ok := <-r.w.dtls
	if !ok {
		return 0, nil, errors.New("closed")
	}
	return copy(b, d), r.w.conn.RemoteAddr(), nil
}
func (r records) WriteTo(b []byte, _ net.Addr) (int, error) { return r.w.conn.Write(b) }
func (r records) Close() error                              { return nil }
func (r records) LocalAddr() net.Addr                       { return r.w.conn.LocalAddr() }
func (r records) SetDeadline(time.Time) error               { return nil }
func (r records) SetReadDeadline(time.Time) error           { return nil }
func (r records) SetWriteDeadline(time.Time) error          { return nil }

// connected waits until both have the keys.
func (w *tab) connected(e *Engine, call, leg string) {
	w.t.Helper()
	select {
	case <-w.up:
	case <-time.After(patience):
		w.t.Fatal("the tab has no keys")
	}
	until(w.t, "the worker has the keys", func() bool { return stats(w.t, e, call, leg).Suite != "" })
}

func (w *tab) say(payload string) {
	w.t.Helper()
	w.seq++
	b, err := w.tx.Seal(make([]byte, 0, 2048), append([]byte{0x80, 8, byte(w.seq >> 8), byte(w.seq), 0, 0, byte(w.seq >> 8), byte(w.seq), 7, 7, 7, 7}, payload...))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.conn.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// hear waits for the next packet's payload.
func (w *tab) hear() string {
	w.t.Helper()
	for {
		select {
		case b := <-w.rtp:
			if isRTCP(b) {
				continue
			}
			plain, _, _, err := w.rx.Open(b)
			if err != nil {
				w.t.Fatalf("what the tab hears: %v", err)
			}
			return string(plain[12:])
		case <-time.After(patience):
			w.t.Fatal("the tab hears nothing")
		}
	}
}

// talkTo has the tab and a phone hear each other, to the octet.
func (w *tab) talkTo(p *phone, words string) {
	w.t.Helper()
	w.say(words + " from the tab")
	if h := p.hear(); h.payload != words+" from the tab" {
		w.t.Errorf("%+v", h)
	}
	p.send(words + " to the tab")
	if got := w.hear(); got != words+" to the tab" {
		w.t.Errorf("the tab hears %q", got)
	}
}
