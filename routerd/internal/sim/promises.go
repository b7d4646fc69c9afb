package sim

// Promises are what the judge holds a run to: the invariants of the design, and
// the rules of the simulated consensus, which is checked like everything else.
const (
	PromiseOneCall  = "one-live-call"      // an agent's phones never ring or talk for two calls at once because of us
	PromiseTerminal = "one-terminal-state" // every accepted call ends exactly once
	PromiseOrder    = "first-come"         // first in, first out within queue, priority and eligible skill
	PromiseWait     = "bounded-wait"       // a waiting call is served or ends within max wait + 1 s
	PromiseCDR      = "one-cdr-per-leg"
	PromiseEpoch    = "highest-epoch-acts"  // a router that lost a call sends nothing new about it
	PromiseReplica  = "equal-replicas"      // equal index: equal result, orders, history and hash
	PromiseAck      = "nothing-acked-lost"  // an acknowledged command is in the log, once applied
	PromiseTimer    = "timers-once-in-time" // no timer early, late or twice
	PromiseDrain    = "drains-after-healing"
	PromiseLog      = "consensus" // election safety, log matching, leader completeness, state machine safety
	PromiseCrash    = "no-panic"  // the machine broke an invariant of its own
)

// Promises lists them all.
var Promises = []string{
	PromiseOneCall, PromiseTerminal, PromiseOrder, PromiseWait, PromiseCDR, PromiseEpoch, PromiseReplica,
	PromiseAck, PromiseTimer, PromiseDrain, PromiseLog, PromiseCrash,
}
