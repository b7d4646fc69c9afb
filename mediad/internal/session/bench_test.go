package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/srtp"
	"trunkline/mediad/mediaapi"
)

// BenchmarkRelay is what one relayed packet costs the packet thread: receiving
// it from the kernel, opening, recording, sealing and sending it, with the
// kernel's delivery over loopback that sending includes.
func BenchmarkRelay(b *testing.B) {
	for _, suite := range []srtp.Suite{srtp.AEAD128GCM, srtp.AESCM128SHA180} {
		b.Run(string(suite), func(b *testing.B) {
			e := newEngine(b, "127.0.0.1", func(c *Config) { c.Shards = 1; c.Recorder = dump{} })
			x, y := newPhone(b, suite, true), newPhone(b, suite, true)
			x.dial(e, "c")
			y.ring(e, "c", "2")
			connect(b, e, "c")
			do(b, e, mediaapi.Request{Command: mediaapi.StartRecording, CallID: "c"})
			s := e.shards[0]
			s.mu.Lock() // the thread stays out
			defer s.mu.Unlock()
			l := s.legs[0]
			const batch = 16
			var relayed time.Duration
			buf := make([]byte, 2048)
			payload := strings.Repeat("x", 160)
			packets := 0
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					x.write(x.rtp, x.sealed(payload), x.to)
				}
				began := time.Now()
				packets += s.receive(l.tokens[0], began)
				s.flush()
				relayed += time.Since(began)
				for range batch {
					if _, err := y.rtp.Read(buf); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(relayed.Microseconds())/float64(packets), "us/packet")
			b.ReportMetric(0, "ns/op")
			if packets != int(s.count.sent) {
				b.Errorf("%d in, %d out", packets, s.count.sent)
			}
		})
	}
}

// BenchmarkTakeOver is how long a standby needs from the host command until it
// serves 200 connected calls.
func BenchmarkTakeOver(b *testing.B) {
	const calls = 200
	var took time.Duration
	for b.Loop() {
		p := newPair(b, "127.20.4.60")
		x, y := newPhone(b, srtp.AEAD128GCM, true), newPhone(b, srtp.AEAD128GCM, true)
		for i := range calls {
			id := fmt.Sprint("c", i)
			x.dial(p.a, id)
			y.ring(p.a, id, "2")
			connect(b, p.a, id)
		}
		p.marked(b, p.a)
		p.a.Close()
		began := time.Now()
		p.host(b, p.b, 2, "")
		took += time.Since(began)
		if legs, _ := p.b.Load(); legs != 2*calls {
			b.Fatalf("%d legs", legs)
		}
		p.b.Close()
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/200calls")
}
