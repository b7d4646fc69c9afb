package raftstoretest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"trunkline/raftstore"
)

// Load is a steady stream of commands, proposed whether or not those before
// were answered.
type Load struct {
	Rate int           `json:"rate"` // commands per second
	For  time.Duration `json:"for"`
	Size int           `json:"size"` // bytes of a command, about
	Name string        `json:"name"` // of its sessions: new for each load
}

// LoadResult is what came of a Load. Latency is from the moment a command was
// due, so that one that had to wait to be sent counts in full.
type LoadResult struct {
	Sent, Failed  int
	P50, P99, Max time.Duration
	// LateP99 is how late commands were sent: a generator that is starved
	// measures itself.
	LateP99 time.Duration
}

// sessions is how many commands of a load may be under way, as many as a busy
// router has calls that move at the same time.
const sessions = 256

func (l Load) run(s *raftstore.Store) LoadResult {
	n := int(float64(l.Rate) * l.For.Seconds())
	took, late := make([]time.Duration, n), make([]time.Duration, n)
	failed := make([]bool, n)
	pad := strings.Repeat("x", max(l.Size-80, 0))
	free := make(chan int, sessions)
	seq := make([]uint64, sessions)
	for i := range sessions {
		free <- i
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		due := began.Add(time.Duration(float64(i) * float64(time.Second) / float64(l.Rate)))
		if d := time.Until(due); d > 0 {
			<-time.After(d)
		}
		who := <-free
		late[i] = time.Since(due)
		wg.Go(func() {
			defer func() { free <- who }()
			seq[who]++
			op := Op{Session: fmt.Sprint(l.Name, who), Seq: seq[who], Kind: OpWrite, Key: fmt.Sprint("load", who), Value: fmt.Sprint(i), Pad: pad}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_, _, err := s.Propose(ctx, encode(op))
			took[i], failed[i] = time.Since(due), err != nil
		})
	}
	wg.Wait()
	r := LoadResult{Sent: n}
	for _, f := range failed {
		if f {
			r.Failed++
		}
	}
	slices.Sort(took)
	slices.Sort(late)
	if n > 0 {
		r.P50, r.P99, r.Max = took[n/2], took[n*99/100], took[n-1]
		r.LateP99 = late[n*99/100]
	}
	return r
}
