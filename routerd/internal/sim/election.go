package sim

import "time"

// Messages of the consensus. They may be lost, come twice and overtake each
// other.
type (
	voteAsked struct {
		term, lastIndex, lastTerm uint64
		from                      int
		pre                       bool
		round                     uint64
	}
	voteGiven struct {
		term    uint64
		from    int
		pre     bool
		granted bool
		round   uint64
	}
	entriesSent struct {
		term                uint64
		from                int
		prevIndex, prevTerm uint64
		entries             []*entry
		commit              uint64
	}
	entriesTaken struct {
		term  uint64
		from  int
		ok    bool
		match uint64 // if ok; 0: contact only
		hint  uint64 // if not: try from here
	}
	snapshotSent struct {
		term uint64
		from int
		snap *saved
	}
)

func (x *raft) tell(to int, m any) {
	w := x.r.w
	w.net.between(x.r, w.routers[to], func() { w.routers[to].hear(m) })
}

// receive handles a message of the consensus.
func (x *raft) receive(m any) {
	switch m := m.(type) {
	case voteAsked:
		x.voteAsked(m)
	case voteGiven:
		x.voteGiven(m)
	case entriesSent:
		x.entriesSent(m)
	case entriesTaken:
		x.entriesTaken(m)
	case snapshotSent:
		x.snapshotSent(m)
	}
}

// armElection starts the wait for a leader anew.
func (x *raft) armElection() {
	x.heard = x.r.w.now
	round := x.round
	wait := x.r.w.between(electionLeast, electionMost)
	var check func()
	check = func() {
		if x.role == leader || x.round != round {
			return
		}
		if quiet := x.r.w.now - x.heard; quiet < wait {
			x.r.after(wait-quiet, check)
			return
		}
		x.campaign(true)
	}
	x.r.after(wait, check)
}

// campaign asks for votes: first whether it would get them (pre-vote), so that
// a node that was cut off doesn't depose a leader the others hear.
func (x *raft) campaign(pre bool) {
	x.round++
	x.votes = make([]bool, x.peers)
	x.leader = -1
	x.setLead(-1, false)
	ask := voteAsked{term: x.term + 1, lastIndex: x.lastIndex(), lastTerm: x.lastTerm(), from: x.id, pre: pre, round: x.round}
	send := func() {
		for i := range x.peers {
			if i != x.id {
				x.tell(i, ask)
			}
		}
		x.voteGiven(voteGiven{term: ask.term, from: x.id, pre: pre, granted: true, round: ask.round})
	}
	x.armElection()
	if pre {
		x.role = preCandidate
		send()
		return
	}
	x.role = candidate
	x.term++
	x.voted = x.id
	round := x.round
	x.saveState(func() {
		if x.role == candidate && x.round == round {
			send()
		}
	})
}

func (x *raft) voteAsked(m voteAsked) {
	upToDate := m.lastTerm > x.lastTerm() || m.lastTerm == x.lastTerm() && m.lastIndex >= x.lastIndex()
	if m.pre {
		// Nobody who hears a leader helps another to be one.
		quiet := x.role != leader && (x.heardLeader == 0 || x.r.w.now-x.heardLeader >= electionLeast)
		x.tell(m.from, voteGiven{term: m.term, from: x.id, pre: true, granted: m.term > x.term && upToDate && quiet, round: m.round})
		return
	}
	if m.term > x.term {
		x.stepDown(m.term, -1)
	}
	answer := voteGiven{term: x.term, from: x.id, round: m.round}
	if m.term < x.term || x.voted != -1 && x.voted != m.from || !upToDate || x.role != follower {
		x.tell(m.from, answer)
		return
	}
	x.voted = m.from
	x.heard = x.r.w.now
	answer.granted = true
	x.saveState(func() { x.tell(m.from, answer) })
}

func (x *raft) voteGiven(m voteGiven) {
	switch {
	case !m.pre && m.term > x.term:
		x.stepDown(m.term, -1)
		return
	case !m.granted || m.round != x.round, m.pre && x.role != preCandidate, !m.pre && (x.role != candidate || m.term != x.term):
		return
	}
	x.votes[m.from] = true
	n := 0
	for _, v := range x.votes {
		if v {
			n++
		}
	}
	if n < x.quorum() {
		return
	}
	if m.pre {
		x.campaign(false)
		return
	}
	x.takeOffice()
}

// takeOffice begins this node's time as leader with an entry of its term.
func (x *raft) takeOffice() {
	w := x.r.w
	w.judge.elected(x)
	w.note(x.r.name, "leads", "", "", x.term)
	if x.unsure {
		w.judge.history.rebase = x.term
	}
	x.role, x.leader = leader, x.id
	x.round++
	x.next, x.match = make([]uint64, x.peers), make([]uint64, x.peers)
	x.contact = make([]time.Duration, x.peers)
	for i := range x.peers {
		x.next[i] = x.lastIndex() + 1
		x.contact[i] = w.now
	}
	x.stable = 0
	if !x.append(&entry{index: x.lastIndex() + 1, term: x.term, noop: true, wall: x.r.clocks.wall()}) {
		return
	}
	x.heartbeat(x.term)
}

// heartbeat keeps followers quiet and makes up for what was lost. A leader who
// does not hear from a majority stops being one.
func (x *raft) heartbeat(term uint64) {
	if x.role != leader || x.term != term {
		return
	}
	reach := 1
	for i := range x.peers {
		if i == x.id {
			continue
		}
		if x.r.w.now-x.contact[i] < electionLeast {
			reach++
		}
		x.next[i] = x.match[i] + 1
		x.replicate(i)
	}
	if reach < x.quorum() {
		x.stepDown(x.term, -1)
		return
	}
	x.r.after(heartbeatEvery, func() { x.heartbeat(term) })
}

