// Package acd is the brain of the tier: a deterministic state machine that owns
// every call, queue, ticket, agent and media address of the cluster.
//
// # What goes in and out
//
// [Machine.Apply] takes one [Command] of the replicated log, a fact that
// happened at the edge of the system, and returns a [Result] for its proposer
// and the [Effect]s, orders that the owners of the calls carry out and report
// back about with further commands. It also appends [Fact]s, the history from
// which reports are computed. The same log gives the same state, results,
// effects and facts on every replica, and [Machine.Hash] says so.
//
// # What it refuses to do
//
// It has no clock, no sockets, no goroutines, no locks, no randomness and no
// log. Time comes with the commands; a Machine is used by one goroutine at a
// time. Nothing that reaches output depends on the order of a map.
//
// # Time
//
// Machine time is max(previous+1, the command's stamp), so it never stands
// still and never goes back. Every Apply first fires the timers that are due,
// in order of deadline. When nothing else happens the leader proposes Ticked
// at [Machine.NextDeadline].
//
// # Ownership
//
// A call belongs to one life of a node ([Owner]) under an epoch, the log index
// of the grant. A command about a call that bears another epoch changes
// nothing. When the owner dies the call moves to a survivor under a higher
// epoch, and the orders that may not have been carried out are given again:
// what is outstanding is always read from the state, never remembered apart.
//
// # How to add to it
//
//   - A command: its type in command.go, its case in [Machine.Apply] (or in
//     onCall if it is about a call), its number, sample and hex in acdwire, a
//     script in acdtest/testdata.
//   - An order: its type in effect.go, its line in acdtest's printer, and, if
//     it must survive its owner, its place in outstanding.
//   - A timer: its kind and its case in timers.go.
//   - A strategy: its name, ranking and measure in strategy.go, and in the naive
//     twin (acdtest/twin.go), which must not be told how.
//   - A field of the state: the struct with the next free number, its line in
//     hash.go (a test finds a forgotten one).
//   - A fact: its kind in facts.go.
package acd
