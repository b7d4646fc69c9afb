package acd

import (
	"slices"
	"strconv"
	"time"
)

// Kinds of facts: a closed set. Attributes are named in the comments; durations
// are seconds with three decimals. "call" means Fact.Call is set, and so on.
const (
	// FactCallArrived (call, node): trunk, edge, from, to, sip_call_id.
	FactCallArrived = "call.arrived"
	// FactCallRefused (call, node): reason, code, trunk, edge, from, to, sip_call_id.
	FactCallRefused = "call.refused"
	// FactCallAnswered (call, leg, node), the caller's 200: codec, suite, media.
	FactCallAnswered = "call.answered"
	// FactCallGreeted (call), the greeting plays or failed: prompt, duration, failed (only if so).
	FactCallGreeted = "call.greeted"
	// FactCallQueued (call, queue): ticket, waiting (calls in the queue with this one).
	FactCallQueued = "call.queued"
	// FactOfferMade (call, leg, agent, queue), the why-record: offer (1 for the
	// call's first), strategy, candidates (agent:idle seconds, best first, at
	// most 5), eligible (how many there were), excluded (reason:count), and in
	// queues of at most 16 agents excluded_agents (agent:reason).
	FactOfferMade = "offer.made"
	// FactOfferRenewed (call, leg, agent, queue): the offer goes on as a new leg
	// after a takeover: was (the old leg).
	FactOfferRenewed = "offer.renewed"
	// FactOfferRinging (call, leg, agent, queue): code.
	FactOfferRinging = "offer.ringing"
	// FactOfferAccepted (call, leg, agent, queue): rang, wait, codec, suite, media.
	FactOfferAccepted = "offer.accepted"
	// FactOfferRejected (call, leg, agent, queue): code, reason.
	FactOfferRejected = "offer.rejected"
	// FactOfferTimedOut (call, leg, agent, queue): rang, missed (in a row).
	FactOfferTimedOut = "offer.timed-out"
	// FactOfferCancelled (call, leg, agent, queue): cause.
	FactOfferCancelled = "offer.cancelled"
	// FactOfferCrossed (call, leg, agent): the agent answered a leg that was
	// being cancelled; it is hung up.
	FactOfferCrossed = "offer.crossed"
	// FactCallBridged (call, leg, agent, queue): wait.
	FactCallBridged = "call.bridged"
	// FactLegEnded (call, leg, agent for an agent's), one per leg, its CDR:
	// role, cause, code (if any), started, answered (machine times in ns, 0:
	// never), codec, suite, media.
	FactLegEnded = "leg.ended"
	// FactCallEnded (call, agent who served it, queue, node), one per call, its
	// CDR: outcome (served, abandoned, dropped), by (caller, agent, system),
	// cause, trunk, edge, from, to, sip_call_id, ticket, arrived, answered,
	// enqueued, bridged, ended (machine times in ns, 0: never), wait (in the
	// queue), talk, offers, codec, suite, media.
	FactCallEnded = "call.ended"
	// FactCallMoved (call, node: the new owner), a takeover: from, to
	// (node/incarnation), epoch, cause (node-died, node-restarted, claimed).
	FactCallMoved = "call.moved"
	// FactCallMediaMoved (call): address, from, to (workers).
	FactCallMediaMoved = "call.media-moved"
	// FactMediaHosted: address, worker, standby, epoch.
	FactMediaHosted = "media.hosted"
	// FactMediaReleased, nobody hosts the address now: address, worker.
	FactMediaReleased = "media.released"
	// FactAgentStatus (agent): status, was, reason.
	FactAgentStatus = "agent.status"
	// FactAgentState (agent, call if any): state, was.
	FactAgentState = "agent.state"
	// FactAgentRegistered (agent): uri, user_agent. Refreshes are not facts.
	FactAgentRegistered = "agent.registered"
	// FactAgentUnregistered (agent): uri, cause (removed, expired, replaced, deleted).
	FactAgentUnregistered = "agent.unregistered"
	// FactAgentDeleted (agent): the configuration no longer has the agent.
	FactAgentDeleted = "agent.deleted"
	// FactNodeStarted (node): incarnation, sip.
	FactNodeStarted = "node.started"
	// FactNodeDied (node): incarnation.
	FactNodeDied = "node.died"
	// FactWorkerStarted: worker, incarnation.
	FactWorkerStarted = "worker.started"
	// FactWorkerDied: worker, incarnation.
	FactWorkerDied = "worker.died"
	// FactConfigApplied: queues, agents (how many).
	FactConfigApplied = "config.applied"
)

