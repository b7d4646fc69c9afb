package record

import (
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

var (
	bytesWritten   = metrics.NewCounter("mediad_record_bytes_total")
	packetsWritten = metrics.NewCounter("mediad_record_packets_total")
	fsyncSeconds   = metrics.NewHistogram("mediad_record_fsync_seconds")
	segmentsOpened = metrics.NewCounter("mediad_record_segments_opened_total")
	segmentsSealed = metrics.NewCounter("mediad_record_segments_sealed_total")
	diskErrors     = metrics.NewCounter("mediad_record_disk_errors_total")
	recovered      = metrics.NewCounter("mediad_record_recovered_segments_total")
	tornBytes      = metrics.NewCounter("mediad_record_torn_bytes_total")
	keysErased     = metrics.NewCounter("mediad_record_keys_erased_total")

	callsActive = new(atomic.Int64)
	queueBytes  = new(atomic.Int64)

	_ = metrics.NewGauge("mediad_record_calls", func() float64 { return float64(callsActive.Load()) })
	_ = metrics.NewGauge("mediad_record_queue_bytes", func() float64 { return float64(queueBytes.Load()) })
)

// dropReason says why a packet was not recorded.
type dropReason int

const (
	dropQueueFull  dropReason = iota // the disk cannot keep up
	dropDisk                         // the disk refused
	dropNotStarted                   // the call is not being recorded
	dropOversize                     // no RTP packet is that large
	dropReasons
)

var dropCounters = [dropReasons]*metrics.Counter{
	dropQueueFull:  metrics.NewCounter(`mediad_record_drops_total{reason="queue_full"}`),
	dropDisk:       metrics.NewCounter(`mediad_record_drops_total{reason="disk"}`),
	dropNotStarted: metrics.NewCounter(`mediad_record_drops_total{reason="not_started"}`),
	dropOversize:   metrics.NewCounter(`mediad_record_drops_total{reason="oversize"}`),
}

// Stats counts what one Log did since Open.
type Stats struct {
	Packets, Bytes  uint64 // written
	QueueFull       uint64 // dropped because the disk could not keep up
	Disk            uint64 // dropped because the disk refused
	NotStarted      uint64 // dropped because their call is not recorded
	Oversize        uint64 // dropped as too large
	SegmentsSealed  uint64
	SegmentsRescued uint64 // found unsealed by Open
	TornBytes       uint64 // cut off rescued segments
}

type counters struct {
	packets, bytes, sealed, rescued, torn atomic.Uint64
	drops                                 [dropReasons]atomic.Uint64
}

func (c *counters) drop(reason dropReason, n int) {
	c.drops[reason].Add(uint64(n))
	dropCounters[reason].Add(n)
}

func (c *counters) snapshot() Stats {
	return Stats{
		Packets: c.packets.Load(), Bytes: c.bytes.Load(),
		QueueFull: c.drops[dropQueueFull].Load(), Disk: c.drops[dropDisk].Load(),
		NotStarted: c.drops[dropNotStarted].Load(), Oversize: c.drops[dropOversize].Load(),
		SegmentsSealed: c.sealed.Load(), SegmentsRescued: c.rescued.Load(), TornBytes: c.torn.Load(),
	}
}
