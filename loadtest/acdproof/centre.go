package main

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
)

// centre drives a machine from outside, as a router does: it knows of it what
// the results and orders say.
type centre struct {
	m     *acd.Machine
	index uint64
	seq   uint64
	clock acd.Time
	owner acd.Owner

	epochs map[acd.CallID]uint64
	rung   map[acd.CallID]acd.RingAgent // the offer that rings
	talks  map[acd.AgentID]acd.CallID   // who talks, or is rung
	log    []acd.Command                // of record
	record bool
}

// proposals is how many of a router's proposals wait for their answers.
const proposals = 64

func (c *centre) apply(body acd.Body) (acd.Result, []acd.Effect) {
	c.index++
	c.seq++
	c.clock = c.clock.Add(time.Millisecond)
	cmd := acd.Command{Stamp: c.clock, Session: "acdproof", Seq: c.seq, Floor: c.seq - min(c.seq, proposals), Body: body}
	if c.record {
		c.log = append(c.log, cmd)
	}
	r, effects := c.m.Apply(c.index, cmd)
	for _, e := range effects {
		if ring, ok := e.Order.(acd.RingAgent); ok {
			c.rung[e.Call] = ring
			c.talks[ring.Agent] = e.Call
		}
	}
	return r, effects
}

func (c *centre) must(body acd.Body) []acd.Effect {
	r, effects := c.apply(body)
	if !r.Applied {
		panic(fmt.Sprintf("acdproof: index %d: %T: %s", c.index, body, r.Reason))
	}
	return effects
}

// newCentre is a machine with a router, workers, and agents whose phones are
// registered but who are not available yet.
func newCentre(queues []acd.Queue, agents []acd.Agent) *centre {
	c := &centre{
		m: acd.New(), clock: 1e18, epochs: make(map[acd.CallID]uint64),
		rung: make(map[acd.CallID]acd.RingAgent), talks: make(map[acd.AgentID]acd.CallID),
	}
	cfg := acd.Config{Trunks: []acd.Trunk{{ID: "sbc-a"}}, Skills: []acd.SkillID{"billing", "german"}, Queues: queues, Agents: agents}
	for i, q := range queues {
		cfg.Numbers = append(cfg.Numbers, acd.Number{Number: number(i), Greeting: "hello", Queue: q.ID})
	}
	c.must(acd.ConfigApplied{Config: cfg})
	r, _ := c.apply(acd.NodeStarted{Node: "r1"})
	c.owner = acd.Owner{Node: "r1", Incarnation: r.Incarnation}
	for i := range 3 {
		id := fmt.Sprint("m", i)
		c.must(acd.WorkerStarted{Worker: acd.WorkerID(id), Incarnation: 1, Addresses: []string{id}})
	}
	for _, a := range agents {
		c.must(acd.RegistrationChanged{Agent: a.ID, Contact: acd.Contact{URI: "sip:" + string(a.ID), SIPID: "r"}, Expires: 10_000 * time.Hour})
	}
	return c
}

func number(queue int) string { return fmt.Sprintf("+%d", 1000+queue) }

func (c *centre) available(a acd.AgentID) []acd.Effect {
	return c.must(acd.AgentStatusSet{Agent: a, Status: acd.Available})
}

func (c *centre) on(id acd.CallID) acd.OnCall { return acd.OnCall{Call: id, Epoch: c.epochs[id]} }

var media = acd.Media{Address: "m0", Codec: "PCMA", Suite: "AEAD_AES_128_GCM"}

// record1500 is about what the SIP engine stores of a dialog.
var record1500 = make([]byte, 1500)

// arrive brings a call to its greeting: 2 commands.
func (c *centre) arrive(id acd.CallID, queue int) {
	r, _ := c.apply(acd.CallArrived{
		OnCall: acd.OnCall{Call: id, Records: []acd.LegRecord{{Leg: acd.CallerLeg, Record: record1500}}}, Owner: c.owner,
		Trunk: "sbc-a", Edge: "edge-1", From: "+79001234567", To: number(queue), SIPID: string(id),
	})
	c.epochs[id] = r.Epoch
	c.must(acd.LegAnswered{OnCall: c.on(id), Leg: acd.CallerLeg, Media: media})
}

// queued ends the greeting, which puts the call in its queue: 1 command.
func (c *centre) queued(id acd.CallID) []acd.Effect {
	return c.must(acd.PromptStarted{OnCall: c.on(id), Leg: acd.CallerLeg, Prompt: "hello", Failed: true})
}

func (c *centre) music(id acd.CallID) {
	c.must(acd.PromptStarted{OnCall: c.on(id), Leg: acd.CallerLeg, Prompt: "music"})
}

// talk answers the call's offer: 3 commands.
func (c *centre) talk(id acd.CallID) {
	leg := c.rung[id].Leg
	c.must(acd.LegProgressed{OnCall: c.on(id), Leg: leg, Code: 180})
	c.must(acd.LegAnswered{OnCall: c.on(id), Leg: leg, Media: media})
	c.must(acd.LegUpdated{OnCall: acd.OnCall{Call: id, Epoch: c.epochs[id], Records: []acd.LegRecord{{Leg: leg, Record: record1500}}}})
}

// end lets the caller of a conversation hang up; the agent's leg is not over
// yet: 1 command.
func (c *centre) end(id acd.CallID) {
	c.must(acd.LegEnded{OnCall: c.on(id), Leg: acd.CallerLeg, Cause: "bye"})
}

// free ends the agent's leg, and so frees the agent: 1 command.
func (c *centre) free(id acd.CallID) []acd.Effect {
	leg := c.rung[id].Leg
	effects := c.must(acd.LegEnded{OnCall: c.on(id), Leg: leg, Cause: "hangup"})
	delete(c.rung, id)
	delete(c.epochs, id)
	return effects
}

// busyCentre is the state of the requirements: agents talking, the other calls
// waiting, each agent in one queue.
func busyCentre(s size) (*centre, []acd.CallID) {
	var queues []acd.Queue
	for i := range s.queues {
		queues = append(queues, acd.Queue{ID: acd.QueueID(fmt.Sprint("q", i)), Music: "music", MaxWait: 24 * time.Hour})
	}
	var agents []acd.Agent
	for i := range s.agents {
		agents = append(agents, acd.Agent{ID: agentID(i), Queues: []acd.QueueID{queues[i%s.queues].ID}})
	}
	c := newCentre(queues, agents)
	for _, a := range agents {
		c.available(a.ID)
	}
	var talking []acd.CallID
	for i := range s.calls {
		id := acd.CallID(fmt.Sprintf("call-%08d", i))
		c.arrive(id, i%s.queues)
		c.queued(id)
		c.music(id)
		if i < s.agents {
			c.talk(id)
			talking = append(talking, id)
		}
	}
	return c, talking
}

func agentID(i int) acd.AgentID { return acd.AgentID(fmt.Sprintf("agent-%05d", i)) }

// converse is one whole conversation's worth of commands, 9 of them, which
// leaves the centre as it was: one caller hangs up, the agent is offered who
// waits longest and answers, a new call arrives. It returns the new one's
// conversation.
func (c *centre) converse(n, queues int, done acd.CallID) acd.CallID {
	c.end(done)
	agent := c.rung[done].Agent
	c.free(done)
	next := c.talks[agent]
	c.talk(next)
	id := acd.CallID(fmt.Sprintf("new-%09d", n))
	c.arrive(id, n%queues)
	c.queued(id)
	c.music(id)
	return next
}
