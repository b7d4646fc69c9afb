package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

const answerIn = 2 * time.Second

// ring and way are node's.
type ring struct {
	id       acd.EffectID
	from, to string
	sdp      string
	ways     []way
	next     int
	rang     bool
}

type way struct {
	uri     string
	routes  []string
	headers []sip.Header
	hops    []sip.Hop
}

func (a *actor) ring(id acd.EffectID, o acd.RingAgent) {
	if a.adopting(o.Agent) {
		a.held = append(a.held, heldRing{id, o})
		return
	}
	r := ring{id: id, from: fmt.Sprintf("<sip:%s@%s>", o.From, clusterHost), to: fmt.Sprintf("<sip:%s@%s>", o.Agent, clusterHost)}
	for _, c := range o.Contacts {
		r.ways = append(r.ways, way{uri: c.URI, routes: c.Path})
	}
	a.setUp(o.Leg, r, "no contact")
}

func (a *actor) dial(id acd.EffectID, o acd.Dial) {
	edges, from := a.n.w.edges, fmt.Sprintf("<sip:%s@%s>", o.From, clusterHost)
	r := ring{id: id, from: from, to: fmt.Sprintf("<sip:%s@%s>", o.Number, clusterHost)}
	for _, trunk := range o.Trunks {
		for i := range edges {
			var hops []sip.Hop
			for j := range edges {
				hops = append(hops, sip.Hop{Network: "tcp", Addr: edges[(int(id.Index%uint64(len(edges)))+i+j)%len(edges)].addr})
			}
			r.ways = append(r.ways, way{
				uri: fmt.Sprintf("sip:%s@%s;user=phone", o.Number, clusterHost), hops: hops,
				headers: []sip.Header{{Name: "X-Trunkline-Trunk", Value: string(trunk)}, {Name: "P-Asserted-Identity", Value: from}},
			})
		}
	}
	a.setUp(o.Leg, r, "no trunk")
}

func (a *actor) setUp(id acd.LegID, r ring, nowhere string) {
	if len(r.ways) == 0 {
		a.report(id, failed(id, 480, nowhere))
		return
	}
	address, ok := a.address()
	if !ok {
		address, ok = a.n.pickAddress()
	}
	if !ok {
		a.report(id, failed(id, 503, "no media worker"))
		return
	}
	if code := a.ask(address); code != 0 {
		if a.t.alive() {
			a.report(id, failed(id, code, "media"))
		}
		return
	}
	r.sdp = sdpOf(address)
	a.rings[id] = r
	a.ringNext(id)
}

func (a *actor) ringNext(id acd.LegID) bool {
	r, ok := a.rings[id]
	if !ok || r.next >= len(r.ways) {
		return false
	}
	w := r.ways[r.next]
	callID := fmt.Sprintf("%s-%d.%d.%d-%s@%s", id, r.id.Index, r.id.N, r.next, a.call, clusterHost)
	r.next++
	a.rings[id] = r
	invite := func() (*sip.Leg, sip.Output) {
		return sip.NewClientLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(callID)), sip.ClientParams{
			CallID: callID, Branch: sip.NewBranch(callID), URI: w.uri, Routes: w.routes, Hops: w.hops, Headers: w.headers,
			From: r.from, To: r.to, SDP: []byte(r.sdp), AnswerIn: answerIn,
		})
	}
	if before := a.legs[id]; before != nil {
		a.late = append(a.late, before)
	}
	a.legs[id], _ = invite()
	if a.report(id, updated) {
		leg, out := invite()
		a.legs[id] = leg
		a.act(id, out)
	}
	return true
}

func (a *actor) anotherWay(id acd.LegID, code int) bool {
	return tryNext(code) && !a.cancelled[id] && !a.rings[id].rang && a.ringNext(id)
}

func tryNext(code int) bool { return code == 408 || code == 430 || code == 503 }

func (a *actor) mediaAddress(id acd.LegID) string {
	if leg := a.legs[id]; leg != nil {
		for line := range strings.Lines(string(leg.LocalSDP())) {
			if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(line, "c=IN ") {
				return f[2]
			}
		}
	}
	address, _ := a.address()
	return address
}

