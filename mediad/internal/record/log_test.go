package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAppendDoesNotAllocate(t *testing.T) {
	l := openLog(t, t.TempDir(), Config{})
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	p := talker{leg: "1", codec: "PCMA", hz: 440, frames: 1, ssrc: 1}.packets(t, "c")[0]
	if n := testing.AllocsPerRun(1000, func() {
		if !l.Append(p) {
			t.Fatal("dropped")
		}
	}); n > 0 {
		t.Errorf("%.1f allocations per packet", n)
	}
}

func TestPacketsOutsideStartAndStopAreCounted(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 30, ssrc: 1}.packets(t, "c")
	for _, p := range packets[:10] {
		l.Append(p)
	}
	syncLog(t, l)
	if s := l.Stats(); s.NotStarted != 10 || s.Packets != 0 {
		t.Errorf("before start: %+v", s)
	}
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets[10:20] {
		l.Append(p)
	}
	l.Stop("c") // what was accepted before is kept
	syncLog(t, l)
	for _, p := range packets[20:] {
		l.Append(p)
	}
	syncLog(t, l)
	if s := l.Stats(); s.NotStarted != 20 || s.Packets != 10 {
		t.Errorf("after stop: %+v", s)
	}
	closeLog(t, l)
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 10 {
		t.Errorf("%d packets, want 10", report.PacketsLeft)
	}
}

func TestRecordingMayStopAndStartAgain(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 60, ssrc: 1}.packets(t, "c")
	appendAll(t, l, packets[:20])
	l.Stop("c")
	syncLog(t, l)
	appendAll(t, l, packets[20:40])
	l.Stop("c")
	appendAll(t, l, packets[40:]) // Start before the writer saw the stop
	closeLog(t, l)
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 60 {
		t.Errorf("%d packets, want 60", report.PacketsLeft)
	}
}

func TestImpossiblePacketsAndCallsAreRefused(t *testing.T) {
	l := openLog(t, t.TempDir(), Config{})
	for _, call := range []string{"", strings.Repeat("x", maxCallID+1)} {
		if err := l.Start(call, ""); !errors.Is(err, ErrCallID) {
			t.Errorf("call id of %d bytes: %v", len(call), err)
		}
	}
	for _, p := range []*Packet{
		{Call: "c", Leg: "1", Payload: make([]byte, maxPayload+1)},
		{Call: "c", Leg: strings.Repeat("x", maxLeg+1)},
		{Call: strings.Repeat("x", maxCallID+1), Leg: "1"},
	} {
		if l.Append(p) {
			t.Errorf("took a packet of call %d, leg %d, payload %d bytes", len(p.Call), len(p.Leg), len(p.Payload))
		}
	}
	if n := l.Stats().Oversize; n != 3 {
		t.Errorf("%d counted, want 3", n)
	}
	if _, err := Open(t.TempDir(), []byte("short"), Config{}); err == nil {
		t.Error("a short master key was accepted")
	}
}

// The largest of everything still fits a record.
func TestLargestPacketIsKept(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	call, leg := strings.Repeat("c", maxCallID), strings.Repeat("l", maxLeg)
	appendAll(t, l, []*Packet{{Call: call, Leg: leg, Codec: "PCMA", Arrival: testStart, Payload: make([]byte, maxPayload)}})
	closeLog(t, l)
	if _, report := exportCall(t, call, dir); report.PacketsLeft != 1 || report.Damaged != 0 {
		t.Errorf("%+v", report)
	}
}

