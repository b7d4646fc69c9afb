package keeping

import (
	"context"
	"fmt"
	"syscall"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
)

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// Space tells how much room is left and whether that is too little.
func (k *Keeper) Space() (free int64, low bool, err error) {
	if free, err = k.free(k.cfg.Dir); err != nil {
		return 0, false, err
	}
	low = free < k.cfg.MinFree
	freeSpace.Store(free)
	if low {
		diskLow.Store(1)
	} else {
		diskLow.Store(0)
	}
	return free, low, nil
}

// MakeRoom erases the oldest recordings of the folder until there is room again,
// where the configuration has it so; what is on hold stays. Otherwise the promise
// to what is recorded already goes before that to what is not, and new calls go on
// unrecorded. It returns how many keys it destroyed.
func (k *Keeper) MakeRoom(ctx context.Context) (erased int, err error) {
	if _, low, err := k.Space(); err != nil || !low || !k.cfg.MakeRoom {
		return 0, err
	}
	l, err := k.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	names, _, err := k.sealed() // what is in the store takes no room here
	if err != nil {
		return 0, err
	}
	for _, segment := range names {
		free, low, err := k.Space()
		if err != nil || !low {
			return erased, err
		}
		table, err := record.ReadTable(k.path(segment, record.KeysSuffix))
		if record.Unreadable(err) {
			continue
		}
		if err != nil {
			return erased, err
		}
		lines := roomOf(table, segment, l.State().Holds, fmt.Sprintf("disk full: %d bytes free", free))
		if len(lines) == 0 {
			continue
		}
		if err := k.erase(ctx, l, lines); err != nil {
			return erased, err
		}
		erased += len(lines)
		k.cfg.Logger.Error("oldest recordings erased to make room for new ones", "segment", segment, "calls", len(lines), "free_bytes", free)
	}
	return erased, nil
}

// roomOf erases a whole segment or nothing: only with its last key does it free
// any room.
func roomOf(table record.Table, segment string, holds map[string]ledger.Line, why string) (lines []ledger.Line) {
	for _, c := range table.Calls {
		if holds[c.Call].Act != "" {
			return nil
		}
		lines = append(lines, ledger.Line{Act: ledger.Erase, Call: c.Call, Segment: segment, Slot: c.Slot, Label: c.Label, Who: "make_room", Why: why})
	}
	if len(table.Damaged) > 0 && len(holds) > 0 {
		return nil
	}
	for _, slot := range table.Damaged {
		lines = append(lines, ledger.Line{Act: ledger.Erase, Segment: segment, Slot: slot, Who: "make_room", Why: why})
	}
	return lines
}
