package session

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/internal/standby"
)

// callRecord is all a successor needs of a call but how far its streams have
// come. It is sent when something changes.
type callRecord struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	taping
	Legs    []legRecord `json:"legs"`
	Sides   []*side     `json:"sides,omitempty"`
	Blocked blocked     `json:"blocked,omitzero"`
	Signal  time.Time   `json:"signal,omitzero"`
}

type legRecord struct {
	ID string `json:"id"`
	terms
	Peer    string   `json:"peer,omitempty"`  // connected with
	Lives   uint32   `json:"lives,omitempty"` // workers that had the leg before
	Prompts []string `json:"prompts,omitempty"`
	Loop    bool     `json:"loop,omitempty"`
	Digits  digits   `json:"digits,omitzero"`
	Keying  keying   `json:"keying,omitzero"`

	Supervision supervision `json:"supervision,omitzero"`
	Caller      bool        `json:"caller,omitempty"`
	Blocked     blocked     `json:"blocked,omitzero"`
}

// encodeRecord: under shard.mu.
func (c *call) encodeRecord() []byte {
	r := callRecord{ID: c.id, Created: c.created, taping: c.taping, Sides: c.sides, Blocked: c.blocked, Signal: c.signal}
	for _, l := range c.legs {
		lr := legRecord{ID: l.id, terms: l.terms, Lives: l.lives, Digits: l.digits, Keying: l.keying, Supervision: l.supervision,
			Caller: l.caller, Blocked: l.blocked}
		if l.peer != nil {
			lr.Peer = l.peer.id
		}
		if l.player != nil {
			lr.Prompts, lr.Loop = l.player.names(), l.player.loop
		}
		r.Legs = append(r.Legs, lr)
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("session: " + err.Error()) // plain data of our own
	}
	return b
}

// mark is how far one leg has come. It is sent many times a second.
//
// On the wire a call's mark is, for each leg in the record's order: RTP and
// RTCP destination (16-byte address, port each), prompt position uint32
// (noPrompt: nothing plays), then received and sent streams, each a count
// uint8 and entries of SSRC uint32, flags uint8 (1: RTCP) and index uint64.
type mark struct {
	to, toRTCP netip.AddrPort
	pos        uint32
	rx, tx     []srtp.Mark
}

const noPrompt = ^uint32(0)

// sent is how far the stream to the peer with an SSRC has come.
func (m *mark) sent(ssrc uint32) (index uint64, ok bool) {
	if m == nil {
		return 0, false
	}
	for _, x := range m.tx {
		if !x.RTCP && x.SSRC == ssrc {
			return x.Index, true
		}
	}
	return 0, false
}

// appendMark: under shard.mu.
func (l *leg) appendMark(b []byte, scratch []srtp.Mark) ([]byte, []srtp.Mark) {
	b = appendAddr(b, l.to.Addr())
	b = appendAddr(b, l.toRTCP.Addr())
	pos := noPrompt
	if l.player != nil {
		pos = uint32(l.player.position())
	}
	b = binary.BigEndian.AppendUint32(b, pos)
	scratch = scratch[:0]
	if l.rx != nil {
		scratch = l.rx.Marks(scratch)
	}
	b = appendStreams(b, scratch)
	scratch = scratch[:0]
	if l.tx != nil {
		scratch = l.tx.Marks(scratch)
	}
	return appendStreams(b, scratch), scratch
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	var ip [16]byte
	if a.IsValid() {
		ip = a.Addr().As16()
	}
	b = append(b, ip[:]...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func appendStreams(b []byte, m []srtp.Mark) []byte {
	b = append(b, byte(len(m)))
	for _, x := range m {
		b = binary.BigEndian.AppendUint32(b, x.SSRC)
		flags := byte(0)
		if x.RTCP {
			flags = 1
		}
		b = append(b, flags)
		b = binary.BigEndian.AppendUint64(b, x.Index)
	}
	return b
}

var errMark = errors.New("malformed mark")

func parseMark(b []byte) (m mark, rest []byte, err error) {
	const fixed = 2*18 + 4
	if len(b) < fixed {
		return m, nil, errMark
	}
	m.to, m.toRTCP = parseAddr(b), parseAddr(b[18:])
	m.pos = binary.BigEndian.Uint32(b[36:])
	if m.rx, b, err = parseStreams(b[fixed:]); err != nil {
		return m, nil, err
	}
	m.tx, b, err = parseStreams(b)
	return m, b, err
}

func parseAddr(b []byte) netip.AddrPort {
	a := netip.AddrFrom16([16]byte(b[:16])).Unmap()
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[16:]))
}

