package acdtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"trunkline/routerd/acd"
)

// wrap-up AGENT to=D
func (s *script) wrapUp(a *args) ([]string, error) {
	return s.propose(acd.WrapUpSet{Agent: acd.AgentID(a.text("", "")), Remaining: a.duration("to")})
}

// audit NODE missing=CALL:LEG,... [epoch=N] [life=N]: the node has no dialogs for
// these legs.
func (s *script) audit(a *args) ([]string, error) {
	o := s.owner(a.text("", ""))
	o.Incarnation = uint64(a.number("life", int(o.Incarnation)))
	body := acd.DialogsAudited{Owner: o}
	for _, name := range a.list("missing", "") {
		call, leg, ok := strings.Cut(name, ":")
		if !ok {
			return nil, fmt.Errorf("%q is not CALL:LEG", name)
		}
		c, _ := s.M.Call(acd.CallID(call))
		body.Missing = append(body.Missing, acd.LegRef{
			Call: acd.CallID(call), Epoch: uint64(a.number("epoch", int(c.Epoch))), Leg: acd.LegID(leg),
		})
	}
	return s.propose(body)
}

// hash NODE index=N [state=TEXT] [life=N]: the node says which state it has
// after an index, by default the one all have. [cut=yes] leaves a byte out.
func (s *script) hash(a *args) ([]string, error) {
	o := s.owner(a.text("", ""))
	o.Incarnation = uint64(a.number("life", int(o.Incarnation)))
	sum := sha256.Sum256([]byte(a.text("state", "right")))
	hash := bytes.Clone(sum[:])
	if a.text("cut", "") == "yes" {
		hash = hash[1:]
	}
	return s.propose(acd.HashReported{Owner: o, Index: uint64(a.number("index", 0)), Hash: hash})
}

// activate VERSION prints how the machine stops if it does not know it.
func (s *script) activate(a *args) (lines []string, err error) {
	var version uint32
	if _, err := fmt.Sscanf(a.text("", ""), "%d", &version); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	return s.propose(acd.Activated{Version: version})
}

// transfer CALL to=queue:Q|agent:A|chain:C|number:N [agent=WHO TALKS] [reason=WHY]
func (s *script) transfer(a *args) ([]string, error) {
	head := s.head(a)
	c, _ := s.M.Call(head.Call)
	body := acd.CallTransferred{OnCall: head, Agent: acd.AgentID(a.text("agent", string(c.Agent))), Reason: a.text("reason", "")}
	for _, to := range a.list("to", "") {
		kind, name, _ := strings.Cut(to, ":")
		switch kind {
		case "queue":
			body.To.Queue = acd.QueueID(name)
		case "agent":
			body.To.Agent = acd.AgentID(name)
		case "chain":
			body.To.Chain = acd.ChainID(name)
		case "number":
			body.To.Number = name
		default:
			return nil, fmt.Errorf("transfer to %q", to)
		}
	}
	return s.propose(body)
}

// hold CALL leg=N: that leg's far end puts it on hold; resume takes it back.
func (s *script) hold(a *args) ([]string, error) {
	return s.propose(acd.LegHeld{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", ""))})
}

func (s *script) resume(a *args) ([]string, error) {
	return s.propose(acd.LegResumed{OnCall: s.head(a), Leg: acd.LegID(a.text("leg", ""))})
}

// supervise CALL by=AGENT mode=listen|whisper|join|none|take
func (s *script) supervise(a *args) ([]string, error) {
	return s.propose(acd.CallSupervised{OnCall: s.head(a), Supervisor: acd.AgentID(a.text("by", "")), Mode: acd.SupervisionMode(a.text("mode", ""))})
}

// help AGENT [reason=WHY] [over=yes]: the agent's button.
func (s *script) help(a *args) ([]string, error) {
	return s.propose(acd.HelpAsked{Agent: acd.AgentID(a.text("", "")), On: a.text("over", "") != "yes", Reason: a.text("reason", "")})
}

// refer CALL to=NAME [leg=WHOSE FAR END ASKS] [reason=WHY]
func (s *script) refer(a *args) ([]string, error) {
	head := s.head(a)
	c, _ := s.M.Call(head.Call)
	return s.propose(acd.CallReferred{
		OnCall: head, Leg: acd.LegID(a.text("leg", string(c.AgentLeg))), To: a.text("to", ""), Reason: a.text("reason", ""),
	})
}

// dial CALL agent=A to=NAME [owner=r1] [beside=CALL]: beside is the call the agent
// talks in unless another is named.
func (s *script) dial(a *args) ([]string, error) {
	agent, _ := s.M.Agent(acd.AgentID(a.text("agent", "")))
	beside := acd.CallID(a.text("beside", string(agent.Call)))
	if beside == "none" {
		beside = ""
	}
	owner := s.owner(a.text("owner", "r1"))
	if c, ok := s.M.Call(beside); ok {
		owner = c.Owner
	}
	id := a.text("", "")
	return s.propose(acd.AgentDialled{
		OnCall: acd.OnCall{Call: acd.CallID(id)}, Owner: owner, Agent: agent.ID, To: a.text("to", ""),
		Beside: beside, Edge: "edge-1", SIPID: id + "@phone", Record: []byte("invite " + id),
	})
}

// join CALL leg=WHERE ASKED with=LEG [reason=WHY]
func (s *script) join(a *args) ([]string, error) {
	return s.propose(acd.CallsJoined{
		OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "")), With: acd.LegID(a.text("with", "")), Reason: a.text("reason", ""),
	})
}

// pick-up CALL leg=WHICH agent=WHO as=CALL [early-only=yes]
func (s *script) pickUp(a *args) ([]string, error) {
	as := a.text("as", "")
	return s.propose(acd.CallPickedUp{
		OnCall: s.head(a), Leg: acd.LegID(a.text("leg", "")), Agent: acd.AgentID(a.text("agent", "")), As: acd.CallID(as),
		EarlyOnly: a.text("early-only", "") == "yes", Edge: "edge-1", SIPID: as + "@phone", Record: []byte("invite " + as),
	})
}
