package acd

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// AlarmKind is what of a link's speech is bad.
type AlarmKind string

// Kinds of alarms. A value is in microseconds (delay, jitter), parts per million
// (loss: of packets; rtcp: of calls whose far end sends none) or bits a second
// (bandwidth: what all channels would take).
const (
	AlarmDelay     AlarmKind = "delay"
	AlarmLoss      AlarmKind = "loss"
	AlarmJitter    AlarmKind = "jitter"
	AlarmRTCP      AlarmKind = "rtcp"
	AlarmBandwidth AlarmKind = "bandwidth"
)

// AlarmKinds lists them.
func AlarmKinds() []AlarmKind {
	return []AlarmKind{AlarmDelay, AlarmLoss, AlarmJitter, AlarmRTCP, AlarmBandwidth}
}

// Direction is a way over a link, as seen from us.
type Direction string

// Directions. A round trip does not tell the two apart.
const (
	DirectionIn   Direction = "in"
	DirectionOut  Direction = "out"
	DirectionBoth Direction = "both"
)

// LinkLimits are what a trunk's speech is held to (T9). What is 0 is the default.
type LinkLimits struct {
	Delay  time.Duration `cbor:"1,keyasint,omitempty" yaml:"delay"`        // one way; 120 ms
	Loss   int           `cbor:"2,keyasint,omitempty" yaml:"loss"`         // permille of packets; 10
	Jitter time.Duration `cbor:"3,keyasint,omitempty" yaml:"jitter"`       // 30 ms
	RTCP   int           `cbor:"4,keyasint,omitempty" yaml:"rtcp_missing"` // permille of calls; 200
	// Bandwidth is what the link carries each way, in kbit/s. It is held against
	// what all of the trunk's channels would take at the present mean of a call;
	// 0: it is not watched.
	Bandwidth int         `cbor:"5,keyasint,omitempty" yaml:"bandwidth"`
	Ignore    []AlarmKind `cbor:"6,keyasint,omitempty" yaml:"ignore"` // not watched
}

// Complete fills in the defaults.
func (l LinkLimits) Complete() LinkLimits {
	l.Delay = cmp.Or(l.Delay, 120*time.Millisecond)
	l.Loss = cmp.Or(l.Loss, 10)
	l.Jitter = cmp.Or(l.Jitter, 30*time.Millisecond)
	l.RTCP = cmp.Or(l.RTCP, 200)
	return l
}

// Limit is the value above which the kind is bad, in its unit; 0: it is not
// watched.
func (l LinkLimits) Limit(kind AlarmKind) int64 {
	if slices.Contains(l.Ignore, kind) {
		return 0
	}
	switch l = l.Complete(); kind {
	case AlarmDelay:
		return l.Delay.Microseconds()
	case AlarmLoss:
		return int64(l.Loss) * 1000
	case AlarmJitter:
		return l.Jitter.Microseconds()
	case AlarmRTCP:
		return int64(l.RTCP) * 1000
	case AlarmBandwidth:
		return int64(l.Bandwidth) * 1000
	}
	return 0
}

func (l *LinkLimits) digest(d *digest) {
	if l.Delay == 0 && l.Loss == 0 && l.Jitter == 0 && l.RTCP == 0 && l.Bandwidth == 0 && len(l.Ignore) == 0 {
		return // as before there were limits
	}
	d.text("quality")
	d.num(uint64(l.Delay), uint64(l.Loss), uint64(l.Jitter), uint64(l.RTCP), uint64(l.Bandwidth))
	d.list(len(l.Ignore), func(i int) { d.text(string(l.Ignore[i])) })
}

// Bounds of limits.
const (
	maxLinkTime  = 10 * time.Second
	maxBandwidth = 100_000_000 // kbit/s
)

