package acdtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"trunkline/routerd/acd"
)

// Dice is where a simulation gets its choices from.
type Dice interface {
	// Int returns a number from 0 to n-1.
	Int(n int, what string) int
}

// FarEnd plays routers, workers, callers and phones for a machine: it answers
// the machine's orders after a while, loses some answers, dies and comes back.
// Whatever it does, the machine's promises must hold.
type FarEnd struct {
	*Driver
	// Light compares what is offered after every command and checks the rest
	// now and then.
	Light bool
	// Crossing compares no offers: things begin and end within one command, which
	// the twin does not see.
	Crossing bool
	// Quiet stops new calls, deaths and losses: what is open must come to its end.
	Quiet bool

	dice    Dice
	rate    int           // of 40 steps, how many bring a new call
	talk    time.Duration // the longest conversation
	queue   []event       // not yet reported, by time
	arrived int
	lives   map[acd.WorkerID]uint64
	rang    map[acd.EffectID]bool
	ended   map[acd.CallID]int // CDRs by call
	seen    uint64             // facts up to this index are counted
	tickets map[acd.CallID]uint64
	newest  uint64                  // ticket
	told    map[acd.CallID]acd.Call // what waiting callers were told
	plain   *Twin
	lies    map[lie]bool // hashes that were reported wrong
}

// event is a command that is on its way, built when it is due.
type event struct {
	at   acd.Time
	name string
	body func() (acd.Body, bool)
}

// NewFarEnd starts the nodes, workers and phones of a random world.
func NewFarEnd(dice Dice) (*FarEnd, error) { return newFarEnd(dice, false) }

// newFarEnd: a light one drives a single machine.
func newFarEnd(dice Dice, light bool) (*FarEnd, error) {
	f := &FarEnd{
		Driver: NewDriver(), dice: dice, lives: make(map[acd.WorkerID]uint64), rang: make(map[acd.EffectID]bool),
		ended: make(map[acd.CallID]int), tickets: make(map[acd.CallID]uint64), told: make(map[acd.CallID]acd.Call), plain: NewTwin(),
		lies: make(map[lie]bool),
	}
	f.Light, f.Alone = light, light
	// Sometimes agents wait for calls, sometimes calls for agents.
	f.rate = []int{1, 3, 6}[dice.Int(3, "rate")]
	f.talk = []time.Duration{4 * time.Second, 20 * time.Second, time.Minute}[dice.Int(3, "talk")]
	if err := f.propose("config", acd.ConfigApplied{Config: world(dice)}); err != nil {
		return nil, err
	}
	for _, n := range simNodes {
		if err := f.propose("start", acd.NodeStarted{Node: n}); err != nil {
			return nil, err
		}
	}
	for _, w := range simWorkers {
		if err := f.startWorker(w); err != nil {
			return nil, err
		}
	}
	for _, a := range simAgents {
		if err := f.register(a); err != nil {
			return nil, err
		}
	}
	return f, f.propose("status", acd.AgentStatusSet{Agent: simAgents[0], Status: acd.Available})
}

func (f *FarEnd) startWorker(w acd.WorkerID) error {
	f.lives[w]++
	return f.propose("worker", workerStarted(string(w), int(f.lives[w])))
}

// register brings one of an agent's two phones back.
func (f *FarEnd) register(a acd.AgentID) error {
	phone := []string{"phone", "desk"}[f.dice.Int(2, "phone")]
	return f.propose("register", registration(string(a), phone, uint32(f.M.Index()), time.Duration(20+f.dice.Int(3000, "expires"))*time.Second))
}

// Step lets one thing happen: something new, or the next thing on its way.
func (f *FarEnd) Step() error {
	if !f.Quiet {
		switch what := f.dice.Int(40, "what"); {
		case what < f.rate:
			return f.arrive()
		case what >= 6 && what < 10:
			return f.disturb(what)
		case what == 10 || what >= 37:
			return f.agentActs()
		case what == 11:
			return f.callerActs()
		case what == 12:
			return f.administer()
		case what == 13:
			return f.transfer()
		case what == 14:
			return f.pickUp(simAgents[f.dice.Int(len(simAgents), "who picks up")])
		}
	}
	return f.next()
}

// next lets time pass to whatever comes first: a report or a deadline.
func (f *FarEnd) next() error {
	deadline, armed := f.M.NextDeadline()
	if len(f.queue) == 0 || armed && deadline < f.queue[0].at {
		if !armed {
			f.Clock = f.Clock.Add(time.Second)
		} else {
			f.Clock = max(f.Clock, deadline)
		}
		return f.propose("tick", acd.Ticked{})
	}
	e := f.queue[0]
	f.queue = f.queue[1:]
	f.Clock = max(f.Clock, e.at)
	body, ok := e.body()
	if !ok {
		return nil
	}
	return f.propose(e.name, body)
}

