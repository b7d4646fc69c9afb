package acd

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
)

// Hash is a digest of the whole state: two replicas that applied the same log
// have the same. It costs what Snapshot and a pass over all of it cost; a node
// that wants it beside Apply takes Snapshot and hashes that.
func (m *Machine) Hash() [32]byte { return m.Snapshot().Hash() }

// Hash sorts s and returns its digest. Facts count through their running sum.
func (s *State) Hash() [32]byte {
	s.Sort()
	d := digest{sum: sha256.New(), buf: make([]byte, 0, 8192)}
	d.num(s.Index, uint64(s.Now), s.Tickets, s.FactsFirst, s.FactsSum)
	d.flag(s.Configured)
	s.Config.digest(&d)
	d.list(len(s.Nodes), func(i int) { s.Nodes[i].digest(&d) })
	d.list(len(s.Workers), func(i int) { s.Workers[i].digest(&d) })
	d.list(len(s.Media), func(i int) { s.Media[i].digest(&d) })
	d.list(len(s.Agents), func(i int) { s.Agents[i].digest(&d) })
	d.list(len(s.Closed), func(i int) { s.Closed[i].digest(&d) })
	d.list(len(s.Sessions), func(i int) { s.Sessions[i].digest(&d) })
	d.list(len(s.Timers), func(i int) { s.Timers[i].digest(&d) })
	d.list(len(s.NoOps), func(i int) { d.text(s.NoOps[i].Reason); d.num(s.NoOps[i].N) })
	d.list(len(s.Calls), func(i int) { s.Calls[i].digest(&d) })
	d.flush()
	return [32]byte(d.sum.Sum(nil))
}

// digest feeds values, each with its length, to a hash.
type digest struct {
	sum hash.Hash
	buf []byte
}

func (d *digest) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}

func (d *digest) num(values ...uint64) {
	for _, v := range values {
		d.buf = binary.LittleEndian.AppendUint64(d.buf, v)
	}
	if len(d.buf) > 4096 {
		d.flush()
	}
}

func (d *digest) text(values ...string) {
	for _, v := range values {
		d.num(uint64(len(v)))
		d.buf = append(d.buf, v...)
	}
}

func (d *digest) bytes(v []byte) {
	d.num(uint64(len(v)))
	d.flush()
	d.sum.Write(v)
}

func (d *digest) flag(v bool) {
	if v {
		d.num(1)
	} else {
		d.num(0)
	}
}

func (d *digest) list(n int, item func(i int)) {
	d.num(uint64(n))
	for i := range n {
		item(i)
	}
}

func (d *digest) texts(v []string) { d.list(len(v), func(i int) { d.text(v[i]) }) }

func (c *Config) digest(d *digest) {
	d.num(uint64(c.MaxChannels))
	d.list(len(c.Trunks), func(i int) { d.text(string(c.Trunks[i].ID)); d.num(uint64(c.Trunks[i].Channels)) })
	d.list(len(c.Numbers), func(i int) {
		d.text(c.Numbers[i].Number, c.Numbers[i].Greeting, string(c.Numbers[i].Queue))
	})
	d.list(len(c.Queues), func(i int) {
		q := &c.Queues[i]
		d.text(string(q.ID), q.Music, q.Strategy)
		d.num(uint64(q.RingTimeout), uint64(q.WrapUp), uint64(q.MaxWait), uint64(q.MaxLength), uint64(q.MissedLimit), uint64(q.RejectDelay))
	})
	d.list(len(c.Agents), func(i int) {
		a := &c.Agents[i]
		d.text(string(a.ID), a.Name, a.HA1SHA256, a.HA1MD5)
		d.flag(a.AutoAvailable)
		d.list(len(a.Queues), func(j int) { d.text(string(a.Queues[j])) })
	})
}

func (o Owner) digest(d *digest) { d.text(string(o.Node)); d.num(o.Incarnation) }

func (n *Node) digest(d *digest) {
	d.text(string(n.ID), n.SIP, n.Peer)
	d.num(n.Incarnation)
	d.flag(n.Alive)
}

