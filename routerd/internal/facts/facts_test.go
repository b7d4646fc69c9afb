package facts

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
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

func fact(index uint64, n uint32, call string) routeapi.Fact {
	return routeapi.Fact{Index: index, N: n, At: time.Unix(1_700_000_000, int64(index)).UTC(), Kind: "CallArrived", Call: call}
}

func add(t *testing.T, s *Store, batch ...routeapi.Fact) {
	t.Helper()
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, s *Store, call string, after uint64, limit int) string {
	t.Helper()
	list, err := s.Query(call, after, limit)
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
	want := routeapi.Fact{
		Index: 1 << 40, N: 3, At: time.Unix(1_700_000_000, 123_456_789).UTC(), Kind: "OfferMade",
		Call: "c1", Leg: "2", Agent: "ann", Queue: "sales", Node: "r1",
		Attrs: map[string]string{"why": `idle "longest"`, "": "x"},
	}
	plain := routeapi.Fact{Index: 1<<40 + 1, At: time.Unix(0, 0).UTC(), Kind: "Plain"}
	add(t, s, want, plain)
	got, err := s.Query("", 0, 0)
	if err != nil || !reflect.DeepEqual(got, []routeapi.Fact{want, plain}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRepeatedFactsAreKeptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.db")
	s := open(t, path)
	if s.Cursor() != 0 {
		t.Fatalf("new history has the cursor at %d", s.Cursor())
	}
	add(t, s, fact(1, 0, "c1"), fact(1, 1, "c1"), fact(4, 0, "c2"))
	add(t, s, fact(1, 1, "c1"), fact(4, 0, "c2"), fact(6, 0, "c1"))
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
	add(t, s, fact(4, 0, "c2"))
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
	if err := s.Append(ctx, []routeapi.Fact{fact(1, 0, "c1")}); err == nil {
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
	if _, err := db.Exec("PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "version 2") {
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
				list, err := s.Query("", 0, 0)
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
		var batch []routeapi.Fact
		for n := range 10 {
			batch = append(batch, fact(uint64(i+1), uint32(n), "c1"))
		}
		add(t, s, batch...)
	}
	close(done)
	wg.Wait()
}

// BenchmarkAppend appends what a busy second brings: 100 batches of 20.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "facts.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := make([]routeapi.Fact, 20)
	for i := range b.N {
		for n := range batch {
			batch[n] = fact(uint64(i+1), uint32(n), "c1")
			batch[n].Attrs = map[string]string{"agent": "ann", "why": "longest idle"}
		}
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "facts/s")
}
