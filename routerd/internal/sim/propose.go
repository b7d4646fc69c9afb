package sim

import (
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdwire"
)

// Of raftstore.Propose.
const (
	attemptTimeout = time.Second
	backoffFirst   = 2 * time.Millisecond
	backoffMost    = 16 * time.Millisecond
)

// forwarded is a proposal on its way to the leader, forwardAnswer what came of
// it.
type (
	forwarded struct {
		from    int
		session string
		id      uint64
		data    []byte
	}
	forwardAnswer struct {
		session string
		id      uint64
		status  status
		reply   []byte
		index   uint64
	}
)

type status uint8

const (
	applied status = iota + 1
	notLeader
	unknown
)

// propose is node.proposer.propose over raftstore.Propose: the same bytes are
// sent again until they are applied, the life ends, or patience, if any, does.
func (r *router) propose(t *task, patience time.Duration, body acd.Body) (acd.Result, uint64, bool) {
	seq, floor := r.next, r.floor
	r.next++
	r.open[seq] = true
	defer func() {
		delete(r.open, seq)
		for r.floor < r.next && !r.open[r.floor] {
			r.floor++
		}
	}()
	data, err := acdwire.EncodeCommand(acd.Command{Session: r.session, Seq: seq, Floor: floor, Body: body})
	if err != nil {
		r.w.fail(PromiseReplica, "encode %T: %v", body, err)
	}
	giveUp := r.w.now + patience
	backoff := backoffFirst
	for {
		left := time.Duration(0)
		if patience > 0 {
			if left = giveUp - r.w.now; left <= 0 {
				return acd.Result{}, 0, false
			}
		}
		lead := r.x.lead
		reply, index, ok := r.attempt(t, left, lead, data)
		if !t.alive() {
			return acd.Result{}, 0, false
		}
		if ok {
			res, err := acdwire.DecodeResult(reply)
			if err != nil {
				r.w.fail(PromiseReplica, "decode the answer to %T: %v", body, err)
			}
			r.w.judge.acknowledged(r, seq, index, data)
			return res, index, true
		}
		if lead == r.x.lead {
			t.wait(backoff/2+r.w.between(0, backoff), func(wake func()) { lead.over = append(lead.over, wake) })
			if !t.alive() {
				return acd.Result{}, 0, false
			}
		}
		backoff = min(2*backoff, backoffMost)
	}
}

// attempt tries once with the leader that is known.
func (r *router) attempt(t *task, left time.Duration, lead *leadership, data []byte) (reply []byte, index uint64, ok bool) {
	if lead.self {
		_, _ = t.wait(left, func(wake func()) {
			took := r.x.propose(data, func(b []byte, i uint64, known bool) {
				reply, index, ok = b, i, known
				wake()
			})
			if !took {
				wake()
			}
		})
		return reply, index, ok
	}
	if lead.id < 0 || lead.id == r.id {
		return nil, 0, false
	}
	silence := attemptTimeout
	if left > 0 {
		silence = min(silence, left)
	}
	r.requests++
	id := r.requests
	_, _ = t.wait(silence, func(wake func()) {
		r.awaited[id] = func(a forwardAnswer) {
			reply, index, ok = a.reply, a.index, a.status == applied
			wake()
		}
		lead.over = append(lead.over, wake)
		to := r.w.routers[lead.id]
		m := forwarded{from: r.id, session: r.session, id: id, data: data}
		r.w.net.between(r, to, func() { to.hear(m) })
	})
	delete(r.awaited, id)
	return reply, index, ok
}

// forwarded proposes for another node.
func (r *router) forwarded(m forwarded) {
	answer := func(s status, reply []byte, index uint64) {
		to := r.w.routers[m.from]
		a := forwardAnswer{session: m.session, id: m.id, status: s, reply: reply, index: index}
		r.w.net.between(r, to, func() { to.hear(a) })
	}
	took := r.x.propose(m.data, func(reply []byte, index uint64, known bool) {
		if known {
			answer(applied, reply, index)
		} else {
			answer(unknown, nil, 0)
		}
	})
	if !took {
		answer(notLeader, nil, 0)
	}
}
