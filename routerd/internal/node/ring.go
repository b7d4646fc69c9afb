package node

import (
	"bytes"
	"fmt"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// answerIn is how long an edge or phone may be silent before another way is
// tried. An edge says 100 at once, and 503 when a trunk's SBC is silent for 1.5 s.
const answerIn = 2 * time.Second

// ring is a called leg being set up. The INVITE's ids come from the order and
// the attempt, so that it is the same INVITE whoever sends it and however often.
type ring struct {
	id       acd.EffectID
	from, to string // name-addrs, without tags
	sdp      string
	ways     []way
	next     int // way to try next
	// Of a dialled number: the order, and the numbers that were asked so far.
	dial  acd.Dial
	asked []string
	rang  bool // from then on a failure is the far end's and not the way's
}

// way is one place to send the INVITE to.
type way struct {
	uri     string
	routes  []string
	headers []sip.Header
	hops    []sip.Hop // none: by the first route
	// Of a trunk's: it, and who calls and is called as its SBC wants it written.
	trunk    acd.TrunkID
	from, to string
}

// ring calls one of an agent's devices, by each of its contacts in order.
func (a *actor) ring(id acd.EffectID, o acd.RingAgent) {
	if a.adopting(o.Agent) {
		a.held = append(a.held, heldRing{id, o})
		return
	}
	host := a.n.conf.ClusterHost
	r := ring{id: id, from: fmt.Sprintf("<sip:%s@%s>", userPart(o.From), host), to: fmt.Sprintf("<sip:%s@%s>", o.Agent, host)}
	for _, c := range a.n.edges.heardFirst(o.Contacts) {
		r.ways = append(r.ways, way{uri: c.URI, routes: c.Path, headers: cardHeaders(o.Card, host)})
	}
	a.setUp(o.Leg, r, "no contact", a.codecsFor())
}

// setUp makes the media offer of a called leg and tries its first way.
func (a *actor) setUp(id acd.LegID, r ring, nowhere string, codecs []string) {
	if len(r.ways) == 0 {
		a.report(id, failed(id, 480, nowhere))
		return
	}
	if a.forwards() == 0 {
		a.report(id, failed(id, 483, "the caller's Max-Forwards is used up"))
		return
	}
	address, ok := a.address()
	if !ok { // nobody has been answered yet: we call
		address, ok = a.n.pickAddress()
	}
	if !ok {
		a.report(id, failed(id, 503, "no media worker"))
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(id), Codecs: codecs})
	if err != nil {
		a.report(id, failed(id, sipCode(err), err.Error()))
		return
	}
	r.sdp = rep.SDP
	a.rings[id] = r
	a.ringNext(id)
}

// ringNext sends the INVITE by the next way. It returns false if all were
// tried.
func (a *actor) ringNext(id acd.LegID) bool {
	r, ok := a.rings[id]
	if !ok || r.next >= len(r.ways) {
		return false
	}
	w := r.ways[r.next]
	from, to := r.from, r.to
	if w.trunk != "" {
		dialled.Inc()
		from, to = w.from, w.to
	}
	// leg-index.n.attempt-call: callOf reads the call's id back.
	callID := fmt.Sprintf("%s-%d.%d.%d-%s@%s", id, r.id.Index, r.id.N, r.next, a.call, a.n.conf.ClusterHost)
	r.next++
	a.rings[id] = r
	invite := func() (*sip.Leg, sip.Output) {
		return sip.NewClientLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(callID)), sip.ClientParams{
			CallID: callID, Branch: sip.NewBranch(callID), URI: w.uri, Routes: w.routes, Hops: w.hops, Headers: w.headers,
			From: from, To: to, SDP: []byte(r.sdp), AnswerIn: answerIn, MaxForwards: a.forwards(),
		})
	}
	if before := a.legs[id]; before != nil {
		a.late = append(a.late, before)
	}
	// The record goes first: who takes over must be able to cancel this. The
	// wait for an answer begins after that, with the same INVITE.
	a.legs[id], _ = invite()
	if a.report(id, updated) {
		leg, out := invite()
		a.legs[id] = leg
		a.act(id, out)
	}
	return true
}

// anotherWay tries the next way of a called leg whose INVITE failed, unless the
// failure is the far end's own answer.
func (a *actor) anotherWay(id acd.LegID, code int) bool {
	r, ok := a.rings[id]
	if !ok || a.cancelled[id] || r.rang {
		return false
	}
	if w := r.ways[r.next-1]; w.trunk != "" && trunkFailed(code) {
		// The SBC has spoken: its other edge would bring the same answer.
		for r.next < len(r.ways) && r.ways[r.next].trunk == w.trunk {
			r.next++
		}
		a.rings[id] = r
	} else if !tryNext(code) {
		return false
	}
	return a.ringNext(id)
}

// tryNext tells whether a failure is the way's and not the far end's: flow
// failed (RFC 5626), nobody answered at all, next hop or trunk unreachable.
func tryNext(code int) bool { return code == 408 || code == 430 || code == 503 }

// mediaAddress is where a called leg's media lives: where its offer says, which
// holds after a takeover too.
func (a *actor) mediaAddress(id acd.LegID) string {
	if leg := a.legs[id]; leg != nil {
		for line := range bytes.Lines(leg.LocalSDP()) {
			if f := bytes.Fields(line); len(f) == 3 && bytes.HasPrefix(line, []byte("c=IN ")) {
				return string(f[2])
			}
		}
	}
	address, _ := a.address()
	return address
}

// forgetMedia frees what a called leg that is over held, beside the actor: a
// call may be offered for hours. What fails is freed with the call.
func (a *actor) forgetMedia(id acd.LegID) {
	leg, address := a.legs[id], a.mediaAddress(id)
	if leg == nil || leg.Server() && id == acd.CallerLeg || address == "" {
		return
	}
	req := mediaapi.Request{Command: mediaapi.Delete, CallID: string(a.call), Leg: string(id)}
	a.n.async(func() { _, _ = a.n.atAddress(a.n.life, address, req) })
}

// userPart makes a caller's number safe to stand in a URI.
func userPart(number string) string {
	out := make([]byte, 0, len(number))
	for _, c := range []byte(number) {
		if c == '+' || c == '-' || c == '.' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return "anonymous"
	}
	return string(out)
}
