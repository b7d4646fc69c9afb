package record

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// crashed returns the folder of a log whose process died without sealing.
func crashed(t testing.TB, packets []*Packet) string {
	t.Helper()
	dir := t.TempDir()
	l := openLog(t, dir, Config{})
	appendAll(t, l, packets)
	syncLog(t, l)
	return copyDir(t, dir) // what a kill would leave
}

// records returns the offsets of all whole records of a segment, and its end.
func records(t testing.TB, path string) (offsets []int64, end int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	h, err := segmentHeaderOf(f, strings.TrimSuffix(strings.TrimSuffix(path, openSuffix), sealedSuffix))
	if err != nil {
		t.Fatal(err)
	}
	scan := newScanner(f, info.Size(), h.id.seed())
	for {
		at, _, err := scan.next()
		if err == io.EOF {
			return offsets, scan.end
		}
		if err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, at)
	}
}

// Cut anywhere in its last record, a segment gives all earlier ones, to a
// reader at once and after Open has sealed it.
func TestTornTailCostsOnlyTheTornRecord(t *testing.T) {
	const frames = 5
	dir := crashed(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: frames, ssrc: 1}.packets(t, "c"))
	path := segmentFiles(t, dir, openSuffix)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	offsets, end := records(t, path)
	if len(offsets) != frames || end != int64(len(whole)) {
		t.Fatalf("%d records up to %d of %d bytes", len(offsets), end, len(whole))
	}
	for cut := offsets[frames-1]; cut <= end; cut++ {
		want := frames - 1
		if cut == end {
			want = frames
		}
		torn := copyDir(t, dir)
		if err := os.WriteFile(filepath.Join(torn, filepath.Base(path)), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, report := exportCall(t, "c", torn); report.PacketsLeft != want || report.Damaged != 0 {
			t.Fatalf("cut at %d, unsealed: %+v", cut, report)
		}
		l := openLog(t, torn, Config{QueueBytes: 1 << 16})
		if s := l.Stats(); s.SegmentsRescued != 1 || int64(s.TornBytes) != (cut-offsets[frames-1])%(end-offsets[frames-1]) {
			t.Fatalf("cut at %d: %+v", cut, s)
		}
		closeLog(t, l)
		if open := segmentFiles(t, torn, openSuffix); len(open) > 0 {
			t.Fatalf("cut at %d: %v left unsealed", cut, open)
		}
		if _, report := exportCall(t, "c", torn); report.PacketsLeft != want || report.Damaged != 0 {
			t.Fatalf("cut at %d, sealed: %+v", cut, report)
		}
	}
}

// Cut anywhere at all, zeroed or scribbled over behind the cut: whole records
// before it are there, and nothing else is believed.
func TestAnyTornTailIsCutOff(t *testing.T) {
	dir := crashed(t, merged(
		talker{leg: "1", codec: "opus", hz: 440, frames: 40, ssrc: 1}.packets(t, "c"),
		talker{leg: "2", codec: "PCMA", hz: 440, frames: 40, ssrc: 2}.packets(t, "c"),
	))
	path := segmentFiles(t, dir, openSuffix)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	offsets, _ := records(t, path)
	scratch := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		cut := rapid.IntRange(headerSize, len(whole)).Draw(rt, "cut")
		tail := rapid.OneOf(
			rapid.Just([]byte{}), rapid.Just(make([]byte, 4096)),
			rapid.SliceOfN(rapid.Byte(), 1, 3000),
		).Draw(rt, "tail")
		torn, err := os.MkdirTemp(scratch, "")
		if err != nil {
			rt.Fatal(err)
		}
		if err := os.CopyFS(torn, os.DirFS(dir)); err != nil {
			rt.Fatal(err)
		}
		name := filepath.Join(torn, filepath.Base(path))
		if err := os.WriteFile(name, slices.Concat(whole[:cut], tail), 0o600); err != nil {
			rt.Fatal(err)
		}
		want, _ := slices.BinarySearch(offsets, int64(cut))
		if !slices.Contains(offsets, int64(cut)) && cut < len(whole) {
			want-- // the record that was cut
		}
		l, err := Open(torn, testMaster, Config{QueueBytes: 1 << 16})
		if err != nil {
			rt.Fatal(err)
		}
		if err := l.Close(context.Background()); err != nil {
			rt.Fatal(err)
		}
		rec, err := readRecording(context.Background(), Sources{Dirs: []string{torn}}, testMaster, "c")
		if want == 0 {
			if !errors.Is(err, ErrNoRecording) {
				rt.Fatalf("error %v, want none to be found", err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		if n := len(rec.sources[0]); n != want || rec.damaged != 0 {
			rt.Fatalf("cut at %d of %d: %d packets, %d damaged; want %d", cut, len(whole), n, rec.damaged, want)
		}
	})
}

// A process that dies while sealing leaves a segment the next one seals.
func TestDeathWhileSealing(t *testing.T) {
	dir := writeLog(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: 20, ssrc: 1}.packets(t, "c"))
	sealed := segmentFiles(t, dir, sealedSuffix)[0]
	whole, err := os.ReadFile(sealed)
	if err != nil {
		t.Fatal(err)
	}
	_, end := records(t, sealed)
	for cut := end; cut <= int64(len(whole)); cut++ {
		torn := copyDir(t, dir)
		name := filepath.Join(torn, strings.TrimSuffix(filepath.Base(sealed), sealedSuffix))
		if err := os.Remove(name + sealedSuffix); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+openSuffix, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		closeLog(t, openLog(t, torn, Config{QueueBytes: 1 << 16}))
		again, err := os.ReadFile(name + sealedSuffix)
		if err != nil || !bytes.Equal(again, whole) {
			t.Fatalf("cut at %d: sealed again as %d bytes, want the same %d (%v)", cut, len(again), len(whole), err)
		}
	}
}

