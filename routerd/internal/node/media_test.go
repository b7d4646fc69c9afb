package node

import (
	"bufio"
	"log/slog"
	"net"
	"testing"
	"time"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// A worker that its standby calls silent is taken for dead only if it does not
// answer the router either, and the standby does.
func TestASilentWorkerIsAskedBeforeItIsTakenForDead(t *testing.T) {
	died := make(chan acd.WorkerID, 4)
	w := newWorkers(nil, slog.New(slog.DiscardHandler), func(id acd.WorkerID, incarnation uint64) {
		if incarnation != 5 {
			t.Errorf("%s: life %d died, want 5", id, incarnation)
		}
		died <- id
	}, nil, nil)
	answered := make(chan bool, 4)
	for _, id := range []acd.WorkerID{"lives", "hangs"} {
		ours, theirs := net.Pipe()
		client := mediaapi.NewClient(ours)
		t.Cleanup(client.Close)
		w.links[id] = &workerLink{worker: id, incarnation: 5, client: client, ready: make(chan struct{})}
		go func() {
			in := bufio.NewReader(theirs)
			for {
				raw, err := mediaapi.ReadMessage(in)
				if err != nil {
					return
				}
				if id == "hangs" {
					continue
				}
				cookie, format, _, err := mediaapi.ParseRequest(raw)
				if err != nil {
					return
				}
				if _, err := theirs.Write(mediaapi.AppendReply(nil, cookie, format, mediaapi.Reply{Result: mediaapi.ResultPong})); err != nil {
					return
				}
				answered <- true
			}
		}()
	}
	lives, hangs := w.links["lives"], w.links["hangs"]
	w.suspect(t.Context(), lives, mediaapi.Silent{Worker: "hangs", Incarnation: 4}) // a life that is over
	w.suspect(t.Context(), hangs, mediaapi.Silent{Worker: "lives", Incarnation: 5})
	w.suspect(t.Context(), lives, mediaapi.Silent{Worker: "hangs", Incarnation: 5})
	w.suspect(t.Context(), lives, mediaapi.Silent{Worker: "hangs", Incarnation: 5}) // it is being asked
	const longest = 10 * time.Second
	for _, want := range []struct {
		what string
		seen func() bool
	}{
		{"the living worker's answers", func() bool { return len(answered) == 2 }},
		{"the death of the silent one", func() bool { return len(died) == 1 }},
		{"the end of all questions", func() bool { return !lives.asking.Load() && !hangs.asking.Load() }},
	} {
		for began := time.Now(); !want.seen(); pause(t.Context(), time.Millisecond) {
			if time.Since(began) > longest {
				t.Fatalf("waited %v in vain for %s", longest, want.what)
			}
		}
	}
	if id := <-died; id != "hangs" || len(died) != 0 || len(answered) != 2 {
		t.Errorf("%s died and %d more; the living one answered %d times", id, len(died), len(answered))
	}
	// A standby that does not answer either is no witness.
	w.links["hangs too"] = &workerLink{worker: "hangs too", incarnation: 5, ready: make(chan struct{})}
	w.suspect(t.Context(), w.links["hangs too"], mediaapi.Silent{Worker: "hangs", Incarnation: 5})
	for began := time.Now(); hangs.asking.Load(); pause(t.Context(), time.Millisecond) {
		if time.Since(began) > longest {
			t.Fatal("the question never ends")
		}
	}
	if len(died) != 0 {
		t.Errorf("%s was taken for dead on the word of one that answers nothing", <-died)
	}
}
