package session

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// linked is a call whose caller is reached by a link, connected with a phone that
// is not.
func linked(t *testing.T, e *Engine) (caller, agent *phone) {
	t.Helper()
	caller, agent = newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	r := do(t, e, mediaapi.Request{Command: mediaapi.LegAccept, CallID: "c", Leg: "1", SDP: caller.offer(), Link: "sbc-a"})
	caller.use(r.SDP)
	agent.ring(e, "c", "2")
	connect(t, e, "c")
	return caller, agent
}

// buckets closes ten seconds and returns what they came to.
func buckets(t *testing.T, e *Engine, now time.Time) []mediaapi.Bucket {
	t.Helper()
	before := do(t, e, mediaapi.Request{Command: mediaapi.Links}).Serial
	e.closeBuckets(now)
	r := do(t, e, mediaapi.Request{Command: mediaapi.Links, Serial: before})
	if r.Serial != before+1 {
		t.Fatalf("serial %d after %d", r.Serial, before)
	}
	return r.Buckets
}

// report is a receiver report on one stream, or a sender report of another with it.
func report(sender, about, highest uint32, lost, jitter uint32, lsr, dlsr uint32) []byte {
	b := []byte{0x81, rtcpRR, 0, 7}
	for _, v := range []uint32{sender, about, lost & 0xffffff, highest, jitter, lsr, dlsr} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// What came over a link is counted where it came in; what went there, by what the
// far end says of it.
func TestALinkIsMeasuredBothWays(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	caller, agent := linked(t, e)
	for i := range 50 {
		if i%10 == 9 {
			caller.plain("lost on the way") // five
			continue
		}
		caller.send("over the link")
		agent.hear()
	}
	agent.send("towards the link")
	got := caller.hear()
	caller.sendReport(report(caller.ssrc, got.ssrc, 1000, 10, 80, 0, 0))
	caller.sendReport(report(caller.ssrc, 0xfeed, 7, 0, 0, 0, 0)) // of a stream before it, told in between
	caller.sendReport(report(caller.ssrc, got.ssrc, 1200, 30, 160, 0, 0))
	until(t, "the reports are read", func() bool { return stats(t, e, "c", "1").RTCPReceived == 3 })
	b := buckets(t, e, time.Now())
	if len(b) != 1 {
		t.Fatalf("buckets %+v", b)
	}
	want := mediaapi.Bucket{Link: "sbc-a", Serial: 1, Calls: 1, Received: 49, ReceivedLost: 4, SentPackets: 1, Sent: 200, SentLost: 20, SentJitter: 20_000,
		SentBytes: int64(len(got.wire)) + headersIPv4, Reporting: 1}
	want.ReceivedBytes = 45 * int64(12+len("over the link")+16+headersIPv4)
	b[0].ReceivedJitter = 0 // as the machine is loaded
	if b[0] != want {
		t.Errorf("bucket\n%+v, want\n%+v", b[0], want)
	}
	// The next ten seconds begin at nothing.
	if b := buckets(t, e, time.Now()); len(b) != 0 {
		t.Errorf("without a packet: %+v", b)
	}
	// What a leg did before it ended counts.
	caller.send("the last word")
	agent.hear()
	do(t, e, mediaapi.Request{Command: mediaapi.Delete, CallID: "c"})
	if b := buckets(t, e, time.Now()); len(b) != 1 || b[0].Received != 2 || b[0].ReceivedLost != 1 {
		t.Errorf("of a call that is over: %+v", b)
	}
}

// The round trip is told by the report that names one of those that went out,
// whoever's clock it bore, also where who speaks reports nothing.
func TestTheRoundTripOfARelayedStreamIsKnown(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	caller, agent := linked(t, e)
	agent.send("towards the link")
	heard := caller.hear()
	s := e.shards[0]
	s.mu.Lock()
	l := s.legs[0]
	l.nextRTCP = time.Now()
	s.mu.Unlock()
	sr := caller.hearReport()
	if sr[1] != rtcpSR || binary.BigEndian.Uint32(sr[4:]) != heard.ssrc || binary.BigEndian.Uint32(sr[20:]) != 1 {
		t.Fatalf("report % x on the stream %x", sr, heard.ssrc)
	}
	asSent := uint32(binary.BigEndian.Uint64(sr[8:]) >> 16)

	// The agent's own report, by a clock of its own, goes across.
	const alien = 0x12345678
	of := bytes.Clone(sr[:28])
	of[0], of[3] = 0x80, 6
	binary.BigEndian.PutUint32(of[4:], agent.ssrc)
	binary.BigEndian.PutUint64(of[8:], alien<<16)
	agent.sendReport(of)
	caller.hearReport()

	measure := func(lsr uint32) mediaapi.Bucket {
		t.Helper()
		before := stats(t, e, "c", "1").RTCPReceived
		caller.sendReport(report(caller.ssrc, heard.ssrc, 1, 0, 0, lsr, 0))
		until(t, "the report is read", func() bool { return stats(t, e, "c", "1").RTCPReceived > before })
		caller.send("x")
		agent.hear()
		b := buckets(t, e, time.Now())
		if len(b) != 1 {
			t.Fatalf("buckets %+v", b)
		}
		return b[0]
	}
	for _, lsr := range []uint32{asSent, alien} {
		if b := measure(lsr); b.Timed != 1 || b.Delay <= 0 || b.Delay > patience.Microseconds() {
			t.Errorf("delay by the report %x: %+v", lsr, b)
		}
	}
	if b := measure(0x9999); b.Timed != 0 {
		t.Errorf("a report nobody sent tells the delay: %+v", b)
	}
}

// A packet that is overtaken is as late as it is: it counts as jitter though it is not
// the newest.
func TestWhatComesOutOfOrderIsJitter(t *testing.T) {
	var st inStats
	codec := &sdp.Codec{Name: sdp.PCMA, Clock: 8000, PT: 8}
	begun := time.Now()
	arrive := func(n int, late time.Duration) {
		h := &rtp.Header{SSRC: 1, SequenceNumber: uint16(n), Timestamp: uint32(160 * n), PayloadType: 8}
		st.arrived(h, uint64(n), 172, codec, begun.Add(time.Duration(n)*frameTime+late))
	}
	for n := 0; n < 200; n += 4 { // each fourth comes 50 ms late, behind two others
		arrive(n+1, 0)
		arrive(n+2, 0)
		arrive(n, 50*time.Millisecond)
		arrive(n+3, 0)
	}
	if j := st.jitterMicros(); j < 20_000 || j > 40_000 {
		t.Errorf("jitter of %d us, half of the steps are 50 ms", j)
	}
	if st.lost() != 0 {
		t.Errorf("%d lost", st.lost())
	}
}

// Who is heard for long and reports nothing is told, and not held for good.
func TestMissingRTCPIsTold(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	caller, agent := linked(t, e)
	say := func(now time.Time) mediaapi.Bucket {
		t.Helper()
		caller.send("x")
		agent.hear()
		b := buckets(t, e, now)
		if len(b) != 1 {
			t.Fatalf("buckets %+v", b)
		}
		return b[0]
	}
	now := time.Now()
	if b := say(now); b.Silent != 0 || b.Reporting != 0 {
		t.Errorf("a call that has just begun: %+v", b)
	}
	if b := say(now.Add(silentAfter)); b.Silent != 1 || b.Reporting != 0 {
		t.Errorf("15 s without RTCP: %+v", b)
	}
	caller.sendReport(report(caller.ssrc, agent.ssrc, 1, 0, 0, 0, 0))
	until(t, "the report is read", func() bool { return stats(t, e, "c", "1").RTCPReceived == 1 })
	if b := say(time.Now()); b.Silent != 0 || b.Reporting != 1 {
		t.Errorf("with RTCP: %+v", b)
	}
}

// A leg is its link's at the standby too, and a label is bounded.
func TestALinkOutlivesItsWorker(t *testing.T) {
	p := newPair(t, "127.0.0.41")
	caller, agent := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	r := do(t, p.a, mediaapi.Request{Command: mediaapi.LegOffer, CallID: "c", Leg: "1"})
	do(t, p.a, mediaapi.Request{Command: mediaapi.LegAnswer, CallID: "c", Leg: "1", SDP: caller.answerTo(r.SDP), Link: "sbc-b"})
	agent.ring(p.a, "c", "2")
	connect(t, p.a, "c")
	p.a.Close()
	p.host(t, p.b, 2, "")
	caller.send("after the takeover")
	agent.hear()
	if b := buckets(t, p.b, time.Now()); len(b) != 1 || b[0].Link != "sbc-b" || b[0].Received != 1 {
		t.Errorf("at the standby: %+v", b)
	}
	for _, command := range []string{mediaapi.LegAccept, mediaapi.LegOffer} {
		reply, _ := p.b.Do(mediaapi.Request{Command: command, CallID: "d", Leg: "1", SDP: caller.offer(), Link: strings.Repeat("x", maxID+1)})
		if reply.Code != 400 || !strings.Contains(reply.Reason, "link") {
			t.Errorf("%s with a long label: %+v", command, reply)
		}
	}
}

// Six buckets are kept, and only those asked for are told.
func TestBucketsAreBounded(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	s := e.shards[0]
	for range 9 {
		s.mu.Lock()
		for _, link := range []string{"b", "a"} {
			s.links[link] = &linkSums{Bucket: mediaapi.Bucket{Link: link, Calls: 1}}
		}
		s.mu.Unlock()
		e.closeBuckets(time.Now())
	}
	all := do(t, e, mediaapi.Request{Command: mediaapi.Links}).Buckets
	if age := do(t, e, mediaapi.Request{Command: mediaapi.Links}).Age; age < 0 || age > patience.Milliseconds() {
		t.Errorf("the newest is %d ms old", age)
	}
	if len(all) != 2*bucketsKept || all[0].Serial != 4 || all[0].Link != "a" || all[11].Serial != 9 {
		t.Errorf("%d buckets: %+v", len(all), all)
	}
	if last := do(t, e, mediaapi.Request{Command: mediaapi.Links, Serial: 8}).Buckets; len(last) != 2 {
		t.Errorf("after 8: %+v", last)
	}
	var out bytes.Buffer
	e.writeLinks(&out)
	if text := out.String(); !strings.Contains(text, `mediad_link_calls{link="a"} 1`) {
		t.Errorf("metrics:\n%s", text)
	}
}

// Legs by offer and answer count for the link that each one's SDP came by.
func TestSidesCountForTheirLinks(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	offer := do(t, e, mediaapi.Request{Command: mediaapi.Offer, CallID: "c", FromTag: "ft", SDP: a.offer(), Link: "sbc-a"})
	answer := do(t, e, mediaapi.Request{Command: mediaapi.Answer, CallID: "c", FromTag: "ft", ToTag: "tt", SDP: b.answerTo(offer.SDP), Link: "sbc-b"})
	a.use(answer.SDP)
	talk(t, a, b, "over two links")
	got := buckets(t, e, time.Now())
	if len(got) != 2 || got[0].Link != "sbc-a" || got[1].Link != "sbc-b" {
		t.Fatalf("%+v", got)
	}
	for _, k := range got {
		if k.Calls != 1 || k.ReceivedBytes == 0 || k.SentBytes == 0 {
			t.Errorf("%+v", k)
		}
	}
}
