package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
	"trunkline/routerd/internal/facts"
)

type even struct{ r *rand.Rand }

func (e even) Int(n int, _ string) int { return e.r.IntN(n) }

// file is a router's file with what random calls and agents brought, and a fact
// with bytes that no database takes.
func file(t *testing.T, atLeast int) *facts.Store {
	s, _ := fileAt(t, atLeast)
	return s
}

func fileAt(t *testing.T, atLeast int) (*facts.Store, string) {
	t.Helper()
	list, err := history()
	if err != nil {
		t.Fatal(err)
	}
	n := min(atLeast, len(list))
	for n < len(list) && list[n].Index == list[n-1].Index {
		n++
	}
	upto := list[n-1].Index + 1
	list = append(list[:n:n], acd.Fact{Index: upto, At: list[n-1].At + 1, Kind: acd.FactCallRefused, Call: "c\xff",
		Attrs: []acd.Attr{{Key: "from", Value: "+7\x00\xfe"}, {Key: "code", Value: "503"}}})
	path := filepath.Join(t.TempDir(), "facts.sqlite")
	s, err := facts.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Append(t.Context(), facts.Batch{Upto: upto, Facts: list}); err != nil {
		t.Fatal(err)
	}
	return s, path
}

// history is what some hours of random calls and agents bring.
var history = sync.OnceValues(func() ([]acd.Fact, error) {
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(5, 6))})
	for i := 0; i < 4000 && err == nil; i++ {
		err = f.Step()
	}
	return f.M.FactsAfter(0, 0), err
})

// drain delivers until nothing is left and returns the cursor. Failures are
// taken as a leader takes them: again from the cursor.
func drain(t *testing.T, sink *Sink, s *facts.Store, cursor uint64) (uint64, int) {
	t.Helper()
	failures := 0
	for deadline := time.Now().Add(60 * time.Second); ; {
		upto, n, err := sink.Deliver(t.Context(), s, cursor)
		switch {
		case err == nil && n == 0:
			return cursor, failures
		case err == nil:
			cursor = upto
		case time.Now().After(deadline):
			t.Fatalf("not done after 60 s: %v", err)
		default:
			failures++
		}
	}
}

