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
	d.num(s.Index, uint64(s.Now), s.Tickets, s.FactsFirst, s.FactsGone, s.FactsSum)
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
	d.num(uint64(s.Version))
	d.list(len(s.Configs), func(i int) { s.Configs[i].digest(&d) })
	d.list(len(s.Retired), func(i int) { s.Retired[i].digest(&d) })
	d.list(len(s.RetiredSeats), func(i int) {
		r := &s.RetiredSeats[i]
		d.text(string(r.Agent))
		r.Seat.digest(&d)
	})
	d.list(len(s.RetiredChains), func(i int) { s.RetiredChains[i].digest(&d) })
	d.list(len(s.RetiredCalendars), func(i int) { s.RetiredCalendars[i].digest(&d) })
	d.list(len(s.Tasks), func(i int) { s.Tasks[i].digest(&d) })
	for _, list := range [][]Confirmation{s.Confirmed, s.Sinks} {
		d.list(len(list), func(i int) { d.text(list[i].Reader); d.num(list[i].Index) })
	}
	d.list(len(s.Hashes), func(i int) {
		s.Hashes[i].Owner.digest(&d)
		d.num(s.Hashes[i].Index)
		d.bytes(s.Hashes[i].Hash)
	})
	d.list(len(s.OverTasks), func(i int) { d.text(string(s.OverTasks[i].ID)); d.num(uint64(s.OverTasks[i].At)) })
	d.list(len(s.Estimates), func(i int) { s.Estimates[i].digest(&d) })
	d.list(len(s.Spoken), func(i int) { d.bytes(s.Spoken[i]) })
	d.list(len(s.Cursors), func(i int) {
		c := &s.Cursors[i]
		d.text(string(c.Queue), string(c.Agent))
		d.num(uint64(c.Tier), uint64(c.Position))
	})
	d.list(len(s.Loads), func(i int) { s.Loads[i].digest(&d) })
	// What came later counts only where it is there: a log of before has the hash
	// it had.
	if len(s.Ways) > 0 {
		d.list(len(s.Ways), func(i int) { s.Ways[i].digest(&d) })
	}
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
	d.list(len(c.Numbers), func(i int) { c.Numbers[i].digest(d) })
	d.list(len(c.Queues), func(i int) { c.Queues[i].digest(d) })
	d.list(len(c.Agents), func(i int) { c.Agents[i].digest(d) })
	d.list(len(c.Skills), func(i int) { d.text(string(c.Skills[i])) })
	d.list(len(c.Calendars), func(i int) { c.Calendars[i].digest(d) })
	d.list(len(c.Chains), func(i int) { c.Chains[i].digest(d) })
	d.list(len(c.Outbound.Trunks), func(i int) { d.text(string(c.Outbound.Trunks[i])) })
	d.text(c.Outbound.From)
	d.num(uint64(c.Outbound.RingTimeout))
	if c.Outbound.ShowCaller {
		d.text("show caller")
	}
	for i := range c.Trunks {
		c.Trunks[i].digest(d)
	}
	for i := range c.Numbers {
		if c.Numbers[i].Always {
			d.text("always", c.Numbers[i].Number)
		}
	}
	if c.HoldMusic != "" {
		d.text("hold", c.HoldMusic)
	}
	digestDialRules(d, c.Outbound.Rules)
}

// digestDialRules adds nothing where there are none, as before there could be.
func digestDialRules(d *digest, rules []DialRule) {
	if len(rules) == 0 {
		return
	}
	d.list(len(rules), func(i int) {
		d.texts(rules[i].Numbers)
		d.text(rules[i].SendDigits)
		d.num(uint64(rules[i].Refuse))
	})
}

func digestSkills(d *digest, skills []Skill) {
	d.list(len(skills), func(i int) { d.text(string(skills[i].Skill)); d.num(uint64(skills[i].Level)) })
}

func digestCard(d *digest, card []Attr) {
	d.list(len(card), func(i int) { d.text(card[i].Key, card[i].Value) })
}

func (n *Number) digest(d *digest) {
	d.text(n.Number, n.Greeting, string(n.Queue), string(n.Chain))
	d.num(uint64(n.Priority))
	digestSkills(d, n.Needs)
	digestCard(d, n.Card)
	d.list(len(n.Rules), func(i int) {
		r := &n.Rules[i]
		d.text(string(r.When.Open), string(r.When.Closed), r.When.Card, string(r.When.Queue), r.Greeting, string(r.Queue), string(r.Chain))
		d.num(uint64(r.When.Calls), uint64(r.When.EWT), uint64(r.Priority), uint64(r.Refuse))
		d.texts(r.When.Callers)
		d.texts(r.When.Values)
		digestSkills(d, r.Needs)
	})
}