// later puts a command about a call on its way. It bears the epoch that its
// sender knew, which may be old by then.
func (f *FarEnd) later(e acd.Effect, atMost time.Duration, name string, body func(acd.OnCall) acd.Body) {
	if !f.Quiet && f.dice.Int(25, "lost") == 0 {
		return
	}
	at := f.Clock.Add(time.Duration(f.dice.Int(int(atMost/time.Millisecond), "delay")) * time.Millisecond)
	on := acd.OnCall{Call: e.Call, Epoch: e.Epoch, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: []byte(name)}}}
	f.push(event{at: at, name: name, body: func() (acd.Body, bool) {
		if !f.alive(e.Owner) {
			return nil, false // it died with its node
		}
		return body(on), true
	}})
}

func (f *FarEnd) push(e event) {
	i, _ := slices.BinarySearchFunc(f.queue, e.at+1, func(x event, at acd.Time) int { return cmp.Compare(x.at, at) })
	f.queue = slices.Insert(f.queue, i, e)
}

func (f *FarEnd) alive(o acd.Owner) bool {
	return slices.ContainsFunc(f.M.Nodes(), func(n acd.Node) bool {
		return n.ID == o.Node && n.Alive && n.Incarnation == o.Incarnation
	})
}

func (f *FarEnd) liveNode() (acd.Owner, bool) {
	var live []acd.Owner
	for _, n := range f.M.Nodes() {
		if n.Alive {
			live = append(live, acd.Owner{Node: n.ID, Incarnation: n.Incarnation})
		}
	}
	if len(live) == 0 {
		return acd.Owner{}, false
	}
	return live[f.dice.Int(len(live), "node")], true
}

func (f *FarEnd) arrive() error {
	owner, ok := f.liveNode()
	if !ok {
		return f.next()
	}
	f.arrived++
	return f.propose("arrive", acd.CallArrived{
		OnCall: acd.OnCall{Call: acd.CallID(fmt.Sprintf("c%d", f.arrived))}, Owner: owner,
		Trunk: []acd.TrunkID{"sbc-a", "sbc-b"}[f.dice.Int(2, "trunk")], From: f.number(), To: f.dialled(),
	})
}

// disturb kills or starts nodes and workers, claims calls and repeats
// proposals.
func (f *FarEnd) disturb(what int) error {
	switch what {
	case 6:
		n := f.M.Nodes()[f.dice.Int(len(simNodes), "node")]
		if !n.Alive || f.dice.Int(3, "restart") == 0 {
			return f.propose("start", acd.NodeStarted{Node: n.ID})
		}
		return f.propose("die", acd.NodeDied{Owner: acd.Owner{Node: n.ID, Incarnation: n.Incarnation}})
	case 7:
		w := f.M.Workers()[f.dice.Int(len(simWorkers), "worker")]
		if !w.Alive || f.dice.Int(3, "restart") == 0 {
			return f.startWorker(w.ID)
		}
		return f.propose("worker-die", acd.WorkerDied{Worker: w.ID, Incarnation: w.Incarnation})
	case 8:
		calls := f.M.Calls()
		owner, ok := f.liveNode()
		if len(calls) == 0 || !ok {
			return f.next()
		}
		c := calls[f.dice.Int(len(calls), "call")]
		return f.propose("claim", acd.CallClaimed{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch - uint64(f.dice.Int(2, "old"))}, Owner: owner})
	}
	hash, repeated := f.M.Now(), f.last
	result, effects, err := f.ProposeAs(repeated)
	if err != nil {
		return err
	}
	if err := f.carryOut(effects); err != nil {
		return err
	}
	if f.M.Now() <= hash {
		return fmt.Errorf("index %d: time stood still: %+v", f.index, result)
	}
	return f.check("repeat")
}

// agentActs changes a status or a registration.
func (f *FarEnd) agentActs() error {
	a := simAgents[f.dice.Int(len(simAgents), "agent")]
	switch f.dice.Int(10, "act") {
	case 0, 1:
		return f.register(a)
	case 2:
		phone := []string{"phone", "desk"}[f.dice.Int(2, "phone")]
		return f.propose("unregister", registration(string(a), phone, uint32(f.M.Index()), 0))
	case 3:
		return f.propose("wrap-up", acd.WrapUpSet{Agent: a, Remaining: time.Duration(f.dice.Int(30, "remaining")) * time.Second})
	case 7, 8:
		return f.supervise(a)
	case 9:
		return f.propose("help", acd.HelpAsked{Agent: a, On: f.dice.Int(3, "help") > 0, Reason: "help"})
	}
	status := []acd.AgentStatus{acd.Available, acd.Available, acd.Available, acd.Available, acd.OnBreak, acd.LoggedOut}[f.dice.Int(6, "status")]
	return f.propose("status", acd.AgentStatusSet{Agent: a, Status: status})
}

