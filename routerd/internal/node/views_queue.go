package node

import (
	"time"

	"trunkline/routerd/acd"
	"trunkline/routerd/routeapi"
)

// queues shows every queue's figures of this moment (N4, N5).
func (n *Node) queues() []routeapi.Queue {
	out := []routeapi.Queue{}
	now := n.machineTime()
	n.view(func(m *acd.Machine) {
		limits := map[acd.QueueID]int{}
		if cfg, ok := m.Config(); ok {
			for _, q := range cfg.Queues {
				limits[q.ID] = q.MaxLength
			}
		}
		waits := map[acd.QueueID]acd.WaitInfo{}
		for _, w := range m.Waits() {
			waits[w.Queue] = w
		}
		for _, q := range m.Queues() {
			v := routeapi.Queue{ID: string(q.ID), Waiting: q.Waiting, Agents: q.Agents, Idle: q.Idle, Retired: q.Retired, MaxLength: limits[q.ID]}
			if q.Oldest != 0 {
				v.OldestWait = now.Sub(q.Oldest).Seconds()
			}
			w := waits[q.ID]
			v.EWT, v.ASA, v.Calibration = waitView(w.P50, w.P90, w.Known), w.ASA.Seconds(), calibrationView(w)
			rules, barred := m.Admitted(q.ID)
			v.Closed = barred
			for _, r := range rules {
				v.Limits = append(v.Limits, routeapi.Limit{Calls: r.Calls, EWT: r.EWT.Seconds(), ASA: r.ASA.Seconds(), Passed: r.Passed})
			}
			out = append(out, v)
		}
	})
	return out
}

// waitView is nil for what can't be told.
func waitView(p50, p90 time.Duration, known bool) *routeapi.Wait {
	if !known {
		return nil
	}
	return &routeapi.Wait{P50: p50.Seconds(), P90: p90.Seconds()}
}

func calibrationView(w acd.WaitInfo) routeapi.Calibration {
	c := routeapi.Calibration{Calls: w.Foretold, Error: w.Error.Seconds()}
	if w.Foretold > 0 {
		c.WithinP50 = float64(w.WithinP50) / float64(w.Foretold)
		c.WithinP90 = float64(w.WithinP90) / float64(w.Foretold)
	}
	return c
}
