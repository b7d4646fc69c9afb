package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// witness takes the state at log indexes that operators ask for, so that what
// the routers hold can be compared at one and the same index.
type witness struct {
	first atomic.Uint64 // the lowest index asked for; 0: none

	mu    sync.Mutex
	asked map[uint64]chan [32]byte // each gets one hash
}

// ask returns what gets the hash of the state after the last command at index
// or before.
func (w *witness) ask(index uint64) chan [32]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		w.asked = map[uint64]chan [32]byte{}
	}
	if w.asked[index] == nil {
		w.asked[index] = make(chan [32]byte, 1)
	}
	w.note()
	return w.asked[index]
}

func (w *witness) forget(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.asked, index)
	w.note()
}

// note keeps first right.
func (w *witness) note() {
	lowest := uint64(math.MaxUint64)
	for index := range w.asked { // any order: a minimum
		lowest = min(lowest, index)
	}
	if lowest == math.MaxUint64 {
		lowest = 0
	}
	w.first.Store(lowest)
}

// see is called with the machine's lock held, before the command at index is
// applied. It costs a comparison while nobody asks.
func (w *witness) see(index uint64, m *acd.Machine) {
	if first := w.first.Load(); first == 0 || index <= first {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, get := range w.asked { // any order: each its own
		if at < index {
			state := m.Snapshot()
			delete(w.asked, at)
			go func() { get <- state.Hash() }()
		}
	}
	w.note()
}

// witnessPatience bounds how long the log may take to reach an index.
const witnessPatience = 10 * time.Second

// serveState tells the hash of this router's state at an index of the log that
// is to come. It moves the log on itself where nothing else does.
func (n *Node) serveState(w http.ResponseWriter, r *http.Request) {
	at, err := strconv.ParseUint(r.URL.Query().Get("at"), 10, 64)
	if err != nil || at == 0 {
		fail(w, http.StatusBadRequest, fmt.Errorf("at %q: want an index of the log", r.URL.Query().Get("at")))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), witnessPatience)
	defer cancel()
	hash := n.witness.ask(at)
	defer n.witness.forget(at)
	n.stateMu.RLock()
	applied := n.applied
	n.stateMu.RUnlock()
	if applied > at {
		fail(w, http.StatusConflict, fmt.Errorf("index %d is past: this router is at %d", at, applied))
		return
	}
	for {
		select {
		case h := <-hash:
			reply(w, routeapi.State{Node: n.conf.Node, Index: at, Hash: hex.EncodeToString(h[:])})
			return
		case <-ctx.Done():
			fail(w, http.StatusServiceUnavailable, fmt.Errorf("the log did not reach index %d in time: do a majority of routers run?", at))
			return
		default:
		}
		if _, _, err := n.proposer.propose(ctx, acd.Ticked{}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			fail(w, http.StatusServiceUnavailable, fmt.Errorf("not committed: %w", err))
			return
		}
	}
}