// facts is node's actor.facts.
func (a *actor) facts(id acd.LegID, events []sip.Event) (out []fact) {
	for _, e := range events {
		switch e := e.(type) {
		case sip.Ringing:
			if r, ok := a.rings[id]; ok {
				r.rang = true
				a.rings[id] = r
			}
			out = append(out, func(h acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: h, Leg: id, Code: e.Code} })
		case sip.Answered:
			out = append(out, a.answered(id, e))
		case sip.Failed:
			if a.anotherWay(id, e.Code) {
				return nil
			}
			delete(a.rings, id)
			a.keysEnded(id)
			out = append(out, failed(id, e.Code, e.Reason))
		case sip.Ended:
			delete(a.rings, id)
			a.keysEnded(id)
			if f := a.unusable[id]; f != nil {
				out = append(out, f)
			} else {
				out = append(out, ended(id, e.Cause))
			}
		case sip.Digits:
			if !a.deaf() {
				out = append(out, func(h acd.OnCall) acd.Body { return acd.DigitsCollected{OnCall: h, Leg: id, Digits: e.Digits} })
			}
		}
	}
	return out
}

func (a *actor) answered(id acd.LegID, e sip.Answered) fact {
	delete(a.rings, id)
	address := a.mediaAddress(id)
	code := a.ask(address)
	if code == 0 && string(e.SDP) == uselessSDP {
		code = 488
	}
	if code != 0 {
		a.unusable[id] = failed(id, code, "media")
		return updated
	}
	media := acd.Media{Address: address, Codec: "PCMA", Suite: "AES_CM_128_HMAC_SHA1_80"}
	unheard := a.cancelled[id]
	return func(h acd.OnCall) acd.Body {
		return acd.LegAnswered{OnCall: h, Leg: id, Media: media, Unheard: unheard}
	}
}

// deaf is node's: keys mean nothing now.
func (a *actor) deaf() bool {
	c, ok := a.n.machine.Call(a.call)
	return !ok || c.State == acd.CallTalking || c.State == acd.CallEnding
}

// follow is node.follow.
func (a *actor) follow(id acd.LegID, e sip.Event) {
	if a.stale || !a.t.alive() {
		return
	}
	leg := a.legs[id]
	switch e := e.(type) {
	case sip.Answered:
		if a.unusable[id] == nil && a.cancelled[id] {
			agent := a.legState(id).Agent
			a.dropHeld(func(h heldRing) bool { return h.order.Agent == agent })
		}
		if a.unusable[id] != nil {
			a.act(id, leg.Bye(a.n.machineTime()))
		}
	case sip.Informed:
		a.informed(id, e)
	case sip.Reoffer:
		a.reoffer(id, leg, e.SDP)
	case sip.Referred:
		a.refer(id, leg, e)
	}
}

// reoffer is node's actor.reoffer.
func (a *actor) reoffer(id acd.LegID, leg *sip.Leg, sdp []byte) {
	address := a.mediaAddress(id)
	if address == "" {
		a.act(id, leg.AnswerOffer(a.n.machineTime(), 488, nil))
		return
	}
	if code := a.ask(address); code != 0 {
		if a.t.alive() {
			a.act(id, leg.AnswerOffer(a.n.machineTime(), code, nil))
		}
		return
	}
	out := leg.AnswerOffer(a.n.machineTime(), 200, []byte(sdpOf(address)))
	if a.report(id, a.holds(id, strings.Contains(string(sdp), "a=sendonly"))) {
		a.send(id, out.Send)
	}
}

// holds is node's.
func (a *actor) holds(id acd.LegID, held bool) fact {
	c, _ := a.n.machine.Call(a.call)
	i := slices.IndexFunc(c.Legs, func(l acd.Leg) bool { return l.ID == id })
	switch {
	case i < 0 || c.Legs[i].State != acd.LegUp || held == (c.Legs[i].Held != 0):
		return updated
	case held:
		return func(h acd.OnCall) acd.Body { return acd.LegHeld{OnCall: h, Leg: id} }
	}
	return func(h acd.OnCall) acd.Body { return acd.LegResumed{OnCall: h, Leg: id} }
}