func (t *Then) digest(d *digest) {
	d.text(string(t.Queue), string(t.Chain), t.Prompt)
	d.num(uint64(t.Refuse))
	d.flag(t.Callback)
}

func (q *Queue) digest(d *digest) {
	d.text(string(q.ID), q.Music, q.Strategy, string(q.Calendar), q.Empty, q.ExitKey)
	d.num(uint64(q.RingTimeout), uint64(q.WrapUp), uint64(q.MaxWait), uint64(q.MaxLength), uint64(q.MissedLimit),
		uint64(q.RejectDelay), uint64(q.BusyDelay), uint64(q.WrapUpMax), uint64(q.RingMost), uint64(q.TierDelay), uint64(q.Window),
		uint64(q.Sticky.Days), uint64(q.Sticky.Wait), uint64(q.Weight), uint64(q.PriorityStep), uint64(q.LeaveEmpty), uint64(q.ServiceLevel))
	digestSkills(d, q.Needs)
	d.list(len(q.Rings), func(i int) {
		r := &q.Rings[i]
		d.num(uint64(r.After), uint64(r.Tier))
		digestSkills(d, r.Needs)
		d.flag(r.Any)
	})
	for _, t := range []*Then{&q.WhenClosed, &q.WhenFull, &q.AfterMaxWait, &q.WhenEmpty, &q.Exit} {
		t.digest(d)
	}
	d.list(len(q.Admission), func(i int) {
		a := &q.Admission[i]
		d.text(string(a.Open), string(a.Closed))
		d.num(uint64(a.Calls), uint64(a.EWT), uint64(a.ASA))
		a.Then.digest(d)
	})
	d.num(uint64(q.Announce.First), uint64(q.Announce.Every))
	d.flag(q.Announce.Position)
	d.flag(q.Announce.Wait)
	b := &q.Callback
	d.text(b.Key, b.Offer, b.Promise)
	d.num(uint64(b.Over), uint64(b.Attempts), uint64(b.Retry), uint64(b.Expire))
	q.Transfer.digest(d, "transfer")
	if q.PickUp != "" {
		d.text("pick_up", q.PickUp)
	}
}

func (a *Agent) digest(d *digest) {
	d.text(string(a.ID), a.Name, a.HA1SHA256, a.HA1MD5)
	d.flag(a.AutoAvailable)
	d.list(len(a.Queues), func(i int) { d.text(string(a.Queues[i])) })
	digestSkills(d, a.Skills)
	d.list(len(a.Seats), func(i int) { a.Seats[i].digest(d) })
	a.Transfer.digest(d, "transfer")
	a.Dial.digest(d, "dial")
	a.PickUp.digest(d, "pick_up")
	a.Supervise.digest(d, "supervise")
}

func (s *Seat) digest(d *digest) {
	d.text(string(s.Queue))
	d.num(uint64(s.Tier), uint64(s.Position), uint64(s.Priority))
}

func (c *Calendar) digest(d *digest) {
	d.text(string(c.ID), c.Zone)
	d.list(len(c.Hours), func(i int) { d.text(c.Hours[i].Days, c.Hours[i].From, c.Hours[i].To) })
	d.list(len(c.Holidays), func(i int) { d.text(c.Holidays[i].Date, c.Holidays[i].From, c.Holidays[i].To) })
	d.list(len(c.Offsets), func(i int) { d.num(uint64(c.Offsets[i].From), uint64(c.Offsets[i].Seconds)) })
}

func (c *Chain) digest(d *digest) {
	d.text(string(c.ID), c.Music)
	d.list(len(c.Steps), func(i int) {
		s := &c.Steps[i]
		d.text(s.Agent, s.Number)
		d.num(uint64(s.Ring), uint64(s.Wait))
		d.texts(s.Stop)
	})
	c.Then.digest(d)
}

func (o Owner) digest(d *digest) { d.text(string(o.Node)); d.num(o.Incarnation) }

