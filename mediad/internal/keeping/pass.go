package keeping

import (
	"context"
	"fmt"
	"time"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
)

// Due is a recording whose time is over.
type Due struct {
	Segment     string
	Slot        uint32 // wholeSegment where the key file cannot be read
	Call, Label string // empty where nobody knows
	Recorded    time.Time
	Until       time.Time // it was to be kept
	Kept        time.Duration
	Held        ledger.Line // its hold; Act is empty where there is none

	empty bool // no key is left in the segment
}

// Why is the sentence for the ledger.
func (d Due) Why() string {
	switch {
	case d.empty:
		return "no key is left in it"
	case d.Slot == wholeSegment:
		return fmt.Sprintf("unreadable key file; the longest rule, %s, was over on %s", days(d.Kept), d.Until.Format(time.RFC3339))
	case d.Call == "":
		return fmt.Sprintf("damaged key; the longest rule, %s, was over on %s", days(d.Kept), d.Until.Format(time.RFC3339))
	}
	return fmt.Sprintf("kept %s, until %s", days(d.Kept), d.Until.Format(time.RFC3339))
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.String()
}

// Overdue is what a pass would erase now, and what holds keep it from erasing,
// oldest first. It changes nothing.
func (k *Keeper) Overdue() (due []Due, err error) {
	state, err := ledger.Read(k.cfg.Dir, nil)
	if err != nil {
		return nil, err
	}
	err = k.eachOverdue(state.Holds, func(segment []Due) error {
		due = append(due, segment...)
		return nil
	})
	return due, err
}

// eachOverdue passes on what is due of each segment.
func (k *Keeper) eachOverdue(holds map[string]ledger.Line, use func([]Due) error) error {
	names, err := k.segments()
	if err != nil {
		return err
	}
	now := k.now()
	least, most := k.cfg.Rules.bounds()
	for _, segment := range names {
		created, _ := record.Created(segment)
		sealed := created.Add(k.cfg.SegmentAge)
		if sealed.Add(least).After(now) {
			break // they are in the order of their creation
		}
		if exists(k.path(segment, record.OpenSuffix)) {
			continue
		}
		base := Due{Segment: segment, Recorded: created, Until: sealed.Add(most), Kept: most, Held: anyOf(holds)}
		var due []Due
		table, err := record.ReadTable(k.path(segment, record.KeysSuffix))
		switch {
		case record.Unreadable(err):
			if !base.Until.After(now) {
				due = append(due, base)
			}
		case err != nil:
			return err
		default:
			due = k.dueOf(table, base, sealed, now, holds)
		}
		if len(due) == 0 {
			continue
		}
		if err := use(due); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) dueOf(table record.Table, base Due, sealed, now time.Time, holds map[string]ledger.Line) (due []Due) {
	for _, c := range table.Calls {
		d := base
		d.Slot, d.Call, d.Label, d.Held = c.Slot, c.Call, c.Label, holds[c.Call]
		d.Kept = k.cfg.Rules.For(c.Label)
		if d.Until = sealed.Add(d.Kept); !d.Until.After(now) {
			due = append(due, d)
		}
	}
	if table.Empty() && !base.Until.After(now) {
		base.empty, base.Held = true, ledger.Line{}
		return []Due{base}
	}
	// Whose they are nobody knows: they stay as long as anybody's, and while
	// anything at all is on hold.
	for _, slot := range table.Damaged {
		d := base
		if d.Slot = slot; !d.Until.After(now) {
			due = append(due, d)
		}
	}
	return due
}

// anyOf is the first of the holds by call.
func anyOf(holds map[string]ledger.Line) (first ledger.Line) {
	for _, h := range holds { // any order: the least is taken
		if first.Act == "" || h.Call < first.Call {
			first = h
		}
	}
	return first
}

// mostLeap is how far the clock may go between two passes without a person
// having a look.
const mostLeap = 7 * 24 * time.Hour

// passBatch is how many erasures are decided at once: each batch copies the ledger.
const passBatch = 1000

// Passed is what a pass did.
type Passed struct {
	Erased int // keys
	Held   int // overdue, and on hold
}

// Pass erases what is overdue and not held. Without leap it refuses to, with
// ErrClock, if the clock has gone on by more than a week since the last pass.
func (k *Keeper) Pass(ctx context.Context, leap bool) (p Passed, err error) {
	l, err := k.begin(ctx)
	if err != nil {
		return p, err
	}
	defer l.Close()
	state := l.State()
	if last := state.LastPass; !leap && !last.IsZero() && k.now().Sub(last) > mostLeap {
		return p, fmt.Errorf("%w: it is %s, and was %s at the last pass: nothing is erased until somebody says that it is right",
			ErrClock, k.now().UTC().Format(time.RFC3339), last.Format(time.RFC3339))
	}
	if err := k.adopt(ctx); err != nil {
		return p, err
	}
	var lines []ledger.Line
	flush := func() error {
		if len(lines) == 0 {
			return nil
		}
		if err := k.erase(ctx, l, lines); err != nil {
			return err
		}
		p.Erased += len(lines)
		lines = nil
		return nil
	}
	err = k.eachOverdue(state.Holds, func(due []Due) error {
		for _, d := range due {
			if d.Held.Act != "" {
				p.Held++
				continue
			}
			lines = append(lines, ledger.Line{Act: ledger.Erase, Call: d.Call, Segment: d.Segment, Slot: d.Slot, Label: d.Label,
				Who: "retention", Why: d.Why()})
		}
		if len(lines) < passBatch {
			return ctx.Err()
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return p, err
	}
	return p, l.Append(ledger.Line{Act: ledger.Pass, At: k.now().UTC(), Count: p.Erased})
}
