package session

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/mediad/internal/ports"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

func TestConnectedLegsHearEachOther(t *testing.T) {
	for _, suite := range srtp.Suites() {
		for _, mux := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s mux=%v", suite, mux), func(t *testing.T) {
				t.Parallel()
				e := newEngine(t, "127.0.0.1", func(c *Config) { c.Ports.First, c.Ports.Last, c.Single = 31000, 31199, !mux })
				a, b := newPhone(t, suite, mux), newPhone(t, suite, !mux)
				if r := a.dial(e, "c"); r.Codec != "PCMA" || r.Suite != string(suite) {
					t.Errorf("%+v", r)
				}
				if r := b.ring(e, "c", "2"); r.Codec != "PCMA" || r.Suite != string(suite) {
					t.Errorf("%+v", r)
				}
				connect(t, e, "c")
				for i := range 50 {
					for _, way := range []struct{ from, to *phone }{{a, b}, {b, a}} {
						seq, ts, text := way.from.seq, way.from.ts, fmt.Sprint("packet ", i)
						way.from.send(text)
						h := way.to.hear()
						if h.payload != text || int(h.seq) != seq || h.ts != ts || h.ssrc != way.from.ssrc || h.pt != 8 {
							t.Fatalf("%d: heard %+v", i, h)
						}
					}
				}
				rr := []byte{0x80, 201, 0, 1, 1, 2, 3, 4}
				a.sendReport(rr)
				if got := b.hearReport(); string(got) != string(rr) {
					t.Errorf("report %x", got)
				}
				if s := stats(t, e, "c", "1"); s.Packets != 50 || s.Lost != 0 || s.SentPackets != 50 || s.RTCPReceived != 1 || s.Peer != "2" {
					t.Errorf("%+v", s)
				}
				do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "c"})
				if legs, _ := e.Load(); legs != 0 {
					t.Errorf("%d legs left", legs)
				}
			})
		}
	}
}

// Only a packet that authenticates, and is new, says where the peer is.
func TestAddressIsLearnedFromAuthenticPacketsOnly(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	told := a.rtp.LocalAddr().String()
	remote := func() string { return stats(t, e, "c", "1").Remote }

	thief := a.listen()
	forged := a.sealed("x")
	forged[len(forged)-1] ^= 1
	a.write(thief, forged, a.to)
	until(t, "the forgery is counted", func() bool { return stats(t, e, "c", "1").AuthFailed == 1 })
	a.write(thief, []byte("\x80\x08 much too short"), a.to)
	a.write(thief, []byte("x"), a.to)
	until(t, "so is garbage", func() bool { return stats(t, e, "c", "1").AuthFailed == 3 })

	a.send("first")
	b.hear()
	late, seen := a.sealed("late"), a.sealed("seen")
	again := append([]byte(nil), seen...)
	a.write(a.rtp, seen, a.to)
	if h := b.hear(); h.payload != "seen" {
		t.Fatalf("heard %+v", h)
	}
	a.write(thief, again, a.to)
	until(t, "the replay is counted", func() bool { return stats(t, e, "c", "1").Replayed == 1 })
	a.write(thief, late, a.to) // caught on the way, and never seen by us
	if h := b.hear(); h.payload != "late" {
		t.Fatalf("heard %+v", h)
	}
	if got := remote(); got != told {
		t.Errorf("moved to %s", got)
	}

	a.rtp = a.listen() // the phone's NAT made another mapping
	a.send("from elsewhere")
	b.hear()
	if got := remote(); got != a.rtp.LocalAddr().String() {
		t.Errorf("stayed at %s", got)
	}
	b.send("follows")
	if h := a.hear(); h.payload != "follows" {
		t.Errorf("heard %+v", h)
	}
}

// Legs may use different suites and numbers for the same codec.
func TestPayloadTypesAreTranslated(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AESCM128SHA132, false)
	a.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 111}, {Name: sdp.Event, Clock: 48000, PT: 110}}
	b.codecs = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 107}, {Name: sdp.Event, Clock: 48000, PT: 105}}
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	f := func(from, to *phone, in, out uint8) {
		t.Helper()
		from.pt = in
		from.send("x")
		if h := to.hear(); h.pt != out {
			t.Errorf("%d came out as %d, want %d", in, h.pt, out)
		}
	}
	f(a, b, 111, 107)
	f(a, b, 110, 105)
	f(b, a, 96, 111) // b sends with the numbers of our offer
	f(b, a, 97, 110)
	a.pt = 8 // never agreed
	a.send("x")
	until(t, "the stray packet is counted", func() bool { return stats(t, e, "c", "1").Misplaced == 1 })
}