func (n *Node) digest(d *digest) {
	d.text(string(n.ID), n.SIP, n.Peer)
	d.num(n.Incarnation, uint64(n.Died))
	d.flag(n.Alive)
	d.num(uint64(n.Version), n.Agreed, n.Diverged)
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
		uint64(c.Ended), uint64(c.Offers), uint64(c.LastLeg), uint64(c.WrapUp), uint64(c.WrapUpMax), uint64(c.Transfers), uint64(c.Parted))
	c.Hunt.digest(d)
	d.text(string(c.Awaits))
	d.flag(c.Prompt.Loop)
	d.flag(c.Prompt.Started)
	d.texts(c.Media)
	d.list(len(c.Legs), func(i int) { c.Legs[i].digest(d) })
	d.text(string(c.Caller), c.Number, string(c.Sticky), string(c.Task), string(c.Chain))
	d.num(uint64(c.Priority), uint64(c.Joined), uint64(c.Ring), uint64(c.Until), uint64(c.ToldP50), uint64(c.ToldP90),
		uint64(c.GuessP50), uint64(c.GuessP90), uint64(c.Attempts), uint64(c.Expire), uint64(c.Step))
	d.flag(c.Outbound)
	d.flag(c.Offered)
	d.flag(c.Callback)
	d.num(uint64(c.Moves), uint64(c.ToldPosition))
	digestSkills(d, c.Needs)
	digestCard(d, c.Card)
	if c.Holds != 0 || c.HeldFor != 0 {
		d.text("holds")
		d.num(uint64(c.Holds), uint64(c.HeldFor))
	}
	c.Referral.digest(d)
	if c.Dialler != "" || c.Root != "" || len(c.Beside) > 0 || c.Owes { // else as before agents could dial
		d.text(string(c.Dialler), string(c.Root))
		d.list(len(c.Beside), func(i int) { d.text(string(c.Beside[i])) })
		d.flag(c.Owes)
	}
	c.Supervision.digest(d)
}

func (v *ConfigVersion) digest(d *digest) {
	d.num(v.Version, v.Index, uint64(v.At))
	d.text(v.By, v.Comment)
	d.bytes(v.Source)
}

func (t *Task) digest(d *digest) {
	d.text(string(t.ID), string(t.State), t.Number, string(t.Queue), string(t.Call))
	d.num(uint64(t.Due), uint64(t.Expire), uint64(t.Priority), uint64(t.Attempts), uint64(t.Retry))
	digestCard(d, t.Card)
}

func (l *Leg) digest(d *digest) {
	d.text(string(l.ID), string(l.Role), string(l.State), string(l.Agent), l.Media.Address, l.Media.Codec, l.Media.Suite, l.Cause)
	d.num(l.Ring.Index, uint64(l.Ring.N), uint64(l.Started), uint64(l.Answered), uint64(l.Code))
	digestContacts(d, l.Contacts)
	d.bytes(l.Record)
	d.text(string(l.Trunk), l.Number)
	d.num(uint64(l.Offer), uint64(l.RingFor))
	if l.Held != 0 || l.HeldFor != 0 || l.Holds != 0 || l.HoldMusic != "" || l.HoldHeard {
		d.text("hold", l.HoldMusic)
		d.num(uint64(l.Held), uint64(l.HeldFor), uint64(l.Holds))
		d.flag(l.HoldHeard)
	}
	if l.Send != "" {
		d.text(l.Send)
	}
	if l.Replaces != "" {
		d.text("replaces", string(l.Replaces))
		d.flag(l.EarlyOnly)
	}
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
	d.text(string(a.Pending), a.PendingReason)
	d.num(uint64(a.WrapUpEnds))
	for i := range a.Nonces {
		d.text(a.Nonces[i].Nonce)
		d.num(uint64(a.Nonces[i].Count), a.Nonces[i].Sum)
	}
	if a.Consult != "" {
		d.text(string(a.Consult))
	}
	if a.Help != 0 {
		d.text("help", a.HelpReason)
		d.num(uint64(a.Help))
	}
}

func (l *Load) digest(d *digest) {
	d.text(string(l.Queue), string(l.Agent))
	d.num(uint64(l.Width), uint64(l.Since))
	for i := range loadParts {
		d.num(uint64(l.Busy[i]), uint64(l.Free[i]))
	}
}

func (c *Closed) digest(d *digest) {
	d.text(string(c.Call))
	c.Owner.digest(d)
	d.num(c.Epoch)
	d.texts(c.Media)
	if c.Root != "" {
		d.text(string(c.Root))
	}
	if c.Moved {
		d.text("moved")
	}
}

func (s *Session) digest(d *digest) {
	d.text(s.ID)
	d.num(s.Floor, uint64(s.Used))
	d.list(len(s.Answers), func(i int) {
		r := &s.Answers[i].Result
		d.num(s.Answers[i].Seq, uint64(r.Code), uint64(r.RetryAfter), r.Epoch, r.Incarnation, r.Version)
		d.text(r.Reason)
		if r.Leg != "" {
			d.text(string(r.Leg))
		}
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