// Segments that died before they had a header are set aside; the log opens.
func TestDeathWhileBeginningASegment(t *testing.T) {
	dir := crashed(t, talker{leg: "1", codec: "PCMA", hz: 440, frames: 20, ssrc: 1}.packets(t, "c"))
	for name, content := range map[string]string{
		"rec-0000000000000001-aaaaaaaa.open": "", "rec-0000000000000001-aaaaaaaa.keys": "",
		"rec-0000000000000002-aaaaaaaa.open": segmentMagic, "rec-0000000000000002-aaaaaaaa.keys": "TK",
		"rec-0000000000000003-aaaaaaaa.keys": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, openLog(t, dir, Config{}))
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 20 || report.Damaged != 0 {
		t.Errorf("%+v", report)
	}
}

// A segment that cannot be sealed (here its final name is taken by a folder)
// keeps nobody from recording, and is still read.
func TestUnsealableSegmentDoesNotStopTheLog(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 20, ssrc: 1}.packets(t, "c")
	dir := crashed(t, packets[:10])
	path := segmentFiles(t, dir, openSuffix)[0]
	blocked := strings.TrimSuffix(path, openSuffix) + sealedSuffix
	if err := os.MkdirAll(filepath.Join(blocked, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir, Config{})
	appendAll(t, l, packets[10:])
	closeLog(t, l)
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if _, report := exportCall(t, "c", dir); report.PacketsLeft != 20 {
		t.Errorf("%+v", report)
	}
}

// Each byte of a record in turn is damaged: that record is skipped and
// counted, all others are read, by index and by scan.
func TestDamagedRecordIsSkippedAndCounted(t *testing.T) {
	const frames, victim = 6, 2
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: frames, ssrc: 1}.packets(t, "c")
	f := func(dir, suffix string) {
		t.Helper()
		path := segmentFiles(t, dir, suffix)[0]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		offsets, _ := records(t, path)
		for at := offsets[victim]; at < offsets[victim+1]; at++ {
			b := bytes.Clone(whole)
			b[at] ^= 0x40
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			_, report := exportCall(t, "c", dir)
			if report.PacketsLeft != frames-1 || report.Damaged != 1 || report.LostLeft != 1 {
				t.Fatalf("%s, byte %d: %+v", suffix, at-offsets[victim], report)
			}
		}
	}
	f(writeLog(t, packets), sealedSuffix)
	f(crashed(t, packets), openSuffix)
}

// A damaged index costs time, not packets; a damaged header nothing, for the
// key file repeats it.
func TestDamagedIndexAndHeaderCostNothing(t *testing.T) {
	packets := talker{leg: "1", codec: "PCMA", hz: 440, frames: 30, ssrc: 1}.packets(t, "c")
	f := func(at func(size, end int64) int64, damaged int) {
		t.Helper()
		dir := writeLog(t, packets)
		path := segmentFiles(t, dir, sealedSuffix)[0]
		_, end := records(t, path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[at(int64(len(b)), end)] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, report := exportCall(t, "c", dir); report.PacketsLeft != 30 || report.Damaged != damaged {
			t.Errorf("%+v", report)
		}
	}
	f(func(size, end int64) int64 { return end + 1 }, 1)
	f(func(size, end int64) int64 { return size - 1 }, 1)
	f(func(size, end int64) int64 { return size - trailerSize }, 1)
	f(func(size, end int64) int64 { return 10 }, 0)
}

// The real thing: a process is killed while it records; at most what it had
// not yet handed to the operating system is missing.
func TestKilledProcessLosesNothingItWrote(t *testing.T) {
	if dir := os.Getenv("TRUNKLINE_RECORD_UNTIL_KILLED"); dir != "" {
		recordUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledProcessLosesNothingItWrote$")
	child.Env = append(os.Environ(), "TRUNKLINE_RECORD_UNTIL_KILLED="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	written := 0
	lines := bufio.NewScanner(out)
	for written < 2000 && lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			written = n
		}
	}
	child.Process.Kill()
	child.Wait()
	if written < 2000 {
		t.Fatalf("the child wrote %d packets", written)
	}
	l := openLog(t, dir, Config{})
	if l.Stats().SegmentsRescued != 1 {
		t.Errorf("%+v", l.Stats())
	}
	// The new process records the same call under new keys.
	more := talker{leg: "2", codec: "PCMA", hz: 440, frames: 10, ssrc: 2}.packets(t, "c")
	appendAll(t, l, more)
	closeLog(t, l)
	_, report := exportCall(t, "c", dir)
	if report.PacketsLeft < written || report.LostLeft != 0 || report.PacketsRight != 10 || report.Damaged != 0 {
		t.Errorf("%d were written: %+v", written, report)
	}
}

func recordUntilKilled(t *testing.T, dir string) {
	l, err := Open(dir, testMaster, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start("c", ""); err != nil {
		t.Fatal(err)
	}
	k := talker{leg: "1", codec: "PCMA", hz: 440, frames: 100, ssrc: 1}
	for written := 0; ; k.start += 2 * time.Second {
		for _, p := range k.packets(t, "c") {
			l.Append(p)
		}
		syncLog(t, l)
		written += k.frames
		k.seq += uint16(k.frames)
		k.ts += uint32(k.frames) * 160
		fmt.Println(written)
	}
}
