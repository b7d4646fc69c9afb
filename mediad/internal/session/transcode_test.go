package session

import (
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"trunkline/mediad/internal/codec"
	"trunkline/mediad/internal/sdp"
	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

var (
	opusOnly = []sdp.Codec{{Name: sdp.Opus, Clock: 48000, PT: 96}}
	pcmaOnly = []sdp.Codec{{Name: sdp.PCMA, Clock: 8000, PT: 8}}
	pcmuOnly = []sdp.Codec{{Name: sdp.PCMU, Clock: 8000, PT: 0}}
)

// speaker sends a tone in its phone's codec, a packet each 20 ms of the clock.
type speaker struct {
	phone *phone
	hz    int
	skip  func(n int) bool          // packets that get lost; nil: none
	late  func(n int) time.Duration // how long packets are under way; nil: none
}

// speak sends n packets.
func (s speaker) speak(n int) {
	p := s.phone
	c := p.codecs[0]
	enc, err := codec.NewEncoder(c.Name, 8000)
	if err != nil {
		p.t.Error(err)
		return
	}
	pcm := make([]int16, 160)
	p.pt = c.PT
	began := time.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		for j := range pcm {
			pcm[j] = int16(8000 * math.Sin(2*math.Pi*float64(s.hz)*float64(i*160+j)/8000))
		}
		payload, err := enc.Encode(nil, pcm)
		if err != nil {
			p.t.Error(err)
			return
		}
		packet := p.sealed(string(payload))
		p.ts += uint32(c.Clock/50) - 160
		at := began.Add(time.Duration(i) * frameTime)
		if s.late != nil {
			at = at.Add(s.late(i))
		}
		if s.skip != nil && s.skip(i) {
			continue
		}
		wg.Add(1)
		time.AfterFunc(time.Until(at), func() {
			defer wg.Done()
			_, _ = p.rtp.WriteToUDPAddrPort(packet, p.to)
		})
	}
}

// listening is what a phone makes of the audio it receives.
type listening struct {
	pcm     []int16
	packets int
	lost    int // by sequence number
	gaps    int // RTP time that was left out, in frames
	worst   time.Duration
	ssrcs   map[uint32]bool
}

// listen8k decodes what comes until nothing comes for a while, or it was enough.
func (p *phone) listen8k(quiet time.Duration, enough ...time.Duration) (l listening) {
	p.t.Helper()
	c := p.codecs[0]
	dec, err := codec.NewDecoder(c.Name, 8000)
	if err != nil {
		p.t.Fatal(err)
	}
	l.ssrcs = map[uint32]bool{}
	var last heard
	until := time.Now().Add(3 * time.Second) // for a first packet
	end := time.Now().Add(time.Minute)
	for _, d := range enough {
		end = time.Now().Add(d)
	}
	for time.Now().Before(end) {
		b, ok := p.read(p.rtp, min(time.Until(until), time.Until(end)))
		if !ok {
			break
		}
		h, ok := p.open(b)
		if !ok || h.pt != c.PT {
			continue
		}
		until = time.Now().Add(quiet)
		if l.packets > 0 && h.ssrc == last.ssrc {
			l.lost += int(int16(h.seq-last.seq)) - 1
			l.gaps += int(int32(h.ts-last.ts))/(c.Clock/50) - 1
			l.worst = max(l.worst, h.at.Sub(last.at))
		}
		last = h
		l.packets++
		l.ssrcs[h.ssrc] = true
		if l.pcm, err = dec.Decode(l.pcm, []byte(h.payload)); err != nil {
			p.t.Fatal(err)
		}
	}
	return l
}

// share is how much of a signal's energy lies in a tone (Goertzel).
func share(pcm []int16, hz int) float64 {
	w := 2 * math.Cos(2*math.Pi*float64(hz)/8000)
	tone, all := 0.0, 0.0
	const block = 800 // 100 ms: tones need not keep their phase for longer
	for ; len(pcm) >= block; pcm = pcm[block:] {
		s1, s2 := 0.0, 0.0
		for _, v := range pcm[:block] {
			s := float64(v) + w*s1 - s2
			s1, s2 = s, s1
			all += float64(v) * float64(v)
		}
		tone += (s1*s1 + s2*s2 - w*s1*s2) * 2 / block
	}
	if all == 0 {
		return 0
	}
	return tone / all
}

