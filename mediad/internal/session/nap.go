package session

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap blocks the thread.
func nap(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil)
}
