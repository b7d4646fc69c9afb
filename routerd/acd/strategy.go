package acd

import "cmp"

// LongestIdle offers a call to the agent whose last call ended, or who became
// available, the longest ago.
const LongestIdle = "longest-idle"

// RingAll offers a call to several agents at once, the longest idle first.
const RingAll = "ring-all"

// ranking says which of two idle agents is offered a call first: negative for
// a. The machine breaks ties by agent id.
type ranking func(a, b *AgentInfo) int

// strategyOf is the one place that knows the strategies. An agent's rank may
// only change while the agent is not idle in a queue, see agentReady.
func strategyOf(name string) (ranking, bool) {
	switch name {
	case "", LongestIdle, RingAll:
		return func(a, b *AgentInfo) int { return cmp.Compare(a.IdleSince, b.IdleSince) }, true
	}
	return nil, false
}
