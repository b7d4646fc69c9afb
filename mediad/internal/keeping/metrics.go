package keeping

import (
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

var (
	retentionErased   = metrics.NewCounter("mediad_retention_erased_total")
	retentionFailures = metrics.NewCounter("mediad_retention_failures_total")
	roomErased        = metrics.NewCounter("mediad_retention_room_erased_total")
	storeSegments     = metrics.NewCounter("mediad_store_segments_total")
	storeBytes        = metrics.NewCounter("mediad_store_bytes_total")
	storeFailures     = metrics.NewCounter("mediad_store_failures_total")

	lastPass          atomic.Int64 // Unix seconds
	retentionHeld     atomic.Int64
	storePending      atomic.Int64
	storePendingBytes atomic.Int64
	freeSpace         atomic.Int64
	diskLow           atomic.Int64

	_ = gauge("mediad_retention_last_pass_timestamp_seconds", &lastPass)
	_ = gauge("mediad_retention_held", &retentionHeld)
	_ = gauge("mediad_store_pending_segments", &storePending)
	_ = gauge("mediad_store_pending_bytes", &storePendingBytes)
	_ = gauge("mediad_record_disk_free_bytes", &freeSpace)
	_ = gauge("mediad_record_disk_low", &diskLow)
)

func gauge(name string, v *atomic.Int64) *metrics.Gauge {
	return metrics.NewGauge(name, func() float64 { return float64(v.Load()) })
}
