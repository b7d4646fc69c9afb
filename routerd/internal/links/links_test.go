package links

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// site is two workers whose calls go over one trunk, what is raised on it, and the
// time. The workers' ten seconds begin 3 and 8 s into the board's.
type site struct {
	t      *testing.T
	board  *Board
	trunk  Trunk
	now    time.Duration
	serial uint64
	log    []string
}

func newSite(t *testing.T) *site {
	return &site{t: t, board: &Board{}, trunk: Trunk{ID: "sbc-a", Channels: 60}, now: time.Hour}
}

// healthy is what one worker sees of ten calls in ten seconds.
func healthy() mediaapi.Bucket {
	return mediaapi.Bucket{Link: "sbc-a", Calls: 10, Received: 5000, ReceivedJitter: 2000, ReceivedBytes: 5000 * 216,
		SentPackets: 5000, Sent: 5000, SentJitter: 2000, SentBytes: 5000 * 216, Delay: 10_000, Timed: 10, Reporting: 10}
}

// pass lets ten seconds go by in which both workers saw this; nil: no call.
func (s *site) pass(b *mediaapi.Bucket) {
	s.serial++
	for i, worker := range []acd.WorkerID{"m1", "m2"} {
		ended := s.now + []time.Duration{3 * time.Second, 8 * time.Second}[i]
		r := mediaapi.Reply{Serial: s.serial + 100*uint64(i), Age: 1500}
		if b != nil {
			mine := *b
			mine.Serial = r.Serial
			r.Buckets = []mediaapi.Bucket{mine}
		}
		s.board.Add(worker, 1, r, ended+1500*time.Millisecond)
	}
	s.now += slotTime
	for _, c := range s.board.Judge([]Trunk{s.trunk}, s.now+settle) {
		s.take(c)
	}
}

// take is the machine's part.
func (s *site) take(c acd.LinkAlarmChanged) {
	same := func(a acd.LinkAlarm) bool { return a.Kind == c.Kind && a.Direction == c.Direction }
	if slices.ContainsFunc(s.trunk.Raised, same) == c.Raised {
		s.t.Errorf("said again: %+v", c)
	}
	if c.Raised {
		s.trunk.Raised = append(s.trunk.Raised, acd.LinkAlarm{Kind: c.Kind, Direction: c.Direction})
		s.log = append(s.log, fmt.Sprintf("%d: %s %s %d over %d", s.serial, c.Kind, c.Direction, c.Value, c.Limit))
	} else {
		s.trunk.Raised = slices.DeleteFunc(s.trunk.Raised, same)
		s.log = append(s.log, fmt.Sprintf("%d: %s %s %s", s.serial, c.Kind, c.Direction, c.Cause))
	}
}

func (s *site) want(want ...string) {
	s.t.Helper()
	if !slices.Equal(s.log, want) {
		s.t.Errorf("got %q\nwant %q", s.log, want)
	}
	s.log = nil
}

// Each alarm is raised by three bad ten seconds of the last six and cleared once
// all of the last six are well below the limit.
func TestEachAlarmIsRaisedAndCleared(t *testing.T) {
	f := func(name string, impair func(*mediaapi.Bucket), between func(*mediaapi.Bucket), raised string, cleared string) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.trunk.Limits.Bandwidth = 6500 // kbit/s; 60 calls of 86.4 take 5184
			bad, middling, good := healthy(), healthy(), healthy()
			impair(&bad)
			between(&middling)
			for range 6 {
				s.pass(&good)
			}
			s.pass(&bad)
			s.pass(&good)
			s.pass(&bad)
			s.pass(&middling)
			s.want()
			s.pass(&bad)
			s.want("11: " + raised)
			for range 6 { // the last bad ten seconds leave the window; these are no better than in between
				s.pass(&middling)
			}
			for range 5 {
				s.pass(&good)
			}
			s.want()
			s.pass(&good)
			s.want("23: " + cleared)
			for range 8 {
				s.pass(&good)
			}
			s.want()
		})
	}
	f("delay", func(b *mediaapi.Bucket) { b.Delay = 121_000 }, func(b *mediaapi.Bucket) { b.Delay = 97_000 },
		"delay both 121000 over 120000", "delay both good")
	f("loss in", func(b *mediaapi.Bucket) { b.ReceivedLost = 51 }, func(b *mediaapi.Bucket) { b.ReceivedLost = 41 },
		"loss in 10200 over 10000", "loss in good")
	f("loss out", func(b *mediaapi.Bucket) { b.SentLost = 51 }, func(b *mediaapi.Bucket) { b.SentLost = 41 },
		"loss out 10200 over 10000", "loss out good")
	f("jitter in", func(b *mediaapi.Bucket) { b.ReceivedJitter = 31_000 }, func(b *mediaapi.Bucket) { b.ReceivedJitter = 25_000 },
		"jitter in 31000 over 30000", "jitter in good")
	f("jitter out", func(b *mediaapi.Bucket) { b.SentJitter = 31_000 }, func(b *mediaapi.Bucket) { b.SentJitter = 25_000 },
		"jitter out 31000 over 30000", "jitter out good")
	f("missing RTCP", func(b *mediaapi.Bucket) { b.Silent, b.Reporting = 3, 7 }, func(b *mediaapi.Bucket) { b.Silent, b.Reporting = 2, 8 },
		"rtcp in 300000 over 200000", "rtcp in good")
	f("bandwidth in", func(b *mediaapi.Bucket) { b.ReceivedBytes = 5000 * 280 }, func(b *mediaapi.Bucket) { b.ReceivedBytes = 5000 * 230 },
		"bandwidth in 6720000 over 6500000", "bandwidth in good")
	f("bandwidth out", func(b *mediaapi.Bucket) { b.SentBytes = 5000 * 280 }, func(b *mediaapi.Bucket) { b.SentBytes = 5000 * 230 },
		"bandwidth out 6720000 over 6500000", "bandwidth out good")
}

