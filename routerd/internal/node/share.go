package node

import (
	"bytes"
	"slices"
	"strings"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// shareCodec spares the worker from transcoding: where two legs talk in
// different codecs and one far end has said that it knows the other's, that one
// is offered it, once. What comes of it changes nothing but the worker's work.
func (a *actor) shareCodec(x, y acd.LegID) {
	if !a.n.conf.SIP.Dialogs.ShareCodec || a.stale {
		return
	}
	codecs := map[acd.LegID]string{}
	a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(a.call)
		for _, l := range c.Legs {
			if l.State == acd.LegUp {
				codecs[l.ID] = l.Media.Codec
			}
		}
	})
	if codecs[x] == "" || codecs[y] == "" || strings.EqualFold(codecs[x], codecs[y]) {
		return
	}
	for _, change := range [][2]acd.LegID{{x, y}, {y, x}} {
		id, want := change[0], codecs[change[1]]
		leg := a.legs[id]
		if leg == nil || leg.State() != sip.Confirmed || leg.Reoffered() || !describes(leg.RemoteSDP(), want) || !slices.Contains(a.allowedOn(id), want) {
			continue
		}
		rep, err := a.ask(a.mediaAddress(id), mediaapi.Request{Command: mediaapi.LegOffer, Leg: string(id), Renew: true, Codecs: []string{want, codecs[id]}})
		if err != nil {
			a.n.log.Warn("a common codec can't be offered", "call_id", a.call, "leg", id, "err", err)
			return
		}
		shared.Inc()
		a.act(id, leg.Reinvite(a.n.machineTime(), []byte(rep.SDP)))
		return
	}
}

// describes tells whether a description lists a codec, by name or by its static
// number (RFC 3551 section 6).
func describes(sdp []byte, codec string) bool {
	static := map[string]string{"PCMU": "0", "PCMA": "8"}[codec]
	for line := range bytes.Lines(sdp) {
		text := strings.TrimSpace(string(line))
		if f := strings.Fields(text); len(f) > 3 && f[0] == "m=audio" && static != "" && slices.Contains(f[3:], static) {
			return true
		}
		if _, mapped, ok := strings.Cut(text, " "); ok && strings.HasPrefix(text, "a=rtpmap:") {
			if name, _, _ := strings.Cut(mapped, "/"); strings.EqualFold(name, codec) {
				return true
			}
		}
	}
	return false
}
