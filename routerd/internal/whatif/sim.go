package whatif

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"trunkline/routerd/acd"
)

// What is not observed and too short to matter.
const (
	hangupTakes = 50 * time.Millisecond // from an order to the report of the leg's end
	ringsAfter  = 100 * time.Millisecond
	dialledIn   = 8 * time.Second // a number we call answers
	promptLasts = 5 * time.Second // a greeting that was never heard before
	usualTalk   = 3 * time.Minute // if no call of the day was served
)

// simulation is one run of a day.
type simulation struct {
	day   *Day
	o     Options
	m     *acd.Machine
	tally *tally

	index, seq uint64
	now        acd.Time
	events     events
	order      uint64 // of events at one moment
	cursor     uint64 // facts up to this index are counted

	owner  acd.Owner
	calls  map[acd.CallID]*caller
	record func(index uint64, stamp acd.Time, cmd acd.Command) // of tests: the log as it grows
}

// caller is a call's other side.
type caller struct {
	*Arrival
	seed     uint64
	patience time.Duration
	talk     time.Duration
	wrapUp   time.Duration
	talking  bool
}

// event is something that happens at a moment.
type event struct {
	at    acd.Time
	order uint64
	do    func() error
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

// Simulate runs the day with the configuration that was in force, changes and
// all, or with another one from the beginning to the end.
func (d *Day) Simulate(other *acd.Config, o Options) (*Report, error) {
	cfg := d.Config
	if other != nil {
		cfg = *other
	}
	s := &simulation{day: d, o: o, m: acd.New(), tally: newTally(o, cfg, d.From), calls: map[acd.CallID]*caller{}}
	if err := s.begin(cfg); err != nil {
		return nil, err
	}
	s.schedule(other == nil)
	if err := s.run(); err != nil {
		return nil, err
	}
	s.count(true)
	return s.tally.report(d.To), nil
}

// begin starts a router and a media worker that don't fail.
func (s *simulation) begin(cfg acd.Config) error {
	s.now = s.day.From - acd.Time(time.Second)
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("whatif: the configuration has faults: %w", err)
	}
	if err := s.apply(acd.ConfigApplied{Config: cfg}); err != nil {
		return err
	}
	if err := s.apply(acd.NodeStarted{Node: "sim", SIP: "sim:5060", Peer: "sim:8443"}); err != nil {
		return err
	}
	s.owner = acd.Owner{Node: "sim", Incarnation: s.index}
	return s.apply(acd.WorkerStarted{Worker: "sim", Incarnation: 1, Control: "sim:1", Replication: "sim:2", Addresses: []string{address}})
}

// address is the worker's media address.
const address = "192.0.2.1"

func (s *simulation) schedule(changes bool) {
	if changes {
		for _, c := range s.day.Changes {
			s.at(c.At, func() error {
				s.tally.config(c.Config)
				return s.apply(acd.ConfigApplied{Config: c.Config})
			})
		}
	}
	for i, p := range s.day.Presence {
		c, expires := p.Contact, 240*time.Hour
		c.CSeq = uint32(i + 1)
		if c.SIPID == "" {
			c.SIPID = string(p.Agent)
		}
		if p.Gone {
			expires = 0
		}
		s.at(p.At, func() error { return s.apply(acd.RegistrationChanged{Agent: p.Agent, Contact: c, Expires: expires}) })
	}
	for _, list := range [][]Wish{s.day.Wishes, s.day.Tasks} {
		for _, w := range list {
			s.at(w.At, func() error { return s.apply(w.Body) })
		}
	}
	world := s.day.callers(s.o.Seed)
	for i, c := range world {
		id := acd.CallID("w" + strconv.Itoa(i))
		s.calls[id] = c
		s.at(c.At, func() error { return s.arrive(id, c) })
	}
}

func (s *simulation) at(t acd.Time, do func() error) {
	s.order++
	heap.Push(&s.events, event{t, s.order, do})
}

func (s *simulation) after(d time.Duration, do func() error) { s.at(s.now.Add(d), do) }

