package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// CallIDHeader is the header in which Trunkline tells its own id of a call.
const CallIDHeader = "X-Trunkline-Call"

// offer is what a far end can do with media.
type offer struct {
	codecs     []Codec
	suites     []Suite
	tone       int    // Hz it plays; a multiple of 50
	source     uint16 // the mark of its packets
	hear       []int  // Hz it listens for
	mux        bool
	plain      bool   // offer RTP/AVP
	deaf       bool   // no telephone-event
	silent     bool   // signalling only: no sockets, no packets
	silentPort uint16 // named in the SDP all the same
}

// Call is one leg at a far end.
type Call struct {
	stack   *stack
	offer   offer
	media   *media
	local   local
	inbound bool // we were called

	callID     string
	localTag   string
	from, to   string // name-addrs of our and the other side, without tags
	pendingKey string
	ringTime   time.Duration
	talkTime   time.Duration
	talkOnlyTo string
	refuse     int // code to decline with, 0: answer
	onEnd      func(*Call)

	mu        sync.Mutex
	remoteTag string
	target    string
	routes    []string
	dest      netip.AddrPort
	cseq      uint32
	inviteReq *outgoing
	inviteSeq uint32
	answer    []byte       // our last response to the INVITE we answer
	request   *sip.Request // that INVITE
	repeat    *time.Timer
	ring      *time.Timer
	ackWire   []byte
	acked     bool
	seen      map[string][]byte // in-dialog CSeq and method → our response
	remoteKey crypto
	final     bool
	ended     bool
	res       CallResult

	answered chan struct{} // a final response to the INVITE
	done     chan struct{} // the call is over
}

func newCall(s *stack, o offer) *Call {
	return &Call{stack: s, offer: o, cseq: 1, localTag: newToken(6), seen: map[string][]byte{},
		answered: make(chan struct{}), done: make(chan struct{})}
}

// Answered is closed when the INVITE has its final response, whatever it is.
func (c *Call) Answered() <-chan struct{} { return c.answered }

// Done is closed when the call is over and its result is complete.
func (c *Call) Done() <-chan struct{} { return c.done }

// Result is what was seen so far.
func (c *Call) Result() CallResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.res
	if c.media != nil {
		r.Media = c.media.result()
	}
	return r
}

// BeginTalk starts the talk phase by hand, for another side whose packets
// bear no mark.
func (c *Call) BeginTalk() {
	if c.media != nil {
		c.media.beginTalk(time.Now())
	}
}

// Gap is the longest silence since it was asked last, the one that still lasts
// included; the first one since media began. It counts packets that authenticate.
func (c *Call) Gap() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.media == nil || c.media.listen == nil {
		return 0
	}
	return c.media.listen.gap(time.Now())
}

// LeapToWrap leaves so many of our sequence numbers out that the packet after
// the next n wraps them: the next one rolls the counter over that SRTP adds to
// them (RFC 3711 section 3.3.1).
func (c *Call) LeapToWrap(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.media != nil {
		c.media.mu.Lock()
		defer c.media.mu.Unlock()
		c.media.leap = max(1, n)
	}
}

// prepare opens the media port and writes keys for every suite offered.
func (c *Call) prepare(host netip.Addr) error {
	c.local = local{addr: host, port: cmp.Or(c.offer.silentPort, 9), mux: c.offer.mux, version: 1, id: uint32(time.Now().Unix()), plain: c.offer.plain,
		codecs: c.offer.codecs, events: !c.offer.deaf}
	if !c.offer.silent {
		m, err := openMedia(host, c.offer.mux)
		if err != nil {
			return err
		}
		c.media, c.local.port = m, m.port()
	}
	if !c.offer.plain {
		for i, s := range c.offer.suites {
			c.local.cryptos = append(c.local.cryptos, crypto{tag: strconv.Itoa(i + 1), suite: s, key: newKey(s)})
		}
	}
	return nil
}

// start begins media once both sides are known.
func (c *Call) start(remote description, ours, theirs crypto, codec Codec) error {
	c.res.Codec, c.res.Suite = string(codec), string(ours.suite)
	c.remoteKey = theirs
	if c.media == nil {
		return nil
	}
	src, err := sources.get(codec, c.offer.tone, c.offer.source)
	if err != nil {
		return err
	}
	return c.media.begin(remote, ours, theirs, codec, src, c.offer.hear)
}

// request builds a request inside the dialog. The lock is held.
func (c *Call) inside(method string, seq uint32, branch string) *outgoing {
	o := newRequest(method, c.target, c.stack.flow, branch)
	for _, r := range c.routes {
		o.header("Route", r)
	}
	to := c.to
	if c.remoteTag != "" {
		to += ";tag=" + c.remoteTag
	}
	o.header("From", c.from+";tag="+c.localTag).header("To", to).header("Call-ID", c.callID)
	o.header("CSeq", fmt.Sprintf("%d %s", seq, method))
	o.header("User-Agent", userAgent)
	return o
}

const userAgent = "trunkline-endpoint"

// nextHop is where requests inside the dialog go over UDP.
func (c *Call) nextHop() netip.AddrPort {
	if len(c.routes) > 0 {
		if a, ok := uriAddr(bareURI(c.routes[0])); ok && c.stack.flow.transport == UDP {
			return a
		}
	}
	return c.dest
}

