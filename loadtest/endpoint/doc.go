// Package endpoint is the far end of a call: the caller behind an SBC and the
// operator's phone behind an edge, as the load tests need them. It speaks SIP
// over UDP, TCP and TLS, offers and answers SRTP keyed by SDES (RFC 4568), plays a tone
// with a mark in every packet and measures what arrives: packets lost, the
// longest gap, whose tone is heard.
//
// It shares no code with routerd or mediad on purpose, so that one mistake
// cannot hide on both sides of a test. Parsing is sipgo's, encryption is
// pion/srtp's; transactions and dialogs are the few that a far end needs.
//
// It refuses to be a phone: no plain RTP answer, no ICE, no DTLS, no forking,
// no session-timer refreshes of its own (it answers those of the other side).
package endpoint
