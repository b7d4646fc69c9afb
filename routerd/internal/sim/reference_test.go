package sim

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/internal/sip"
)

// reference is a call whose every point is tried: what its far ends do, one
// thing after the other, each when the one before has come about. lasts is when
// all of it is over, takeovers included.
type reference struct {
	name  string
	begin func(s *scene)
	lasts time.Duration
}

// references are the calls of TestTakeoverAtEveryPoint.
var references = []reference{
	{"waits with music, is held by both sides, caller hangs up", func(s *scene) {
		s.away(0)
		s.dial("+101", func(c *dialog) {
			s.later(1200*time.Millisecond, func() { s.key("7") })
			s.later(1700*time.Millisecond, func() { s.key("8") })
			s.later(2500*time.Millisecond, func() { s.agents[0].setStatus(acd.Available) })
		})
		s.pickUp(0, func(p *dialog) {
			s.hold(p, "agent", func() {
				s.hold(s.caller.d, "caller", func() { s.later(2*time.Second, func() { s.hangUp(s.caller.d, "caller") }) })
			})
		})
	}, 40 * time.Second},
	{"the agent hangs up", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") })
	}, 30 * time.Second},
	{"the caller gives up while the phone rings", func(s *scene) {
		s.dial("+102", nil)
		s.rings(0, func(*dialog) {
			if s.step("the phone rings") {
				s.later(time.Second, func() { s.hangUp(s.caller.d, "caller") })
			}
		})
	}, 30 * time.Second},
	{"the phone declines, then takes the call", func(s *scene) {
		s.dial("+102", nil)
		declined := false
		s.rings(0, func(p *dialog) {
			s.later(time.Second, func() {
				if !declined && p.leg.State() == sip.Pending {
					declined = true
					s.phones[0].far.act(p, p.leg.Reject(s.phones[0].far.time(), 486, ""))
					s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") })
				}
			})
		})
	}, 40 * time.Second},
	{"nobody picks up, then somebody does", func(s *scene) {
		s.dial("+102", nil)
		s.rings(0, func(p *dialog) {
			s.later(3*time.Second, func() { s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") }) })
		})
	}, 40 * time.Second},
	{"is transferred to another agent", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(p *dialog) { s.transfer("a1", acd.Target{Agent: "a2"}) })
		s.pickUp(1, func(*dialog) { s.hangUp(s.caller.d, "caller") })
	}, 40 * time.Second},
	{"the agent transfers by REFER", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(p *dialog) { s.refer(p, "a2") })
		s.pickUp(1, func(*dialog) { s.later(2*time.Second, func() { s.hangUp(s.caller.d, "caller") }) })
	}, 40 * time.Second},
	{"a transfer by REFER is declined, the two talk on", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(p *dialog) {
			s.refer(p, "a2")
			s.later(12*time.Second, func() { s.hangUp(s.caller.d, "caller") })
		})
		s.rings(1, func(p *dialog) {
			s.later(time.Second, func() {
				if p.leg.State() == sip.Pending {
					s.phones[1].far.act(p, p.leg.Reject(s.phones[1].far.time(), 603, ""))
				}
			})
		})
	}, 40 * time.Second},
	{"is transferred to a number outside", func(s *scene) {
		s.dial("+102", nil)
		s.customer(func(k *dialog) { s.later(3*time.Second, func() { s.hangUp(s.called, "party") }) })
		s.pickUp(0, func(p *dialog) { s.transfer("a1", acd.Target{Number: customerNumber(1)}) })
	}, 40 * time.Second},
	{"a customer is called for a task", func(s *scene) {
		s.customer(func(*dialog) {})
		s.pickUp(0, func(*dialog) { s.hangUp(s.called, "customer") })
		s.task()
	}, 40 * time.Second},
	{"a callback is promised and kept", func(s *scene) {
		s.away(0)
		s.dial("+103", func(c *dialog) { s.later(2*time.Second, func() { s.key("1") }) })
		s.callerGoes("called back", func() { s.agents[0].setStatus(acd.Available) })
		s.customer(func(*dialog) {})
		s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") })
	}, 50 * time.Second},
	{"keys are collected by INFO", func(s *scene) {
		s.away(0)
		s.dial("+102", func(*dialog) {
			s.later(time.Second, func() { s.inform(5) })
			s.later(6*time.Second, func() { s.inform(6) })
			s.later(10*time.Second, func() { s.agents[0].setStatus(acd.Available) })
		})
		s.pickUp(0, func(p *dialog) { s.hangUp(p, "agent") })
	}, 40 * time.Second},
	{"keys go across as INFO", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(p *dialog) {
			for i, key := range []string{"1", "2", "3"} {
				s.later(time.Duration(i)*300*time.Millisecond, func() { s.key(key) })
			}
			s.later(10*time.Second, func() { s.hangUp(p, "agent") })
		})
	}, 40 * time.Second},
	// The caller refreshes its leg, the router the agent's.
	{"the session is refreshed by both sides", func(s *scene) {
		s.dial("+102", nil)
		s.pickUp(0, func(*dialog) { s.later(100*time.Second, func() { s.hangUp(s.caller.d, "caller") }) })
	}, 130 * time.Second},
	{"the session is refreshed by re-INVITE", func(s *scene) {
		s.phones[0].far.noUpdate = true
		s.dial("+102", nil)
		s.pickUp(0, func(*dialog) { s.later(60*time.Second, func() { s.hangUp(s.caller.d, "caller") }) })
	}, 100 * time.Second},
}