// A worker alone may see too few calls; all together they count. What too little
// stands behind raises nothing, and what nobody can measure is cleared after a
// while, so that calls go there again.
func TestFewCallsSayNothing(t *testing.T) {
	s := newSite(t)
	few := mediaapi.Bucket{Link: "sbc-a", Calls: 2, Received: 1000, ReceivedLost: 500}
	for range 8 {
		s.pass(&few)
	}
	s.want()
	enoughCalls := few
	enoughCalls.Calls = 3
	for range 3 {
		s.pass(&enoughCalls)
	}
	s.want("11: loss in 500000 over 10000")
	for range 34 {
		s.pass(nil)
	}
	s.want()
	for range 4 {
		s.pass(nil)
	}
	s.want("46: loss in not-measured")

	s = newSite(t)
	enoughPackets := few
	enoughPackets.Received = 1500
	for range 3 {
		s.pass(&enoughPackets)
	}
	s.want("3: loss in 333333 over 10000")
}

// Limits are the trunk's own; what is not watched any more is cleared at once.
func TestLimitsAreTheTrunks(t *testing.T) {
	s := newSite(t)
	s.trunk.Limits = acd.LinkLimits{Loss: 50, Delay: time.Millisecond, Ignore: []acd.AlarmKind{acd.AlarmRTCP}}
	b := healthy()
	b.ReceivedLost, b.Silent, b.Reporting = 200, 10, 0
	for range 4 {
		s.pass(&b)
	}
	s.want("3: delay both 10000 over 1000")
	s.trunk.Limits.Ignore = append(s.trunk.Limits.Ignore, acd.AlarmDelay)
	s.pass(&b)
	s.want("5: delay both not-watched")
}

// Whoever comes late hears the last minute from the workers and judges the same; a
// worker told twice counts once, and one whose clock jumps is put in its place.
func TestALateBoardKnowsTheLastMinute(t *testing.T) {
	bad := healthy()
	bad.ReceivedLost = 500
	r := mediaapi.Reply{Serial: 106, Age: 100}
	for serial := uint64(101); serial <= 106; serial++ {
		b := bad
		b.Serial = serial
		r.Buckets = append(r.Buckets, b)
	}
	board := &Board{}
	now := time.Hour
	for range 3 {
		board.Add("m1", 1, r, now)
	}
	if board.Last("m1", 1) != 106 || board.Last("m1", 2) != 0 {
		t.Errorf("last serial %d", board.Last("m1", 1))
	}
	trunk := Trunk{ID: "sbc-a", Channels: 60}
	if c := board.Judge([]Trunk{trunk}, now+settle); len(c) != 1 || c[0].Kind != acd.AlarmLoss || c[0].Value != 100_000 {
		t.Errorf("changes %+v", c)
	}
	readings := board.Readings([]Trunk{trunk}, now+settle)
	if len(readings) != 1 || readings[0].Calls != 10 {
		t.Fatalf("readings %+v", readings)
	}
	for _, m := range readings[0].Measures {
		if m.Kind == acd.AlarmLoss && m.Direction == acd.DirectionIn && m.Value != 100_000 {
			t.Errorf("loss of %d", m.Value)
		}
	}
	// Two minutes later the same worker has counted five only: it was stopped.
	now += 2 * time.Minute
	late := bad
	late.Serial = 111
	board.Add("m1", 1, mediaapi.Reply{Serial: 111, Age: 100, Buckets: []mediaapi.Bucket{late}}, now)
	if r := board.Readings([]Trunk{trunk}, now+settle); len(r) != 1 {
		t.Errorf("after a pause: %+v", r)
	}
	// A trunk that is configured no more is forgotten.
	board.Judge(nil, now+settle)
	if len(board.slots) != 0 || len(board.known) != 0 {
		t.Errorf("%d trunks are remembered", len(board.slots))
	}
}