// run lets one thing after the other happen, the machine's timers included.
func (s *simulation) run() error {
	for {
		deadline, armed := s.m.NextDeadline()
		switch {
		case len(s.events) > 0 && (!armed || s.events[0].at <= deadline):
			e := heap.Pop(&s.events).(event)
			if e.at >= s.day.To {
				return nil
			}
			s.now = max(s.now, e.at)
			if err := e.do(); err != nil {
				return err
			}
		case armed && deadline < s.day.To:
			s.now = max(s.now, deadline)
			if err := s.apply(acd.Ticked{}); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// apply gives the machine a command and plays the far ends of its orders.
func (s *simulation) apply(body acd.Body) error {
	s.index++
	s.seq++
	cmd := acd.Command{Stamp: s.now, Session: "whatif", Seq: s.seq, Floor: s.seq, Body: body}
	if s.record != nil {
		s.record(s.index, s.now, cmd)
	}
	_, effects := s.m.Apply(s.index, cmd)
	s.now = max(s.now, s.m.Now())
	rung := map[acd.CallID]bool{}
	for _, e := range effects {
		s.carryOut(e, rung)
	}
	s.count(false)
	return nil
}

// count adds the machine's new facts to the tally.
func (s *simulation) count(all bool) {
	if !all && s.index-s.cursor < batch {
		return
	}
	for _, f := range s.m.FactsAfter(s.cursor, 0) {
		if c := s.calls[f.Call]; c == nil || !c.Before {
			s.tally.fact(f)
		}
	}
	s.cursor = s.index
}

func (s *simulation) arrive(id acd.CallID, c *caller) error {
	if c.Left > 0 {
		s.after(c.Left, func() error { return s.leave(id) })
	}
	for _, said := range c.Said {
		if said.Digits == "" {
			s.after(said.After, func() error { return s.say(id, said) })
		} else {
			s.whileWaiting(id, c, said.After, func() error { return s.say(id, said) })
		}
	}
	if c.patience != forever {
		s.whileWaiting(id, c, c.patience, func() error { return s.leave(id) })
	}
	return s.apply(acd.CallArrived{
		OnCall: acd.OnCall{Call: id}, Owner: s.owner, Trunk: c.Trunk, Edge: c.Edge, From: c.From, To: c.To, SIPID: string(id),
	})
}

// whileWaiting does something once the call has been in line for d, and never
// if it is not in line so long.
func (s *simulation) whileWaiting(id acd.CallID, c *caller, d time.Duration, do func() error) {
	var check func() error
	check = func() error {
		call, ok := s.m.Call(id)
		switch {
		case !ok || call.Bridged != 0 || call.Ended != 0 || c.talking:
			return nil
		case call.Enqueued == 0:
			s.after(min(max(d/2, 10*time.Millisecond), time.Second), check) // soon enough not to be late
		case call.Enqueued.Add(d) > s.now:
			s.at(call.Enqueued.Add(d), check)
		default:
			return do()
		}
		return nil
	}
	s.after(d, check)
}

// on heads a command about an open call.
func (s *simulation) on(id acd.CallID) (acd.OnCall, bool) {
	_, epoch, ok := s.m.OwnerOf(id)
	return acd.OnCall{Call: id, Epoch: epoch}, ok
}

// leave is the caller's BYE, whatever the call is at.
func (s *simulation) leave(id acd.CallID) error {
	call, ok := s.m.Call(id)
	if !ok || call.Caller == "" {
		return nil
	}
	return s.apply(acd.LegEnded{OnCall: acd.OnCall{Call: id, Epoch: call.Epoch}, Leg: call.Caller, Cause: "bye"})
}

func (s *simulation) say(id acd.CallID, said Said) error {
	on, ok := s.on(id)
	if !ok {
		return nil
	}
	if said.Digits != "" {
		return s.apply(acd.DigitsCollected{OnCall: on, Leg: acd.CallerLeg, Digits: said.Digits})
	}
	return s.apply(acd.CallTagged{OnCall: on, Card: said.Card})
}

// callers draws what was not observed of each call. A call's draws depend on
// the seed and on its place in the day alone, so that they are the same whatever
// the configuration.
func (d *Day) callers(seed uint64) []*caller {
	waits, talks := map[string][]Arrival{}, map[string][]Arrival{}
	for _, a := range d.Arrivals {
		if a.Waited > 0 || a.Talk > 0 {
			for _, number := range []string{a.To, ""} { // "" stands for all
				waits[number] = append(waits[number], a)
			}
		}
		if a.Talk > 0 {
			for _, number := range []string{a.To, ""} {
				talks[number] = append(talks[number], a)
			}
		}
	}
	curves := map[string]survival{}
	for number, list := range waits {
		curves[number] = estimate(list)
	}
	out := make([]*caller, len(d.Arrivals))
	for i := range d.Arrivals {
		a := &d.Arrivals[i]
		c := &caller{Arrival: a, seed: seed ^ uint64(i)*0x9e3779b97f4a7c15}
		dice := rand.New(rand.NewPCG(c.seed, 1))
		u, pick := dice.Float64(), dice.Float64()
		curve, known := curves[a.To]
		if !known || len(curve.at) == 0 {
			curve = curves[""]
		}
		c.patience, c.talk, c.wrapUp = a.Waited, a.Talk, a.WrapUp
		if !a.GaveUp {
			c.patience = curve.draw(a.Waited, u)
		}
		if a.Talk == 0 {
			list := talks[a.To]
			if len(list) == 0 {
				list = talks[""]
			}
			c.talk = usualTalk
			if len(list) > 0 {
				like := list[int(pick*float64(len(list)))]
				c.talk, c.wrapUp = like.Talk, like.WrapUp
			}
		}
		out[i] = c
	}
	return out
}

// outcomeOf draws what an agent does with an offer of a call.
func (s *simulation) outcomeOf(agent acd.AgentID, c *caller, id acd.CallID) Outcome {
	list := s.day.Offers[agent]
	if len(list) == 0 {
		list = s.day.everybody()
	}
	if len(list) == 0 {
		return Outcome{After: 3 * time.Second, Code: 200}
	}
	h := fnv.New64a()
	h.Write([]byte(agent))
	n := uint64(0)
	if call, ok := s.m.Call(id); ok {
		n = uint64(call.Offers)
	}
	seed := s.o.Seed
	if c != nil {
		seed = c.seed
	}
	return list[rand.New(rand.NewPCG(seed^h.Sum64(), n)).IntN(len(list))]
}