// A-law to mu-law needs no decoder: a packet stays what it is but for its octets,
// and so does a loss.
func TestTheLawsAreTurnedIntoEachOther(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = []sdp.Codec{{Name: sdp.PCMU, Clock: 8000, PT: 0}}
	a.pt = 0
	a.dial(e, "c")
	b.ring(e, "c", "2") // PCMA
	connect(t, e, "c")
	for i := range 5 {
		if i == 3 {
			a.plain("") // one is lost
		}
		seq, ts := uint16(a.seq), a.ts
		a.send(strings.Repeat("\xff", 160)) // silence in mu-law
		if h := b.hear(); h.payload != strings.Repeat("\xd5", 160) || h.pt != 8 || h.ssrc != a.ssrc || h.seq != seq || h.ts != ts {
			t.Fatalf("heard %+v", h)
		}
	}
}

// A peer that rekeys and starts its numbers anew must not make us repeat an
// index under the other leg's key.
func TestRekeyedStreamIsRelayedUnderAnotherSSRC(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	first := a.seq
	a.send("before")
	h1 := b.hear()
	a.version, a.key, a.tx, a.seq = 2, srtp.NewKey(a.suite), nil, first
	a.dial(e, "c")
	a.tx, _ = srtp.NewSender(a.suite, a.key)
	a.send("after")
	h2 := b.hear()
	if h2.payload != "after" || h2.seq != h1.seq || h2.ssrc == h1.ssrc {
		t.Errorf("%+v then %+v", h1, h2)
	}
	sr := append([]byte{0x80, 200, 0, 6}, make([]byte, 24)...)
	putSSRC(sr[4:], a.ssrc)
	a.sendReport(sr)
	for {
		got := b.hearReport()
		if got[1] == 200 {
			if ssrc := binary.BigEndian.Uint32(got[4:]); ssrc != h2.ssrc {
				t.Errorf("report from %x, stream %x", ssrc, h2.ssrc)
			}
			return
		}
	}
}

func TestHeldLegIsSentNothing(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	a.version, a.direction = 2, sdp.SendOnly
	if r := a.dial(e, "c"); !strings.Contains(r.SDP, "a=recvonly") {
		t.Errorf("answer to hold:\n%s", r.SDP)
	}
	b.send("into the void")
	a.send("heard")
	if h := b.hear(); h.payload != "heard" {
		t.Errorf("%+v", h)
	}
	until(t, "b's packet came", func() bool { return stats(t, e, "c", "2").Packets == 1 })
	a.version, a.direction = 3, sdp.SendRecv
	a.dial(e, "c")
	b.send("after hold")
	if h := a.hear(); h.payload != "after hold" {
		t.Errorf("%+v", h)
	}
}

func TestDeletedLegsPortsAreFreeAgain(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Ports = ports.Range{First: 31500, Last: 31503} })
	a := newPhone(t, srtp.AEAD128GCM, true)
	for i := range 20 {
		call := fmt.Sprint("c", i)
		a.dial(e, call)
		a.dial(e, call+"x")
		reply, _ := e.Do(mediaapi.Request{Command: mediaapi.LegOffer, CallID: "one too many", Leg: "1"})
		if reply.Reason != mediaapi.ReasonOutOfPorts {
			t.Fatalf("%d: %+v", i, reply)
		}
		for _, id := range []string{call, call + "x", call} {
			do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: id})
		}
	}
	if legs, free := e.Load(); legs != 0 || free != 2 {
		t.Errorf("%d legs, %d free pairs", legs, free)
	}
}

// tape is a Recorder that keeps what it gets.
type tape struct {
	mu      sync.Mutex
	on      map[string]bool
	told    []string // in order
	packets []record.Packet
}

func (r *tape) tell(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, what)
}