func TestSegmentsAreSealedAtTheirSize(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{SegmentBytes: 10000})
	appendAll(t, l, merged(
		talker{leg: "1", codec: "PCMA", hz: 440, frames: 200, ssrc: 1}.packets(t, "c"),
		talker{leg: "1", codec: "PCMA", hz: 1000, frames: 200, ssrc: 2}.packets(t, "d"),
	))
	syncLog(t, l)
	// Readable while it is being written, too.
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 200 {
		t.Errorf("while open: %d packets, want 200", report.PacketsLeft)
	}
	closeLog(t, l)
	segments := segmentFiles(t, dir, sealedSuffix)
	if want := 400 * 211 / 10000; len(segments) < want || len(segments) > want+2 {
		t.Errorf("%d segments, want about %d", len(segments), want)
	}
	if open := segmentFiles(t, dir, openSuffix); len(open) > 0 {
		t.Errorf("%v left unsealed", open)
	}
	s, report := exportCall(t, "c", dir)
	if report.PacketsLeft != 200 || report.LostLeft != 0 || report.Segments != len(segments) || report.Damaged != 0 {
		t.Errorf("%+v", report)
	}
	if share := toneShare(s.left, 8000, 440); share < 0.99 {
		t.Errorf("the tone holds %.3f", share)
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	if _, err := Open(dir, testMaster, Config{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v", err)
	}
	closeLog(t, l)
	closeLog(t, openLog(t, dir, Config{}))
}

func TestClosedLogRefuses(t *testing.T) {
	l := openLog(t, t.TempDir(), Config{})
	closeLog(t, l)
	if l.Append(&Packet{Call: "c", Leg: "1"}) {
		t.Error("took a packet")
	}
	if err := l.Start("c", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
	if err := l.Sync(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("sync: %v", err)
	}
	if err := l.Close(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

func TestConcurrentCallsKeepApart(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{SegmentBytes: 100_000})
	var wait sync.WaitGroup
	for c := range 8 {
		call := fmt.Sprintf("call-%d", c)
		packets := merged(
			talker{leg: "1", codec: "PCMA", hz: 300 + 100*float64(c), frames: 150, ssrc: uint32(c)}.packets(t, call),
			talker{leg: "2", codec: "PCMA", hz: 350 + 100*float64(c), frames: 150, ssrc: uint32(c)}.packets(t, call),
		)
		wait.Go(func() {
			if err := l.Start(call, ""); err != nil {
				t.Error(err)
			}
			for _, p := range packets {
				if !l.Append(p) {
					t.Error("dropped")
				}
			}
			l.Stop(call)
		})
	}
	wait.Wait()
	closeLog(t, l)
	for c := range 8 {
		s, report := exportCall(t, fmt.Sprintf("call-%d", c), dir)
		if report.PacketsLeft != 150 || report.PacketsRight != 150 {
			t.Errorf("call %d: %+v", c, report)
		}
		if a, b := toneShare(s.left, 8000, 300+100*float64(c)), toneShare(s.right, 8000, 350+100*float64(c)); a < 0.99 || b < 0.99 {
			t.Errorf("call %d: tones hold %.3f and %.3f", c, a, b)
		}
	}
}

// faultyDisk is the real disk with a hand on it.
type faultyDisk struct {
	disk
	gate    chan struct{} // if not nil, writes wait until it is closed
	waiting chan struct{} // gets a token from each write that waits
	full    atomic.Bool   // writes fail, the first after half its bytes
	noSync  atomic.Bool   // fsync fails
	noRoom  atomic.Bool   // files can be made and hold nothing
}

type faultyFile struct {
	file
	disk *faultyDisk
}

func (d *faultyDisk) create(path string) (file, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	f, err := d.disk.create(path)
	return faultyFile{f, d}, err
}

func (f faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.gate != nil {
		select {
		case f.disk.waiting <- struct{}{}:
		default:
		}
		<-f.disk.gate
	}
	if f.disk.noRoom.Load() {
		return 0, syscall.ENOSPC
	}
	if f.disk.full.Load() {
		n, _ := f.file.WriteAt(b[:len(b)/2], at)
		return n, syscall.ENOSPC
	}
	return f.file.WriteAt(b, at)
}

func (f faultyFile) Sync() error {
	if f.disk.noSync.Load() {
		return syscall.EIO
	}
	return f.file.Sync()
}

// The disk hangs: Append goes on at full speed, the ring fills, drops are
// counted; nothing that was accepted is lost when the disk is back.
func TestHungDiskDropsAndCountsButNeverBlocks(t *testing.T) {
	dir := t.TempDir()
	d := &faultyDisk{gate: make(chan struct{}), waiting: make(chan struct{}, 1)}
	l := openLog(t, dir, Config{QueueBytes: 64 << 10, files: d})
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 1000, ssrc: 1}.packets(t, "c")
	l.Append(packets[0])
	<-d.waiting // the writer is stuck
	accepted, dropped := 1, 0
	for _, p := range packets[1:] {
		if l.Append(p) {
			accepted++
		} else {
			dropped++
		}
	}
	if dropped == 0 || accepted < 200 {
		t.Fatalf("%d accepted, %d dropped", accepted, dropped)
	}
	if got := l.Stats().QueueFull; got != uint64(dropped) {
		t.Errorf("%d drops counted, want %d", got, dropped)
	}
	// Even closing does not wait for ever.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("sync on a hung disk: %v", err)
	}
	close(d.gate)
	closeLog(t, l)
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != accepted {
		t.Errorf("%d packets were kept of %d accepted", report.PacketsLeft, accepted)
	}
}

// The disk is full for a while: what was written before stays readable, what
// fails is counted, and recording goes on in a new segment under new keys.
func TestFullDiskInterruptsButLosesNothingWritten(t *testing.T) {
	f := func(name string, kept int, fail func(*faultyDisk, bool)) {
		t.Helper()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			d := &faultyDisk{}
			l := openLog(t, dir, Config{files: d})
			packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
			appendAll(t, l, packets[:40])
			syncLog(t, l)
			fail(d, true)
			appendAll(t, l, packets[40:50])
			if err := l.Sync(context.Background()); err == nil {
				t.Errorf("%s: sync saw no error", name)
			}
			appendAll(t, l, packets[50:60]) // before the disk is tried again
			if err := l.Sync(context.Background()); err == nil {
				t.Errorf("%s: packets were dropped and sync saw no error", name)
			}
			if n := l.Stats().Disk; n < 10 {
				t.Errorf("%s: %d drops counted", name, n)
			}
			fail(d, false)
			<-time.After(retryAfter)
			appendAll(t, l, packets[60:])
			closeLog(t, l)
		})
		if open := segmentFiles(t, dir, openSuffix); len(open) > 0 {
			t.Errorf("%s: %v left unsealed", name, open)
		}
		s, report := exportCall(t, "c", dir)
		if report.PacketsLeft != kept || report.Segments != 2 || report.Damaged != 0 {
			t.Errorf("%s: %+v", name, report)
		}
		if share := toneShare(s.part(s.left, 1250*ms, 1990*ms), 8000, 440); share < 0.99 {
			t.Errorf("%s: after the fault the tone holds %.3f", name, share)
		}
	}
	// Of the ten packets in the failing write the first half reached the disk.
	f("full", 85, func(d *faultyDisk, on bool) { d.full.Store(on) })
	f("fsync fails", 90, func(d *faultyDisk, on bool) { d.noSync.Store(on) })
}

