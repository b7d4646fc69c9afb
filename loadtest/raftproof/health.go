package main

import (
	"fmt"
	"sync"
	"time"

	"trunkline/loadtest/check"
)

const (
	// healthTick is how often this program wants to run, and lateBound by how
	// much it may be late, p99: one that is starved measures its own
	// waiting.
	healthTick = 5 * time.Millisecond
	lateBound  = 15 * time.Millisecond
)

// health watches whether this program, and the loads, get processor time.
type health struct {
	stop chan struct{}
	over chan struct{}

	mu   sync.Mutex
	late []time.Duration
	sent []time.Duration // p99 of each load
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

func (h *health) sentLate(p99 time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, p99)
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
	sent := check.Percentile(p.health.sent, 100)
	bound := fmt.Sprintf("<= %g, or the run is INVALID", check.Millis(lateBound))
	p.report.Add("this program ran late, p99", check.Millis(late), "ms", bound, late <= lateBound)
	p.report.Add("commands were sent late, p99 of the worst load", check.Millis(sent), "ms", bound, sent <= lateBound)
	if late > lateBound || sent > lateBound {
		return errInvalid
	}
	return nil
}
