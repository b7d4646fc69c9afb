package node

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// refer asks the machine for the transfer that a far end wants. 202 goes out once
// it is committed together with the leg's record, so a router that takes over
// knows of it and never acts on the repeat; a refusal is the last NOTIFY.
func (a *actor) refer(id acd.LegID, leg *sip.Leg, e sip.Referred) {
	if code := a.mayRefer(id); code != 0 {
		refersRefused.Inc()
		a.send(id, leg.RefuseRefer(e, code).Send)
		return
	}
	var with acd.LegID
	if e.To.Replaces != nil {
		with = a.replaced(*e.To.Replaces)
	}
	out := leg.AcceptRefer(a.n.machineTime(), e)
	res, ours := a.commit(id, func(h acd.OnCall) acd.Body {
		if e.To.Replaces != nil {
			return acd.CallsJoined{OnCall: h, Leg: id, With: with, Reason: clip(e.Reason)}
		}
		return acd.CallReferred{OnCall: h, Leg: id, To: e.To.User, Reason: clip(e.Reason)}
	})
	if !ours {
		return
	}
	a.send(id, out.Send)
	if res.Applied {
		refersTaken.Inc()
		return
	}
	refersRefused.Inc()
	a.n.log.Info("a transfer is refused", "call_id", a.call, "leg", id, "code", res.Code, "err", res.Reason)
	a.act(id, leg.NotifyRefer(a.n.machineTime(), referCode(res.Code)))
}

// mayRefer is the code with which a REFER on the leg is refused at once; 0: the
// machine is asked. A customer does not choose who else an agent talks to; who was
// called over a trunk may, if that trunk lets it.
func (a *actor) mayRefer(id acd.LegID) (code int) {
	code = 403
	a.n.view(func(m *acd.Machine) {
		l := legOf(m, a.call, id)
		switch {
		case l.Agent != "":
			code = 0
		case l.Role == acd.RoleParty:
			conf, _ := m.Config()
			for _, t := range conf.Trunks {
				if t.ID == l.Trunk && t.Refer {
					code = 0
				}
			}
		}
	})
	return code
}

// legOf is a leg of the call or of one beside it.
func legOf(m *acd.Machine, call acd.CallID, id acd.LegID) acd.Leg {
	for _, c := range m.Family(call) {
		for _, l := range c.Legs {
			if l.ID == id {
				return l
			}
		}
	}
	return acd.Leg{}
}

// referCode makes sure that a refused transfer ends with a final code.
func referCode(code int) int {
	if code < 300 {
		return 500
	}
	return code
}

// maxReason is what a card holds of why a call is transferred, in bytes.
const maxReason = 200

func clip(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for end > 0 && reason[end]&0xc0 == 0x80 { // within a character
		end--
	}
	return reason[:end]
}

// replaced is the leg whose dialog a Replaces names, empty if it is none of this
// actor's: then the two calls are not of one agent.
func (a *actor) replaced(r sip.Replaces) acd.LegID {
	for id, leg := range a.legs { // any order: a dialog is one leg's
		if r.Is(leg) {
			return id
		}
	}
	return ""
}

// tell passes on to a far end how the call it placed, or the transfer it asked for,
// goes.
func (a *actor) tell(o acd.TellProgress) {
	leg := a.legs[o.Leg]
	switch {
	case leg == nil:
	case leg.State() == sip.Pending:
		a.act(o.Leg, leg.Progress(a.n.machineTime(), o.Code, nil))
	default:
		a.act(o.Leg, leg.NotifyRefer(a.n.machineTime(), o.Code))
	}
}

// settleRefers tells far ends how their transfers ended, where the last owner
// may not have come to it. One that goes on is told by orders.
func (a *actor) settleRefers() {
	for id, leg := range a.legs {
		if !leg.Referring() {
			continue
		}
		code := 500 // it was refused, and nobody knows why any more
		a.n.view(func(m *acd.Machine) {
			for _, c := range m.Family(a.call) {
				switch {
				case c.Referral.Leg != id:
				case c.Referral.Running():
					code = 0
				default:
					code = c.Referral.Code
				}
			}
		})
		if code != 0 {
			a.act(id, leg.NotifyRefer(a.n.machineTime(), code))
		}
	}
}
