package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string, opt Options) *Writer {
	t.Helper()
	if opt.Reserve == 0 {
		opt.Reserve = 1
	}
	w, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func rec(i uint64) Record {
	return Record{Index: i, Term: 1 + i/100, Stamp: int64(i) * 1000, Data: fmt.Appendf(nil, "command %d", i)}
}

func fill(w *Writer, from, to uint64) {
	for i := from; i <= to; i++ {
		w.Append(i-1, rec(i))
	}
}

// got reads a range and returns its indexes.
func got(t *testing.T, dir string, from, to uint64) (indexes []uint64, err error) {
	t.Helper()
	err = Read(dir, from, to, func(r Record) error {
		if want := rec(r.Index); r.Term != want.Term || r.Stamp != want.Stamp || !bytes.Equal(r.Data, want.Data) {
			t.Errorf("record %d is %+v", r.Index, r)
		}
		indexes = append(indexes, r.Index)
		return nil
	})
	return indexes, err
}

func upTo(from, to uint64) (list []uint64) {
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func TestArchiveGivesBackWhatItTook(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{SegmentBytes: 2000})
	for i := uint64(1); i <= 500; i++ {
		fill(w, i, i)
		if i%20 == 0 {
			w.Sync() // several chunks, so several segments
		}
	}
	w.Close()
	if segments, _ := listSegments(dir); len(segments) < 5 {
		t.Fatalf("%d segments: the test proves little", len(segments))
	}
	f := func(from, to uint64, want []uint64) {
		t.Helper()
		if list, err := got(t, dir, from, to); err != nil || !slices.Equal(list, want) {
			t.Errorf("%d to %d: %v, %v", from, to, list, err)
		}
	}
	f(1, End, upTo(1, 500))
	f(0, 500, upTo(1, 500))
	f(77, 78, upTo(77, 78))
	f(500, End, upTo(500, 500))
	f(501, End, nil)
	f(250, 249, nil)
	stop := errors.New("enough")
	if err := Read(dir, 1, End, func(Record) error { return stop }); err != stop {
		t.Errorf("the caller's error came back as %v", err)
	}
	var gap *GapError
	if list, err := got(t, dir, 499, 600); !errors.As(err, &gap) || gap.From != 501 || gap.To != 600 || len(list) != 2 {
		t.Errorf("beyond the end: %v, %v", list, err)
	}
}

// Entries of raft's own have an index too, and nothing is missing there.
func TestEntriesOfTheLibraryAreNoGap(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	w.Note(0, Record{Index: 2, Term: 1, Stamp: 5})
	w.Append(2, rec(3))
	w.Append(3, rec(7))
	w.Append(3, rec(7)) // again, as when a log is replayed
	w.Append(2, rec(3))
	w.Append(7, rec(8))
	w.Close()
	if list, err := got(t, dir, 1, 8); err != nil || !slices.Equal(list, []uint64{3, 7, 8}) {
		t.Errorf("read %v, %v", list, err)
	}
	if list, err := got(t, dir, 5, 6); err != nil || list != nil {
		t.Errorf("between two entries: %v, %v", list, err)
	}
}

func TestGapsAreTold(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	fill(w, 11, 20) // the first ten were never seen
	w.Skip(30, "a snapshot was installed")
	fill(w, 31, 40)
	w.Append(50, rec(51)) // nobody said why
	w.Close()
	f := func(from, to uint64, want []uint64, gapFrom, gapTo uint64, why string) {
		t.Helper()
		list, err := got(t, dir, from, to)
		var gap *GapError
		if !errors.As(err, &gap) || gap.From != gapFrom || gap.To != gapTo || !strings.Contains(gap.Reason, why) || !slices.Equal(list, want) {
			t.Errorf("%d to %d: %v, %v", from, to, list, err)
		}
	}
	f(1, End, nil, 1, 10, "")
	f(5, 15, nil, 5, 10, "")
	f(11, End, upTo(11, 20), 21, 30, "snapshot")
	f(25, 26, nil, 25, 26, "snapshot")
	f(31, End, upTo(31, 40), 41, 50, "off")
	f(45, 60, nil, 45, 50, "off")
	for _, ok := range [][2]uint64{{11, 20}, {31, 40}, {51, 51}} {
		if list, err := got(t, dir, ok[0], ok[1]); err != nil || !slices.Equal(list, upTo(ok[0], ok[1])) {
			t.Errorf("%v: %v, %v", ok, list, err)
		}
	}
}

func TestTornTailIsCut(t *testing.T) {
	whole := t.TempDir()
	w := open(t, whole, Options{})
	fill(w, 1, 6)
	w.Close()
	segments, err := listSegments(whole)
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	b, err := os.ReadFile(segments[0].path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		for _, damage := range []string{"cut", "zeroed"} {
			dir := t.TempDir()
			left := bytes.Clone(b[:n])
			if damage == "zeroed" { // a page that never reached the disk
				left = append(left, make([]byte, len(b)-n)...)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(segments[0].path)), left, 0o600); err != nil {
				t.Fatal(err)
			}
			before, err := got(t, dir, 1, End)
			if err != nil {
				t.Fatalf("%s at %d: %v", damage, n, err)
			}
			w, err := Open(dir, Options{Reserve: 1})
			if err != nil {
				t.Fatalf("%s at %d: %v", damage, n, err)
			}
			last, stamp := w.Last()
			if last != uint64(len(before)) || stamp != int64(last)*1000 {
				t.Fatalf("%s at %d: reopened at %d, stamp %d; read %v", damage, n, last, stamp, before)
			}
			fill(w, 1, 9) // the log is replayed
			w.Close()
			if list, err := got(t, dir, 1, 9); err != nil || !slices.Equal(list, upTo(1, 9)) {
				t.Fatalf("%s at %d: after the replay %v, %v", damage, n, list, err)
			}
		}
	}
}

