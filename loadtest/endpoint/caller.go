package endpoint

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// CallerConfig says where a caller stands.
type CallerConfig struct {
	Local     netip.Addr     // source of SIP and media
	SBC       netip.AddrPort // what it sends calls to
	Transport Transport      // UDP, TCP or TLS
	TLS       *tls.Config
}

// Caller is a far end behind an SBC. Its calls share one socket.
type Caller struct {
	cfg   CallerConfig
	stack *stack
}

// NewCaller opens the caller's socket.
func NewCaller(ctx context.Context, cfg CallerConfig) (*Caller, error) {
	s, err := newStack(ctx, cfg.Transport, netip.AddrPortFrom(cfg.Local, 0), cfg.SBC, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("open a caller: %w", err)
	}
	return &Caller{cfg: cfg, stack: s}, nil
}

// Close drops the socket; calls still open get no answer any more.
func (c *Caller) Close() { c.stack.close() }

// CallParams is one call. The first codec and suite are the preferred ones.
type CallParams struct {
	From, To string // numbers
	Codecs   []Codec
	Suites   []Suite
	Tone     int    // Hz to play, a multiple of 50
	Source   uint16 // the mark in its packets
	Hear     []int  // Hz to listen for
	MuxRTCP  bool
	Plain    bool // offer RTP/AVP: to be refused
	NoEvents bool // offer no telephone-event: keys come by INFO
	Silent   bool // no media sockets, no packets
	// Drop names own packets, by number, that are never sent: it tests the
	// counters of the other side.
	Drop   func(n uint32) bool
	Impair Impairment
}

// Call sends an INVITE and returns; Answered and Done tell what came of it.
func (c *Caller) Call(p CallParams) (*Call, error) {
	call := newCall(c.stack, offer{codecs: p.Codecs, suites: p.Suites, tone: p.Tone, source: p.Source, hear: p.Hear, mux: p.MuxRTCP, plain: p.Plain, deaf: p.NoEvents, silent: p.Silent})
	if err := call.prepare(c.cfg.Local); err != nil {
		return nil, err
	}
	if call.media != nil {
		call.media.drop, call.media.impair = p.Drop, p.Impair
	}
	call.callID = newToken(12) + "@" + c.cfg.Local.String()
	call.res.SIPCallID = call.callID
	call.dest = c.cfg.SBC
	call.target = sipURI(p.To, c.cfg.SBC.String(), c.cfg.Transport)
	call.from = "<" + sipURI(p.From, c.cfg.Local.String(), UDP) + ">"
	call.to = "<" + sipURI(p.To, c.cfg.SBC.Addr().String(), UDP) + ">"
	c.stack.follow(call)
	call.mu.Lock()
	call.inviteSeq = call.cseq
	o := call.inside("INVITE", call.inviteSeq, newBranch())
	call.inviteReq = o
	o.header("Contact", call.contact()).header("Allow", allow)
	wire := o.bytes("application/sdp", call.local.write())
	call.res.Invited = time.Now()
	call.mu.Unlock()
	c.stack.begin(o, wire, call.dest, call.inviteResponse)
	return call, nil
}

const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY"

// inviteResponse runs on the flow's reader, in order.
func (c *Call) inviteResponse(res *sip.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case res == nil:
		c.refused(408, "No final response", 0)
	case res.StatusCode < 200:
		c.trunklineID(res)
		if c.res.Rang.IsZero() && res.StatusCode >= 180 {
			c.res.Rang = time.Now()
		}
	case res.StatusCode < 300:
		c.trunklineID(res)
		c.accepted(res)
	default:
		c.trunklineID(res)
		c.acknowledgeRefusal(res)
		retry, _ := strconv.Atoi(firstField(headerValue(res, "Retry-After")))
		c.refused(res.StatusCode, res.Reason, retry)
	}
}

// firstField leaves out the comment and parameters of Retry-After.
func firstField(s string) string {
	return strings.TrimSpace(s[:len(s)-len(strings.TrimLeft(s, "0123456789"))])
}

