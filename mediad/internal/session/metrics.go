package session

import (
	"github.com/VictoriaMetrics/metrics"

	"trunkline/mediad/mediaapi"
)

// Metrics are the engine's figures for monitoring.
func (e *Engine) Metrics() *metrics.Set {
	set := metrics.NewSet()
	counter := func(name string, of func(*counts) uint64) {
		set.NewGauge(name, func() float64 {
			sum := uint64(0)
			for _, s := range e.shards {
				s.mu.Lock()
				sum += of(&s.count)
				s.mu.Unlock()
			}
			return float64(sum)
		})
	}
	counter("mediad_packets_received_total", func(c *counts) uint64 { return c.received })
	counter("mediad_received_bytes_total", func(c *counts) uint64 { return c.receivedBytes })
	counter("mediad_packets_sent_total", func(c *counts) uint64 { return c.sent })
	counter("mediad_sent_bytes_total", func(c *counts) uint64 { return c.sentBytes })
	counter(`mediad_packets_dropped_total{reason="forged"}`, func(c *counts) uint64 { return c.forged })
	counter(`mediad_packets_dropped_total{reason="replayed"}`, func(c *counts) uint64 { return c.replayed })
	counter(`mediad_packets_dropped_total{reason="misplaced"}`, func(c *counts) uint64 { return c.misplaced })
	counter(`mediad_packets_dropped_total{reason="strange"}`, func(c *counts) uint64 { return c.strange })
	counter(`mediad_packets_dropped_total{reason="unready"}`, func(c *counts) uint64 { return c.unready })
	counter(`mediad_packets_dropped_total{reason="unsent"}`, func(c *counts) uint64 { return c.unsent })
	counter(`mediad_packets_dropped_total{reason="reused"}`, func(c *counts) uint64 { return c.reused })
	counter(`mediad_packets_dropped_total{reason="muted"}`, func(c *counts) uint64 { return c.muted })
	counter("mediad_ice_checks_total", func(c *counts) uint64 { return c.checks })
	counter("mediad_dtls_failed_total", func(c *counts) uint64 { return c.dtlsFailed })
	counter("mediad_frames_lagged_total", func(c *counts) uint64 { return c.lagged })
	counter("mediad_frames_transcoded_total", func(c *counts) uint64 { return c.transcoded })
	counter("mediad_frames_mixed_total", func(c *counts) uint64 { return c.mixed })
	counter("mediad_frames_concealed_total", func(c *counts) uint64 { return c.concealed })
	for grade, i := range grades {
		counter(`mediad_speech_intervals_total{grade="`+string(grade)+`"}`, func(c *counts) uint64 { return c.rated[i] })
	}
	counter("mediad_digits_total", func(c *counts) uint64 { return c.digits })
	counter("mediad_digits_dropped_total", func(c *counts) uint64 { return c.digitsDropped })
	counter("mediad_digits_sent_total", func(c *counts) uint64 { return c.digitsSent })
	counter("mediad_digits_unsent_total", func(c *counts) uint64 { return c.digitsUnsent })
	counter("mediad_rtcp_received_total", func(c *counts) uint64 { return c.rtcpReceived })
	counter("mediad_rtcp_sent_total", func(c *counts) uint64 { return c.rtcpSent })
	counter("mediad_rtcp_forged_total", func(c *counts) uint64 { return c.rtcpForged })

	set.RegisterMetricsWriter(e.writeLinks)
	set.NewGauge("mediad_legs_one_way", func() float64 {
		n := 0
		for _, s := range e.shards {
			s.mu.Lock()
			for _, l := range s.legs {
				if l.quality.oneWay {
					n++
				}
			}
			s.mu.Unlock()
		}
		return float64(n)
	})
	set.NewGauge("mediad_legs_open", func() float64 {
		legs, _ := e.Load()
		return float64(legs)
	})
	set.NewGauge("mediad_port_pairs_free", func() float64 {
		_, free := e.Load()
		return float64(free)
	})
	set.NewGauge("mediad_calls_open", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		return float64(len(e.calls))
	})
	set.NewGauge("mediad_addresses_hosted", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		return float64(len(e.hosts))
	})
	set.NewGauge("mediad_addresses_unprotected", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		n := 0
		for _, h := range e.hosts {
			if h.link == nil || !h.link.Synced() {
				n++
			}
		}
		return float64(n)
	})
	set.NewGauge("mediad_commands_refused_total", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		return float64(e.refused)
	})
	set.NewGauge("mediad_prompts_missing_total", func() float64 {
		e.mu.Lock()
		defer e.mu.Unlock()
		return float64(e.missing)
	})
	set.NewGauge(`mediad_commands_total{command="`+mediaapi.Ping+`"}`, func() float64 { return float64(e.pings.Load()) })
	for name := range handlers {
		set.NewGauge(`mediad_commands_total{command="`+name+`"}`, func() float64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return float64(e.control[name])
		})
	}
	return set
}
