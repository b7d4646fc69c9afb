package sim

import (
	"fmt"
	"time"
)

// raft is one node's consensus: Raft's rules (elections with pre-vote, log
// matching, commitment by a majority of the present term only, snapshots),
// written for the simulator. It checks itself against what the world knows of
// all nodes: one leader a term, equal entries at equal index and term, every
// committed entry in every later leader's log, one entry applied at an index.
type raft struct {
	r     *router
	id    int
	peers int // how many voters there are

	term        uint64
	voted       int
	snap        *saved
	log         []*entry // after the snapshot
	role        role
	leader      int           // -1: unknown
	heard       time.Duration // the wait for a leader began
	heardLeader time.Duration // 0: never in this life
	round       uint64        // of elections: makes timers of earlier ones void

	votes   []bool
	next    []uint64
	match   []uint64
	contact []time.Duration // last answer of each follower
	stable  uint64          // of a leader: synced on its own disk

	commit, applied uint64
	applying        bool
	replayTo        uint64 // the last index on disk when this life began
	last, lastWall  int64  // stamp and wall time of the last applied entry
	clock           clock
	asked           map[uint64]asked // proposals of this leader by index
	lead            *leadership
	installing      bool
	// unsure is set while this node's idea of cluster time hangs on what its disk
	// or its sleep left it with, or on a stamp that was committed long after it was
	// given: it has not heard a fresh one since.
	unsure bool
}

type role uint8

const (
	follower role = iota
	preCandidate
	candidate
	leader
)

// asked is a proposal waiting to be applied.
type asked struct {
	term uint64
	done func(reply []byte, index uint64, known bool)
}

// leadership is who leads as far as this node knows; self only once it has
// applied all that was committed before its term.
type leadership struct {
	id   int
	self bool
	over []func() // told when another takes its place
}

// Times of the consensus. The leader must hear from a majority within the
// shortest election timeout.
const (
	heartbeatEvery = 50 * time.Millisecond
	electionLeast  = 150 * time.Millisecond
	electionMost   = 300 * time.Millisecond
	// snapshotEvery is after how many applied entries one is written, trailing
	// how many are kept for followers who are behind.
	snapshotEvery = 300
	trailing      = 100
	mostEntries   = 64
)

func newRaft(r *router, p *platter) *raft {
	x := &raft{
		r: r, id: r.id, peers: len(r.w.routers), term: p.term, voted: p.voted, snap: p.snap,
		log: append([]*entry(nil), p.log...), leader: -1, clock: clock{c: &r.clocks}, unsure: true,
		asked: map[uint64]asked{}, lead: &leadership{id: -1},
	}
	x.replayTo = x.lastIndex()
	if x.snap != nil {
		x.commit, x.applied = x.snap.index, x.snap.index
		x.last, x.lastWall = x.snap.last, x.snap.wall
		x.clock.replayed(x.last, x.lastWall)
	}
	return x
}

func (x *raft) base() (index, term uint64) {
	if x.snap == nil {
		return 0, 0
	}
	return x.snap.index, x.snap.term
}

// first is the index before the first entry that is still in the log.
func (x *raft) first() uint64 {
	if len(x.log) > 0 {
		return x.log[0].index - 1
	}
	return x.lastIndex()
}

func (x *raft) lastIndex() uint64 {
	if len(x.log) > 0 {
		return x.log[len(x.log)-1].index
	}
	i, _ := x.base()
	return i
}

func (x *raft) lastTerm() uint64 { t, _ := x.termAt(x.lastIndex()); return t }

// entryAt returns the entry at an index, nil if it is not in the log.
func (x *raft) entryAt(index uint64) *entry {
	if len(x.log) == 0 || index < x.log[0].index || index > x.lastIndex() {
		return nil
	}
	return x.log[index-x.log[0].index]
}

// termAt is the term at an index, if it is known.
func (x *raft) termAt(index uint64) (uint64, bool) {
	if index == 0 {
		return 0, true
	}
	if e := x.entryAt(index); e != nil {
		return e.term, true
	}
	if i, t := x.base(); i == index {
		return t, true
	}
	return 0, false
}

func (x *raft) quorum() int { return x.peers/2 + 1 }

// saveState puts term and vote on disk and then does f. A node that can't keep
// its term must not go on.
func (x *raft) saveState(f func()) {
	term, voted := x.term, x.voted
	if !x.r.disk.write(func(p *platter) { p.term, p.voted = term, voted }, f) {
		x.r.halt("disk full: the term can't be stored")
	}
}

// store appends entries from an index on to log and disk; done runs once they
// are synced. It returns false if there is no room.
func (x *raft) store(entries []*entry, done func()) bool {
	from := entries[0].index
	if !x.r.disk.write(func(p *platter) { p.appended(from, entries) }, done) {
		return false
	}
	if keep := from - 1 - x.first(); keep < uint64(len(x.log)) {
		x.log = append(x.log[:keep:keep], entries...)
	} else {
		x.log = append(x.log, entries...)
	}
	for _, e := range entries {
		before, ok := x.termAt(e.index - 1)
		if !ok {
			panic(fmt.Sprintf("sim: %s stores %d after a gap", x.r.name, e.index))
		}
		x.r.w.judge.stored(x, e, before)
	}
	return true
}