func TestDamageInACompleteSegmentIsTold(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{SegmentBytes: 400})
	for i := uint64(1); i <= 40; i++ {
		fill(w, i, i)
		w.Sync()
	}
	w.Close()
	segments, _ := listSegments(dir)
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	b, _ := os.ReadFile(segments[1].path)
	for i := 0; i < 8*len(b); i += 5 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(segments[1].path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := got(t, dir, 1, End); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	if err := os.WriteFile(segments[1].path, b[:len(b)-recordHead-recordBody], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := got(t, dir, 1, End); !errors.Is(err, ErrDamaged) {
		t.Errorf("without its end: %v", err)
	}
	if err := os.Remove(segments[1].path); err != nil {
		t.Fatal(err)
	}
	var gap *GapError
	if _, err := got(t, dir, 1, End); !errors.As(err, &gap) || gap.From != segments[1].first || gap.To != segments[2].first-1 {
		t.Errorf("without the segment: %v", err)
	}
}

func TestFullDiskLeavesAGapAndHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	fill(w, 1, 10)
	w.Sync()
	w.mu.Lock()
	room := w.free
	w.free = func() (int64, error) { return 0, nil }
	w.mu.Unlock()
	fill(w, 11, 20)
	w.Sync()
	fill(w, 21, 25) // within the pause
	if got := w.Stats().Dropped; got != 15 {
		t.Errorf("%d entries are counted as left out, want 15", got)
	}
	w.mu.Lock()
	w.free = room
	w.heldUntil = time.Now()
	w.mu.Unlock()
	fill(w, 26, 30)
	w.Close()
	list, err := got(t, dir, 1, End)
	var gap *GapError
	if !errors.As(err, &gap) || gap.From != 11 || gap.To != 25 || !strings.Contains(gap.Reason, "full") || !slices.Equal(list, upTo(1, 10)) {
		t.Errorf("read %v, %v", list, err)
	}
	if list, err := got(t, dir, 26, 30); err != nil || len(list) != 5 {
		t.Errorf("after the gap: %v, %v", list, err)
	}
}

func TestSlowDiskBoundsWhatWaits(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{})
	hold := make(chan struct{})
	held := make(chan struct{}, 100)
	w.mu.Lock()
	room := w.free
	w.free = func() (int64, error) { held <- struct{}{}; <-hold; return room() }
	w.mu.Unlock()
	fill(w, 1, 1)
	w.rouse()
	<-held
	big := make([]byte, 1<<20)
	for i := uint64(2); i <= 40; i++ {
		w.Append(i-1, Record{Index: i, Term: 1, Stamp: int64(i), Data: big})
	}
	w.mu.Lock()
	waiting := len(w.pending)
	w.mu.Unlock()
	if waiting > maxPending+2<<20 || w.Stats().Dropped < 25 {
		t.Errorf("%d bytes wait, %d entries were left out", waiting, w.Stats().Dropped)
	}
	close(hold)
	w.Sync()
	w.Append(40, rec(41))
	w.Close()
	var gap *GapError
	if err := Read(dir, 1, End, func(Record) error { return nil }); !errors.As(err, &gap) || gap.To != 40 || !strings.Contains(gap.Reason, "slow") {
		t.Errorf("read: %v", err)
	}
}

