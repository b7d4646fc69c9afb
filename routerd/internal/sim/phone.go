package sim

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// seatedAgent is an agent with phones.
type seatedAgent struct {
	w       *World
	id      acd.AgentID
	phones  []*phone
	status  acd.AgentStatus // what the agent wants
	temper  temper
	working bool // false once the shift is over: declines nothing, wants nothing
}

// temper is how likely, in 1000, an agent does what to a ringing phone.
type temper struct{ answers, rejects, ignores, late, useless int }

// phone is one device of an agent, registered through both edges.
type phone struct {
	far   *farEnd
	agent *seatedAgent
	cseq  uint32
}

// ringing is what a phone knows of an INVITE.
type ringing struct {
	call    acd.CallID
	leg     acd.LegID
	since   time.Duration
	talking bool
	closing bool // a CANCEL or BYE of a router is on its way, or ours is
}

func newAgent(w *World, i, phones int) *seatedAgent {
	a := &seatedAgent{w: w, id: acd.AgentID(fmt.Sprintf("a%d", i+1)), status: acd.Available, working: true}
	a.temper = temper{answers: 750, rejects: 80, ignores: 80, late: 50, useless: 20}
	for k := range phones {
		p := &phone{agent: a}
		p.far = w.newFarEnd(fmt.Sprintf("p%d.%d", i+1, k+1), fmt.Sprintf("10.3.%d.%d", k, i+1))
		p.far.invited = p.rings
		p.far.told = p.told
		a.phones = append(a.phones, p)
	}
	return a
}

// live are the agent's dialogs on all phones, oldest first.
func (a *seatedAgent) live() []*dialog {
	var out []*dialog
	for _, p := range a.phones {
		for _, id := range p.far.order {
			if d := p.far.dialogs[id]; d != nil && !d.over {
				out = append(out, d)
			}
		}
	}
	return out
}

func (p *phone) rings(d *dialog, req *sip.Request) {
	w := p.far.w
	call, leg, _ := legOf(req.CallID())
	d.ring = &ringing{call: call, leg: leg, since: w.now}
	w.called[d.id] = d
	w.judge.rang(p, d)
	p.far.after(w.between(20*time.Millisecond, 120*time.Millisecond), func() {
		if !d.over {
			p.far.act(d, d.leg.Progress(p.far.time(), 180, nil))
		}
	})
	dice, t := w.rng.IntN(1000), p.agent.temper
	answerIn := w.between(200*time.Millisecond, 3*time.Second)
	switch {
	case dice < t.answers:
		p.far.after(answerIn, func() { p.answer(d, sdpOf("10.3.3.3")) })
	case dice < t.answers+t.rejects:
		code := pick(w, []int{486, 603, 480, 500})
		p.far.after(answerIn, func() { p.reject(d, code) })
	case dice < t.answers+t.rejects+t.ignores:
		p.far.after(60*time.Second, func() { p.reject(d, 480) })
	case dice < t.answers+t.rejects+t.ignores+t.late:
		// About when the ring times out, so that answer and CANCEL cross.
		p.far.after(w.plan.ringTimeout-20*time.Millisecond+w.between(0, 40*time.Millisecond), func() { p.answer(d, sdpOf("10.3.3.3")) })
	case dice < t.answers+t.rejects+t.ignores+t.late+t.useless:
		p.far.after(answerIn, func() { p.answer(d, uselessSDP) })
	default:
		p.far.after(answerIn, func() { p.answer(d, sdpOf("10.3.3.3")) })
	}
}

func (p *phone) answer(d *dialog, sdp string) {
	if d.over || d.leg.State() != sip.Pending {
		return
	}
	w := p.far.w
	w.note(p.far.name, "answers", string(d.ring.call), string(d.ring.leg), 0)
	d.ring.talking = true
	w.judge.talks(p, d)
	p.far.act(d, d.leg.Accept(p.far.time(), []byte(sdp)))
	if w.chance(200) {
		p.far.after(w.between(500*time.Millisecond, 3*time.Second), func() { p.offer(d, sdp+"a=sendonly\r\n") })
		p.far.after(w.between(3*time.Second, 6*time.Second), func() { p.offer(d, sdp) })
	}
	p.far.after(w.talk(time.Second, 12*time.Second), func() {
		if !d.over {
			d.ring.closing = true
			p.far.act(d, d.leg.Bye(p.far.time()))
		}
	})
}

// offer changes the session: the other party is put on hold, or taken back.
func (p *phone) offer(d *dialog, sdp string) {
	if !d.over {
		p.far.act(d, d.leg.Reinvite(p.far.time(), []byte(sdp)))
	}
}

func (p *phone) reject(d *dialog, code int) {
	if d.over || d.leg.State() != sip.Pending {
		return
	}
	p.far.act(d, d.leg.Reject(p.far.time(), code, ""))
}

func (p *phone) told(d *dialog, e sip.Event) {
	if e, ok := e.(sip.Ended); ok {
		p.far.w.note(p.far.name, "over", e.Cause, string(d.ring.call), 0)
	}
}

// register keeps the phone's bindings through both edges, as it would by
// REGISTER; digests are left out.
func (p *phone) register(every time.Duration) {
	for i, e := range p.far.edges {
		p.registerBy(e, i+1)
	}
	p.far.after(every, func() { p.register(every) })
}

func (p *phone) registerBy(e *edge, regID int) {
	w := p.far.w
	if !e.up {
		return
	}
	p.far.flows[e.name] = true
	p.cseq++
	c := acd.Contact{
		URI: "sip:" + p.far.name + "@" + p.far.addr + ";transport=tcp", Path: []string{"<sip:" + e.addr + ";lr>"},
		Instance: "<urn:sim:" + p.far.name + ">", RegID: regID, SIPID: "reg-" + p.far.name, CSeq: p.cseq,
	}
	w.ask(e, func(r *router, t *task) bool {
		_, _, ok := r.propose(t, 4*time.Second, acd.RegistrationChanged{Agent: p.agent.id, Contact: c, Expires: 90 * time.Second})
		return ok
	})
}

// ask has some router that is ready do something; the edge tries the others if
// one refuses.
func (w *World) ask(e *edge, do func(r *router, t *task) bool) {
	order := append([]*router(nil), w.routers...)
	w.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var try func(i int)
	try = func(i int) {
		if i == len(order) {
			return
		}
		r := order[i]
		w.net.ask(e.name, r.name, &r.host, func() {
			if !r.ready() {
				w.after(time.Millisecond, func() { try(i + 1) })
				return
			}
			r.spawn(func(t *task) { do(r, t) })
		}, func() { try(i + 1) })
	}
	try(0)
}

// setStatus is an agent's choice, made through the API until it is
// acknowledged.
func (a *seatedAgent) setStatus(s acd.AgentStatus) {
	a.status = s
	var try func()
	try = func() {
		if a.status != s {
			return
		}
		done := false
		a.w.ask(pick(a.w, a.w.edges), func(r *router, t *task) bool {
			res, index, ok := r.propose(t, 5*time.Second, acd.AgentStatusSet{Agent: a.id, Status: s})
			if ok && (res.Applied || res.Reason == acd.ReasonUnchanged) && r.waitApplied(t, index) {
				done = true
			}
			return done
		})
		a.w.after(7*time.Second, func() {
			if !done {
				try()
			}
		})
	}
	try()
}
