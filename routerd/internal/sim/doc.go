// Package sim runs a whole site in one thread under one seed: several routers
// with their replicated log, disks, clocks and media links, two edges, callers
// and agents' phones. It kills, pauses and parts them, loses, repeats and
// reorders what they tell each other, and judges after every step whether a
// promise is broken.
//
// # What is real and what is a model
//
// Real are the machine (acd) and its wire format, one replica for each router,
// and the SIP engine's legs (internal/sip), on both sides of every dialog: what
// survives a takeover here are the records that survive one in production. A
// model, written for this package, are the consensus (see raft), the disk, the
// network, the edge, and the router around its legs, which repeats the
// decisions of internal/node line by line: that package lives by goroutines and
// the wall clock, whose order no seed can bring back.
//
// # How it stays reproducible
//
// A [World] has one heap of events in virtual time, ordered by time and then by
// number, and one generator of random numbers. Code that in production waits in
// a goroutine is a task: a coroutine (iter.Pull) that runs only while the loop
// runs it, so there is never more than one thread. Nothing ranges over a map
// where the order could show. The same seed gives the same trace; a test
// compares the digests of two runs.
//
// # What is judged
//
// The judge names the promise that broke, one of Promises, with the seed and
// the last events. Safety is judged always; when the faults are over everything
// is healed and what is left must drain.
package sim