// Fact is one row of the append-only history, unique by (Index, N).
type Fact struct {
	Index uint64  `cbor:"1,keyasint"`
	N     uint32  `cbor:"2,keyasint"`
	At    Time    `cbor:"3,keyasint"`
	Kind  string  `cbor:"4,keyasint"`
	Call  CallID  `cbor:"5,keyasint,omitempty"`
	Leg   LegID   `cbor:"6,keyasint,omitempty"`
	Agent AgentID `cbor:"7,keyasint,omitempty"`
	Queue QueueID `cbor:"8,keyasint,omitempty"`
	Node  NodeID  `cbor:"9,keyasint,omitempty"`
	Attrs []Attr  `cbor:"10,keyasint,omitempty"`
}

// Attr is one attribute of a fact. Empty values are left out.
type Attr struct {
	Key   string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// Facts are kept in chunks. Whole chunks are dropped from the old end, so what
// is retained depends on nothing but how many facts there were.
const (
	factChunk     = 1024
	maxFactChunks = 200
)

// factLog is the retained tail of the history.
type factLog struct {
	first  uint64   // how many facts were dropped; a multiple of factChunk
	chunks [][]Fact // all but the last are full
	sum    uint64   // chained over every fact since the beginning
}

func (l *factLog) append(f Fact) {
	if n := len(l.chunks); n == 0 || len(l.chunks[n-1]) == factChunk {
		l.chunks = append(l.chunks, make([]Fact, 0, factChunk))
	}
	last := len(l.chunks) - 1
	l.chunks[last] = append(l.chunks[last], f)
	l.sum = f.chain(l.sum)
	if len(l.chunks) > maxFactChunks {
		l.chunks = slices.Clone(l.chunks[1:])
		l.first += factChunk
	}
}

// fact completes f and appends it to the history.
func (m *Machine) fact(f Fact) {
	f.Index, f.N, f.At = m.index, m.factN, m.now
	m.factN++
	kept := f.Attrs[:0]
	for _, a := range f.Attrs {
		if a.Value != "" {
			kept = append(kept, a)
		}
	}
	f.Attrs = kept
	if len(kept) == 0 {
		f.Attrs = nil
	}
	m.facts.append(f)
}

// FactsAfter returns the retained facts of log indexes above index, oldest
// first: limit of them and then the rest of the last one's index, so that a
// reader's cursor can be an index. A limit of 0 means all.
func (m *Machine) FactsAfter(index uint64, limit int) []Fact {
	var out []Fact
	for _, chunk := range m.facts.chunks {
		if len(chunk) == 0 || chunk[len(chunk)-1].Index <= index {
			continue
		}
		from, _ := slices.BinarySearchFunc(chunk, index, func(f Fact, index uint64) int {
			if f.Index <= index {
				return -1
			}
			return 1
		})
		for _, f := range chunk[from:] {
			if limit > 0 && len(out) >= limit && f.Index != out[len(out)-1].Index {
				return out
			}
			out = append(out, f)
		}
	}
	return out
}

// FactsFrom returns the lowest index that FactsAfter can be asked for without
// missing facts: those of it and below may be dropped.
func (m *Machine) FactsFrom() uint64 {
	if m.facts.first == 0 || len(m.facts.chunks) == 0 {
		return 0
	}
	return m.facts.chunks[0][0].Index
}

func itoa(n int) string      { return strconv.Itoa(n) }
func utoa(n uint64) string   { return strconv.FormatUint(n, 10) }
func stamp(t Time) string    { return strconv.FormatInt(int64(t), 10) }
func (o Owner) text() string { return string(o.Node) + "/" + utoa(o.Incarnation) }

// seconds writes d as seconds with three decimals.
func seconds(d time.Duration) string {
	ms := max(d, 0).Milliseconds()
	b := make([]byte, 0, 16)
	b = strconv.AppendInt(b, ms/1000, 10)
	return string(append(b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10)))
}

// between is the time from one moment to a later one, 0 if either never came.
func between(from, to Time) time.Duration {
	if from == 0 || to < from {
		return 0
	}
	return to.Sub(from)
}

// Attr returns the value of an attribute, or "".
func (f Fact) Attr(key string) string {
	for _, a := range f.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}