// setLead makes another the leader this node knows of.
func (x *raft) setLead(id int, self bool) {
	was := x.lead
	if was.id == id && was.self == self {
		return
	}
	x.lead = &leadership{id: id, self: self}
	for _, f := range was.over {
		f()
	}
	if self {
		x.r.leads()
	}
}

// stepDown makes this node a follower of the term. Proposals of its time as
// leader have an unknown outcome.
func (x *raft) stepDown(term uint64, leaderID int) {
	if term > x.term {
		x.term, x.voted = term, -1
		x.saveState(func() {})
	}
	was := x.role
	x.role, x.leader = follower, leaderID
	x.round++
	if was == leader {
		x.r.w.note(x.r.name, "follows", "", "", term)
		x.forgetAsked()
	}
	x.setLead(leaderID, false)
	x.armElection()
}

func (x *raft) forgetAsked() {
	for i := x.applied; len(x.asked) > 0; i++ {
		if a, ok := x.asked[i]; ok {
			delete(x.asked, i)
			a.done(nil, 0, false)
		}
	}
}

// propose appends data to the log if this node leads and is ready.
func (x *raft) propose(data []byte, done func(reply []byte, index uint64, known bool)) bool {
	if x.role != leader || !x.lead.self {
		return false
	}
	e := &entry{index: x.lastIndex() + 1, term: x.term, stamp: x.clock.now(), wall: x.r.clocks.wall(), data: data, made: x.r.w.now}
	x.asked[e.index] = asked{x.term, done}
	x.append(e) // if it fails the outcome is told as unknown
	return true
}

// append is the leader's own.
func (x *raft) append(e *entry) bool {
	term := x.term
	ok := x.store([]*entry{e}, func() {
		if x.role == leader && x.term == term {
			x.stable = max(x.stable, e.index)
			x.advance()
		}
	})
	if !ok {
		x.r.w.note(x.r.name, "disk-full", "leader", "", 0)
		x.stepDown(x.term, -1)
		return false
	}
	for i := range x.peers {
		x.replicate(i)
	}
	return true
}

// advance commits what a majority has, if it is of the present term.
func (x *raft) advance() {
	for n := x.lastIndex(); n > x.commit; n-- {
		if t, _ := x.termAt(n); t != x.term {
			return
		}
		have := 0
		for i := range x.peers {
			if i == x.id && x.stable >= n || i != x.id && x.match[i] >= n {
				have++
			}
		}
		if have >= x.quorum() {
			x.setCommit(n)
			return
		}
	}
}

func (x *raft) setCommit(n uint64) {
	if n <= x.commit {
		return
	}
	x.commit = n
	x.r.w.judge.committed(x, n)
	if !x.applying {
		x.applying = true
		x.r.after(20*time.Microsecond, x.apply)
	}
}

// apply gives committed entries to the machine.
func (x *raft) apply() {
	x.applying = false
	for n := 0; x.applied < x.commit && x.r.up; n++ {
		if n == mostEntries {
			x.applying = true
			x.r.after(20*time.Microsecond, x.apply)
			break
		}
		x.applyOne(x.entryAt(x.applied + 1))
	}
	x.ready()
	if x.r.up {
		x.snapshot()
	}
}

func (x *raft) applyOne(e *entry) {
	x.r.w.judge.applies(x, e)
	x.applied = e.index
	var reply []byte
	if !e.noop {
		if e.index <= x.replayTo {
			x.clock.replayed(e.stamp, e.wall)
		} else {
			back := x.clock.live(e.stamp, x.role == leader)
			x.unsure = (x.unsure || back) && x.r.w.now-e.made > time.Second/2
		}
		x.last, x.lastWall = max(x.last+1, e.stamp), e.wall
		reply = x.r.apply(e.index, x.last, e)
	}
	if a, ok := x.asked[e.index]; ok {
		delete(x.asked, e.index)
		a.done(reply, e.index, a.term == e.term)
	}
}

// ready notices that a leader has applied all that was committed before it.
func (x *raft) ready() {
	if x.role != leader || x.lead.self {
		return
	}
	if t, _ := x.termAt(x.applied); t == x.term {
		x.setLead(x.id, true)
	}
}

// snapshot writes the machine's state every snapshotEvery entries and drops the
// entries it stands for, but for some that followers may still lack.
func (x *raft) snapshot() {
	if base, _ := x.base(); x.applied < base+snapshotEvery {
		return
	}
	term, _ := x.termAt(x.applied)
	s := &saved{index: x.applied, term: term, last: x.last, wall: x.lastWall, data: x.r.image()}
	if !x.r.disk.write(func(p *platter) { p.snapped(s, false) }, func() {}) {
		return // tried again after the next entry
	}
	x.snap = s
	if keep := s.index - min(s.index, trailing); keep > x.first() {
		x.log = append([]*entry(nil), x.log[keep-x.first():]...)
	}
}
