// Package sip is Trunkline's SIP engine: parsing, validation, transport,
// dialogs with their transactions, and the registrar's protocol work.
//
// # Legs
//
// A [Leg] is one INVITE dialog with all its transactions. It is plain data: no
// goroutine, no clock, no socket, no randomness. Whoever owns the call feeds it
// messages, orders and the time, and gets an [Output]: packets to send, events
// to act on, and whether the leg's record must be committed before anything is
// sent. [Leg.MarshalBinary] gives that record; any node that reads it back with
// [Leg.UnmarshalBinary] and calls [Leg.Resume] goes on where the dead one
// stopped, with the same tags, branches and CSeq numbers, so that what it sends
// again is a retransmission and never a second request.
//
// Commit precedes sending of: a provisional answer above 100 that is the first,
// bears SDP or is reliable, every 2xx, the ACK of a 2xx, every new request in a dialog (so
// no CSeq is ever used twice), the answers to BYE, CANCEL and INFO, and every
// change of target, session or session timer. Not committed: 100, refusals,
// the INVITE of a client leg (its ids are given from outside, so a repeat is
// the same INVITE) and retransmissions.
//
// Deviations, each on purpose:
//   - Requests without any answer are repeated every T2 over TCP too: the
//     connection they were written to may have died with them in its buffers,
//     and the next attempt goes through another edge.
//   - An INVITE with the Call-ID, From tag and CSeq of one still unanswered but
//     with another branch moves the transaction to the new branch instead of
//     being refused as merged (RFC 3261 section 8.2.2.2): it is how a caller
//     comes back through another edge or an edge comes to another router. The
//     old branch is refused with 482.
//
// # Parser and transport
//
// Start lines, header lines and URIs are read by emiago/sipgo's parser. Header
// values are read here: sipgo's own value parsers lose Record-Route parameters
// and quoting, which RFC 3261 section 12.1.1 wants copied unchanged, and its
// stream reader must close the connection, shared by all calls of an edge,
// after one malformed header. For the same reason, and because it logs whole
// messages (SDP bodies carry SRTP keys), connections are [Transport]'s own.
//
// The package refuses to know queues, agents, media, Raft or configuration.
package sip