func parseStreams(b []byte) ([]srtp.Mark, []byte, error) {
	const size = 13
	if len(b) < 1 || len(b) < 1+size*int(b[0]) {
		return nil, nil, errMark
	}
	n := int(b[0])
	b = b[1:]
	m := make([]srtp.Mark, n)
	for i := range m {
		m[i] = srtp.Mark{SSRC: binary.BigEndian.Uint32(b), RTCP: b[4] == 1, Index: binary.BigEndian.Uint64(b[5:])}
		b = b[size:]
	}
	return m, b, nil
}

// replicate sends a changed call to the standby of its address: under
// Engine.mu.
func (e *Engine) replicate(c *call) <-chan struct{} {
	if c.host.link == nil {
		c.record = nil
		return nil
	}
	c.shard.mu.Lock()
	c.record = c.encodeRecord()
	c.shard.mu.Unlock()
	return c.host.link.Put(c.id, c.record)
}

// snapshot hands every call of an address to begin, with all control held off.
func (e *Engine) snapshot(h *host, begin func([]standby.Entry)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []standby.Entry
	var scratch []srtp.Mark
	for _, c := range e.calls {
		if c.host != h {
			continue
		}
		c.shard.mu.Lock()
		if c.record == nil {
			c.record = c.encodeRecord()
		}
		var marks []byte
		for _, l := range c.legs {
			marks, scratch = l.appendMark(marks, scratch)
			l.dirty = true // a mark sent meanwhile went to the copy before
		}
		c.shard.mu.Unlock()
		all = append(all, standby.Entry{Key: c.id, Record: c.record, Mark: marks})
	}
	begin(all)
}

// marksEvery is how far a successor's knowledge may lag behind; between two
// marks goes a sign of life.
const marksEvery = 50 * time.Millisecond

// sendMarks sends running marks to the standbys until the engine stops.
func (e *Engine) sendMarks() {
	tick := time.NewTicker(marksEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			e.sendMarksOnce()
		}
	}
}

// beats says to the standbys that this worker lives, until the engine stops.
func (e *Engine) beats() {
	tick := time.NewTicker(marksEvery / 2)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			e.beat()
		}
	}
}

func (e *Engine) beat() {
	e.linksMu.Lock()
	defer e.linksMu.Unlock()
	for _, l := range e.links {
		l.Marks(nil)
	}
}

func (e *Engine) sendMarksOnce() {
	type hostBatch struct {
		link  *standby.Link
		batch []byte
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	batches := map[*host]*hostBatch{}
	for _, h := range e.hosts {
		if h.link != nil {
			batches[h] = &hostBatch{link: h.link}
		}
	}
	if len(batches) == 0 {
		return
	}
	var scratch []srtp.Mark
	var one []byte
	for _, c := range e.calls {
		hb := batches[c.host]
		if hb == nil {
			continue
		}
		c.shard.mu.Lock()
		dirty := false
		one = one[:0]
		for _, l := range c.legs {
			dirty = dirty || l.dirty
			l.dirty = false
			one, scratch = l.appendMark(one, scratch)
		}
		c.shard.mu.Unlock()
		if dirty {
			hb.batch = standby.AppendMark(hb.batch, c.id, one)
		}
	}
	for _, hb := range batches {
		hb.link.Marks(hb.batch)
	}
}

// decodeCall reads a record and its marks; a call without usable marks starts
// its streams anew.
func decodeCall(c standby.Call) (callRecord, []mark, error) {
	var r callRecord
	if err := json.Unmarshal(c.Record, &r); err != nil {
		return r, nil, fmt.Errorf("replicated record: %w", err)
	}
	marks := make([]mark, 0, len(r.Legs))
	for b := c.Mark; len(b) > 0; {
		m, rest, err := parseMark(b)
		if err != nil {
			break
		}
		marks, b = append(marks, m), rest
	}
	return r, marks, nil
}