// scene is one run of a reference call.
type scene struct {
	*World
	phones  []*phone // of agents a1 and a2
	caller  *caller
	called  *dialog  // a customer's who picked up
	steps   []string // of the story, in order
	heard   []string // by far ends, see hear
	faults  []string
	pressed string  // what far ends heard of keys by INFO, and how their transfers ended
	struck  *router // by the test
	woken   bool    // it goes on after its stop

	phoneRings [2]func(d *dialog)
	phoneTalks [2]func(d *dialog)
	goes       func()
	renewed    map[*dialog]func() // after our re-INVITE
	hungUp     map[*dialog]bool
}

// step notes that the story has come so far. What comes twice is told once.
func (s *scene) step(what string) bool {
	for _, was := range s.steps {
		if was == what {
			return false
		}
	}
	s.steps = append(s.steps, what)
	s.note("--", "step", what, "", 0)
	return true
}

func (s *scene) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf("%v: ", s.now)+fmt.Sprintf(format, args...))
}

func (s *scene) later(d time.Duration, f func()) { s.after(d, f) }

// newScene sets the stage: three routers, two workers, two edges, an agent in the
// queue and another beside it. The call's first owner leads the log or not.
// Nothing breaks but what the test breaks.
func newScene(ref reference, leads bool) *scene {
	w := newWorld(1)
	queue := func(id acd.QueueID) acd.Queue {
		return acd.Queue{ID: id, Music: "music", RingTimeout: 5 * time.Second, RejectDelay: time.Second, BusyDelay: time.Second}
	}
	first, callback := queue("q1"), queue("q3")
	first.Transfer = acd.Permit{Agents: true}
	callback.Callback = acd.Callback{Key: "1", Promise: "promise-700ms", Attempts: 3, Retry: 2 * time.Second, Expire: time.Minute}
	w.plan = plan{nodes: 3, workers: 2, ringTimeout: 5 * time.Second, calls: -10, profile: profile{name: "reference"}}
	w.plan.config = acd.Config{
		Trunks:   []acd.Trunk{{ID: "sbc1", Channels: 20}},
		Outbound: acd.Outbound{Trunks: []acd.TrunkID{"sbc1"}, From: "+100", RingTimeout: 5 * time.Second},
		Queues:   []acd.Queue{first, queue("q2"), callback},
		Numbers: []acd.Number{
			{Number: "+101", Greeting: "hello-400ms", Queue: "q1"}, {Number: "+102", Queue: "q1"}, {Number: "+103", Queue: "q3"},
		},
		Agents: []acd.Agent{
			{ID: "a1", Name: "Ann", HA1MD5: "0123456789abcdef0123456789abcdef", Queues: []acd.QueueID{"q1", "q3"}},
			{ID: "a2", Name: "Bob", HA1MD5: "0123456789abcdef0123456789abcdef", Queues: []acd.QueueID{"q2"}},
		},
	}
	s := &scene{World: w, renewed: map[*dialog]func(){}, hungUp: map[*dialog]bool{}}
	w.site()
	for i := range w.plan.config.Agents {
		s.seat(i)
	}
	s.after(2900*time.Millisecond, func() {
		for _, r := range s.routers {
			if r.x.lead.self == leads {
				s.favourite = r.name
			}
		}
	})
	ref.begin(s)
	return s
}

