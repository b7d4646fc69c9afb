package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustOpen(t *testing.T, dir string, limit int64) *Ledger {
	t.Helper()
	l, err := open(context.Background(), dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(t *testing.T, l *Ledger, lines ...Line) {
	t.Helper()
	if err := l.Append(lines...); err != nil {
		t.Fatal(err)
	}
}

func done(t *testing.T, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) (acts []string, s State) {
	t.Helper()
	s, err := Read(dir, func(l Line) error { acts = append(acts, l.Act+" "+l.Call); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return acts, s
}

// What was written is there again, whoever opens it next.
func TestLinesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, maxFile)
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	add(t, l, Line{Act: Hold, Call: "a", Who: "ann", Why: "court", At: at}, Line{Act: Hold, Call: "b", Who: "ann", Why: "court"})
	add(t, l, Line{Act: Release, Call: "b", Who: "bob", Why: "settled"}, Line{Act: Erase, Call: "c", Segment: "rec-1", Slot: 3})
	done(t, l)
	l = mustOpen(t, dir, maxFile)
	s := l.State()
	if h := s.Holds["a"]; len(s.Holds) != 1 || h.Who != "ann" || h.Why != "court" || !h.At.Equal(at) || len(s.Unfinished) != 1 || s.Unfinished[0].Slot != 3 {
		t.Errorf("%+v", s)
	}
	add(t, l, Line{Act: Erased, Count: 1}, Line{Act: Pass, At: at})
	done(t, l)
	acts, s := read(t, dir)
	if want := []string{"begin ", "hold a", "hold b", "release b", "erase c", "erased ", "pass "}; !slices.Equal(acts, want) {
		t.Errorf("%q", acts)
	}
	if len(s.Unfinished) != 0 || !s.LastPass.Equal(at) || s.Next != 8 {
		t.Errorf("%+v", s)
	}
}

// The process dies with a line half written, at any byte of it: the lines before
// are there, the half one is not, and the next is whole.
func TestHalfALineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, maxFile)
	add(t, l, Line{Act: Hold, Call: "a"})
	before := l.size
	add(t, l, Line{Act: Release, Call: "a"})
	done(t, l)
	whole, err := os.ReadFile(name(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut++ {
		if err := os.WriteFile(name(dir, 1), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := mustOpen(t, dir, maxFile)
		if held := len(l.State().Holds) == 1; held != (int64(cut) >= before) {
			t.Fatalf("cut at %d of %d: held %v", cut, len(whole), held)
		}
		add(t, l, Line{Act: Hold, Call: "z"})
		done(t, l)
		if acts, _ := read(t, dir); acts[len(acts)-1] != "hold z" {
			t.Fatalf("cut at %d: %q", cut, acts)
		}
	}
}

// A byte that is changed anywhere, a line that is taken out or put in: found, and
// nothing more is written.
func TestTamperingIsFound(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, maxFile)
	for _, call := range []string{"a", "b", "c"} {
		add(t, l, Line{Act: Hold, Call: call, Who: "ann", Why: "court"})
	}
	done(t, l)
	whole, err := os.ReadFile(name(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	f := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(name(dir, 1), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: read with %v", what, err)
		}
		if l, err := Open(context.Background(), dir); err == nil {
			t.Errorf("%s: opened", what)
			l.Close()
		}
	}
	// The first line's own chain aside, which only Read knows to be of nothing.
	for at := len(lines[0]); at < len(whole)-1; at += 3 {
		text := bytes.Clone(whole)
		text[at] ^= 4
		f("changed "+string(whole[at]), text)
	}
	f("taken out", slices.Concat(lines[0], lines[1], lines[3]))
	f("put in", slices.Concat(lines[0], lines[1], lines[1], lines[2], lines[3]))
	f("headless", slices.Concat(lines[1], lines[2], lines[3]))
}

// Another file is begun when one is large, never between a decision and its
// execution; holds go on; the chain goes through.
func TestFilesFollowOneAnother(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, 1)
	add(t, l, Line{Act: Hold, Call: "a", Who: "ann"})
	add(t, l, Line{Act: Erase, Call: "b"})
	add(t, l, Line{Act: Erased})
	add(t, l, Line{Act: Pass})
	done(t, l)
	numbers, err := files(dir)
	if err != nil || len(numbers) != 4 {
		t.Fatalf("files %v, %v; want 4, the erasure's two lines in one", numbers, err)
	}
	// A crash in making a file: without its first line, or with half of it.
	newest, err := os.ReadFile(name(dir, 4))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 40} {
		if err := os.WriteFile(name(dir, 4), newest[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, dir, maxFile)
		if l.State().Holds["a"].Who != "ann" {
			t.Errorf("%+v", l.State())
		}
		done(t, l)
		if _, s := read(t, dir); s.Holds["a"].Who != "ann" {
			t.Errorf("%+v", s)
		}
	}
	if err := os.Remove(name(dir, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "ledger-000002 is missing") {
		t.Errorf("%v", err)
	}
}

// One at a time, in whatever process.
func TestTheLockKeepsOthersOut(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, maxFile)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("second open: %v", err)
	}
	done(t, l)
	unlock, err := Lock(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("open beside a lock: %v", err)
	}
	unlock()
	done(t, mustOpen(t, dir, maxFile))
}
