package acd

import (
	"encoding/binary"
	"errors"
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
	// FactCallQueued (call, queue): ticket, enqueued (machine time in ns at which
	// the ticket was given, if that was earlier), waiting (calls in the queue with
	// this one), kept_for (the agent spoken with last, for whom it is kept a while).
	FactCallQueued = "call.queued"
	// FactCallTagged (call): what was put on the call's card; what was removed is
	// not told.
	FactCallTagged = "call.tagged"
	// FactCallDiverted (call, queue), a call did not get into the queue or left
	// it unanswered by one of its rules: cause (closed, join-empty, queue-full,
	// not-admitted, max-wait, leave-empty, exit-key), to (queue:ID,
	// prompt:NAME, callback, end), ticket, wait (in this queue).
	FactCallDiverted = "call.diverted"
	// FactCallWidened (call, queue), more agents may take the waiting call: ring
	// (how many were reached), tier (the last that is reached, if there are
	// several), kept_for (the agent others still make room for).
	FactCallWidened = "call.widened"
	// FactCallMerged (call: a callback or due task, queue), its customer called:
	// into (the customer's call), ticket (if that takes it).
	FactCallMerged = "call.merged"
	// FactCallbackOffered (call, queue), the first time: p50 (of the wait left).
	FactCallbackOffered = "callback.offered"
	// FactCallbackPromised (call, queue), the call goes on without its customer:
	// number, ticket, wait (since the ticket was given).
	FactCallbackPromised = "callback.promised"
	// FactCustomerDialled (call, leg, agent who is reserved, queue): number,
	// attempt, was (the leg it goes on for, after a takeover).
	FactCustomerDialled = "customer.dialled"
	// FactCustomerAnswered (call, leg, queue, node): attempt, codec, suite, media.
	FactCustomerAnswered = "customer.answered"
	// FactCustomerMissed (call, queue): cause (busy, declined, no-answer,
	// unavailable; no-channel: it was not dialled and that is no attempt), attempt.
	FactCustomerMissed = "customer.missed"
	// FactTaskCreated (queue): task, number, due, expire (machine times in ns),
	// priority.
	FactTaskCreated = "task.created"
	// FactTaskDue (call, queue, node: the call's owner), the task waits in its
	// queue from now on: task.
	FactTaskDue = "task.due"
	// FactTaskOver (call that ended it, if one did; queue): task, outcome
	// (connected, called-in, cancelled, unreached, expired, no-queue, abandoned:
	// the customer did not wait for the agent, dropped), attempts, reason (of who
	// cancelled it).
	FactTaskOver = "task.over"
	// FactOfferMade (call, leg, agent, queue), the why-record: offer (1 for the
	// call's first), devices (legs of the offer, which follow this one in number;
	// only if several); stage (direct, reserved, pick-up: no strategy chose); else strategy;
	// ring, tier, needs (skill:level) and kept_for, the call's stage; candidates
	// (agent:measure, best first, at most 5: idle seconds, position, occupancy in
	// permille, or surplus levels + spare skills); eligible (how many there were);
	// excluded (reason:count), and in queues of at most 16 agents excluded_agents
	// (agent:reason); effective (the call's effective wait), choice (the first
	// of the calls in each queue, at most 5, that the agent could have taken as
	// well: queue:priority for the agent:effective wait) and named_by (the call whose queue's strategy named
	// the agent, if another).
	FactOfferMade = "offer.made"
	// FactOfferReserved (call, agent, queue), the agent is kept while a customer
	// is called: the why-record as in offer.made, whose offer has stage reserved.
	FactOfferReserved = "offer.reserved"
	// FactOfferRenewed (call, leg, agent, queue): the offer goes on as a new leg
	// after a takeover: was (the old leg), devices (only if several).
	FactOfferRenewed = "offer.renewed"
	// FactOfferRinging (call, leg, agent, queue): code.
	FactOfferRinging = "offer.ringing"
	// FactOfferAccepted (call, leg, agent, queue): rang, wait, codec, suite, media.
	FactOfferAccepted = "offer.accepted"
	// FactPickUpAsked (call, leg, agent who wants to have it, queue), by INVITE with
	// Replaces: from (the agent whose phone it is on), was (the leg there), early_only
	// (only if so), edge, sip_call_id. It ends with call.picked-up or the leg's end.
	FactPickUpAsked = "pick-up.asked"
	// FactCallPickedUp (call, leg, agent who picks it up, queue): from (the agent
	// whose phone it was on), was (the leg there), state (ringing or talking).
	// What follows is as of an offer, of stage pick-up, and before that, of a
	// conversation, as of a transfer.
	FactCallPickedUp = "call.picked-up"
	// FactOfferRejected (call, leg, agent, queue): code, reason.
	FactOfferRejected = "offer.rejected"
	// FactOfferTimedOut (call, leg, agent, queue): rang, missed (in a row).
	FactOfferTimedOut = "offer.timed-out"
	// FactOfferCancelled (call, leg, agent, queue): cause.
	FactOfferCancelled = "offer.cancelled"
	// FactOfferCrossed (call, leg, agent): the agent answered a leg that was
	// being cancelled; it is hung up.
	FactOfferCrossed = "offer.crossed"
	// FactCallBridged (call, leg, agent if it is one's, queue): wait (since the
	// ticket, or since the last conversation was over).
	FactCallBridged = "call.bridged"
	// FactCallHunting (call), a chain's steps are tried: chain (none: of a
	// transfer), steps (how many), ticket, enqueued (if that was earlier).
	FactCallHunting = "call.hunting"
	// FactChainStep (call, agent if it is one's): chain, step (1 for the first),
	// number, after (why the step before was lost: busy, declined, no-answer,
	// unavailable, lost), does (offer; dial; wait, for an agent who is busy; pass,
	// with class; skip: the card has nothing there), wait.
	FactChainStep = "chain.step"
	// FactPartyAnswered (call, leg), somebody outside: number, rang, wait, codec,
	// suite, media.
	FactPartyAnswered = "party.answered"
	// FactCallTransferred (call, leg, agent who gives it away, queue it came
	// from): to (queue:, agent:, chain: or number: and the name), reason, talk,
	// ticket.
	FactCallTransferred = "call.transferred"
	// FactSupervisionAsked (call, leg, agent: the supervisor, queue), whose phone
	// rings: of (the agent), mode (listen, whisper, join).
	FactSupervisionAsked = "supervision.asked"
	// FactCallSupervised (call, leg, agent: the supervisor, queue): of, mode, was (of
	// a change), rang (of the first).
	FactCallSupervised = "call.supervised"
	// FactSupervisionOver (call, leg, agent: the supervisor, queue): of, cause, lasted.
	FactSupervisionOver = "supervision.over"
	// FactCallTakenOver (call, leg, agent: the supervisor, who talks on, queue): from
	// (the agent before), talk (of that one).
	FactCallTakenOver = "call.taken-over"
	// FactAgentHelp (agent, call if any): asked (true, false), reason, and of the end
	// cause (taken-back, supervised, call-over), after.
	FactAgentHelp = "agent.help"
	// FactLegHeld (call, leg, agent for an agent's, queue), its far end put the
	// leg on hold: role.
	FactLegHeld = "leg.held"
	// FactLegResumed (call, leg, agent for an agent's, queue): role, held (how
	// long).
	FactLegResumed = "leg.resumed"
	// FactTransferAsked: leg, agent, to, reason, ticket: by REFER. It ends with
	// call.transferred or transfer.failed.
	FactTransferAsked = "transfer.asked"
	// FactCallJoined: leg, agent or number (of whom the consultation had reached: the
	// leg belongs to this call now), with (the consultation), by (the agent).
	FactCallJoined = "call.joined"
	// FactTransferFailed: leg, agent, to, class (why), code (as it was told), left
	// (who asked had hung up): the caller is back with the agent, or in the queue.
	FactTransferFailed = "transfer.failed"
	// FactLegEnded (call, leg, agent for an agent's), one per leg, its CDR:
	// role, cause, code (if any), holds and held (if it was on hold: how often,
	// and how long in all), trunk and number (of one that was dialled),
	// started, answered (machine times in ns, 0: never), codec, suite, media.
	FactLegEnded = "leg.ended"
	// FactCallEnded (call, agent who talked last, queue it was in last, node), one
	// per call, its CDR: outcome (served, abandoned, dropped; or why it was not
	// served: closed, join-empty, full, not-admitted, timeout, leave-empty,
	// exit-key; of callbacks and tasks also unreached, expired, called-in,
	// cancelled), by (caller, agent, party, system), cause, trunk, edge, from, to,
	// sip_call_id, ticket, arrived, answered, enqueued, bridged (first), ended
	// (machine times in ns, 0: never), wait (from ticket to conversation), talk
	// (from the first conversation to the end), offers, chain (it came through
	// last), transfers (if any), holds and held (of
	// all legs, if any), codec, suite, media, and of callbacks and tasks
	// callback (true), task, attempts. From is the customer's number, whoever
	// called.
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
	// FactAgentPending (agent, call): during a call a status was asked for that
	// takes effect after it: status, was (asked for before), reason, cancelled
	// (only if so: status is the one in force, which stays).
	FactAgentPending = "agent.pending"
	// FactAgentState (agent, call if any): state, was.
	FactAgentState = "agent.state"
	// FactAgentWrapUp (agent), its end was moved: remaining, was, bounded (only
	// if more was asked for than the queue allows).
	FactAgentWrapUp = "agent.wrap-up"
	// FactAgentCorrected (agent, call, leg), an audit freed the agent of a leg
	// without a dialog: state (of the agent; cancelling: only the end of an
	// earlier leg was waited for), leg_state, cause.
	FactAgentCorrected = "agent.corrected"
	// FactAgentRegistered (agent): uri, user_agent. Refreshes are not facts.
	FactAgentRegistered = "agent.registered"
	// FactAgentUnregistered (agent): uri, cause (removed, expired, replaced, deleted).
	FactAgentUnregistered = "agent.unregistered"
	// FactAgentDeleted (agent): the configuration no longer has the agent, whose
	// last call, if any, is over.
	FactAgentDeleted = "agent.deleted"
	// FactNodeStarted (node): incarnation, sip.
	FactNodeStarted = "node.started"
	// FactNodeDied (node): incarnation.
	FactNodeDied = "node.died"
	// FactWorkerStarted: worker, incarnation.
	FactWorkerStarted = "worker.started"
	// FactWorkerDied: worker, incarnation.
	FactWorkerDied = "worker.died"
	// FactNodeDiverged (node), its state is not that of the majority, or there is
	// none: incarnation, index, agreed (the last index at which it was), hash
	// (its first 8 bytes), resync (only if it was told to start over).
	FactNodeDiverged = "node.diverged"
	// FactConfigApplied: version, by, comment, queues, agents (how many).
	FactConfigApplied = "config.applied"
	// FactQueueRetired (queue), it is no longer configured but calls are in it or
	// lead there: calls (bound for it).
	FactQueueRetired = "queue.retired"
	// FactQueueDropped (queue): no call needs a retired queue any more.
	FactQueueDropped = "queue.dropped"
	// FactVersionActivated, the machine behaves otherwise from here on: version,
	// was.
	FactVersionActivated = "version.activated"
	// FactTrunkState, the way to a trunk by one edge is another: trunk, edge,
	// state, was (up, suspect, down), lasted (of was), cause, and trunk_state and
	// trunk_was of the trunk by all its edges.
	FactTrunkState = "trunk.state"
	// FactLinkAlarm, a trunk's speech is bad: trunk, kind (delay, loss, jitter,
	// rtcp, bandwidth), direction (in, out, both), value and limit (microseconds;
	// loss and rtcp: parts per million; bandwidth: bits a second).
	FactLinkAlarm = "link.alarm"
	// FactLinkCleared, it is over: trunk, kind, direction, value, limit, cause
	// (good, not-measured, not-watched), lasted.
	FactLinkCleared = "link.cleared"
	// FactTrunkAvoided (call, leg, queue), a number is not called over this trunk
	// first because of its alarms: trunk, for (the one that is), alarms
	// (kind:direction).
	FactTrunkAvoided = "trunk.avoided"
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
	Key   string `cbor:"1,keyasint" yaml:"key"`
	Value string `cbor:"2,keyasint" yaml:"value"`
}

