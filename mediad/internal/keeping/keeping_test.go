package keeping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/mediad/internal/ledger"
	"trunkline/mediad/internal/record"
	"trunkline/mediad/internal/store"
)

var ctx = context.Background()

// A year is over for one queue and thirty days for another: what is due goes, with
// a line that says why, and nothing else.
func TestRecordingsGoWhenTheirTimeIsOver(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", "sales"}, said{"b", "short"}, said{"c", ""})
	keys := wrappedKeys(t, dir)
	k := newKeeper(t, dir)
	f := func(after time.Duration, erased int, left ...string) {
		t.Helper()
		later(k, after)
		due, err := k.Overdue()
		if err != nil || len(due) != erased {
			t.Errorf("after %v: %v due, %v", after, due, err)
		}
		p, err := k.Pass(ctx, true)
		if err != nil || p.Erased != erased {
			t.Errorf("after %v: %+v, %v", after, p, err)
		}
		for _, call := range []string{"a", "b", "c"} {
			want := strings.Contains(strings.Join(left, ""), call)
			if readable(t, call, record.Sources{Dirs: []string{dir}}) != want {
				t.Errorf("after %v: %s is readable: %v", after, call, !want)
			}
		}
	}
	f(30*day, 0, "a", "b", "c") // it may have been recorded up to the segment's sealing
	f(30*day+record.DefaultSegmentAge, 1, "a", "c")
	for i, key := range keys {
		raw, err := os.ReadFile(mustGlob(t, dir, "*.keys"))
		if err != nil || bytes.Contains(raw, key) != (i != 1) {
			t.Errorf("key %d, %v", i, err)
		}
	}
	f(364*day, 0, "a", "c")
	f(366*day, 2)
	if left, _ := filepath.Glob(filepath.Join(dir, "rec-*")); len(left) > 0 {
		t.Errorf("%v", left)
	}
	if got, want := account(t, dir), "pass \nerase b\nerased \npass \npass \nerase a\nerase c\nerased \npass \n"; got != want {
		t.Errorf("ledger:\n%s", got)
	}
	for _, l := range lines(t, dir) {
		if l.Act == ledger.Erase && l.Call == "b" && (l.Who != "retention" || !strings.HasPrefix(l.Why, "kept 30d, until 20") || l.Label != "short" || l.Segment == "") {
			t.Errorf("%+v", l)
		}
	}
}

func mustGlob(t testing.TB, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names[0]
}

// A call on hold outlives its time, whoever wants to erase it, and goes when it is
// released. Both have names and reasons.
func TestWhatIsOnHoldStays(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", ""}, said{"b", ""})
	k := newKeeper(t, dir)
	if _, err := k.Hold(ctx, "a", "", "court"); !errors.Is(err, ErrNotNamed) {
		t.Errorf("%v", err)
	}
	found, err := k.Hold(ctx, "a", "ann", "court order 17")
	if err != nil || found.Segments != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	later(k, 400*day)
	if due, err := k.Overdue(); err != nil || len(due) != 2 || due[0].Held.Who != "ann" || due[1].Held.Act != "" {
		t.Errorf("%+v, %v", due, err)
	}
	if p, err := k.Pass(ctx, true); err != nil || p != (Passed{Erased: 1, Held: 1}) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := k.Erase(ctx, "a", "bob", "asked to"); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "by ann since") {
		t.Errorf("%v", err)
	}
	if !readable(t, "a", record.Sources{Dirs: []string{dir}}) {
		t.Error("it is gone")
	}
	if err := k.Release(ctx, "b", "ann", "x"); !errors.Is(err, ErrNotHeld) {
		t.Errorf("%v", err)
	}
	if err := k.Release(ctx, "a", "ann", "settled"); err != nil {
		t.Error(err)
	}
	if p, err := k.Pass(ctx, true); err != nil || p.Erased != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A person has a call erased before its time: in all its segments, the one being
// written too, and nothing of another.
func TestACallIsErasedOnRequest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", ""}, said{"b", ""})
	l, err := record.Open(dir, master, record.Config{})
	if err != nil {
		t.Fatal(err)
	}
	speak(t, l, said{"a", ""})
	speak(t, l, said{"b", ""})
	if err := l.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, dir)
	if _, err := k.Erase(ctx, "nobody", "bob", "asked to"); !errors.Is(err, record.ErrNoRecording) {
		t.Errorf("%v", err)
	}
	found, err := k.Erase(ctx, "a", "bob", "asked to")
	if err != nil || found != (Found{Segments: 2, Open: 1}) {
		t.Errorf("%+v, %v", found, err)
	}
	speak(t, l, said{"a", ""}) // under the key that is gone
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	from := record.Sources{Dirs: []string{dir}}
	if readable(t, "a", from) || !readable(t, "b", from) {
		t.Error("a is there, or b is not")
	}
}

