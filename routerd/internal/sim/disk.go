package sim

import "time"

// entry is one of the replicated log. Entries are never changed, so nodes share
// them.
type entry struct {
	index, term uint64
	stamp       int64 // cluster time, of the leader
	wall        int64 // the leader's wall clock when it appended the entry
	data        []byte
	noop        bool          // begins a term; not for the machine
	made        time.Duration // true time when it was appended, for the judge alone
}

// saved is a snapshot of the machine with what the log needs to go on after it.
type saved struct {
	index, term uint64
	last, wall  int64 // stamp and wall time of the last entry
	data        []byte
}

// platter is what a disk holds after a crash.
type platter struct {
	term  uint64
	voted int // node, -1: nobody
	snap  *saved
	log   []*entry // after snap.index, without gaps
}

// write is one thing on its way to the platter.
type write struct {
	do   func(p *platter)
	done func()
}

// disk takes writes in order. Those that wait while one sync runs share the
// next. A crash loses what is not synced, or keeps some of it.
type disk struct {
	r       *router
	platter platter
	queue   []write
	syncing int // of queue, how many the running sync covers
	slow    time.Duration
	full    bool
}

// deadline is raftstore's: a write in flight for longer ends the process.
const writeDeadline = 300 * time.Millisecond

// write takes a write whose done runs once it is synced; false if there is no
// room for it.
func (d *disk) write(do func(p *platter), done func()) bool {
	if d.full {
		return false
	}
	d.queue = append(d.queue, write{do, done})
	if d.syncing == 0 {
		d.sync()
	}
	return true
}

func (d *disk) sync() {
	d.syncing = len(d.queue)
	took := d.r.w.between(100*time.Microsecond, 2*time.Millisecond)
	if d.slow > 0 {
		took += d.r.w.between(0, d.slow)
	}
	if took > writeDeadline {
		d.r.after(writeDeadline, func() { d.r.halt("disk hung") })
		return
	}
	d.r.after(took, d.synced)
}

func (d *disk) synced() {
	batch := d.queue[:d.syncing:d.syncing]
	d.queue = d.queue[d.syncing:]
	d.syncing = 0
	for _, w := range batch {
		w.do(&d.platter)
	}
	for _, w := range batch {
		if d.r.up {
			w.done()
		}
	}
	if d.r.up && d.syncing == 0 && len(d.queue) > 0 {
		d.sync()
	}
}

// crash keeps a random part, in order, of what was on its way.
func (d *disk) crash() {
	if n := len(d.queue); n > 0 {
		for _, w := range d.queue[:d.r.w.rng.IntN(n+1)] {
			w.do(&d.platter)
		}
	}
	d.queue, d.syncing = nil, 0
}

// appended puts entries on the platter, over whatever stood at their places.
func (p *platter) appended(from uint64, entries []*entry) {
	base := p.base()
	if from <= base {
		skip := base + 1 - from
		if skip >= uint64(len(entries)) {
			return
		}
		entries, from = entries[skip:], base+1
	}
	at := from - base - 1
	if at > uint64(len(p.log)) {
		return // after a gap: a snapshot that was lost
	}
	p.log = append(p.log[:at:at], entries...)
}

func (p *platter) base() uint64 {
	if p.snap == nil {
		return 0
	}
	return p.snap.index
}

// snapped replaces the log up to the snapshot.
func (p *platter) snapped(s *saved, installed bool) {
	if s.index <= p.base() {
		return
	}
	var rest []*entry
	if at := s.index - p.base(); at <= uint64(len(p.log)) && (!installed || p.log[at-1].term == s.term) {
		rest = append(rest, p.log[at:]...)
	}
	p.snap, p.log = s, rest
}
