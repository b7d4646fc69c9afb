package record

import (
	"math"
	"time"
)

// span is time from one instant to another, ns since 1970.
type span struct{ from, to int64 }

func (p packet) isNote() bool { return p.codec == notePaused || p.codec == noteResumed }

// pausesOf finds the pauses among packets in order of arrival. One that was
// never ended goes on for ever; of a resumption whose pause nobody has, the
// worker with it being gone, the last packet before tells when it began.
func pausesOf(all []packet) (pauses []span) {
	heard := int64(math.MinInt64)
	open := false
	for _, p := range all {
		switch {
		case p.codec == notePaused && !open:
			pauses, open = append(pauses, span{p.arrival, math.MaxInt64}), true
		case p.codec == noteResumed && open:
			pauses[len(pauses)-1].to, open = p.arrival, false
		case p.codec == noteResumed && heard != math.MinInt64:
			pauses = append(pauses, span{heard, p.arrival})
		case !p.isNote():
			heard = p.arrival
		}
	}
	return pauses
}

// piece is a part of a gap.
type piece struct {
	span
	paused bool
}

// pauseSlack is how far the network may move a gap's ends from those of the
// pause that made it.
const pauseSlack = int64(100 * time.Millisecond)

// cut divides a gap into what was paused and what was not.
func (gap span) cut(pauses []span) (pieces []piece) {
	at := gap.from
	for _, p := range pauses {
		if p.to <= at || p.from >= gap.to {
			continue
		}
		from, to := p.from, p.to
		if from-at > pauseSlack {
			pieces = append(pieces, piece{span{at, from}, false})
		} else {
			from = at
		}
		if gap.to-to <= pauseSlack {
			to = gap.to
		}
		pieces = append(pieces, piece{span{from, to}, true})
		at = to
	}
	if at < gap.to || len(pieces) == 0 {
		pieces = append(pieces, piece{span{at, gap.to}, false})
	}
	return pieces
}
