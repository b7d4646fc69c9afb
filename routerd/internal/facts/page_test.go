package facts

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"trunkline/routerd/acd"
)

// whole stores a history that chains to its sum.
func whole(t *testing.T, facts []acd.Fact) *Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	s.checkpointEvery = 100
	for len(facts) > 0 { // in batches, as they come
		n := min(len(facts), 170)
		for n < len(facts) && facts[n].Index == facts[n-1].Index {
			n++
		}
		add(t, s, facts[:n]...)
		facts = facts[n:]
	}
	return s
}

// copyFrom brings a file up to another's end, page by page, as a router that
// comes back does.
func copyFrom(t *testing.T, s, from *Store, limit int) (pages int) {
	t.Helper()
	for s.Cursor() < from.Cursor() {
		p, err := from.Page(t.Context(), s.Cursor(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(s.Cursor()); err != nil {
			t.Fatal(err)
		}
		if err := s.Skip(t.Context(), &p); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), p.Batch); err != nil {
			t.Fatal(err)
		}
		pages++
	}
	return pages
}

func same(t *testing.T, a, b *Store, when string) {
	t.Helper()
	x, err := a.Digest(t.Context(), 0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Digest(t.Context(), 0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	if x != y {
		t.Errorf("%s: %+v and %+v", when, x, y)
	}
	if x.Facts == 0 || x.Records == 0 {
		t.Errorf("%s: the digest is of nothing: %+v", when, x)
	}
	if dump(t, a, "agent_now", "agent") != dump(t, b, "agent_now", "agent") || dump(t, a, "progress", "one") != dump(t, b, "progress", "one") {
		t.Errorf("%s: the files end in different states", when)
	}
}

func TestAFileIsCopiedPageByPage(t *testing.T) {
	facts := history(t, 1500)
	from := whole(t, facts)
	s := open(t, filepath.Join(t.TempDir(), "copy.db"))
	// It has a part already, by its own projection.
	cut := 100
	for facts[cut].Index == facts[cut-1].Index {
		cut++
	}
	add(t, s, facts[:cut]...)
	if pages := copyFrom(t, s, from, 400); pages < 4 {
		t.Errorf("copied %d facts in %d pages", len(facts), pages)
	}
	same(t, s, from, "copied")
	b := Batch{After: s.Cursor(), Upto: s.Cursor() + 5, Sum: sumOf(facts)}
	if err := s.Append(t.Context(), b); err != nil {
		t.Errorf("the copy does not come to the machine's sum: %v", err)
	}
}

// A row that changed, is missing or was added on the way or at the other router
// shows in the page's sum, and nothing is stored.
func TestADamagedPageIsRefused(t *testing.T) {
	facts := history(t, 900)
	from := whole(t, facts)
	s := open(t, filepath.Join(t.TempDir(), "copy.db"))
	f := func(what string, damage func(p *Page)) {
		t.Helper()
		p, err := from.Page(t.Context(), 0, 700)
		if err != nil || p.Sum == nil || len(p.Facts) < 500 {
			t.Fatalf("page of %d facts, %v", len(p.Facts), err)
		}
		damage(&p)
		err = p.Check(0)
		if err == nil {
			err = s.Append(t.Context(), p.Batch)
			if err != nil && !errors.Is(err, ErrDiverged) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err == nil || s.Cursor() != 0 || count(t, s, "fact") != 0 {
			t.Errorf("%s: taken", what)
		}
	}
	f("a fact is missing", func(p *Page) { p.Facts = append(p.Facts[:200:200], p.Facts[201:]...) })
	f("an index is missing", func(p *Page) {
		i := 200
		for p.Facts[i].N != 0 || p.Facts[i+1].N != 0 {
			i++
		}
		p.Facts = append(p.Facts[:i:i], p.Facts[i+1:]...)
	})
	f("the end is missing", func(p *Page) { p.Facts = p.Facts[:len(p.Facts)-1] })
	f("a time differs", func(p *Page) { p.Facts[300].At++ })
	f("an attribute differs", func(p *Page) {
		for i := range p.Facts {
			if a := p.Facts[i].Attrs; len(a) > 0 {
				a[0].Value += "x"
				return
			}
		}
	})
	f("two changed places", func(p *Page) { p.Facts[300], p.Facts[310] = p.Facts[310], p.Facts[300] })
	f("one is from behind the end", func(p *Page) { p.Facts[len(p.Facts)-1].Index = p.Upto + 1 })
	f("it ends before it begins", func(p *Page) { p.Upto, p.Facts = 0, nil; p.After = 5 })
	// Damaged on the other router's disk.
	if _, err := from.db.Exec("UPDATE fact SET agent = 'eve' WHERE agent = 'ann' AND idx = (SELECT min(idx) FROM fact WHERE agent = 'ann')"); err != nil {
		t.Fatal(err)
	}
	f("the other router's disk lies", func(p *Page) {})
}

// A file that ends where the machine's sum is another holds another history.
// That is told once; the history goes on with the machine's word.
func TestAFileThatDivergedIsToldAndGoesOn(t *testing.T) {
	facts := history(t, 50)
	n := len(facts)
	s := whole(t, facts)
	other := *sumOf(facts) + 1
	b := batchOf(s.Cursor(), fact(s.Cursor()+1, 0, "c"))
	b.Sum = &other
	if err := s.Append(t.Context(), b); !errors.Is(err, ErrDiverged) || count(t, s, "fact") != n {
		t.Fatalf("append: %v, %d facts", err, count(t, s, "fact"))
	}
	b.Adopt = true
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	next := b.Facts[0]
	next.Index++
	sum := next.Chain(other)
	b = batchOf(s.Cursor(), next)
	b.Sum = &sum
	if err := s.Append(t.Context(), b); err != nil {
		t.Errorf("after adopting: %v", err)
	}
}

// The 366th day: what is older than a year goes, in small steps, for certain;
// what is younger stays, and the file goes on and can be copied.
func TestOldFactsExpire(t *testing.T) {
	facts := history(t, 2000)
	day := 24 * time.Hour
	for i := range facts { // one fact an hour, in groups of an index
		facts[i].At = acd.Time(facts[i].Index) * acd.Time(day/24)
	}
	s := whole(t, facts)
	s.expireStep = 300
	// A machine time that makes half of them older than the limit.
	limit := facts[len(facts)/2].At
	old := 0
	for _, f := range facts {
		if f.At < limit {
			old++
		}
	}
	steps, gone := 0, 0
	for {
		n, err := s.Expire(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if n > 300+100 {
			t.Errorf("%d facts in one step", n)
		}
		steps, gone = steps+1, gone+n
	}
	if gone != old || steps < old/400 || steps > old/300+1 {
		t.Errorf("%d facts of %d expired in %d steps", gone, old, steps)
	}
	for _, table := range []string{"fact", "call_cdr", "leg_cdr", "agent_span"} {
		var first, n int64
		if err := s.db.QueryRow("SELECT min(idx), count(*) FROM "+table).Scan(&first, &n); err != nil || n == 0 {
			t.Fatal(table, n, err)
		}
		if acd.Time(first)*acd.Time(day/24) < limit {
			t.Errorf("%s holds a row of fact %d, which is over a year old", table, first)
		}
	}
	if got := count(t, s, "fact"); got != len(facts)-old {
		t.Errorf("%d facts are left, want %d", got, len(facts)-old)
	}
	// A new router's file begins where this one does, and comes to the same sum.
	fresh := open(t, filepath.Join(t.TempDir(), "fresh.db"))
	copyFrom(t, fresh, s, 400)
	x, _ := fresh.Digest(t.Context(), 0, 1<<62)
	y, _ := s.Digest(t.Context(), 0, 1<<62)
	if x != y || fresh.Floor() != s.Floor() || fresh.Cursor() != s.Cursor() {
		t.Errorf("copied %+v of %+v", x, y)
	}
	b := Batch{After: fresh.Cursor(), Upto: fresh.Cursor() + 1, Sum: sumOf(facts)}
	if err := fresh.Append(t.Context(), b); err != nil {
		t.Errorf("the copy of what is left does not come to the machine's sum: %v", err)
	}
	path := ""
	if err := s.db.QueryRow("SELECT file FROM pragma_database_list").Scan(&path); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s = open(t, path); s.Floor() != fresh.Floor() {
		t.Errorf("floor is %d in the next life, want %d", s.Floor(), fresh.Floor())
	}
}

// What expired is not merely unlinked: its bytes are gone from the file.
func TestWhatExpiredIsOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.db")
	s := open(t, path)
	f := fact(1, 0, "c1")
	f.At, f.Attrs = 10, attrs("from", "+79998887766")
	g := fact(2, 0, "c2")
	g.At, g.Attrs = 20, attrs("from", "+71112223344")
	add(t, s, f, g)
	if n, err := s.Expire(t.Context(), 15); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if holds(t, path, "79998887766") {
		t.Error("the file still holds the number of a call that expired")
	}
	if !holds(t, path, "71112223344") {
		t.Error("the file lacks the number of a call that stays: the test shows nothing")
	}
}

func holds(t *testing.T, path, text string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte(text))
}