// A segment that few calls fill is sealed by its age, so that it can be handed
// over and, in time, removed.
func TestSegmentsAreSealedAtTheirAge(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, dir, Config{SegmentAge: time.Minute})
		packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}.packets(t, "c")
		appendAll(t, l, packets[:50])
		<-time.After(59 * time.Second)
		if n := l.Stats().SegmentsSealed; n != 0 {
			t.Errorf("%d sealed too early", n)
		}
		<-time.After(2 * time.Second)
		if n := l.Stats().SegmentsSealed; n != 1 {
			t.Errorf("%d sealed, want 1", n)
		}
		select {
		case <-l.Sealed():
		default:
			t.Error("nobody was told")
		}
		<-time.After(time.Hour) // nothing to record, nothing to seal
		appendAll(t, l, packets[50:])
		closeLog(t, l)
	})
	if n := len(segmentFiles(t, dir, sealedSuffix)); n != 2 {
		t.Errorf("%d segments, want 2", n)
	}
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 100 || report.Damaged != 0 {
		t.Errorf("%+v", report)
	}
}

// A disk that is full for long does not fill the folder with empty files.
func TestAFullDiskLeavesNoFilesBehind(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &faultyDisk{}
		l := openLog(t, dir, Config{files: d})
		d.noRoom.Store(true)
		for range 10 {
			appendAll(t, l, talker{leg: "1", codec: "PCMA", hz: 440, frames: 1, ssrc: 1}.packets(t, "c"))
			<-time.After(retryAfter + pollEvery)
		}
		if n := l.Stats().Disk; n != 10 {
			t.Errorf("%d drops counted, want 10", n)
		}
		closeLog(t, l)
	})
	for _, suffix := range []string{openSuffix, keysSuffix, sealedSuffix} {
		if left := segmentFiles(t, dir, suffix); len(left) > 0 {
			t.Errorf("%v", left)
		}
	}
}

