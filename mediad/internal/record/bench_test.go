package record

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// BenchmarkWrite drives the whole path to the disk: 1000 calls of two legs of
// G.711, as fast as the writer takes them.
func BenchmarkWrite(b *testing.B) {
	dir := b.TempDir()
	l := openLog(b, dir, Config{})
	calls := make([]string, 1000)
	for i := range calls {
		calls[i] = fmt.Sprintf("call-%015d", i)
		if err := l.Start(calls[i], ""); err != nil {
			b.Fatal(err)
		}
	}
	p := talker{leg: "1", codec: "PCMA", hz: 440, frames: 1, ssrc: 1}.packets(b, "c")[0]
	q := *p
	b.SetBytes(int64(len(p.Payload)))
	for i := 0; b.Loop(); i++ {
		q.Call = calls[i%len(calls)]
		q.Seq = uint16(i)
		for !l.Append(&q) {
			syncLog(b, l) // the ring is full: wait for the disk
		}
	}
	syncLog(b, l)
	b.ReportMetric(float64(l.Stats().Bytes)/1e6/b.Elapsed().Seconds(), "disk-MB/s")
}

// BenchmarkExport exports one call of an hour out of a log of several.
func BenchmarkExport(b *testing.B) {
	for _, name := range []string{"PCMA", "opus"} {
		b.Run(name, func(b *testing.B) {
			const frames = 180000
			dir := b.TempDir()
			l := openLog(b, dir, Config{QueueBytes: 64 << 20})
			proto := talker{leg: "1", codec: name, hz: 440, frames: 50, ssrc: 1}.packets(b, "c")
			for i := range frames {
				for leg := range 2 {
					for _, call := range []string{"c", "d"} {
						p := *proto[i%len(proto)]
						p.Call, p.Leg, p.Side, p.SSRC = call, []string{"1", "2"}[leg], Side(leg), uint32(leg)
						p.Seq, p.Timestamp = uint16(i), uint32(i)*(proto[1].Timestamp-proto[0].Timestamp)
						p.Arrival = testStart.Add(time.Duration(i) * 20 * ms)
						if err := l.Start(call, ""); err != nil {
							b.Fatal(err)
						}
						for !l.Append(&p) {
							syncLog(b, l)
						}
					}
				}
			}
			closeLog(b, l)
			for b.Loop() {
				f, err := os.Create(dir + "/out.wav")
				if err != nil {
					b.Fatal(err)
				}
				report, err := Export(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c", f)
				f.Close()
				if err != nil || report.Duration != time.Hour {
					b.Fatalf("%v, %v", report.Duration, err)
				}
			}
		})
	}
}

// BenchmarkFsync measures the group fsync at the rate of 2000 stereo G.711
// calls: 32 MB of audio a second, in slices of 250 ms.
func BenchmarkFsync(b *testing.B) {
	dir := b.TempDir()
	l := openLog(b, dir, Config{SyncEvery: time.Hour, QueueBytes: 64 << 20}) // only when asked
	if err := l.Start("c", ""); err != nil {
		b.Fatal(err)
	}
	p := talker{leg: "1", codec: "PCMA", hz: 440, frames: 1, ssrc: 1}.packets(b, "c")[0]
	var took []time.Duration
	for b.Loop() {
		for range 2000 * 2 * 50 / 4 {
			l.Append(p)
		}
		if err := l.onWriter(b.Context(), func(w *writer) error {
			w.drain()
			start := time.Now()
			err := w.segment.sync()
			took = append(took, time.Since(start))
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}
