package endpoint

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// AgentConfig is one operator's phone.
type AgentConfig struct {
	User, Password string
	Domain         string         // of the address of record
	Local          netip.Addr     // source of SIP and media
	Edge           netip.AddrPort // what it registers through
	Transport      Transport
	TLS            *tls.Config
	Expires        time.Duration // asked for; the server may shorten it
	Algorithm      string        // "MD5" or "SHA-256" to insist; "" takes the first it can
	Instance       string        // URN of the device, for RFC 5626; agents that share it are its flows ...
	RegID          int           // ... with a number each, from 1

	Ring time.Duration // from INVITE to 200
	Talk time.Duration // from 200 to our BYE; 0: the other side hangs up
	// TalkOnlyTo limits Talk to callers whose number begins so.
	TalkOnlyTo string
	Codecs     []Codec // in order of preference; empty takes what is offered
	Suites     []Suite
	Tone       int
	Source     uint16
	Hear       []int
	MuxRTCP    bool
	Silent     bool   // signalling only
	SilentPort uint16 // the media port a silent phone names; 9 if 0
	NoAnswer   bool   // rings for ever
	NoEvents   bool   // answers without telephone-event: keys come by INFO
	Refuse     int    // after Ring: the SIP code it declines with instead of answering

	// OnCall is told of each call as its INVITE arrives; it must not block.
	OnCall func(*Call)
	// OnEnd is told when a call is over and the phone free again.
	OnEnd func(*Call)
}

// Agent is an operator's phone: registered, and answering calls.
type Agent struct {
	cfg   AgentConfig
	stack *stack
	own   bool // the stack is this phone's alone
	reg   *registration

	mu   sync.Mutex
	busy bool
}

// NewAgent opens the phone's socket. Register makes it reachable.
func NewAgent(ctx context.Context, cfg AgentConfig) (*Agent, error) {
	s, err := newStack(ctx, cfg.Transport, netip.AddrPortFrom(cfg.Local, 0), cfg.Edge, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("open the phone of %s: %w", cfg.User, err)
	}
	a := newAgentOn(s, cfg)
	a.own = true
	return a, nil
}

func newAgentOn(s *stack, cfg AgentConfig) *Agent {
	if len(cfg.Codecs) == 0 {
		cfg.Codecs = []Codec{Opus, PCMA}
	}
	if len(cfg.Suites) == 0 {
		cfg.Suites = []Suite{AES128GCM, AES128SHA80, AES256GCM, AES128SHA32}
	}
	if cfg.Expires == 0 {
		cfg.Expires = 2 * time.Minute
	}
	a := &Agent{cfg: cfg, stack: s}
	a.reg = newRegistration(a)
	s.user(cfg.User, a.take)
	return a
}

// Address is where the phone's SIP is bound.
func (a *Agent) Address() netip.AddrPort { return a.stack.flow.local }

// Register registers and keeps the registration alive until Close.
func (a *Agent) Register(ctx context.Context) error { return a.reg.begin(ctx) }

// Unregister removes the binding.
func (a *Agent) Unregister(ctx context.Context) error { return a.reg.end(ctx) }

// Close takes the phone off the hook for good. The binding stays with the
// registrar until it expires unless Unregister was called.
func (a *Agent) Close() {
	a.reg.stop()
	a.stack.user(a.cfg.User, nil)
	if a.own {
		a.stack.close()
	}
}

// take makes a call of an INVITE, unless the phone is in one.
func (a *Agent) take(*sip.Request) *Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy {
		return nil
	}
	a.busy = true
	c := newCall(a.stack, offer{codecs: a.cfg.Codecs, suites: a.cfg.Suites, tone: a.cfg.Tone, source: a.cfg.Source,
		hear: a.cfg.Hear, mux: a.cfg.MuxRTCP, silent: a.cfg.Silent, silentPort: a.cfg.SilentPort, deaf: a.cfg.NoEvents})
	c.talkTime, c.talkOnlyTo = a.cfg.Talk, a.cfg.TalkOnlyTo
	c.inbound = true
	c.ringTime, c.refuse = a.cfg.Ring, a.cfg.Refuse
	if a.cfg.NoAnswer {
		c.ringTime = -1
	}
	c.onEnd = func(c *Call) {
		a.mu.Lock()
		a.busy = false
		a.mu.Unlock()
		if a.cfg.OnEnd != nil {
			a.cfg.OnEnd(c)
		}
	}
	if a.cfg.OnCall != nil {
		a.cfg.OnCall(c)
	}
	return c
}

