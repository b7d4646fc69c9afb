package scenarios

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Result is how one scenario went.
type Result struct {
	Scenario *Scenario
	Took     time.Duration
	Err      error
}

// RunAll tries scenarios, several at a time, those that may take the longest
// first. Each result is told as it comes, one at a time.
func (t *Tier) RunAll(ctx context.Context, all []*Scenario, told func(Result)) {
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b *Scenario) int { return int(b.limit() - a.limit()) })
	parallel := t.cfg.Parallel
	if parallel == 0 {
		parallel = 8
	}
	var wg sync.WaitGroup
	var telling sync.Mutex
	next := make(chan *Scenario)
	for range parallel {
		wg.Go(func() {
			for s := range next {
				began := time.Now()
				err := t.Run(ctx, s)
				for tries := 1; err != nil && tries < triesWhenOverloaded && t.metOverload(s); tries++ {
					if err = t.calm(ctx); err == nil {
						err = t.Run(ctx, s)
					}
				}
				telling.Lock()
				told(Result{s, time.Since(began), err})
				telling.Unlock()
			}
		})
	}
	for _, s := range order {
		next <- s
	}
	close(next)
	wg.Wait()
}
