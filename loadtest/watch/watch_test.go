package watch

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"trunkline/routerd/routeapi"
)

// router serves one list of calls, which the test replaces.
func router(t *testing.T, calls *atomic.Pointer[[]routeapi.Call]) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != routeapi.PathCalls {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(routeapi.Error{Error: "no such path"})
			return
		}
		_ = json.NewEncoder(w).Encode(*calls.Load())
	}))
	t.Cleanup(s.Close)
	return s
}

func TestADeadRouterHidesNothing(t *testing.T) {
	var calls atomic.Pointer[[]routeapi.Call]
	calls.Store(&[]routeapi.Call{{ID: "c1"}})
	alive, dead := router(t, &calls), router(t, &calls)
	conf := alive.Client().Transport.(*http.Transport).TLSClientConfig
	dead.Close()
	tier := NewTier([]string{dead.URL, alive.URL}, conf)
	got, err := tier.Calls(t.Context())
	if err != nil || len(got) != 1 || got[0].ID != "c1" {
		t.Fatalf("calls %v, %v", got, err)
	}
	alive.Close()
	if _, err := tier.Calls(t.Context()); !errors.Is(err, ErrNoRouter) {
		t.Errorf("with every router dead: %v", err)
	}
}

func TestARefusalTellsItsReason(t *testing.T) {
	var calls atomic.Pointer[[]routeapi.Call]
	s := router(t, &calls)
	tier := NewTier([]string{s.URL}, s.Client().Transport.(*http.Transport).TLSClientConfig)
	_, err := tier.Agents(t.Context())
	if want := "no router answers its API: GET " + s.URL + "/v1/agents: 404 Not Found: no such path"; !errors.Is(err, ErrNoRouter) || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestTheLogKeepsEveryOwnerAndTheTicket(t *testing.T) {
	l := &Log{calls: map[string]*Seen{}}
	read := func(c ...routeapi.Call) { l.read(c, time.Unix(1, 0)) }
	read(routeapi.Call{ID: "c1", Node: "r1", State: "greeting", Worker: "m1"})
	read(routeapi.Call{ID: "c1", Node: "r1", State: "waiting", Ticket: 7, Worker: "m1"})
	read(routeapi.Call{ID: "c1", Node: "r2", State: "waiting", Ticket: 7})
	read()
	s, ok := l.Call("c1")
	if !ok || !slices.Equal(s.Nodes, []string{"r1", "r2"}) || !slices.Equal(s.Workers, []string{"m1"}) ||
		!slices.Equal(s.States, []string{"greeting", "waiting"}) || !slices.Equal(s.Tickets, []uint64{7}) {
		t.Errorf("seen %+v %v", s, ok)
	}
	if open, _ := l.Open(); len(open) != 0 {
		t.Errorf("open %v after it ended", open)
	}
	if _, ok := l.Call("c2"); ok {
		t.Error("a call never seen is known")
	}
}
