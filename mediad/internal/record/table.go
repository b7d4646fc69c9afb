package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A segment's files by their names, for those who move them.
const (
	SealedSuffix  = sealedSuffix
	OpenSuffix    = openSuffix
	KeysSuffix    = keysSuffix
	DamagedSuffix = damagedSuffix // what Open could not read and set aside
)

// Unreadable tells whether ReadTable failed because of what the file holds,
// rather than because of the disk.
func Unreadable(err error) bool { return errors.Is(err, errHeader) }

// SyncDir makes names given and taken in a folder durable.
func SyncDir(dir string) error {
	if err := (disk{}).syncDir(dir); err != nil {
		return fmt.Errorf("fsync folder: %w", err)
	}
	return nil
}

// Created is when the segment of that name was begun, and whether the name is
// a segment's at all. Suffixes are taken off.
func Created(name string) (time.Time, bool) {
	name = SegmentName(name)
	hex, ok := strings.CutPrefix(name, "rec-")
	if !ok || len(hex) != 16+1+8 || hex[16] != '-' {
		return time.Time{}, false
	}
	ns, err := strconv.ParseInt(hex[:16], 16, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(0, ns).UTC(), true
}

// SegmentName is the name of a segment from that of one of its files.
func SegmentName(file string) string {
	name := filepath.Base(file)
	for _, suffix := range []string{sealedSuffix, openSuffix, keysSuffix, damagedSuffix} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// Table is what a key file says without the master key.
type Table struct {
	Calls   []Keyed  // whose keys are there
	Erased  int      // whose keys were destroyed
	Damaged []uint32 // slots of which nobody knows whose they are
}

// Empty tells whether no key is left that could be read by anybody.
func (t Table) Empty() bool { return len(t.Calls)+len(t.Damaged) == 0 }

// Keyed is one call's entry in a key file. A call has several where it was
// recorded anew, or went to another queue.
type Keyed struct {
	Slot        uint32
	Call, Label string
}

// ReadTable reads a key file.
func ReadTable(path string) (Table, error) {
	k, err := readKeyFile(path)
	if err != nil {
		return Table{}, fmt.Errorf("%s: %w", path, err)
	}
	return k.table(), nil
}

func (k keyFile) table() Table {
	t := Table{Damaged: k.damaged}
	for _, s := range k.slots {
		if s.erased {
			t.Erased++
			continue
		}
		t.Calls = append(t.Calls, Keyed{Slot: s.number, Call: s.call, Label: s.label})
	}
	return t
}

// EraseSlots overwrites slots of a key file, damaged ones too, and returns how
// many it destroyed, when they are gone from the disk. Erasing again does
// nothing.
func EraseSlots(path string, slots []uint32) (erased int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("erase keys: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, fmt.Errorf("erase keys: %w", err)
	}
	k, err := decodeKeyFile(b)
	if err != nil {
		return 0, fmt.Errorf("erase keys: %s: %w", path, err)
	}
	for _, s := range k.slots {
		if s.erased || !slices.Contains(slots, s.number) {
			continue
		}
		if err := k.blank(f, keySlot{number: s.number, call: s.call, label: s.label}); err != nil {
			return erased, err
		}
		erased++
	}
	for _, number := range k.damaged {
		if !slices.Contains(slots, number) {
			continue
		}
		if err := k.blank(f, keySlot{number: number}); err != nil {
			return erased, err
		}
		erased++
	}
	// Also where nothing was left to do: an earlier call may have died before this.
	if err := f.Sync(); err != nil {
		return erased, fmt.Errorf("erase keys: %w", err)
	}
	keysErased.Add(erased)
	return erased, nil
}

func (k keyFile) blank(f *os.File, s keySlot) error {
	s.erased = true
	if _, err := f.WriteAt(encodeSlot(k.header.id, s), int64(s.number)*slotSize); err != nil {
		return fmt.Errorf("erase keys: %w", err)
	}
	return nil
}