// Facts are kept in chunks, as bytes: what is appended is never touched again,
// so a snapshot shares them. Whole chunks are dropped from the old end, so what
// is retained depends on nothing but the log.
const (
	factChunk     = 1024
	maxFactChunks = 200
	chunkBytes    = 256 << 10 // what a new chunk makes room for
)

// chunk holds up to factChunk facts, see factWriter for their form.
type chunk struct {
	n           int
	first, last uint64 // log indexes
	buf         []byte
}

// factLog is the retained tail of the history.
type factLog struct {
	first  uint64   // how many facts were dropped; a multiple of factChunk
	gone   uint64   // log index of the last of those
	chunks []*chunk // all but the last are full
	sum    uint64   // chained over every fact since the beginning
	w      factWriter
}

// factWriter writes one fact to the end of the newest chunk:
//
//	length of what follows         uint32, little-endian, as all numbers here
//	index, n, at                   uint64, uint32, uint64
//	kind, call, leg, agent, queue, node   each a uint16 length and the bytes
//	attributes to the end          key and value, likewise
//
// Its methods add attributes; empty values are left out.
type factWriter struct {
	c     *chunk
	start int // of the open fact
	open  bool
}

// fact begins a fact. The attributes that are added to what it returns belong
// to it; it ends with the next one or with the Apply.
func (m *Machine) fact(f Fact) *factWriter {
	l := &m.facts
	l.close()
	if n := len(l.chunks); n == 0 || l.chunks[n-1].n == factChunk {
		l.chunks = append(l.chunks, &chunk{first: m.index, buf: make([]byte, 0, chunkBytes)})
		l.drop(max(0, len(l.chunks)-maxFactChunks))
	}
	w := &l.w
	w.c = l.chunks[len(l.chunks)-1]
	w.start, w.open = len(w.c.buf), true
	w.c.buf = appendHead(w.c.buf, m.index, m.factN, m.now, f)
	w.c.n++
	w.c.last = m.index
	m.factN++
	return w
}