// Hangup ends the call: BYE when it is answered, CANCEL before. It returns
// when the other side confirmed.
func (c *Call) Hangup(ctx context.Context) error {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil
	}
	if c.res.Code < 200 {
		defer c.mu.Unlock()
		return c.cancel()
	}
	c.ended = true
	c.cseq++
	o := c.inside("BYE", c.cseq, newBranch())
	dest := c.nextHop()
	c.res.Ended, c.res.EndedBy = time.Now(), "us"
	c.mu.Unlock()
	if c.media != nil {
		c.media.endTalk(time.Now())
	}
	res, err := c.stack.do(ctx, o, o.bytes("", ""), dest)
	c.mu.Lock()
	c.res.ByeCode = 408
	if res != nil {
		c.res.ByeCode = res.StatusCode
	}
	c.mu.Unlock()
	c.finish()
	if err != nil {
		return fmt.Errorf("hang up: %w", err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("hang up: BYE was answered %d %s", res.StatusCode, res.Reason)
	}
	return nil
}

// finish stops media and lets the call go.
func (c *Call) finish() {
	if c.media != nil {
		c.media.halt()
	}
	c.mu.Lock()
	for _, t := range []*time.Timer{c.repeat, c.ring} {
		if t != nil {
			t.Stop()
		}
	}
	first := !c.final
	c.final = true
	if !c.closedAnswered() {
		close(c.answered)
	}
	c.mu.Unlock()
	if !first {
		return
	}
	c.stack.forget(c)
	close(c.done)
	if c.onEnd != nil {
		c.onEnd(c)
	}
}

func (c *Call) closedAnswered() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// inDialog answers requests of an established dialog.
func (c *Call) inDialog(req *sip.Request, from netip.AddrPort) {
	if req.Method == sip.ACK {
		c.mu.Lock()
		c.acked = true
		if c.repeat != nil {
			c.repeat.Stop()
		}
		c.mu.Unlock()
		return
	}
	if req.Method == sip.CANCEL { // too late: the 200 is out
		_ = c.stack.flow.send(from, newResponse(req, 200, "OK", c.localTag, nil, "", ""))
		return
	}
	key := fmt.Sprintf("%d %s", req.CSeq().SeqNo, req.Method)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.seen[key]; old != nil {
		_ = c.stack.flow.send(from, old)
		return
	}
	var out []byte
	switch req.Method {
	case sip.BYE:
		out = newResponse(req, 200, "OK", c.localTag, nil, "", "")
		if !c.ended {
			c.ended = true
			c.res.Ended, c.res.EndedBy = time.Now(), "peer"
			if c.media != nil {
				c.media.endTalk(c.res.Ended)
			}
			defer func() { go c.finish() }()
		}
	case sip.INVITE, sip.UPDATE:
		c.res.Reinvites++
		out = c.renegotiate(req)
	default: // INFO, OPTIONS, NOTIFY: a phone says yes
		c.res.KeysByInfo += keyOfInfo(req)
		out = newResponse(req, 200, "OK", c.localTag, nil, "", "")
	}
	c.seen[key] = out
	_ = c.stack.flow.send(from, out)
}

// renegotiate answers a re-INVITE or UPDATE: our own side stays as it is, the
// other side may have moved or changed its key. The lock is held.
func (c *Call) renegotiate(req *sip.Request) []byte {
	if h := req.Contact(); h != nil {
		c.target = bareURI(h.Value()) // target refresh, RFC 3261 section 12.2.2
	}
	headers := [][2]string{{"Contact", c.contact()}}
	if se := req.GetHeader("Session-Expires"); se != nil {
		headers = append(headers, [2]string{"Session-Expires", se.Value()}, [2]string{"Require", "timer"})
	}
	if len(req.Body()) == 0 && req.Method == sip.UPDATE {
		return newResponse(req, 200, "OK", c.localTag, headers, "", "")
	}
	if len(req.Body()) > 0 {
		d, err := parseSDP(req.Body())
		if err != nil {
			return newResponse(req, 400, "Bad SDP", c.localTag, nil, "", "")
		}
		_, theirs, ok := choose(d, []Codec{Codec(c.res.Codec)}, []Suite{Suite(c.res.Suite)})
		if !ok {
			return newResponse(req, 488, "Not Acceptable Here", c.localTag, nil, "", "")
		}
		if c.media != nil {
			if string(theirs.key) != string(c.remoteKey.key) {
				if err := c.media.listen.rekey(theirs); err != nil {
					return newResponse(req, 488, "Not Acceptable Here", c.localTag, nil, "", "")
				}
			}
			c.media.redirect(d, Codec(c.res.Codec))
		}
		c.remoteKey = theirs
	}
	return newResponse(req, 200, "OK", c.localTag, headers, "application/sdp", c.local.write())
}

func (c *Call) contact() string {
	user := "far"
	if c.inbound && c.request != nil {
		user = c.request.Recipient.User
	}
	return "<" + sipURI(user, c.stack.flow.local.String(), c.stack.flow.transport) + ">"
}

// trunklineID reads Trunkline's call id out of a response, or out of the
// Call-ID it makes for legs to agents: leg-effect-call@host.
func (c *Call) trunklineID(res sip.Message) {
	if id := headerValue(res, CallIDHeader); id != "" {
		c.res.CallID = id
	}
}

func callIDOf(sipCallID string) string {
	name, _, _ := strings.Cut(sipCallID, "@")
	if parts := strings.SplitN(name, "-", 3); len(parts) == 3 {
		return parts[2] // which may have dashes of its own
	}
	return name
}