func TestOldSegmentsGo(t *testing.T) {
	snap := func(w io.Writer) error { _, err := w.Write(make([]byte, 100)); return err }
	run := func(opt Options) (dir string, w *Writer) {
		dir = t.TempDir()
		opt.SegmentBytes = 1000
		w = open(t, dir, opt)
		for i := uint64(1); i <= 1000; i++ {
			fill(w, i, i)
			if i%5 == 0 {
				w.Sync()
			}
			if i%50 == 0 {
				if err := w.Snapshot(i, int64(i)*1000, snap); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.Close()
		return dir, w
	}
	check := func(what, dir string, w *Writer) (first uint64) {
		t.Helper()
		segments, _ := listSegments(dir)
		snaps, err := Snapshots(dir)
		if err != nil || len(snaps) == 0 {
			t.Fatalf("%s: snapshots %v, %v", what, snaps, err)
		}
		// What is left can be replayed: from a snapshot where it begins.
		s, ok, err := SnapshotBefore(dir, segments[0].first-1)
		if err != nil || !ok {
			t.Fatalf("%s: no snapshot before %d: %v", what, segments[0].first, err)
		}
		if s.Index != snaps[0].Index {
			t.Errorf("%s: snapshot %d is kept beside %d", what, snaps[0].Index, s.Index)
		}
		from := max(s.Index+1, segments[0].first)
		if list, err := got(t, dir, from, 1000); err != nil || !slices.Equal(list, upTo(from, 1000)) {
			t.Errorf("%s: from %d: %d records, %v", what, from, len(list), err)
		}
		total := int64(0)
		for _, s := range segments {
			total += s.size
		}
		for _, s := range snaps {
			total += s.Size
		}
		if st := w.Stats(); st.Bytes != total {
			t.Errorf("%s: %d bytes are counted, %d are there", what, st.Bytes, total)
		}
		return segments[0].first
	}
	dir, w := run(Options{MaxBytes: 10_000})
	check("by size", dir, w)
	if got := w.Stats().Bytes; got > 12_000 {
		t.Errorf("by size: %d bytes are kept", got)
	}
	dir, w = run(Options{MaxAge: 100 * 1000}) // 100 entries
	if first := check("by age", dir, w); first < 850 || first > 900 {
		t.Errorf("by age: the first entry is %d", first)
	}
}

func TestSnapshotsAreWantedInTime(t *testing.T) {
	dir := t.TempDir()
	opt := Options{SnapshotEntries: 100, SnapshotEvery: time.Hour}
	w := open(t, dir, opt)
	hour := int64(time.Hour)
	f := func(index uint64, stamp int64, want bool) {
		t.Helper()
		if got := w.WantsSnapshot(index, stamp); got != want {
			t.Errorf("at %d, stamp %d: %v", index, stamp, got)
		}
	}
	f(0, 0, false)
	f(5, 5, true) // there is none
	keep := func(index uint64, stamp int64) {
		t.Helper()
		if err := w.Snapshot(index, stamp, func(w io.Writer) error { _, err := io.WriteString(w, "state"); return err }); err != nil {
			t.Fatal(err)
		}
	}
	keep(5, 5)
	f(5, 5, false)
	f(104, 5+hour-1, false)
	f(105, 6, true)
	f(6, 5+hour, true)
	w.Append(0, rec(1))
	w.Skip(9, "test")
	f(10, 6, true) // what follows the gap needs one to begin with
	keep(10, 6)
	f(11, 7, false)
	w.Close()
	w = open(t, dir, opt)
	f(11, 7, false)
	f(110, 7, true)

	// One that fails leaves nothing.
	failed := errors.New("failed")
	if err := w.Snapshot(200, 8, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a snapshot that fails: %v", err)
	}
	list, err := Snapshots(dir)
	if err != nil || len(list) != 2 || list[1].Index != 10 || list[1].Stamp != 6 || list[1].Size != 5 {
		t.Errorf("snapshots %+v, %v", list, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, ok, _ := SnapshotBefore(dir, 4); ok {
		t.Error("a snapshot before the first was found")
	}
	if s, ok, _ := SnapshotBefore(dir, 9); !ok || s.Index != 5 {
		t.Errorf("snapshot before 9 is %+v", s)
	}
}

func TestIndexAtAMoment(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{SegmentBytes: 500})
	for i := uint64(1); i <= 50; i++ {
		fill(w, i, i)
		w.Sync()
	}
	f := func(stamp int64, want uint64) {
		t.Helper()
		if index, err := IndexAt(dir, stamp); err != nil || index != want {
			t.Errorf("at %d: %d, %v, want %d", stamp, index, err, want)
		}
	}
	for i := int64(1); i <= 50; i++ {
		f(1000*i, uint64(i))
		f(1000*i+999, uint64(i))
	}
	f(1e15, 50)
	if _, err := IndexAt(dir, 999); !errors.Is(err, ErrBefore) {
		t.Errorf("before the first: %v", err)
	}
}

func TestStreamIsReadBack(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{SegmentBytes: 500})
	for i := uint64(1); i <= 50; i++ {
		fill(w, i, i)
		w.Sync()
	}
	w.Skip(60, "test")
	w.Close()
	var b bytes.Buffer
	if err := Export(&b, dir, 10, 40); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (list []uint64, err error) {
		err = ReadStream(bytes.NewReader(b), func(r Record) error {
			if want := rec(r.Index); !bytes.Equal(r.Data, want.Data) || r.Stamp != want.Stamp {
				t.Errorf("record %+v", r)
			}
			list = append(list, r.Index)
			return nil
		})
		return list, err
	}
	if list, err := read(b.Bytes()); err != nil || !slices.Equal(list, upTo(10, 40)) {
		t.Errorf("read %v, %v", list, err)
	}
	for n := range b.Len() {
		if _, err := read(b.Bytes()[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", n, b.Len(), err)
		}
	}
	var gap *GapError
	b.Reset()
	if err := Export(&b, dir, 45, End); !errors.As(err, &gap) {
		t.Errorf("export over a gap: %v", err)
	}
	if list, err := read(b.Bytes()); !errors.Is(err, ErrDamaged) || len(list) != 6 {
		t.Errorf("what was exported before the gap: %v, %v", list, err)
	}
}

// A reader may run while the archive is written: it sees a part of it and no
// damage.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, Options{SegmentBytes: 20_000})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(1); i <= 20_000; i++ {
			fill(w, i, i)
			if i%50 == 0 {
				w.rouse()
			}
		}
	}()
	last := 0
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		list, err := got(t, dir, 1, End)
		if err != nil || len(list) < last {
			t.Fatalf("%d records after %d: %v", len(list), last, err)
		}
		last = len(list)
	}
	w.Close()
	if list, err := got(t, dir, 1, 20_000); err != nil || len(list) != 20_000 {
		t.Errorf("%d records, %v", len(list), err)
	}
}

func FuzzReadStream(f *testing.F) {
	good := []byte(magic)
	good = record{kind: kindCommand, index: 5, prev: 4, term: 1, stamp: 9, data: []byte("x")}.appendTo(good)
	good = record{kind: kindGap, index: 7, prev: 5, data: []byte("why")}.appendTo(good)
	good = record{kind: kindEnd, index: 7, prev: 7}.appendTo(good)
	f.Add(good)
	f.Add([]byte(magic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := uint64(0)
		err := ReadStream(bytes.NewReader(b), func(r Record) error {
			if r.Index <= last {
				t.Fatalf("%x: index %d after %d", b, r.Index, last)
			}
			last = r.Index
			return nil
		})
		var gap *GapError
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.As(err, &gap) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	w, err := Open(b.TempDir(), Options{Reserve: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	r := Record{Term: 1, Data: make([]byte, 300)}
	b.SetBytes(300)
	b.ReportAllocs()
	for i := range b.N {
		r.Index, r.Stamp = uint64(i+1), int64(i+1)
		w.Append(uint64(i), r)
	}
	b.ReportMetric(float64(w.Stats().Dropped), "dropped")
}
