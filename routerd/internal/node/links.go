package node

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
	"trunkline/routerd/internal/links"
)

// Each router asks all workers how the links did and comes to the same view; the
// leader alone raises and clears alarms by it, so whoever leads next goes on.

// linksEvery is how often the workers are asked.
const linksEvery = 2 * time.Second

// linkWatch is the node's view of the links' speech.
type linkWatch struct {
	mu       sync.Mutex
	board    links.Board
	readings []links.Reading
}

// watchLinks asks and judges until ctx ends.
func (n *Node) watchLinks(ctx context.Context) {
	for pause(ctx, linksEvery) {
		if n.incarnation.Load() == 0 {
			continue
		}
		n.askLinks(ctx)
		_, leads := n.store.Leader()
		for _, change := range n.judgeLinks(time.Since(n.started)) {
			if !leads {
				break
			}
			n.logAlarm(change)
			n.tell(ctx, change)
		}
	}
}

// askLinks asks every live worker for what it has not told yet, all at once: one
// that hangs must not hold the others' answers up.
func (n *Node) askLinks(ctx context.Context) {
	var workers []acd.Worker
	n.view(func(m *acd.Machine) { workers = m.Workers() })
	var wg sync.WaitGroup
	for _, w := range workers {
		if !w.Alive {
			continue
		}
		wg.Go(func() { n.askWorker(ctx, w) })
	}
	wg.Wait()
}

func (n *Node) askWorker(ctx context.Context, w acd.Worker) {
	n.speech.mu.Lock()
	last := n.speech.board.Last(w.ID, w.Incarnation)
	n.speech.mu.Unlock()
	rep, err := n.workers.do(ctx, w.ID, mediaapi.Request{Command: mediaapi.Links, Serial: last})
	if err != nil {
		return // it is gone, which others tell, or is of before there was the command
	}
	n.speech.mu.Lock()
	defer n.speech.mu.Unlock()
	n.speech.board.Add(w.ID, w.Incarnation, rep, time.Since(n.started))
}

// judgeLinks says what has to change of the alarms at now, since this node began.
func (n *Node) judgeLinks(now time.Duration) []acd.LinkAlarmChanged {
	var trunks []links.Trunk
	n.view(func(m *acd.Machine) {
		for _, t := range m.Trunks() {
			conf, _ := m.Trunk(t.ID)
			trunks = append(trunks, links.Trunk{ID: t.ID, Channels: t.Channels, Limits: conf.Quality, Raised: t.Alarms})
		}
	})
	n.speech.mu.Lock()
	defer n.speech.mu.Unlock()
	changes := n.speech.board.Judge(trunks, now)
	n.speech.readings = n.speech.board.Readings(trunks, now)
	return changes
}

func (n *Node) logAlarm(c acd.LinkAlarmChanged) {
	if c.Raised {
		n.log.Warn("a trunk's speech is bad", "trunk", c.Trunk, "kind", c.Kind, "direction", c.Direction, "value", c.Value, "limit", c.Limit)
	} else {
		n.log.Info("a trunk's speech is good again", "trunk", c.Trunk, "kind", c.Kind, "direction", c.Direction, "cause", c.Cause)
	}
}

// writeLinks writes the links' alarms and what was measured last.
func (n *Node) writeLinks(w io.Writer, trunks []acd.TrunkInfo) {
	for _, t := range trunks {
		raised := map[links.Measure]bool{}
		for _, a := range t.Alarms {
			raised[links.Measure{Kind: a.Kind, Direction: a.Direction}] = true
		}
		for _, m := range links.Measures() {
			v := uint64(0)
			if raised[m] {
				v = 1
			}
			metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_link_alarm{trunk=%q,direction=%q,kind=%q}", t.ID, m.Direction, m.Kind), v)
		}
	}
	n.speech.mu.Lock()
	readings := n.speech.readings
	n.speech.mu.Unlock()
	for _, r := range readings {
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_link_calls{trunk=%q}", r.Trunk), uint64(r.Calls))
		for _, m := range r.Measures {
			name, unit := linkMetric(m.Kind)
			metrics.WriteGaugeFloat64(w, fmt.Sprintf("%s{trunk=%q,direction=%q}", name, r.Trunk, m.Direction), float64(m.Value)/unit)
		}
	}
}

// linkMetric is the name of a measure's metric, and its units in one of that.
func linkMetric(kind acd.AlarmKind) (name string, unit float64) {
	switch kind {
	case acd.AlarmDelay:
		return "routerd_link_delay_seconds", 1e6
	case acd.AlarmLoss:
		return "routerd_link_loss_ratio", 1e6
	case acd.AlarmJitter:
		return "routerd_link_jitter_seconds", 1e6
	case acd.AlarmRTCP:
		return "routerd_link_rtcp_missing_ratio", 1e6
	}
	return "routerd_link_needed_bytes_per_second", 8
}

// linkOf labels a leg's media with the trunk it goes over; empty for an agent's.
func (a *actor) linkOf(id acd.LegID) (link string) {
	a.n.view(func(m *acd.Machine) { link = string(legOf(m, a.call, id).Trunk) })
	return link
}
