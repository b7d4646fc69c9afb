// Package record keeps conversations: every RTP packet of a recorded call goes
// into an append-only segment log on disk, and Export turns a call back into a
// stereo WAV file, the customer on the left and the operator on the right.
//
// # Writing
//
// Append copies a packet into a bounded ring and returns; it never blocks,
// allocates or touches the disk. One goroutine drains the ring, encrypts,
// writes, and calls fsync every 250 ms. When the disk cannot keep up the ring
// fills and packets are dropped and counted: the conversation goes on. A segment
// is sealed at its size or its age, whichever comes first.
//
// # Files
//
// A segment is a pair of files that belong together and may be moved
// together:
//
//	rec-<time>-<random>.open   being written; .seg once sealed
//	rec-<time>-<random>.keys   the data keys of the calls in it
//
// All integers are little-endian. A segment starts with a header of 64 bytes:
//
//	 0  8  "TKREC\x01\r\n"
//	 8 16  random segment id
//	24  8  time of creation, ns since 1970
//	32 16  key check: GCM tag over nothing under the segment's wrapping key
//	48 12  zero
//	60  4  CRC32C of bytes 0 to 59
//
// Records follow, of at most maxBody bytes after the first eight:
//
//	0  2  mark 0x52 0xC7, to find the next record behind damaged bytes
//	2  2  length n of the body
//	4  4  CRC32C of segment id, length and body
//	8  4  call: its slot in the key file
//	12 n-4  AES-256-GCM of the packet, nonce = file offset of the record
//
// The packet: side 1, codec 1, RTP payload type 1, leg length 1, arrival ns 8,
// RTP timestamp 4, SSRC 4, sequence 2, leg, payload.
//
// A sealed segment ends with an index, call by call the offsets of its
// records, and a trailer that says where the index starts. A segment that was
// being written when the process died is cut behind its last whole record,
// given its index and sealed by the next Open.
//
// The key file has slots of 512 bytes, so that a slot changes in one sector:
// slot 0 repeats the segment's header, every other one is
//
//	 0  4  CRC32C of segment id and bytes 4 to 511
//	 4  1  1 = live, 2 = erased
//	 5  2  length of the call id
//	 7  4  slot number
//	11 48  the call's data key wrapped by AES-256-GCM, nonce = slot number
//	59     call id; length of the label 1, label, then zeros
//
// The label, a queue's name, says how long a recording is kept; what was recorded
// under another label has a slot and a key of its own.
//
// Where a recording is paused and where it goes on, a record without leg and
// payload says so (codecs 6 and 7): Export tells such a gap from a loss.
//
// # Keys
//
// The wrapping key of a segment is HKDF-SHA256 of the master key and the
// segment's id. A data key is random and belongs to one call in one segment.
// A segment is never opened for appending again, neither after a crash nor
// after a write error, so no nonce meets the same key twice: offsets only grow
// and a new segment means new keys.
//
// Forget overwrites a call's slots: what stays on disk is then noise. Where
// the file system or the disk keeps old versions of a sector (snapshots,
// copy-on-write, flash) those must be destroyed too, as for any erasure.
//
// # What it refuses to do
//
// It does not know what a call is beyond its id, decides nothing about what is
// recorded, keeps no retention clock, and stores no telephone-event payloads:
// digits may be card numbers. It never shortens or rewrites a sealed segment.
package record
