package node

import (
	"fmt"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// answerIn is how long an edge or phone may be silent before another of the
// agent's contacts is tried.
const answerIn = 2 * time.Second

// ring is a called leg being set up.
type ring struct {
	id    acd.EffectID
	order acd.RingAgent
	sdp   string
	next  int // contact to try next
}

// ring calls the agent. The INVITE's ids come from the order, so that it is
// the same INVITE whoever sends it and however often.
func (a *actor) ring(id acd.EffectID, o acd.RingAgent) {
	address, ok := a.address()
	if !ok || len(o.Contacts) == 0 {
		a.report(o.Leg, failed(o.Leg, 480, "no contact"))
		return
	}
	rep, err := a.ask(address, mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(o.Leg), Codecs: a.codecsFor()})
	if err != nil {
		a.report(o.Leg, failed(o.Leg, sipCode(err), err.Error()))
		return
	}
	a.rings[o.Leg] = ring{id: id, order: o, sdp: rep.SDP}
	a.ringNext(o.Leg)
}

// ringNext sends the INVITE to the agent's next contact. It returns false if
// all were tried.
func (a *actor) ringNext(id acd.LegID) bool {
	r, ok := a.rings[id]
	if !ok || r.next >= len(r.order.Contacts) {
		return false
	}
	contact := r.order.Contacts[r.next]
	// leg-index.n.attempt-call: callOf reads the call's id back.
	callID := fmt.Sprintf("%s-%d.%d.%d-%s@%s", id, r.id.Index, r.id.N, r.next, a.call, a.n.conf.ClusterHost)
	r.next++
	a.rings[id] = r
	host := a.n.conf.ClusterHost
	invite := func() (*sip.Leg, sip.Output) {
		return sip.NewClientLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(callID)), sip.ClientParams{
			CallID: callID, Branch: sip.NewBranch(callID), URI: contact.URI, Routes: contact.Path,
			From: fmt.Sprintf("<sip:%s@%s>", userPart(r.order.From), host), To: fmt.Sprintf("<sip:%s@%s>", r.order.Agent, host),
			SDP: []byte(r.sdp), AnswerIn: answerIn,
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
