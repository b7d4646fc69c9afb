package node

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// named is the open call that has the dialog which an INVITE wants to replace, with
// its owner; call is empty if none has. What the dialog is exactly only the owner
// knows.
func (n *Node) named(r sip.Replaces) (call acd.CallID, owner acd.Owner, epoch uint64) {
	n.view(func(m *acd.Machine) {
		root := m.RootOf(n.callOfDialog(r.CallID, r.ToTag, r.FromTag))
		open := false
		if owner, epoch, open = m.OwnerOf(root); open {
			call = root
		}
	})
	return call, owner, epoch
}

// replacedOutside refuses an INVITE of a trunk that wants to replace a dialog: what
// agents talk in is not a carrier's to take.
func (n *Node) replacedOutside(r sip.Replaces) sip.Refusal {
	if call, _, _ := n.named(r); call == "" {
		return sip.NoSuchDialog
	}
	return sip.Refusal{Code: 403, Reason: sip.ReasonPhrase(403)}
}

// pickUp asks the machine for what the INVITE wants to replace (RFC 3891). Nothing
// is said before that is committed with the new leg's record; AnswerCall follows.
func (a *actor) pickUp(m agentInvite) {
	was := a.replaced(*m.replaces)
	leg, out := sip.NewServerLeg(a.n.machineTime(), a.n.local(a.call, sip.NewTag(string(m.call))), m.invite, m.flow)
	if was == "" {
		dialsRefused.Inc()
		a.endDial(m, leg, 481, 0)
		return
	}
	record, err := leg.MarshalBinary()
	if err != nil {
		a.n.log.Error("the INVITE can't be stored", "call_id", a.call, "err", err)
		a.endDial(m, leg, 500, 0)
		return
	}
	res, ours := a.propose(acd.CallPickedUp{
		OnCall: a.head(), Leg: was, As: m.call, Agent: m.agent, EarlyOnly: m.replaces.EarlyOnly,
		Edge: m.invite.Get("X-Trunkline-Edge"), SIPID: m.invite.CallID(), Record: record, Nonce: m.proof.Nonce, Count: m.proof.Count,
	})
	switch {
	case !ours: // the phone's repeat finds who has the call
	case res.Code != 0:
		dialsRefused.Inc()
		a.n.log.Info("a pick-up is refused", "call_id", a.call, "agent", m.agent, "code", res.Code, "err", res.Reason)
		a.endDial(m, leg, res.Code, res.RetryAfter)
	case res.Applied:
		pickedUp.Inc()
		a.legs[res.Leg] = leg
		a.send(res.Leg, out.Send)
	}
}