// appendHead writes a fact up to its attributes, with room for the length.
func appendHead(b []byte, index uint64, n uint32, at Time, f Fact) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, index)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = appendText(b, f.Kind)
	b = appendText(b, string(f.Call))
	b = appendText(b, string(f.Leg))
	b = appendText(b, string(f.Agent))
	b = appendText(b, string(f.Queue))
	return appendText(b, string(f.Node))
}

// close ends the open fact and adds it to the running sum.
func (l *factLog) close() {
	if !l.w.open {
		return
	}
	l.w.open = false
	rec := l.w.c.buf[l.w.start:]
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-4))
	l.sum = foldBytes(l.sum, rec)
}

// maxText bounds a text in a fact: what is longer comes from a far end that
// plays games, and its first 64 KiB tell enough.
const maxText = 1<<16 - 1

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func (w *factWriter) text(key, value string) *factWriter {
	if value != "" {
		w.c.buf = appendText(appendText(w.c.buf, key), value)
	}
	return w
}

// begin starts an attribute whose value is then appended to w.c.buf; end
// finishes it, or takes it back if nothing was.
func (w *factWriter) begin(key string) (from int) {
	from = len(w.c.buf)
	w.c.buf = append(appendText(w.c.buf, key), 0, 0)
	return from
}

func (w *factWriter) end(from int) *factWriter {
	value := from + 2 + int(binary.LittleEndian.Uint16(w.c.buf[from:])) + 2
	if n := min(len(w.c.buf)-value, maxText); n > 0 {
		w.c.buf = w.c.buf[:value+n]
		binary.LittleEndian.PutUint16(w.c.buf[value-2:], uint16(n))
	} else {
		w.c.buf = w.c.buf[:from]
	}
	return w
}