func (c *Call) refused(code int, reason string, retry int) {
	c.res.Code, c.res.Reason, c.res.RetryAfter = code, reason, retry
	c.ended = true
	go c.finish()
}

// accepted takes the 200: dialog, ACK, media. The lock is held.
func (c *Call) accepted(res *sip.Response) {
	now := time.Now()
	c.res.Code, c.res.Reason, c.res.Answered = res.StatusCode, res.Reason, now
	c.remoteTag = tagOfTo(res)
	c.routes = headerValues(res, "Record-Route")
	for i, j := 0, len(c.routes)-1; i < j; i, j = i+1, j-1 {
		c.routes[i], c.routes[j] = c.routes[j], c.routes[i]
	}
	if h := res.Contact(); h != nil {
		c.target = bareURI(h.Value())
	}
	o := c.inside("ACK", c.inviteSeq, newBranch())
	c.ackWire = o.bytes("", "")
	_ = c.stack.flow.send(c.nextHop(), c.ackWire)
	if err := c.acceptMedia(res.Body()); err != nil {
		// A 200 we can't use: the call is up, so it is ended properly.
		c.res.Reason = err.Error()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeoutB)
			defer cancel()
			_ = c.Hangup(ctx)
		}()
	}
	close(c.answered)
}

func (c *Call) acceptMedia(body []byte) error {
	d, err := parseSDP(body)
	if err != nil {
		return fmt.Errorf("answer's SDP: %w", err)
	}
	codec, theirs, ok := choose(d, c.offer.codecs, c.offer.suites)
	if !ok {
		return fmt.Errorf("answer's SDP has no codec and suite of ours: %s, %d crypto lines", d.profile, len(d.cryptos))
	}
	for _, ours := range c.local.cryptos {
		// RFC 4568 section 5.1.2: the answer repeats the tag of the line it took.
		if ours.tag == theirs.tag && ours.suite == theirs.suite {
			return c.start(d, ours, theirs, codec)
		}
	}
	return fmt.Errorf("answer's crypto line has tag %s, which is not that of %s in our offer", theirs.tag, theirs.suite)
}

// acknowledgeRefusal is the ACK of the INVITE's own transaction (RFC 3261
// section 17.1.1.3). The lock is held.
func (c *Call) acknowledgeRefusal(res *sip.Response) {
	tag := c.remoteTag
	c.remoteTag = tagOfTo(res)
	o := c.inside("ACK", c.inviteSeq, c.inviteReq.branch)
	c.remoteTag = tag
	c.ackWire = o.bytes("", "")
	_ = c.stack.flow.send(c.dest, c.ackWire)
}

// acknowledgeAgain answers a repeated final response.
func (c *Call) acknowledgeAgain(res *sip.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ackWire == nil || c.inbound {
		return
	}
	to := c.dest
	if res.StatusCode < 300 {
		to = c.nextHop()
	}
	_ = c.stack.flow.send(to, c.ackWire)
}

// cancel gives up an INVITE that has no final response. The lock is held.
func (c *Call) cancel() error {
	if c.inbound {
		return c.decline(486, "Busy Here")
	}
	o := c.inside("CANCEL", c.inviteSeq, c.inviteReq.branch)
	c.stack.begin(o, o.bytes("", ""), c.dest, func(*sip.Response) {})
	return nil
}

// sources keeps encoded tones: Opus costs a few milliseconds to encode.
var sources sourceCache

type sourceCache struct {
	mu sync.Mutex
	m  map[sourceKey]*source
}

type sourceKey struct {
	codec Codec
	freq  int
}

func (sc *sourceCache) get(codec Codec, freq int, id uint16) (*source, error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	key := sourceKey{codec, freq}
	s := sc.m[key]
	if s == nil {
		var err error
		if s, err = newSource(codec, freq, 0); err != nil {
			return nil, err
		}
		if sc.m == nil {
			sc.m = map[sourceKey]*source{}
		}
		sc.m[key] = s
	}
	return &source{codec: s.codec, id: id, frames: s.frames}, nil
}
