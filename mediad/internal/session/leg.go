package session

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/internal/udp"
	"trunkline/mediad/mediaapi"
)

// terms are what one leg and its peer agreed on, as plain data: what a
// successor needs to be the same endpoint.
type terms struct {
	Port       uint16         `json:"port"`
	Session    uint64         `json:"session"` // o= of ours
	Version    uint64         `json:"version"`
	LocalSDP   string         `json:"local_sdp,omitempty"`   // what we sent last
	PeerSDP    string         `json:"peer_sdp,omitempty"`    // what that answers, or what answered it
	NextSDP    string         `json:"next_sdp,omitempty"`    // offer of ours that is not answered, while other terms hold
	Offered    []offeredKey   `json:"offered,omitempty"`     // leg offer: keys by tag
	Formats    []sdp.Codec    `json:"formats,omitempty"`     // leg offer: what it lists
	OfferProto string         `json:"offer_proto,omitempty"` // transport of our offer; "": RTP/SAVP
	Agreed     bool           `json:"agreed"`                // the fields below hold
	Proto      string         `json:"proto,omitempty"`       // transport; "": RTP/SAVP
	DTLS       *secure        `json:"dtls,omitempty"`        // where keys come by it; Suite is "" until they have
	Suite      srtp.Suite     `json:"suite,omitempty"`
	LocalKey   srtp.Key       `json:"local_key,omitempty"`
	PeerKey    srtp.Key       `json:"peer_key,omitempty"`
	Mux        bool           `json:"mux,omitempty"`
	RTP        netip.AddrPort `json:"rtp"` // as the peer's SDP says
	RTCP       netip.AddrPort `json:"rtcp"`
	Direction  sdp.Direction  `json:"direction,omitempty"` // ours
	Receive    []sdp.Codec    `json:"receive,omitempty"`   // numbers the peer sends with
	Send       []sdp.Codec    `json:"send,omitempty"`      // numbers we send with; the first is preferred
	Remap      uint32         `json:"remap,omitempty"`     // see leg.agree
	Link       string         `json:"link,omitempty"`      // by which the peer is reached
}

type offeredKey struct {
	Tag   int        `json:"tag"`
	Suite srtp.Suite `json:"suite"`
	Key   srtp.Key   `json:"key"`
	Used  bool       `json:"used,omitempty"` // was in force: never begun anew
}

// leg is one SRTP endpoint of ours and what it talks to.
//
// Control writes under Engine.mu and shard.mu both, so either lock suffices to
// read; what packets change is under shard.mu.
type leg struct {
	id     string
	call   *call
	caller bool // of a call by offer and answer: the one that called
	terms

	blocked      blocked // by command, of what it sends
	pinned       bool    // nothing authenticates: only these two count
	pin, pinRTCP netip.AddrPort

	rtp, rtcp *udp.Socket // rtcp is nil when multiplexed
	tokens    [2]uint64   // of the sockets in the shard
	outbox    *udp.Outbox // of the shard; nil: RTP leaves through rtp

	rx      *srtp.Receiver
	tx      *srtp.Sender
	to      *udp.Dest // where RTP goes
	toRTCP  *udp.Dest
	receive [128]*sdp.Codec // by the peer's number; nil: misplaced

	peer    *leg
	forward [128]route // what becomes of what this leg receives

	own    ownStream
	player *player
	feed   *transcoding // what is transcoded for it now
	slot   int          // of the shard's wheel while one of these plays or keys are sent, else -1

	withhold bool // its first packet after a pause of the recording

	digits digits
	keying keying

	supervision supervision
	mixed       mixed

	lives uint32 // workers that had the leg before this one

	quality   heardQuality
	share     linkShare
	in        inStats
	out       outStats
	report    reports
	relay     relayed
	dirty     bool // since the last mark
	cname     string
	nextRTCP  time.Time
	relayed   time.Time // when a report of the far leg's last went out here
	destined  bool      // to was learned from a packet, not told by SDP
	browser   *browser  // of a leg whose keys come by DTLS, else nil
	keyedOnce bool      // a key of the peer's was in force before
}

// codec is the one we send, "" before agreement.
func (l *leg) codec() string {
	if len(l.Send) == 0 {
		return ""
	}
	return l.Send[0].Name
}

// sendable tells whether media may be sent to the peer now.
func (l *leg) sendable() bool {
	return l.tx != nil && l.Direction.Sends() && l.to.Addr().IsValid() && !l.to.Addr().Addr().IsUnspecified()
}

