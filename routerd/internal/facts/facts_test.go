package facts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"

	"trunkline/routerd/acd"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fact(index uint64, n uint32, call acd.CallID) acd.Fact {
	return acd.Fact{Index: index, N: n, At: acd.Time(1_700_000_000_000_000_000 + index), Kind: acd.FactCallArrived, Call: call}
}

// batchOf is a batch that begins at after and ends with the facts.
func batchOf(after uint64, facts ...acd.Fact) Batch {
	b := Batch{After: after, Upto: after, Facts: facts}
	for _, f := range facts {
		b.Upto = max(b.Upto, f.Index)
	}
	return b
}

func add(t *testing.T, s *Store, facts ...acd.Fact) {
	t.Helper()
	if err := s.Append(t.Context(), batchOf(s.Cursor(), facts...)); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, s *Store, call string, after uint64, limit int) string {
	t.Helper()
	list, err := s.Query(t.Context(), call, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, " %d.%d", f.Index, f.N)
	}
	return strings.TrimSpace(b.String())
}

func TestFactComesBackWhole(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts with space?.db"))
	want := acd.Fact{
		Index: 1 << 40, N: 3, At: 1_700_000_000_123_456_789, Kind: acd.FactOfferMade,
		Call: "c1", Leg: "2", Agent: "ann", Queue: "sales", Node: "r1",
		Attrs: []acd.Attr{{Key: "why", Value: `idle "longest" <1 s> & \u0041`}, {Key: "", Value: "x"}, {Key: "a", Value: "\u2028 line"}, {Key: "a", Value: ":{"}},
	}
	plain := acd.Fact{Index: 1<<40 + 1, Kind: "Plain"}
	add(t, s, want, plain)
	got, err := s.After(t.Context(), 0, 0)
	if err != nil || !reflect.DeepEqual(got, []acd.Fact{want, plain}) {
		t.Errorf("got %+v, %v", got, err)
	}
	shown, err := s.Query(t.Context(), "c1", 0, 0)
	if err != nil || len(shown) != 1 || shown[0].Attrs["why"] != want.Attrs[0].Value || !shown[0].At.Equal(time.Unix(0, int64(want.At))) {
		t.Errorf("the API shows %+v, %v", shown, err)
	}
}

// What came in over SIP may hold any byte. Databases take UTF-8 without NUL, and
// one fact that they refuse would hold up all that follow.
func TestAnyByteCanBeStored(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	f := fact(1, 0, "c\xff")
	f.Attrs = []acd.Attr{{Key: "plain", Value: "Анна"}, {Key: "from", Value: "+7\x00495\xe9\uf7e9\uf600\uFFFD"}, {Key: "to\xc3", Value: "+8"}}
	mine := slices.Clone(f.Attrs)
	add(t, s, f)
	if !slices.Equal(f.Attrs, mine) {
		t.Error("the machine's own copy was changed")
	}
	got, err := s.After(t.Context(), 0, 0)
	if err != nil || !reflect.DeepEqual(got, []acd.Fact{f}) {
		t.Errorf("got %+v, %v, want %+v", got, err, f)
	}
	shown, err := s.Query(t.Context(), "", 0, 0)
	if err != nil || shown[0].Attrs["from"] != "+7\uf700495\uf7e9\uf7ef\uf79f\uf7a9\uf600\uFFFD" || shown[0].Attrs["plain"] != "Анна" {
		t.Errorf("the API shows %+v, %v", shown, err)
	}
	if err := quick.Check(func(b []byte) bool {
		return plain(fit(string(b))) == string(b) && utf8.ValidString(fit(string(b))) && !strings.Contains(fit(string(b)), "\x00")
	}, nil); err != nil {
		t.Error(err)
	}
}

// A batch that does not begin where the file ends would leave a hole for ever.
func TestAFileHasNoHole(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	add(t, s, fact(1, 0, "c1"), fact(4, 0, "c1"))
	if err := s.Append(t.Context(), batchOf(5, fact(7, 0, "c1"))); !errors.Is(err, ErrGap) {
		t.Errorf("appended after 5 to a file that ends at 4: %v", err)
	}
	if got := query(t, s, "", 0, 0); got != "1.0 4.0" || s.Cursor() != 4 {
		t.Errorf("facts are %s, cursor %d", got, s.Cursor())
	}
	// An empty batch says that there was nothing.
	if err := s.Append(t.Context(), Batch{After: 4, Upto: 6}); err != nil || s.Cursor() != 6 {
		t.Errorf("cursor is %d, %v", s.Cursor(), err)
	}
	// One that reaches back brings only what is new.
	if err := s.Append(t.Context(), batchOf(2, fact(4, 0, "other"), fact(7, 0, "c1"))); err != nil {
		t.Error(err)
	}
	if got := query(t, s, "", 0, 0); got != "1.0 4.0 7.0" || s.Cursor() != 7 {
		t.Errorf("facts are %s, cursor %d", got, s.Cursor())
	}
}

func TestRepeatedFactsAreKeptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.db")
	s := open(t, path)
	if s.Cursor() != 0 {
		t.Fatalf("new history has the cursor at %d", s.Cursor())
	}
	add(t, s, fact(1, 0, "c1"), fact(1, 1, "c1"), fact(4, 0, "c2"))
	if err := s.Append(t.Context(), batchOf(0, fact(1, 1, "c1"), fact(4, 0, "c2"), fact(6, 0, "c1"))); err != nil {
		t.Fatal(err)
	}
	if got := query(t, s, "", 0, 0); got != "1.0 1.1 4.0 6.0" {
		t.Errorf("facts are %s", got)
	}
	// Another life reads on where the last ended, and repeats of old
	// entries neither add rows nor move the cursor back.
	s.Close()
	s = open(t, path)
	if s.Cursor() != 6 {
		t.Errorf("cursor is %d after the restart, want 6", s.Cursor())
	}
	if err := s.Append(t.Context(), batchOf(3, fact(4, 0, "c2"))); err != nil {
		t.Fatal(err)
	}
	add(t, s)
	if got := query(t, s, "", 0, 0); got != "1.0 1.1 4.0 6.0" || s.Cursor() != 6 {
		t.Errorf("facts are %s, cursor %d", got, s.Cursor())
	}
}

func TestQueryPagesAndFilters(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	add(t, s, fact(1, 0, "c1"), fact(2, 0, "c2"), fact(2, 1, "c1"), fact(2, 2, "c1"), fact(3, 0, ""), fact(5, 0, "c1"))
	f := func(call string, after uint64, limit int, want string) {
		t.Helper()
		if got := query(t, s, call, after, limit); got != want {
			t.Errorf("call %q after %d limit %d: %q, want %q", call, after, limit, got, want)
		}
	}
	f("", 0, 0, "1.0 2.0 2.1 2.2 3.0 5.0")
	f("", 2, 0, "3.0 5.0")
	f("", 5, 0, "")
	f("", 0, 1, "1.0")
	f("", 0, 2, "1.0 2.0 2.1 2.2") // an index is not cut
	f("", 0, 4, "1.0 2.0 2.1 2.2")
	f("c1", 0, 0, "1.0 2.1 2.2 5.0")
	f("c1", 1, 1, "2.1 2.2")
	f("c1", 2, 9, "5.0")
	f("nobody", 0, 0, "")
}

func TestFailedBatchLeavesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, batchOf(0, fact(1, 0, "c1"))); err == nil {
		t.Fatal("appended under a context that had ended")
	}
	if got := query(t, s, "", 0, 0); got != "" || s.Cursor() != 0 {
		t.Errorf("facts are %q, cursor %d", got, s.Cursor())
	}
}

func TestHistoryOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("open: %v", err)
	}
}

func TestReadersAndTheWriterDoNotBlockEachOther(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				list, err := s.Query(t.Context(), "", 0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if len(list)%10 != 0 {
					t.Errorf("a reader saw %d facts of batches of 10", len(list))
					return
				}
			}
		})
	}
	for i := range 20 {
		var batch []acd.Fact
		for n := range 10 {
			batch = append(batch, fact(uint64(i+1), uint32(n), "c1"))
		}
		add(t, s, batch...)
	}
	close(done)
	wg.Wait()
}

// The disk is full for a while: nothing is stored by halves, reading goes on,
// and what was refused is taken when there is room again.
func TestFullDiskRefusesAndLosesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "facts.db"))
	s.db.SetMaxOpenConns(1) // the limit is one connection's
	add(t, s, fact(1, 0, "c1"))
	limit := func(pages int) {
		t.Helper()
		if _, err := s.db.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // no more than there are
	var batch []acd.Fact
	for i := range 5000 {
		f := fact(uint64(i+2), 0, "c1")
		f.Kind, f.Attrs = acd.FactCallEnded, []acd.Attr{{Key: "sip_call_id", Value: strings.Repeat("x", 200)}}
		batch = append(batch, f)
	}
	if err := s.Append(t.Context(), batchOf(1, batch...)); err == nil {
		t.Fatal("a megabyte went into a full disk")
	}
	if got := query(t, s, "", 0, 0); got != "1.0" || s.Cursor() != 1 {
		t.Errorf("facts are %s, cursor %d", got, s.Cursor())
	}
	limit(1 << 30)
	if err := s.Append(t.Context(), batchOf(1, batch...)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, "fact"); got != 5001 || count(t, s, "call_cdr") != 5000 {
		t.Errorf("%d facts, %d call records", got, count(t, s, "call_cdr"))
	}
}

func count(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkAppend appends what calls bring: 20 facts each, the last a record.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "facts.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := make([]acd.Fact, 2000)
	for i := range b.N {
		for n := range batch {
			f := fact(uint64(i*len(batch)+n+1), 0, "c1")
			f.Attrs = []acd.Attr{{Key: "agent", Value: "ann"}, {Key: "why", Value: "longest idle"}}
			if n%20 == 19 {
				f.Kind = acd.FactCallEnded
			}
			batch[n] = f
		}
		if err := s.Append(b.Context(), batchOf(s.Cursor(), batch...)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "facts/s")
}