// number adds to an attribute that begin has begun.
func (w *factWriter) number(v int) { w.c.buf = strconv.AppendInt(w.c.buf, int64(v), 10) }

func (w *factWriter) int(key string, v int) *factWriter { return w.int64(key, int64(v)) }

func (w *factWriter) int64(key string, v int64) *factWriter {
	from := w.begin(key)
	w.c.buf = strconv.AppendInt(w.c.buf, v, 10)
	return w.end(from)
}

func (w *factWriter) uint(key string, v uint64) *factWriter {
	from := w.begin(key)
	w.c.buf = strconv.AppendUint(w.c.buf, v, 10)
	return w.end(from)
}

// stamp adds a machine time in nanoseconds.
func (w *factWriter) stamp(key string, t Time) *factWriter { return w.int64(key, int64(t)) }

// earlier adds a machine time that lies before now.
func (w *factWriter) earlier(key string, t, now Time) *factWriter {
	if t < now {
		w.stamp(key, t)
	}
	return w
}

// seconds adds a duration as seconds with three decimals.
func (w *factWriter) seconds(key string, d time.Duration) *factWriter {
	from := w.begin(key)
	w.c.buf = appendSeconds(w.c.buf, d)
	return w.end(from)
}

// counted adds a number unless it is 0.
func (w *factWriter) counted(key string, v int) *factWriter {
	if v != 0 {
		w.int(key, v)
	}
	return w
}

