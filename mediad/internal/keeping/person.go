package keeping

import (
	"context"
	"fmt"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
)

// Found is where a call is.
type Found struct {
	Segments int
	Open     int // of them, still being written: the call may go on
}

// Hold keeps a call from being erased, by whomever, until it is released. The
// call need not be in this folder yet.
func (k *Keeper) Hold(ctx context.Context, call, who, why string) (Found, error) {
	if err := named(call, who, why); err != nil {
		return Found{}, err
	}
	l, err := k.begin(ctx)
	if err != nil {
		return Found{}, err
	}
	defer l.Close()
	_, found, err := k.find(call)
	if err != nil {
		return found, err
	}
	if err := l.Append(ledger.Line{Act: ledger.Hold, Call: call, Who: who, Why: why}); err != nil {
		return found, err
	}
	return found, k.publishLedger(ctx)
}

// Release ends a hold. What is overdue goes with the next pass.
func (k *Keeper) Release(ctx context.Context, call, who, why string) error {
	if err := named(call, who, why); err != nil {
		return err
	}
	l, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, held := l.State().Holds[call]; !held {
		return fmt.Errorf("release %s: %w", call, ErrNotHeld)
	}
	if err := l.Append(ledger.Line{Act: ledger.Release, Call: call, Who: who, Why: why}); err != nil {
		return err
	}
	return k.publishLedger(ctx)
}

// Erase destroys a call before its time. Of one that is still being recorded it
// destroys what was recorded until then and the rest of the segment.
func (k *Keeper) Erase(ctx context.Context, call, who, why string) (Found, error) {
	if err := named(call, who, why); err != nil {
		return Found{}, err
	}
	l, err := k.begin(ctx)
	if err != nil {
		return Found{}, err
	}
	defer l.Close()
	if h, held := l.State().Holds[call]; held {
		return Found{}, fmt.Errorf("erase %s: %w, by %s since %s: %s", call, ErrHeld, h.Who, h.At.Format("2006-01-02"), h.Why)
	}
	if err := k.adopt(ctx); err != nil {
		return Found{}, err
	}
	lines, found, err := k.find(call)
	if err != nil {
		return found, err
	}
	if len(lines) == 0 {
		return found, fmt.Errorf("erase %s: %w", call, record.ErrNoRecording)
	}
	for i := range lines {
		lines[i].Who, lines[i].Why = who, why
	}
	return found, k.erase(ctx, l, lines)
}

func named(call, who, why string) error {
	switch {
	case call == "":
		return record.ErrCallID
	case who == "" || why == "":
		return ErrNotNamed
	}
	return nil
}

// find returns the erasure of all of a call's keys.
func (k *Keeper) find(call string) (lines []ledger.Line, found Found, err error) {
	names, err := k.segments()
	if err != nil {
		return nil, found, err
	}
	for _, segment := range names {
		table, err := record.ReadTable(k.path(segment, record.KeysSuffix))
		if record.Unreadable(err) {
			continue // retention tells of it
		}
		if err != nil {
			return nil, found, err
		}
		had := len(lines)
		for _, c := range table.Calls {
			if c.Call == call {
				lines = append(lines, ledger.Line{Act: ledger.Erase, Call: call, Segment: segment, Slot: c.Slot, Label: c.Label})
			}
		}
		if len(lines) == had {
			continue
		}
		found.Segments++
		if exists(k.path(segment, record.OpenSuffix)) {
			found.Open++
		}
	}
	return lines, found, nil
}
