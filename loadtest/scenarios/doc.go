// Package scenarios holds the tier to its SIP behaviour, one promise a folder:
//
//	NAME/README.md      the promise (its first heading), the RFC section, and the
//	                    plain sipp commands that try it, which are what is run
//	NAME/uac.xml        the caller; NAME/uas.xml the phone, where there is one
//	NAME/scenario.yaml  its number, and what must be in the history afterwards
//
// The tier is a real one: SBC simulators, edges, one router, a media worker.
// One router, since nothing here is about takeovers (loadtest/e2e is), and one
// log of one voter commits at once. SIPp stands where an edge stands: it speaks
// TCP to the router from an address that the router takes for an edge's, and so
// puts X-Trunkline-Trunk on its INVITEs itself. Where the behaviour is the
// edge's, SIPp stands outside it.
//
// Scenarios share nothing: each has a number, a queue, two agents and, if it says so, a trunk
// of its own, so any number of them run beside each other. A scenario asserts
// in its XML; the comment before a step is what is said when it breaks there.
package scenarios
