package acd

import "fmt"

// Machine is the state machine. The zero value is not usable, see New and
// Restore. It is not safe for use by several goroutines.
type Machine struct {
	index     uint64
	now       Time
	snapshots uint64  // how many were taken, see call.own
	config    *Config // nil until one is applied; never changed in place
	tickets   uint64

	nodes   []*Node      // by id
	workers []*Worker    // by id
	media   []*MediaHost // by address

	calls    map[CallID]*call
	closed   map[CallID]*Closed
	queues   map[QueueID]*queue
	agents   map[AgentID]*agent
	agentIDs []AgentID // sorted keys of agents

	owned     map[NodeID]int           // open calls
	customers map[string]*customer     // by number
	overTasks map[TaskID]Time          // those of overList
	overList  []OverTask               // oldest first
	calendars map[CalendarID]*calendar // of config
	estimates map[QueueID]*Estimate    // of every queue

	trunks   map[TrunkID]*Trunk // of config
	numbers  map[string]*Number // of config
	chains   map[ChainID]*Chain // of config and retired
	channels map[TrunkID]int    // legs over it that are not over
	ways     map[TrunkID]*Way   // of configured trunks, where there is something to know

	supervised []CallID            // calls with a supervisor, sorted
	sessions   map[string]*session // by id
	timers     timers
	facts      factLog
	noops      map[string]uint64
	deleted    []AgentID // agents that are forgotten once they are free

	version   uint32
	configs   []ConfigVersion
	retired   retired
	tasks     map[TaskID]*Task
	cursors   map[cursorKey]*Cursor
	loads     map[loadKey]*load
	spoken    spokenLog
	confirmed []Confirmation // by reader
	sinks     []Confirmation // by reader
	hashes    []HashReport

	// Of the Apply under way.
	effects []Effect
	factN   uint32
	dirty   []*class // may have both a waiting call and an idle agent
	stirred []*queue // calls may stand in their lines for the first time
	picked  pick
	wanted  []*agent // of calls that wait for just them, whose state changed

	mediaFreed bool // an address became free for its home worker
}

// New returns the machine of an empty cluster.
func New() *Machine {
	return &Machine{
		calls:    make(map[CallID]*call),
		closed:   make(map[CallID]*Closed),
		queues:   make(map[QueueID]*queue),
		agents:   make(map[AgentID]*agent),
		trunks:   make(map[TrunkID]*Trunk),
		numbers:  make(map[string]*Number),
		channels: make(map[TrunkID]int),
		ways:     make(map[TrunkID]*Way),
		sessions: make(map[string]*session),
		timers:   newTimers(),
		noops:    make(map[string]uint64),
		tasks:    make(map[TaskID]*Task),
		cursors:  make(map[cursorKey]*Cursor),
		loads:    make(map[loadKey]*load),
		spoken:   spokenLog{last: make(map[string]spoken)},
		version:  1,

		owned:     make(map[NodeID]int),
		customers: make(map[string]*customer),
		overTasks: make(map[TaskID]Time),
		estimates: make(map[QueueID]*Estimate),
	}
}

// Apply applies the command at index of the log and returns the answer for its
// proposer and the orders it causes, in the order in which they must be carried
// out for any one call; they are the caller's until the next Apply. Due timers fire first; idle agents are given waiting
// calls last, so a command that frees an agent also rings the next one.
//
// Apply panics on an unknown command, on an index that doesn't grow and on a
// broken invariant: a replica that went on would diverge.
func (m *Machine) Apply(index uint64, cmd Command) (Result, []Effect) {
	if index <= m.index {
		panic(fmt.Sprintf("acd: index %d applied after %d", index, m.index))
	}
	m.index = index
	m.now = max(m.now+1, cmd.Stamp)
	m.effects, m.factN = m.effects[:0], 0

	for t, ok := m.timers.due(m.now); ok; t, ok = m.timers.due(m.now) {
		m.fire(t)
	}
	s := m.sessions[cmd.Session]
	result, known := m.answered(s, cmd.Seq)
	if !known {
		result = m.apply(cmd.Body)
		m.remember(s, &cmd, result)
	}
	m.endSupervisions()
	if m.mediaFreed {
		m.arrangeMedia()
	}
	m.serveHunters()
	m.forgetDeleted()
	m.dispatch()
	m.facts.close()
	if len(m.effects) == 0 {
		return result, nil
	}
	return result, m.effects
}

func (m *Machine) apply(body Body) Result {
	switch b := body.(type) {
	case onCall:
		return m.applyToCall(b)
	case CallArrived:
		return m.callArrived(b)
	case AgentDialled:
		return m.agentDialled(b)
	case Ticked:
		return Result{Applied: true}
	case AgentStatusSet:
		return m.agentStatusSet(b)
	case RegistrationChanged:
		return m.registrationChanged(b)
	case ConfigApplied:
		return m.configApplied(b)
	case NodeStarted:
		return m.nodeStarted(b)
	case NodeDied:
		return m.nodeDied(b)
	case WorkerStarted:
		return m.workerStarted(b)
	case WorkerDied:
		return m.workerDied(b)
	case FactsConfirmed:
		return m.factsConfirmed(b)
	case SinkConfirmed:
		return m.sinkConfirmed(b)
	case TrunkStateChanged:
		return m.trunkStateChanged(b)
	case HelpAsked:
		return m.helpAsked(b)
	case LinkAlarmChanged:
		return m.linkAlarmChanged(b)
	case BindingsChanged:
		return m.bindingsChanged(b)
	case TaskCreated:
		return m.taskCreated(b)
	case TaskCancelled:
		return m.taskCancelled(b)
	case WrapUpSet:
		return m.wrapUpSet(b)
	case DialogsAudited:
		return m.dialogsAudited(b)
	case HashReported:
		return m.hashReported(b)
	case Activated:
		return m.activated(b)
	}
	panic(fmt.Sprintf("acd: index %d: unknown command %T", m.index, body))
}