func (v *validator) linkLimits(l *LinkLimits, path string) {
	for _, f := range []struct {
		d    time.Duration
		name string
	}{{l.Delay, ".delay"}, {l.Jitter, ".jitter"}} {
		if f.d < 0 || f.d > maxLinkTime {
			v.fault(path+f.name, "is not between 0 (the default) and %s", maxLinkTime)
		}
	}
	v.within(l.Loss, 0, 1000, path+".loss")
	v.within(l.RTCP, 0, 1000, path+".rtcp_missing")
	v.within(l.Bandwidth, 0, maxBandwidth, path+".bandwidth")
	for i, k := range l.Ignore {
		if !slices.Contains(AlarmKinds(), k) {
			v.fault(path+".ignore["+itoa(i)+"]", "%q is none of %s", k, joinKinds(AlarmKinds()))
		}
	}
}

func joinKinds(kinds []AlarmKind) string {
	var words []string
	for _, k := range kinds {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

// LinkAlarm is raised on a trunk.
type LinkAlarm struct {
	Kind      AlarmKind `cbor:"1,keyasint"`
	Direction Direction `cbor:"2,keyasint"`
	Since     Time      `cbor:"3,keyasint"`
	Value     int64     `cbor:"4,keyasint"` // when it was raised
	Limit     int64     `cbor:"5,keyasint"` // likewise
}

func (a *LinkAlarm) digest(d *digest) {
	d.text(string(a.Kind), string(a.Direction))
	d.num(uint64(a.Since), uint64(a.Value), uint64(a.Limit))
}

// linkAlarmChanged: the leader has found a trunk's speech bad, or good again.
func (m *Machine) linkAlarmChanged(b LinkAlarmChanged) Result {
	switch {
	case m.trunks[b.Trunk] == nil:
		return m.noop(ReasonUnknownTrunk)
	case !slices.Contains(AlarmKinds(), b.Kind), !slices.Contains([]Direction{DirectionIn, DirectionOut, DirectionBoth}, b.Direction):
		return m.noop(ReasonBadAlarm)
	}
	w := m.way(b.Trunk)
	at, raised := slices.BinarySearchFunc(w.Alarms, LinkAlarm{Kind: b.Kind, Direction: b.Direction}, func(x, y LinkAlarm) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Direction, y.Direction))
	})
	if raised == b.Raised {
		return m.noop(ReasonUnchanged)
	}
	kind := FactLinkCleared
	var was LinkAlarm
	if b.Raised {
		kind = FactLinkAlarm
		w.Alarms = slices.Insert(w.Alarms, at, LinkAlarm{Kind: b.Kind, Direction: b.Direction, Since: m.now, Value: b.Value, Limit: b.Limit})
	} else {
		was = w.Alarms[at]
		w.Alarms = slices.Delete(w.Alarms, at, at+1)
	}
	f := m.fact(Fact{Kind: kind}).text("trunk", string(b.Trunk)).text("kind", string(b.Kind)).text("direction", string(b.Direction)).
		int64("value", b.Value).int64("limit", b.Limit)
	if !b.Raised {
		f.text("cause", b.Cause).seconds("lasted", m.now.Sub(was.Since))
	}
	return Result{Applied: true}
}

// alarmed tells how bad a trunk's speech is known to be: 0, or 1 with any alarm.
// How many there are says little: a bad line raises several.
func (m *Machine) alarmed(id TrunkID) int {
	if w := m.ways[id]; w != nil && len(w.Alarms) > 0 {
		return 1
	}
	return 0
}

// avoided tells of trunks that an alarm has put behind the first: that would have
// been tried before it, or in its turn.
func (m *Machine) avoided(c *call, l *Leg, trunks []TrunkID) {
	first := m.trunks[trunks[0]]
	for _, id := range trunks[1:] {
		if m.alarmed(id) <= m.alarmed(first.ID) || cmp.Or(cmp.Compare(m.trunks[id].Priority, first.Priority), cmp.Compare(m.trunkRank(id), m.trunkRank(first.ID))) > 0 {
			continue
		}
		w := m.fact(Fact{Kind: FactTrunkAvoided, Call: c.ID, Leg: l.ID, Agent: l.Agent, Queue: c.Queue}).
			text("trunk", string(id)).text("for", string(first.ID))
		from, more := w.begin("alarms"), true
		for _, a := range m.ways[id].Alarms {
			w.pair(&more, string(a.Kind))
			w.c.buf = append(w.c.buf, a.Direction...)
		}
		w.end(from)
	}
}