// carryOut answers orders as their owners would.
func (f *FarEnd) carryOut(effects []acd.Effect) error {
	for _, e := range effects {
		if e.ID.Index != f.index {
			return fmt.Errorf("effect %+v of index %d", e.ID, f.index)
		}
		if e.Owner != (acd.Owner{}) && !f.alive(e.Owner) {
			continue
		}
		switch o := e.Order.(type) {
		case acd.Resync:
			if err := f.resync(o); err != nil {
				return err
			}
		case acd.AnswerCall:
			f.answerCall(e, o)
		case acd.PlayPrompt:
			d := time.Duration(f.dice.Int(9, "lasts")) * time.Second
			f.later(e, 50*time.Millisecond, "prompt", func(on acd.OnCall) acd.Body {
				return acd.PromptStarted{OnCall: on, Leg: o.Leg, Prompt: o.Prompt, Duration: d}
			})
		case acd.Announce:
			f.later(e, 50*time.Millisecond, "announcement", func(on acd.OnCall) acd.Body {
				return acd.PromptStarted{OnCall: on, Leg: o.Leg, Prompt: o.Name, Duration: time.Second}
			})
		case acd.Dial:
			f.dial(e, o)
		case acd.RingAgent:
			if f.rang[e.ID] {
				return fmt.Errorf("effect %+v rings twice", e.ID)
			}
			f.rang[e.ID] = true
			f.ringAgent(e, o)
		case acd.CancelRing:
			f.cancelRing(e, o)
		case acd.Hangup:
			f.later(e, time.Second, "hung-up", func(on acd.OnCall) acd.Body {
				return acd.LegEnded{OnCall: on, Leg: o.Leg, Cause: "hangup"}
			})
		case acd.Bridge:
			leg := []acd.LegID{o.A, o.B}[f.dice.Int(2, "who hangs up")]
			f.later(e, f.talk, "bye", func(on acd.OnCall) acd.Body { return acd.LegEnded{OnCall: on, Leg: leg, Cause: "bye"} })
		}
	}
	return nil
}

func (f *FarEnd) answerCall(e acd.Effect, o acd.AnswerCall) {
	f.later(e, 200*time.Millisecond, "answered", func(on acd.OnCall) acd.Body {
		for _, w := range f.M.Workers() {
			if w.Alive && w.Home != "" && f.dice.Int(2, "worker") == 0 {
				return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: w.Home}}
			}
		}
		if f.dice.Int(4, "no media") == 0 {
			return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: 488}
		}
		return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: "m1.1"}}
	})
	if f.dice.Int(3, "gives up") == 0 { // the caller hangs up whenever
		f.later(e, 3*time.Minute, "caller-bye", func(on acd.OnCall) acd.Body {
			return acd.LegEnded{OnCall: on, Leg: o.Leg, Cause: "bye"}
		})
	}
}

func (f *FarEnd) ringAgent(e acd.Effect, o acd.RingAgent) {
	f.later(e, 100*time.Millisecond, "ringing", func(on acd.OnCall) acd.Body { return acd.LegProgressed{OnCall: on, Leg: o.Leg, Code: 180} })
	switch f.dice.Int(5, "phone") {
	case 0: // nobody is there
	case 1:
		f.later(e, 20*time.Second, "declined", func(on acd.OnCall) acd.Body {
			return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: []int{486, 603, 480}[f.dice.Int(3, "code")]}
		})
	default:
		f.later(e, 20*time.Second, "picked-up", func(on acd.OnCall) acd.Body {
			address := "m1.1"
			if c, ok := f.M.Call(on.Call); ok && len(c.Media) > 0 {
				address = c.Media[0]
			}
			return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: address}}
		})
	}
}

// cancelRing: the CANCEL wins or crosses the answer.
func (f *FarEnd) cancelRing(e acd.Effect, o acd.CancelRing) {
	if f.dice.Int(4, "crosses") == 0 {
		f.later(e, 300*time.Millisecond, "crossed", func(on acd.OnCall) acd.Body {
			return acd.LegAnswered{OnCall: on, Leg: o.Leg, Media: acd.Media{Address: "m1.1"}, Unheard: f.dice.Int(2, "unheard") == 0}
		})
		return
	}
	f.later(e, 300*time.Millisecond, "cancelled", func(on acd.OnCall) acd.Body {
		return acd.LegFailed{OnCall: on, Leg: o.Leg, Code: 487}
	})
}

// propose applies a command, answers what it orders and checks everything.
func (f *FarEnd) propose(name string, body acd.Body) error {
	_, effects, err := f.Propose(body)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := f.carryOut(effects); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.check(name)
}

func (f *FarEnd) check(name string) error {
	if f.Crossing {
		if err := Check(f.M); err != nil {
			return fmt.Errorf("index %d after %s: %w", f.index, name, err)
		}
		return nil
	}
	if f.Light && f.index%64 != 0 {
		if err := f.plain.Observe(f.M); err != nil {
			return fmt.Errorf("index %d after %s: %w", f.index, name, err)
		}
		return nil
	}
	if err := Check(f.M); err != nil {
		return fmt.Errorf("index %d after %s: %w", f.index, name, err)
	}
	if err := f.Compare(); err != nil {
		return fmt.Errorf("after %s: %w", name, err)
	}
	if err := f.plain.Observe(f.M); err != nil {
		return fmt.Errorf("index %d after %s: %w", f.index, name, err)
	}
	if err := f.history(); err != nil {
		return fmt.Errorf("index %d after %s: %w", f.index, name, err)
	}
	return nil
}