// Any codec talks to any other, both ways: each side hears the other's tone, as
// 20 ms packets in its own codec (T3). What the bounds allow is a loaded machine's
// hiccups, at which the jitter buffer makes up frames.
func TestAnyCodecTalksToAnyOther(t *testing.T) {
	for _, pair := range [][2][]sdp.Codec{{opusOnly, pcmaOnly}, {opusOnly, pcmuOnly}, {pcmaOnly, pcmuOnly}, {pcmaOnly, opusOnly}} {
		t.Run(pair[0][0].Name+"-"+pair[1][0].Name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
			a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
			a.codecs, b.codecs = pair[0], pair[1]
			a.dial(e, "c")
			b.ring(e, "c", "2")
			connect(t, e, "c")
			const packets = 75
			go speaker{phone: a, hz: 500}.speak(packets)
			go speaker{phone: b, hz: 1200}.speak(packets)
			heard := make(chan listening, 1)
			go func() { heard <- a.listen8k(300 * time.Millisecond) }()
			atB := b.listen8k(300 * time.Millisecond)
			atA := <-heard
			for _, side := range []struct {
				what  string
				l     listening
				hz, x int
			}{{"a", atA, 1200, 500}, {"b", atB, 500, 1200}} {
				if side.l.packets < packets-8 || side.l.packets > packets+12 || side.l.lost != 0 || side.l.gaps > 8 || len(side.l.ssrcs) != 1 {
					t.Errorf("%s got %d packets of %d, %d lost, %d frames left out", side.what, side.l.packets, packets, side.l.lost, side.l.gaps)
				}
				body := side.l.pcm[1600 : 160*(packets-5)]
				if s, own := share(body, side.hz), share(body, side.x); s < 0.75 || own > 0.01 {
					t.Errorf("%s hears %.2f of the other's tone and %.2f of its own", side.what, s, own)
				}
			}
		})
	}
}

// Where a packet is decoded a lost one is made up for, and the pace is kept though
// the network's is not: the other side gets packets without a hole or a hurry.
func TestLossAndJitterAreSmoothedWhereAudioIsDecoded(t *testing.T) {
	for _, pair := range [][2][]sdp.Codec{{opusOnly, pcmaOnly}, {pcmaOnly, opusOnly}} {
		t.Run(pair[0][0].Name+"-"+pair[1][0].Name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
			a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
			a.codecs, b.codecs = pair[0], pair[1]
			a.dial(e, "c")
			b.ring(e, "c", "2")
			connect(t, e, "c")
			const packets = 150
			go speaker{phone: a, hz: 1000,
				skip: func(n int) bool { return n%10 == 7 },
				late: func(n int) time.Duration { return time.Duration(n*7%4) * 12 * time.Millisecond },
			}.speak(packets)
			l := b.listen8k(400 * time.Millisecond)
			s := e.calls["c"].shard
			s.mu.Lock()
			concealed := s.count.concealed
			s.mu.Unlock()
			if l.lost != 0 || l.gaps > packets/10 || l.packets < packets-15 || concealed < 12 {
				t.Errorf("%d packets, %d lost, %d frames left out, %d concealed", l.packets, l.lost, l.gaps, concealed)
			}
			if got := share(l.pcm[160*25:160*130], 1000); got < 0.7 {
				t.Errorf("the tone holds %.2f", got)
			}
		})
	}
}

// A prompt, a key and silence interrupt what is transcoded; it goes on behind them
// in the same stream, and nobody's turn is left on the wheel.
func TestTranscodingStopsAndGoesOn(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = opusOnly
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	talk := func() {
		t.Helper()
		go speaker{phone: a, hz: 500}.speak(30)
		if l := b.listen8k(300 * time.Millisecond); l.packets < 25 || share(l.pcm[800:160*20], 500) < 0.75 {
			t.Errorf("%d packets", l.packets)
		}
		s := e.calls["c"].shard
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.players != 0 || s.legs[1].feed != nil {
			t.Errorf("%d legs on the wheel in silence", s.players)
		}
	}
	talk()
	do(t, e, mediaapi.Request{Command: mediaapi.PlayDTMF, CallID: "c", Leg: "2", Keys: "5", Duration: 100})
	newKeypad(t).wait(b, "5")
	talk()
	do(t, e, mediaapi.Request{Command: mediaapi.PlayMedia, CallID: "c", Leg: "2", Prompt: "short"})
	b.listen8k(300 * time.Millisecond)
	talk()
}

// The transcoding path allocates nothing either.
func TestNoAllocationPerTranscodedPacket(t *testing.T) {
	e := newEngine(t, "127.0.0.1", func(c *Config) { c.Shards = 1 })
	a, b := newPhone(t, srtp.AEAD128GCM, true), newPhone(t, srtp.AEAD128GCM, true)
	a.codecs = opusOnly
	a.dial(e, "c")
	b.ring(e, "c", "2")
	connect(t, e, "c")
	enc, err := codec.NewEncoder(codec.Opus, 8000)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := enc.Encode(nil, make([]int16, 160))
	if err != nil {
		t.Fatal(err)
	}
	a.pt = 96
	packets := make([][]byte, 400)
	for i := range packets {
		packets[i] = a.sealed(string(payload))
		a.ts += 800
	}
	s := e.shards[0]
	l, to := s.legs[0], s.legs[1]
	from := a.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
	buf, next, now := make([]byte, 2048), 0, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	step := func() {
		s.receiveRTP(l, buf[:copy(buf, packets[next])], from, now)
		next, now = next+1, now.Add(frameTime)
		s.turn = to.slot
		s.playSlot(now)
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n != 0 || s.count.transcoded < 250 {
		t.Errorf("%v allocations per packet, %d transcoded", n, s.count.transcoded)
	}
}