// holdsAll fails unless the database has every row of the file, once and as it
// is there.
func holdsAll(t *testing.T, srv *server, s *facts.Store) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), srv.config(srv.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	want, err := s.Rows(t.Context(), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range want.Tables {
		var names []string
		for _, c := range table.Columns {
			if c.Name != "attrs" { // jsonb has an order of its own
				names = append(names, c.Name)
			}
		}
		rows, err := conn.Query(t.Context(), "SELECT "+strings.Join(names, ", ")+" FROM "+table.Table+" ORDER BY idx, n")
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for ; rows.Next(); i++ {
			got, err := rows.Values()
			if err != nil {
				t.Fatal(err)
			}
			for k, name := range names {
				if i < table.Len() && fmt.Sprint(got[k]) != cell(table, name, i) {
					t.Fatalf("%s row %d: %s is %v, want %s", table.Table, i, name, got[k], cell(table, name, i))
				}
			}
		}
		if rows.Err() != nil || i != table.Len() || i == 0 {
			t.Errorf("%s has %d rows, want %d; %v", table.Table, i, table.Len(), rows.Err())
		}
	}
}

func cell(t facts.TableRows, name string, row int) string {
	for _, c := range t.Columns {
		if c.Name == name && c.Texts != nil {
			return c.Texts[row]
		} else if c.Name == name {
			return strconv.FormatInt(c.Ints[row], 10)
		}
	}
	return "no column " + name
}

func TestEveryRowArrivesOnce(t *testing.T) {
	srv, s := startServer(t), file(t, 3000)
	sink := srv.sink(srv.port)
	cursor, failures := drain(t, sink, s, 0)
	if cursor != s.Cursor() || failures > 0 {
		t.Errorf("cursor is %d, want %d; %d failures", cursor, s.Cursor(), failures)
	}
	holdsAll(t, srv, s)
	// A leader that lost its cursor begins again, and changes nothing.
	if again, _ := drain(t, srv.sink(srv.port), s, 0); again != cursor {
		t.Errorf("cursor is %d, want %d", again, cursor)
	}
	holdsAll(t, srv, s)
	conn, err := pgx.ConnectConfig(t.Context(), srv.config(srv.port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var calls, offers int
	var wait float64
	if err := conn.QueryRow(t.Context(), `SELECT count(*), max(wait_seconds)::float8, (SELECT count(*) FROM fact WHERE attrs->>'strategy' <> '') FROM call_report`).Scan(&calls, &wait, &offers); err != nil || calls == 0 || wait == 0 || offers == 0 {
		t.Errorf("the report shows %d calls, longest wait %v, %d offers; %v", calls, wait, offers, err)
	}
}

// commit is the message that ends a transaction (PostgreSQL 55.7, Query).
var commit = []byte("Q\x00\x00\x00\x0bcommit\x00")

// kill -9 of the server at every stage of a batch, and an answer to COMMIT that
// never comes: what is missing is written again, what is there is not doubled.
func TestServerKilledWithinABatch(t *testing.T) {
	srv, s := startServer(t), file(t, 5500)
	var killAt atomic.Int64 // bytes of inserts after which the server is killed
	var lose atomic.Bool    // the answer to the next COMMIT
	var committing atomic.Bool
	dead := make(chan struct{}, 1)
	inserted := int64(0)
	w := srv.wire(func(b []byte) bool {
		committing.Store(bytes.Contains(b, commit))
		if bytes.Contains(b, []byte("INSERT INTO")) || inserted > 0 {
			inserted += int64(len(b))
		}
		if at := killAt.Load(); at > 0 && inserted >= at {
			killAt.Store(0)
			inserted = 0
			srv.kill()
			dead <- struct{}{}
			return false
		}
		return true
	}, func([]byte) bool {
		return !(committing.Load() && lose.CompareAndSwap(true, false))
	})
	sink := srv.sink(w.port)
	cursor := uint64(0)
	for _, at := range []int64{1, 20_000, 100_000} {
		inserted = 0
		killAt.Store(at)
		for {
			upto, n, err := sink.Deliver(t.Context(), s, cursor)
			if err != nil {
				if upto != cursor || n != 0 {
					t.Fatalf("a failed batch moved the cursor from %d to %d", cursor, upto)
				}
				break
			}
			if n == 0 {
				t.Fatalf("all was delivered before %d bytes", at)
			}
			cursor = upto
		}
		<-dead
		srv.start()
	}
	// The COMMIT arrives, its answer does not.
	lose.Store(true)
	before := cursor
	for {
		upto, _, err := sink.Deliver(t.Context(), s, cursor)
		if err != nil {
			break
		}
		cursor = upto
	}
	if lose.Load() || cursor != before {
		t.Fatal("no answer was lost")
	}
	if cursor, _ = drain(t, sink, s, cursor); cursor != s.Cursor() {
		t.Errorf("cursor is %d, want %d", cursor, s.Cursor())
	}
	holdsAll(t, srv, s)
}

// The database is down for a while: each try fails soon and says why, and what
// has gathered is delivered when it is back.
func TestDatabaseThatIsDown(t *testing.T) {
	srv, s := startServer(t), file(t, 2500)
	srv.kill()
	sink := srv.sink(srv.port)
	for range 3 {
		began := time.Now()
		upto, n, err := sink.Deliver(t.Context(), s, 0)
		if err == nil || upto != 0 || n != 0 || time.Since(began) > 5*time.Second {
			t.Fatalf("upto %d, %d rows, %v after %v", upto, n, err, time.Since(began))
		}
		if !strings.Contains(err.Error(), "connect to the database") || strings.Contains(err.Error(), password) {
			t.Errorf("the fault is told as %v", err)
		}
	}
	srv.start()
	if cursor, _ := drain(t, sink, s, 0); cursor != s.Cursor() {
		t.Errorf("cursor is %d, want %d", cursor, s.Cursor())
	}
	holdsAll(t, srv, s)
}

// An old leader is paused within a batch and holds its rows locked. The next
// one goes on after a few seconds, and the old one does no harm when it wakes.
func TestPausedLeaderDoesNoHarm(t *testing.T) {
	srv, s := startServer(t), file(t, 3000)
	paused, wake := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := srv.wire(func(b []byte) bool {
		// Inserted and not committed.
		if bytes.Contains(b, commit) {
			once.Do(func() { close(paused) })
			<-wake
		}
		return true
	}, nil)
	old := srv.sink(w.port)
	old.idle = time.Second
	// The tables are there: making them is not what is tried here.
	if err := srv.sink(srv.port).open(t.Context()); err != nil {
		t.Fatal(err)
	}
	woke := make(chan error, 1)
	go func() {
		_, _, err := old.Deliver(context.Background(), s, 0)
		woke <- err
	}()
	<-paused
	began := time.Now()
	if cursor, _ := drain(t, srv.sink(srv.port), s, 0); cursor != s.Cursor() {
		t.Errorf("cursor is %d, want %d", cursor, s.Cursor())
	}
	if d := time.Since(began); d > patience {
		t.Errorf("the next leader was held up for %v", d)
	}
	close(wake)
	if err := <-woke; err == nil {
		t.Error("the old leader's batch was taken after its session was ended")
	}
	// It goes on from its old cursor, until it learns that it leads no more.
	if _, _, err := old.Deliver(t.Context(), s, 0); err != nil {
		t.Errorf("the old leader: %v", err)
	}
	holdsAll(t, srv, s)
}

// Two leaders write the same at the same time.
func TestTwoLeadersAtOnce(t *testing.T) {
	srv, s := startServer(t), file(t, 3000)
	var wg sync.WaitGroup
	for range 3 {
		sink := srv.sink(srv.port)
		wg.Go(func() {
			cursor := uint64(0)
			for failures := 0; failures < 20; {
				upto, n, err := sink.Deliver(context.Background(), s, cursor)
				if err != nil {
					failures++
					t.Logf("one of them: %v", err)
					continue
				}
				if n == 0 {
					return
				}
				cursor = upto
			}
			t.Error("it never came to the end")
		})
	}
	wg.Wait()
	holdsAll(t, srv, s)
}

// childEnv makes this test's own program a leader that feeds a database and
// notes its cursor in a file, as the log would.
const childEnv = "TRUNKLINE_TEST_SINK"

func TestMain(m *testing.M) {
	if args := strings.Split(os.Getenv(childEnv), " "); len(args) == 3 {
		if err := child(args[0], args[1], args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	os.RemoveAll(made.dir)
	os.Exit(code)
}

func child(port, store, note string) error {
	s, err := facts.Open(store)
	if err != nil {
		return err
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	sink := New(func() (*pgx.ConnConfig, error) { return (&server{}).config(p), nil })
	sink.batch = 200 // many, to be killed within
	for {
		cursor := uint64(0)
		if b, err := os.ReadFile(note); err == nil {
			if cursor, err = strconv.ParseUint(string(b), 10, 64); err != nil {
				return err
			}
		}
		upto, n, err := sink.Deliver(context.Background(), s, cursor)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if err := errors.Join(os.WriteFile(note+".new", []byte(strconv.FormatUint(upto, 10)), 0o600), os.Rename(note+".new", note)); err != nil {
			return err
		}
	}
}

// kill -9 of the leader itself, again and again: the next life goes on from the
// replicated cursor.
func TestLeaderKilledWithinABatch(t *testing.T) {
	srv := startServer(t)
	s, path := fileAt(t, 5500)
	note := filepath.Join(t.TempDir(), "cursor")
	if s.Cursor() == 0 {
		t.Fatal("nothing to deliver")
	}
	// Each life is killed a moment after the cursor moved, within its next batch.
	cursor := func() string {
		b, err := os.ReadFile(note)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	deadline := time.After(2 * time.Minute)
	for kills := 0; ; {
		before := cursor()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", childEnv, srv.port, path, note))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for moved := false; !moved; moved = cursor() != before {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatalf("after %d kills: %v\n%s", kills, err, out.Bytes())
				}
				if kills < 3 {
					t.Errorf("only %d lives were killed: the test shows little", kills)
				}
				holdsAll(t, srv, s)
				return
			case <-deadline:
				cmd.Process.Kill()
				t.Fatalf("not done after 2 min and %d kills", kills)
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(kills*3) * time.Millisecond) // somewhere within
		cmd.Process.Kill()
		<-ended
		kills++
	}
}