// seat brings an agent to work.
func (s *scene) seat(i int) {
	a := newAgent(s.World, i, 1)
	s.agents = append(s.agents, a)
	p := a.phones[0]
	s.phones = append(s.phones, p)
	s.listen(p.far)
	p.far.invited = func(d *dialog, req *sip.Request) {
		call, leg, _ := legOf(req.CallID())
		for _, other := range a.live() {
			if o := other.ring; other != d && !o.closing {
				s.fault("%s gets an INVITE for %s/%s while it has %s/%s", p.far.name, call, leg, o.call, o.leg)
			}
		}
		d.ring = &ringing{call: call, leg: leg, since: s.now}
		s.World.called[d.id] = d
		s.judge.rang(p, d)
		p.far.after(100*time.Millisecond, func() {
			if !d.over {
				p.far.act(d, d.leg.Progress(p.far.time(), 180, nil))
			}
		})
		if f := s.phoneRings[i]; f != nil {
			f(d)
		}
		if s.phoneTalks[i] != nil {
			p.far.after(time.Second, func() { s.pickUpNow(p, d) })
		}
	}
	p.far.told = func(d *dialog, e sip.Event) {
		s.told(d, e)
		if _, ok := e.(sip.Acknowledged); ok {
			p.far.after(500*time.Millisecond, func() {
				if f := s.phoneTalks[i]; f != nil && !d.over && !d.ring.closing && s.step(string(a.id)+" talks") {
					f(d)
				}
			})
		}
	}
	s.after(1500*time.Millisecond, func() { p.register(20 * time.Second) })
	s.after(2*time.Second, func() {
		if a.status == acd.Available {
			a.setStatus(acd.Available)
		}
	})
}

func (s *scene) pickUpNow(p *phone, d *dialog) {
	if d.over || d.leg.State() != sip.Pending {
		return
	}
	d.ring.talking = true
	s.judge.talks(p, d)
	p.far.act(d, d.leg.Accept(p.far.time(), []byte(sdpOf("10.3.3.3"))))
}

// listen notes what a far end hears: requests, and answers above 100.
func (s *scene) listen(f *farEnd) {
	f.heard = func(msg sip.Message) {
		n, method := msg.CSeq()
		what := method
		if res, ok := msg.(*sip.Response); ok {
			if res.Code == 100 {
				return
			}
			what = fmt.Sprintf("%d/%s", res.Code, method)
		}
		s.heard = append(s.heard, fmt.Sprintf("%s %s %s #%d", f.name, msg.CallID(), what, n))
	}
}

// away lets an agent begin on a break.
func (s *scene) away(i int) { s.agents[i].status = acd.OnBreak }

// dial lets the caller call at 3 s; then goes on once it is answered.
func (s *scene) dial(number string, then func(c *dialog)) {
	c := newCaller(s.World, 1, number, "sbc1")
	s.caller = c
	s.callers = append(s.callers, c)
	s.listen(c.far)
	c.far.told = func(d *dialog, e sip.Event) {
		c.told(d, e)
		s.told(d, e)
		switch e := e.(type) {
		case sip.Answered:
			if s.step("caller is answered") && then != nil {
				then(d)
			}
		case sip.Failed:
			s.fault("the caller is refused with %d", e.Code)
		}
	}
	s.after(3*time.Second, func() {
		c.d = c.far.call("call-1@sbc", customerNumber(1), number, []sip.Header{
			{Name: "X-Trunkline-Trunk", Value: "sbc1"}, {Name: "X-Trunkline-Edge", Value: c.far.edges[0].name},
		})
	})
}

// told follows what every dialog lives through.
func (s *scene) told(d *dialog, e sip.Event) {
	switch e := e.(type) {
	case sip.Digits:
		s.pressed += e.Digits
	case sip.Renegotiated:
		if f := s.renewed[d]; f != nil {
			delete(s.renewed, d)
			f()
		}
	case sip.RenegotiationFailed:
		if e.Code != 491 && e.Code != 500 {
			s.fault("a re-INVITE of %s is refused with %d", d.far.name, e.Code)
		}
	case sip.Ended:
		if s.caller != nil && d == s.caller.d && !s.hungUp[d] {
			if s.goes == nil {
				s.step("caller is left")
			} else {
				f := s.goes
				s.goes = nil
				f()
			}
		}
	}
}

// callerGoes lets the caller be hung up on as part of the story.
func (s *scene) callerGoes(what string, then func()) {
	s.goes = func() {
		if s.step(what) {
			then()
		}
	}
}

// rings is told of every INVITE at an agent's phone; pickUp lets it be answered
// after a second, and goes on when the agent talks.
func (s *scene) rings(i int, f func(d *dialog))  { s.phoneRings[i] = f }
func (s *scene) pickUp(i int, f func(d *dialog)) { s.phoneTalks[i] = f }

// customer is somebody outside whom the routers call.
func (s *scene) customer(talks func(d *dialog)) {
	k := newCustomer(s.World, 1)
	s.listen(k.far)
	k.far.invited = func(d *dialog, req *sip.Request) {
		call, leg, _ := legOf(req.CallID())
		for _, id := range k.far.order {
			if o := k.far.dialogs[id]; o != nil && o != d && !o.over && !o.ring.closing {
				s.fault("the customer gets an INVITE for %s/%s while it has %s/%s", call, leg, o.ring.call, o.ring.leg)
			}
		}
		d.ring = &ringing{call: call, leg: leg, since: s.now}
		s.World.called[d.id] = d
		k.far.after(100*time.Millisecond, func() {
			if !d.over {
				k.far.act(d, d.leg.Progress(k.far.time(), 180, nil))
			}
		})
		k.far.after(time.Second, func() {
			if d.over || d.leg.State() != sip.Pending {
				return
			}
			s.step("customer answers")
			s.called = d
			k.far.act(d, d.leg.Accept(k.far.time(), []byte(sdpOf("10.5.5.5"))))
			k.far.after(time.Second, func() {
				if !d.over && !d.ring.closing && s.step("customer talks") {
					talks(d)
				}
			})
		})
	}
	k.far.told = s.told
}

