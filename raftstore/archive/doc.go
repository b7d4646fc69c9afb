// Package archive keeps the entries a node has applied, long after its log has
// dropped them, so that the state of any past moment can be built again from a
// snapshot and what followed it.
//
// It is written beside Apply: Append copies an entry into memory and returns; a
// goroutine writes it out within writeEvery and calls fsync only when a segment
// is complete. What a crash takes is cut off at the next start, and the caller
// fills it up from its log. What can't be written, because the disk is full or
// slow, is left out and never holds the caller up: the archive is a help, the
// log is the truth. Whatever is missing is a gap that the reader is told of.
//
// # Files
//
// A segment is named after the index of its first record, in 20 digits, and ends
// in .log. It is the magic word "tklarch1" and records:
//
//	length  4 bytes, big-endian, of what follows the sum
//	sum     4 bytes, big-endian: CRC-32C of what follows
//	kind    1 byte
//	index   8 bytes, big-endian, as are the next three
//	prev    8 bytes: index of the entry applied before
//	term    8 bytes
//	stamp   8 bytes: cluster time in nanoseconds since 1970
//	data    the rest
//
// Kind 1 is a command as the state machine got it. Kind 2 is a gap: the entries
// after prev up to index are missing, and data says why. Kind 3 ends a complete
// segment. Kind 4 is an entry that the state machine was not given. An index
// between prev and index belongs to an entry of raft's own, so nothing is
// missing there: an entry whose prev was never read tells of a gap by itself.
//
// A snapshot is named after its index and stamp and ends in .snap; what is in
// it is the caller's. A stream, as Export writes it, is a segment.
//
// # What it refuses to do
//
// It is no backup by itself: it lies on the same disk as the log. It does not
// grow without bound: the oldest segments go first, and snapshots that no
// segment goes on from go with them.
package archive
