// Package links judges the speech of trunks (T9). It merges what each media worker
// saw of its calls in ten seconds, and says when an alarm is to be raised or
// cleared.
//
// It keeps no time, asks nobody and decides nothing for others: who asks the
// workers gives it their answers, and what is raised is in the log. It may be
// forgotten at any moment, for workers tell their last minute to whoever asks next.
package links

import (
	"cmp"
	"slices"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

const (
	slotTime = mediaapi.BucketSeconds * time.Second
	// settle is how long after its end ten seconds are judged: by then every
	// worker that lives was asked.
	settle = 5 * time.Second
	// window is how many ten seconds an alarm looks back on, and enough how many of
	// them raise it or, all known ones being good, clear it.
	window = 6
	enough = 3
	// A measure counts with so many calls, or so many packets.
	fewestCalls   = 5
	fewestPackets = 3000
	// clearAt is the share of the limit, in percent, at which a measure is good.
	clearAt = 80
	// unknownFor: an alarm about what nobody can measure is cleared, so that calls
	// are led there again and measure it.
	unknownFor = 5 * time.Minute
)

// Causes of clearing.
const (
	CauseGood        = "good"
	CauseNotMeasured = "not-measured"
	CauseNotWatched  = "not-watched"
)

// Measure is one value of ten seconds, in the kind's unit, see acd.AlarmKind.
type Measure struct {
	Kind      acd.AlarmKind
	Direction acd.Direction
	Value     int64
}

// Measures lists what there is to measure, without values.
func Measures() []Measure {
	return []Measure{
		{acd.AlarmDelay, acd.DirectionBoth, 0},
		{acd.AlarmLoss, acd.DirectionIn, 0}, {acd.AlarmLoss, acd.DirectionOut, 0},
		{acd.AlarmJitter, acd.DirectionIn, 0}, {acd.AlarmJitter, acd.DirectionOut, 0},
		{acd.AlarmRTCP, acd.DirectionIn, 0},
		{acd.AlarmBandwidth, acd.DirectionIn, 0}, {acd.AlarmBandwidth, acd.DirectionOut, 0},
	}
}

// Trunk is what a trunk is judged by, and what is raised.
type Trunk struct {
	ID       acd.TrunkID
	Channels int
	Limits   acd.LinkLimits
	Raised   []acd.LinkAlarm
}

// Board is what is known of all trunks. The zero value is ready.
type Board struct {
	sources map[source]*anchor
	slots   map[acd.TrunkID]map[int64]*sums
	known   map[acd.TrunkID]map[Measure]int64 // slot of the last measure, or in which it was first missed
}

// source is one life of one worker.
type source struct {
	worker      acd.WorkerID
	incarnation uint64
}

// anchor says which slot a worker's serial is of. Workers' ten seconds begin when
// they like and their clocks run apart, so that only the distance of two serials
// is sure; the anchor is moved when it is off by more than one.
type anchor struct {
	offset int64 // slot minus serial
	last   uint64
	heard  time.Duration
}

// Last is the serial of the worker's newest bucket that was added.
func (b *Board) Last(worker acd.WorkerID, incarnation uint64) uint64 {
	if a := b.sources[source{worker, incarnation}]; a != nil {
		return a.last
	}
	return 0
}

// Add takes a worker's answer to the command links, heard at now on a monotonic
// clock of the caller's.
func (b *Board) Add(worker acd.WorkerID, incarnation uint64, r mediaapi.Reply, now time.Duration) {
	if r.Serial == 0 {
		return
	}
	if b.sources == nil {
		b.sources, b.slots, b.known = map[source]*anchor{}, map[acd.TrunkID]map[int64]*sums{}, map[acd.TrunkID]map[Measure]int64{}
	}
	key := source{worker, incarnation}
	ended := int64((now - time.Duration(r.Age)*time.Millisecond) / slotTime)
	a := b.sources[key]
	if a == nil {
		a = &anchor{offset: ended - int64(r.Serial)}
		b.sources[key] = a
	}
	if drift := int64(r.Serial) + a.offset - ended; drift < -1 || drift > 1 {
		a.offset = ended - int64(r.Serial)
	}
	for i := range r.Buckets {
		if bucket := &r.Buckets[i]; bucket.Serial > a.last && bucket.Serial <= r.Serial {
			b.slot(acd.TrunkID(bucket.Link), int64(bucket.Serial)+a.offset).add(bucket)
		}
	}
	a.last, a.heard = max(a.last, r.Serial), now
	for key, other := range b.sources {
		if now-other.heard > (window+1)*slotTime {
			delete(b.sources, key)
		}
	}
}

func (b *Board) slot(trunk acd.TrunkID, n int64) *sums {
	if b.slots[trunk] == nil {
		b.slots[trunk] = map[int64]*sums{}
	}
	if b.slots[trunk][n] == nil {
		b.slots[trunk][n] = &sums{}
	}
	return b.slots[trunk][n]
}

// Judge says what is to be changed of the trunks' alarms, and forgets what is too
// old to count. Until a change is in the log it says so again.
func (b *Board) Judge(trunks []Trunk, now time.Duration) (changes []acd.LinkAlarmChanged) {
	newest := newestSlot(now)
	for id, slots := range b.slots {
		for n := range slots {
			if n <= newest-window {
				delete(slots, n)
			}
		}
		if !slices.ContainsFunc(trunks, func(t Trunk) bool { return t.ID == id }) {
			delete(b.slots, id)
			delete(b.known, id)
		}
	}
	for i := range trunks {
		changes = append(changes, b.judge(&trunks[i], newest)...)
	}
	return changes
}

// newestSlot is the last slot that is over for every worker.
func newestSlot(now time.Duration) int64 { return int64((now-settle)/slotTime) - 1 }

func (b *Board) judge(t *Trunk, newest int64) (changes []acd.LinkAlarmChanged) {
	for _, m := range Measures() {
		limit := t.Limits.Limit(m.Kind)
		raised := slices.ContainsFunc(t.Raised, func(a acd.LinkAlarm) bool { return a.Kind == m.Kind && a.Direction == m.Direction })
		change := acd.LinkAlarmChanged{Trunk: t.ID, Kind: m.Kind, Direction: m.Direction, Raised: !raised, Limit: limit}
		if limit == 0 {
			if raised {
				change.Cause = CauseNotWatched
				changes = append(changes, change)
			}
			continue
		}
		bad, good, last, lastBad := 0, 0, int64(0), int64(0)
		known := 0
		for n := newest - window + 1; n <= newest; n++ {
			value, ok := b.slots[t.ID][n].measure(m, t.Channels)
			if !ok {
				continue
			}
			known, last = known+1, value
			switch {
			case value > limit:
				bad, lastBad = bad+1, value
			case value*100 <= limit*clearAt:
				good++
			}
		}
		unknown := b.unknown(t.ID, m, known > 0, newest)
		switch {
		case !raised && bad >= enough:
			change.Value = lastBad
		case raised && good >= enough && good == known:
			change.Value, change.Cause = last, CauseGood
		case raised && unknown:
			change.Cause = CauseNotMeasured
		default:
			continue
		}
		changes = append(changes, change)
	}
	return changes
}

// unknown tells whether nothing has been measured for long.
func (b *Board) unknown(id acd.TrunkID, m Measure, known bool, newest int64) bool {
	if b.known == nil {
		b.known = map[acd.TrunkID]map[Measure]int64{}
	}
	if b.known[id] == nil {
		b.known[id] = map[Measure]int64{}
	}
	since, missed := b.known[id][m]
	if known || !missed {
		b.known[id][m] = newest
		return false
	}
	return time.Duration(newest-since)*slotTime >= unknownFor
}

// Reading is what the last ten seconds of a trunk came to.
type Reading struct {
	Trunk    acd.TrunkID
	Calls    int64
	Measures []Measure // those that are known, however few calls they are of
}

// Readings tells the newest ten seconds that are over of the trunks that had calls
// then, by id.
func (b *Board) Readings(trunks []Trunk, now time.Duration) (out []Reading) {
	for i := range trunks {
		t := &trunks[i]
		s := b.slots[t.ID][newestSlot(now)]
		if s == nil {
			continue
		}
		r := Reading{Trunk: t.ID, Calls: s.Calls}
		for _, m := range Measures() {
			if value, of := s.value(m, t.Channels); of > 0 {
				m.Value = value
				r.Measures = append(r.Measures, m)
			}
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Reading) int { return cmp.Compare(a.Trunk, b.Trunk) })
	return out
}