func (r *tape) Start(call, label string) error {
	r.tell("start " + label)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on[call] = true
	return nil
}
func (r *tape) Pause(string)     { r.tell("pause") }
func (r *tape) Resume(string)    { r.tell("resume") }
func (r *tape) Stop(call string) { r.mu.Lock(); defer r.mu.Unlock(); delete(r.on, call) }
func (r *tape) Append(p *record.Packet) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := *p
	q.Payload = append([]byte(nil), p.Payload...)
	r.packets = append(r.packets, q)
	return true
}

func TestRecorderGetsWhatBothSidesSay(t *testing.T) {
	rec := &tape{on: map[string]bool{}}
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Recorder = rec })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	a.send("not yet")
	b.hear()
	do(t, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
	seq, ts := uint16(a.seq), a.ts
	a.send("customer")
	b.hear()
	b.send("operator")
	a.hear()
	do(t, e, mediaapi.Request{Command: mediaapi.StopRecording, CallID: "c"})
	a.send("no more")
	b.hear()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.packets) != 2 || len(rec.on) != 0 {
		t.Fatalf("%+v, on %v", rec.packets, rec.on)
	}
	p, q := rec.packets[0], rec.packets[1]
	if p.Call != "c" || p.Leg != "1" || p.Side != record.Customer || p.Codec != "PCMA" || p.PayloadType != 8 || p.Seq != seq || p.Timestamp != ts ||
		p.SSRC != a.ssrc || string(p.Payload) != "customer" || time.Since(p.Arrival) > time.Minute {
		t.Errorf("%+v", p)
	}
	if q.Leg != "2" || q.Side != record.Operator || string(q.Payload) != "operator" {
		t.Errorf("%+v", q)
	}
}

// dump is a Recorder that forgets.
type dump struct{}

func (dump) Start(string, string) error { return nil }
func (dump) Stop(string)                {}
func (dump) Pause(string)               {}
func (dump) Resume(string)              {}
func (dump) Append(*record.Packet) bool { return true }

// Each suite talks to each other one, and what comes out is what went in.
func TestAnySuiteTalksToAnyOther(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	for i, x := range srtp.Suites() {
		for j, y := range srtp.Suites() {
			id := fmt.Sprint(i, j)
			a, b := newPhone(t, x, i%2 == 0), newPhone(t, y, j%2 == 0)
			a.dial(e, id)
			b.ring(e, id, "2")
			connect(t, e, id)
			a.send("to " + string(y))
			if h := b.hear(); h.payload != "to "+string(y) {
				t.Errorf("%s to %s: %q", x, y, h.payload)
			}
			b.send("to " + string(x))
			if h := a.hear(); h.payload != "to "+string(x) {
				t.Errorf("%s to %s: %q", y, x, h.payload)
			}
		}
	}
}

// Of what an offer lists the first suite is taken, unless the order says which is
// preferred; an unknown one is passed over.
func TestSuitesAreChosenByPreference(t *testing.T) {
	e := newEngine(t, "127.0.0.1")
	offer := func(suites ...srtp.Suite) string {
		p := newPhone(t, suites[0], true)
		text, _, _ := strings.Cut(p.offer(), "a=crypto:")
		for i, s := range suites {
			text += fmt.Sprintf("a=crypto:%d %s inline:%s\r\n", i+1, s, srtp.NewKey(s).Inline())
		}
		return text
	}
	calls := 0
	f := func(want srtp.Suite, preferred []string, suites ...srtp.Suite) {
		t.Helper()
		calls++
		r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: fmt.Sprint("p", calls), Leg: "1", SDP: offer(suites...), Suites: preferred})
		if r.Suite != string(want) || strings.Count(r.SDP, "a=crypto:") != 1 {
			t.Errorf("%v, preferring %v: %s", suites, preferred, r.Suite)
		}
	}
	f(srtp.AESCM256SHA180, nil, srtp.AESCM256SHA180, srtp.AEAD128GCM)
	f(srtp.AEAD128GCM, []string{"AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80"}, srtp.AESCM256SHA180, srtp.AEAD128GCM)
	f(srtp.AESCM256SHA180, []string{"AEAD_AES_256_GCM", "AES_256_CM_HMAC_SHA1_80"}, srtp.AESCM128SHA180, srtp.AESCM256SHA180)
	f(srtp.AESCM128SHA132, nil, srtp.AESCM128SHA132)
}
