package session

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// pressureEvery is how often the processor time of the process is looked at.
const pressureEvery = time.Second

// watchPressure keeps how much of the machine the process takes, in percent of
// all processors, until the engine stops. A peak of one interval counts half.
func (e *Engine) watchPressure() {
	tick := time.NewTicker(pressureEvery)
	defer tick.Stop()
	used, at := processorTime(), time.Now()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			u := processorTime()
			share := 100 * int64(u-used) / max(int64(now.Sub(at))*int64(runtime.NumCPU()), 1)
			e.pressure.Store((e.pressure.Load() + share) / 2)
			used, at = u, now
		}
	}
}

// overloaded tells whether new calls are to go elsewhere.
func (e *Engine) overloaded() bool {
	return e.draining || e.cfg.MaxCPU > 0 && e.pressure.Load() >= int64(e.cfg.MaxCPU)
}

// processorTime is what the process has used so far.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // only a wrong argument fails
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
