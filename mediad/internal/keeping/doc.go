// Package keeping is what becomes of recordings once their segments are sealed:
// they are handed to a store, kept as long as was promised, and then removed for
// certain, with a line in the ledger for each.
//
// # Removal
//
// A call dies with its key (package record), so removal is the destruction of key
// slots, in the worker's folder and in the store. The order is
//
//  1. ledger: "erase" with call, segment, slot, who and why; fsync
//  2. the slots in the folder's key file are overwritten; fsync
//  3. the store's copy of the key file is overwritten and read back
//  4. ledger: "erased"; fsync
//
// A process that dies before 1 has removed nothing. After 1 it is decided: whoever
// opens the ledger next does 2 to 4 again, which changes nothing where it was done.
// So nothing goes without a line, and what has a line goes. A segment without any
// key left is noise: its files are removed, the store's first, the key file last.
//
// # Time
//
// A segment's calls are kept from the latest moment at which it may have been
// sealed, for as long as the rule of their label says. The clock is the machine's.
// One that has leapt more than a week since the last pass erases nothing until a
// person says that it is right: a wrong year must not cost a year's recordings.
//
// # Hand-over
//
// A sealed segment is put into the store and read back, then, under the ledger's
// lock, its key file; then the segment's own file is freed. The key file stays in
// the folder too: it is small, it says what there is, and retention goes by it. Each
// step may be repeated, so that a process that dies anywhere goes on where it was.
//
// The ledger is copied to the store before anything is destroyed there and when a
// hold changes. A worker that has lost its folder finds both there, holds included.
//
// # What it refuses to do
//
// It reads no packet and needs no master key. It erases nothing on hold, and
// nothing at all while its ledger is damaged.
package keeping