// replicate sends a follower what it lacks, as far as is known.
func (x *raft) replicate(i int) {
	if i == x.id || x.role != leader {
		return
	}
	prev := x.next[i] - 1
	term, ok := x.termAt(prev)
	if !ok || prev < x.first() && len(x.log) > 0 {
		x.tell(i, snapshotSent{term: x.term, from: x.id, snap: x.snap})
		return
	}
	m := entriesSent{term: x.term, from: x.id, prevIndex: prev, prevTerm: term, commit: x.commit}
	if n := x.lastIndex() - prev; n > 0 {
		from := prev - x.first()
		m.entries = x.log[from : from+min(n, mostEntries)]
		m.entries = m.entries[:len(m.entries):len(m.entries)]
	}
	x.next[i] = prev + 1 + uint64(len(m.entries))
	x.tell(i, m)
}

func (x *raft) entriesSent(m entriesSent) {
	if m.term < x.term {
		x.tell(m.from, entriesTaken{term: x.term, from: x.id})
		return
	}
	x.follow(m.term, m.from)
	answer := entriesTaken{term: x.term, from: x.id}
	base, _ := x.base()
	if m.prevIndex < base { // what a snapshot stands for is committed and the same
		skip := min(base-m.prevIndex, uint64(len(m.entries)))
		m.entries, m.prevIndex = m.entries[skip:], m.prevIndex+skip
		if m.prevIndex < base {
			answer.ok = true
			x.tell(m.from, answer)
			return
		}
		m.prevTerm, _ = x.termAt(m.prevIndex)
	}
	if t, ok := x.termAt(m.prevIndex); !ok || t != m.prevTerm {
		answer.hint = min(x.lastIndex(), m.prevIndex-1) + 1
		x.tell(m.from, answer)
		return
	}
	answer.ok, answer.match = true, m.prevIndex+uint64(len(m.entries))
	fresh := m.entries
	for len(fresh) > 0 {
		if t, ok := x.termAt(fresh[0].index); !ok || t != fresh[0].term {
			break
		}
		fresh = fresh[1:]
	}
	finish := func() {
		if x.term != answer.term {
			return
		}
		x.tell(m.from, answer)
		if n := min(m.commit, answer.match); n > x.commit {
			x.setCommit(n)
		}
	}
	if len(fresh) == 0 {
		// All of it may still be on its way to the disk: answer behind it.
		if len(m.entries) > 0 && len(x.r.disk.queue) > 0 {
			if !x.r.disk.write(func(*platter) {}, finish) {
				return
			}
			return
		}
		if len(m.entries) == 0 {
			answer.match = 0
			x.tell(m.from, answer)
			if n := min(m.commit, m.prevIndex); n > x.commit {
				x.setCommit(n)
			}
			return
		}
		finish()
		return
	}
	if fresh[0].index <= x.commit {
		x.r.w.fail(PromiseLog, "%s is told to overwrite its committed entry %d", x.r.name, fresh[0].index)
	}
	if !x.store(fresh, finish) {
		answer.ok, answer.match = true, 0 // alive, but stores nothing
		x.tell(m.from, answer)
	}
}

// follow accepts the sender as the leader of its term.
func (x *raft) follow(term uint64, from int) {
	if term > x.term || x.role != follower || x.leader != from {
		if x.role == leader && term == x.term {
			x.r.w.fail(PromiseLog, "%s and %s lead term %d", x.r.name, x.r.w.routers[from].name, term)
		}
		x.stepDown(term, from)
	}
	x.heard, x.heardLeader = x.r.w.now, x.r.w.now
}

func (x *raft) entriesTaken(m entriesTaken) {
	if m.term > x.term {
		x.stepDown(m.term, -1)
		return
	}
	if x.role != leader || m.term < x.term {
		return
	}
	x.contact[m.from] = x.r.w.now
	switch {
	case !m.ok:
		if m.hint > 0 && m.hint > x.match[m.from] {
			x.next[m.from] = m.hint
			x.replicate(m.from)
		}
	case m.match > x.match[m.from]:
		x.match[m.from] = m.match
		x.next[m.from] = max(x.next[m.from], m.match+1)
		x.advance()
	}
	if m.ok && x.next[m.from] <= x.lastIndex() && m.match > 0 {
		x.replicate(m.from)
	}
}

// snapshotSent installs a leader's snapshot: the entries before it are gone.
func (x *raft) snapshotSent(m snapshotSent) {
	if m.term < x.term {
		x.tell(m.from, entriesTaken{term: x.term, from: x.id})
		return
	}
	x.follow(m.term, m.from)
	if m.snap == nil || m.snap.index <= x.commit || x.installing {
		x.tell(m.from, entriesTaken{term: x.term, from: x.id, ok: true, match: x.commit})
		return
	}
	x.installing = true
	term := x.term
	done := func() {
		x.installing = false
		if x.term != term || m.snap.index <= x.commit {
			return
		}
		x.install(m.snap)
		if x.r.up {
			x.tell(m.from, entriesTaken{term: x.term, from: x.id, ok: true, match: m.snap.index})
		}
	}
	if !x.r.disk.write(func(p *platter) { p.snapped(m.snap, true) }, done) {
		x.installing = false
	}
}

func (x *raft) install(s *saved) {
	x.r.w.note(x.r.name, "installs", "", "", s.index)
	if t, ok := x.termAt(s.index); ok && t == s.term {
		x.log = append([]*entry(nil), x.log[s.index-x.first():]...)
	} else {
		x.log = nil
	}
	x.snap = s
	x.commit, x.applied = s.index, s.index
	x.last, x.lastWall = s.last, s.wall
	if s.last != 0 {
		x.clock.live(s.last, false)
	}
	x.r.restore(s)
}