func (w *Worker) digest(d *digest) {
	d.text(string(w.ID), w.Control, w.Replication, w.Home)
	d.num(w.Incarnation)
	d.flag(w.Alive)
	d.texts(w.Addresses)
}

func (h *MediaHost) digest(d *digest) {
	d.text(h.Address, string(h.Worker), string(h.Standby))
	d.num(h.Incarnation, h.StandbyIncarnation, h.Epoch, uint64(h.Calls))
}

func (c *Call) digest(d *digest) {
	d.text(string(c.ID), string(c.State), string(c.Trunk), c.Edge, c.From, c.To, c.SIPID, c.Greeting,
		string(c.Queue), string(c.Agent), string(c.AgentLeg), c.Prompt.Name, c.By, c.Cause)
	c.Owner.digest(d)
	d.num(c.Epoch, c.Ticket, uint64(c.Arrived), uint64(c.Answered), uint64(c.Enqueued), uint64(c.Bridged),
		uint64(c.Ended), uint64(c.Offers), uint64(c.LastLeg), uint64(c.WrapUp))
	d.flag(c.Prompt.Loop)
	d.flag(c.Prompt.Started)
	d.texts(c.Media)
	d.list(len(c.Legs), func(i int) { c.Legs[i].digest(d) })
}

func (l *Leg) digest(d *digest) {
	d.text(string(l.ID), string(l.Role), string(l.State), string(l.Agent), l.Media.Address, l.Media.Codec, l.Media.Suite, l.Cause)
	d.num(l.Ring.Index, uint64(l.Ring.N), uint64(l.Started), uint64(l.Answered), uint64(l.Code))
	digestContacts(d, l.Contacts)
	d.bytes(l.Record)
}

func digestContacts(d *digest, contacts []Contact) {
	d.list(len(contacts), func(i int) {
		ct := &contacts[i]
		d.text(ct.URI, ct.Instance, ct.SIPID, ct.UserAgent)
		d.num(uint64(ct.RegID), uint64(ct.CSeq), uint64(ct.ExpiresAt))
		d.texts(ct.Path)
	})
}

func (a *AgentInfo) digest(d *digest) {
	d.text(string(a.ID), string(a.Status), a.Reason, string(a.State), string(a.Call), string(a.Leg))
	d.num(uint64(a.Since), uint64(a.IdleSince), uint64(a.Missed), uint64(a.Draining), uint64(a.BackOff))
	d.flag(a.Deleted)
	digestContacts(d, a.Contacts)
}

func (c *Closed) digest(d *digest) {
	d.text(string(c.Call))
	c.Owner.digest(d)
	d.num(c.Epoch)
	d.texts(c.Media)
}

func (s *Session) digest(d *digest) {
	d.text(s.ID)
	d.num(s.Floor, uint64(s.Used))
	d.list(len(s.Answers), func(i int) {
		r := &s.Answers[i].Result
		d.num(s.Answers[i].Seq, uint64(r.Code), uint64(r.RetryAfter), r.Epoch, r.Incarnation)
		d.text(r.Reason)
		d.flag(r.Applied)
		digestContacts(d, r.Contacts)
	})
}

func (t *Timer) digest(d *digest) {
	d.num(uint64(t.At), uint64(t.Kind))
	d.text(t.ID, t.Sub)
}

// foldBytes adds a fact's bytes to the running sum of the history. It runs for
// every fact within Apply, so it is a plain multiply-and-fold over words; it has
// to notice an accident, not an attacker.
func foldBytes(sum uint64, b []byte) uint64 {
	sum = fold(sum, uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		sum = fold(sum, binary.LittleEndian.Uint64(b))
	}
	var rest uint64
	for i, v := range b {
		rest |= uint64(v) << (8 * i)
	}
	return fold(sum, rest)
}

func fold(sum, v uint64) uint64 {
	hi, lo := bits.Mul64(sum^v^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return hi ^ lo
}
