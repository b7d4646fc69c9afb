package raftstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"trunkline/raftstore/raftstoretest"
)

// BenchmarkPropose measures commands of 256 bytes by callers side by side, on
// three nodes that share this machine and its disk.
func BenchmarkPropose(b *testing.B) {
	for _, on := range []string{"leader", "follower"} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("on=%s/callers=%d", on, callers), func(b *testing.B) {
				c := raftstoretest.New(b, 3, nil)
				c.StartAll()
				n := c.Leader()
				if on == "follower" {
					n = c.Followers()[0]
				}
				data := make([]byte, 256)
				work := make(chan struct{})
				took := make(chan []time.Duration, callers)
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						var mine []time.Duration
						for range work {
							began := time.Now()
							if _, _, err := n.Store.Propose(context.Background(), data); err != nil {
								b.Error(err)
							}
							mine = append(mine, time.Since(began))
						}
						took <- mine
					})
				}
				b.ResetTimer()
				for range b.N {
					work <- struct{}{}
				}
				close(work)
				wg.Wait()
				b.StopTimer()
				close(took)
				report(b, took)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cmd/s")
			})
		}
	}
}

// BenchmarkSteady offers 2 000 commands/s to a follower, as a busy router does,
// and measures their latency.
func BenchmarkSteady(b *testing.B) {
	c := raftstoretest.New(b, 3, nil)
	c.StartAll()
	n := c.Followers()[0]
	data := make([]byte, 512)
	took := make(chan []time.Duration, b.N)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var wg sync.WaitGroup
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		<-tick.C
		for range 10 {
			sent++
			wg.Go(func() {
				began := time.Now()
				if _, _, err := n.Store.Propose(context.Background(), data); err != nil {
					b.Error(err)
				}
				took <- []time.Duration{time.Since(began)}
			})
			if sent == b.N {
				break
			}
		}
	}
	wg.Wait()
	b.StopTimer()
	close(took)
	report(b, took)
}

// BenchmarkFailover measures from the leader's crash to the next command
// committed by a survivor's proposal.
func BenchmarkFailover(b *testing.B) {
	c := raftstoretest.New(b, 3, nil)
	c.StartAll()
	took := make(chan []time.Duration, b.N)
	for i := range b.N {
		b.StopTimer()
		leader, survivor := c.Leader(), c.Followers()[0]
		c.Propose(survivor, fmt.Sprintf("before %d", i))
		b.StartTimer()
		began := time.Now()
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			c.Kill(leader)
		}()
		c.Propose(survivor, fmt.Sprintf("after %d", i))
		took <- []time.Duration{time.Since(began)}
		b.StopTimer()
		<-killed
		c.Start(leader)
		c.Leader()
	}
	close(took)
	report(b, took)
}

func report(b *testing.B, took <-chan []time.Duration) {
	var all []time.Duration
	for t := range took {
		all = append(all, t...)
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(all[len(all)/2]), "p50-ms")
	b.ReportMetric(ms(all[len(all)*99/100]), "p99-ms")
	b.ReportMetric(ms(all[len(all)-1]), "max-ms")
}