// The clock says that a year has gone by overnight: nothing is erased until a
// person says so. Going back does no harm either.
func TestALeapOfTheClockErasesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", ""})
	k := newKeeper(t, dir)
	if _, err := k.Pass(ctx, false); err != nil {
		t.Fatal(err)
	}
	later(k, 400*day)
	if _, err := k.Pass(ctx, false); !errors.Is(err, ErrClock) {
		t.Errorf("%v", err)
	}
	later(k, -400*day)
	if p, err := k.Pass(ctx, false); err != nil || p.Erased != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if !readable(t, "a", record.Sources{Dirs: []string{dir}}) {
		t.Error("it is gone")
	}
	later(k, 400*day)
	if p, err := k.Pass(ctx, true); err != nil || p.Erased != 1 {
		t.Errorf("confirmed: %+v, %v", p, err)
	}
}

// A ledger that is damaged may have lost holds: nothing is erased.
func TestADamagedLedgerErasesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", ""})
	k := newKeeper(t, dir)
	for range 2 {
		if _, err := k.Hold(ctx, "a", "ann", "court"); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "ledger-000001")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(`"hold"`), []byte(`"held"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	later(k, 400*day)
	if _, err := k.Pass(ctx, true); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if !readable(t, "a", record.Sources{Dirs: []string{dir}}) {
		t.Error("it is gone")
	}
}

var errKilled = errors.New("killed")

// The process dies between any two steps of retention, with and without a store,
// and another one goes on. At each point: no key is gone without its line; and in
// the end all that was due is gone, here and in the store, each call with one line.
func TestDeathAtAnyStepOfRemoval(t *testing.T) {
	f := func(stored bool) {
		for die := 1; ; die++ {
			dir, root := t.TempDir(), t.TempDir()
			change := func(c *Config) {
				if stored {
					c.Store = store.NewFolder(root)
				}
			}
			write(t, dir, said{"a", "short"}, said{"b", "short"})
			write(t, dir, said{"c", "short"}, said{"d", ""})
			k := newKeeper(t, dir, change)
			if _, err := k.HandOver(ctx); err != nil {
				t.Fatal(err)
			}
			keys := wrappedKeys(t, dir) // a, b, c, d
			later(k, 40*day)
			died := ""
			steps := 0
			k.step = func(point string) error {
				if steps++; steps == die {
					died = point
					return errKilled
				}
				return nil
			}
			_, err := k.Pass(ctx, true)
			if died == "" {
				if err != nil || die < 8 {
					t.Fatalf("store %v: %d steps, %v", stored, die, err)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("died at %q with %v", died, err)
			}
			told := account(t, dir)
			for i, call := range []string{"a", "b", "c", "d"} {
				gone := !inStore(t, dir, keys[i])
				if gone && !strings.Contains(told, "erase "+call+"\n") {
					t.Errorf("store %v, died at %q: %s is gone without a line:\n%s", stored, died, call, told)
				}
			}
			again := newKeeper(t, dir, change)
			later(again, 40*day)
			if _, err := again.Pass(ctx, true); err != nil {
				t.Errorf("store %v, died at %q: %v", stored, died, err)
			}
			for i, call := range []string{"a", "b", "c", "d"} {
				if due := i < 3; inStore(t, dir, keys[i]) == due || stored && inStore(t, root, keys[i]) == due {
					t.Errorf("store %v, died at %q: key of %s: due %v, here %v", stored, died, call, due, inStore(t, dir, keys[i]))
				}
				if n := strings.Count(account(t, dir), "erase "+call+"\n"); n > 1 || (n == 1) != (i < 3) {
					t.Errorf("store %v, died at %q: %d lines for %s", stored, died, n, call)
				}
			}
			from := record.Sources{Dirs: []string{dir}}
			if stored {
				from.Store = store.NewFolder(root)
			}
			if !readable(t, "d", from) {
				t.Errorf("store %v, died at %q: d is lost", stored, died)
			}
			if segments, _ := again.segments(); len(segments) != 1 {
				t.Errorf("store %v, died at %q: %v left", stored, died, segments)
			}
		}
	}
	f(false)
	f(true)
}

// The same for the way into the store: a segment is in the store, whole, before it
// is freed here, and no call is lost or there twice.
func TestDeathAtAnyStepOfTheHandOver(t *testing.T) {
	for die := 1; ; die++ {
		dir, root := t.TempDir(), t.TempDir()
		change := func(c *Config) { c.Store = store.NewFolder(root) }
		write(t, dir, said{"a", ""})
		write(t, dir, said{"b", ""})
		k := newKeeper(t, dir, change)
		died, steps := "", 0
		k.step = func(point string) error {
			if steps++; steps == die {
				died = point
				return errKilled
			}
			return nil
		}
		_, err := k.HandOver(ctx)
		if died == "" {
			if err != nil || die < 5 {
				t.Fatalf("%d steps, %v", die, err)
			}
			break
		}
		from := record.Sources{Dirs: []string{dir}, Store: store.NewFolder(root)}
		for range 2 {
			if !readable(t, "a", from) || !readable(t, "b", from) {
				t.Errorf("died at %q: a call can't be read", died)
			}
			if _, err := newKeeper(t, dir, change).HandOver(ctx); err != nil {
				t.Errorf("died at %q: %v", died, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.seg")); len(left) > 0 {
			t.Errorf("died at %q: %v left here", died, left)
		}
		if lone := (record.Sources{Store: store.NewFolder(root)}); !readable(t, "a", lone) || !readable(t, "b", lone) {
			t.Errorf("died at %q: the store alone is not enough", died)
		}
	}
}

// A key is destroyed between the segment's way into the store and its key file's:
// the store never gets it.
func TestErasureDuringTheHandOver(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	change := func(c *Config) { c.Store = store.NewFolder(root) }
	write(t, dir, said{"a", ""}, said{"b", ""})
	key := wrappedKeys(t, dir)[0]
	k := newKeeper(t, dir, change)
	if _, err := k.Hold(ctx, "b", "ann", "court"); err != nil { // so that there is a ledger
		t.Fatal(err)
	}
	f := func(at string) {
		k.step = func(point string) error {
			if point != at {
				return nil
			}
			if at == "keys are in the store" {
				// Nobody erases just now, and who comes next does before it hands over.
				once, cancel := context.WithCancel(ctx)
				cancel()
				other := newKeeper(t, dir, change)
				other.adopted = true // so that it is the lock that is in its way
				if _, err := other.Erase(once, "a", "bob", "asked to"); !errors.Is(err, context.Canceled) {
					t.Errorf("erased between the copy of the keys and the freeing: %v", err)
				}
				return errKilled
			}
			_, err := newKeeper(t, dir, change).Erase(ctx, "a", "bob", "asked to")
			if inStore(t, root, key) {
				t.Error("it is erased, and the key is in the store")
			}
			return err
		}
	}
	f("keys are in the store")
	if _, err := k.HandOver(ctx); !errors.Is(err, errKilled) || !inStore(t, root, key) {
		t.Fatalf("%v", err)
	}
	f("segment is in the store")
	if _, err := k.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	if inStore(t, root, key) || inStore(t, dir, key) {
		t.Error("the key is there")
	}
	if !readable(t, "b", record.Sources{Store: store.NewFolder(root)}) {
		t.Error("the other call is not")
	}
}

// The last key of a segment is destroyed while the segment is on its way: it
// stays nowhere.
func TestASegmentThatDiesOnItsWayStaysNowhere(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	change := func(c *Config) { c.Store = store.NewFolder(root) }
	write(t, dir, said{"a", ""})
	k := newKeeper(t, dir, func(c *Config) {
		c.Store = meanwhile{store.NewFolder(root), func() {
			if _, err := newKeeper(t, dir, change).Erase(ctx, "a", "bob", "asked to"); err != nil {
				t.Error(err)
			}
		}}
	})
	if _, err := k.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "rec-*"))
	stored, _ := filepath.Glob(filepath.Join(root, "m1", "rec-*"))
	if len(left)+len(stored) > 0 {
		t.Errorf("%v, %v left", left, stored)
	}
}

// The store is away: nothing is freed, nothing in it is taken for erased, and the
// pass says so; when it is back everything goes through.
func TestAStoreThatIsAway(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	folder := store.NewFolder(root)
	write(t, dir, said{"a", "short"}, said{"b", ""})
	write(t, dir, said{"c", ""})
	here := newKeeper(t, dir, func(c *Config) { c.Store = folder })
	key := wrappedKeys(t, dir)[0]
	if _, err := here.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, dir, said{"d", ""})
	gone := newKeeper(t, dir, func(c *Config) { c.Store = away{folder} })
	gone.adopted = true
	if _, err := gone.HandOver(ctx); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(mustGlob(t, dir, "*.seg")); err != nil {
		t.Error(err)
	}
	later(gone, 40*day)
	later(here, 40*day)
	if _, err := here.Hold(ctx, "c", "ann", "court"); err != nil { // so that there is a ledger
		t.Fatal(err)
	}
	if _, err := gone.Pass(ctx, true); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if !inStore(t, root, key) || strings.Contains(account(t, dir), "erased") {
		t.Errorf("the key in the store is %v\n%s", inStore(t, root, key), account(t, dir))
	}
	if _, err := here.Pass(ctx, true); err != nil {
		t.Error(err)
	}
	if inStore(t, root, key) || !strings.Contains(account(t, dir), "erased") {
		t.Error("the key is in the store still")
	}
}

// A worker has lost its disk. Its successor of the same name finds keys, holds and
// ledger in the store: what is due goes, what is on hold stays.
func TestALostFolderIsFoundInTheStore(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	change := func(c *Config) { c.Store = store.NewFolder(root) }
	write(t, dir, said{"a", "short"}, said{"b", "short"})
	k := newKeeper(t, dir, change)
	if _, err := k.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Hold(ctx, "a", "ann", "court"); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	again := newKeeper(t, empty, change)
	later(again, 40*day)
	if p, err := again.Pass(ctx, true); err != nil || p != (Passed{Erased: 1, Held: 1}) {
		t.Errorf("%+v, %v", p, err)
	}
	from := record.Sources{Dirs: []string{empty}, Store: store.NewFolder(root)}
	if !readable(t, "a", from) || readable(t, "b", from) {
		t.Error("a is gone, or b is not")
	}
	if got := account(t, empty); got != "hold a\nerase b\nerased \npass \n" {
		t.Errorf("ledger:\n%s", got)
	}
}

// Damage: keys of which nobody knows whose they are stay as long as anybody's, and
// while anything is on hold, and go then.
func TestDamagedKeysGoLast(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, said{"a", "short"}, said{"b", "short"})
	write(t, dir, said{"c", "short"})
	paths, _ := filepath.Glob(filepath.Join(dir, "*.keys"))
	harm(t, paths[0], 512+20) // of a's key
	harm(t, paths[1], 9)      // the header
	k := newKeeper(t, dir)
	if _, err := k.Hold(ctx, "elsewhere", "ann", "court"); err != nil {
		t.Fatal(err)
	}
	f := func(after time.Duration, want Passed) {
		t.Helper()
		later(k, after)
		if p, err := k.Pass(ctx, true); err != nil || p != want {
			t.Errorf("after %v: %+v, %v; want %+v", after, p, err, want)
		}
	}
	f(40*day, Passed{Erased: 1})
	f(400*day, Passed{Held: 2})
	if err := k.Release(ctx, "elsewhere", "ann", "settled"); err != nil {
		t.Fatal(err)
	}
	f(400*day, Passed{Erased: 2})
	if left, _ := filepath.Glob(filepath.Join(dir, "rec-*")); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

func harm(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The disk is full. By default nothing goes: who was promised first is kept. Where
// the configuration has it the other way the oldest segments go, but for those with
// a call on hold, and only as many as it takes.
func TestAFullDiskKeepsTheOldestPromiseFirst(t *testing.T) {
	f := func(makeRoom bool, want string) {
		t.Helper()
		dir := t.TempDir()
		for i := range 4 {
			write(t, dir, said{fmt.Sprint("c", i), ""})
		}
		k := newKeeper(t, dir, func(c *Config) { c.MinFree, c.MakeRoom = 100, makeRoom })
		if _, err := k.Hold(ctx, "c0", "ann", "court"); err != nil {
			t.Fatal(err)
		}
		k.free = func(string) (int64, error) { // 60 bytes a segment
			left, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			return 240 - 60*int64(len(left)), err
		}
		if _, err := k.MakeRoom(ctx); err != nil {
			t.Error(err)
		}
		got := ""
		for i := range 4 {
			if readable(t, fmt.Sprint("c", i), record.Sources{Dirs: []string{dir}}) {
				got += fmt.Sprint(i)
			}
		}
		if got != want {
			t.Errorf("make room %v: calls %s are left, want %s", makeRoom, got, want)
		}
	}
	f(false, "0123")
	f(true, "03")
}