// onCall is a command about a call that is open already.
type onCall interface {
	Body
	head() OnCall
}

func (b CallClaimed) head() OnCall   { return b.OnCall }
func (b LegProgressed) head() OnCall { return b.OnCall }
func (b LegAnswered) head() OnCall   { return b.OnCall }
func (b LegFailed) head() OnCall     { return b.OnCall }
func (b LegEnded) head() OnCall      { return b.OnCall }
func (b LegUpdated) head() OnCall    { return b.OnCall }
func (b PromptStarted) head() OnCall { return b.OnCall }

func (b LegHeld) head() OnCall           { return b.OnCall }
func (b LegResumed) head() OnCall        { return b.OnCall }
func (b DigitsCollected) head() OnCall   { return b.OnCall }
func (b CallTagged) head() OnCall        { return b.OnCall }
func (b CallTransferred) head() OnCall   { return b.OnCall }
func (b CallbackRequested) head() OnCall { return b.OnCall }
func (b CallReferred) head() OnCall      { return b.OnCall }
func (b CallsJoined) head() OnCall       { return b.OnCall }
func (b CallPickedUp) head() OnCall      { return b.OnCall }
func (b CallSupervised) head() OnCall    { return b.OnCall }

// onLeg is a command about one leg, which may be of a call beside the one it names.
type onLeg interface{ leg() LegID }

func (b LegProgressed) leg() LegID   { return b.Leg }
func (b LegAnswered) leg() LegID     { return b.Leg }
func (b LegFailed) leg() LegID       { return b.Leg }
func (b LegEnded) leg() LegID        { return b.Leg }
func (b PromptStarted) leg() LegID   { return b.Leg }
func (b DigitsCollected) leg() LegID { return b.Leg }
func (b CallReferred) leg() LegID    { return b.Leg }
func (b LegHeld) leg() LegID         { return b.Leg }
func (b LegResumed) leg() LegID      { return b.Leg }
func (b CallPickedUp) leg() LegID    { return b.Leg }

// applyToCall checks the epoch and stores the records before anything else: a
// command may come too late to mean anything for the call and still move the
// SIP engine's state on.
func (m *Machine) applyToCall(body onCall) Result {
	head := body.head()
	c, ok := m.calls[head.Call]
	if !ok {
		return m.noop(ReasonUnknownCall)
	}
	m.own(c)
	if head.Epoch != c.Epoch {
		r := m.noop(ReasonStaleEpoch)
		r.Epoch = c.Epoch
		return r
	}
	for _, rec := range head.Records {
		if l := m.within(c, rec.Leg).leg(rec.Leg); l != nil {
			l.Record = rec.Record
		} else {
			m.noops[ReasonUnknownLeg]++
		}
	}
	for _, p := range head.Playing {
		m.promptStarted(m.within(c, p.Leg), PromptStarted{Leg: p.Leg, Prompt: p.Prompt})
	}
	if b, ok := body.(onLeg); ok && len(c.Beside) > 0 {
		c = m.within(c, b.leg())
	}
	switch b := body.(type) {
	case CallClaimed:
		return m.callClaimed(c, b)
	case LegUpdated:
		return Result{Applied: true}
	case PromptStarted:
		return m.promptStarted(c, b)
	case LegProgressed:
		return m.legProgressed(c, b)
	case LegAnswered:
		return m.legAnswered(c, b)
	case LegFailed:
		return m.legOver(c, b.Leg, b.Reason, b.Code)
	case LegEnded:
		return m.legOver(c, b.Leg, b.Cause, 0)
	case CallTransferred:
		return m.callTransferred(c, b)
	case LegHeld:
		return m.legHeld(c, b)
	case LegResumed:
		return m.legResumed(c, b)
	case CallReferred:
		return m.callReferred(c, b)
	case CallsJoined:
		return m.callsJoined(c, b)
	case CallPickedUp:
		return m.callPickedUp(c, b)
	case CallSupervised:
		return m.callSupervised(c, b)
	case DigitsCollected:
		return m.digitsCollected(c, b)
	case CallTagged:
		return m.callTagged(c, b)
	case CallbackRequested:
		return m.callbackRequested(c, b)
	}
	panic(fmt.Sprintf("acd: index %d: unknown command %T", m.index, body))
}

// order gives an order to the call's owner.
func (m *Machine) order(c *call, o Order) EffectID {
	id := m.nextEffect()
	m.effects = append(m.effects, Effect{ID: id, Call: m.root(c).ID, Owner: c.Owner, Epoch: c.Epoch, Order: o})
	return id
}

// orderAll gives an order to every node.
func (m *Machine) orderAll(o Order) {
	m.effects = append(m.effects, Effect{ID: m.nextEffect(), Order: o})
}

// nextEffect is the id the next order will have.
func (m *Machine) nextEffect() EffectID {
	return EffectID{Index: m.index, N: uint32(len(m.effects))}
}
