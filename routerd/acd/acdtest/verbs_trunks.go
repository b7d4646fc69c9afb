package acdtest

import (
	"strings"

	"trunkline/routerd/acd"
)

// link TRUNK edge=E [state=up|suspect|down] [cause=WHY]: how the way is; without a
// state the edge is forgotten.
func (s *script) link(a *args) ([]string, error) {
	return s.propose(acd.TrunkStateChanged{
		Trunk: acd.TrunkID(a.text("", "")), Edge: a.text("edge", ""), State: acd.LinkState(a.text("state", "")), Cause: a.text("cause", ""),
	})
}

// alarm TRUNK kind=K direction=in|out|both [value=N limit=N] [cleared=WHY]: of the
// speech of its calls.
func (s *script) alarm(a *args) ([]string, error) {
	b := acd.LinkAlarmChanged{
		Trunk: acd.TrunkID(a.text("", "")), Kind: acd.AlarmKind(a.text("kind", "")), Direction: acd.Direction(a.text("direction", "")),
		Value: int64(a.number("value", 0)), Limit: int64(a.number("limit", 0)), Cause: a.text("cleared", ""),
	}
	b.Raised = b.Cause == ""
	return s.propose(b)
}

// bind AGENT uris=U,... [expires=60s] [sip-id=S] [cseq=1] [all=yes] [nonce=N count=1]
// [instance=I reg-id=N]: a REGISTER whole. Prints the contacts there are then.
func (s *script) bind(a *args) ([]string, error) {
	id := a.text("", "")
	b := acd.BindingsChanged{
		Agent: acd.AgentID(id), SIPID: a.text("sip-id", "reg"), CSeq: uint32(a.number("cseq", 1)), All: a.text("all", "") == "yes",
		Nonce: a.text("nonce", ""), Count: uint32(a.number("count", 0)),
	}
	expires := a.duration("expires")
	instance, regID := a.text("instance", ""), a.number("reg-id", 0)
	for _, uri := range a.list("uris", "") {
		ct := acd.Contact{URI: "sip:" + id + "@" + uri, Instance: instance, RegID: regID}
		b.Bindings = append(b.Bindings, acd.Binding{Contact: ct, Expires: expires})
	}
	r, effects, err := s.Propose(b)
	var there []string
	for _, ct := range r.Contacts {
		there = append(there, strings.TrimPrefix(ct.URI, "sip:"+id+"@"))
	}
	lines := append(printResult(r), "contacts "+strings.Join(there, ","))
	return append(lines, printEffects(effects)...), err
}
