package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/acd/acdtest"
	"trunkline/routerd/internal/facts"
	"trunkline/routerd/routeapi"
)

type even struct{ r *rand.Rand }

func (e even) Int(n int, _ string) int { return e.r.IntN(n) }

// recorder is the part of a router that keeps the history.
type recorder struct {
	*projector
	node      *Node
	confirmed []uint64
}

func newRecorder(t *testing.T, id acd.NodeID, f *acdtest.FarEnd, log *strings.Builder) *recorder {
	t.Helper()
	s, err := facts.Open(filepath.Join(t.TempDir(), "facts.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	logger := slog.New(slog.NewTextHandler(log, nil))
	r := &recorder{node: &Node{id: id, facts: s, log: logger}}
	r.projector = &projector{
		id: id, facts: s, log: logger, view: func(see func(*acd.Machine)) { see(f.M) },
		others: func() []acd.NodeID { return nil },
		page: func(context.Context, acd.NodeID, uint64) (facts.Page, error) {
			return facts.Page{}, errors.New("not asked here")
		},
		confirm: func(_ context.Context, index uint64) bool { r.confirmed = append(r.confirmed, index); return true },
		live:    func() bool { return true },
	}
	return r
}

// pageOf asks a router's API for a page, as another router.
func pageOf(ctx context.Context, n *Node, after uint64) (facts.Page, error) {
	r := httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s?after=%d", routeapi.PathPeerFacts, after), nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"r9" + roleRouter}}}}
	w := httptest.NewRecorder()
	n.apiHandler().ServeHTTP(w, r)
	if w.Code != 200 {
		return facts.Page{}, errors.New(w.Body.String())
	}
	return facts.ReadPage(w.Body)
}

func digest(t *testing.T, r *recorder) routeapi.FactsDigest {
	t.Helper()
	var d routeapi.FactsDigest
	if code, body := asOperator(t, r.node, routeapi.PathFactsDigest, &d); code != 200 {
		t.Fatal(code, body)
	}
	d.Node = ""
	return d
}

// awayFacts is how many facts there are at least after away: the router lacks
// more than the first page that it is given in these tests.
const awayFacts = 4000

// away lets a history pass that one router misses, until the state does not
// have it any more: the other two confirmed it, and the third is dead for over
// a day.
func away(t *testing.T) (f *acdtest.FarEnd, r1, r2, r3 *recorder, log *strings.Builder) {
	t.Helper()
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(8, 9))})
	if err != nil {
		t.Fatal(err)
	}
	log = &strings.Builder{}
	r1, r2, r3 = newRecorder(t, "r1", f, log), newRecorder(t, "r2", f, log), newRecorder(t, "r3", f, log)
	// How many facts a step brings is the simulation's business.
	for rounds := 0; rounds == 0 || digest(t, r1).Facts < awayFacts; rounds++ {
		if rounds == 100 {
			t.Fatalf("%d facts after %d rounds, want %d", digest(t, r1).Facts, rounds, awayFacts)
		}
		for range 500 {
			if err := f.Step(); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range []*recorder{r1, r2, r3} {
			if r == r3 && rounds > 0 {
				continue // it is away
			}
			if err := r.step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	propose := func(body acd.Body) {
		t.Helper()
		if _, _, err := f.Propose(body); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range f.M.Nodes() {
		propose(acd.NodeStarted{Node: n.ID})
	}
	for _, n := range f.M.Nodes() {
		if n.ID == "r3" {
			propose(acd.NodeDied{Owner: acd.Owner{Node: n.ID, Incarnation: n.Incarnation}})
		}
	}
	f.Clock = f.M.Now().Add(25 * time.Hour)
	propose(acd.Ticked{})
	for _, r := range []*recorder{r1, r2} {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		propose(acd.FactsConfirmed{Node: r.id, Index: r.facts.Cursor()})
	}
	propose(acd.NodeStarted{Node: "r3"})
	if f.M.FactsFrom() <= r3.facts.Cursor() {
		t.Fatalf("the state has facts from %d on, the file ends at %d: nothing is missing", f.M.FactsFrom(), r3.facts.Cursor())
	}
	for _, r := range []*recorder{r1, r2} {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return f, r1, r2, r3, log
}

// A router that was away for longer than the state keeps facts copies them from
// another, and goes on from the state: its file is then the same as the others'.
func TestRouterThatWasAwayEndsWithTheSameFile(t *testing.T) {
	f, r1, r2, r3, log := away(t)
	peers := map[acd.NodeID]*Node{"r1": r1.node, "r2": r2.node}
	r3.others = func() []acd.NodeID { return []acd.NodeID{"r1", "r2"} }
	pages := 0
	r3.page = func(ctx context.Context, from acd.NodeID, after uint64) (facts.Page, error) {
		// The first dies after its first page; what it gave stays.
		if from == "r1" && pages > 0 {
			return facts.Page{}, errors.New("connection refused")
		}
		pages++
		if from == "r1" {
			return r1.facts.Page(ctx, after, 1100)
		}
		page, err := pageOf(ctx, peers[from], after)
		if err == nil && page.Upto < page.After+10 {
			t.Errorf("page from %d to %d", page.After, page.Upto)
		}
		return page, err
	}
	if err := r3.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b, c := digest(t, r1), digest(t, r2), digest(t, r3)
	if a != b || a != c || a.Facts < 2500 || a.Records < 800 || a.Cursor != f.M.Index() {
		t.Errorf("files of the three routers:\n%+v\n%+v\n%+v", a, b, c)
	}
	if pages < 2 {
		t.Errorf("%d pages", pages)
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("logged\n%s", log)
	}
	// From here on it needs nobody.
	r3.others = nil
	if _, _, err := f.Propose(acd.AgentStatusSet{Agent: "ann", Status: acd.Training}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*recorder{r1, r3} {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a, c := digest(t, r1), digest(t, r3); a != c {
		t.Errorf("after one more fact:\n%+v\n%+v", a, c)
	}
}

// As long as somebody may have what is missing it is waited for; a page that
// does not come to its sum is not taken.
func TestMissingFactsAreWaitedFor(t *testing.T) {
	_, r1, _, r3, _ := away(t)
	before := r3.facts.Cursor()
	f := func(page func(context.Context, acd.NodeID, uint64) (facts.Page, error), want string) {
		t.Helper()
		r3.others = func() []acd.NodeID { return []acd.NodeID{"r1", "r2"} }
		r3.page = page
		if err := r3.step(t.Context()); err == nil || !strings.Contains(err.Error(), want) || r3.facts.Cursor() != before {
			t.Errorf("%v, want %q; the file ends at %d", err, want, r3.facts.Cursor())
		}
	}
	f(func(context.Context, acd.NodeID, uint64) (facts.Page, error) {
		return facts.Page{}, errors.New("connection refused")
	}, "can't be copied yet: router r1: connection refused")
	f(func(ctx context.Context, from acd.NodeID, after uint64) (facts.Page, error) {
		if from == "r2" {
			return facts.Page{}, errors.New("it is not alive")
		}
		return facts.Page{Batch: facts.Batch{After: after, Upto: after}, Cursor: after}, nil // it was away too
	}, "router r2: it is not alive")
	f(func(ctx context.Context, _ acd.NodeID, after uint64) (facts.Page, error) {
		page, err := pageOf(ctx, r1.node, after)
		page.Facts[7].Call += "x"
		return page, err
	}, facts.ErrDiverged.Error())
	f(func(ctx context.Context, _ acd.NodeID, after uint64) (facts.Page, error) {
		page, err := pageOf(ctx, r1.node, after)
		page.Facts = page.Facts[1:]
		return page, err
	}, "router r1: ")
}

// All routers lost the same facts, as when one disk holds all files: that is
// told, and the history goes on behind the hole.
func TestFactsThatNobodyHasAreGivenUp(t *testing.T) {
	f, _, _, r3, log := away(t)
	r3.others = func() []acd.NodeID { return []acd.NodeID{"r1"} }
	r3.page = func(_ context.Context, _ acd.NodeID, after uint64) (facts.Page, error) {
		return facts.Page{Batch: facts.Batch{After: after, Upto: after}, Cursor: after - 5}, nil
	}
	if err := r3.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r3.facts.Cursor() != f.M.Index() || r3.facts.Floor() != f.M.FactsFrom() || !strings.Contains(log.String(), "they are lost") {
		t.Errorf("the file has facts from %d to %d, logged %s", r3.facts.Floor(), r3.facts.Cursor(), log)
	}
}

// A file that differs from the cluster's history is told, once.
func TestDivergedFileIsTold(t *testing.T) {
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(1, 9))})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	r := newRecorder(t, "r1", f, &log)
	if err := r.facts.Append(t.Context(), facts.Batch{Upto: 2, Facts: []acd.Fact{{Index: 1, Kind: acd.FactNodeDied, Node: "r7"}}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "not the cluster's history"); n != 1 || r.facts.Cursor() < 10 {
		t.Errorf("told %d times, the file ends at %d:\n%s", n, r.facts.Cursor(), &log)
	}
}

// A file that is ahead of the log is this cluster's while the log is replayed,
// and another's after that.
func TestFileAheadOfTheLogIsNotTaken(t *testing.T) {
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(1, 9))})
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, "r1", f, &strings.Builder{})
	if err := r.facts.Append(t.Context(), facts.Batch{Upto: 5000, Facts: []acd.Fact{{Index: 4999, Kind: acd.FactNodeDied}}}); err != nil {
		t.Fatal(err)
	}
	r.live = func() bool { return false }
	if err := r.step(t.Context()); err != nil {
		t.Error(err)
	}
	r.live = func() bool { return true }
	if err := r.step(t.Context()); err == nil || !strings.Contains(err.Error(), "move facts.sqlite out") {
		t.Errorf("step: %v", err)
	}
}

// The others are told how far the file is after a thousand facts, or some
// seconds after the last one.
func TestConfirmationsAreFew(t *testing.T) {
	f, err := acdtest.NewFarEnd(even{rand.New(rand.NewPCG(1, 9))})
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, "r1", f, &strings.Builder{})
	r.confirmedAt = time.Now()
	for i := range 3000 {
		if err := f.Step(); err != nil {
			t.Fatal(err)
		}
		if i%30 != 0 {
			continue
		}
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.confirmedAt = time.Now() // no time passes
	}
	total := digest(t, r).Facts
	if got := len(r.confirmed); got != total/confirmRows && got != total/confirmRows-1 {
		t.Errorf("%d confirmations of %d facts", got, total)
	}
	r.confirmedAt = time.Now().Add(-confirmEvery)
	for range 3 {
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if last := r.confirmed[len(r.confirmed)-1]; last != f.M.Index() || len(r.confirmed) > total/confirmRows+1 {
		t.Errorf("last confirmed %d of %d, %d confirmations", last, f.M.Index(), len(r.confirmed))
	}
}
