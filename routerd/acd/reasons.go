package acd

// Reasons of commands that changed nothing, or of calls that were refused: the
// closed set of words in Result.Reason and in Machine.NoOps. A call that its
// queue refuses before the answer has the queue's cause for a reason: closed,
// join-empty, queue-full, not-admitted.
const (
	ReasonForgotten        = "forgotten"      // repeat of a proposal below its session's Floor
	ReasonUnknownCall      = "unknown-call"   // no such open call
	ReasonStaleEpoch       = "stale-epoch"    // not the call's current epoch
	ReasonUnknownLeg       = "unknown-leg"    // no such leg in the call
	ReasonUnexpected       = "unexpected"     // the leg or call is in no state where this means anything
	ReasonUnchanged        = "unchanged"      // says what is already so
	ReasonKnownCall        = "known-call"     // CallArrived for an open call; Result.Epoch is its epoch
	ReasonCallOver         = "call-over"      // CallArrived for a call that ended a moment ago
	ReasonStaleLife        = "stale-life"     // not the current life of that node or worker
	ReasonNotConfigured    = "not-configured" // no configuration was ever applied
	ReasonUnknownTrunk     = "unknown-trunk"
	ReasonUnknownNumber    = "unknown-number"
	ReasonTrunkFull        = "trunk-full"    // the trunk's channels are in use
	ReasonChannelsFull     = "channels-full" // all channels of the centre are in use
	ReasonTrunkRate        = "trunk-rate"    // more new calls a second than the trunk may have
	ReasonBadLink          = "bad-link"      // no such state, or a trunk with more edges than there can be
	ReasonBadAlarm         = "bad-alarm"     // no such kind or direction
	ReasonNoMedia          = "no-media"      // no live worker hosts a media address
	ReasonUnknownNode      = "unknown-node"  // no router of that name ever started
	ReasonUnknownSink      = "unknown-sink"  // no name, or more external sinks than there can be
	ReasonUnknownAgent     = "unknown-agent"
	ReasonBadStatus        = "bad-status"   // not a status
	ReasonBadContact       = "bad-contact"  // an empty contact that is not a removal of all
	ReasonOldRegister      = "old-register" // CSeq below the one stored (RFC 3261 section 10.3)
	ReasonReplayed         = "replayed"     // a digest that was used before, for something else
	ReasonTooManyContacts  = "too-many-contacts"
	ReasonConfigured       = "configured"   // ConfigApplied with IfNone, but there is one
	ReasonBadConfig        = "bad-config"   // Config.Validate has faults
	ReasonRule             = "rule"         // a rule of the number refuses the call
	ReasonBadCard          = "bad-card"     // a key is empty
	ReasonCardTooBig       = "card-too-big" // more than 32 keys, or 256 bytes in one
	ReasonNoCallbacks      = "no-callbacks" // the queue has none, or the call is one
	ReasonBadNumber        = "bad-number"   // not an E.164 number with +
	ReasonUnknownQueue     = "unknown-queue"
	ReasonNoTrunks         = "no-trunks"      // outbound.trunks is empty: nobody can be called
	ReasonBadTask          = "bad-task"       // its id, times, priority or attempts are out of bounds
	ReasonTooManyTasks     = "too-many-tasks" // 100 000 are not over
	ReasonTaskOver         = "task-over"      // a repeat of a task that ended within 24 h
	ReasonUnknownTask      = "unknown-task"
	ReasonNoSuchKey        = "no-such-key"    // the queue has no such exit or callback key
	ReasonConfigChanged    = "config-changed" // ConfigApplied was made from another version than the one in force
	ReasonNotTalking       = "not-talking"    // the agent does not talk with this call
	ReasonBadTarget        = "bad-target"     // not exactly one target, or not an E.164 number
	ReasonUnknownChain     = "unknown-chain"
	ReasonUnknownTarget    = "unknown-target" // a transfer to what is neither agent, queue nor number
	ReasonNotPermitted     = "not-permitted"  // neither the agent nor the queue may transfer there
	ReasonTransferring     = "transferring"   // another transfer of the call goes on
	ReasonQueueRefuses     = "queue-refuses"  // the queue takes no calls now
	ReasonAgentBusy        = "agent-busy"
	ReasonAgentUnavailable = "agent-unavailable"
	ReasonLegOver          = "leg-over"        // a pick-up of what is over
	ReasonAnswered         = "answered"        // a pick-up of what rings, and is answered
	ReasonNotSupervising   = "not-supervising" // that agent does not supervise the call
	ReasonSupervised       = "supervised"      // another supervisor does
	ReasonBadMode          = "bad-mode"
	ReasonTooLong          = "too-long" // more than 256 bytes
	ReasonNotWrappingUp    = "not-wrapping-up"
	ReasonBadDuration      = "bad-duration" // negative
	ReasonWrapUpMost       = "wrap-up-most" // the wrap-up lasts as long as the queue allows
	ReasonNoDialogs        = "no-dialogs"   // an audit that names no leg which is still to be ended
	ReasonBadHash          = "bad-hash"     // not 32 bytes, or of an index that is not applied yet
	ReasonOldHash          = "old-hash"     // of an index that is not compared any more
	ReasonOldVersion       = "old-version"  // a router that does not know the version in force, or to be activated
)

// noop counts a command that changed nothing and says why.
func (m *Machine) noop(reason string) Result {
	m.noops[reason]++
	return Result{Reason: reason}
}

// refuse counts and records a call that is not taken.
func (m *Machine) refuse(b CallArrived, reason string, code, retryAfter int) Result {
	m.fact(Fact{Kind: FactCallRefused, Call: b.Call, Node: b.Owner.Node}).
		text("reason", reason).int("code", code).text("trunk", string(b.Trunk)).text("edge", b.Edge).
		text("from", b.From).text("to", b.To).text("sip_call_id", b.SIPID)
	r := m.noop(reason)
	r.Code, r.RetryAfter = code, retryAfter
	return r
}
