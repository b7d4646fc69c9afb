package sim

import (
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// refer is node's actor.refer for blind transfers of agents.
func (a *actor) refer(id acd.LegID, leg *sip.Leg, e sip.Referred) {
	if a.legState(id).Agent == "" || e.To.Replaces != nil {
		a.send(id, leg.RefuseRefer(e, 403).Send)
		return
	}
	out := leg.AcceptRefer(a.n.machineTime(), e)
	res, ours := a.commit(id, func(h acd.OnCall) acd.Body {
		return acd.CallReferred{OnCall: h, Leg: id, To: e.To.User, Reason: e.Reason}
	})
	if !ours {
		return
	}
	a.send(id, out.Send)
	if !res.Applied && a.t.alive() {
		a.act(id, leg.NotifyRefer(a.n.machineTime(), max(res.Code, 300)))
	}
}

func (a *actor) legState(id acd.LegID) acd.Leg {
	c, _ := a.n.machine.Call(a.call)
	for _, l := range c.Legs {
		if l.ID == id {
			return l
		}
	}
	return acd.Leg{}
}

// tell is node's actor.tell.
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

// settleRefers is node's.
func (a *actor) settleRefers() {
	for _, id := range a.legIDs() {
		leg := a.legs[id]
		if !leg.Referring() || !a.t.alive() {
			continue
		}
		code := 500
		if c, _ := a.n.machine.Call(a.call); c.Referral.Leg == id {
			code = c.Referral.Code
			if c.Referral.Running() {
				code = 0
			}
		}
		if code != 0 {
			a.act(id, leg.NotifyRefer(a.n.machineTime(), code))
		}
	}
}
