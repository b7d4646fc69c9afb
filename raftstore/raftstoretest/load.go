package raftstoretest

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
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
	Sent, Failed        int
	P50, P99, P999, Max time.Duration
	// LateP99 is how late commands were sent: a generator that is starved
	// measures itself.
	LateP99 time.Duration
}

// sessions is how many commands of a load may be under way, as many as a busy
// router has calls that move at the same time.
const sessions = 256

func (l Load) run(s *raftstore.Store) LoadResult {
	n := int(float64(l.Rate) * l.For.Seconds())
	var took, late histogram
	var failed atomic.Int64
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
		late.add(time.Since(due))
		wg.Go(func() {
			defer func() { free <- who }()
			seq[who]++
			op := Op{Session: fmt.Sprint(l.Name, who), Seq: seq[who], Kind: OpWrite, Key: fmt.Sprint("load", who), Value: fmt.Sprint(i), Pad: pad}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if _, _, err := s.Propose(ctx, encode(op)); err != nil {
				failed.Add(1)
			}
			took.add(time.Since(due))
		})
	}
	wg.Wait()
	return LoadResult{
		Sent: n, Failed: int(failed.Load()), P50: took.at(0.5), P99: took.at(0.99), P999: took.at(0.999), Max: took.at(1),
		LateP99: late.at(0.99),
	}
}

// histogram counts durations in steps of 1/64 of their size; it does not grow,
// so that it can be kept in a process whose memory is measured.
type histogram struct {
	counts [64 * 64]atomic.Int64
}

func (h *histogram) add(d time.Duration) { h.counts[bucket(uint64(max(d, 0)))].Add(1) }

// bucket numbers grow with what is in them: below 64 one for each, then 64 for
// each doubling.
func bucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return 64*(shift+1) + int(v>>shift) - 64
}

// least is the smallest value of a bucket.
func least(b int) uint64 {
	if b < 64 {
		return uint64(b)
	}
	return uint64(64+b%64) << (b/64 - 1)
}

// at returns the value that a part of all is not above, a step exactly.
func (h *histogram) at(part float64) time.Duration {
	total := int64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	rank := max(int64(part*float64(total)+0.999999), 1)
	for i := range h.counts {
		if rank -= h.counts[i].Load(); rank <= 0 {
			return time.Duration(least(i+1) - 1)
		}
	}
	return 0
}
