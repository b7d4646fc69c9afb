package acdtest

import (
	"fmt"
	"time"

	"trunkline/routerd/acd"
)

// chains gives the simulation a chain with steps of every kind, a number that
// leads there, and a queue that falls back on it.
func chains(cfg *acd.Config) {
	cfg.Numbers = append(cfg.Numbers, acd.Number{Number: "+999", Chain: "vip", Card: []acd.Attr{{Key: "manager", Value: "bob"}}})
	cfg.Chains = []acd.Chain{
		{ID: "vip", Music: "music", Then: acd.Then{Chain: "last"}, Steps: []acd.ChainStep{
			{Agent: "$manager", Ring: 10 * time.Second, Wait: 8 * time.Second}, {Number: "+7999", Ring: 15 * time.Second, Stop: []string{"declined"}},
			{Agent: "$nobody"}, {Agent: "dan"},
		}},
		{ID: "last", Steps: []acd.ChainStep{{Number: "$vip"}, {Agent: "cat", Wait: time.Second}}, Then: acd.Then{Queue: "support"}},
	}
	cfg.Queues[0].WhenFull = acd.Then{Chain: "last"}
	for i := range cfg.Agents {
		cfg.Agents[i].Dial = acd.Permit{Agents: true, Queues: []acd.QueueID{cfg.Queues[0].ID}, Numbers: []string{"+7"}}
		cfg.Agents[i].Transfer = cfg.Agents[i].Dial
	}
	for i := range cfg.Queues {
		cfg.Queues[i].Transfer = acd.Permit{Agents: true, Queues: []acd.QueueID{cfg.Queues[i].ID}, Numbers: []string{"+71"}}
	}
}

// dialled is a number that a caller dials: a queue's mostly, else the chain's.
func (f *FarEnd) dialled() string {
	i := f.dice.Int(len(simQueues)+1, "to")
	if i == len(simQueues) {
		return "+999"
	}
	return fmt.Sprintf("+%d0%d", 1+i, f.dice.Int(2, "number"))
}

// transfer: an agent who talks gives the call away.
func (f *FarEnd) transfer() error {
	switch f.dice.Int(3, "by phone") {
	case 0:
		return f.agentDials(simAgents[f.dice.Int(len(simAgents), "who dials")])
	case 1:
		return f.join()
	}
	var talking []acd.Call
	for _, c := range f.M.Calls() {
		if c.State == acd.CallTalking && c.Agent != "" {
			talking = append(talking, c)
		}
	}
	if len(talking) == 0 {
		return f.next()
	}
	c := talking[f.dice.Int(len(talking), "call")]
	if f.dice.Int(2, "by REFER") == 0 {
		to := []string{"ann", "bob", "cat", "dan", "support", "+999", "+7111", "nobody"}[f.dice.Int(8, "refer to")]
		leg := c.AgentLeg
		if c.Dialler != "" && f.dice.Int(2, "dialler asks") == 0 {
			leg = c.Caller
		}
		return f.propose("refer", acd.CallReferred{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch}, Leg: leg, To: to, Reason: "bill"})
	}
	to := acd.Target{}
	switch f.dice.Int(4, "target") {
	case 0:
		to.Queue = simQueues[f.dice.Int(len(simQueues), "queue")]
	case 1:
		to.Agent = simAgents[f.dice.Int(len(simAgents), "agent")]
	case 2:
		to.Chain = []acd.ChainID{"vip", "last"}[f.dice.Int(2, "chain")]
	default:
		to.Number = "+7111"
	}
	return f.propose("transfer", acd.CallTransferred{OnCall: acd.OnCall{Call: c.ID, Epoch: c.Epoch}, Agent: c.Agent, To: to, Reason: "bill"})
}
