package node

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"trunkline/routerd/acd"
)

// What the node counts; see docs/metrics.md.
var (
	arrived    = metrics.NewCounter("routerd_calls_arrived_total")
	refused    = metrics.NewCounter("routerd_calls_refused_total")
	handedOver = metrics.NewCounter("routerd_messages_handed_over_total")
	claimed    = metrics.NewCounter("routerd_calls_claimed_total")
	swept      = metrics.NewCounter("routerd_media_swept_total")
	strays     = metrics.NewCounter("routerd_stray_messages_total")
	registered = metrics.NewCounter("routerd_registrations_total")
	challenged = metrics.NewCounter("routerd_registrations_challenged_total")
	// Keys of far ends: given to the machine, or left because they mean nothing.
	digitsCollected = metrics.NewCounter("routerd_digits_collected_total")
	digitsIgnored   = metrics.NewCounter("routerd_digits_ignored_total")
	// Keys that went from one talking party to the other: by INFO, given to the
	// worker; to INFO, answered, and of both those that failed.
	digitsAcross     = metrics.NewCounter("routerd_digits_across_total")
	digitsInformed   = metrics.NewCounter("routerd_digits_informed_total")
	digitsUninformed = metrics.NewCounter("routerd_digits_uninformed_total")
	dialogsMissing   = metrics.NewCounter("routerd_dialogs_missing_total")
	redirects        = metrics.NewCounter("routerd_redirects_followed_total")
	shared           = metrics.NewCounter("routerd_codecs_shared_total")
	loops            = metrics.NewCounter("routerd_loops_refused_total")
	dialled          = metrics.NewCounter("routerd_trunk_attempts_total")
	trying           = metrics.NewHistogram("routerd_call_trying_seconds")
	setup            = metrics.NewHistogram("routerd_call_setup_seconds")
	offerOrdered     = metrics.NewSummaryExt("routerd_offer_ordered_seconds", time.Minute, []float64{0.5, 0.99, 1})
	// Calls that agents dialled or picked up, and REFERs of agents and servers: that began a transfer, or did not.
	ruleDigits    = metrics.NewCounter("routerd_rule_digits_total")
	dialsTaken    = metrics.NewCounter("routerd_agent_calls_taken_total")
	dialsRefused  = metrics.NewCounter("routerd_agent_calls_refused_total")
	adoptions     = metrics.NewCounter("routerd_takeover_phones_asked_total")
	pickedUp      = metrics.NewCounter("routerd_pickups_taken_total")
	refersTaken   = metrics.NewCounter("routerd_refers_taken_total")
	refersRefused = metrics.NewCounter("routerd_refers_refused_total")
)

// exposeState registers the gauges read from the machine when scraped.
func (n *Node) exposeState() {
	metrics.NewGauge("routerd_calls_open", func() float64 { return n.count(func(m *acd.Machine) int { return m.OpenCalls() }) })
	metrics.NewGauge("routerd_calls_owned", func() float64 {
		n.mu.Lock()
		defer n.mu.Unlock()
		return float64(len(n.actors))
	})
	metrics.NewGauge("routerd_help_asked_agents", func() float64 { return n.count(askingHelp) })
	metrics.NewGauge("routerd_ready", func() float64 {
		if n.Ready() == nil {
			return 1
		}
		return 0
	})
	metrics.NewGauge("routerd_overload_loss_ratio", func() float64 { return float64(n.load.loss.Load()) / 100 })
	metrics.RegisterMetricsWriter(n.writeState)
}

// writeState writes the gauges whose labels come from the routing tree.
func (n *Node) writeState(w io.Writer) {
	var queues []acd.QueueInfo
	var trunks []acd.TrunkInfo
	var noops []acd.Count
	var nodes []acd.Node
	n.view(func(m *acd.Machine) { queues, trunks, noops, nodes = m.Queues(), m.Trunks(), m.NoOps(), m.Nodes() })
	now := n.machineTime()
	for _, q := range queues {
		var oldest float64
		if q.Oldest != 0 {
			oldest = now.Sub(q.Oldest).Seconds()
		}
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_queue_waiting_calls{queue=%q}", q.ID), uint64(q.Waiting))
		metrics.WriteGaugeFloat64(w, fmt.Sprintf("routerd_queue_oldest_wait_seconds{queue=%q}", q.ID), oldest)
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_queue_available_agents{queue=%q}", q.ID), uint64(q.Agents))
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_queue_idle_agents{queue=%q}", q.ID), uint64(q.Idle))
	}
	for _, t := range trunks {
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_trunk_used_channels{trunk=%q}", t.ID), uint64(t.Used))
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_trunk_limit_channels{trunk=%q}", t.ID), uint64(t.Channels))
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_trunk_state{trunk=%q}", t.ID), linkGauge(t.State))
		for _, l := range t.Links {
			metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_trunk_link_state{trunk=%q,edge=%q}", t.ID, l.Edge), linkGauge(l.State))
		}
	}
	n.writeLinks(w, trunks)
	for _, r := range nodes {
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_state_agreed_index{router=%q}", r.ID), r.Agreed)
		metrics.WriteGaugeUint64(w, fmt.Sprintf("routerd_state_diverged_index{router=%q}", r.ID), r.Diverged)
	}
	for _, c := range noops {
		metrics.WriteCounterUint64(w, fmt.Sprintf("routerd_commands_without_effect_total{reason=%q}", c.Reason), c.N)
	}
}

// linkGauge is a state as a number: 2 up, 1 suspect, 0 down.
func linkGauge(s acd.LinkState) uint64 {
	switch s {
	case acd.LinkUp:
		return 2
	case acd.LinkSuspect:
		return 1
	}
	return 0
}

func (n *Node) count(f func(m *acd.Machine) int) (v float64) {
	n.view(func(m *acd.Machine) { v = float64(f(m)) })
	return v
}