// hold puts the far end's side on hold and takes it back, each until it is
// granted.
func (s *scene) hold(d *dialog, who string, then func()) {
	held := sdpOf("10.3.3.3") + "a=sendonly\r\n"
	s.reinvite(d, held, func() {
		s.step(who + " holds")
		s.later(300*time.Millisecond, func() {
			s.reinvite(d, sdpOf("10.3.3.3"), func() {
				s.step(who + " talks on")
				s.later(300*time.Millisecond, then)
			})
		})
	})
}

// reinvite offers until the offer is accepted: who gets a 491 or 500 tries
// again.
func (s *scene) reinvite(d *dialog, sdp string, then func()) {
	if d.over {
		s.fault("%s can't change a session that is over", d.far.name)
		return
	}
	done := false
	s.renewed[d] = func() { done = true; then() }
	d.far.act(d, d.leg.Reinvite(d.far.time(), []byte(sdp)))
	s.later(5*time.Second, func() {
		if !done && !d.over {
			s.reinvite(d, sdp, then)
		}
	})
}

func (s *scene) hangUp(d *dialog, who string) {
	if d.over {
		s.fault("%s's dialog is over before it hangs up", who)
		return
	}
	s.step(who + " hangs up")
	s.hungUp[d] = true
	if d.ring != nil {
		d.ring.closing = true
	}
	d.far.act(d, d.leg.Bye(d.far.time()))
}

// key presses one in the caller's RTP.
func (s *scene) key(key string) {
	s.step("key " + key)
	s.caller.press(key)
}

// inform presses one in an INFO of the caller's.
func (s *scene) inform(serial uint64) {
	s.step(fmt.Sprintf("INFO %d", serial))
	s.caller.far.act(s.caller.d, s.caller.d.leg.Inform(s.caller.far.time(), sip.Key{From: "caller", Serial: serial, Sign: '0' + byte(serial)}))
}

// transfer asks for one by the API until a router says yes or that it is done.
func (s *scene) transfer(agent acd.AgentID, to acd.Target) {
	s.step("transferred")
	call := callIDOf(s.caller.d.id, s.caller.d.leg.LocalTag())
	done := false
	var try func()
	try = func() {
		if done {
			return
		}
		s.ask(s.edges[0], func(r *router, t *task) bool {
			c, ok := r.machine.Call(call)
			if !ok {
				return false
			}
			res, _, ok := r.propose(t, 4*time.Second, acd.CallTransferred{OnCall: acd.OnCall{Call: call, Epoch: c.Epoch}, Agent: agent, To: to})
			done = done || ok && (res.Applied || res.Reason == acd.ReasonNotTalking)
			return ok
		})
		s.later(time.Second, try)
	}
	try()
}

// refer lets a phone send REFER in its dialog and note how the transfer ends. The
// engine sends no REFER: it is made of the BYE that the phone would send.
func (s *scene) refer(d *dialog, to string) {
	s.step("REFER")
	record, err := d.leg.MarshalBinary()
	if err != nil {
		panic(err)
	}
	again := new(sip.Leg)
	if err := again.UnmarshalBinary(record); err != nil {
		panic(err)
	}
	p := again.Bye(d.far.time()).Send[0]
	p.Data = bytes.ReplaceAll(p.Data, []byte("BYE"), []byte("REFER"))
	p.Data = insertLine(p.Data, "Refer-To: <sip:"+to+"@"+clusterHost+">")
	p.Data = insertLine(p.Data, "Contact: <sip:"+d.far.name+"@"+d.far.addr+";transport=tcp>")
	last := map[string]bool{}
	d.far.notified = func(n *sip.Request) {
		if strings.HasPrefix(n.Get("Subscription-State"), "terminated") && !last[n.Get("CSeq")] {
			last[n.Get("CSeq")] = true
			s.pressed += strings.TrimSpace(string(n.Body()))
		}
	}
	d.far.send(p)
}

// task creates an outbound task that is due at 3 s.
func (s *scene) task() {
	s.after(3*time.Second, func() {
		s.insist(acd.TaskCreated{ID: "t1", Number: customerNumber(1), Queue: "q1", Due: acd.Time(epoch + int64(3*time.Second)), Attempts: 3, Retry: time.Second})
	})
}
