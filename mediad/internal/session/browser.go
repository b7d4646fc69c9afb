package session

import (
	"bytes"
	"net/netip"
	"slices"

	"trunkline/mediad/internal/dtls"
	"trunkline/mediad/internal/ice"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/udp"
)

// secure is what a leg whose keys come by DTLS and its peer told each other, as
// plain data. Established keys are like any others: they are the terms' Suite,
// LocalKey and PeerKey, and go to the standby with them. The association itself
// stays behind.
type secure struct {
	Setup       sdp.Setup `json:"setup,omitempty"`       // ours
	Own         []byte    `json:"own"`                   // fingerprint in our SDP
	Fingerprint []byte    `json:"fingerprint,omitempty"` // of the peer
	ICE         sdp.ICE   `json:"ice,omitzero"`          // ours; zero: the peer is where its SDP says
	PeerICE     sdp.ICE   `json:"peer_ice,omitzero"`
	Mid         string    `json:"mid,omitempty"`
}

// browser is what of such a leg is no plain data: under shard.mu.
type browser struct {
	assoc   *dtls.Association
	tries   int
	checked []netip.AddrPort // where checks came from that authenticated
	settled bool             // checks move nothing any more, only SRTP does
}

const (
	// maxChecked bounds the paths a peer tries at a time.
	maxChecked = 16
	// maxTries bounds handshakes of a leg that come to nothing.
	maxTries = 8
)

// newSecure is our side of a leg that is about to do DTLS.
func (s *shard) newSecure(withICE bool) *secure {
	n := &secure{Own: s.certificate.Fingerprint()}
	if withICE {
		n.ICE = ice.New()
	}
	return n
}

// secured works out what becomes of DTLS by a peer's description; fresh tells
// that there has to be another handshake.
func (l *leg) secured(m *sdp.Media, old *secure, setup sdp.Setup) (n *secure, fresh bool) {
	if old == nil {
		old = l.call.shard.newSecure(m.ICE != nil)
	}
	c := *old
	n = &c
	if m.Mid != "" {
		n.Mid = m.Mid
	}
	if m.ICE == nil {
		n.ICE, n.PeerICE = sdp.ICE{}, sdp.ICE{}
	} else if n.PeerICE != *m.ICE {
		if n.PeerICE != (sdp.ICE{}) || n.ICE == (sdp.ICE{}) { // a restart renews both sides' (RFC 8445 section 9)
			n.ICE = ice.New()
		}
		n.PeerICE = *m.ICE
	}
	// A peer keeps its association by keeping its certificate (RFC 8842 section 5).
	if fresh = !l.Agreed || l.DTLS == nil || !bytes.Equal(n.Fingerprint, m.DTLS.Fingerprint); fresh {
		n.Fingerprint, n.Setup = m.DTLS.Fingerprint, setup
		n.Own = l.call.shard.certificate.Fingerprint()
	}
	return n, fresh
}

// acceptSetup is our role for an offer's: whoever may choose has us wait, since
// it alone knows which path works first.
func acceptSetup(offered sdp.Setup) sdp.Setup {
	if offered == sdp.Passive {
		return sdp.Active
	}
	return sdp.Passive
}

// answeredSetup is our role by the answer to our offer of either.
func answeredSetup(answered sdp.Setup) sdp.Setup {
	if answered == sdp.Active {
		return sdp.Passive
	}
	return sdp.Active
}

// describe writes what a leg's DTLS is into our description.
func (n *secure) describe(local *sdp.Local, setup sdp.Setup) {
	local.DTLS, local.Mid = &sdp.DTLS{Setup: setup, Fingerprint: n.Own}, n.Mid
	if n.ICE != (sdp.ICE{}) {
		local.ICE = &n.ICE
	}
}

// fitBrowser fits what is no plain data to new terms; fresh drops the handshake
// there was. Under shard.mu.
func (l *leg) fitBrowser(old *secure, fresh bool) {
	if l.DTLS == nil {
		l.dropBrowser()
		return
	}
	b := l.browser
	if b == nil {
		b = &browser{}
		l.browser = b
	}
	if old != nil && old.PeerICE != l.DTLS.PeerICE {
		b.settled, b.checked = false, nil
	}
	if fresh {
		l.endAssociation()
		b.tries, b.settled = 0, false
	}
	// Without ICE the path is the one of the SDP.
	if l.Agreed && l.DTLS.ICE == (sdp.ICE{}) && l.Suite == "" {
		l.startAssociation()
	}
}

