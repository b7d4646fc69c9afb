package sim

import (
	"bytes"
	"hash/maphash"
	"reflect"
	"slices"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
)

// judge sees everything and believes nothing: it knows the one committed log,
// what each replica made of it, what the routers send and what the far ends
// live through.
type judge struct {
	w       *World
	leaders map[uint64]int // by term
	stores  map[[2]uint64]storedEntry
	log     []*entry // committed, by index-1
	records []record // of applied entries, by index-1
	history *history
	sent    map[uint64]bool // digests of packets
	gone    map[string]bool // dialogs that far ends ended while no router served
	stuck   map[string]bool // ringing dialogs that their CANCEL did not fit any more
	asked   int             // phones that were asked whether they had been answered
	hashed  int             // how many full state hashes were compared
	checks  int             // how many states were checked whole
}

type storedEntry struct {
	e      *entry
	before uint64 // term of the entry before
}

// record is what the first replica to apply an entry made of it.
type record struct {
	applied bool
	result  acd.Result
	effects []acd.Effect
	facts   []acd.Fact
	hash    [32]byte
	hasHash bool
}

func newJudge(w *World) *judge {
	return &judge{w: w, leaders: map[uint64]int{}, stores: map[[2]uint64]storedEntry{}, history: newHistory(w), sent: map[uint64]bool{}, gone: map[string]bool{}, stuck: map[string]bool{}}
}

// elected: one leader a term, and it has every committed entry.
func (j *judge) elected(x *raft) {
	if other, ok := j.leaders[x.term]; ok && other != x.id {
		j.w.fail(PromiseLog, "r%d and r%d are both elected in term %d", other+1, x.id+1, x.term)
	}
	j.leaders[x.term] = x.id
	if uint64(len(j.log)) > x.lastIndex() {
		j.w.fail(PromiseLog, "%s is elected in term %d with a log that ends at %d, committed is %d", x.r.name, x.term, x.lastIndex(), len(j.log))
	}
	for _, e := range x.log {
		if e.index <= uint64(len(j.log)) && j.log[e.index-1] != e {
			j.w.fail(PromiseLog, "%s is elected in term %d with another entry %d than the committed one", x.r.name, x.term, e.index)
		}
	}
}

// stored: entries of equal index and term are the same, and so is what is before
// them.
func (j *judge) stored(x *raft, e *entry, before uint64) {
	k := [2]uint64{e.index, e.term}
	was, ok := j.stores[k]
	if !ok {
		j.stores[k] = storedEntry{e, before}
		return
	}
	if was.e != e || was.before != before {
		j.w.fail(PromiseLog, "%s stores another entry %d of term %d", x.r.name, e.index, e.term)
	}
}

// committed: what is committed once stays.
func (j *judge) committed(x *raft, to uint64) {
	for i := uint64(len(j.log)) + 1; i <= to; i++ {
		e := x.entryAt(i)
		if e == nil {
			j.w.fail(PromiseLog, "%s commits %d, which it does not have", x.r.name, i)
		}
		j.log = append(j.log, e)
		j.records = append(j.records, record{})
	}
}

// applies: every replica applies the committed entries, one after the other.
func (j *judge) applies(x *raft, e *entry) {
	if e == nil || e.index != x.applied+1 || e.index > uint64(len(j.log)) || j.log[e.index-1] != e {
		j.w.fail(PromiseLog, "%s applies after %d what is not the committed entry", x.r.name, x.applied)
	}
}

// acknowledged: the proposer was told that its command is applied at index.
func (j *judge) acknowledged(r *router, seq, index uint64, data []byte) {
	if index == 0 || index > uint64(len(j.log)) || !bytes.Equal(j.log[index-1].data, data) {
		j.w.fail(PromiseAck, "%s is told that its proposal %d is applied at %d; the log has another entry there", r.name, seq, index)
	}
	if !j.records[index-1].applied {
		j.w.fail(PromiseAck, "%s is told that its proposal %d is applied at %d; no replica applied it", r.name, seq, index)
	}
}

// hashEvery is at how many indexes whole states are compared by hash.
const hashEvery = 64

