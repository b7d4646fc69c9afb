package record

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/codec"
)

var testMaster = bytes.Repeat([]byte{7}, masterKeySize)

var testStart = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

const ms = time.Millisecond

func openLog(t testing.TB, dir string, cfg Config) *Log {
	t.Helper()
	l, err := Open(dir, testMaster, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func syncLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// talker is one sender: a tone in 20 ms packets.
type talker struct {
	leg, codec string
	hz         float64
	start      time.Duration // arrival of the first packet, from testStart
	frames     int
	seq        uint16
	ts         uint32
	ssrc       uint32
	ppm        float64 // its clock is this much fast
}

func (k talker) packets(t testing.TB, call string) []*Packet {
	t.Helper()
	rate := codec.ClockRate(k.codec)
	e, err := codec.NewEncoder(k.codec, rate)
	if err != nil {
		t.Fatal(err)
	}
	var out []*Packet
	pcm := make([]int16, rate/50)
	for f := range k.frames {
		for i := range pcm {
			pcm[i] = int16(8000 * math.Sin(2*math.Pi*k.hz*float64(f*len(pcm)+i)/float64(rate)))
		}
		payload, err := e.Encode(nil, pcm)
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Duration(float64(time.Duration(f)*codec.FrameDuration) / (1 + k.ppm/1e6))
		out = append(out, &Packet{
			Call: call, Leg: k.leg, Side: SideOf(k.leg), Codec: k.codec, PayloadType: 96,
			Arrival: testStart.Add(k.start + sent),
			Seq:     k.seq + uint16(f), Timestamp: k.ts + uint32(f)*codec.FrameTicks(k.codec), SSRC: k.ssrc,
			Payload: payload,
		})
	}
	return out
}

// merged orders packets of several senders by arrival.
func merged(lists ...[]*Packet) []*Packet {
	var all []*Packet
	for _, l := range lists {
		all = append(all, l...)
	}
	for i := range all { // insertion sort: lists are sorted already
		for k := i; k > 0 && all[k].Arrival.Before(all[k-1].Arrival); k-- {
			all[k], all[k-1] = all[k-1], all[k]
		}
	}
	return all
}

func without(packets []*Packet, lost ...int) []*Packet {
	gone := make(map[int]bool)
	for _, i := range lost {
		gone[i] = true
	}
	var kept []*Packet
	for i, p := range packets {
		if !gone[i] {
			kept = append(kept, p)
		}
	}
	return kept
}

// writeLog records packets in a log of their own and closes it.
func writeLog(t testing.TB, packets []*Packet) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l := openLog(t, dir, Config{})
	appendAll(t, l, packets)
	closeLog(t, l)
	return dir
}

func appendAll(t testing.TB, l *Log, packets []*Packet) {
	t.Helper()
	for _, p := range packets {
		if err := l.Start(p.Call, ""); err != nil {
			t.Fatal(err)
		}
		if !l.Append(p) {
			t.Fatal("packet dropped")
		}
	}
}

// stereo is an exported file taken apart.
type stereo struct {
	rate        int
	left, right []int16
}

func exportCall(t testing.TB, call string, dirs ...string) (stereo, Report) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "call.wav")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	report, err := Export(context.Background(), Sources{Dirs: dirs}, testMaster, call, f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b[:4]) != "RIFF" || int(binary.LittleEndian.Uint32(b[4:])) != len(b)-8 ||
		int(binary.LittleEndian.Uint32(b[40:])) != len(b)-wavHeader {
		t.Fatalf("WAV header does not fit the file's %d bytes", len(b))
	}
	s := stereo{rate: int(binary.LittleEndian.Uint32(b[24:]))}
	for at := wavHeader; at < len(b); at += 4 {
		s.left = append(s.left, int16(binary.LittleEndian.Uint16(b[at:])))
		s.right = append(s.right, int16(binary.LittleEndian.Uint16(b[at+2:])))
	}
	if got, want := report.Duration, time.Duration(len(s.left))*time.Second/time.Duration(s.rate); got != want {
		t.Errorf("report says %v, the file has %v", got, want)
	}
	return s, report
}

func exportError(t testing.TB, master []byte, call string, dirs ...string) error {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "call.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Export(context.Background(), Sources{Dirs: dirs}, master, call, f)
	return err
}

// part is the samples between two instants.
func (s stereo) part(pcm []int16, from, to time.Duration) []int16 {
	at := func(d time.Duration) int { return min(len(pcm), int(int64(d)*int64(s.rate)/1e9)) }
	return pcm[at(from):at(to)]
}

func power(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return sum / float64(max(1, len(pcm)))
}

// toneShare is the part of the power that lies at hz (Goertzel).
func toneShare(pcm []int16, rate int, hz float64) float64 {
	w := 2 * math.Pi * hz / float64(rate)
	var s1, s2 float64
	for _, s := range pcm {
		s1, s2 = float64(s)+2*math.Cos(w)*s1-s2, s1
	}
	n := float64(max(1, len(pcm)))
	return (s1*s1 + s2*s2 - 2*math.Cos(w)*s1*s2) * 2 / (n * n) / math.Max(1, power(pcm))
}

// onset is when a channel is first heard.
func (s stereo) onset(pcm []int16) time.Duration {
	for i, v := range pcm {
		if v > 1000 || v < -1000 {
			return time.Duration(i) * time.Second / time.Duration(s.rate)
		}
	}
	return -1
}

func segmentFiles(t testing.TB, dir, suffix string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

func copyDir(t testing.TB, from string) (to string) {
	t.Helper()
	to = t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}