func (l *leg) dropBrowser() {
	if l.browser != nil {
		l.endAssociation()
		l.browser = nil
	}
}

// endAssociation: it ends in the background, since it may be about to send.
func (l *leg) endAssociation() {
	if a := l.browser.assoc; a != nil {
		l.browser.assoc = nil
		l.call.shard.background.Go(a.Close)
	}
}

// startAssociation begins the handshake, if it is not under way: under shard.mu.
func (l *leg) startAssociation() {
	s, b := l.call.shard, l.browser
	if b.assoc != nil || l.Suite != "" || b.tries >= maxTries || l.DTLS.Setup == "" {
		return
	}
	b.tries++
	var a *dtls.Association
	begun := make(chan struct{})
	a = dtls.Start(dtls.Config{
		Certificate: s.certificate, Client: l.DTLS.Setup == sdp.Active, Fingerprint: bytes.Clone(l.DTLS.Fingerprint),
		Send: func(p []byte) {
			s.mu.Lock()
			defer s.mu.Unlock()
			<-begun
			if l.browser != nil && l.browser.assoc == a && l.to.Addr().IsValid() && !l.to.Addr().Addr().IsUnspecified() && s.speaks() {
				_ = l.rtp.Send(p, l.to) // one that is lost is sent again
			}
		},
		Done: func(k dtls.Keys, err error) {
			<-begun
			s.keyed(l, a, k, err)
		},
	})
	b.assoc = a
	close(begun)
}

// receiveBrowser is the way of a datagram that is neither RTP nor RTCP, on a leg
// that may get others: connectivity checks, and the handshake from where those
// came from. Under shard.mu.
func (s *shard) receiveBrowser(l *leg, data []byte, from netip.AddrPort) {
	b := l.browser
	switch {
	case ice.IsCheck(data) && l.DTLS.ICE != (sdp.ICE{}):
		s.answerCheck(l, data, from)
	case data[0] < 20 || l.Suite == "" && !l.Agreed:
		s.count.strange++
	case l.DTLS.ICE == (sdp.ICE{}) && from == unmap(l.RTP), l.DTLS.ICE != (sdp.ICE{}) && slices.Contains(b.checked, from):
		l.startAssociation()
		if b.assoc != nil {
			b.assoc.Deliver(data)
		}
	default:
		s.count.strange++
	}
}

// answerCheck answers a connectivity check. Where a nominated one came from is
// where the peer is, until there are keys: a check may be sent again by
// somebody who overheard it, SRTP may not.
func (s *shard) answerCheck(l *leg, data []byte, from netip.AddrPort) {
	b := l.browser
	answer, nominated, err := ice.Answer(data, from, l.DTLS.ICE, l.DTLS.PeerICE.Ufrag)
	if err != nil {
		s.count.strange++
		return
	}
	s.count.checks++
	if s.speaks() {
		_ = l.rtp.Send(answer, s.answerTo(from))
	}
	if !l.Agreed || b.settled {
		return
	}
	if !slices.Contains(b.checked, from) {
		if len(b.checked) == maxChecked {
			b.checked = b.checked[1:]
		}
		b.checked = append(b.checked, from)
	}
	if to := l.to.Addr(); nominated || !to.IsValid() || to.Addr().IsUnspecified() {
		l.to.Set(from)
		l.toRTCP.Set(from)
		l.destined, l.dirty = true, true
	}
	b.settled = nominated && l.Suite != ""
	l.startAssociation()
}

// answerTo is a destination that is used once.
func (s *shard) answerTo(a netip.AddrPort) *udp.Dest {
	s.once.Set(a)
	return &s.once
}

// keyed takes the end of a handshake.
func (s *shard) keyed(l *leg, a *dtls.Association, k dtls.Keys, err error) {
	s.mu.Lock()
	if l.browser == nil || l.browser.assoc != a {
		s.mu.Unlock()
		return // over before it was done
	}
	if err != nil {
		l.browser.assoc = nil
		s.count.dtlsFailed++
		s.mu.Unlock()
		s.log.Warn("DTLS handshake failed", "call_id", l.call.id, "leg", l.id, "err", err)
		return
	}
	s.mu.Unlock()
	s.changed(l, func() error {
		if l.browser == nil || l.browser.assoc != a {
			return nil
		}
		t := l.terms
		t.Suite, t.LocalKey, t.PeerKey = k.Suite, k.Local, k.Peer
		if err := l.agree(t); err != nil {
			return err
		}
		l.browser.settled = l.destined
		return nil
	})
}