// flag adds "true", or nothing.
func (w *factWriter) flag(key string, v bool) *factWriter {
	if v {
		w.text(key, "true")
	}
	return w
}

func (w *factWriter) media(md Media) *factWriter {
	return w.text("codec", md.Codec).text("suite", md.Suite).text("media", md.Address)
}

func (w *factWriter) owner(key string, o Owner) *factWriter {
	from := w.begin(key)
	w.c.buf = append(append(w.c.buf, o.Node...), '/')
	w.c.buf = strconv.AppendUint(w.c.buf, o.Incarnation, 10)
	return w.end(from)
}

// factReader takes a chunk's bytes apart.
type factReader struct {
	buf []byte
	bad bool
}

// skip passes over the facts of log indexes up to index, unread.
func (r *factReader) skip(index uint64) {
	for len(r.buf) >= 12 && binary.LittleEndian.Uint64(r.buf[4:]) <= index {
		n := int(binary.LittleEndian.Uint32(r.buf))
		if n < 20 || n > len(r.buf)-4 {
			r.bad = true
			return
		}
		r.buf = r.buf[4+n:]
	}
}

// next returns the next fact; its texts are copies.
func (r *factReader) next() (Fact, bool) {
	if len(r.buf) == 0 || r.bad {
		return Fact{}, false
	}
	n := 0
	if len(r.buf) >= 4 {
		n = int(binary.LittleEndian.Uint32(r.buf))
	}
	if n < 20 || n > len(r.buf)-4 {
		r.bad = true
		return Fact{}, false
	}
	rec := r.buf[4 : 4+n]
	r.buf = r.buf[4+n:]
	f := Fact{
		Index: binary.LittleEndian.Uint64(rec), N: binary.LittleEndian.Uint32(rec[8:]),
		At: Time(binary.LittleEndian.Uint64(rec[12:])),
	}
	rec = rec[20:]
	in := factReader{buf: rec}
	f.Kind, f.Call, f.Leg = in.text(), CallID(in.text()), LegID(in.text())
	f.Agent, f.Queue, f.Node = AgentID(in.text()), QueueID(in.text()), NodeID(in.text())
	for len(in.buf) > 0 {
		f.Attrs = append(f.Attrs, Attr{in.text(), in.text()})
	}
	r.bad = in.bad
	return f, !r.bad
}

// text reads a uint16 length and so many bytes.
func (r *factReader) text() string {
	if len(r.buf) < 2 || len(r.buf)-2 < int(binary.LittleEndian.Uint16(r.buf)) {
		r.bad, r.buf = true, nil
		return ""
	}
	end := 2 + int(binary.LittleEndian.Uint16(r.buf))
	s := string(r.buf[2:end])
	r.buf = r.buf[end:]
	return s
}

// readChunk makes a chunk of a snapshot's bytes.
func readChunk(data []byte) (*chunk, error) {
	c := &chunk{buf: data}
	r := factReader{buf: data}
	for f, ok := r.next(); ok; f, ok = r.next() {
		if c.n == 0 {
			c.first = f.Index
		}
		c.last = f.Index
		c.n++
	}
	if r.bad {
		return nil, errors.New("facts are damaged")
	}
	return c, nil
}

// FactsAfter returns the retained facts of log indexes above index, oldest
// first: limit of them and then the rest of the last one's index, so that a
// reader's cursor can be an index. A limit of 0 means all.
func (m *Machine) FactsAfter(index uint64, limit int) []Fact {
	var out []Fact
	for _, c := range m.facts.chunks {
		if c.n == 0 || c.last <= index {
			continue
		}
		r := factReader{buf: c.buf}
		r.skip(index)
		for f, ok := r.next(); ok; f, ok = r.next() {
			if limit > 0 && len(out) >= limit && f.Index != out[len(out)-1].Index {
				return out
			}
			out = append(out, f)
		}
	}
	return out
}

// FactsFrom returns the lowest index that FactsAfter can be asked for without
// missing facts: those of it and below were dropped.
func (m *Machine) FactsFrom() uint64 { return m.facts.gone }

func itoa(n int) string { return strconv.Itoa(n) }

// appendSeconds writes d as seconds with three decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	ms := max(d, 0).Milliseconds()
	b = strconv.AppendInt(b, ms/1000, 10)
	return append(b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
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
