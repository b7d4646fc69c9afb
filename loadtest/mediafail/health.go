package main

import (
	"fmt"
	"sync"
	"time"

	"trunkline/loadtest/check"
)

const (
	// healthTick is how often this program wants to run, and lateBound by how
	// much it may be late, p99: one that is starved sends late, and takes that for
	// a gap.
	healthTick = 5 * time.Millisecond
	lateBound  = 15 * time.Millisecond
)

// health watches whether this program gets processor time.
type health struct {
	stop chan struct{}
	over chan struct{}

	mu   sync.Mutex
	late []time.Duration
}

func watchHealth() *health {
	h := &health{stop: make(chan struct{}), over: make(chan struct{})}
	go func() {
		defer close(h.over)
		for {
			due := time.Now().Add(healthTick)
			select {
			case <-time.After(healthTick):
			case <-h.stop:
				return
			}
			h.mu.Lock()
			h.late = append(h.late, time.Since(due))
			h.mu.Unlock()
		}
	}()
	return h
}

func (h *health) end() {
	close(h.stop)
	<-h.over
}

// judgeHealth is the veto: figures of a starved machine are none.
func (p *proof) judgeHealth() error {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	late := check.Percentile(p.health.late, 99)
	p.report.Add("this program ran late, p99", check.Millis(late), "ms", fmt.Sprintf("<= %g, or the run is INVALID", check.Millis(lateBound)), late <= lateBound)
	if late > lateBound {
		return errInvalid
	}
	return nil
}
