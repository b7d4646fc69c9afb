package raftstore

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// future is an entry on its way.
type future struct {
	raft.ApplyFuture
	entry []byte
}

// TestCommandsOfAWhileGoTogether: the first goes at once, those of the next 2 ms
// together, each with its own future, and one after a pause at once again.
func TestCommandsOfAWhileGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		went := map[time.Duration]int{}
		begin := time.Now()
		g := &gather{apply: func(entry []byte, _ time.Duration) raft.ApplyFuture {
			mu.Lock()
			defer mu.Unlock()
			went[time.Since(begin)]++
			return future{entry: entry}
		}}
		for _, at := range []time.Duration{0, 300, 600, 1999, 10_000} {
			go func() {
				time.Sleep(at * time.Microsecond) // of the bubble's time
				entry := []byte{byte(at), byte(at >> 8)}
				if f := g.send(entry).(future); !bytes.Equal(f.entry, entry) {
					t.Errorf("sent %x and got the future of %x", entry, f.entry)
				}
			}()
		}
		time.Sleep(time.Second) // of the bubble's time
		mu.Lock()
		defer mu.Unlock()
		if len(went) != 3 || went[0] != 1 || went[gatherFor] != 3 || went[10*time.Millisecond] != 1 {
			t.Errorf("commands went at %v", went)
		}
	})
}