// alert takes the INVITE's dialog and rings.
func (c *Call) alert(req *sip.Request, from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.request, c.dest = req, from
	c.callID = req.CallID().Value()
	c.remoteTag = tagOfFrom(req)
	c.routes = headerValues(req, "Record-Route")
	if h := req.Contact(); h != nil {
		c.target = bareURI(h.Value())
	}
	c.from = "<" + bareURI(req.To().Value()) + ">"
	c.to = "<" + bareURI(req.From().Value()) + ">"
	c.res.SIPCallID, c.res.CallID = c.callID, callIDOf(c.callID)
	c.trunklineID(req)
	c.res.Invited = time.Now()
	d, err := parseSDP(req.Body())
	if err != nil {
		_ = c.decline(400, "Bad SDP")
		return
	}
	codec, theirs, ok := choose(d, c.offer.codecs, c.offer.suites)
	if !ok {
		_ = c.decline(488, "Not Acceptable Here")
		return
	}
	c.stack.follow(c)
	c.respond(180, "Ringing", nil, "")
	c.res.Rang = time.Now()
	if c.ringTime < 0 {
		return
	}
	c.ring = time.AfterFunc(c.ringTime, func() {
		if c.refuse == 0 {
			c.pickUp(d, codec, theirs)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ended {
			_ = c.decline(c.refuse, "Declined By The Test")
		}
	})
}

// pickUp answers: 200 repeated until its ACK, and media.
func (c *Call) pickUp(d description, codec Codec, theirs crypto) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.offer.suites = []Suite{theirs.suite}
	c.offer.codecs = []Codec{codec}
	c.offer.mux = c.offer.mux && d.mux
	if err := c.prepare(c.stack.flow.local.Addr()); err != nil {
		_ = c.decline(500, "No media port")
		return
	}
	c.local.events = !c.offer.deaf && len(d.events) > 0 && codec == PCMA && d.events[codec.clock()] == 101
	c.local.types = map[Codec]uint8{codec: d.codecs[codec]}
	c.local.cryptos[0].tag = theirs.tag
	if err := c.start(d, c.local.cryptos[0], theirs, codec); err != nil {
		_ = c.decline(500, "No media")
		return
	}
	c.res.Code, c.res.Reason, c.res.Answered = 200, "OK", time.Now()
	c.respond(200, "OK", [][2]string{{"Contact", c.contact()}, {"Allow", allow}}, c.local.write())
	c.repeatAnswer(t1, time.Now())
	close(c.answered)
	if c.talkTime > 0 && strings.HasPrefix(c.request.From().Address.User, c.talkOnlyTo) {
		c.ring = time.AfterFunc(c.talkTime, func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeoutB)
			defer cancel()
			_ = c.Hangup(ctx) // the result has the code
		})
	}
}

// repeatAnswer sends the 200 again until the ACK comes (RFC 3261 section
// 13.3.1.4). The lock is held.
func (c *Call) repeatAnswer(after time.Duration, since time.Time) {
	c.repeat = time.AfterFunc(after, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.acked || c.ended {
			return
		}
		if time.Since(since) > timeoutB {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), timeoutB)
				defer cancel()
				_ = c.Hangup(ctx)
			}()
			return
		}
		_ = c.stack.flow.send(c.dest, c.answer)
		c.repeatAnswer(min(2*after, t2), since)
	})
}

func (c *Call) respond(code int, reason string, headers [][2]string, body string) {
	c.answer = newResponse(c.request, code, reason, c.localTag, headers, "application/sdp", body)
	_ = c.stack.flow.send(c.dest, c.answer)
}

// decline refuses the INVITE. The lock is held.
func (c *Call) decline(code int, reason string) error {
	c.res.Code, c.res.Reason = code, reason
	c.ended = true
	c.respond(code, reason, nil, "")
	go c.finish()
	return nil
}

// earlyRequest answers what comes for the INVITE itself: a repeat, CANCEL,
// the ACK of a refusal.
func (c *Call) earlyRequest(req *sip.Request, from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch req.Method {
	case sip.INVITE:
		ours, _ := c.request.Via().Params.Get("branch")
		theirs, _ := req.Via().Params.Get("branch")
		if ours != theirs { // RFC 3261 section 8.2.2.2
			c.stack.refuse(req, from, 482, "Loop Detected")
			return
		}
		_ = c.stack.flow.send(from, c.answer)
	case sip.CANCEL:
		_ = c.stack.flow.send(from, newResponse(req, 200, "OK", c.localTag, nil, "", ""))
		if c.res.Code == 0 {
			_ = c.decline(487, "Request Terminated")
		}
	}
}