// lossyDisk forgets on powerOff what was not made durable.
type lossyDisk struct {
	disk
	mu     sync.Mutex
	synced map[string]int64 // bytes of each file that are durable
}

type lossyFile struct {
	file
	disk  *lossyDisk
	path  string
	wrote *atomic.Int64
}

func (d *lossyDisk) create(path string) (file, error) {
	f, err := d.disk.create(path)
	return lossyFile{f, d, path, new(atomic.Int64)}, err
}

func (f lossyFile) WriteAt(b []byte, at int64) (int, error) {
	f.wrote.Store(max(f.wrote.Load(), at+int64(len(b))))
	return f.file.WriteAt(b, at)
}

func (f lossyFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.synced[f.path] = f.wrote.Load()
	return f.file.Sync()
}

// powerOff returns the folder as the machine finds it when power is back.
func (d *lossyDisk) powerOff(t *testing.T, dir string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := copyDir(t, dir)
	for path, n := range d.synced {
		if err := os.Truncate(left+strings.TrimPrefix(path, dir), n); err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// The power fails at any moment: what was said more than 250 ms before is
// there, and the report says what is missing.
func TestPowerLossCostsAtMostTheGroupFsync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := &lossyDisk{synced: map[string]int64{}}
		l := openLog(t, dir, Config{files: d})
		packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 250, ssrc: 1}.packets(t, "c")
		if err := l.Start("c", ""); err != nil {
			t.Fatal(err)
		}
		worst := 0
		for i, p := range packets {
			l.Append(p)
			<-time.After(20 * ms)
			if i < 20 || i%19 != 0 {
				continue
			}
			left := d.powerOff(t, dir)
			again := openLog(t, left, Config{})
			closeLog(t, again)
			_, report := exportCall(t, "c", left)
			worst = max(worst, i+1-report.PacketsLeft)
			if report.LostLeft != 0 || report.Damaged != 0 {
				t.Errorf("%+v", report)
			}
		}
		if worst == 0 || time.Duration(worst)*20*ms > 250*ms+20*ms {
			t.Errorf("%d packets were lost at worst, want some and 13 at most", worst)
		}
	})
}

// A clock set during a call moves nothing: arrival is monotonic.
func TestArrivalIsMonotonic(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	now := time.Now()
	p := &Packet{Call: "c", Leg: "1", Codec: "PCMA", Arrival: now, Payload: make([]byte, 160)}
	appendAll(t, l, []*Packet{p})
	closeLog(t, l)
	rec, err := readRecording(context.Background(), Sources{Dirs: []string{dir}}, testMaster, "c")
	if err != nil {
		t.Fatal(err)
	}
	want := l.baseNS + int64(now.Sub(l.base))
	if got := rec.sources[0][0].arrival; got != want {
		t.Errorf("arrival %d, want %d", got, want)
	}
	if _, err := os.Stat(dir + "/lock"); err != nil {
		t.Error(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, b.TempDir(), Config{QueueBytes: 256 << 20})
	p := talker{leg: "1", codec: "PCMA", hz: 440, frames: 1, ssrc: 1}.packets(b, "abcdefghijklmnopqrst")[0]
	if err := l.Start(p.Call, ""); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !l.Append(p) {
			b.StopTimer()
			syncLog(b, l)
			b.StartTimer()
		}
	}
}