// addLeg makes a leg with its sockets and puts it into its call, but not yet
// among the shard's: nothing is received before terms are agreed.
func (e *Engine) addLeg(c *call, id string) (*leg, error) {
	if e.cfg.MaxLegs > 0 && e.legs >= e.cfg.MaxLegs {
		return nil, refuse(503, mediaapi.ReasonSessionLimit)
	}
	l := newLeg(c, id)
	l.Session, l.Version = rand.Uint64()>>2, 1
	// A port may be in use by a stranger: try some, not all.
	for range 20 {
		port, err := c.host.pool.Get()
		if err != nil {
			break
		}
		l.Port = port
		err = l.openSockets(false)
		if err == nil {
			e.enter(l)
			return l, nil
		}
		c.host.pool.Put(port)
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, refuse(503, mediaapi.ReasonOutOfPorts)
}

func newLeg(c *call, id string) *leg {
	l := &leg{id: id, call: c, to: udp.NewDest(netip.AddrPort{}), toRTCP: udp.NewDest(netip.AddrPort{}), slot: -1}
	l.own.ssrc = rand.Uint32()
	l.cname = cname()
	return l
}

// enter puts a leg whose sockets are open where packets and commands find it.
func (e *Engine) enter(l *leg) {
	e.index(l)
	s := l.call.shard
	s.mu.Lock()
	s.add(l)
	s.mu.Unlock()
}

// index puts it where commands find it.
func (e *Engine) index(l *leg) {
	c := l.call
	c.legs = append(c.legs, l)
	e.calls[c.id] = c
	e.legs++
}

// openSockets binds RTP and, unless it is multiplexed for certain, RTCP.
func (l *leg) openSockets(takeover bool) error {
	addr := l.call.host.addr
	var err error
	if l.rtp, err = udp.Listen(netip.AddrPortFrom(addr, l.Port), takeover); err != nil {
		return err
	}
	if l.Agreed && l.Mux {
		return nil
	}
	if l.rtcp, err = udp.Listen(netip.AddrPortFrom(addr, l.Port+1), takeover); err != nil {
		l.rtp.Close()
		return err
	}
	return nil
}

func (l *leg) closeSockets() {
	l.dropBrowser()
	l.rtp.Close()
	if l.rtcp != nil {
		l.rtcp.Close()
	}
}

// agree puts new terms into force: under both locks.
//
// A peer that changes its key may start its sequence numbers anew. What is
// relayed from it would then repeat (SSRC, index) under the far leg's key, so
// its SSRCs are changed on the way from then on.
func (l *leg) agree(t terms) error {
	rekeyedIn := !l.Agreed || l.Suite != t.Suite || !equalKeys(l.PeerKey, t.PeerKey) || t.Suite == srtp.Plain && l.RTP != t.RTP
	rekeyedOut := !l.Agreed || l.Suite != t.Suite || !equalKeys(l.LocalKey, t.LocalKey)
	rx, tx := l.rx, l.tx
	var err error
	if t.Suite == "" { // DTLS has not brought them yet
		rekeyedIn, rekeyedOut, rx, tx = false, false, nil, nil
		if l.Agreed {
			l.in.newKey()
		}
	}
	if rekeyedIn {
		if rx, err = srtp.NewReceiver(t.Suite, t.PeerKey); err != nil {
			return err
		}
		if l.Agreed && l.keyedOnce {
			t.Remap = rand.Uint32()
			l.in.newKey()
		}
		l.keyedOnce = true
	}
	if rekeyedOut {
		l.keying.SSRC = 0 // another stream, so that the far end's count begins anew too
		if tx, err = srtp.NewSender(t.Suite, t.LocalKey); err != nil {
			return err
		}
	}
	if !l.Agreed || t.RTP != l.RTP {
		l.to.Set(t.RTP)
		l.destined = false
	}
	if !l.Agreed || t.RTCP != l.RTCP {
		l.toRTCP.Set(t.RTCP)
	}
	l.terms, l.rx, l.tx = t, rx, tx
	l.Agreed = true
	l.pinned, l.pin, l.pinRTCP = t.Suite == srtp.Plain, unmap(t.RTP), unmap(t.RTCP)
	l.receive = [128]*sdp.Codec{}
	for i, c := range l.Receive {
		l.receive[c.PT] = &l.Receive[i]
	}
	l.dirty = true
	if l.nextRTCP.IsZero() {
		l.nextRTCP = time.Now().Add(firstReport())
	}
	return nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func equalKeys(a, b srtp.Key) bool { return string(a) == string(b) }

// fitRTCP opens or closes the RTCP socket after agreement on multiplexing.
func (l *leg) fitRTCP() error {
	switch {
	case l.Mux && l.rtcp != nil:
		l.call.shard.forget(l.tokens[1])
		l.rtcp.Close()
		l.rtcp = nil
	case !l.Mux && l.rtcp == nil:
		s, err := udp.Listen(netip.AddrPortFrom(l.call.host.addr, l.Port+1), false)
		if err != nil {
			return err
		}
		l.rtcp = s
		l.tokens[1] = l.call.shard.watch(l, s, true)
	}
	return nil
}

// rtcpSocket is where RTCP goes out.
func (l *leg) rtcpSocket() *udp.Socket {
	if l.rtcp == nil {
		return l.rtp
	}
	return l.rtcp
}
