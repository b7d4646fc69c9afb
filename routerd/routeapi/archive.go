package routeapi

import "time"

// The archive of applied log entries, each router's own. A snapshot is a backup
// stream, as PathBackup's is; entries are an archive segment. Where a stream ends
// before its time, the trailer HeaderError says why.
const (
	PathArchiveSnapshots = "/v1/archive/snapshots" // []ArchiveSnapshot, oldest first; and /INDEX: the stream
	PathArchiveEntries   = "/v1/archive/entries"   // ?from=INDEX&to=INDEX: the stream of the entries, both included
	PathArchiveIndex     = "/v1/archive/index"     // ?at=RFC3339: ArchiveIndex, of the last entry at that time or before

	HeaderError = "X-Trunkline-Error"
)

// ArchiveSnapshot is a state that entries go on from.
type ArchiveSnapshot struct {
	Index uint64    `json:"index"`
	At    time.Time `json:"at"` // cluster time
	Size  int64     `json:"size"`
}

// ArchiveIndex is an entry's place in the log.
type ArchiveIndex struct {
	Index uint64 `json:"index"`
}
