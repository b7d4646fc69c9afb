package raftstoretest

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Entry is one applied command.
type Entry struct {
	Index uint64
	Stamp int64
	Data  string
}

// Journal is a state machine that keeps every command it was given, repeats
// included. Its reply is "applied " and the command.
type Journal struct {
	mu       sync.Mutex
	entries  []Entry
	restored int
}

// Apply notes a command.
func (j *Journal) Apply(index uint64, stamp int64, data []byte) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, Entry{index, stamp, string(data)})
	return fmt.Appendf(nil, "applied %s", data)
}

// Snapshot captures the entries.
func (j *Journal) Snapshot() (func(io.Writer) error, error) {
	entries := j.Entries()
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(entries) }, nil
}

// Restore replaces the entries.
func (j *Journal) Restore(r io.Reader) error {
	var entries []Entry
	if err := json.NewDecoder(r).Decode(&entries); err != nil {
		return fmt.Errorf("decode the journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = entries
	j.restored++
	return nil
}

// Entries returns what was applied so far.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// Restored counts the snapshots that were restored.
func (j *Journal) Restored() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.restored
}

// Has reports whether a command was applied.
func (j *Journal) Has(data string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.entries, func(e Entry) bool { return e.Data == data })
}