// applied compares what a replica made of an entry with what the first made of
// it, and judges that one's.
func (j *judge) applied(r *router, index uint64, cmd acd.Command, res acd.Result, effects []acd.Effect) {
	rec := &j.records[index-1]
	facts := r.machine.FactsAfter(index-1, 0)
	if rec.applied {
		if !reflect.DeepEqual(res, rec.result) || !reflect.DeepEqual(effects, rec.effects) || !reflect.DeepEqual(facts, rec.facts) {
			j.w.fail(PromiseReplica, "%s makes something else of entry %d, %T:\n  %+v %+v %+v\nnot\n  %+v %+v %+v",
				r.name, index, cmd.Body, res, effects, facts, rec.result, rec.effects, rec.facts)
		}
	} else {
		*rec = record{applied: true, result: res, effects: slices.Clone(effects), facts: facts}
		j.history.take(r, j.log[index-1], cmd, res, effects, facts)
		if index%16 == 0 {
			j.check(r)
		}
	}
	if index%hashEvery == 0 {
		j.hash(r)
	}
}

func (j *judge) check(r *router) {
	j.checks++
	if err := acdtest.Check(r.machine); err != nil {
		j.w.fail(PromiseTerminal, "state at %d: %v", r.applied, err)
	}
}

func (j *judge) hash(r *router) {
	j.hashed++
	h := r.machine.Hash()
	rec := &j.records[r.machine.Index()-1]
	if !rec.hasHash {
		rec.hash, rec.hasHash = h, true
		return
	}
	if h != rec.hash {
		j.w.fail(PromiseReplica, "state of %s at %d has hash %x, another replica's %x", r.name, r.applied, h[:6], rec.hash[:6])
	}
}

// restored: a machine read from a snapshot is the one it was taken from.
func (j *judge) restored(r *router) {
	if r.machine.Index() > 0 {
		j.hash(r)
	}
}

// fence is how long after its call was given away a router may still send what
// it had committed before: less than any failure detection takes.
const fence = 500 * time.Millisecond

var packetSeed = maphash.MakeSeed()

// sends: something about a call that was never sent before comes only from its
// owner.
func (j *judge) sends(r *router, call acd.CallID, data []byte) {
	switch word := firstWords(data); word {
	case "CANCEL", "BYE":
		j.closing(sipCallID(data))
	case "ACK":
	case "INVITE", "UPDATE", "INFO":
	default:
		if word < "180" || word >= "300" {
			return // 100 and refusals are not committed
		}
	}
	sum := maphash.Bytes(packetSeed, data)
	if j.sent[sum] {
		return
	}
	j.sent[sum] = true
	c := j.history.calls[call]
	if c == nil || c.owner == r.owner() || j.w.now-c.granted < fence {
		return
	}
	switch word := firstWords(data); word {
	case "ACK":
		return // repeats what the far end repeated; says nothing new
	case "BYE":
		// Ends what nobody else can end: an answer that came to this router alone.
		if _, id, ok := legOf(sipCallID(data)); ok && c.leg(id) != nil && c.leg(id).ended {
			return
		}
	}
	j.w.fail(PromiseEpoch, "%s/%d sends about call %s, which is %s/%d's since %v:\n%s",
		r.name, r.incarnation, call, c.owner.Node, c.owner.Incarnation, c.granted, firstLines(data))
}

func firstLines(data []byte) string {
	at := bytes.Index(data, []byte("\r\n\r\n"))
	if at < 0 {
		at = len(data)
	}
	return string(data[:at])
}

// closing notes that a dialog's end is on its way to its phone.
func (j *judge) closing(sipID string) {
	if d := j.w.called[sipID]; d != nil {
		d.ring.closing = true
	}
}

// rang: a phone gets the INVITE of an offer.
func (j *judge) rang(p *phone, d *dialog) { j.alone(p, d, false) }

// talks: an agent answers.
func (j *judge) talks(p *phone, d *dialog) { j.alone(p, d, true) }

func (j *judge) alone(p *phone, d *dialog, talk bool) {
	for _, other := range p.agent.live() {
		o := other.ring
		if other == d || o.closing || o.call == d.ring.call || talk && !o.talking {
			continue
		}
		verb := "rings for"
		if o.talking {
			verb = "talks with"
		}
		j.w.fail(PromiseOneCall, "agent %s %s call %s (leg %s, since %v) and is offered call %s (leg %s)",
			p.agent.id, verb, o.call, o.leg, o.since, d.ring.call, d.ring.leg)
	}
}

// callerAnswered: the routers' 200 reached the caller.
func (j *judge) callerAnswered(c *caller) {
	call := callIDOf(c.d.id, c.d.leg.LocalTag())
	if j.history.calls[call] == nil {
		j.w.fail(PromiseTerminal, "%s is answered, but no call %s was ever taken", c.far.name, call)
	}
}

// unheard: a far end hung up and no router was there to hear it. Only a session
// timer (RFC 4028) would tell the routers.
func (j *judge) unheard(d *dialog) { j.gone[d.id] = true }
